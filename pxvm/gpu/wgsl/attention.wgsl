// Attention: a workgroup takes a query of a head, and SIDES blocks of BLOCK tokens side by side, a lane
// each, which join the sums so far in order. A workgroup's part of scratch holds the query's bytes and
// those sums.
const SIDES: u32 = LANES / BLOCK;

// Of each block: its reference, what its values' exponents are lifted to, the sum of its weights.
struct Block { reference: i32, lift: i32, light: i32 }

var<workgroup> blocks: array<Block, SIDES>;
var<workgroup> weights: array<i32, LANES>;

// A query's bytes and its sums so far: the first NEAR words of each in workgroup memory.
const NEAR: u32 = 256u;

var<workgroup> query: array<u32, NEAR / 4u>;
var<workgroup> totals: array<i32, NEAR>;

fn query_word(mine: u32, quad: u32) -> u32 {
    if (quad < NEAR / 4u) { return query[quad]; }
    return scratch[mine + quad];
}

fn total(mine: u32, i: u32) -> i32 {
    if (i < NEAR) { return totals[i]; }
    return i32(scratch[mine + i]);
}

fn set_total(mine: u32, i: u32, v: i32) {
    if (i < NEAR) { totals[i] = v; } else { scratch[mine + i] = u32(v); }
}

// Four words from the first on, as far as there are that many.
fn vector(start: u32, first: u32, words: u32) -> vec4<u32> {
    var v = vec4<u32>();
    if (first < words) { v.x = ld(start + first) ^ 0x80808080u; }
    if (first + 1u < words) { v.y = ld(start + first + 1u) ^ 0x80808080u; }
    if (first + 2u < words) { v.z = ld(start + first + 2u) ^ 0x80808080u; }
    if (first + 3u < words) { v.w = ld(start + first + 3u) ^ 0x80808080u; }
    return v;
}

fn bytes_of(x: u32) -> vec4<i32> { return vec4<i32>(byte_of(x, 0u), byte_of(x, 1u), byte_of(x, 2u), byte_of(x, 3u)); }

// v / 2^s rounded half up; s of 1 to 33.
fn round_down(v: u32, s: u32) -> i32 {
    if (s > 32u) { return 0; }
    return i32(((v >> (s - 1u)) >> 1u) + ((v >> (s - 1u)) & 1u));
}

fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }

// Of each block of lanes the largest two numbers.
fn largest_of_blocks(score: i32, e: i32, lane: u32) {
    gathered[lane] = score;
    gathered_too[lane] = u32(e);
    for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % BLOCK < step) {
            gathered[lane] = max(gathered[lane], gathered[lane + step]);
            gathered_too[lane] = u32(max(i32(gathered_too[lane]), i32(gathered_too[lane + step])));
        }
    }
    workgroupBarrier();
    if (lane % BLOCK == 0u) {
        blocks[lane / BLOCK].reference = (gathered[lane] + 65535) >> 16u;
        blocks[lane / BLOCK].lift = i32(gathered_too[lane]);
    }
    workgroupBarrier();
}

// Of each block of lanes the sum, shifted.
fn sum_of_blocks(w: i32, shift: u32, lane: u32) {
    gathered[lane] = w;
    for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % BLOCK < step) { gathered[lane] += gathered[lane + step]; }
    }
    if (lane % BLOCK == 0u) { blocks[lane / BLOCK].light = shift_down(gathered[lane], shift); }
    workgroupBarrier();
}

