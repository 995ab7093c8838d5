// Row by row: a workgroup takes a row, its lanes every LANES-th element.

// What a row begins with, near at hand for those who look at it several times.
var<workgroup> staged: array<u32, STAGED>;

// The i-th word from start on, of a row that was brought near.
fn near(start: u32, i: u32) -> i32 {
    if (i < STAGED) { return i32(staged[i]); }
    return i32(ld(start + i));
}

const NO_RANGE = vec2<i32>(HIGHEST, LOWEST);

// Brings so many words near, and tells the least and the largest of them.
fn bring_near(start: u32, cols: u32, lane: u32) -> vec2<i32> {
    var range = NO_RANGE;
    workgroupBarrier();
    for (var i = lane; i < cols; i += LANES) {
        let v = i32(ld(start + i));
        if (i < STAGED) { staged[i] = u32(v); }
        range = vec2<i32>(min(range.x, v), max(range.y, v));
    }
    return range_of_lanes(range, lane);
}

fn farther(range: vec2<i32>) -> u32 { return max(magnitude(range.x), magnitude(range.y)); }

// Activations: the integer for x with the row's range given, and the row's scale.
struct Steps { shift: u32, m: i32, scale: Scale }

fn fourteen_bits(range: vec2<i32>, frac: i32) -> Steps {
    let shift = max(bit_length(farther(range)) - 14, 0);
    return Steps(u32(shift), 0, normalise(1u, shift - frac));
}

// The largest magnitude counts after the shift, which keeps the order.
fn seven_bits(range: vec2<i32>, frac: i32) -> Steps {
    let shift = u32(max(bit_length(farther(range)) - 22, 0));
    let small = vec2<i32>(shift_down(range.x, shift), shift_down(range.y, shift));
    let m = max(farther(small), 1u);
    let up = 31 - bit_length(m);
    return Steps(shift, i32(m), normalise((m << u32(up)) / 127u, i32(shift) - frac - up));
}

fn steps_of(d: Tensor, range: vec2<i32>, frac: i32) -> Steps {
    if (planes(d) == 1u) { return seven_bits(range, frac); }
    return fourteen_bits(range, frac);
}

fn quantised(x: i32, s: Steps) -> i32 {
    let small = shift_down(x, s.shift);
    if (s.m == 0) { return small; }
    return divide_floor(254 * small + s.m, 2 * s.m);
}

// Four integers of an activation row as words, of one plane or two.
struct Packed { low: u32, high: u32 }

fn packed(p: Packed, i: u32, v: i32, two: bool) -> Packed {
    if (!two) { return Packed(p.low | (u32(v + 128) << (8u * i)), 0u); }
    let high = (v + 128) >> 8u;
    return Packed(p.low | (u32(v - 256 * high + 128) << (8u * i)), p.high | (u32(high + 128) << (8u * i)));
}

fn put_quad(d: Tensor, start: u32, quad: u32, p: Packed) {
    st(start + quad, p.low);
    if (planes(d) == 2u) { st(start + quads(d) + quad, p.high); }
}

fn put_scale(d: Tensor, start: u32, s: Scale) { st(start + d.row_words - 1u, scale_word(s)); }

fn op_quantise(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let from_row = row_at(c.b, row); let start = row_at(c.g, row); let two = planes(c.g) == 2u;
        let s = steps_of(c.g, bring_near(from_row, c.b.cols, lane), c.b.frac);
        for (var quad = lane; quad < quads(c.g); quad += LANES) {
            var p = Packed(0u, 0u);
            for (var i = 0u; i < quad_size(); i++) { p = packed(p, i, quantised(near(from_row, 4u * quad + i), s), two); }
            put_quad(c.g, start, quad, p);
        }
        if (lane == 0u) { put_scale(c.g, start, s.scale); }
    }
}

