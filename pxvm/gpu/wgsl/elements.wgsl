// Element by element; op_* are what the table's opcodes do, each on its share of the call's columns.

// i / cols; a division is the longest step of what goes element by element.
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

// Two elements of a head turned by the angles of position + row.
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