// Tokens [start, stop) of a head's cache that a query sees.
fn attend(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
    let heads = k.e0; let context = k.e1; let width = k.e2;
    let quad_count = width / 4u;
    let mine = group * (quad_count + width);
    let sums_at = mine + quad_count;
    let first_row = head / (c.b.cols / width / heads) * context;
    // The query, quantised.
    let q = row_at(c.b, row) + head * width;
    let s = seven_bits(bring_near(q, width, lane), c.b.frac);
    let query_scale = multiply_scales(s.scale, scale);
    for (var quad = lane; quad < quad_count; quad += LANES) {
        var p = Packed(0u, 0u);
        for (var i = 0u; i < quad_size(); i++) { p = packed(p, i, quantised(near(q, 4u * quad + i), s), false); }
        let bytes = p.low ^ 0x80808080u;
        if (quad < NEAR / 4u) { query[quad] = bytes; } else { scratch[mine + quad] = bytes; }
    }
    for (var i = lane; i < width; i += LANES) { set_total(sums_at, i, 0); }
    storageBarrier();
    workgroupBarrier();
    let n = stop - start;
    let fewer = shift_of(n, 10); let lighter = shift_of(n, 16);
    // Lanes of a block share its values: a quad of columns each, and every slices-th token.
    let across = min(quad_count, BLOCK);
    let slices = BLOCK / across;
    let side = lane / BLOCK; let slice = lane % BLOCK / across; let column = lane % BLOCK % across;
    var total_e = FAR; var weight = 0; var weight_e = FAR;
    for (var first = start; first < stop; first += LANES) {
        let token = first + lane;
        let inside = token < stop;
        var score = LOWEST; var value_scale = Scale(0u, FAR);
        if (inside) {
            let at = row_at(k, first_row + token);
            var sum = 0;
            let key_scale = row_scale(k, first_row + token);
            value_scale = row_scale(v, first_row + token);
            for (var quad = 0u; quad < quad_count; quad += 4u) {
                let words = vector(at, quad, quad_count);
                sum += dot4I8Packed(query_word(mine, quad), words.x);
                if (quad + 1u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 1u), words.y); }
                if (quad + 2u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 2u), words.z); }
                if (quad + 3u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 3u), words.w); }
            }
            let m = multiply_scales(query_scale, key_scale);
            score = clamp(rescale(sum, m.m, m.e + 16).v, -1073741824, 1073741824);
        }
        largest_of_blocks(score, value_scale.e, lane);
        let block = blocks[side];
        var w = 0; var share = 0;
        if (inside) {
            w = exp2_negative((u32(block.reference) << 16u) - u32(score));
            share = round_down(u32(w) * value_scale.m, u32(min(block.lift - value_scale.e + 18, 33)));
        }
        weights[lane] = share;
        sum_of_blocks(w, lighter, lane);  // barriers for the weights, too
        let begin = first + side * BLOCK;
        let mine_of_block = min(stop - min(begin, stop), BLOCK);
        for (var quad0 = 0u; quad0 < quad_count; quad0 += across) {
            var sums = vec4<i32>(0, 0, 0, 0);
            let quad = quad0 + column;
            if (slice < slices && quad < quad_count) {
                // Those behind the block's last token have no weight; its words are read for them.
                let step = v.row_words;
                let at = row_at(v, first_row + begin) + quad;
                for (var j = slice; j < mine_of_block; j += 4u * slices) {
                    let last = mine_of_block - 1u;
                    let j1 = min(j + slices, last); let j2 = min(j + 2u * slices, last); let j3 = min(j + 3u * slices, last);
                    let x0 = ld(at + j * step); let x1 = ld(at + j1 * step); let x2 = ld(at + j2 * step); let x3 = ld(at + j3 * step);
                    let w0 = side * BLOCK + j;
                    sums += weights[w0] * bytes_of(x0 ^ 0x80808080u);
                    if (j + slices < mine_of_block) { sums += weights[w0 + slices] * bytes_of(x1 ^ 0x80808080u); }
                    if (j + 2u * slices < mine_of_block) { sums += weights[w0 + 2u * slices] * bytes_of(x2 ^ 0x80808080u); }
                    if (j + 3u * slices < mine_of_block) { sums += weights[w0 + 3u * slices] * bytes_of(x3 ^ 0x80808080u); }
                }
            }
            pool[lane] = bitcast<vec4<u32>>(sums);
            workgroupBarrier();
            for (var i = lane; i < min(4u * across, width - 4u * quad0); i += LANES) {
                var sum = total(sums_at, 4u * quad0 + i);
                var sum_e = total_e;
                for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
                    var more = 0;
                    for (var j = 0u; j < slices; j++) { more += i32(pool[part * BLOCK + j * across + i / 4u][i % 4u]); }
                    let e = blocks[part].reference + blocks[part].lift;
                    let joined = max(sum_e, e);
                    sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
                    sum_e = joined;
                }
                set_total(sums_at, 4u * quad0 + i, sum);
            }
            workgroupBarrier();
        }
        for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
            let b = blocks[part];
            total_e = max(total_e, b.reference + b.lift);
            let heavier = max(weight_e, b.reference);
            weight = shift_down(weight, u32(min(heavier - weight_e, 32))) + shift_down(b.light, u32(min(heavier - b.reference, 32)));
            weight_e = heavier;
        }
        workgroupBarrier();
    }
    let inverse = reciprocal(vec2<u32>(u32(weight), 0u));
    let e = inverse.e + total_e + i32(fewer) + 18 - weight_e - i32(lighter) + c.g.frac;
    let target_row = row_at(c.g, row) + head * width;
    storageBarrier();
    workgroupBarrier();
    for (var i = lane; i < width; i += LANES) {
        put(target_row + i, rescale(total(sums_at, i), inverse.m, e));
    }
    storageBarrier();
}

