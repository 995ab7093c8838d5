// Products: exact sums of bytes; 256 * high + low is shifted down as far as its largest value may need.

// The bits of terms * 2^14 (of three planes * 257, of four * 257^2) beyond 31.
fn excess(terms: u32, plane_count: u32) -> u32 {
    let most = multiply_unsigned(terms * select(1u, 257u, plane_count > 2u), select(1u, 257u, plane_count > 3u));
    return u32(max(select(bit_length(most.x), 32 + bit_length(most.y), most.y > 0u) - 17, 0));
}

fn scaled(c: Call, row: u32, col: u32, total: i32, shift: u32) -> Fitted {
    let s = multiply_scales(row_scale(c.b, row), row_scale(c.a, col));
    return add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(c.a, col));
}

// Four words of weights, so far apart; behind the last one it again.
fn apart(start: u32, q: u32, step: u32, last: u32) -> vec4<u32> {
    return vec4<u32>(
        weight_four(start, min(q, last)), weight_four(start, min(q + step, last)),
        weight_four(start, min(q + 2u * step, last)), weight_four(start, min(q + 3u * step, last)),
    );
}

// Lanes that take a weight row together, as a power of two, where a workgroup has so many.
fn lanes_together(rows: u32) -> u32 {
    return u32(max(bit_length(LANES) - 1 - bit_length(max(rows, 1u) - 1u), 3));
}

// So many words of each plane of a row, from one on; behind them a zero.
fn hold(d: Tensor, start: u32, first: u32, part: u32, lane: u32) {
    now_holds(0u, lane);
    workgroupBarrier();
    for (var i = lane; i < part; i += LANES) {
        staged[i] = four(d, start, 0u, first + i);
        if (planes(d) == 2u) { staged[HALF_STAGED + i] = four(d, start, 1u, first + i); }
    }
    if (lane == 0u) {
        staged_scale = ld(start + d.row_words - 1u);
        staged[part] = 0u;
        staged[HALF_STAGED + part] = 0u;
    }
    workgroupBarrier();
}

// A row's activations, unless they are at hand.
fn hold_row(c: Call, row: u32, lane: u32) {
    let x = row_at(c.b, row);
    if (c.rows_g > 1u || !is_held(x)) {
        hold(c.b, x, 0u, quads(c.b), lane);
        if (c.rows_g == 1u) { now_holds(x, lane); }
    }
}

struct Sums { low: i32, high: i32 }

fn dots_apart(w: vec4<u32>, q: u32, step: u32, end: u32, two: bool) -> Sums {
    let at = min(vec4<u32>(q, q + step, q + 2u * step, q + 3u * step), vec4<u32>(end));
    let low = dot4I8Packed(w.x, staged[at.x]) + dot4I8Packed(w.y, staged[at.y]) + dot4I8Packed(w.z, staged[at.z]) + dot4I8Packed(w.w, staged[at.w]);
    if (!two) { return Sums(low, 0); }
    let above = at + HALF_STAGED;
    let high = dot4I8Packed(w.x, staged[above.x]) + dot4I8Packed(w.y, staged[above.y]) + dot4I8Packed(w.z, staged[above.z]) + dot4I8Packed(w.w, staged[above.w]);
    return Sums(low, high);
}

// Which of the products a place in their one list of rows is of, and the column there.
struct Place { product: u32, col: u32 }

fn place_of(c: Call, at: u32, group: u32, groups: u32) -> Place {
    var rest = at; var i = 0u;
    var share = share_of_rows(c, 0u, group, groups);
    while (rest >= share.y && i + 1u < c.products) {
        rest -= share.y;
        i += 1u;
        share = share_of_rows(c, i, group, groups);
    }
    return Place(i, share.x + rest);
}

