// Moving elements about.

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

// Rows behind the end have one place: the last of them stays.
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

// What follows a push: its length, once nobody reads the old one any more.
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

// The rows in use of a scratch tensor become zero.
fn op_clear(c: Call, group: u32, groups: u32, lane: u32) {
    let words = c.g.row_words;
    for (var i = group * LANES + lane; i < c.rows_g * words; i += groups * LANES) {
        put_word(row_at(c.g, i / words) + i % words, 0);
    }
}