// Many queries: TOGETHER of one head that see tokens from the same one on, with SIDES blocks of tokens side
// by side. Keys and values stand in workgroup memory, a vector for four tokens, SIDE vectors a block: first
// KEYS words of each key; then the weights, a vector for two tokens of four queries, and behind them 16
// words of each of 32 values.
const WIDEST: u32 = 4u * STAGED / TOGETHER;  // columns: the queries' bytes are staged
const FOURS: u32 = BLOCK / 4u;
const KEYS: u32 = 8u;
const BEHIND: u32 = 2u * BLOCK;
const SIDE: u32 = BEHIND + 16u * 9u;
const OWN_SUMS: u32 = max(256u / LANES, 1u);  // of a lane, in four rows of 64 columns

// A query: its scale, later its results'; behind its last token; the joined sums' exponent and weight.
struct Asked { scale: Scale, stop: u32, total_e: i32, weight: i32, weight_e: i32 }

var<workgroup> asked: array<Asked, TOGETHER>;
var<workgroup> met: array<Block, TOGETHER * SIDES>;

// A word of each of four rows, none behind the last.
fn word_of_four(d: Tensor, row: u32, last: u32, quad: u32) -> vec4<u32> {
    return vec4<u32>(
        ld(row_at(d, min(row, last)) + quad), ld(row_at(d, min(row + 1u, last)) + quad),
        ld(row_at(d, min(row + 2u, last)) + quad), ld(row_at(d, min(row + 3u, last)) + quad),
    ) ^ vec4<u32>(0x80808080u);
}

fn low_half(w: u32) -> i32 { return i32(w & 65535u); }

fn high_half(w: u32) -> i32 { return i32(w >> 16u); }

// The sums of a side's queries are in the first of each 32 vectors.
fn reduce_side(at: u32, place: u32) {
    workgroupBarrier();
    if (place % 8u == 0u) {
        for (var i = 1u; i < 2u * quad_size(); i++) { pool[at] += pool[at + i]; }
    }
    workgroupBarrier();
    if (place == 0u) { pool[at] += pool[at + 8u] + pool[at + 16u] + pool[at + 24u]; }
}

fn larger(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(max(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b)));
}

fn reduce_side_to_largest(at: u32, place: u32) {
    workgroupBarrier();
    if (place % 8u == 0u) {
        for (var i = 1u; i < 2u * quad_size(); i++) {
            pool[at] = larger(pool[at], pool[at + i]);
            pool[at + BLOCK] = larger(pool[at + BLOCK], pool[at + BLOCK + i]);
        }
    }
    workgroupBarrier();
    if (place == 0u) {
        for (var i = 8u; i < 32u; i += 8u) {
            pool[at] = larger(pool[at], pool[at + i]);
            pool[at + BLOCK] = larger(pool[at + BLOCK], pool[at + BLOCK + i]);
        }
    }
}

