// Row by row: a workgroup takes a row, its lanes every LANES-th four elements.

const NO_RANGE = vec2<i32>(HIGHEST, LOWEST);

// Four words from the i-th of so many on, of the row from start on; behind the last one it again.
fn four_words(start: u32, i: u32, cols: u32) -> vec4<i32> {
    let at = start + min(vec4<u32>(i, i + 1u, i + 2u, i + 3u), vec4<u32>(cols - 1u));
    return vec4<i32>(i32(ld(at.x)), i32(ld(at.y)), i32(ld(at.z)), i32(ld(at.w)));
}

// A lane's first two fours of a row, which it looks at several times, and the row's range.
struct Near { a: vec4<i32>, b: vec4<i32>, range: vec2<i32> }

// The quad-th four, one of the lane's.
fn near_four(n: Near, start: u32, quad: u32, cols: u32) -> vec4<i32> {
    if (quad < LANES) { return n.a; }
    if (quad < 2u * LANES) { return n.b; }
    return four_words(start, 4u * quad, cols);
}

fn least_of(v: vec4<i32>) -> i32 { return min(min(v.x, v.y), min(v.z, v.w)); }

fn largest_of(v: vec4<i32>) -> i32 { return max(max(v.x, v.y), max(v.z, v.w)); }

fn range_with(range: vec2<i32>, v: vec4<i32>) -> vec2<i32> {
    return vec2<i32>(min(range.x, least_of(v)), max(range.y, largest_of(v)));
}

// So many words, brought near.
fn bring_near(start: u32, cols: u32, lane: u32) -> Near {
    var n = Near(four_words(start, 4u * lane, cols), vec4<i32>(), NO_RANGE);
    n.b = n.a;
    if (cols > 4u * LANES) { n.b = four_words(start, 4u * (lane + LANES), cols); }
    var range = range_with(range_with(NO_RANGE, n.a), n.b);
    for (var i = 4u * (lane + 2u * LANES); i < cols; i += 4u * LANES) { range = range_with(range, four_words(start, i, cols)); }
    workgroupBarrier();
    n.range = range_of_lanes(range, lane);
    return n;
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

fn quantised(x: vec4<i32>, s: Steps) -> vec4<i32> {
    let small = shift_down_four(x, s.shift);
    if (s.m == 0) { return small; }
    let v = 254 * small + s.m;
    let by = 2 * s.m;
    return vec4<i32>(divide_floor(v.x, by), divide_floor(v.y, by), divide_floor(v.z, by), divide_floor(v.w, by));
}

// Four integers of an activation row as words, of one plane or two.
struct Packed { low: u32, high: u32 }

fn bytes_joined(v: vec4<i32>) -> u32 {
    let b = bitcast<vec4<u32>>(v);
    return b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);
}

fn packed(v: vec4<i32>, two: bool) -> Packed {
    if (!two) { return Packed(bytes_joined(v + 128), 0u); }
    let high = (v + 128) >> vec4<u32>(8u);
    return Packed(bytes_joined(v - 256 * high + 128), bytes_joined(high + 128));
}

fn put_quad(d: Tensor, start: u32, quad: u32, p: Packed) {
    st(start + quad, p.low);
    if (planes(d) == 2u) { st(start + quads(d) + quad, p.high); }
}

fn put_scale(d: Tensor, start: u32, s: Scale) { st(start + d.row_words - 1u, scale_word(s)); }

// What a workgroup keeps at hand: mostly activations, each byte less 128, a plane in each half and a zero
// behind it, and their scale.
const HALF_STAGED: u32 = STAGED / 2u;
const MOST_AT_HAND: u32 = HALF_STAGED - 1u;

var<workgroup> staged: array<u32, STAGED>;
var<workgroup> staged_scale: u32;

fn can_hold(d: Tensor) -> bool { return quads(d) <= MOST_AT_HAND; }

// The same, and a row that is the only one stays near for the product that follows.
fn keep_quad(c: Call, start: u32, quad: u32, p: Packed) {
    put_quad(c.g, start, quad, p);
    if (c.rows_g == 1u && can_hold(c.g)) {
        staged[quad] = p.low ^ 0x80808080u;
        staged[HALF_STAGED + quad] = p.high ^ 0x80808080u;
    }
}

fn keep_scale(c: Call, start: u32, s: Scale) {
    put_scale(c.g, start, s);
    if (c.rows_g == 1u && can_hold(c.g)) {
        staged_scale = scale_word(s);
        staged[quads(c.g)] = 0u;
        staged[HALF_STAGED + quads(c.g)] = 0u;
    }
}

fn op_quantise(c: Call, group: u32, groups: u32, lane: u32) {
    for (var row = group; row < c.rows_g; row += groups) {
        let from_row = row_at(c.b, row); let start = row_at(c.g, row); let two = planes(c.g) == 2u;
        let x = bring_near(from_row, c.b.cols, lane);
        let s = steps_of(c.g, x.range, c.b.frac);
        for (var quad = lane; quad < quads(c.g); quad += LANES) {
            keep_quad(c, start, quad, packed(quantised(near_four(x, from_row, quad, c.b.cols), s), two));
        }
        if (lane == 0u) { keep_scale(c, start, s.scale); }
    }
    keeps(c, groups, lane);
}

// One by the root of the mean square and epsilon.
fn norm_scale(c: Call, cols: u32, sum: vec2<u32>, shift: u32) -> Scale {
    let weight_scale = row_scale(c.a, 0u);
    let epsilon = clamp(rescale(i32(cols), weight_scale.m, weight_scale.e + 2 * (c.b.frac - i32(shift))).v, 1, HIGHEST);
    return inverse_root(cols, pair_add(sum, pair(epsilon)));
}