// An element of a normalised row: shifted to 15 bits, times its weight.
fn weighed(x: i32, less: i32, shift: u32, weight: i32) -> i32 { return shift_down(subtract(x, less).v, shift) * weight; }

// One by the root of the mean square and epsilon.
fn norm_scale(c: Call, cols: u32, sum: vec2<u32>, shift: u32) -> Scale {
    let weight_scale = row_scale(c.a, 0u);
    let epsilon = clamp(rescale(i32(cols), weight_scale.m, weight_scale.e + 2 * (c.b.frac - i32(shift))).v, 1, HIGHEST);
    return inverse_root(cols, pair_add(sum, pair(epsilon)));
}

// Of a row, so many columns from ``first`` on.
fn normalise_part(c: Call, row: u32, first: u32, cols: u32, less: i32, lane: u32) {
    let start = row_at(c.b, row) + first; let target_row = row_at(c.g, row) + first;
    let span = bring_near(start, cols, lane);
    let farthest = farther(vec2<i32>(subtract(span.x, less).v, subtract(span.y, less).v));
    let shift = u32(max(bit_length(farthest) - 15, 0));
    var high = 0; var low = 0u;
    for (var i = lane; i < cols; i += LANES) {
        let small = shift_down(subtract(near(start, i), less).v, shift);
        let square = small * small;
        high += square >> 16u;
        low += u32(square) & 65535u;
    }
    let sum = pair_of_lanes(high, low, lane);
    let weight_frac = c.a.frac;
    if (!is_activation(c.g)) {
        let scale = norm_scale(c, cols, sum, shift);
        let e = scale.e + c.g.frac - weight_frac;
        for (var i = lane; i < cols; i += LANES) {
            let v = weighed(near(start, i), less, shift, short(c.a, 0u, i));
            put(target_row + i, add(rescale(v, scale.m, e), bias(c.a, i)));
        }
        return;
    }
    var range = NO_RANGE;
    for (var i = lane; i < cols; i += LANES) {
        let v = weighed(near(start, i), less, shift, short(c.a, 0u, i));
        range = vec2<i32>(min(range.x, v), max(range.y, v));
    }
    let s = steps_of(c.g, range_of_lanes(range, lane), weight_frac);
    let two = planes(c.g) == 2u;
    for (var quad = lane; quad < quads(c.g); quad += LANES) {
        var p = Packed(0u, 0u);
        for (var j = 0u; j < quad_size(); j++) {
            let i = 4u * quad + j;
            p = packed(p, j, quantised(weighed(near(start, i), less, shift, short(c.a, 0u, i)), s), two);
        }
        put_quad(c.g, target_row, quad, p);
    }
    // The last lane, which has the least to do, while the others put the row.
    if (lane == LANES - 1u) { put_scale(c.g, target_row, multiply_scales(s.scale, norm_scale(c, cols, sum, shift))); }
}

fn op_rmsnorm(c: Call, group: u32, groups: u32, lane: u32) {
    let width = c.a.cols;
    for (var row = group; row < c.rows_g; row += groups) {
        for (var first = 0u; first < c.b.cols; first += width) { normalise_part(c, row, first, width, 0, lane); }
    }
}

// The sum of a row.
fn row_sum(d: Tensor, row: u32, lane: u32) -> vec2<u32> {
    let start = row_at(d, row);
    var high = 0; var low = 0u;
    for (var i = lane; i < d.cols; i += LANES) {
        let v = i32(ld(start + i));
        high += v >> 16u;
        low += u32(v) & 65535u;
    }
    return pair_of_lanes(high, low, lane);
}

fn op_layernorm(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        normalise_part(c, row, 0u, c.b.cols, mean(row_sum(c.b, row, lane), c.b.cols), lane);
    }
}