// Tokens from a start that all of these queries see, up to where asked says.
fn attend_together(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, count: u32, head: u32, start: u32, lane: u32) {
    let context = k.e1; let width = k.e2; let quad_count = width / 4u;
    let first_row = head / (c.b.cols / width / k.e0) * context;
    // The queries, quantised, a word of each behind another.
    let team = LANES / TOGETHER;
    let query = lane / team;
    let from_query = row_at(c.b, row + min(query, count - 1u)) + head * width;
    let s = seven_bits(range_of_team(from_query, width, lane), c.b.frac);
    for (var quad = lane % team; quad < quad_count; quad += team) {
        staged[quad * TOGETHER + query] = quad_of_seven(from_query, quad, s) ^ 0x80808080u;
    }
    if (lane % team == 0u) {
        asked[query].scale = multiply_scales(s.scale, scale);
        asked[query].total_e = FAR;
        asked[query].weight = 0;
        asked[query].weight_e = FAR;
        if (query >= count) { asked[query].stop = 0u; }
    }
    workgroupBarrier();
    let stop = agree(vec2<u32>(asked[count - 1u].stop, 0u), lane).x;
    let last = first_row + stop - 1u;
    let side = lane / BLOCK; let at = lane % BLOCK; let base = side * SIDE;
    // Scores: four tokens of four queries a lane; values: four columns of four queries and every other 16 tokens.
    let tokens = at % FOURS; let queries = at / FOURS * 4u;
    let column = at % 16u; let takers = at / 16u % 4u; let half = at / 64u;
    var sums: array<i32, 16u * OWN_SUMS>;
    for (var i = 0u; i < 16u * OWN_SUMS; i++) { sums[i] = 0; }
    for (var first = start; first < stop; first += LANES) {
        let begin = first + side * BLOCK;
        let busy = begin < stop;
        var s0 = vec4<i32>(); var s1 = vec4<i32>(); var s2 = vec4<i32>(); var s3 = vec4<i32>();
        for (var quad0 = 0u; quad0 < quad_count; quad0 += KEYS) {
            let words = min(quad_count - quad0, KEYS);
            let quad = at % KEYS; let four_at = at / KEYS;
            var near0 = vec4<u32>(); var near1 = vec4<u32>();
            if (busy && quad < words) {
                near0 = word_of_four(k, first_row + begin + 4u * four_at, last, quad0 + quad);
                near1 = word_of_four(k, first_row + begin + 4u * (four_at + FOURS / 2u), last, quad0 + quad);
            }
            workgroupBarrier();
            pool[base + quad * (FOURS + 1u) + four_at] = near0;
            pool[base + quad * (FOURS + 1u) + four_at + FOURS / 2u] = near1;
            workgroupBarrier();
            for (var i = 0u; busy && i < words; i++) {
                let keys = pool[base + i * (FOURS + 1u) + tokens];
                let word = (quad0 + i) * TOGETHER + queries;
                s0 += outer(staged[word], keys);
                s1 += outer(staged[word + 1u], keys);
                s2 += outer(staged[word + 2u], keys);
                s3 += outer(staged[word + 3u], keys);
            }
        }
        var scores = array<vec4<i32>, 4>(s0, s1, s2, s3);
        var values: array<Scale, 4>;
        var tops = vec4<i32>(LOWEST); var lifts = vec4<i32>(FAR);
        for (var i = 0u; busy && i < quad_size(); i++) {
            let token = begin + 4u * tokens + i;
            let key = row_scale(k, min(first_row + token, last));
            values[i] = row_scale(v, min(first_row + token, last));
            for (var j = 0u; j < quad_size(); j++) {
                let query = asked[queries + j];
                let m = multiply_scales(query.scale, key);
                let score = clamp(rescale(scores[j][i], m.m, m.e + 16).v, -1073741824, 1073741824);
                scores[j][i] = select(LOWEST, score, token < query.stop);
                tops[j] = max(tops[j], scores[j][i]);
                lifts[j] = max(lifts[j], select(FAR, values[i].e, token < query.stop));
            }
        }
        workgroupBarrier();
        pool[base + at] = bitcast<vec4<u32>>(tops);
        pool[base + BLOCK + at] = bitcast<vec4<u32>>(lifts);
        reduce_side_to_largest(base + at, tokens);
        workgroupBarrier();
        if (at < TOGETHER) {
            let found = base + at / 4u * FOURS;
            met[side * TOGETHER + at].reference = (i32(pool[found][at % 4u]) + 65535) >> 16u;
            met[side * TOGETHER + at].lift = i32(pool[found + BLOCK][at % 4u]);
        }
        workgroupBarrier();
        var light = vec4<u32>(); var early = vec4<u32>(); var late = vec4<u32>();
        for (var i = 0u; busy && i < quad_size(); i++) {
            for (var j = 0u; j < quad_size(); j++) {
                if (scores[j][i] == LOWEST) { continue; }
                let block = met[side * TOGETHER + queries + j];
                let w = u32(exp2_negative((u32(block.reference) << 16u) - u32(scores[j][i])));
                let share = u32(round_down(w * values[i].m, u32(min(block.lift - values[i].e + 18, 33)))) << (16u * (i & 1u));
                light[j] += w;
                if (i < 2u) { early[j] |= share; } else { late[j] |= share; }
            }
        }
        pool[base + 2u * at] = early;
        pool[base + 2u * at + 1u] = late;
        pool[base + BEHIND + at] = light;
        reduce_side(base + BEHIND + at, tokens);
        workgroupBarrier();
        if (at < TOGETHER) { met[side * TOGETHER + at].light = i32(pool[base + BEHIND + at / 4u * FOURS][at % 4u]); }
        for (var quad0 = 0u; quad0 < quad_count; quad0 += 16u) {
            var t0 = vec4<i32>(); var t1 = vec4<i32>(); var t2 = vec4<i32>(); var t3 = vec4<i32>();
            for (var part = 0u; part < BLOCK; part += 32u) {
                var near = vec4<u32>();
                if (busy && quad0 + column < quad_count) {
                    near = word_of_four(v, first_row + begin + part + at / 16u * 4u, last, quad0 + column);
                }
                workgroupBarrier();
                pool[base + BEHIND + column * 9u + at / 16u] = near;
                workgroupBarrier();
                for (var i = 4u * half; busy && i < 4u * half + quad_size(); i++) {
                    let words = pool[base + BEHIND + column * 9u + i];
                    let v0 = bytes_of(words.x); let v1 = bytes_of(words.y); let v2 = bytes_of(words.z); let v3 = bytes_of(words.w);
                    let w = base + takers * (BLOCK / 2u) + part / 2u + 2u * i;
                    let a = pool[w]; let b = pool[w + 1u];
                    t0 += low_half(a.x) * v0 + high_half(a.x) * v1 + low_half(b.x) * v2 + high_half(b.x) * v3;
                    t1 += low_half(a.y) * v0 + high_half(a.y) * v1 + low_half(b.y) * v2 + high_half(b.y) * v3;
                    t2 += low_half(a.z) * v0 + high_half(a.z) * v1 + low_half(b.z) * v2 + high_half(b.z) * v3;
                    t3 += low_half(a.w) * v0 + high_half(a.w) * v1 + low_half(b.w) * v2 + high_half(b.w) * v3;
                }
            }
            var found = array<vec4<i32>, 4>(t0, t1, t2, t3);
            for (var j = 0u; j < quad_size(); j++) {
                workgroupBarrier();
                pool[base + BEHIND + at] = bitcast<vec4<u32>>(found[j]);
                workgroupBarrier();
                for (var i = lane; i < 256u; i += LANES) {
                    let own = (quad0 / 4u + j) * OWN_SUMS + i / LANES;
                    let query = asked[i / 64u * 4u + j];
                    let fewer = shift_of(query.stop - min(start, query.stop), 10);
                    let place = BEHIND + i / 64u * 16u + i % 64u / 4u;
                    var sum = sums[own]; var sum_e = query.total_e;
                    for (var part = 0u; part < SIDES && first + part * BLOCK < query.stop; part++) {
                        let more = i32(pool[part * SIDE + place][i % 4u] + pool[part * SIDE + place + 64u][i % 4u]);
                        let block = met[part * TOGETHER + i / 64u * 4u + j];
                        let e = block.reference + block.lift;
                        let joined = max(sum_e, e);
                        sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
                        sum_e = joined;
                    }
                    sums[own] = sum;
                }
            }
        }
        workgroupBarrier();
        if (lane < TOGETHER) {
            var query = asked[lane];
            let lighter = shift_of(query.stop - min(start, query.stop), 16);
            for (var part = 0u; part < SIDES && first + part * BLOCK < query.stop; part++) {
                let block = met[part * TOGETHER + lane];
                query.total_e = max(query.total_e, block.reference + block.lift);
                let heavier = max(query.weight_e, block.reference);
                query.weight = shift_down(query.weight, u32(min(heavier - query.weight_e, 32)))
                    + shift_down(shift_down(block.light, lighter), u32(min(heavier - block.reference, 32)));
                query.weight_e = heavier;
            }
            asked[lane] = query;
        }
        workgroupBarrier();
    }
    if (lane < count) {
        let query = asked[lane]; let n = query.stop - start;
        let inverse = reciprocal(vec2<u32>(u32(query.weight), 0u));
        let e = inverse.e + query.total_e + i32(shift_of(n, 10)) + 18 - query.weight_e - i32(shift_of(n, 16)) + c.g.frac;
        asked[lane].scale = Scale(inverse.m, e);
    }
    workgroupBarrier();
    for (var own = 0u; own < width / 64u * 4u * OWN_SUMS + 4u * OWN_SUMS; own++) {
        let i = own % OWN_SUMS * LANES + lane;
        let query = i / 64u * 4u + own / OWN_SUMS % 4u;
        let col = own / OWN_SUMS / 4u * 64u + i % 64u;
        if (i < 256u && query < count && col < width) {
            put(row_at(c.g, row + query) + head * width + col, rescale(sums[own], asked[query].scale.m, asked[query].scale.e));
        }
    }
    workgroupBarrier();
}