// x times weight transposed, of a few rows: each workgroup has its share of the weights' rows, of several
// products of the same x one after the other, and as many lanes take a row together as it has lanes for.
fn linear_of_few(c: Call, group: u32, groups: u32, lane: u32) {
    let words = quads(c.b);
    let two = planes(c.b) == 2u;
    let shift = excess(c.b.cols, planes(c.b) + 1u);
    let near_enough = can_hold(c.b);
    var mine = share_of_rows(c, 0u, group, groups).y;
    for (var i = 1u; i < c.products; i++) { mine += share_of_rows(c, i, group, groups).y; }
    let rows = agree(vec2<u32>(mine, 0u), lane).x;
    if (rows > LANES / 8u && near_enough && rows_by_subgroups(c, rows, shift, group, groups, lane)) { return; }
    let bits = lanes_together(rows);
    let together = 1u << bits; let each = LANES >> bits;
    for (var row = 0u; row < c.rows_g; row++) {
        let x = row_at(c.b, row);
        if (near_enough) { hold_row(c, row, lane); }
        for (var block = 0u; block < rows; block += each) {
            let one = place_of(c, min(block + (lane >> bits), rows - 1u), group, groups);
            let w = weight_at(weights_of(c, one.product), one.col);
            // Who finishes a column is who goes on with it, element by element.
            let turn = (lane - block) % LANES;
            let finishes = turn < each && block + turn < rows;
            let its = place_of(c, min(block + turn, rows - 1u), group, groups);
            let d = weights_of(c, its.product);
            let g = result_of(c, its.product);
            let weight_scale = row_scale(d, its.col);
            let its_bias = bias(d, its.col);
            var low = 0; var high = 0;
            for (var first = 0u; first < words; first += MOST_AT_HAND) {
                let part = min(words - first, MOST_AT_HAND);
                if (!near_enough) { hold(c.b, x, first, part, lane); }
                for (var q = lane & (together - 1u); q < part; q += 8u << bits) {
                    let v0 = apart(w + first, q, together, part - 1u);
                    let v1 = apart(w + first, q + (4u << bits), together, part - 1u);
                    let s0 = dots_apart(v0, q, together, part, two);
                    let s1 = dots_apart(v1, q + (4u << bits), together, part, two);
                    low += s0.low + s1.low;
                    high += s0.high + s1.high;
                }
            }
            gather(low, high, together, lane);
            if (finishes) {
                let team = gathered_of(turn, together);
                let s = multiply_scales(scale_of(staged_scale), weight_scale);
                let total = joined(team.x, team.y, shift, two);
                put(row_at(g, row) + its.col, add(rescale(total, s.m, s.e + i32(shift) + g.frac), its_bias));
            }
            workgroupBarrier();
        }
    }
}

fn joined(low: i32, high: i32, shift: u32, two: bool) -> i32 {
    return select(low, (high << (8u - shift)) + shift_down(low, shift), two);
}

// The same of many rows, in tiles of SPAN columns and WIDE rows of planes: 64 rows of one plane, 32 of two.
// A lane has eight by four sums; of the words that stand in workgroup memory, a vector for four rows or
// columns, each party of 64 lanes takes eight. What the parties have is summed at the end.
const PARTIES: u32 = LANES / 64u;
const WORDS: u32 = 8u * PARTIES;
const APART: u32 = WIDE / 4u + 1u;  // vectors of a word of rows, and one that keeps banks apart
const APART_TOO: u32 = SPAN / 4u + 1u;  // of columns

const POOL: u32 = max(max(SIDE * SIDES, HALVES * (WIDE + 2u * TALL)), WORDS * (APART + APART_TOO));

var<workgroup> pool: array<vec4<u32>, POOL>;

fn outer(a: u32, w: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(a, w.x), dot4I8Packed(a, w.y), dot4I8Packed(a, w.z), dot4I8Packed(a, w.w));
}

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// A word from each of four places.
fn of_weights(at: vec4<u32>, word: u32, words: u32) -> vec4<u32> {
    if (word >= words) { return vec4<u32>(); }
    return vec4<u32>(weight_four(at.x, word), weight_four(at.y, word), weight_four(at.z, word), weight_four(at.w, word));
}

