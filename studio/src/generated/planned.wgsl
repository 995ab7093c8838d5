const LANES: u32 = 128u;
const BLOCK: u32 = 128u;
const FEW: u32 = 4u;
const WIDE: u32 = 64u;
const SPAN: u32 = 32u;
const UNIT_ROWS: u32 = 128u;
const UNIT_COLS: u32 = 64u;
const STAGED: u32 = 1024u;
const TOGETHER: u32 = 16u;
const ONE_BY_ONE: u32 = 16u;
const TABLE: u32 = 260u;
const RECORD: u32 = 15u;
const WINDOW: u32 = $WINDOW;
const WINDOWS: u32 = $WINDOWS;
const GROUP: u32 = 32u;
const LARGEST_I4: u32 = 36592u;
const LARGEST_ACT1: u32 = 128u;
const LARGEST_ACT2: u32 = 32896u;
const SATURATED: u32 = 4u;
const CLAMPED: u32 = 5u;
const CANDIDATES: u32 = 1024u;
const LOG2E_M: u32 = 47274u;
const PCG_LOW: u32 = 1284865837u;
const PCG_HIGH: u32 = 1481765933u;
const PCG_STEP_LOW: u32 = 4150755663u;
const PCG_STEP_HIGH: u32 = 335903614u;
const LOWEST: i32 = -2147483648;
const HIGHEST: i32 = 2147483647;
const FAR: i32 = -1048576;
const LOG2E_E: i32 = -15;
const ACT1: i32 = 5;
const ACT2: i32 = 6;
const I4: i32 = 9;
const PARAMS: i32 = 8;
const GROUPED: bool = $GROUPED;
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
fn gathered_of(i: u32, together: u32) -> vec2<i32> {
return vec2<i32>(gathered[i * together], i32(gathered_too[i * together]));
}
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
fn sum_of_blocks(v: i32, lane: u32) -> i32 {
gathered[lane] = v;
for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
workgroupBarrier();
if (lane % BLOCK < step) { gathered[lane] += gathered[lane + step]; }
}
workgroupBarrier();
return gathered[lane / BLOCK * BLOCK];
}
fn rows_by_subgroups(c: Call, rows: u32, shift: u32, group: u32, groups: u32, lane: u32) -> bool { return false; }
struct Fitted { v: i32, over: bool }
struct Scale { m: u32, e: i32 }
fn pair(v: i32) -> vec2<u32> { return vec2<u32>(u32(v), u32(v >> 31u)); }
fn pair_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
let low = a.x + b.x;
return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn pair_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn multiply_unsigned(a: u32, b: u32) -> vec2<u32> {
let al = a & 65535u; let ah = a >> 16u;
let bl = b & 65535u; let bh = b >> 16u;
let low = al * bl;
let mid = ah * bl + (low >> 16u);
let other = al * bh + (mid & 65535u);
return vec2<u32>((other << 16u) | (low & 65535u), ah * bh + (mid >> 16u) + (other >> 16u));
}
fn multiply(a: i32, b: i32) -> vec2<u32> {
let p = multiply_unsigned(u32(a), u32(b));
return vec2<u32>(p.x, p.y - select(0u, u32(b), a < 0) - select(0u, u32(a), b < 0));
}
fn pair_of_halves(high: i32, low: u32) -> vec2<u32> {
return pair_add(vec2<u32>(u32(high) << 16u, u32(high >> 16u)), vec2<u32>(low, 0u));
}
fn pair_shift(p: vec2<u32>, s: u32) -> vec2<u32> {
let high = i32(p.y);
if (s == 0u) { return p; }
if (s < 32u) { return vec2<u32>((p.x >> s) | (p.y << (32u - s)), u32(high >> s)); }
return vec2<u32>(u32(high >> min(s - 32u, 31u)), u32(high >> 31u));
}
fn bit(s: u32) -> vec2<u32> {
return select(vec2<u32>(0u, 1u << ((s - 32u) & 31u)), vec2<u32>(1u << (s & 31u), 0u), s < 32u);
}
fn fit(p: vec2<u32>) -> Fitted {
let high = i32(p.y);
if (high == (i32(p.x) >> 31u)) { return Fitted(i32(p.x), false); }
return Fitted(select(HIGHEST, LOWEST, high < 0), true);
}
fn pair_shift_round(p: vec2<u32>, s: u32) -> vec2<u32> {
if (s == 0u) { return p; }
return pair_shift(pair_add(p, bit(s - 1u)), s);
}
fn shift_round(p: vec2<u32>, s: i32) -> Fitted {
if (s > 62) { return Fitted(0, false); }
if (s > 0) { return fit(pair_shift_round(p, u32(s))); }
let f = fit(p);
if (f.over || s == 0 || f.v == 0) { return f; }
let left = u32(min(-s, 32));
if (left < 32u) {
let t = f.v << left;
if ((t >> left) == f.v) { return Fitted(t, false); }
}
return Fitted(select(HIGHEST, LOWEST, f.v < 0), true);
}
fn rescale(v: i32, m: u32, e: i32) -> Fitted {
let b = (u32(v) & 65535u) * m;
let h = (v >> 16u) * i32(m) + i32(b >> 16u);
let low = b & 65535u;
let s = -e;
if (s > 16) {
if (s > 48) { return Fitted(0, false); }
return Fitted(((h >> u32(s - 17)) + 1) >> 1u, false);
}
let up = u32(min(16 - max(s, 0), 16));
let front = h << up;
var y = front;
if (s > 0) { y += i32((low + (1u << u32(s - 1))) >> u32(s)); } else { y |= i32(low); }
var over = (front >> up) != h || (s > 0 && y < front);
if (s < 0 && !over) {
let left = u32(min(-s, 32));
let t = select(0, y << (left & 31u), left < 32u);
over = y != 0 && (left > 31u || (t >> (left & 31u)) != y);
y = t;
}
if (over) { return Fitted(select(HIGHEST, LOWEST, v < 0), true); }
return Fitted(y, false);
}
fn shift_down(v: i32, s: u32) -> i32 {
if (s == 0u) { return v; }
if (s > 31u) { return 0; }
return ((v >> (s - 1u)) + 1) >> 1u;
}
fn shift_down_four(v: vec4<i32>, s: u32) -> vec4<i32> {
if (s == 0u) { return v; }
if (s > 31u) { return vec4<i32>(); }
return ((v >> vec4<u32>(s - 1u)) + 1) >> vec4<u32>(1u);
}
fn add(a: Fitted, b: i32) -> Fitted {
let sum = a.v + b;
if (((a.v ^ sum) & (b ^ sum)) < 0) { return Fitted(select(HIGHEST, LOWEST, b < 0), true); }
return Fitted(sum, a.over);
}
fn add_saturating(a: i32, b: i32) -> Fitted { return add(Fitted(a, false), b); }
fn subtract(a: i32, b: i32) -> Fitted {
let d = a - b;
if (((a ^ b) & (a ^ d)) < 0) { return Fitted(select(HIGHEST, LOWEST, a < 0), true); }
return Fitted(d, false);
}
fn subtract_four(a: vec4<i32>, b: i32) -> vec4<i32> {
let d = a - b;
let ends = select(vec4<i32>(HIGHEST), vec4<i32>(LOWEST), a < vec4<i32>(0));
return select(d, ends, ((a ^ vec4<i32>(b)) & (a ^ d)) < vec4<i32>(0));
}
fn magnitude(v: i32) -> u32 { return select(u32(v), 0u - u32(v), v < 0); }
fn bit_length(v: u32) -> i32 { return 32 - i32(countLeadingZeros(v)); }
fn finish_scale(mantissa: u32, exponent: i32) -> Scale {
let over = mantissa >> 16u;
let m = mantissa >> over;
if (m == 0u) { return Scale(0u, 0); }
return Scale(m, clamp(exponent + i32(over), -32768, 32767));
}
fn normalise(v: u32, e: i32) -> Scale {
let down = bit_length(v) - 16;
if (down > 0) { return finish_scale(((v >> u32(down - 1)) + 1u) >> 1u, e + down); }
return finish_scale(v << u32(-down), e + down);
}
fn normalise_pair(p: vec2<u32>, e: i32) -> Scale {
if (p.y == 0u) { return normalise(p.x, e); }
let down = 16 + bit_length(p.y);
return finish_scale(pair_shift_round(p, u32(down)).x, e + down);
}
fn multiply_scales(a: Scale, b: Scale) -> Scale { return normalise(a.m * b.m, a.e + b.e); }
fn reciprocal(p: vec2<u32>) -> Scale {
let s = normalise_pair(p, 0);
return normalise((0x80000000u + (s.m >> 1u)) / s.m, -31 - s.e);
}
fn root(v: u32) -> u32 {
var found = clamp(u32(sqrt(f32(v))), 32768u, 65535u);
while (found * found > v) { found -= 1u; }
while (found < 65535u && (found + 1u) * (found + 1u) <= v) { found += 1u; }
return found + select(0u, 1u, v - found * found > found);
}
fn inverse_root(numerator: u32, denominator: vec2<u32>) -> Scale {
let n = normalise(numerator, 0);
let m = normalise_pair(denominator, 0);
let quotient = ((n.m << 16u) + (m.m >> 1u)) / m.m;
let exponent = n.e - m.e - 16;
var shift = 31 - bit_length(quotient);
shift += (exponent - shift) & 1;
return Scale(root(quotient << u32(shift)), (exponent - shift) >> 1u);
}
fn exp2_negative(d: u32) -> i32 {
let whole = d >> 16u;
if (whole > 17u) { return 0; }
let index = (d >> 8u) & 255u;
let high = tensors[index];
let value = high - (((high - tensors[index + 1u]) * i32(d & 255u) + 128) >> 8u);
return shift_down(value, whole);
}
fn divide(p: vec2<u32>, count: u32) -> u32 {
var rest = p.y % count;
rest = (rest << 16u) | (p.x >> 16u);
let high = rest / count;
rest = ((rest % count) << 16u) | (p.x & 65535u);
return (high << 16u) | (rest / count);
}
fn mean(sum: vec2<u32>, count: u32) -> i32 {
let lifted = pair_add(pair_add(sum, vec2<u32>(count >> 1u, 0u)), vec2<u32>(count << 31u, count >> 1u));
return i32(divide(lifted, count) - 0x80000000u);
}
fn divide_floor(a: i32, b: i32) -> i32 {
let q = a / b;
return q - select(0, 1, q * b > a);
}
struct Tensor {
start: u32, row_words: u32, rows: u32, cols: u32, frac: i32, scale: i32, bias: i32, per: u32, stride: u32,
dtype: i32, length: i32, e0: u32, e1: u32, e2: u32, e3: u32,
}
fn tensor_at(d: u32) -> Tensor {
let r = TABLE + RECORD * d;
return Tensor(
u32(tensors[r]), u32(tensors[r + 1u]), u32(tensors[r + 2u]), u32(tensors[r + 3u]), tensors[r + 4u], tensors[r + 5u],
tensors[r + 6u], u32(tensors[r + 7u]), u32(tensors[r + 8u]), tensors[r + 9u], tensors[r + 10u],
u32(tensors[r + 11u]), u32(tensors[r + 12u]), u32(tensors[r + 13u]), u32(tensors[r + 14u]),
);
}
struct Named { g: u32, b: u32, a: u32, rows_g: u32, rows_b: u32, rows_a: u32, first: u32, cols: u32 }
struct Call {
g: Tensor, b: Tensor, a: Tensor, block: u32, rows_g: u32, rows_b: u32, rows_a: u32, first: u32, cols: u32, products: u32, at: u32,
}
fn call(n: Named) -> Call {
return Call(tensor_at(n.g), tensor_at(n.b), tensor_at(n.a), n.a, n.rows_g, n.rows_b, n.rows_a, n.first, n.cols, 1u, 0u);
}
fn parameter(c: Call, i: u32) -> u32 { return u32(tensors[TABLE + RECORD * c.block + i]); }
fn parameter_tensor(c: Call, i: u32) -> Tensor { return tensor_at(parameter(c, i)); }
fn image(at: u32) -> u32 {
if (WINDOWS == 1u) { return image0[at]; }
switch (at / WINDOW) {
case 0u: { return image0[at]; }
case 1u: { return image1[at - WINDOW]; }
case 2u: { return image2[at - 2u * WINDOW]; }
default: { return image3[at - 3u * WINDOW]; }
}
}
fn row_at(d: Tensor, row: u32) -> u32 { return d.start + row * d.row_words; }
fn weight_at(d: Tensor, row: u32) -> u32 {
let per = d.per;
return d.start + row / per * d.stride + row % per * d.row_words;
}
fn weight_four(start: u32, quad: u32) -> u32 { return image(start + quad) ^ 0x80808080u; }
fn flat_at(d: Tensor, index: u32) -> u32 { return d.start + index; }
fn number(d: Tensor, row: u32, col: u32) -> i32 { return i32(ld(row_at(d, row) + col)); }
fn number_flat(d: Tensor, index: u32) -> i32 { return i32(ld(flat_at(d, index))); }
fn scalar(d: Tensor) -> i32 { return i32(ld(d.start)); }
fn short(d: Tensor, row: u32, col: u32) -> i32 {
let w = ld(row_at(d, row) + col / 2u);
return i32(w << (16u * (1u - (col & 1u)))) >> 16u;
}
fn used(d: Tensor) -> u32 {
if (d.dtype == PARAMS) { return 1u; }
if (d.length < 0) { return d.rows; }
return u32(clamp(i32(ld(u32(d.length))), 0, i32(d.rows)));
}
fn quads(d: Tensor) -> u32 { return d.cols / 4u; }
fn planes(d: Tensor) -> u32 { return select(1u, 2u, d.dtype == ACT2); }
fn is_activation(d: Tensor) -> bool { return d.dtype == ACT1 || d.dtype == ACT2; }
fn four(d: Tensor, start: u32, plane: u32, quad: u32) -> u32 {
return ld(start + plane * quads(d) + quad) ^ 0x80808080u;
}
fn byte_of(w: u32, index: u32) -> i32 { return i32(w << (24u - 8u * (index & 3u))) >> 24u; }
fn weight(start: u32, col: u32) -> i32 { return byte_of(weight_four(start, col / 4u), col); }
fn is_grouped(d: Tensor) -> bool { return GROUPED && d.dtype == I4; }
struct Ends { scale: i32, minimum: i32 }
fn ends_at(d: Tensor, start: u32, g: u32) -> Ends {
let scales = start + d.cols / 8u;
let minima = scales + (d.cols + 4u * GROUP - 1u) / (4u * GROUP);
let scale = (image(scales + g / 4u) >> (8u * (g & 3u))) & 255u;
let minimum = i32(image(minima + g / 2u) << (16u * (1u - (g & 1u)))) >> 16u;
return Ends(i32(scale), minimum);
}
fn weight_of(d: Tensor, start: u32, col: u32) -> i32 {
if (!is_grouped(d)) { return weight(start, col); }
let ends = ends_at(d, start, col / GROUP);
let code = (image(start + col / 8u) >> (8u * (col & 3u) + (col & 4u))) & 15u;
return ends.scale * i32(code) + ends.minimum;
}
fn scale_of(w: u32) -> Scale { return Scale(w & 65535u, i32(w) >> 16u); }
fn scale_word(s: Scale) -> u32 { return s.m | (u32(s.e) << 16u); }
fn row_scale(d: Tensor, row: u32) -> Scale {
if (is_activation(d)) { return scale_of(ld(row_at(d, row) + d.row_words - 1u)); }
if (d.scale < 0) { return Scale(0u, 0); }
return scale_of(ld(u32(d.scale) + row));
}
fn bias(d: Tensor, index: u32) -> i32 {
if (d.bias < 0) { return 0; }
return i32(ld(u32(d.bias) + index));
}
fn share_of(cols: u32, group: u32, groups: u32) -> vec2<u32> {
let pairs = (cols + 1u) / 2u;
let each = pairs / groups;
let more = pairs % groups;
let first = 2u * (group * each + min(group, more));
return vec2<u32>(first, min(2u * (each + select(0u, 1u, group < more)), cols - min(first, cols)));
}
fn mark_clamped() { st(CLAMPED, 1u); }
fn clamp_index(index: i32, size: u32) -> u32 {
let inside = clamp(index, 0, i32(size) - 1);
if (inside != index) { mark_clamped(); }
return u32(inside);
}
fn clamp_position(position: i32, step: u32, size: u32) -> u32 {
return clamp_index(add_saturating(position, i32(step)).v, size);
}
fn put(at: u32, value: Fitted) {
if (value.over) { st(SATURATED, 1u); }
st(at, u32(value.v));
}
fn put_word(at: u32, value: i32) { st(at, u32(value)); }
var<workgroup> gathered: array<i32, LANES>;
var<workgroup> gathered_too: array<u32, LANES>;
var<workgroup> agreed: vec2<u32>;
fn agree(v: vec2<u32>, lane: u32) -> vec2<u32> {
if (lane == 0u) { agreed = v; }
return workgroupUniformLoad(&agreed);
}
fn largest_unsigned_of_lanes(value: u32, lane: u32) -> u32 {
return u32(largest_of_lanes(i32(value ^ 0x80000000u), lane)) ^ 0x80000000u;
}
fn row_of(i: u32, cols: u32) -> u32 {
if (i < cols) { return 0u; }
return i / cols;
}
fn other(b: Tensor, row: u32, col: u32) -> i32 {
return number(b, select(row, 0u, i32(b.rows) == 1), select(col, 0u, i32(b.cols) == 1));
}
fn op_add(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
put(row_at(c.g, row) + col, add_saturating(number(c.b, row, col), other(c.a, row, col)));
}
}
fn op_mul(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.b.frac + c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
put(row_at(c.g, row) + col, shift_round(multiply(number(c.b, row, col), other(c.a, row, col)), shift));
}
}
fn op_less(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
put_word(row_at(c.g, row) + col, select(0, 1, number(c.b, row, col) < other(c.a, row, col)));
}
}
fn op_equal(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
put_word(row_at(c.g, row) + col, select(0, 1, number(c.b, row, col) == other(c.a, row, col)));
}
}
fn op_select(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
if (number(c.b, row, col) != 0) { put_word(row_at(c.g, row) + col, number(c.a, row, col)); }
}
}
fn op_relu(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
put_word(row_at(c.g, row) + col, max(number(c.b, row, col), 0));
}
}
fn interpolate(table: Tensor, x: Fitted) -> i32 {
let steps = table.cols - 1u;
let bits = 22 - bit_length(steps);
let offset = u32(clamp(x.v, -1048576, 1048576) + 1048576);
let index = min(offset >> u32(bits), steps - 1u);
let here = number(table, 0u, index);
let slope = subtract(number(table, 0u, index + 1u), here).v;
return here + rescale(slope, offset - (index << u32(bits)), -bits).v;
}
fn op_table(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
let y = interpolate(c.a, shift_round(pair(number(c.b, row, col)), c.b.frac - 16));
put(row_at(c.g, row) + col, shift_round(pair(y), shift));
}
}
fn op_gate(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.b.frac + c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
let x = number(c.b, row, col);
let y = interpolate(c.a, shift_round(pair(x), c.b.frac - 16));
put(row_at(c.g, row) + col, shift_round(multiply(x, y), shift));
}
}
fn op_embed(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = row_of(i, c.cols); let col = c.first + i - row * c.cols;
let id = clamp_index(number(c.b, row, 0u), c.a.rows);
let s = row_scale(c.a, id);
let v = weight_of(c.a, weight_at(c.a, id), col);
put(row_at(c.g, row) + col, rescale(v, s.m, s.e + c.g.frac));
}
}
fn rotate(c: Call, group: u32, groups: u32, lane: u32, apart: bool) {
let half = c.b.cols / 2u;
let pairs = c.cols / 2u;
let position = scalar(c.a);
for (var i = group * LANES + lane; i < c.rows_g * pairs; i += groups * LANES) {
let row = row_of(i, pairs);
let place = c.first / 2u + i - row * pairs;
let head = place / half; let j = place - head * half;
let angle = clamp_position(position, row, c.b.rows);
let cosine = short(c.b, angle, 2u * j);
let sine = short(c.b, angle, 2u * j + 1u);
let start = row_at(c.g, row) + head * 2u * half;
let first = start + select(2u * j, j, apart);
let second = first + select(1u, half, apart);
let a = i32(ld(first)); let b = i32(ld(second));
put(first, shift_round(pair_sub(multiply(a, cosine), multiply(b, sine)), 14));
put(second, shift_round(pair_add(multiply(a, sine), multiply(b, cosine)), 14));
}
}
fn op_ropepairs(c: Call, group: u32, groups: u32, lane: u32) { rotate(c, group, groups, lane, false); }
fn op_ropehalves(c: Call, group: u32, groups: u32, lane: u32) { rotate(c, group, groups, lane, true); }
fn op_copy(c: Call, group: u32, groups: u32, lane: u32) {
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all; i += groups * LANES) {
put_word(flat_at(c.g, i), number_flat(c.b, i));
}
}
fn op_transpose(c: Call, group: u32, groups: u32, lane: u32) {
var extents = array<u32, 4>(c.b.e0, c.b.e1, c.b.e2, c.b.e3);
var strides = array<u32, 4>(extents[1] * extents[2] * extents[3], extents[2] * extents[3], extents[3], 1u);
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all; i += groups * LANES) {
var rest = i;
var at = 0u;
for (var axis = 4u; axis > 0u; axis--) {
let from_axis = parameter(c, axis - 1u);
at += rest % extents[from_axis] * strides[from_axis];
rest = rest / extents[from_axis];
}
put_word(flat_at(c.g, i), number_flat(c.b, at));
}
}
fn op_slice(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
put_word(row_at(c.g, row) + col, number(c.b, row, parameter(c, 0u) + col * parameter(c, 1u)));
}
}
fn op_concat(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.b.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
put_word(row_at(c.g, row) + parameter(c, 0u) + col, number(c.b, row, col));
}
}
fn op_tail(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
let source = max(i32(c.rows_b) - i32(c.rows_g) + i32(row), 0);
put_word(row_at(c.g, row) + col, number(c.b, u32(source), col));
}
}
fn op_push(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
let rows = c.g.rows;
let length = scalar(c.a);
for (var i = group * LANES + lane; i < c.rows_b * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
let place = clamp_position(length, row, rows);
if (row + 1u < c.rows_b && clamp_position(length, row + 1u, rows) == place) { continue; }
put_word(row_at(c.g, place) + col, number(c.b, row, col));
}
}
fn op_push_length(c: Call, group: u32, groups: u32, lane: u32) {
if (group == 0u && lane == 0u) {
put_word(c.a.start, min(add_saturating(scalar(c.a), i32(c.rows_b)).v, i32(c.g.rows)));
}
}
fn op_fill(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
let value = scalar(c.b);
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
put_word(row_at(c.g, i / cols) + i % cols, value);
}
}
fn op_blit(c: Call, group: u32, groups: u32, lane: u32) {
let glyphs = c.a.e0; let height = c.a.e1; let width = c.a.e2;
let per_line = c.g.cols / width;
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all * height * width; i += groups * LANES) {
let place = i / (height * width);
let y = i / width % height; let x = i % width;
let code = clamp_index(max(number_flat(c.b, place), -2147483616) - 32, glyphs);
let line = place / per_line; let column = place % per_line;
if ((line + 1u) * height <= c.g.rows) {
let at = row_at(c.g, line * height + y) + column * width + x;
put_word(at, number(c.a, code * height + y, x));
}
}
}
fn op_clear(c: Call, group: u32, groups: u32, lane: u32) {
let words = c.g.row_words;
for (var i = group * LANES + lane; i < c.rows_g * words; i += groups * LANES) {
put_word(row_at(c.g, i / words) + i % words, 0);
}
}
const NO_RANGE = vec2<i32>(HIGHEST, LOWEST);
fn four_words(start: u32, i: u32, cols: u32) -> vec4<i32> {
let at = start + min(vec4<u32>(i, i + 1u, i + 2u, i + 3u), vec4<u32>(cols - 1u));
return vec4<i32>(i32(ld(at.x)), i32(ld(at.y)), i32(ld(at.z)), i32(ld(at.w)));
}
struct Near { a: vec4<i32>, b: vec4<i32>, range: vec2<i32> }
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
struct Steps { shift: u32, m: i32, scale: Scale }
fn fourteen_bits(range: vec2<i32>, frac: i32) -> Steps {
let shift = max(bit_length(farther(range)) - 14, 0);
return Steps(u32(shift), 0, normalise(1u, shift - frac));
}
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
const HALF_STAGED: u32 = STAGED / 2u;
const MOST_AT_HAND: u32 = HALF_STAGED - 1u;
var<workgroup> staged: array<u32, STAGED>;
var<workgroup> staged_scale: u32;
fn can_hold(d: Tensor) -> bool { return quads(d) <= MOST_AT_HAND; }
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
fn norm_scale(c: Call, cols: u32, sum: vec2<u32>, shift: u32) -> Scale {
let weight_scale = row_scale(c.a, 0u);
let epsilon = clamp(rescale(i32(cols), weight_scale.m, weight_scale.e + 2 * (c.b.frac - i32(shift))).v, 1, HIGHEST);
return inverse_root(cols, pair_add(sum, pair(epsilon)));
}
fn weights_of_norm(c: Call, quad: u32) -> vec4<i32> {
let words = row_at(c.a, 0u) + 2u * quad;
let a = i32(ld(words));
let b = i32(ld(words + min(1u, (c.a.cols - 1u) / 2u - 2u * quad)));
return vec4<i32>((a << 16u) >> 16u, a >> 16u, (b << 16u) >> 16u, b >> 16u);
}
struct Halves { high: i32, low: u32 }
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
if (lane == LANES - 1u) { keep_scale(c, target_row, multiply_scales(s.scale, norm_scale(c, cols, sum, shift))); }
}
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
fn excess(terms: u32, plane_count: u32) -> u32 {
let most = multiply_unsigned(terms * select(1u, 257u, plane_count > 2u), select(1u, 257u, plane_count > 3u));
return u32(max(select(bit_length(most.x), 32 + bit_length(most.y), most.y > 0u) - 17, 0));
}
fn scaled(c: Call, row: u32, col: u32, total: i32, shift: u32) -> Fitted {
let s = multiply_scales(row_scale(c.b, row), row_scale(c.a, col));
return add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(c.a, col));
}
fn apart(start: u32, q: u32, step: u32, last: u32) -> vec4<u32> {
return vec4<u32>(
weight_four(start, min(q, last)), weight_four(start, min(q + step, last)),
weight_four(start, min(q + 2u * step, last)), weight_four(start, min(q + 3u * step, last)),
);
}
fn lanes_together(rows: u32) -> u32 {
return u32(max(bit_length(LANES) - 1 - bit_length(max(rows, 1u) - 1u), 3));
}
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
const PARTIES: u32 = LANES / 64u;
const WORDS: u32 = 8u * PARTIES;
const APART: u32 = WIDE / 4u + 1u;
const APART_TOO: u32 = SPAN / 4u + 1u;
const POOL: u32 = max(max(SIDE * SIDES, HALVES * (WIDE + 2u * TALL)), WORDS * (APART + APART_TOO));
var<workgroup> pool: array<vec4<u32>, POOL>;
fn outer(a: u32, w: vec4<u32>) -> vec4<i32> {
return vec4<i32>(dot4I8Packed(a, w.x), dot4I8Packed(a, w.y), dot4I8Packed(a, w.z), dot4I8Packed(a, w.w));
}
fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}
fn of_weights(at: vec4<u32>, word: u32, words: u32) -> vec4<u32> {
if (word >= words) { return vec4<u32>(); }
return vec4<u32>(weight_four(at.x, word), weight_four(at.y, word), weight_four(at.z, word), weight_four(at.w, word));
}
fn of_rows(at: vec4<u32>, word: u32, words: u32) -> vec4<u32> {
if (word >= words) { return vec4<u32>(); }
return vec4<u32>(ld(at.x + word), ld(at.y + word), ld(at.z + word), ld(at.w + word)) ^ vec4<u32>(0x80808080u);
}
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
fn put_of_tile(c: Call, row0: u32, y: u32, col0: u32, x: u32, total: i32, shift: u32) {
if (row0 + y >= c.rows_g || col0 + x >= c.a.rows) { return; }
let s = multiply_scales(scale_of(tile_rows[y]), scale_of(tile_cols[x].x));
put(row_at(c.g, row0 + y) + col0 + x,
add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), i32(tile_cols[x].y)));
}
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
struct Window { first: u32, size: u32, down: u32, right: u32 }
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
const HALF: u32 = 0x0f0f0f0fu;
const ONES: vec4<u32> = vec4<u32>(0x01010101u);
struct Group { codes: vec4<u32>, ends: Ends }
fn group_at(d: Tensor, start: u32, g: u32) -> Group {
let at = start + 4u * g;
return Group(vec4<u32>(image(at), image(at + 1u), image(at + 2u), image(at + 3u)), ends_at(d, start, g));
}
fn half_of_group(d: Tensor, start: u32, plane: u32, g: u32, half: u32) -> vec4<u32> {
let q = 8u * g + half;
return vec4<u32>(four(d, start, plane, q), four(d, start, plane, q + 2u), four(d, start, plane, q + 4u), four(d, start, plane, q + 6u));
}
fn excess_of_groups(c: Call) -> u32 {
let most = multiply_unsigned(c.b.cols * LARGEST_I4, select(LARGEST_ACT1, LARGEST_ACT2, planes(c.b) == 2u));
return u32(max(select(bit_length(most.x), 32 + bit_length(most.y), most.y > 0u) - 31, 0));
}
fn joined_groups(high: i32, low: u32, shift: u32) -> i32 {
return i32(pair_shift_round(pair_of_halves(high, low - (u32(high) << 16u)), shift).x);
}
const HELD: u32 = 128u;
fn sum_of_group(g: Group, at: u32) -> i32 {
let codes = dot16(g.codes & vec4<u32>(HALF), pool[at]) + dot16((g.codes >> vec4<u32>(4u)) & vec4<u32>(HALF), pool[at + HELD]);
return g.ends.scale * codes + g.ends.minimum * i32(staged[at] + staged[at + HELD]);
}
fn groups_of_few(c: Call, group: u32, groups: u32, lane: u32) {
now_holds(0u, lane);
let count = c.a.cols / GROUP;
let two = planes(c.b) == 2u;
let shift = excess_of_groups(c);
let share = share_of(c.a.rows, group, groups);
let bits = lanes_together(share.y);
let together = 1u << bits; let each = LANES >> bits;
for (var row = 0u; row < c.rows_g; row++) {
let x = row_at(c.b, row);
for (var block = 0u; block < share.y; block += each) {
let col = share.x + min(block + (lane >> bits), share.y - 1u);
let w = weight_at(c.a, col);
var low = 0u; var high = 0;
for (var first = 0u; first < count; first += HELD) {
let part = min(count - first, HELD);
var g = lane % together;
var now = group_at(c.a, w, first + min(g, part - 1u));
if (block == 0u || count > HELD) {
workgroupBarrier();
for (var i = lane; i < 2u * planes(c.b) * part; i += LANES) {
let half = i / part;
let v = half_of_group(c.b, x, half / 2u, first + i % part, half % 2u);
pool[half * HELD + i % part] = v;
staged[half * HELD + i % part] = u32(dot16(ONES, v));
}
workgroupBarrier();
}
while (g < part) {
let a = sum_of_group(now, g);
var b = 0;
if (two) { b = sum_of_group(now, 2u * HELD + g); }
high += (a >> 16u) + (b >> 8u);
low += u32(a) + (u32(b) << 8u);
g += together;
now = group_at(c.a, w, first + min(g, part - 1u));
}
}
gather(i32(low), high, together, lane);
if (lane < each && block + lane < share.y) {
let team = gathered_of(lane, together);
let total = joined_groups(team.y, u32(team.x), shift);
put(row_at(c.g, row) + share.x + block + lane, scaled(c, row, share.x + block + lane, total, shift));
}
workgroupBarrier();
}
}
}
const TALL: u32 = LANES / 4u;
const HALVES: u32 = 4u;
fn dots(a: vec4<u32>, w0: vec4<u32>, w1: vec4<u32>, w2: vec4<u32>, w3: vec4<u32>) -> vec4<i32> {
return vec4<i32>(dot16(a, w0), dot16(a, w1), dot16(a, w2), dot16(a, w3));
}
struct Codes {
a0: vec4<u32>, a1: vec4<u32>, a2: vec4<u32>, a3: vec4<u32>,
b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>,
scale: vec4<i32>, minimum: vec4<i32>,
}
fn codes_at(g: u32, x: u32) -> Codes {
let a = 2u * g * WIDE + x; let b = a + WIDE;
let at = g * WIDE + x;
let ends = vec4<i32>(gathered[at], gathered[at + 16u], gathered[at + 32u], gathered[at + 48u]);
return Codes(
pool[a], pool[a + 16u], pool[a + 32u], pool[a + 48u], pool[b], pool[b + 16u], pool[b + 32u], pool[b + 48u],
ends & vec4<i32>(255), ends >> vec4<u32>(16u),
);
}
fn sums_of_group(c: Codes, at: u32) -> vec4<i32> {
let codes = dots(pool[at], c.a0, c.a1, c.a2, c.a3) + dots(pool[at + TALL], c.b0, c.b1, c.b2, c.b3);
let sum = i32(staged[at - HALVES * WIDE] + staged[at - HALVES * WIDE + TALL]);
return c.scale * codes + c.minimum * vec4<i32>(sum);
}
struct GroupSums { high: vec4<i32>, low: vec4<u32> }
fn with_group(s: GroupSums, c: Codes, at: u32, two: bool) -> GroupSums {
let a = sums_of_group(c, at);
var b = vec4<i32>();
if (two) { b = sums_of_group(c, at + HALVES * TALL); }
return GroupSums(
s.high + (a >> vec4<u32>(16u)) + (b >> vec4<u32>(8u)),
s.low + bitcast<vec4<u32>>(a) + (bitcast<vec4<u32>>(b) << vec4<u32>(8u)),
);
}
fn groups_of_many(c: Call, group: u32, groups: u32, lane: u32) {
now_holds(0u, lane);
let n = c.a.rows; let count = c.a.cols / GROUP;
let plane_count = planes(c.b); let two = plane_count == 2u;
let shift = excess_of_groups(c);
let across = (n + WIDE - 1u) / WIDE;
let tiles = across * ((c.rows_g + TALL - 1u) / TALL);
let x = lane % 16u; let y = lane / 16u;
for (var tile = group; tile < tiles; tile += groups) {
let col0 = tile % across * WIDE; let row0 = tile / across * TALL;
var s0 = GroupSums(); var s1 = GroupSums(); var s2 = GroupSums(); var s3 = GroupSums();
for (var first = 0u; first < count; first += 2u) {
workgroupBarrier();
for (var i = lane; i < 2u * WIDE; i += LANES) {
let col = col0 + i / 2u; let g = i % 2u;
var v = Group();
if (col < n && first + g < count) { v = group_at(c.a, weight_at(c.a, col), first + g); }
let at = 2u * g * WIDE + i / 2u;
pool[at] = v.codes & vec4<u32>(HALF);
pool[at + WIDE] = (v.codes >> vec4<u32>(4u)) & vec4<u32>(HALF);
gathered[g * WIDE + i / 2u] = (v.ends.minimum << 16u) | v.ends.scale;
}
for (var i = lane; i < plane_count * HALVES * TALL; i += LANES) {
let row = row0 + i / HALVES % TALL; let plane = i / (HALVES * TALL);
let half = i % HALVES; let g = first + half / 2u;
var v = vec4<u32>();
if (row < c.rows_g && g < count) { v = half_of_group(c.b, row_at(c.b, row), plane, g, half % 2u); }
let at = (HALVES * plane + half) * TALL + i / HALVES % TALL;
pool[HALVES * WIDE + at] = v;
staged[at] = u32(dot16(ONES, v));
}
workgroupBarrier();
for (var g = 0u; g < 2u; g++) {
let codes = codes_at(g, x);
let at = HALVES * WIDE + 2u * g * TALL + y;
s0 = with_group(s0, codes, at, two);
s1 = with_group(s1, codes, at + TALL / 4u, two);
s2 = with_group(s2, codes, at + TALL / 2u, two);
s3 = with_group(s3, codes, at + TALL / 4u * 3u, two);
}
}
var sums = array<GroupSums, 4>(s0, s1, s2, s3);
for (var j = 0u; j < 4u; j++) {
let row = row0 + y + j * (TALL / 4u);
for (var i = 0u; i < 4u; i++) {
let col = col0 + x + 16u * i;
if (row < c.rows_g && col < n) {
let total = joined_groups(sums[j].high[i], sums[j].low[i], shift);
put(row_at(c.g, row) + col, scaled(c, row, col, total, shift));
}
}
}
}
}
const SIDES: u32 = LANES / BLOCK;
struct Block { reference: i32, lift: i32, light: i32 }
var<workgroup> blocks: array<Block, SIDES>;
var<workgroup> weights: array<i32, LANES>;
const NEAR: u32 = 128u;
var<workgroup> query: array<u32, NEAR / 4u>;
var<workgroup> totals: array<i32, NEAR>;
fn query_word(mine: u32, quad: u32) -> u32 {
if (quad < NEAR / 4u) { return query[quad]; }
return scratch[mine + quad];
}
fn total(mine: u32, i: u32) -> i32 {
if (i < NEAR) { return totals[i]; }
return i32(scratch[mine + i]);
}
fn set_total(mine: u32, i: u32, v: i32) {
if (i < NEAR) { totals[i] = v; } else { scratch[mine + i] = u32(v); }
}
fn words_of_key(start: u32, first: u32, count: u32) -> vec4<u32> {
let at = start + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u));
return vec4<u32>(ld(at.x), ld(at.y), ld(at.z), ld(at.w)) ^ vec4<u32>(0x80808080u);
}
fn words_of_query(mine: u32, first: u32, count: u32) -> vec4<u32> {
let at = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
let inside = min(at, vec4<u32>(count - 1u));
let words = vec4<u32>(
query_word(mine, inside.x), query_word(mine, inside.y), query_word(mine, inside.z), query_word(mine, inside.w),
);
return select(vec4<u32>(), words, at < vec4<u32>(count));
}
fn values_at(start: u32, j: u32, apart: u32, step: u32, count: u32) -> vec4<u32> {
let at = start + min(vec4<u32>(j, j + apart, j + 2u * apart, j + 3u * apart), vec4<u32>(count - 1u)) * step;
return vec4<u32>(ld(at.x), ld(at.y), ld(at.z), ld(at.w)) ^ vec4<u32>(0x80808080u);
}
fn weigh(values: vec4<u32>, block: u32, j: u32, apart: u32, count: u32) -> vec4<i32> {
let at = vec4<u32>(j, j + apart, j + 2u * apart, j + 3u * apart);
let there = block + min(at, vec4<u32>(BLOCK - 1u));
let all = vec4<i32>(weights[there.x], weights[there.y], weights[there.z], weights[there.w]);
let w = select(vec4<i32>(), all, at < vec4<u32>(count));
return w.x * bytes_of(values.x) + w.y * bytes_of(values.y) + w.z * bytes_of(values.z) + w.w * bytes_of(values.w);
}
fn bytes_of(x: u32) -> vec4<i32> { return vec4<i32>(byte_of(x, 0u), byte_of(x, 1u), byte_of(x, 2u), byte_of(x, 3u)); }
fn round_down(v: u32, s: u32) -> i32 {
if (s > 32u) { return 0; }
return i32(((v >> (s - 1u)) >> 1u) + ((v >> (s - 1u)) & 1u));
}
fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }
fn attend(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
let heads = k.e0; let context = k.e1; let width = k.e2;
let quad_count = width / 4u;
let mine = group * (quad_count + width);
let sums_at = mine + quad_count;
let first_row = head / (c.b.cols / width / heads) * context;
let q = row_at(c.b, row) + head * width;
let x = bring_near(q, width, lane);
let s = seven_bits(x.range, c.b.frac);
let query_scale = multiply_scales(s.scale, scale);
for (var quad = lane; quad < quad_count; quad += LANES) {
let bytes = packed(quantised(near_four(x, q, quad, width), s), false).low ^ 0x80808080u;
if (quad < NEAR / 4u) { query[quad] = bytes; } else { scratch[mine + quad] = bytes; }
}
for (var i = lane; i < width; i += LANES) { set_total(sums_at, i, 0); }
settle(width);
let n = stop - start;
let fewer = shift_of(n, 10); let lighter = shift_of(n, 16);
let across = min(quad_count, BLOCK);
let slices = BLOCK / across;
let side = lane / BLOCK; let slice = lane % BLOCK / across; let column = lane % BLOCK % across;
var total_e = FAR; var weight = 0; var weight_e = FAR;
for (var first = start; first < stop; first += LANES) {
let token = first + lane;
let inside = token < stop;
var score = LOWEST; var value_scale = Scale(0u, FAR);
if (inside) {
let at = row_at(k, first_row + token);
var sum = 0;
let key_scale = row_scale(k, first_row + token);
value_scale = row_scale(v, first_row + token);
for (var quad = 0u; quad < quad_count; quad += 8u) {
let words = words_of_key(at, quad, quad_count); let more = words_of_key(at, quad + 4u, quad_count);
sum += dot16(words_of_query(mine, quad, quad_count), words);
sum += dot16(words_of_query(mine, quad + 4u, quad_count), more);
}
let m = multiply_scales(query_scale, key_scale);
score = clamp(rescale(sum, m.m, m.e + 16).v, -1073741824, 1073741824);
}
let tops = largest_of_blocks(score, value_scale.e, lane);
let reference = (tops.x + 65535) >> 16u;
var w = 0; var share = 0;
if (inside) {
w = exp2_negative((u32(reference) << 16u) - u32(score));
share = round_down(u32(w) * value_scale.m, u32(min(tops.y - value_scale.e + 18, 33)));
}
weights[lane] = share;
let light = shift_down(sum_of_blocks(w, lane), lighter);
if (lane % BLOCK == 0u) { blocks[side] = Block(reference, tops.y, light); }
let begin = first + side * BLOCK;
let mine_of_block = min(stop - min(begin, stop), BLOCK);
for (var quad0 = 0u; quad0 < quad_count; quad0 += across) {
var sums = vec4<i32>(0, 0, 0, 0);
let quad = quad0 + column;
if (slice < slices && quad < quad_count) {
let at = row_at(v, first_row + begin) + quad;
for (var j = slice; j < mine_of_block; j += 8u * slices) {
let values = values_at(at, j, slices, v.row_words, mine_of_block);
let more = values_at(at, j + 4u * slices, slices, v.row_words, mine_of_block);
sums += weigh(values, side * BLOCK, j, slices, mine_of_block);
sums += weigh(more, side * BLOCK, j + 4u * slices, slices, mine_of_block);
}
}
pool[lane] = bitcast<vec4<u32>>(sums);
workgroupBarrier();
for (var i = lane; i < min(4u * across, width - 4u * quad0); i += LANES) {
var sum = total(sums_at, 4u * quad0 + i);
var sum_e = total_e;
for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
var more = 0;
for (var j = 0u; j < slices; j++) { more += i32(pool[part * BLOCK + j * across + i / 4u][i % 4u]); }
let e = blocks[part].reference + blocks[part].lift;
let joined = max(sum_e, e);
sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
sum_e = joined;
}
set_total(sums_at, 4u * quad0 + i, sum);
}
workgroupBarrier();
}
for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
let b = blocks[part];
total_e = max(total_e, b.reference + b.lift);
let heavier = max(weight_e, b.reference);
weight = shift_down(weight, u32(min(heavier - weight_e, 32))) + shift_down(b.light, u32(min(heavier - b.reference, 32)));
weight_e = heavier;
}
workgroupBarrier();
}
let inverse = reciprocal(vec2<u32>(u32(weight), 0u));
let e = inverse.e + total_e + i32(fewer) + 18 - weight_e - i32(lighter) + c.g.frac;
let target_row = row_at(c.g, row) + head * width;
settle(width);
for (var i = lane; i < width; i += LANES) {
put(target_row + i, rescale(total(sums_at, i), inverse.m, e));
}
settle(width);
}
fn settle(width: u32) {
if (width > NEAR) { storageBarrier(); }
workgroupBarrier();
}
fn op_attentioncausal(c: Call, group: u32, groups: u32, lane: u32) {
let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u);
attend_from(c, k, v, scalar(parameter_tensor(c, 2u)), parameter(c, 3u), k.e1, group, groups, lane);
}
fn op_attentionwindow(c: Call, group: u32, groups: u32, lane: u32) {
let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u);
attend_from(c, k, v, scalar(parameter_tensor(c, 2u)), parameter(c, 3u), parameter(c, 4u), group, groups, lane);
}
fn attend_from(c: Call, k: Tensor, v: Tensor, position: i32, scale: u32, window: u32, group: u32, groups: u32, lane: u32) {
let heads = c.b.cols / k.e2;
let farthest = agree(vec2<u32>(clamp_position(position, c.rows_g - 1u, k.e1), 0u), lane).x;
if (c.rows_g > FEW && k.e2 <= WIDEST && farthest < window) {
let tiles = (c.rows_g + TOGETHER - 1u) / TOGETHER;
for (var i = group; i < tiles * heads; i += groups) {
let row = (tiles - 1u - i / heads) * TOGETHER;
let count = min(c.rows_g - row, TOGETHER);
if (lane < count) { asked[lane].stop = clamp_position(position, row + lane, k.e1) + 1u; }
attend_together(c, k, v, scale_of(scale), row, count, i % heads, 0u, lane);
}
return;
}
for (var i = group; i < c.rows_g * heads; i += groups) {
let stop = clamp_position(position, i / heads, k.e1) + 1u;
let tokens = agree(vec2<u32>(stop - min(stop, window), stop), lane);
attend(c, k, v, scale_of(scale), i / heads, i % heads, tokens.x, tokens.y, group, lane);
}
}
fn op_attentionfull(c: Call, group: u32, groups: u32, lane: u32) {
let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u); let lengths = parameter_tensor(c, 3u);
let heads = c.b.cols / k.e2; let context = k.e1;
let step = agree(vec2<u32>(u32(clamp(scalar(parameter_tensor(c, 2u)), 1, i32(context))), 0u), lane).x;
let known = lengths.rows * lengths.cols;
let rows = min(step, c.rows_g);
let together = select(1u, TOGETHER, rows > FEW && k.e2 <= WIDEST);
let tiles = (rows + together - 1u) / together;
let parts = (c.rows_g + step - 1u) / step;
for (var i = group; i < parts * tiles * heads; i += groups) {
let part = i / heads / tiles;
let row = part * step + i / heads % tiles * together;
if (row >= c.rows_g) { continue; }
let start = min(part * step, context - 1u);
let wanted = min(u32(max(number_flat(lengths, min(part, known - 1u)), 1)), step);
let tokens = agree(vec2<u32>(start, min(start + wanted, context)), lane);
if (together == 1u) {
attend(c, k, v, scale_of(parameter(c, 4u)), row, i % heads, tokens.x, tokens.y, group, lane);
continue;
}
let count = min(min(c.rows_g, (part + 1u) * step) - row, TOGETHER);
if (lane < count) { asked[lane].stop = tokens.y; }
attend_together(c, k, v, scale_of(parameter(c, 4u)), row, count, i % heads, tokens.x, lane);
}
}
const WIDEST: u32 = 4u * STAGED / TOGETHER;
const FOURS: u32 = BLOCK / 4u;
const KEYS: u32 = 8u;
const BEHIND: u32 = 2u * BLOCK;
const SIDE: u32 = BEHIND + 16u * 9u;
const OWN_SUMS: u32 = max(256u / LANES, 1u);
struct Asked { scale: Scale, stop: u32, total_e: i32, weight: i32, weight_e: i32 }
var<workgroup> asked: array<Asked, TOGETHER>;
var<workgroup> met: array<Block, TOGETHER * SIDES>;
fn word_of_four(d: Tensor, row: u32, last: u32, quad: u32) -> vec4<u32> {
return vec4<u32>(
ld(row_at(d, min(row, last)) + quad), ld(row_at(d, min(row + 1u, last)) + quad),
ld(row_at(d, min(row + 2u, last)) + quad), ld(row_at(d, min(row + 3u, last)) + quad),
) ^ vec4<u32>(0x80808080u);
}
fn low_half(w: u32) -> i32 { return i32(w & 65535u); }
fn high_half(w: u32) -> i32 { return i32(w >> 16u); }
fn reduce_side(at: u32, place: u32) {
workgroupBarrier();
if (place % 8u == 0u) {
for (var i = 1u; i < 2u * quad_size(); i++) { pool[at] += pool[at + i]; }
}
workgroupBarrier();
if (place == 0u) { pool[at] += pool[at + 8u] + pool[at + 16u] + pool[at + 24u]; }
}
fn larger(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
return bitcast<vec4<u32>>(max(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b)));
}
fn reduce_side_to_largest(at: u32, place: u32) {
workgroupBarrier();
if (place % 8u == 0u) {
for (var i = 1u; i < 2u * quad_size(); i++) {
pool[at] = larger(pool[at], pool[at + i]);
pool[at + BLOCK] = larger(pool[at + BLOCK], pool[at + BLOCK + i]);
}
}
workgroupBarrier();
if (place == 0u) {
for (var i = 8u; i < 32u; i += 8u) {
pool[at] = larger(pool[at], pool[at + i]);
pool[at + BLOCK] = larger(pool[at + BLOCK], pool[at + BLOCK + i]);
}
}
}
fn attend_together(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, count: u32, head: u32, start: u32, lane: u32) {
now_holds(0u, lane);
let context = k.e1; let width = k.e2; let quad_count = width / 4u;
let first_row = head / (c.b.cols / width / k.e0) * context;
let team = LANES / TOGETHER;
let query = lane / team;
let from_query = row_at(c.b, row + min(query, count - 1u)) + head * width;
let s = seven_bits(range_of_team(from_query, width, lane), c.b.frac);
for (var quad = lane % team; quad < quad_count; quad += team) {
staged[quad * TOGETHER + query] = quad_of_seven(from_query, quad, s) ^ 0x80808080u;
}
if (lane % team == 0u) {
asked[query].scale = multiply_scales(s.scale, scale);
asked[query].total_e = FAR;
asked[query].weight = 0;
asked[query].weight_e = FAR;
if (query >= count) { asked[query].stop = 0u; }
}
workgroupBarrier();
let stop = agree(vec2<u32>(asked[count - 1u].stop, 0u), lane).x;
let last = first_row + stop - 1u;
let side = lane / BLOCK; let at = lane % BLOCK; let base = side * SIDE;
let tokens = at % FOURS; let queries = at / FOURS * 4u;
let column = at % 16u; let takers = at / 16u % 4u; let half = at / 64u;
var sums: array<i32, 16u * OWN_SUMS>;
for (var i = 0u; i < 16u * OWN_SUMS; i++) { sums[i] = 0; }
for (var first = start; first < stop; first += LANES) {
let begin = first + side * BLOCK;
let busy = begin < stop;
var s0 = vec4<i32>(); var s1 = vec4<i32>(); var s2 = vec4<i32>(); var s3 = vec4<i32>();
for (var quad0 = 0u; quad0 < quad_count; quad0 += KEYS) {
let words = min(quad_count - quad0, KEYS);
let quad = at % KEYS; let four_at = at / KEYS;
var near0 = vec4<u32>(); var near1 = vec4<u32>();
if (busy && quad < words) {
near0 = word_of_four(k, first_row + begin + 4u * four_at, last, quad0 + quad);
near1 = word_of_four(k, first_row + begin + 4u * (four_at + FOURS / 2u), last, quad0 + quad);
}
workgroupBarrier();
pool[base + quad * (FOURS + 1u) + four_at] = near0;
pool[base + quad * (FOURS + 1u) + four_at + FOURS / 2u] = near1;
workgroupBarrier();
for (var i = 0u; busy && i < words; i++) {
let keys = pool[base + i * (FOURS + 1u) + tokens];
let word = (quad0 + i) * TOGETHER + queries;
s0 += outer(staged[word], keys);
s1 += outer(staged[word + 1u], keys);
s2 += outer(staged[word + 2u], keys);
s3 += outer(staged[word + 3u], keys);
}
}
var scores = array<vec4<i32>, 4>(s0, s1, s2, s3);
var values: array<Scale, 4>;
var tops = vec4<i32>(LOWEST); var lifts = vec4<i32>(FAR);
for (var i = 0u; busy && i < quad_size(); i++) {
let token = begin + 4u * tokens + i;
let key = row_scale(k, min(first_row + token, last));
values[i] = row_scale(v, min(first_row + token, last));
for (var j = 0u; j < quad_size(); j++) {
let query = asked[queries + j];
let m = multiply_scales(query.scale, key);
let score = clamp(rescale(scores[j][i], m.m, m.e + 16).v, -1073741824, 1073741824);
scores[j][i] = select(LOWEST, score, token < query.stop);
tops[j] = max(tops[j], scores[j][i]);
lifts[j] = max(lifts[j], select(FAR, values[i].e, token < query.stop));
}
}
workgroupBarrier();
pool[base + at] = bitcast<vec4<u32>>(tops);
pool[base + BLOCK + at] = bitcast<vec4<u32>>(lifts);
reduce_side_to_largest(base + at, tokens);
workgroupBarrier();
if (at < TOGETHER) {
let found = base + at / 4u * FOURS;
met[side * TOGETHER + at].reference = (i32(pool[found][at % 4u]) + 65535) >> 16u;
met[side * TOGETHER + at].lift = i32(pool[found + BLOCK][at % 4u]);
}
workgroupBarrier();
var light = vec4<u32>(); var early = vec4<u32>(); var late = vec4<u32>();
for (var i = 0u; busy && i < quad_size(); i++) {
for (var j = 0u; j < quad_size(); j++) {
if (scores[j][i] == LOWEST) { continue; }
let block = met[side * TOGETHER + queries + j];
let w = u32(exp2_negative((u32(block.reference) << 16u) - u32(scores[j][i])));
let share = u32(round_down(w * values[i].m, u32(min(block.lift - values[i].e + 18, 33)))) << (16u * (i & 1u));
light[j] += w;
if (i < 2u) { early[j] |= share; } else { late[j] |= share; }
}
}
pool[base + 2u * at] = early;
pool[base + 2u * at + 1u] = late;
pool[base + BEHIND + at] = light;
reduce_side(base + BEHIND + at, tokens);
workgroupBarrier();
if (at < TOGETHER) { met[side * TOGETHER + at].light = i32(pool[base + BEHIND + at / 4u * FOURS][at % 4u]); }
for (var quad0 = 0u; quad0 < quad_count; quad0 += 16u) {
var t0 = vec4<i32>(); var t1 = vec4<i32>(); var t2 = vec4<i32>(); var t3 = vec4<i32>();
for (var part = 0u; part < BLOCK; part += 32u) {
var near = vec4<u32>();
if (busy && quad0 + column < quad_count) {
near = word_of_four(v, first_row + begin + part + at / 16u * 4u, last, quad0 + column);
}
workgroupBarrier();
pool[base + BEHIND + column * 9u + at / 16u] = near;
workgroupBarrier();
for (var i = 4u * half; busy && i < 4u * half + quad_size(); i++) {
let words = pool[base + BEHIND + column * 9u + i];
let v0 = bytes_of(words.x); let v1 = bytes_of(words.y); let v2 = bytes_of(words.z); let v3 = bytes_of(words.w);
let w = base + takers * (BLOCK / 2u) + part / 2u + 2u * i;
let a = pool[w]; let b = pool[w + 1u];
t0 += low_half(a.x) * v0 + high_half(a.x) * v1 + low_half(b.x) * v2 + high_half(b.x) * v3;
t1 += low_half(a.y) * v0 + high_half(a.y) * v1 + low_half(b.y) * v2 + high_half(b.y) * v3;
t2 += low_half(a.z) * v0 + high_half(a.z) * v1 + low_half(b.z) * v2 + high_half(b.z) * v3;
t3 += low_half(a.w) * v0 + high_half(a.w) * v1 + low_half(b.w) * v2 + high_half(b.w) * v3;
}
}
var found = array<vec4<i32>, 4>(t0, t1, t2, t3);
for (var j = 0u; j < quad_size(); j++) {
workgroupBarrier();
pool[base + BEHIND + at] = bitcast<vec4<u32>>(found[j]);
workgroupBarrier();
for (var i = lane; i < 256u; i += LANES) {
let own = (quad0 / 4u + j) * OWN_SUMS + i / LANES;
let query = asked[i / 64u * 4u + j];
let fewer = shift_of(query.stop - min(start, query.stop), 10);
let place = BEHIND + i / 64u * 16u + i % 64u / 4u;
var sum = sums[own]; var sum_e = query.total_e;
for (var part = 0u; part < SIDES && first + part * BLOCK < query.stop; part++) {
let more = i32(pool[part * SIDE + place][i % 4u] + pool[part * SIDE + place + 64u][i % 4u]);
let block = met[part * TOGETHER + i / 64u * 4u + j];
let e = block.reference + block.lift;
let joined = max(sum_e, e);
sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
sum_e = joined;
}
sums[own] = sum;
}
}
}
workgroupBarrier();
if (lane < TOGETHER) {
var query = asked[lane];
let lighter = shift_of(query.stop - min(start, query.stop), 16);
for (var part = 0u; part < SIDES && first + part * BLOCK < query.stop; part++) {
let block = met[part * TOGETHER + lane];
query.total_e = max(query.total_e, block.reference + block.lift);
let heavier = max(query.weight_e, block.reference);
query.weight = shift_down(query.weight, u32(min(heavier - query.weight_e, 32)))
+ shift_down(shift_down(block.light, lighter), u32(min(heavier - block.reference, 32)));
query.weight_e = heavier;
}
asked[lane] = query;
}
workgroupBarrier();
}
if (lane < count) {
let query = asked[lane]; let n = query.stop - start;
let inverse = reciprocal(vec2<u32>(u32(query.weight), 0u));
let e = inverse.e + query.total_e + i32(shift_of(n, 10)) + 18 - query.weight_e - i32(shift_of(n, 16)) + c.g.frac;
asked[lane].scale = Scale(inverse.m, e);
}
workgroupBarrier();
for (var own = 0u; own < width / 64u * 4u * OWN_SUMS + 4u * OWN_SUMS; own++) {
let i = own % OWN_SUMS * LANES + lane;
let query = i / 64u * 4u + own / OWN_SUMS % 4u;
let col = own / OWN_SUMS / 4u * 64u + i % 64u;
if (i < 256u && query < count && col < width) {
put(row_at(c.g, row + query) + head * width + col, rescale(sums[own], asked[query].scale.m, asked[query].scale.e));
}
}
workgroupBarrier();
}
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> found: atomic<u32>;
fn counted(value: u32) -> u32 { return value ^ 0x80000000u; }
const IN_SCRATCH: u32 = 0xffffffffu;
fn descending(start: u32, i: u32) -> u32 {
if (start == IN_SCRATCH) { return ~counted(scratch[i]); }
return ~counted(ld(start + i));
}
fn ranked(start: u32, cols: u32, rank: u32, places: bool, bound: u32, lane: u32) -> vec2<u32> {
var part = vec2<u32>(0u, rank);
for (var shift = 32u; shift > 0u; shift -= 8u) {
for (var i = lane; i < 256u; i += LANES) { atomicStore(&bins[i], 0u); }
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = descending(start, i);
let key = select(v, i, places);
let begins = shift == 32u || key >> (shift & 31u) == part.x;
if (begins && (!places || v == bound)) { atomicAdd(&bins[(key >> (shift - 8u)) & 255u], 1u); }
}
workgroupBarrier();
var rest = part.y; var bin = 0u;
if (lane == 0u) {
while (bin < 255u && atomicLoad(&bins[bin]) < rest) {
rest -= atomicLoad(&bins[bin]);
bin += 1u;
}
}
part = agree(vec2<u32>((part.x << 8u) | bin, rest), lane);
}
return part;
}
fn draw(random: Tensor) -> u32 {
let low = ld(flat_at(random, 0u)); let high = ld(flat_at(random, 1u));
let state = vec2<u32>(low, high);
let mixed = vec2<u32>((low >> 18u) | (high << 14u), high >> 18u) ^ state;
let bits = (mixed.x >> 27u) | (mixed.y << 5u);
let turn = high >> 27u;
let result = (bits >> turn) | (bits << ((32u - turn) & 31u));
var next = multiply_unsigned(low, PCG_LOW);
next.y += low * PCG_HIGH + high * PCG_LOW;
next = pair_add(next, vec2<u32>(PCG_STEP_LOW, PCG_STEP_HIGH));
let start = random.start;
st(start, next.x);
st(start + 1u, next.y);
return result;
}
fn op_sample(c: Call, group: u32, groups: u32, lane: u32) {
if (group != 0u) { return; }
let cols = c.b.cols;
let start = row_at(c.b, 0u);
let settings = agree(vec2<u32>(u32(scalar(parameter_tensor(c, 0u))), u32(max(scalar(parameter_tensor(c, 3u)), 1))), lane);
let warmth = i32(settings.x); let penalty = settings.y;
let plain = warmth <= 0 && penalty == 65536u;
if (!plain) {
for (var i = lane; i < cols; i += LANES) { scratch[i] = ld(start + i); }
storageBarrier();
}
let factor = normalise(penalty, -16);
let inverse = reciprocal(vec2<u32>(penalty, 0u));
let history = parameter_tensor(c, 4u);
for (var i = lane; i < used(history); i += LANES) {
let token = clamp_index(number(history, i, 0u), cols);
if (plain) { continue; }
let x = i32(ld(start + token));
var y = rescale(x, factor.m, factor.e);
if (x > 0) { y = rescale(x, inverse.m, inverse.e + 16); }
scratch[token] = u32(y.v);
}
storageBarrier();
workgroupBarrier();
let target_at = row_at(c.g, 0u);
if (warmth <= 0) {
var top = LOWEST; var at = 0xffffffffu;
for (var i = lane; i < cols; i += 4u * LANES) {
var v = vec4<i32>();
for (var j = 0u; j < 4u; j++) {
let place_of_v = min(i + j * LANES, cols - 1u);
if (plain) { v[j] = i32(ld(start + place_of_v)); } else { v[j] = i32(scratch[place_of_v]); }
}
for (var j = 0u; j < 4u; j++) {
if (v[j] > top || at == 0xffffffffu) { top = v[j]; at = min(i + j * LANES, cols - 1u); }
}
}
let best = largest_of_lanes(top, lane);
let found_at = ~largest_unsigned_of_lanes(~select(0xffffffffu, at, top == best), lane);
if (lane == 0u) { put_word(target_at, i32(found_at)); }
return;
}
let limit = u32(clamp(scalar(parameter_tensor(c, 1u)), 1, i32(min(CANDIDATES, cols))));
let bound = ranked(IN_SCRATCH, cols, limit, false, 0u, lane);
let last = ranked(IN_SCRATCH, cols, bound.y, true, bound.x, lane).x;
if (lane == 0u) { atomicStore(&found, 0u); }
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = descending(IN_SCRATCH, i);
if (v < bound.x || (v == bound.x && i <= last)) { scratch[cols + atomicAdd(&found, 1u)] = i; }
}
storageBarrier();
workgroupBarrier();
for (var i = lane; i < limit; i += LANES) {
let token = scratch[cols + i];
let v = counted(scratch[token]);
var rank = 0u;
for (var j = 0u; j < limit; j++) {
let other_token = scratch[cols + j];
let w = counted(scratch[other_token]);
rank += select(0u, 1u, w > v || (w == v && other_token < token));
}
scratch[cols + CANDIDATES + rank] = token;
}
storageBarrier();
workgroupBarrier();
if (lane != 0u) { return; }
let order = cols + CANDIDATES;
let cold = multiply_scales(reciprocal(vec2<u32>(u32(warmth), 0u)), Scale(LOG2E_M, LOG2E_E));
let best = i32(scratch[scratch[order]]);
var total = 0u;
for (var i = 0u; i < limit; i++) {
let distance = subtract(best, i32(scratch[scratch[order + i]])).v;
total += u32(exp2_negative(u32(rescale(distance, cold.m, cold.e + 32 - c.b.frac).v)));
scratch[cols + i] = total;
}
let share = clamp(scalar(parameter_tensor(c, 2u)), 0, 65536);
let enough = u32(max(shift_round(multiply(i32(total), share), 16).v, 1));
var kept = 0u;
while (scratch[cols + kept] < enough) { kept += 1u; }
let goal = multiply_unsigned(draw(parameter_tensor(c, 5u)), scratch[cols + kept]).y;
var at = 0u;
while (scratch[cols + at] <= goal) { at += 1u; }
put_word(target_at, i32(scratch[order + at]));
}
fn op_topk(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let places = row_at(c.g, row); let values = row_at(c.a, row);
if (c.g.cols > ONE_BY_ONE) {
select_best(row_at(c.b, row), c.b.cols, places, values, c.g.cols, lane);
sort_best(places, values, c.g.cols, lane);
continue;
}
var best = Best(0, 0u);
for (var k = 0u; k < c.g.cols; k++) {
best = next_best(c.b, row, best, k == 0u, lane);
if (lane == 0u) {
put_word(places + k, i32(best.i));
put_word(values + k, best.v);
}
}
}
}
fn select_best(start: u32, cols: u32, places: u32, values: u32, count: u32, lane: u32) {
let bound = ranked(start, cols, count, false, 0u, lane);
let last = ranked(start, cols, bound.y, true, bound.x, lane).x;
if (lane == 0u) { atomicStore(&found, 0u); }
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = descending(start, i);
if (v < bound.x || (v == bound.x && i <= last)) {
let at = atomicAdd(&found, 1u);
st(places + at, i);
st(values + at, ld(start + i));
}
}
storageBarrier();
workgroupBarrier();
}
fn sort_best(places: u32, values: u32, count: u32, lane: u32) {
for (var size = 2u; size < 2u * count; size *= 2u) {
for (var stride = size / 2u; stride > 0u; stride /= 2u) {
let turned = stride == size / 2u;
for (var pair = lane; 2u * pair < count + stride; pair += LANES) {
let low = pair % stride; let first = (pair / stride) * stride * 2u;
let i = first + low;
let j = first + select(stride + low, 2u * stride - 1u - low, turned);
if (j >= count) { continue; }
let v = counted(ld(values + i)); let w = counted(ld(values + j));
let a = ld(places + i); let b = ld(places + j);
if (w > v || (w == v && b < a)) {
st(values + i, counted(w));
st(values + j, counted(v));
st(places + i, b);
st(places + j, a);
}
}
storageBarrier();
workgroupBarrier();
}
}
}
