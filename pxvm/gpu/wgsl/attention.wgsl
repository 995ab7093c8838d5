// Attention: a workgroup takes a query of a head, and SIDES blocks of BLOCK tokens side by side, a lane
// each, which join the sums so far in order. A workgroup's part of scratch holds the query's bytes and
// those sums.
const SIDES: u32 = LANES / BLOCK;

// Of each block: its reference, what its values' exponents are lifted to, the sum of its weights.
struct Block { reference: i32, lift: i32, light: i32 }

var<workgroup> blocks: array<Block, SIDES>;
var<workgroup> weights: array<i32, LANES>;

// A query's bytes and its sums so far: the first NEAR words of each in workgroup memory.
const NEAR: u32 = 128u;

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

// Four words of a key from one on; behind the last one it again, where the query's are zeros.
fn words_of_key(start: u32, first: u32, count: u32) -> vec4<u32> {
    let at = start + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u));
    return vec4<u32>(ld(at.x), ld(at.y), ld(at.z), ld(at.w)) ^ vec4<u32>(0x80808080u);
}

fn words_of_query(mine: u32, first: u32, count: u32) -> vec4<u32> {
    let at = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
    let inside = min(at, vec4<u32>(count - 1u));
    let words = vec4<u32>(
        query_word(mine, inside.x), query_word(mine, inside.y), query_word(mine, inside.z), query_word(mine, inside.w),
    );
    return select(vec4<u32>(), words, at < vec4<u32>(count));
}

// Of a block's values, from a word on a row apart, those of four tokens so far apart, weighed; behind the
// last one it again, which does not count.
fn values_at(start: u32, j: u32, apart: u32, step: u32, count: u32) -> vec4<u32> {
    let at = start + min(vec4<u32>(j, j + apart, j + 2u * apart, j + 3u * apart), vec4<u32>(count - 1u)) * step;
    return vec4<u32>(ld(at.x), ld(at.y), ld(at.z), ld(at.w)) ^ vec4<u32>(0x80808080u);
}

fn weigh(values: vec4<u32>, block: u32, j: u32, apart: u32, count: u32) -> vec4<i32> {
    let at = vec4<u32>(j, j + apart, j + 2u * apart, j + 3u * apart);
    let there = block + min(at, vec4<u32>(BLOCK - 1u));
    let all = vec4<i32>(weights[there.x], weights[there.y], weights[there.z], weights[there.w]);
    let w = select(vec4<i32>(), all, at < vec4<u32>(count));
    return w.x * bytes_of(values.x) + w.y * bytes_of(values.y) + w.z * bytes_of(values.z) + w.w * bytes_of(values.w);
}

fn bytes_of(x: u32) -> vec4<i32> { return vec4<i32>(byte_of(x, 0u), byte_of(x, 1u), byte_of(x, 2u), byte_of(x, 3u)); }

// v / 2^s rounded half up; s of 1 to 33.
fn round_down(v: u32, s: u32) -> i32 {
    if (s > 32u) { return 0; }
    return i32(((v >> (s - 1u)) >> 1u) + ((v >> (s - 1u)) & 1u));
}

fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }

// Tokens [start, stop) of a head's cache that a query sees.
fn attend(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
    let heads = k.e0; let context = k.e1; let width = k.e2;
    let quad_count = width / 4u;
    let mine = group * (quad_count + width);
    let sums_at = mine + quad_count;
    let first_row = head / (c.b.cols / width / heads) * context;
    // The query, quantised.
    let q = row_at(c.b, row) + head * width;
    let x = bring_near(q, width, lane);
    let s = seven_bits(x.range, c.b.frac);
    let query_scale = multiply_scales(s.scale, scale);
    for (var quad = lane; quad < quad_count; quad += LANES) {
        let bytes = packed(quantised(near_four(x, q, quad, width), s), false).low ^ 0x80808080u;
        if (quad < NEAR / 4u) { query[quad] = bytes; } else { scratch[mine + quad] = bytes; }
    }
    for (var i = lane; i < width; i += LANES) { set_total(sums_at, i, 0); }
    settle(width);
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
            for (var quad = 0u; quad < quad_count; quad += 8u) {
                let words = words_of_key(at, quad, quad_count); let more = words_of_key(at, quad + 4u, quad_count);
                sum += dot16(words_of_query(mine, quad, quad_count), words);
                sum += dot16(words_of_query(mine, quad + 4u, quad_count), more);
            }
            let m = multiply_scales(query_scale, key_scale);
            score = clamp(rescale(sum, m.m, m.e + 16).v, -1073741824, 1073741824);
        }
        let tops = largest_of_blocks(score, value_scale.e, lane);
        let reference = (tops.x + 65535) >> 16u;
        var w = 0; var share = 0;
        if (inside) {
            w = exp2_negative((u32(reference) << 16u) - u32(score));
            share = round_down(u32(w) * value_scale.m, u32(min(tops.y - value_scale.e + 18, 33)));
        }
        weights[lane] = share;
        let light = shift_down(sum_of_blocks(w, lane), lighter);  // barriers for the weights, too
        if (lane % BLOCK == 0u) { blocks[side] = Block(reference, tops.y, light); }
        let begin = first + side * BLOCK;
        let mine_of_block = min(stop - min(begin, stop), BLOCK);
        for (var quad0 = 0u; quad0 < quad_count; quad0 += across) {
            var sums = vec4<i32>(0, 0, 0, 0);
            let quad = quad0 + column;
            if (slice < slices && quad < quad_count) {
                let at = row_at(v, first_row + begin) + quad;
                for (var j = slice; j < mine_of_block; j += 8u * slices) {
                    let values = values_at(at, j, slices, v.row_words, mine_of_block);
                    let more = values_at(at, j + 4u * slices, slices, v.row_words, mine_of_block);
                    sums += weigh(values, side * BLOCK, j, slices, mine_of_block);
                    sums += weigh(more, side * BLOCK, j + 4u * slices, slices, mine_of_block);
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
    settle(width);
    for (var i = lane; i < width; i += LANES) {
        put(target_row + i, rescale(total(sums_at, i), inverse.m, e));
    }
    settle(width);
}

// What lanes left for each other is there.
fn settle(width: u32) {
    if (width > NEAR) { storageBarrier(); }
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
