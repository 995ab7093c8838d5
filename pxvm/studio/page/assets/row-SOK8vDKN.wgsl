struct Matrix { row: u32, first: u32 }
struct Job {
left_row: u32,
left_first: u32,
right_row: u32,
right_first: u32,
result_row: u32,
result_first: u32,
rows: u32,
inner: u32,
columns: u32,
}
@group(0) @binding(0) var<uniform> job: Job;
@group(0) @binding(1) var<storage, read_write> pixels: array<u32>;
@group(0) @binding(2) var<storage, read_write> totals: array<u32>;
const LANES: u32 = 64u;
fn left() -> Matrix { return Matrix(job.left_row, job.left_first); }
fn right() -> Matrix { return Matrix(job.right_row, job.right_first); }
fn pixel(m: Matrix, index: u32) -> u32 {
let across = WIDTH - m.first;
return (m.row + index / across) * WIDTH + m.first + index % across;
}
fn byte(m: Matrix, index: u32) -> u32 { return pixels[pixel(m, index)] & 255u; }
fn store(index: u32, value: u32) {
let at = pixel(Matrix(job.result_row, job.result_first), index);
pixels[at] = (pixels[at] & 0xffffff00u) | min(value, 255u);
}
fn number(id: vec3<u32>, n: vec3<u32>) -> u32 { return id.x + id.y * n.x * LANES; }
@compute @workgroup_size(LANES)
fn product(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i >= job.rows * job.columns) { return; }
let row = i / job.columns; let column = i % job.columns;
var sum = 0u;
for (var t = 0u; t < job.inner; t++) {
sum += byte(left(), row * job.inner + t) * byte(right(), t * job.columns + column);
}
totals[i] = sum;
}
@compute @workgroup_size(LANES)
fn margins(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i >= job.rows + job.columns) { return; }
var sum = 0u;
for (var t = 0u; t < job.inner; t++) {
if (i < job.rows) { sum += byte(left(), i * job.inner + t); }
else { sum += byte(right(), t * job.columns + i - job.rows); }
}
totals[job.rows * job.columns + i] = sum;
}
@compute @workgroup_size(LANES)
fn add(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i < job.rows * job.columns) { totals[i] = byte(left(), i) + byte(right(), i); }
}
@compute @workgroup_size(LANES)
fn settle(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i < job.rows * job.columns) { store(i, totals[i]); }
}
var<workgroup> parts: array<u32, LANES>;
@compute @workgroup_size(LANES)
fn dot_product(@builtin(local_invocation_index) lane: u32) {
var sum = 0u;
for (var t = lane; t < job.inner; t += LANES) { sum += byte(left(), t) * byte(right(), t); }
parts[lane] = sum;
workgroupBarrier();
if (lane == 0u) {
var all = 0u;
for (var i = 0u; i < LANES; i++) { all += parts[i]; }
let at = job.result_row * WIDTH;
pixels[at] = (pixels[at] & 0xffff0000u) | (all & 65535u);
}
}
fn part_of_glyph(i: u32) -> u32 { return i / job.inner % job.columns * WIDTH + i % job.inner; }
@compute @workgroup_size(LANES)
fn lift(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
let size = job.inner * job.columns;
if (i < job.rows * size) { totals[2u * job.rows + i] = pixels[totals[2u * (i / size)] + part_of_glyph(i % size)]; }
}
@compute @workgroup_size(LANES)
fn lay(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
let size = job.inner * job.columns;
if (i < job.rows * size) { pixels[totals[2u * (i / size) + 1u] + part_of_glyph(i % size)] = totals[2u * job.rows + i]; }
}
