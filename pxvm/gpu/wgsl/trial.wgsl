// Are subgroups lanes that stand side by side, as subgroups.wgsl relies on? What is not so, is marked.
@group(0) @binding(0) var<storage, read_write> otherwise: array<u32>;

@compute @workgroup_size(LANES)
fn trial(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_id) team: u32,
        @builtin(subgroup_invocation_id) place: u32, @builtin(subgroup_size) size: u32) {
    if (lane != team * size + place || LANES % size != 0u) { otherwise[0] = 1u; }
}