fn of_rows(at: vec4<u32>, word: u32, words: u32) -> vec4<u32> {
    if (word >= words) { return vec4<u32>(); }
    return vec4<u32>(ld(at.x + word), ld(at.y + word), ld(at.z + word), ld(at.w + word)) ^ vec4<u32>(0x80808080u);
}

// What sums of a tile are multiplied with, and what is added.
var<workgroup> tile_rows: array<u32, UNIT_ROWS>;
var<workgroup> tile_cols: array<vec2<u32>, UNIT_COLS>;

fn hold_scales(c: Call, row0: u32, rows: u32, col0: u32, cols: u32, lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < rows; i += LANES) {
        tile_rows[i] = scale_word(row_scale(c.b, min(row0 + i, c.rows_g - 1u)));
    }
    for (var i = lane; i < cols; i += LANES) {
        let col = min(col0 + i, c.a.rows - 1u);
        tile_cols[i] = vec2<u32>(scale_word(row_scale(c.a, col)), u32(bias(c.a, col)));
    }
}

// An element of the result, of a row and a column of the tile.
fn put_of_tile(c: Call, row0: u32, y: u32, col0: u32, x: u32, total: i32, shift: u32) {
    if (row0 + y >= c.rows_g || col0 + x >= c.a.rows) { return; }
    let s = multiply_scales(scale_of(tile_rows[y]), scale_of(tile_cols[x].x));
    put(row_at(c.g, row0 + y) + col0 + x,
        add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), i32(tile_cols[x].y)));
}

// Where four rows of planes begin: of two planes, the low one's rows stand before the high one's.
fn row_of_plane(c: Call, row0: u32, at: vec4<u32>, tall: u32) -> vec4<u32> {
    let row = min(row0 + (at & vec4<u32>(tall - 1u)), vec4<u32>(c.rows_g - 1u));
    return c.b.start + row * c.b.row_words + select(vec4<u32>(), vec4<u32>(quads(c.b)), at >= vec4<u32>(tall));
}

