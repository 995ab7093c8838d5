// As lanes.wgsl, by subgroups: teams of lanes that stand side by side.
var<private> team: u32;
var<private> place: u32;
var<private> size: u32;

fn largest_of_lanes(value: i32, lane: u32) -> i32 {
    let top = subgroupMax(value);
    if (place == 0u) { gathered[team] = top; }
    workgroupBarrier();
    var all = top;
    for (var i = place; i < LANES / size; i += size) { all = max(all, gathered[i]); }
    all = subgroupMax(all);
    workgroupBarrier();
    return all;
}

// The sum of 65536 * high + low over the lanes.
fn pair_of_lanes(high: i32, low: u32, lane: u32) -> vec2<u32> {
    let team_high = subgroupAdd(high);
    let team_low = subgroupAdd(low);
    if (place == 0u) {
        gathered[team] = team_high;
        gathered_too[team] = team_low;
    }
    workgroupBarrier();
    var all_high = 0; var all_low = 0u;
    for (var i = place; i < LANES / size; i += size) {
        all_high += gathered[i];
        all_low += gathered_too[i];
    }
    all_high = subgroupAdd(all_high);
    all_low = subgroupAdd(all_low);
    workgroupBarrier();
    return pair_of_halves(all_high, all_low);
}

// The least and the largest of the lanes' ranges.
fn range_of_lanes(range: vec2<i32>, lane: u32) -> vec2<i32> {
    var least = subgroupMin(range.x);
    var largest = subgroupMax(range.y);
    if (place == 0u) {
        gathered[team] = least;
        gathered_too[team] = u32(largest);
    }
    workgroupBarrier();
    for (var i = place; i < LANES / size; i += size) {
        least = min(least, gathered[i]);
        largest = max(largest, i32(gathered_too[i]));
    }
    least = subgroupMin(least);
    largest = subgroupMax(largest);
    workgroupBarrier();
    return vec2<i32>(least, largest);
}

// Of each block of lanes the largest two numbers.
fn largest_of_blocks(score: i32, e: i32, lane: u32) {
    let top = subgroupMax(score);
    let top_e = subgroupMax(e);
    if (place == 0u) {
        gathered[team] = top;
        gathered_too[team] = u32(top_e);
    }
    workgroupBarrier();
    if (lane < SIDES) {
        let teams = BLOCK / size;
        var all = gathered[lane * teams]; var all_e = i32(gathered_too[lane * teams]);
        for (var i = 1u; i < teams; i++) {
            all = max(all, gathered[lane * teams + i]);
            all_e = max(all_e, i32(gathered_too[lane * teams + i]));
        }
        blocks[lane].reference = (all + 65535) >> 16u;
        blocks[lane].lift = all_e;
    }
    workgroupBarrier();
}

// Of each block of lanes the sum, shifted.
fn sum_of_blocks(w: i32, shift: u32, lane: u32) {
    let sum = subgroupAdd(w);
    if (place == 0u) { gathered[team] = sum; }
    workgroupBarrier();
    if (lane < SIDES) {
        let teams = BLOCK / size;
        var all = 0;
        for (var i = 0u; i < teams; i++) { all += gathered[lane * teams + i]; }
        blocks[lane].light = shift_down(all, shift);
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn interpret(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) its_team: u32,
        @builtin(subgroup_invocation_id) its_place: u32, @builtin(subgroup_size) its_size: u32) {
    team = its_team;
    place = its_place;
    size = its_size;
    // What this file relies on; who finds it otherwise says that this way cannot be taken.
    if (lane != team * size + place || BLOCK % size != 0u) { atomicStore(&changing[LOST], 1u); }
    run(id.x, n.x, lane);
}
