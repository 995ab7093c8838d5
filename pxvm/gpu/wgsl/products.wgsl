// Products: exact sums of bytes; 256 * high + low is shifted down as far as its largest value may need.

var<workgroup> sums: array<vec2<i32>, LANES>;

fn excess(terms: u32, plane_count: u32) -> u32 {
    // The bits of terms * 2^14 (* 257, * 257^2) beyond 31.
    var p = multiply_unsigned(terms, 16384u);
    if (plane_count > 2u) { p = multiply_unsigned(terms << 14u, 257u); }
    if (plane_count > 3u) { p = pair_add(multiply_unsigned(p.x, 257u), vec2<u32>(0u, p.y * 257u)); }
    let bits = select(bit_length(p.x), 32 + bit_length(p.y), p.y > 0u);
    return u32(max(bits - 31, 0));
}

fn scaled(c: Call, row: u32, col: u32, total: i32, shift: u32) -> Fitted {
    let s = multiply_scales(row_scale(c.b, row), row_scale(c.a, col));
    return add(rescale(total, s.m, s.e + i32(shift) + field(c.g, FRAC)), bias(c.a, col));
}

const TOGETHER: u32 = 8u;  // lanes that share a weight row

// x times weight transposed. Eight lanes take a weight row, so that its words are read together.
fn op_linear(c: Call, group: u32, groups: u32, lane: u32) {
    let n = count(c.a, ROWS); let words = quads(c.a);
    let two = planes(c.b) == 2u;
    let shift = excess(count(c.b, COLS), planes(c.b) + 1u);
    let each = LANES / TOGETHER;
    let blocks = (n + each - 1u) / each;
    for (var i = group; i < blocks * c.rows_g; i += groups) {
        let row = i / blocks;
        let col = i % blocks * each + lane / TOGETHER;
        let x = row_at(c.b, row);
        var low = 0; var high = 0;
        if (col < n) {
            let w = row_at(c.a, col);
            for (var q = lane % TOGETHER; q < words; q += TOGETHER) {
                let weight = word(c.a, w + q) ^ 0x80808080u;
                low += dot4I8Packed(weight, four(c.b, x, 0u, q));
                if (two) { high += dot4I8Packed(weight, four(c.b, x, 1u, q)); }
            }
        }
        sums[lane] = vec2<i32>(low, high);
        workgroupBarrier();
        if (lane % TOGETHER == 0u && col < n) {
            var all = vec2<i32>(0, 0);
            for (var j = 0u; j < TOGETHER; j++) { all += sums[lane + j]; }
            let total = select(all.x, (all.y << (8u - shift)) + shift_down(all.x, shift), two);
            put(row_at(c.g, row) + col, scaled(c, row, col, total, shift));
        }
        workgroupBarrier();
    }
}

// Both sides activations, of one or two planes each; an element a lane.
fn op_matmul(c: Call, group: u32, groups: u32, lane: u32) {
    let n = count(c.a, ROWS); let words = quads(c.a);
    let shift = excess(count(c.b, COLS), planes(c.b) + planes(c.a));
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

// Parameters of Conv2D: weight, height, width, size, stride, pad.
fn op_conv2d(c: Call, group: u32, groups: u32, lane: u32) {
    let w = count(c.a, 0u); let height = field(c.a, 1u); let width = field(c.a, 2u);
    let size = field(c.a, 3u); let stride = field(c.a, 4u); let pad = field(c.a, 5u);
    let channels = field(c.b, COLS) / (height * width);
    let kernels = count(w, ROWS); let across = u32((width + 2 * pad - size) / stride + 1);
    let cols = count(c.g, COLS);
    let shift = excess(count(w, COLS), planes(c.b) + 1u);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let col = i % cols;
        let kernel = col % kernels; let place = col / kernels;
        let top = i32(place / across) * stride - pad; let left = i32(place % across) * stride - pad;
        let x = row_at(c.b, row); let weights = row_at(w, kernel);
        var low = 0; var high = 0;
        for (var ky = max(-top, 0); ky < min(size, height - top); ky++) {
            for (var kx = max(-left, 0); kx < min(size, width - left); kx++) {
                let pixel = ((top + ky) * width + left + kx) * channels;
                let weight_at = (ky * size + kx) * channels;
                for (var ch = 0; ch < channels; ch++) {
                    let a = u32(pixel + ch); let b = u32(weight_at + ch);
                    let v = byte_of(four(w, weights, 0u, b / 4u), b);
                    low += v * byte_of(four(c.b, x, 0u, a / 4u), a);
                    if (planes(c.b) == 2u) { high += v * byte_of(four(c.b, x, 1u, a / 4u), a); }
                }
            }
        }
        let total = select(low, (high << (8u - shift)) + shift_down(low, shift), planes(c.b) == 2u);
        let s = multiply_scales(row_scale(c.b, row), row_scale(w, kernel));
        put(row_at(c.g, row) + col, add(rescale(total, s.m, s.e + i32(shift) + field(c.g, FRAC)), bias(w, kernel)));
    }
}

// Parameters of the pools: height, width, size, stride.
fn op_maxpool(c: Call, group: u32, groups: u32, lane: u32) {
    let width = count(c.a, 1u); let size = count(c.a, 2u); let stride = count(c.a, 3u);
    let channels = count(c.b, COLS) / (count(c.a, 0u) * width);
    let across = (width - size) / stride + 1u; let cols = count(c.g, COLS);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let place = i % cols / channels; let channel = i % cols % channels;
        let start = row_at(c.b, row);
        let first = (place / across * width + place % across) * stride;
        var top = LOWEST;
        for (var y = 0u; y < size; y++) {
            for (var x = 0u; x < size; x++) {
                top = max(top, i32(word(c.b, start + (first + y * width + x) * channels + channel)));
            }
        }
        put_word(row_at(c.g, row) + i % cols, top);
    }
}

fn op_avgpool(c: Call, group: u32, groups: u32, lane: u32) {
    let width = count(c.a, 1u); let size = count(c.a, 2u); let stride = count(c.a, 3u);
    let channels = count(c.b, COLS) / (count(c.a, 0u) * width);
    let across = (width - size) / stride + 1u; let cols = count(c.g, COLS);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let place = i % cols / channels; let channel = i % cols % channels;
        let start = row_at(c.b, row);
        let first = (place / across * width + place % across) * stride;
        var high = 0; var low = 0u;
        for (var y = 0u; y < size; y++) {
            for (var x = 0u; x < size; x++) {
                let v = i32(word(c.b, start + (first + y * width + x) * channels + channel));
                high += v >> 16u;
                low += u32(v) & 65535u;
            }
        }
        put_word(row_at(c.g, row) + i % cols, mean(pair_of_halves(high, low), size * size));
    }
}