fn linear_of_many(c: Call, group: u32, groups: u32, lane: u32) {
    let n = c.a.rows; let words = quads(c.a);
    let plane_count = planes(c.b); let two = plane_count == 2u;
    let shift = excess(c.b.cols, plane_count + 1u);
    let tall = WIDE / plane_count;
    let across = (n + SPAN - 1u) / SPAN;
    let tiles = across * ((c.rows_g + tall - 1u) / tall);
    let x = lane % 8u; let y = lane / 8u % 8u; let party = lane / 64u;
    // A lane fetches a word of twice four rows and of four columns.
    let word = lane % WORDS; let quad = lane / WORDS;
    let into = word * APART + quad; let into_too = WORDS * APART + word * APART_TOO + quad;
    for (var tile = group; tile < tiles; tile += groups) {
        let col0 = tile % across * SPAN; let row0 = tile / across * tall;
        let col = vec4<u32>(col0 + 4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let row = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let w_at = vec4<u32>(
            weight_at(c.a, min(col.x, n - 1u)), weight_at(c.a, min(col.y, n - 1u)),
            weight_at(c.a, min(col.z, n - 1u)), weight_at(c.a, min(col.w, n - 1u)),
        );
        hold_scales(c, row0, tall, col0, SPAN, lane);
        let a_at = row_of_plane(c, row0, row, tall);
        let b_at = row_of_plane(c, row0, row + WIDE / 2u, tall);
        var s0 = vec4<i32>(); var s1 = vec4<i32>(); var s2 = vec4<i32>(); var s3 = vec4<i32>();
        var s4 = vec4<i32>(); var s5 = vec4<i32>(); var s6 = vec4<i32>(); var s7 = vec4<i32>();
        var next_a = of_rows(a_at, word, words); var next_b = of_rows(b_at, word, words);
        var next_w = of_weights(w_at, word, words);
        for (var first = 0u; first < words; first += WORDS) {
            workgroupBarrier();
            pool[into] = next_a;
            pool[into + WIDE / 8u] = next_b;
            pool[into_too] = next_w;
            workgroupBarrier();
            // The next ones are under way meanwhile.
            let next = first + WORDS + word;
            next_a = of_rows(a_at, next, words);
            next_b = of_rows(b_at, next, words);
            next_w = of_weights(w_at, next, words);
            let begin = 8u * party;
            for (var i = begin; i < min(begin + 8u, words - first); i++) {
                let a0 = pool[i * APART + y]; let a1 = pool[i * APART + y + 8u];
                let w = pool[WORDS * APART + i * APART_TOO + x];
                s0 += outer(a0.x, w); s1 += outer(a0.y, w); s2 += outer(a0.z, w); s3 += outer(a0.w, w);
                s4 += outer(a1.x, w); s5 += outer(a1.y, w); s6 += outer(a1.z, w); s7 += outer(a1.w, w);
            }
        }
        // Of two planes, the second four rows of sums are the high plane's of the first four.
        var sums = array<vec4<i32>, 8>(s0, s1, s2, s3, s4, s5, s6, s7);
        for (var j = 0u; j < 4u; j++) {
            workgroupBarrier();
            pool[party * 128u + lane % 64u] = bitcast<vec4<u32>>(sums[j]);
            pool[party * 128u + 64u + lane % 64u] = bitcast<vec4<u32>>(sums[4u + j]);
            workgroupBarrier();
            for (var i = lane; i < 512u / plane_count; i += LANES) {
                let cell = i / 4u;
                var low = 0; var high = 0;
                for (var from_party = 0u; from_party < PARTIES; from_party++) {
                    low += i32(pool[from_party * 128u + cell][i % 4u]);
                    if (two) { high += i32(pool[from_party * 128u + 64u + cell][i % 4u]); }
                }
                let row = cell / 64u * 32u + cell % 64u / 8u * 4u + j;
                let col = cell % 8u * 4u + i % 4u;
                put_of_tile(c, row0, row, col0, col, joined(low, high, shift, two), shift);
            }
        }
        workgroupBarrier();
    }
}

fn op_linear(c: Call, group: u32, groups: u32, lane: u32) {
    let few = c.rows_g <= FEW;
    if (is_grouped(c.a)) {
        if (few) { groups_of_few(c, group, groups, lane); } else { groups_of_many(c, group, groups, lane); }
        return;
    }
    if (few) { linear_of_few(c, group, groups, lane); } else { linear_of_many(c, group, groups, lane); }
}

// Both sides activations, of one or two planes each; an element a lane.
fn op_matmul(c: Call, group: u32, groups: u32, lane: u32) {
    let n = c.a.rows; let words = quads(c.a);
    let shift = excess(c.b.cols, planes(c.b) + planes(c.a));
    for (var i = group * LANES + lane; i < c.rows_g * n; i += groups * LANES) {
        let row = i / n; let col = i % n;
        let x = row_at(c.b, row); let w = row_at(c.a, col);
        var low = 0; var mid = pair(0); var high = 0;
        for (var q = 0u; q < words; q++) {
            let a = four(c.b, x, 0u, q); let b = four(c.a, w, 0u, q);
            low += dot4I8Packed(a, b);
            var cross = 0;
            if (planes(c.b) == 2u) { cross += dot4I8Packed(four(c.b, x, 1u, q), b); }
            if (planes(c.a) == 2u) { cross += dot4I8Packed(a, four(c.a, w, 1u, q)); }
            if (planes(c.b) == 2u && planes(c.a) == 2u) { high += dot4I8Packed(four(c.b, x, 1u, q), four(c.a, w, 1u, q)); }
            mid = pair_add(mid, pair(cross));
        }
        var total = pair_add(pair(low), vec2<u32>(mid.x << 8u, (mid.y << 8u) | (mid.x >> 24u)));
        total = pair_add(total, vec2<u32>(u32(high) << 16u, u32(high >> 16u)));
        put(row_at(c.g, row) + col, scaled(c, row, col, i32(pair_shift_round(total, shift).x), shift));
    }
}

// Parameters of Conv2D: weight, height, width, size, stride, pad.
fn op_conv2d(c: Call, group: u32, groups: u32, lane: u32) {
    let w = parameter_tensor(c, 0u); let height = i32(parameter(c, 1u)); let width = i32(parameter(c, 2u));
    let size = i32(parameter(c, 3u)); let stride = i32(parameter(c, 4u)); let pad = i32(parameter(c, 5u));
    let channels = i32(c.b.cols) / (height * width);
    let kernels = w.rows; let across = u32((width + 2 * pad - size) / stride + 1);
    let cols = c.g.cols;
    let shift = excess(w.cols, planes(c.b) + 1u);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let col = i % cols;
        let kernel = col % kernels; let place = col / kernels;
        let top = i32(place / across) * stride - pad; let left = i32(place % across) * stride - pad;
        let x = row_at(c.b, row); let weights = weight_at(w, kernel);
        var low = 0; var high = 0;
        for (var ky = max(-top, 0); ky < min(size, height - top); ky++) {
            for (var kx = max(-left, 0); kx < min(size, width - left); kx++) {
                let pixel = ((top + ky) * width + left + kx) * channels;
                let weight_at = (ky * size + kx) * channels;
                for (var ch = 0; ch < channels; ch++) {
                    let a = u32(pixel + ch); let b = u32(weight_at + ch);
                    let v = weight(weights, b);
                    low += v * byte_of(four(c.b, x, 0u, a / 4u), a);
                    if (planes(c.b) == 2u) { high += v * byte_of(four(c.b, x, 1u, a / 4u), a); }
                }
            }
        }
        let total = select(low, (high << (8u - shift)) + shift_down(low, shift), planes(c.b) == 2u);
        let s = multiply_scales(row_scale(c.b, row), row_scale(w, kernel));
        put(row_at(c.g, row) + col, add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(w, kernel)));
    }
}

