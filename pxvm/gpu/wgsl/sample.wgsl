// Sample: one workgroup. TopK: one a row. Scratch holds the logits with their penalty, then the candidates.

var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> found: atomic<u32>;

fn counted(value: u32) -> u32 { return value ^ 0x80000000u; }  // an order of i32 as one of u32

const IN_SCRATCH: u32 = 0xffffffffu;

// A number of a row that begins there, in the order that begins with the largest.
fn descending(start: u32, i: u32) -> u32 {
    if (start == IN_SCRATCH) { return ~counted(scratch[i]); }
    return ~counted(ld(start + i));
}

// The rank-th smallest key, from 1 on, and how many of those equal to it are among the rank: eight bits
// after the other. A key is a number, the largest first, or the place of one that equals bound.
fn ranked(start: u32, cols: u32, rank: u32, places: bool, bound: u32, lane: u32) -> vec2<u32> {
    var part = vec2<u32>(0u, rank);
    for (var shift = 32u; shift > 0u; shift -= 8u) {
        for (var i = lane; i < 256u; i += LANES) { atomicStore(&bins[i], 0u); }
        workgroupBarrier();
        for (var i = lane; i < cols; i += LANES) {
            let v = descending(start, i);
            let key = select(v, i, places);
            let begins = shift == 32u || key >> (shift & 31u) == part.x;
            if (begins && (!places || v == bound)) { atomicAdd(&bins[(key >> (shift - 8u)) & 255u], 1u); }
        }
        workgroupBarrier();
        var rest = part.y; var bin = 0u;
        if (lane == 0u) {
            while (bin < 255u && atomicLoad(&bins[bin]) < rest) {
                rest -= atomicLoad(&bins[bin]);
                bin += 1u;
            }
        }
        part = agree(vec2<u32>((part.x << 8u) | bin, rest), lane);
    }
    return part;
}

fn draw(random: Tensor) -> u32 {
    let low = ld(flat_at(random, 0u)); let high = ld(flat_at(random, 1u));
    let state = vec2<u32>(low, high);
    // PCG32, XSH RR 64/32.
    let mixed = vec2<u32>((low >> 18u) | (high << 14u), high >> 18u) ^ state;
    let bits = (mixed.x >> 27u) | (mixed.y << 5u);
    let turn = high >> 27u;
    let result = (bits >> turn) | (bits << ((32u - turn) & 31u));
    var next = multiply_unsigned(low, PCG_LOW);
    next.y += low * PCG_HIGH + high * PCG_LOW;
    next = pair_add(next, vec2<u32>(PCG_STEP_LOW, PCG_STEP_HIGH));
    let start = random.start;
    st(start, next.x);
    st(start + 1u, next.y);
    return result;
}

