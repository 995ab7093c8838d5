@compute @workgroup_size(LANES)
fn interpret(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    run(id.x, n.x, lane);
}
