// Sums and maxima over the lanes of a workgroup; every lane gets the result. Each of the first FEWER
// lanes takes every FEWER-th number, then the first lane takes theirs.
const FEWER: u32 = 16u;

fn largest_of_lanes(value: i32, lane: u32) -> i32 {
    var top = value;
    gathered[lane] = value;
    workgroupBarrier();
    if (lane < FEWER) {
        for (var i = lane + FEWER; i < LANES; i += FEWER) { top = max(top, gathered[i]); }
        gathered[lane] = top;
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < FEWER; i++) { top = max(top, gathered[i]); }
        gathered[0] = top;
    }
    return workgroupUniformLoad(&gathered[0]);
}

// The sum of 65536 * high + low over the lanes.
fn pair_of_lanes(high: i32, low: u32, lane: u32) -> vec2<u32> {
    var all_high = high;
    var all_low = low;
    gathered[lane] = high;
    gathered_too[lane] = low;
    workgroupBarrier();
    if (lane < FEWER) {
        for (var i = lane + FEWER; i < LANES; i += FEWER) {
            all_high += gathered[i];
            all_low += gathered_too[i];
        }
        gathered[lane] = all_high;
        gathered_too[lane] = all_low;
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < FEWER; i++) {
            all_high += gathered[i];
            all_low += gathered_too[i];
        }
        gathered[0] = all_high;
        gathered_too[0] = all_low;
    }
    let sum_high = workgroupUniformLoad(&gathered[0]);
    return pair_of_halves(sum_high, workgroupUniformLoad(&gathered_too[0]));
}

// The least and the largest of the lanes' ranges.
fn range_of_lanes(range: vec2<i32>, lane: u32) -> vec2<i32> {
    var all = range;
    gathered[lane] = range.x;
    gathered_too[lane] = u32(range.y);
    workgroupBarrier();
    if (lane < FEWER) {
        for (var i = lane + FEWER; i < LANES; i += FEWER) {
            all = vec2<i32>(min(all.x, gathered[i]), max(all.y, i32(gathered_too[i])));
        }
        gathered[lane] = all.x;
        gathered_too[lane] = u32(all.y);
    }
    workgroupBarrier();
    if (lane == 0u) {
        for (var i = 1u; i < FEWER; i++) {
            all = vec2<i32>(min(all.x, gathered[i]), max(all.y, i32(gathered_too[i])));
        }
        gathered[0] = all.x;
        gathered_too[0] = u32(all.y);
    }
    let least = workgroupUniformLoad(&gathered[0]);
    return vec2<i32>(least, i32(workgroupUniformLoad(&gathered_too[0])));
}

// The sums of teams of so many lanes, a power of two, that stand side by side.
fn gather(low: i32, high: i32, together: u32, lane: u32) {
    gathered[lane] = low;
    gathered_too[lane] = u32(high);
    for (var step = together / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % together < step) {
            gathered[lane] += gathered[lane + step];
            gathered_too[lane] += gathered_too[lane + step];
        }
    }
    workgroupBarrier();
}

// The i-th team's.
fn gathered_of(i: u32, together: u32) -> vec2<i32> {
    return vec2<i32>(gathered[i * together], i32(gathered_too[i * together]));
}

// Of each block of lanes the largest two numbers.
fn largest_of_blocks(a: i32, b: i32, lane: u32) -> vec2<i32> {
    gathered[lane] = a;
    gathered_too[lane] = u32(b);
    for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % BLOCK < step) {
            gathered[lane] = max(gathered[lane], gathered[lane + step]);
            gathered_too[lane] = u32(max(i32(gathered_too[lane]), i32(gathered_too[lane + step])));
        }
    }
    workgroupBarrier();
    let first = lane / BLOCK * BLOCK;
    let tops = vec2<i32>(gathered[first], i32(gathered_too[first]));
    workgroupBarrier();
    return tops;
}

// Of each block of lanes the sum.
fn sum_of_blocks(v: i32, lane: u32) -> i32 {
    gathered[lane] = v;
    for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
        workgroupBarrier();
        if (lane % BLOCK < step) { gathered[lane] += gathered[lane + step]; }
    }
    workgroupBarrier();
    return gathered[lane / BLOCK * BLOCK];
}

// Only subgroups make long lists of rows faster.
fn rows_by_subgroups(c: Call, rows: u32, shift: u32, group: u32, groups: u32, lane: u32) -> bool { return false; }