// Parameters: temperature, top_k, top_p, penalty, history, random.
fn op_sample(c: Call, group: u32, groups: u32, lane: u32) {
    if (group != 0u) { return; }
    let cols = c.b.cols;
    let start = row_at(c.b, 0u);
    let settings = agree(vec2<u32>(u32(scalar(parameter_tensor(c, 0u))), u32(max(scalar(parameter_tensor(c, 3u)), 1))), lane);
    let warmth = i32(settings.x); let penalty = settings.y;
    let plain = warmth <= 0 && penalty == 65536u;  // no logit becomes another
    if (!plain) {
        for (var i = lane; i < cols; i += LANES) { scratch[i] = ld(start + i); }
        storageBarrier();
    }
    let factor = normalise(penalty, -16);
    let inverse = reciprocal(vec2<u32>(penalty, 0u));
    let history = parameter_tensor(c, 4u);
    for (var i = lane; i < used(history); i += LANES) {
        let token = clamp_index(number(history, i, 0u), cols);
        if (plain) { continue; }
        let x = i32(ld(start + token));
        var y = rescale(x, factor.m, factor.e);
        if (x > 0) { y = rescale(x, inverse.m, inverse.e + 16); }
        scratch[token] = u32(y.v);
    }
    storageBarrier();
    workgroupBarrier();
    let target_at = row_at(c.g, 0u);
    if (warmth <= 0) {  // the largest, the lowest place among equals
        var top = LOWEST; var at = 0xffffffffu;
        for (var i = lane; i < cols; i += 4u * LANES) {
            var v = vec4<i32>();
            for (var j = 0u; j < 4u; j++) {
                let place_of_v = min(i + j * LANES, cols - 1u);
                if (plain) { v[j] = i32(ld(start + place_of_v)); } else { v[j] = i32(scratch[place_of_v]); }
            }
            for (var j = 0u; j < 4u; j++) {
                if (v[j] > top || at == 0xffffffffu) { top = v[j]; at = min(i + j * LANES, cols - 1u); }
            }
        }
        let best = largest_of_lanes(top, lane);
        let found_at = ~largest_unsigned_of_lanes(~select(0xffffffffu, at, top == best), lane);
        if (lane == 0u) { put_word(target_at, i32(found_at)); }
        return;
    }
    let limit = u32(clamp(scalar(parameter_tensor(c, 1u)), 1, i32(min(CANDIDATES, cols))));
    let bound = ranked(IN_SCRATCH, cols, limit, false, 0u, lane);
    let last = ranked(IN_SCRATCH, cols, bound.y, true, bound.x, lane).x;
    if (lane == 0u) { atomicStore(&found, 0u); }
    workgroupBarrier();
    for (var i = lane; i < cols; i += LANES) {
        let v = descending(IN_SCRATCH, i);
        if (v < bound.x || (v == bound.x && i <= last)) { scratch[cols + atomicAdd(&found, 1u)] = i; }
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
    let cold = multiply_scales(reciprocal(vec2<u32>(u32(warmth), 0u)), Scale(LOG2E_M, LOG2E_E));
    let best = i32(scratch[scratch[order]]);
    var total = 0u;
    for (var i = 0u; i < limit; i++) {
        let distance = subtract(best, i32(scratch[scratch[order + i]])).v;
        total += u32(exp2_negative(u32(rescale(distance, cold.m, cold.e + 32 - c.b.frac).v)));
        scratch[cols + i] = total;
    }
    let share = clamp(scalar(parameter_tensor(c, 2u)), 0, 65536);
    let enough = u32(max(shift_round(multiply(i32(total), share), 16).v, 1));
    var kept = 0u;
    while (scratch[cols + kept] < enough) { kept += 1u; }
    let goal = multiply_unsigned(draw(parameter_tensor(c, 5u)), scratch[cols + kept]).y;
    var at = 0u;
    while (scratch[cols + at] <= goal) { at += 1u; }
    put_word(target_at, i32(scratch[order + at]));
}

// The largest of a row in order, and their places; a few are looked for one by one.
fn op_topk(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let places = row_at(c.g, row); let values = row_at(c.a, row);
        if (c.g.cols > ONE_BY_ONE) {
            select_best(row_at(c.b, row), c.b.cols, places, values, c.g.cols, lane);
            sort_best(places, values, c.g.cols, lane);
            continue;
        }
        var best = Best(0, 0u);
        for (var k = 0u; k < c.g.cols; k++) {
            best = next_best(c.b, row, best, k == 0u, lane);
            if (lane == 0u) {
                put_word(places + k, i32(best.i));
                put_word(values + k, best.v);
            }
        }
    }
}

// In any order; of those equal to the last, the ones with the lowest places.
fn select_best(start: u32, cols: u32, places: u32, values: u32, count: u32, lane: u32) {
    let bound = ranked(start, cols, count, false, 0u, lane);
    let last = ranked(start, cols, bound.y, true, bound.x, lane).x;
    if (lane == 0u) { atomicStore(&found, 0u); }
    workgroupBarrier();
    for (var i = lane; i < cols; i += LANES) {
        let v = descending(start, i);
        if (v < bound.x || (v == bound.x && i <= last)) {
            let at = atomicAdd(&found, 1u);
            st(places + at, i);
            st(values + at, ld(start + i));
        }
    }
    storageBarrier();
    workgroupBarrier();
}

// Batcher's bitonic sort where they stand, every comparison in the same direction, so that what a power of
// two has more needs no place.
fn sort_best(places: u32, values: u32, count: u32, lane: u32) {
    for (var size = 2u; size < 2u * count; size *= 2u) {
        for (var stride = size / 2u; stride > 0u; stride /= 2u) {
            let turned = stride == size / 2u;
            for (var pair = lane; 2u * pair < count + stride; pair += LANES) {
                let low = pair % stride; let first = (pair / stride) * stride * 2u;
                let i = first + low;
                let j = first + select(stride + low, 2u * stride - 1u - low, turned);
                if (j >= count) { continue; }
                let v = counted(ld(values + i)); let w = counted(ld(values + j));
                let a = ld(places + i); let b = ld(places + j);
                if (w > v || (w == v && b < a)) {
                    st(values + i, counted(w));
                    st(values + j, counted(v));
                    st(places + i, b);
                    st(places + j, a);
                }
            }
            storageBarrier();
            workgroupBarrier();
        }
    }
}