// Of a norm's weights the quad-th four.
fn weights_of_norm(c: Call, quad: u32) -> vec4<i32> {
    let words = row_at(c.a, 0u) + 2u * quad;
    let a = i32(ld(words));
    let b = i32(ld(words + min(1u, (c.a.cols - 1u) / 2u - 2u * quad)));
    return vec4<i32>((a << 16u) >> 16u, a >> 16u, (b << 16u) >> 16u, b >> 16u);
}

// 65536 * high + low
struct Halves { high: i32, low: u32 }

// The sum of a lane's elements, less one number and shifted to 15 bits, squared.
fn squares_of_lane(x: Near, start: u32, cols: u32, less: i32, shift: u32, lane: u32) -> Halves {
    var sum = Halves(0, 0u);
    for (var quad = lane; 4u * quad < cols; quad += LANES) {
        let small = shift_down_four(subtract_four(near_four(x, start, quad, cols), less), shift);
        let at = vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u);
        let square = select(vec4<i32>(), small * small, at < vec4<u32>(cols));
        sum.high += (square.x >> 16u) + (square.y >> 16u) + (square.z >> 16u) + (square.w >> 16u);
        let rest = bitcast<vec4<u32>>(square) & vec4<u32>(65535u);
        sum.low += rest.x + rest.y + rest.z + rest.w;
    }
    return sum;
}

// Of a row, so many columns from ``first`` on; a lane takes every LANES-th four of them: first those
// of the lane's own number, which it looks up once.
fn normalise_part(c: Call, row: u32, first: u32, cols: u32, less: i32, lane: u32) {
    let start = row_at(c.b, row) + first; let target_row = row_at(c.g, row) + first;
    let four_count = (cols + 3u) / 4u;
    let its_weights = weights_of_norm(c, min(lane, four_count - 1u));
    let x = bring_near(start, cols, lane);
    let farthest = farther(vec2<i32>(subtract(x.range.x, less).v, subtract(x.range.y, less).v));
    let shift = u32(max(bit_length(farthest) - 15, 0));
    let squares = squares_of_lane(x, start, cols, less, shift, lane);
    let sum = pair_of_lanes(squares.high, squares.low, lane);
    let weight_frac = c.a.frac;
    let whole = is_activation(c.g);
    var scale = Scale(0u, 0);
    if (!whole) { scale = norm_scale(c, cols, sum, shift); }
    let e = scale.e + c.g.frac - weight_frac;
    var range = NO_RANGE;
    for (var quad = lane; quad < four_count; quad += LANES) {
        var v = shift_down_four(subtract_four(near_four(x, start, quad, cols), less), shift);
        if (quad == lane) { v *= its_weights; } else { v *= weights_of_norm(c, quad); }
        if (whole) {
            range = vec2<i32>(min(range.x, least_of(v)), max(range.y, largest_of(v)));
            continue;
        }
        for (var j = 0u; j < min(quad_size(), cols - 4u * quad); j++) {
            put(target_row + 4u * quad + j, add(rescale(v[j], scale.m, e), bias(c.a, 4u * quad + j)));
        }
    }
    if (!whole) { return; }
    let s = steps_of(c.g, range_of_lanes(range, lane), weight_frac);
    let two = planes(c.g) == 2u;
    for (var quad = lane; quad < four_count; quad += LANES) {
        var v = shift_down_four(subtract_four(near_four(x, start, quad, cols), less), shift);
        if (quad == lane) { v *= its_weights; } else { v *= weights_of_norm(c, quad); }
        keep_quad(c, target_row, quad, packed(quantised(v, s), two));
    }
    // The last lane, which has the least to do, while the others put the row.
    if (lane == LANES - 1u) { keep_scale(c, target_row, multiply_scales(s.scale, norm_scale(c, cols, sum, shift))); }
}

// A row that every workgroup makes for itself stays near.
fn keeps(c: Call, groups: u32, lane: u32) {
    if (c.rows_g == 1u && groups == 1u && is_activation(c.g) && can_hold(c.g)) { now_holds(row_at(c.g, 0u), lane); }
}

fn op_rmsnorm(c: Call, group: u32, groups: u32, lane: u32) {
    let width = c.a.cols;
    for (var row = group; row < c.rows_g; row += groups) {
        for (var first = 0u; first < c.b.cols; first += width) { normalise_part(c, row, first, width, 0, lane); }
    }
    keeps(c, groups, lane);
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
    keeps(c, groups, lane);
}

fn op_l2norm(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = c.b.cols;
    for (var row = group; row < c.rows_g; row += groups) {
        let start = row_at(c.b, row); let target_row = row_at(c.g, row);
        let x = bring_near(start, cols, lane);
        let shift = max(bit_length(farther(x.range)) - 15, 0);
        let squares = squares_of_lane(x, start, cols, 0, u32(shift), lane);
        var sum = pair_of_lanes(squares.high, squares.low, lane);
        if (sum.x == 0u && sum.y == 0u) { sum.x = 1u; }
        let scale = inverse_root(1u, sum);
        let e = scale.e - shift + c.g.frac;
        for (var i = lane; i < cols; i += LANES) { put(target_row + i, rescale(i32(ld(start + i)), scale.m, e)); }
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
    return packed(quantised(four_words(start, 4u * quad, 4u * quad + 4u), s), false).low;
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
