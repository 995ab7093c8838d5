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
    now_holds(0u, lane);
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