// Parameters: k, v, position, scale.
fn op_attentioncausal(c: Call, group: u32, groups: u32, lane: u32) {
    let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u);
    attend_from(c, k, v, scalar(parameter_tensor(c, 2u)), parameter(c, 3u), k.e1, group, groups, lane);
}

// Parameters: k, v, position, scale, window.
fn op_attentionwindow(c: Call, group: u32, groups: u32, lane: u32) {
    let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u);
    attend_from(c, k, v, scalar(parameter_tensor(c, 2u)), parameter(c, 3u), parameter(c, 4u), group, groups, lane);
}

// Queries that stand at a position and behind it, and see the tokens up to their own, a window of them.
fn attend_from(c: Call, k: Tensor, v: Tensor, position: i32, scale: u32, window: u32, group: u32, groups: u32, lane: u32) {
    let heads = c.b.cols / k.e2;
    // Queries go together where all of them see the first token.
    let farthest = agree(vec2<u32>(clamp_position(position, c.rows_g - 1u, k.e1), 0u), lane).x;
    if (c.rows_g > FEW && k.e2 <= WIDEST && farthest < window) {
        let tiles = (c.rows_g + TOGETHER - 1u) / TOGETHER;
        for (var i = group; i < tiles * heads; i += groups) {
            // Those that see most come first.
            let row = (tiles - 1u - i / heads) * TOGETHER;
            let count = min(c.rows_g - row, TOGETHER);
            if (lane < count) { asked[lane].stop = clamp_position(position, row + lane, k.e1) + 1u; }
            attend_together(c, k, v, scale_of(scale), row, count, i % heads, 0u, lane);
        }
        return;
    }
    for (var i = group; i < c.rows_g * heads; i += groups) {
        let stop = clamp_position(position, i / heads, k.e1) + 1u;
        let tokens = agree(vec2<u32>(stop - min(stop, window), stop), lane);
        attend(c, k, v, scale_of(scale), i / heads, i % heads, tokens.x, tokens.y, group, lane);
    }
}

