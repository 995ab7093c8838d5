// As lanes.wgsl, by subgroups: teams of lanes that stand side by side. Where lanes went different ways,
// nothing says that a team is together again behind them (drivers copy what follows), and a sum would
// be of a part; so what each brings goes through workgroup memory and a barrier first, and from there
// on no lane goes another way.
var<private> team: u32;
var<private> place: u32;
var<private> size: u32;

var<workgroup> brought: array<i32, LANES>;
var<workgroup> brought_too: array<u32, LANES>;

fn largest_of_lanes(value: i32, lane: u32) -> i32 {
    brought[lane] = value;
    workgroupBarrier();
    let top = subgroupMax(brought[lane]);
    if (place == 0u) { gathered[team] = top; }
    workgroupBarrier();
    let teams = LANES / size;
    var all = top;
    for (var i = 0u; i < teams; i += size) { all = max(all, gathered[min(i + place, teams - 1u)]); }
    all = subgroupMax(all);
    workgroupBarrier();
    return all;
}

// The sum of 65536 * high + low over the lanes.
fn pair_of_lanes(high: i32, low: u32, lane: u32) -> vec2<u32> {
    brought[lane] = high;
    brought_too[lane] = low;
    workgroupBarrier();
    let team_high = subgroupAdd(brought[lane]);
    let team_low = subgroupAdd(brought_too[lane]);
    if (place == 0u) {
        gathered[team] = team_high;
        gathered_too[team] = team_low;
    }
    workgroupBarrier();
    let teams = LANES / size;
    var all_high = 0; var all_low = 0u;
    for (var i = 0u; i < teams; i += size) {
        let at = min(i + place, teams - 1u); let counts = i + place < teams;
        all_high += select(0, gathered[at], counts);
        all_low += select(0u, gathered_too[at], counts);
    }
    all_high = subgroupAdd(all_high);
    all_low = subgroupAdd(all_low);
    workgroupBarrier();
    return pair_of_halves(all_high, all_low);
}

// The least and the largest of the lanes' ranges.
fn range_of_lanes(range: vec2<i32>, lane: u32) -> vec2<i32> {
    brought[lane] = range.x;
    brought_too[lane] = u32(range.y);
    workgroupBarrier();
    var least = subgroupMin(brought[lane]);
    var largest = subgroupMax(i32(brought_too[lane]));
    if (place == 0u) {
        gathered[team] = least;
        gathered_too[team] = u32(largest);
    }
    workgroupBarrier();
    let teams = LANES / size;
    for (var i = 0u; i < teams; i += size) {
        let at = min(i + place, teams - 1u);
        least = min(least, gathered[at]);
        largest = max(largest, i32(gathered_too[at]));
    }
    least = subgroupMin(least);
    largest = subgroupMax(largest);
    workgroupBarrier();
    return vec2<i32>(least, largest);
}

// The sums of teams of so many lanes, a power of two, that stand side by side: in parts of a subgroup.
fn gather(low: i32, high: i32, together: u32, lane: u32) {
    brought[lane] = low;
    brought_too[lane] = u32(high);
    workgroupBarrier();
    let part = min(together, size);
    var all_low = brought[lane]; var all_high = i32(brought_too[lane]);
    if (part == size) {
        all_low = subgroupAdd(all_low);
        all_high = subgroupAdd(all_high);
    } else {
        for (var step = part / 2u; step > 0u; step = step / 2u) {
            all_low += subgroupShuffleXor(all_low, step);
            all_high += subgroupShuffleXor(all_high, step);
        }
    }
    if (lane % part == 0u) {
        gathered[lane / part] = all_low;
        gathered_too[lane / part] = u32(all_high);
    }
    workgroupBarrier();
}

// The i-th team's.
fn gathered_of(i: u32, together: u32) -> vec2<i32> {
    let parts = max(together / size, 1u);
    var sums = vec2<i32>();
    for (var j = 0u; j < parts; j++) {
        sums += vec2<i32>(gathered[i * parts + j], i32(gathered_too[i * parts + j]));
    }
    return sums;
}

