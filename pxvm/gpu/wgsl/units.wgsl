// Products of many rows by a device's matrix units. One multiplies 16 rows of 32 signed bytes with as many
// of 16 columns; sums are 32 bits, so that they are those of linear_of_many. A workgroup of four subgroups
// takes a tile of UNIT_ROWS rows of planes and UNIT_COLS columns: of two planes, the low one's rows
// stand before the high one's. A subgroup has half of the rows and half of the columns.
alias Left = subgroup_matrix_left<i8, 32, 16>;
alias Right = subgroup_matrix_right<i8, 16, 32>;
alias Totals = subgroup_matrix_result<i32, 16, 16>;

const DEEP: u32 = 16u;  // words of a row that stand in workgroup memory
const LINE: u32 = DEEP + 4u;  // from a row to the next, so that banks differ
const FETCHING: u32 = LANES / DEEP;  // rows that are fetched side by side
const PARTS: u32 = UNIT_ROWS / (4u * FETCHING);  // that a lane fetches, of four rows each
const PARTS_TOO: u32 = UNIT_COLS / (4u * FETCHING);
const CELLS: u32 = 512u;  // sums that a subgroup gives out at a time: of 16 rows

var<workgroup> lines: array<i32, (UNIT_ROWS + UNIT_COLS) * LINE>;

fn rows_of_weights(c: Call, first: u32) -> vec4<u32> {
    let col = min(first + FETCHING * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(c.a.rows - 1u));
    return vec4<u32>(weight_at(c.a, col.x), weight_at(c.a, col.y), weight_at(c.a, col.z), weight_at(c.a, col.w));
}

fn put_lines(first: u32, word: u32, v: vec4<u32>) {
    let at = first * LINE + word;
    lines[at] = i32(v.x);
    lines[at + FETCHING * LINE] = i32(v.y);
    lines[at + 2u * FETCHING * LINE] = i32(v.z);
    lines[at + 3u * FETCHING * LINE] = i32(v.w);
}

fn left_at(row: u32, word: u32) -> Left {
    return subgroupMatrixLoad<Left, row_major>(&lines, row * LINE + word, LINE);
}

fn right_at(col: u32, word: u32) -> Right {
    return subgroupMatrixLoad<Right, col_major>(&lines, (UNIT_ROWS + col) * LINE + word, LINE);
}

fn give_out(unit: u32, left: Totals, right: Totals) {
    subgroupMatrixStore<row_major>(&lines, unit * CELLS, left, 32u);
    subgroupMatrixStore<row_major>(&lines, unit * CELLS + 16u, right, 32u);
}

fn op_linear_by_units(c: Call, group: u32, groups: u32, lane: u32) {
    let n = c.a.rows; let words = quads(c.a);
    let plane_count = planes(c.b); let two = plane_count == 2u;
    let shift = excess(c.b.cols, plane_count + 1u);
    let tall = UNIT_ROWS / plane_count;
    let across = (n + UNIT_COLS - 1u) / UNIT_COLS;
    let tiles = across * ((c.rows_g + tall - 1u) / tall);
    let unit = lane / 32u;
    let down = unit / 2u * (UNIT_ROWS / 2u); let right = unit % 2u * (UNIT_COLS / 2u);
    let word = lane % DEEP; let line = lane / DEEP;
    let each = FETCHING * vec4<u32>(0u, 1u, 2u, 3u);
    for (var tile = group; tile < tiles; tile += groups) {
        let col0 = tile % across * UNIT_COLS; let row0 = tile / across * tall;
        hold_scales(c, row0, tall, col0, UNIT_COLS, lane);
        var a_at: array<vec4<u32>, PARTS>; var a: array<vec4<u32>, PARTS>;
        var w_at: array<vec4<u32>, PARTS_TOO>; var w: array<vec4<u32>, PARTS_TOO>;
        for (var i = 0u; i < PARTS; i++) {
            a_at[i] = row_of_plane(c, row0, 4u * FETCHING * i + line + each, tall);
            a[i] = of_rows(a_at[i], word, words);
        }
        for (var i = 0u; i < PARTS_TOO; i++) {
            w_at[i] = rows_of_weights(c, col0 + 4u * FETCHING * i + line);
            w[i] = of_weights(w_at[i], word, words);
        }
        var s00 = Totals(); var s01 = Totals(); var s10 = Totals(); var s11 = Totals();
        var s20 = Totals(); var s21 = Totals(); var s30 = Totals(); var s31 = Totals();
        for (var first = 0u; first < words; first += DEEP) {
            workgroupBarrier();
            for (var i = 0u; i < PARTS; i++) { put_lines(4u * FETCHING * i + line, word, a[i]); }
            for (var i = 0u; i < PARTS_TOO; i++) { put_lines(UNIT_ROWS + 4u * FETCHING * i + line, word, w[i]); }
            workgroupBarrier();
            // The next ones are under way meanwhile.
            let next = first + DEEP + word;
            for (var i = 0u; i < PARTS; i++) { a[i] = of_rows(a_at[i], next, words); }
            for (var i = 0u; i < PARTS_TOO; i++) { w[i] = of_weights(w_at[i], next, words); }
            for (var i = 0u; i < DEEP; i += 8u) {
                let r0 = right_at(right, i); let r1 = right_at(right + 16u, i);
                let l0 = left_at(down, i); let l1 = left_at(down + 16u, i);
                let l2 = left_at(down + 32u, i); let l3 = left_at(down + 48u, i);
                s00 = subgroupMatrixMultiplyAccumulate(l0, r0, s00);
                s01 = subgroupMatrixMultiplyAccumulate(l0, r1, s01);
                s10 = subgroupMatrixMultiplyAccumulate(l1, r0, s10);
                s11 = subgroupMatrixMultiplyAccumulate(l1, r1, s11);
                s20 = subgroupMatrixMultiplyAccumulate(l2, r0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(l2, r1, s21);
                s30 = subgroupMatrixMultiplyAccumulate(l3, r0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(l3, r1, s31);
            }
        }
        for (var j = 0u; j < 4u; j++) {
            workgroupBarrier();
            switch j {
                case 0u: { give_out(unit, s00, s01); }
                case 1u: { give_out(unit, s10, s11); }
                case 2u: { give_out(unit, s20, s21); }
                default: { give_out(unit, s30, s31); }
            }
            workgroupBarrier();
            for (var i = lane; i < 4u * CELLS / plane_count; i += LANES) {
                let x = i % UNIT_COLS; let y = i / UNIT_COLS;
                let cell = (y / 16u * 2u + x / 32u) * CELLS + y % 16u * 32u + x % 32u;
                let low = lines[cell];
                var high = 0;
                if (two) { high = lines[cell + 2u * CELLS]; }
                let row = y / 16u * (UNIT_ROWS / 2u) + 16u * j + y % 16u;
                put_of_tile(c, row0, row, col0, x, joined(low, high, shift, two), shift);
            }
        }
    }
}
