// One instruction a dispatch: what the host decoded stands in a uniform.

@group(0) @binding(0) var<uniform> given: vec4<u32>;
@group(0) @binding(1) var<storage, read> tensors: array<i32>;
@group(0) @binding(2) var<storage, read_write> changing: array<u32>;
@group(0) @binding(3) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(4) var<storage, read> image0: array<u32>;
@group(0) @binding(5) var<storage, read> image1: array<u32>;
@group(0) @binding(6) var<storage, read> image2: array<u32>;
@group(0) @binding(7) var<storage, read> image3: array<u32>;

fn quad_size() -> u32 { return 4u; }

fn ld(at: u32) -> u32 { return changing[at]; }

fn st(at: u32, value: u32) { changing[at] = value; }

var<workgroup> now: Named;

fn named(lane: u32) -> Named {
    if (lane == 0u) {
        let g = tensor_at(given.x);
        now = Named(given.x, given.y, given.z, used(g), used(tensor_at(given.y)), used(tensor_at(given.z)), 0u, g.cols);
    }
    return workgroupUniformLoad(&now);
}

fn result_of(c: Call, i: u32) -> Tensor { return c.g; }

fn weights_of(c: Call, i: u32) -> Tensor { return c.a; }

fn share_of_rows(c: Call, i: u32, group: u32, groups: u32) -> vec2<u32> { return share_of(c.a.rows, group, groups); }

fn is_held(start: u32) -> bool { return false; }

fn now_holds(start: u32, lane: u32) { }