// Of each block of lanes the largest two numbers.
fn largest_of_blocks(a: i32, b: i32, lane: u32) -> vec2<i32> {
    brought[lane] = a;
    brought_too[lane] = u32(b);
    workgroupBarrier();
    let top = subgroupMax(brought[lane]); let top_too = subgroupMax(i32(brought_too[lane]));
    if (place == 0u) {
        gathered[team] = top;
        gathered_too[team] = u32(top_too);
    }
    workgroupBarrier();
    let first = lane / BLOCK * (BLOCK / size);
    var tops = vec2<i32>(top, top_too);
    for (var i = first; i < first + BLOCK / size; i++) { tops = max(tops, vec2<i32>(gathered[i], i32(gathered_too[i]))); }
    return tops;
}

// Of each block of lanes the sum.
fn sum_of_blocks(v: i32, lane: u32) -> i32 {
    brought[lane] = v;
    workgroupBarrier();
    let part = subgroupAdd(brought[lane]);
    if (place == 0u) { gathered[team] = part; }
    workgroupBarrier();
    let first = lane / BLOCK * (BLOCK / size);
    var sum = 0;
    for (var i = first; i < first + BLOCK / size; i++) { sum += gathered[i]; }
    return sum;
}

// A long list of rows in a product of few: a subgroup takes eight at a time, all of its lanes' words of
// these under way at once, and its first eight lanes finish a row each.
fn rows_by_subgroups(c: Call, rows: u32, shift: u32, group: u32, groups: u32, lane: u32) -> bool {
    let words = quads(c.b);
    let two = planes(c.b) == 2u;
    for (var row = 0u; row < c.rows_g; row++) {
        hold_row(c, row, lane);
        for (var block = 0u; block < rows; block += LANES / size * 8u) {
            let first = block + team * 8u;
            let a = vec4<u32>(weight_row(c, first, rows, group, groups), weight_row(c, first + 1u, rows, group, groups),
                weight_row(c, first + 2u, rows, group, groups), weight_row(c, first + 3u, rows, group, groups));
            let b = vec4<u32>(weight_row(c, first + 4u, rows, group, groups), weight_row(c, first + 5u, rows, group, groups),
                weight_row(c, first + 6u, rows, group, groups), weight_row(c, first + 7u, rows, group, groups));
            var low_a = vec4<i32>(); var low_b = vec4<i32>(); var high_a = vec4<i32>(); var high_b = vec4<i32>();
            for (var begin = 0u; begin < words; begin += 2u * size) {
                let q = begin + place; let r = q + size;
                let qa = of_weights(a, min(q, words - 1u), words); let qb = of_weights(b, min(q, words - 1u), words);
                let ra = of_weights(a, min(r, words - 1u), words); let rb = of_weights(b, min(r, words - 1u), words);
                let x = staged[min(q, words)]; let y = staged[min(r, words)];
                low_a += outer(x, qa) + outer(y, ra);
                low_b += outer(x, qb) + outer(y, rb);
                if (two) {
                    let x_high = staged[HALF_STAGED + min(q, words)]; let y_high = staged[HALF_STAGED + min(r, words)];
                    high_a += outer(x_high, qa) + outer(y_high, ra);
                    high_b += outer(x_high, qb) + outer(y_high, rb);
                }
            }
            let sums = eight_of_subgroup(low_a, low_b);
            let above = eight_of_subgroup(high_a, high_b);
            let its = place_of(c, min(first + place % 8u, rows - 1u), group, groups);
            let d = weights_of(c, its.product);
            let g = result_of(c, its.product);
            let s = multiply_scales(scale_of(staged_scale), row_scale(d, its.col));
            if (place < 8u && first + place < rows) {
                let total = joined(sums, above, shift, two);
                put(row_at(g, row) + its.col, add(rescale(total, s.m, s.e + i32(shift) + g.frac), bias(d, its.col)));
            }
        }
        workgroupBarrier();
    }
    return true;
}

fn weight_row(c: Call, at: u32, rows: u32, group: u32, groups: u32) -> u32 {
    let its = place_of(c, min(at, rows - 1u), group, groups);
    return weight_at(weights_of(c, its.product), its.col);
}

// The sums over a subgroup of eight numbers; a lane gets the one of its place.
fn eight_of_subgroup(a: vec4<i32>, b: vec4<i32>) -> i32 {
    let x = subgroupAdd(a); let y = subgroupAdd(b);
    let which = place % 4u;
    let four = select(x, y, vec4<bool>(place % 8u > 3u));
    return select(select(four.x, four.y, which == 1u), select(four.z, four.w, which == 3u), which > 1u);
}
