// Sample: one workgroup. Scratch holds the logits with their penalty, then the candidates.

var<workgroup> found: atomic<u32>;

fn counted(value: u32) -> u32 { return value ^ 0x80000000u; }  // an order of i32 as one of u32

fn sum_u32(value: u32, lane: u32) -> u32 { return u32(sum_of_lanes(i32(value), lane)); }

// How many adjusted logits are above a bound (in the order of u32).
fn above(cols: u32, bound: u32, lane: u32) -> u32 {
    var n = 0u;
    for (var i = lane; i < cols; i += LANES) { n += select(0u, 1u, counted(scratch[i]) > bound); }
    return sum_u32(n, lane);
}

fn equal_up_to(cols: u32, bound: u32, last: u32, lane: u32) -> u32 {
    var n = 0u;
    for (var i = lane; i < cols && i <= last; i += LANES) { n += select(0u, 1u, counted(scratch[i]) == bound); }
    return sum_u32(n, lane);
}

fn draw(random: u32) -> u32 {
    let low = word(random, flat_at(random, 0u)); let high = word(random, flat_at(random, 1u));
    let state = vec2<u32>(low, high);
    // PCG32, XSH RR 64/32.
    let mixed = vec2<u32>((low >> 18u) | (high << 14u), high >> 18u) ^ state;
    let bits = (mixed.x >> 27u) | (mixed.y << 5u);
    let turn = high >> 27u;
    let result = (bits >> turn) | (bits << ((32u - turn) & 31u));
    var next = multiply_unsigned(low, PCG_LOW);
    next.y += low * PCG_HIGH + high * PCG_LOW;
    next = pair_add(next, vec2<u32>(PCG_STEP_LOW, PCG_STEP_HIGH));
    let start = count(random, START);
    st(start, next.x);
    st(start + 1u, next.y);
    return result;
}

// Parameters: temperature, top_k, top_p, penalty, history, random.
fn op_sample(c: Call, group: u32, groups: u32, lane: u32) {
    if (group != 0u) { return; }
    let cols = count(c.b, COLS);
    let start = row_at(c.b, 0u);
    for (var i = lane; i < cols; i += LANES) { scratch[i] = word(c.b, start + i); }
    storageBarrier();
    let penalty = u32(max(scalar(count(c.a, 3u)), 1));
    let factor = normalise(penalty, -16);
    let inverse = reciprocal(vec2<u32>(penalty, 0u));
    let history = count(c.a, 4u);
    for (var i = lane; i < used(history); i += LANES) {
        let token = clamp_index(number(history, i, 0u), cols);
        let x = i32(word(c.b, start + token));
        var y = rescale(x, factor.m, factor.e);
        if (x > 0) { y = rescale(x, inverse.m, inverse.e + 16); }
        scratch[token] = u32(y.v);
    }
    storageBarrier();
    workgroupBarrier();
    let limit = u32(clamp(scalar(count(c.a, 1u)), 1, i32(min(CANDIDATES, cols))));
    // The limit-th largest: the smallest bound that fewer than limit are above.
    var bound = 0u;
    for (var step = 0x80000000u; step > 0u; step = step >> 1u) {
        // Keep the bit when at least limit stand at or above bound + step.
        if (above(cols, bound + step - 1u, lane) >= limit) { bound += step; }
    }
    let rest = limit - above(cols, bound, lane);
    var last = 0u;
    for (var step = 1u << 28u; step > 0u; step = step >> 1u) {
        if (equal_up_to(cols, bound, last + step - 1u, lane) < rest) { last += step; }
    }
    if (lane == 0u) { atomicStore(&found, 0u); }
    workgroupBarrier();
    for (var i = lane; i < cols; i += LANES) {
        let v = counted(scratch[i]);
        if (v > bound || (v == bound && i <= last)) { scratch[cols + atomicAdd(&found, 1u)] = i; }
    }
    storageBarrier();
    workgroupBarrier();
    // Their order: values falling, then indexes rising.
    for (var i = lane; i < limit; i += LANES) {
        let token = scratch[cols + i];
        let v = counted(scratch[token]);
        var rank = 0u;
        for (var j = 0u; j < limit; j++) {
            let other_token = scratch[cols + j];
            let w = counted(scratch[other_token]);
            rank += select(0u, 1u, w > v || (w == v && other_token < token));
        }
        scratch[cols + CANDIDATES + rank] = token;
    }
    storageBarrier();
    workgroupBarrier();
    if (lane != 0u) { return; }
    let order = cols + CANDIDATES;
    let warmth = scalar(count(c.a, 0u));
    let target_at = row_at(c.g, 0u);
    if (warmth <= 0) {
        put_word(target_at, i32(scratch[order]));
        return;
    }
    let cold = multiply_scales(reciprocal(vec2<u32>(u32(warmth), 0u)), Scale(LOG2E_M, LOG2E_E));
    let best = i32(scratch[scratch[order]]);
    var total = 0u;
    for (var i = 0u; i < limit; i++) {
        let distance = subtract(best, i32(scratch[scratch[order + i]])).v;
        total += u32(exp2_negative(u32(rescale(distance, cold.m, cold.e + 32 - field(c.b, FRAC)).v)));
        scratch[cols + i] = total;
    }
    let share = clamp(scalar(count(c.a, 2u)), 0, 65536);
    let enough = u32(max(shift_round(multiply(i32(total), share), 16).v, 1));
    var kept = 0u;
    while (scratch[cols + kept] < enough) { kept += 1u; }
    let goal = multiply_unsigned(draw(count(c.a, 5u)), scratch[cols + kept]).y;
    var at = 0u;
    while (scratch[cols + at] <= goal) { at += 1u; }
    put_word(target_at, i32(scratch[order + at]));
}
