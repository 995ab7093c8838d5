// Exact integers in 32 bits; docs/ARITHMETIC.md says why this suffices. A pair is a 64-bit number in
// two's complement, low word first. A scale is (mantissa, exponent).

struct Fitted { v: i32, over: bool }  // what 32 bits hold of a number, and whether it is another
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

// 65536 * high + low: the halves that a sum was taken in.
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

// p / 2^s rounded half up; s of 0..62.
fn pair_shift_round(p: vec2<u32>, s: u32) -> vec2<u32> {
    if (s == 0u) { return p; }
    return pair_shift(pair_add(p, bit(s - 1u)), s);
}

// p / 2^s rounded half up, a negative s multiplies; saturated.
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

// v * m * 2^e rounded half up, m below 2^16; saturated. The product is 65536 * h + low.
fn rescale(v: i32, m: u32, e: i32) -> Fitted {
    let b = (u32(v) & 65535u) * m;
    let h = (v >> 16u) * i32(m) + i32(b >> 16u);
    let low = b & 65535u;
    let s = -e;
    if (s > 16) {
        if (s > 48) { return Fitted(0, false); }
        return Fitted(((h >> u32(s - 17)) + 1) >> 1u, false);
    }
    // What is in front of the point of h comes first, then what follows from low.
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

// v / 2^s rounded half up; s of 0..32.
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

// Four numbers less one, saturated.
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

// The scale of v * 2^e.
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

// The root of v, 2^30 or more, rounded to the nearest: as a float says, and put right.
fn root(v: u32) -> u32 {
    var found = clamp(u32(sqrt(f32(v))), 32768u, 65535u);
    while (found * found > v) { found -= 1u; }
    while (found < 65535u && (found + 1u) * (found + 1u) <= v) { found += 1u; }
    return found + select(0u, 1u, v - found * found > found);
}

// sqrt(numerator / denominator)
fn inverse_root(numerator: u32, denominator: vec2<u32>) -> Scale {
    let n = normalise(numerator, 0);
    let m = normalise_pair(denominator, 0);
    let quotient = ((n.m << 16u) + (m.m >> 1u)) / m.m;
    let exponent = n.e - m.e - 16;
    var shift = 31 - bit_length(quotient);
    shift += (exponent - shift) & 1;
    return Scale(root(quotient << u32(shift)), (exponent - shift) >> 1u);
}

// 2^-d, 16 fraction bits in and out.
fn exp2_negative(d: u32) -> i32 {
    let whole = d >> 16u;
    if (whole > 17u) { return 0; }
    let index = (d >> 8u) & 255u;
    let high = tensors[index];
    let value = high - (((high - tensors[index + 1u]) * i32(d & 255u) + 128) >> 8u);
    return shift_down(value, whole);
}

// The pair, which is not negative, divided by a count of 1 to 65,536; the quotient has 32 bits.
fn divide(p: vec2<u32>, count: u32) -> u32 {
    var rest = p.y % count;
    rest = (rest << 16u) | (p.x >> 16u);
    let high = rest / count;
    rest = ((rest % count) << 16u) | (p.x & 65535u);
    return (high << 16u) | (rest / count);
}

// The mean of count numbers, their sum given, rounded half up.
fn mean(sum: vec2<u32>, count: u32) -> i32 {
    let lifted = pair_add(pair_add(sum, vec2<u32>(count >> 1u, 0u)), vec2<u32>(count << 31u, count >> 1u));
    return i32(divide(lifted, count) - 0x80000000u);
}

// a / b rounded down, b positive. Not by %: the sign of a remainder is not the same on every driver.
fn divide_floor(a: i32, b: i32) -> i32 {
    let q = a / b;
    return q - select(0, 1, q * b > a);
}