// Parameters: k, v, span, lengths, scale.
fn op_attentionfull(c: Call, group: u32, groups: u32, lane: u32) {
    let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u); let lengths = parameter_tensor(c, 3u);
    let heads = c.b.cols / k.e2; let context = k.e1;
    let step = agree(vec2<u32>(u32(clamp(scalar(parameter_tensor(c, 2u)), 1, i32(context))), 0u), lane).x;
    let known = lengths.rows * lengths.cols;
    let rows = min(step, c.rows_g);
    let together = select(1u, TOGETHER, rows > FEW && k.e2 <= WIDEST);
    let tiles = (rows + together - 1u) / together;
    let parts = (c.rows_g + step - 1u) / step;
    for (var i = group; i < parts * tiles * heads; i += groups) {
        let part = i / heads / tiles;
        let row = part * step + i / heads % tiles * together;
        if (row >= c.rows_g) { continue; }
        let start = min(part * step, context - 1u);
        let wanted = min(u32(max(number_flat(lengths, min(part, known - 1u)), 1)), step);
        let tokens = agree(vec2<u32>(start, min(start + wanted, context)), lane);
        if (together == 1u) {
            attend(c, k, v, scale_of(parameter(c, 4u)), row, i % heads, tokens.x, tokens.y, group, lane);
            continue;
        }
        let count = min(min(c.rows_g, (part + 1u) * step) - row, TOGETHER);
        if (lane < count) { asked[lane].stop = tokens.y; }
        attend_together(c, k, v, scale_of(parameter(c, 4u)), row, count, i % heads, tokens.x, lane);
    }
}
