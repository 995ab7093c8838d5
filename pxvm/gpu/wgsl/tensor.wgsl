// Tensors: where their elements stand, how many rows are in use, and what is marked in the state.
// ld and st read and write words of tensors; those of I8 and I4, which never change, come from the image.

// A record of the table: places are words of the buffer of tensors; of scales, biases and lengths -1
// where there are none. What an instruction needs of it, it takes at once, before its first barrier.
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

// An instruction: its descriptors, their rows in use, and the columns of g to work on.
struct Named { g: u32, b: u32, a: u32, rows_g: u32, rows_b: u32, rows_a: u32, first: u32, cols: u32 }

// The same with what the descriptors say; how many products are done as one, and the first one's number.
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

// Of I8 and I4, which stay in the image: where a row begins; of I8 four bytes, each less 128.
fn weight_at(d: Tensor, row: u32) -> u32 {
    let per = d.per;
    return d.start + row / per * d.stride + row % per * d.row_words;
}

fn weight_four(start: u32, quad: u32) -> u32 { return image(start + quad) ^ 0x80808080u; }

// Of 32 bits an element.
fn flat_at(d: Tensor, index: u32) -> u32 { return d.start + index; }

fn number(d: Tensor, row: u32, col: u32) -> i32 { return i32(ld(row_at(d, row) + col)); }

fn number_flat(d: Tensor, index: u32) -> i32 { return i32(ld(flat_at(d, index))); }

fn scalar(d: Tensor) -> i32 { return i32(ld(d.start)); }

fn short(d: Tensor, row: u32, col: u32) -> i32 {
    let w = ld(row_at(d, row) + col / 2u);
    return i32(w << (16u * (1u - (col & 1u)))) >> 16u;
}

// Rows in use; 1 for a block of parameters.
fn used(d: Tensor) -> u32 {
    if (d.dtype == PARAMS) { return 1u; }
    if (d.length < 0) { return d.rows; }
    return u32(clamp(i32(ld(u32(d.length))), 0, i32(d.rows)));
}

fn quads(d: Tensor) -> u32 { return d.cols / 4u; }

fn planes(d: Tensor) -> u32 { return select(1u, 2u, d.dtype == ACT2); }

fn is_activation(d: Tensor) -> bool { return d.dtype == ACT1 || d.dtype == ACT2; }

// Four bytes of a plane, each less 128.
fn four(d: Tensor, start: u32, plane: u32, quad: u32) -> u32 {
    return ld(start + plane * quads(d) + quad) ^ 0x80808080u;
}

fn byte_of(w: u32, index: u32) -> i32 { return i32(w << (24u - 8u * (index & 3u))) >> 24u; }

// An element of I8.
fn weight(start: u32, col: u32) -> i32 { return byte_of(weight_four(start, col / 4u), col); }

fn is_grouped(d: Tensor) -> bool { return GROUPED && d.dtype == I4; }

// Of a group of an I4 row: element = scale * code + minimum.
struct Ends { scale: i32, minimum: i32 }

fn ends_at(d: Tensor, start: u32, g: u32) -> Ends {
    let scales = start + d.cols / 8u;
    let minima = scales + (d.cols + 4u * GROUP - 1u) / (4u * GROUP);
    let scale = (image(scales + g / 4u) >> (8u * (g & 3u))) & 255u;
    let minimum = i32(image(minima + g / 2u) << (16u * (1u - (g & 1u)))) >> 16u;
    return Ends(i32(scale), minimum);
}

// An element of I8 or I4.
fn weight_of(d: Tensor, start: u32, col: u32) -> i32 {
    if (!is_grouped(d)) { return weight(start, col); }
    let ends = ends_at(d, start, col / GROUP);
    let code = (image(start + col / 8u) >> (8u * (col & 3u) + (col & 4u))) & 15u;
    return ends.scale * i32(code) + ends.minimum;
}

fn scale_of(w: u32) -> Scale { return Scale(w & 65535u, i32(w) >> 16u); }

fn scale_word(s: Scale) -> u32 { return s.m | (u32(s.e) << 16u); }

// The scale of a row: an activation's own, or the linked one.
fn row_scale(d: Tensor, row: u32) -> Scale {
    if (is_activation(d)) { return scale_of(ld(row_at(d, row) + d.row_words - 1u)); }
    if (d.scale < 0) { return Scale(0u, 0); }
    return scale_of(ld(u32(d.scale) + row));
}

fn bias(d: Tensor, index: u32) -> i32 {
    if (d.bias < 0) { return 0; }
    return i32(ld(u32(d.bias) + index));
}

// A workgroup's share of the columns: where it begins, and how many. Two at a time, so that pairs
// that are turned together stay together.
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

// position + step, which may leave 32 bits.
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

// What the first lane says, in every lane.
fn agree(v: vec2<u32>, lane: u32) -> vec2<u32> {
    if (lane == 0u) { agreed = v; }
    return workgroupUniformLoad(&agreed);
}

fn largest_unsigned_of_lanes(value: u32, lane: u32) -> u32 {
    return u32(largest_of_lanes(i32(value ^ 0x80000000u), lane)) ^ 0x80000000u;
}
