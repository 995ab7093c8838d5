// Attention: a workgroup takes a query of a head, and SIDES blocks of BLOCK tokens side by side, a lane
// each, which join the sums so far in order. A workgroup's part of scratch holds the query's bytes and
// those sums.
const SIDES: u32 = LANES / BLOCK;

// Of each block: its reference, what its values' exponents are lifted to, the sum of its weights.
struct Block { reference: i32, lift: i32, light: i32 }

var<workgroup> blocks: array<Block, SIDES>;
var<workgroup> weights: array<i32, LANES>;

fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }

// The largest score's and the largest exponent's block by block, then the weights' sum.
fn survey(score: i32, e: i32, lane: u32) {
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
        blocks[lane / BLOCK] = Block((gathered[lane] + 65535) >> 16u, i32(gathered_too[lane]), 0);
    }
    workgroupBarrier();
}

fn weigh(w: i32, lighter: u32, lane: u32) {
    gathered[lane] = w;
    for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % BLOCK < step) { gathered[lane] += gathered[lane + step]; }
    }
    if (lane % BLOCK == 0u) { blocks[lane / BLOCK].light = shift_down(gathered[lane], lighter); }
    workgroupBarrier();
}

// Tokens [start, stop) of a head's cache that a query sees.
fn attend(c: Call, k: u32, v: u32, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
    let heads = count(k, E0); let context = count(k, E1); let width = count(k, E2);
    let quad_count = width / 4u;
    let mine = group * (quad_count + width);
    let first_row = head / (count(c.b, COLS) / width / heads) * context;
    // The query, quantised.
    let q = row_at(c.b, row) + head * width;
    let s = seven_bits(bring_near(c.b, q, width, lane), field(c.b, FRAC));
    let size = multiply_scales(s.scale, scale);
    for (var quad = lane; quad < quad_count; quad += LANES) {
        var x: vec4<i32>;
        for (var i = 0u; i < 4u; i++) { x[i] = quantised(near(c.b, q, 4u * quad + i), s); }
        scratch[mine + quad] = pack_word(x.x, x.y, x.z, x.w) ^ 0x80808080u;
    }
    for (var i = lane; i < width; i += LANES) { scratch[mine + quad_count + i] = 0u; }
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
            for (var quad = 0u; quad < quad_count; quad++) { sum += dot4I8Packed(scratch[mine + quad], four(k, at, 0u, quad)); }
            let m = multiply_scales(size, row_scale(k, first_row + token));
            score = clamp(rescale(sum, m.m, m.e + 16).v, -1073741824, 1073741824);
            value_scale = row_scale(v, first_row + token);
        }
        survey(score, value_scale.e, lane);
        let block = blocks[side];
        var w = 0; var share = 0;
        if (inside) {
            w = exp2_negative((u32(block.reference) << 16u) - u32(score));
            share = shift_round(multiply_unsigned(u32(w), value_scale.m), block.lift - value_scale.e + 18).v;
        }
        weights[lane] = share;
        weigh(w, lighter, lane);  // barriers for the weights, too
        let begin = first + side * BLOCK;
        let mine_of_block = min(stop - min(begin, stop), BLOCK);
        for (var quad0 = 0u; quad0 < quad_count; quad0 += across) {
            var sums = vec4<i32>(0, 0, 0, 0);
            let quad = quad0 + column;
            if (slice < slices && quad < quad_count) {
                for (var j = slice; j < mine_of_block; j += slices) {
                    let x = four(v, row_at(v, first_row + begin + j), 0u, quad);
                    sums += weights[side * BLOCK + j] * vec4<i32>(byte_of(x, 0u), byte_of(x, 1u), byte_of(x, 2u), byte_of(x, 3u));
                }
            }
            pool[lane] = bitcast<vec4<u32>>(sums);
            workgroupBarrier();
            for (var i = lane; i < min(4u * across, width - 4u * quad0); i += LANES) {
                var sum = i32(scratch[mine + quad_count + 4u * quad0 + i]);
                var sum_e = total_e;
                for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
                    var more = 0;
                    for (var j = 0u; j < slices; j++) { more += i32(pool[part * BLOCK + j * across + i / 4u][i % 4u]); }
                    let e = blocks[part].reference + blocks[part].lift;
                    let joined = max(sum_e, e);
                    sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
                    sum_e = joined;
                }
                scratch[mine + quad_count + 4u * quad0 + i] = u32(sum);
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
    let e = inverse.e + total_e + i32(fewer) + 18 - weight_e - i32(lighter) + field(c.g, FRAC);
    let target_row = row_at(c.g, row) + head * width;
    storageBarrier();
    workgroupBarrier();
    for (var i = lane; i < width; i += LANES) {
        put(target_row + i, rescale(i32(scratch[mine + quad_count + i]), inverse.m, e));
    }
    storageBarrier();
}

// Parameters: k, v, position, scale.
fn op_attentioncausal(c: Call, group: u32, groups: u32, lane: u32) {
    let k = count(c.a, 0u); let v = count(c.a, 1u);
    let heads = count(c.b, COLS) / count(k, E2);
    let position = scalar(count(c.a, 2u));
    for (var i = group; i < c.rows_g * heads; i += groups) {
        let last = clamp_position(position, i / heads, count(k, E1));
        let tokens = agree(vec2<u32>(0u, last + 1u), lane);
        attend(c, k, v, scale_of(count(c.a, 3u)), i / heads, i % heads, tokens.x, tokens.y, group, lane);
    }
}

// Parameters: k, v, span, lengths, scale.
fn op_attentionfull(c: Call, group: u32, groups: u32, lane: u32) {
    let k = count(c.a, 0u); let v = count(c.a, 1u); let lengths = count(c.a, 3u);
    let heads = count(c.b, COLS) / count(k, E2); let context = count(k, E1);
    let step = u32(clamp(scalar(count(c.a, 2u)), 1, i32(context)));
    let known = count(lengths, ROWS) * count(lengths, COLS);
    for (var i = group; i < c.rows_g * heads; i += groups) {
        let part = i / heads / step;
        let start = min(part * step, context - 1u);
        let wanted = min(u32(max(number_flat(lengths, min(part, known - 1u)), 1)), step);
        let tokens = agree(vec2<u32>(start, min(start + wanted, context)), lane);
        attend(c, k, v, scale_of(count(c.a, 4u)), i / heads, i % heads, tokens.x, tokens.y, group, lane);
    }
}
