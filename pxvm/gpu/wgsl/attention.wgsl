// Attention: a workgroup takes a query of a head, and tokens in blocks of LANES = BLOCK, a lane each.
// What a group works on lies in its part of scratch: the query's bytes, then its sums.

var<workgroup> weights: array<i32, LANES>;
var<workgroup> ranges: vec2<u32>;

fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }

// Tokens [start, stop) of a head's cache that a query sees; span rows a group.
fn attend(c: Call, k: u32, v: u32, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
    let heads = count(k, E0); let context = count(k, E1); let width = count(k, E2);
    let quad_count = width / 4u;
    let mine = group * (quad_count + width);
    let first_row = head / (count(c.b, COLS) / width / heads) * context;
    // The query, quantised.
    let q = row_at(c.b, row) + head * width;
    var top = 0u;
    for (var i = lane; i < width; i += LANES) { top = max(top, magnitude(i32(word(c.b, q + i)))); }
    let shift = shift_to_22(largest_unsigned_of_lanes(top, lane));
    top = 0u;
    for (var i = lane; i < width; i += LANES) { top = max(top, magnitude(shift_down(i32(word(c.b, q + i)), shift))); }
    let s = seven_bits(shift, largest_unsigned_of_lanes(top, lane), field(c.b, FRAC));
    let size = multiply_scales(s.scale, scale);
    for (var quad = lane; quad < quad_count; quad += LANES) {
        var x: vec4<i32>;
        for (var i = 0u; i < 4u; i++) { x[i] = quantised(i32(word(c.b, q + 4u * quad + i)), s); }
        scratch[mine + quad] = pack_word(x.x, x.y, x.z, x.w) ^ 0x80808080u;
    }
    for (var i = lane; i < width; i += LANES) { scratch[mine + quad_count + i] = 0u; }
    storageBarrier();
    let n = stop - start;
    let fewer = shift_of(n, 10); let lighter = shift_of(n, 16);
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
        let reference = (largest_of_lanes(score, lane) + 65535) >> 16u;
        let lift = largest_of_lanes(value_scale.e, lane);
        var w = 0; var share = 0;
        if (inside) {
            w = exp2_negative((u32(reference) << 16u) - u32(score));
            share = shift_round(multiply_unsigned(u32(w), value_scale.m), lift - value_scale.e + 18).v;
        }
        weights[lane] = share;
        let light = shift_down(sum_of_lanes(w, lane), lighter);  // a barrier for the weights, too
        let block = min(stop - first, LANES);
        let e = reference + lift;
        let joined = max(total_e, e);
        for (var i = lane; i < width; i += LANES) {
            var sum = 0;
            for (var j = 0u; j < block; j++) {
                let at = row_at(v, first_row + first + j);
                sum += weights[j] * byte_of(four(v, at, 0u, i / 4u), i);
            }
            let before = i32(scratch[mine + quad_count + i]);
            scratch[mine + quad_count + i] = u32(shift_down(before, u32(min(joined - total_e, 32)))
                + shift_down(shift_down(sum, fewer), u32(min(joined - e, 32))));
        }
        total_e = joined;
        let heavier = max(weight_e, reference);
        weight = shift_down(weight, u32(min(heavier - weight_e, 32))) + shift_down(light, u32(min(heavier - reference, 32)));
        weight_e = heavier;
        workgroupBarrier();
    }
    let inverse = reciprocal(vec2<u32>(u32(weight), 0u));
    let e = inverse.e + total_e + i32(fewer) + 18 - weight_e - i32(lighter) + field(c.g, FRAC);
    let target_row = row_at(c.g, row) + head * width;
    for (var i = lane; i < width; i += LANES) {
        put(target_row + i, rescale(i32(scratch[mine + quad_count + i]), inverse.m, e));
    }
    storageBarrier();
}

fn uniform_range(start: u32, stop: u32, lane: u32) -> vec2<u32> {
    if (lane == 0u) { ranges = vec2<u32>(start, stop); }
    return workgroupUniformLoad(&ranges);
}

// Parameters: k, v, position, scale.
fn op_attentioncausal(c: Call, group: u32, groups: u32, lane: u32) {
    let k = count(c.a, 0u); let v = count(c.a, 1u);
    let heads = count(c.b, COLS) / count(k, E2);
    let position = scalar(count(c.a, 2u));
    for (var i = group; i < c.rows_g * heads; i += groups) {
        let last = clamp_position(position, i / heads, count(k, E1));
        let tokens = uniform_range(0u, last + 1u, lane);
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
        let tokens = uniform_range(start, min(start + wanted, context), lane);
        attend(c, k, v, scale_of(count(c.a, 4u)), i / heads, i % heads, tokens.x, tokens.y, group, lane);
    }
}