// A window of a pool: the place of its first element, size, and how far it is to the next row and column.
struct Window { first: u32, size: u32, down: u32, right: u32 }

// Parameters of the pools: height, width, size, stride.
fn window(c: Call, row: u32, col: u32) -> Window {
    let width = parameter(c, 1u); let size = parameter(c, 2u); let stride = parameter(c, 3u);
    let channels = c.b.cols / (parameter(c, 0u) * width);
    let across = (width - size) / stride + 1u;
    let place = col / channels;
    let at = (place / across * width + place % across) * stride;
    return Window(row_at(c.b, row) + at * channels + col % channels, size, width * channels, channels);
}

fn in_window(c: Call, w: Window, i: u32) -> i32 {
    return i32(ld(w.first + i / w.size * w.down + i % w.size * w.right));
}

fn op_maxpool(c: Call, group: u32, groups: u32, lane: u32) {
    for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
        let row = i / c.cols; let col = c.first + i % c.cols;
        let w = window(c, row, col);
        var top = LOWEST;
        for (var j = 0u; j < w.size * w.size; j++) { top = max(top, in_window(c, w, j)); }
        put_word(row_at(c.g, row) + col, top);
    }
}

fn op_avgpool(c: Call, group: u32, groups: u32, lane: u32) {
    for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
        let row = i / c.cols; let col = c.first + i % c.cols;
        let w = window(c, row, col);
        var high = 0; var low = 0u;
        for (var j = 0u; j < w.size * w.size; j++) {
            let v = in_window(c, w, j);
            high += v >> 16u;
            low += u32(v) & 65535u;
        }
        put_word(row_at(c.g, row) + col, mean(pair_of_halves(high, low), w.size * w.size));
    }
}
