@compute @workgroup_size(LANES)
fn interpret(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) its_team: u32,
        @builtin(subgroup_invocation_id) its_place: u32, @builtin(subgroup_size) its_size: u32) {
    team = its_team;
    place = its_place;
    size = its_size;
    // What this file relies on; who finds it otherwise says that this way cannot be taken.
    if (lane != team * size + place || LANES % size != 0u) { atomicStore(&changing[LOST], 1u); }
    run(id.x, n.x, lane);
}