fn op_l2norm(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = c.b.cols;
    for (var row = group; row < c.rows_g; row += groups) {
        let start = row_at(c.b, row); let target_row = row_at(c.g, row);
        let shift = max(bit_length(farther(bring_near(start, cols, lane))) - 15, 0);
        var high = 0; var low = 0u;
        for (var i = lane; i < cols; i += LANES) {
            let small = shift_down(near(start, i), u32(shift));
            let square = small * small;
            high += square >> 16u;
            low += u32(square) & 65535u;
        }
        var sum = pair_of_lanes(high, low, lane);
        if (sum.x == 0u && sum.y == 0u) { sum.x = 1u; }
        let scale = inverse_root(1u, sum);
        let e = scale.e - shift + c.g.frac;
        for (var i = lane; i < cols; i += LANES) { put(target_row + i, rescale(near(start, i), scale.m, e)); }
    }
}

fn row_largest(d: Tensor, row: u32, lane: u32) -> i32 {
    let start = row_at(d, row);
    var top = LOWEST;
    for (var i = lane; i < d.cols; i += LANES) { top = max(top, i32(ld(start + i))); }
    return largest_of_lanes(top, lane);
}

fn softmax_weight(x: i32, top: i32, frac: i32) -> i32 {
    return exp2_negative(u32(rescale(subtract(top, x).v, LOG2E_M, LOG2E_E + 16 - frac).v));
}

fn op_softmax(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = c.b.cols; let frac = c.b.frac;
    for (var row = group; row < c.rows_g; row += groups) {
        let start = row_at(c.b, row); let target_row = row_at(c.g, row);
        let top = row_largest(c.b, row, lane);
        var high = 0; var low = 0u;
        for (var i = lane; i < cols; i += LANES) {
            let w = softmax_weight(i32(ld(start + i)), top, frac);
            high += w >> 16u;
            low += u32(w) & 65535u;
        }
        let s = reciprocal(pair_of_lanes(high, low, lane));
        for (var i = lane; i < cols; i += LANES) {
            let w = softmax_weight(i32(ld(start + i)), top, frac);
            put(target_row + i, rescale(w, s.m, s.e + c.g.frac));
        }
    }
}

fn op_sum(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let sum = row_sum(c.b, row, lane);
        if (lane == 0u) { put(row_at(c.g, row), fit(sum)); }
    }
}

fn op_mean(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let sum = row_sum(c.b, row, lane);
        if (lane == 0u) { put_word(row_at(c.g, row), mean(sum, c.b.cols)); }
    }
}

fn op_max(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let top = row_largest(c.b, row, lane);
        if (lane == 0u) { put_word(row_at(c.g, row), top); }
    }
}

fn op_dot(c: Call, group: u32, groups: u32, lane: u32) {
    let shift = c.b.frac + c.a.frac - c.g.frac;
    for (var row = group; row < c.rows_g; row += groups) {
        let left = row_at(c.b, row); let right = row_at(c.a, row);
        var high = 0; var low = 0u;
        for (var i = lane; i < c.b.cols; i += LANES) {
            let term = shift_round(multiply(i32(ld(left + i)), i32(ld(right + i))), shift);
            if (term.over) { st(SATURATED, 1u); }
            high += term.v >> 16u;
            low += u32(term.v) & 65535u;
        }
        let sum = pair_of_lanes(high, low, lane);
        if (lane == 0u) { put(row_at(c.g, row), fit(sum)); }
    }
}

// The largest of those behind (value, index) in the order of value falling, then index rising.
struct Best { v: i32, i: u32 }

fn next_best(d: Tensor, row: u32, after: Best, first: bool, lane: u32) -> Best {
    let start = row_at(d, row);
    var top = LOWEST; var at = 0xffffffffu;
    for (var i = lane; i < d.cols; i += LANES) {
        let v = i32(ld(start + i));
        let open = first || v < after.v || (v == after.v && i > after.i);
        if (open && (v > top || at == 0xffffffffu)) { top = v; at = i; }
    }
    let value = largest_of_lanes(top, lane);
    let found = select(0xffffffffu, at, top == value);
    return Best(value, ~largest_unsigned_of_lanes(~found, lane));
}

