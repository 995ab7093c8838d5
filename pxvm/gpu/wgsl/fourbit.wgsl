// Linear of weights of four bits. Of a group and a plane of activations, scale * (codes times
// activations) + minimum * (their sum) is below 2^28. A row's sum, 256 times the high plane's and the
// low one's, is kept in two words, so that it costs no more of them than that of bytes: its low 32 bits,
// and the sum of what each group has above 2^16, rounded down, which is too small by less than 2^12.

const HALF: u32 = 0x0f0f0f0fu;
const ONES: vec4<u32> = vec4<u32>(0x01010101u);

struct Group { codes: vec4<u32>, ends: Ends }

fn group_at(d: Tensor, start: u32, g: u32) -> Group {
    let at = start + 4u * g;
    return Group(vec4<u32>(image(at), image(at + 1u), image(at + 2u), image(at + 3u)), ends_at(d, start, g));
}

// A group's activations of a plane: every other word of four, as codes come out of the halves of bytes.
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

// Of a few rows, as bytes: HELD groups of activations stand in workgroup memory, halves of groups apart.
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

// Of many rows, in tiles of TALL rows and WIDE columns, two groups at a time: their codes as bytes, halves
// apart. A lane has four rows, of each of their planes, and four columns.
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

// Of a row of activations with four columns.
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
