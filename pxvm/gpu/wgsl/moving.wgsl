// Moving elements about.

fn op_copy(c: Call, group: u32, groups: u32, lane: u32) {
    let all = count(c.b, ROWS) * count(c.b, COLS);
    for (var i = group * LANES + lane; i < all; i += groups * LANES) {
        put_word(flat_at(c.g, i), number_flat(c.b, i));
    }
}

fn op_transpose(c: Call, group: u32, groups: u32, lane: u32) {
    var extents = array<u32, 4>(count(c.b, E0), count(c.b, E1), count(c.b, E2), count(c.b, E3));
    var strides = array<u32, 4>(extents[1] * extents[2] * extents[3], extents[2] * extents[3], extents[3], 1u);
    let all = count(c.b, ROWS) * count(c.b, COLS);
    for (var i = group * LANES + lane; i < all; i += groups * LANES) {
        var rest = i;
        var at = 0u;
        for (var axis = 4u; axis > 0u; axis--) {
            let from_axis = count(c.a, axis - 1u);
            at += rest % extents[from_axis] * strides[from_axis];
            rest = rest / extents[from_axis];
        }
        put_word(flat_at(c.g, i), number_flat(c.b, at));
    }
}

fn op_slice(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = count(c.g, COLS);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let col = i % cols;
        put_word(row_at(c.g, row) + col, number(c.b, row, count(c.a, 0u) + col * count(c.a, 1u)));
    }
}

fn op_concat(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = count(c.b, COLS);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let col = i % cols;
        put_word(row_at(c.g, row) + count(c.a, 0u) + col, number(c.b, row, col));
    }
}

fn op_tail(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = count(c.g, COLS);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        let row = i / cols; let col = i % cols;
        let source = max(i32(c.rows_b) - i32(c.rows_g) + i32(row), 0);
        put_word(row_at(c.g, row) + col, number(c.b, u32(source), col));
    }
}

// Rows behind the end have one place: the last of them stays.
fn op_push(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = count(c.g, COLS);
    let rows = count(c.g, ROWS);
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
        put_word(count(c.a, START), min(add_saturating(scalar(c.a), i32(c.rows_b)).v, field(c.g, ROWS)));
    }
}

fn op_fill(c: Call, group: u32, groups: u32, lane: u32) {
    let cols = count(c.g, COLS);
    let value = scalar(c.b);
    for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
        put_word(row_at(c.g, i / cols) + i % cols, value);
    }
}

fn op_blit(c: Call, group: u32, groups: u32, lane: u32) {
    let glyphs = count(c.a, E0); let height = count(c.a, E1); let width = count(c.a, E2);
    let per_line = count(c.g, COLS) / width;
    let all = count(c.b, ROWS) * count(c.b, COLS);
    for (var i = group * LANES + lane; i < all * height * width; i += groups * LANES) {
        let place = i / (height * width);
        let y = i / width % height; let x = i % width;
        let code = clamp_index(max(number_flat(c.b, place), -2147483616) - 32, glyphs);
        let line = place / per_line; let column = place % per_line;
        if ((line + 1u) * height <= count(c.g, ROWS)) {
            let at = row_at(c.g, line * height + y) + column * width + x;
            put_word(at, number(c.a, code * height + y, x));
        }
    }
}

// The rows in use of a scratch tensor become zero.
fn op_clear(c: Call, group: u32, groups: u32, lane: u32) {
    let words = count(c.g, ROW_WORDS);
    for (var i = group * LANES + lane; i < c.rows_g * words; i += groups * LANES) {
        put_word(row_at(c.g, i / words) + i % words, 0);
    }
}