fn op_argmax(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let best = next_best(c.b, row, Best(0, 0u), true, lane);
        if (lane == 0u) { put_word(row_at(c.g, row), i32(best.i)); }
    }
}

fn op_topk(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        var best = Best(0, 0u);
        for (var k = 0u; k < c.g.cols; k++) {
            best = next_best(c.b, row, best, k == 0u, lane);
            if (lane == 0u) {
                put_word(row_at(c.g, row) + k, i32(best.i));
                put_word(row_at(c.a, row) + k, best.v);
            }
        }
    }
}

// The range of so many words from where each team of LANES / TOGETHER lanes has its own.
fn range_of_team(start: u32, cols: u32, lane: u32) -> vec2<i32> {
    let team = LANES / TOGETHER; let first = lane / team * team;
    var range = NO_RANGE;
    for (var i = lane - first; i < cols; i += team) {
        let v = i32(ld(start + i));
        range = vec2<i32>(min(range.x, v), max(range.y, v));
    }
    workgroupBarrier();
    gathered[lane] = range.x;
    gathered_too[lane] = u32(range.y);
    workgroupBarrier();
    for (var i = first; i < first + team; i++) {
        range = vec2<i32>(min(range.x, gathered[i]), max(range.y, i32(gathered_too[i])));
    }
    return range;
}

fn quad_of_seven(start: u32, quad: u32, s: Steps) -> u32 {
    var p = Packed(0u, 0u);
    for (var i = 0u; i < quad_size(); i++) { p = packed(p, i, quantised(i32(ld(start + 4u * quad + i)), s), false); }
    return p.low;
}

// Each head of each row to seven bits in the cache; rows behind the end have one place, the last stays.
fn op_append(c: Call, group: u32, groups: u32, lane: u32) {
    let heads = c.g.e0; let context = c.g.e1; let width = c.g.e2;
    let position = scalar(c.a);
    let team = LANES / TOGETHER;
    for (var first = group * TOGETHER; first < c.rows_b * heads; first += groups * TOGETHER) {
        let i = min(first + lane / team, c.rows_b * heads - 1u);
        let row = i / heads; let head = i % heads;
        let place = clamp_position(position, row, context);
        let stays = row + 1u >= c.rows_b || clamp_position(position, row + 1u, context) != place;
        let start = row_at(c.b, row) + head * width;
        let s = seven_bits(range_of_team(start, width, lane), c.b.frac);
        if (stays && i == first + lane / team) {
            let target_row = row_at(c.g, head * context + place);
            for (var quad = lane % team; quad < width / 4u; quad += team) { st(target_row + quad, quad_of_seven(start, quad, s)); }
            if (lane % team == 0u) { put_scale(c.g, target_row, s.scale); }
        }
    }
}

// Parameters of MeanPool: span, lengths.
fn op_meanpool(c: Call, group: u32, groups: u32, lane: u32) {
    let span = parameter_tensor(c, 0u); let lengths = parameter_tensor(c, 1u);
    let cols = c.b.cols;
    let step = u32(clamp(scalar(span), 1, i32(c.b.rows)));
    let known = lengths.rows * lengths.cols;
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let block = i / cols; let col = i % cols;
        let wanted = u32(clamp(number_flat(lengths, min(block, known - 1u)), 1, i32(step)));
        let first = select(block * step, c.rows_b, block > c.rows_b / step);
        let stop = min(first + wanted, c.rows_b);
        var high = 0; var low = 0u; var n = 0u;
        for (var row = first; row < stop; row++) {
            let v = number(c.b, row, col);
            high += v >> 16u;
            low += u32(v) & 65535u;
            n += 1u;
        }
        put_word(row_at(c.g, block) + col, mean(pair_of_halves(high, low), max(n, 1u)));
    }
}
