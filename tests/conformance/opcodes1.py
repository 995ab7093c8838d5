"""Golden files of dialect 1: opcodes where they are easiest to get wrong.

Each function lays out a program; its name is the file's.
"""

from __future__ import annotations

from random import Random

from tests.conformance.cases1 import case
from tests.conformance.sheet import (
    ACT1,
    ACT2,
    CONSTANT,
    HIGH,
    I4,
    I16,
    I32,
    LOW,
    RGBA,
    SCALE,
    Sheet,
    scale,
)

ONE = 65536
HALF = scale(32768, -16)


def dice(name: str, count: int, low: int, high: int) -> list[int]:
    """Numbers that depend on the name only."""
    numbers = Random(name)
    return [numbers.randint(low, high) for _ in range(count)]


# Products


@case()
def linear_two_planes_with_bias(s: Sheet) -> None:
    """The ends of both planes, scales of 0, of every row its own, far exponents, negative bits."""
    values = [-32896, 32639, -128, 127, 128, -129, 16384, -16384, *dice("x", 24, -16384, 16384)]
    sizes = [scale(65535, -14), scale(32768, -40), 0, scale(50001, 20)]
    s.tensor("x", ACT2, (4, 8), values, sizes=sizes)
    s.tensor("bias", I32, (3,), [HIGH, -5, LOW], CONSTANT, frac=-3)
    weights = [*[-128] * 8, *[127] * 8, *dice("w", 8, -128, 127)]
    s.weight("w", (3, 8), weights, [scale(65535, -15), scale(1, 0), scale(40000, -17)], bias="bias")
    s.tensor("y", I32, (4, 3), frac=-3)
    s.emit("L", "y", "x", "w")
    s.emit("H")


@case(width=24)
def linear_of_four_bits(s: Sheet) -> None:
    """Groups at every end: scales of 0 and 255, minima of both signs, one plane and two.

    The rows of ``long`` are wider than the picture, those of ``odd`` do not fill their last words.
    """
    ends = [(255, 32767), (255, -32768), (0, 32767), (0, 0), (1, -8), (200, -1500), (7, 1)]
    for name, cols, rows in (("odd", 96, 3), ("long", 160, 2)):
        groups = [[ends[(i + n) % 7] for n in range(cols // 32)] for i in range(rows)]
        codes = [*[15] * cols, *dice(name, cols * (rows - 1), 0, 15)]
        s.tensor(f"{name} bias", I32, (rows,), [HIGH, -5, LOW][:rows], CONSTANT, frac=2)
        s.tensor(f"{name} scale", SCALE, (rows,), [scale(50001, -20)] * rows, CONSTANT)
        s.tensor(name, I4, (rows, cols), codes, CONSTANT, scale=f"{name} scale",
                 bias=f"{name} bias", sizes=groups)  # fmt: skip
        values = [*[-32896, 32639] * (cols // 2), *dice("x", cols, -16384, 16384)]
        s.tensor(f"{name} two", ACT2, (2, cols), values, sizes=[scale(65535, -20)] * 2)
        values = [*[-128] * cols, *dice("y", cols, -128, 127)]
        s.tensor(f"{name} one", ACT1, (2, cols), values, sizes=[scale(40000, -10)] * 2)
        for act in ("two", "one"):
            s.tensor(f"{name} {act} y", I32, (2, rows), frac=2)
            s.emit("L", f"{name} {act} y", f"{name} {act}", name)
    s.emit("H")


@case()
def embed_of_four_bits(s: Sheet) -> None:
    """Rows by number, one beyond the table, with codes whose order in a pixel shows."""
    s.tensor("scale", SCALE, (3,), [scale(32768, -15), scale(65535, 4), 0], CONSTANT)
    codes = [*[n % 16 for n in range(64)], *dice("c", 128, 0, 15)]
    groups = [[(1, 0), (255, -7)], [(255, 32767), (0, -32768)], [(9, 9)] * 2]
    s.tensor("table", I4, (3, 64), codes, CONSTANT, scale="scale", sizes=groups)
    s.tensor("ids", I32, (4, 1), [1, 0, -1, 3])
    s.tensor("y", I32, (4, 64), frac=3)
    s.emit("E", "y", "ids", "table")
    s.emit("H")


@case()
def matmul_of_unlike_activations(s: Sheet) -> None:
    """Rows of two planes by rows of one; the result stands in rows of three extents."""
    s.tensor("a", ACT2, (4, 12), dice("a", 48, -16384, 16384), sizes=[scale(40000, -22)] * 4)
    sizes = [scale(65535, 3), scale(32768, -18)]
    s.tensor("b", ACT1, (2, 12), dice("b", 24, -128, 127), sizes=sizes)
    s.tensor("y", I32, (2, 2, 2), frac=12)
    s.emit("M", "y", "a", "b")
    s.emit("H")


@case()
def conv2d_strides_over_padding(s: Sheet) -> None:
    s.tensor("bias", I32, (2,), [1000, -1000], CONSTANT, frac=12)
    s.weight("w", (2, 36), dice("w", 72, -128, 127), [scale(50000, -16)] * 2, bias="bias")
    s.tensor("x", ACT1, (1, 60), dice("x", 60, -128, 127), sizes=[scale(40000, -20)])
    s.tensor("y", I32, (1, 12), frac=12)
    s.parameters("p", "w", 5, 3, 3, 2, 1)
    s.emit("V", "y", "x", "p")
    s.emit("H")


# Element by element


@case()
def every_form_of_b(s: Sheet) -> None:
    """b of the result's shape, one column of it, one row of it, one element."""
    s.tensor("a", I32, (3, 4), dice("a", 12, -9, 9), frac=2)
    forms = {"all": (3, 4), "column": (3, 1), "row": (1, 4), "line": (4,), "one": (1, 1)}
    for name, extents in forms.items():
        count = extents[0] * extents[-1] if len(extents) > 1 else extents[0]
        s.tensor(name, I32, extents, dice(name, count, -9, 9), frac=2)
        for glyph in "AX<=":
            s.tensor(f"{glyph} {name}", I32, (3, 4), frac=2)
            s.emit(glyph, f"{glyph} {name}", "a", name)
    s.emit("H")


@case()
def products_with_far_fraction_bits(s: Sheet) -> None:
    """Shifts of -383 to 382: exact, rounded half up, clamped before they saturate, or 0."""
    values = [LOW, HIGH, -3, -1, 0, 1, 3, 5]
    for n, (a, b, out) in enumerate(
        [(0, 0, 0), (1, 0, 0), (127, 127, -128), (-128, -128, 127), (31, 31, 0), (0, 0, 1)]
    ):
        s.tensor(f"a{n}", I32, (1, 8), values, frac=a)
        s.tensor(f"b{n}", I32, (1, 8), [LOW, LOW, 1, 1, 7, 1, 1, -1], frac=b)
        s.tensor(f"y{n}", I32, (1, 8), frac=out)
        s.tensor(f"dot{n}", I32, (1, 1), frac=out)
        s.emit("X", f"y{n}", f"a{n}", f"b{n}")
        s.emit("D", f"dot{n}", f"a{n}", f"b{n}")
    s.emit("H")


@case()
def tables_at_their_ends(s: Sheet) -> None:
    """Arguments on, beside and beyond the entries; slopes that fall, and that are saturated."""
    edges = [-16, 16, 0, 8, -8]
    x = [LOW, HIGH, *[e * 4096 + d for e in edges for d in (-1, 0, 1)], 4095, -4097, 2048, -2048, 7]
    s.tensor("x", I32, (2, 11), x, frac=12)
    falls = [-70000, 65536, -65535, HIGH, LOW] * 13
    s.tensor("four", I32, (65,), falls, CONSTANT, frac=14)
    s.tensor("two", I32, (129,), [LOW, HIGH, *[-7, 9] * 63, HIGH], frac=-1)
    for table in ("four", "two"):
        for glyph in "TG":
            s.tensor(f"{glyph} {table}", I32, (2, 11), frac=10)
            s.emit(glyph, f"{glyph} {table}", "x", table)
    s.emit("T", "x", "x", "four")
    s.emit("H")


# Rows


@case()
def rmsnorm_to_two_planes(s: Sheet) -> None:
    """Rows of zeros, of one huge number, of small ones; epsilon far below and above them."""
    x = [*[0] * 8, HIGH, LOW, *[0] * 6, *dice("x", 8, -40, 40), *dice("y", 8, -(2**20), 2**20)]
    s.tensor("x", I32, (4, 8), x, frac=12)
    for name, size in (("small", scale(43980, -35)), ("large", scale(65535, 10))):
        s.tensor(f"{name} epsilon", SCALE, (1,), [size], CONSTANT)
        s.tensor(name, I16, (8,), [32767, -32768, 0, 1, 16384, -9, 12000, 5], CONSTANT, frac=13,
                 scale=f"{name} epsilon")  # fmt: skip
        for kind, dtype in (("one", ACT1), ("two", ACT2), ("numbers", I32)):
            s.tensor(f"{name} {kind}", dtype, (4, 8), frac=12)
            s.emit("N", f"{name} {kind}", "x", name)
    s.emit("H")


@case()
def layernorm_with_bias_and_no_epsilon(s: Sheet) -> None:
    """Means that round, rows that are constant; the result replaces x."""
    s.tensor("bias", I32, (6,), dice("b", 6, -5000, 5000), CONSTANT, frac=12)
    s.tensor("w", I16, (6,), dice("w", 6, -32768, 32767), CONSTANT, frac=14, bias="bias")
    s.tensor("x", I32, (3, 6), [*[7] * 6, 1, 2, 2, 2, 2, 2, HIGH, HIGH, LOW, LOW, 3, -3], frac=12)
    s.emit("n", "x", "x", "w")
    s.emit("H")


@case()
def softmax_and_l2norm_of_extremes(s: Sheet) -> None:
    x = [*[0] * 5, HIGH, LOW, 0, 1, -1, *[-9] * 5, 4096, 8192, -4096, 2048, 4095]
    s.tensor("x", I32, (4, 5), x, frac=12)
    for n, frac in enumerate((0, 16, 31, -20)):
        s.tensor(f"soft{n}", I32, (4, 5), frac=frac)
        s.tensor(f"unit{n}", I32, (4, 5), frac=frac)
        s.emit("S", f"soft{n}", "x")
        s.emit("l", f"unit{n}", "x")
    s.emit("H")


@case()
def ties_go_to_the_lower_index(s: Sheet) -> None:
    s.tensor("x", I32, (3, 6), [5, 9, 9, 5, 9, 0, *[LOW] * 6, -1, HIGH, -1, HIGH, 0, HIGH])
    s.tensor("best", I32, (3, 1))
    s.tensor("order", I32, (3, 4))
    s.tensor("values", I32, (3, 4))
    s.emit("g", "best", "x")
    s.emit("k", "order", "x", "values")
    s.emit("H")


@case()
def means_round_half_up(s: Sheet) -> None:
    """Of rows, of groups of rows with a last one that is short, of windows."""
    s.tensor("x", I32, (5, 4), [-1, -2, -2, -1, 1, 2, 2, 1, 3, 3, 3, 4, -7, 0, 0, 1, 9, 9, -9, -8])
    s.tensor("mean", I32, (5, 1))
    s.tensor("groups", I32, (4, 4))
    s.tensor("window", I32, (5, 1))
    s.scalar("span", 2)
    s.tensor("used", I32, (3,), [2, 1, 9])
    s.parameters("pool", "span", "used")
    s.parameters("all", 2, 2, 2, 1)
    s.emit("m", "mean", "x")
    s.emit("o", "groups", "x", "pool")
    s.emit("v", "window", "x", "all")
    s.emit("H")


@case(width=8)
def rms_norm_of_heads(s: Sheet) -> None:
    """Heads of zeros, of one number, of the least and the largest; in place, and beside a bias."""
    values = [0, 0, 0, 0, 7, 0, 0, 0, LOW, HIGH, -1, 1, *dice("x", 12, -70000, 70000)]
    s.tensor("x", I32, (2, 12), values, frac=10)
    s.tensor("epsilon", SCALE, (1,), [scale(43981, -36)], CONSTANT)
    s.tensor("bias", I32, (4,), [HIGH, 3, -3, LOW], CONSTANT, frac=10)
    s.tensor("w", I16, (4,), [32767, -32767, 100, 1], CONSTANT, frac=14, scale="epsilon",
             bias="bias")  # fmt: skip
    s.tensor("pairs", I16, (2,), [16384, -20000], CONSTANT, frac=14, scale="epsilon")
    s.tensor("y", I32, (2, 12), frac=10)
    s.emit("N", "y", "x", "w")
    s.emit("N", "x", "x", "pairs")
    s.emit("H")


# Attention


def heads(s: Sheet, count: int, context: int, width: int, rows: int, groups: int) -> None:
    """k and v of so many heads, q of ``groups`` times as many, and a result."""
    for name in "kv":
        numbers = dice(name, count * context * width, -127, 127)
        sizes = [scale(33000 + 997 * n, -19 - n % 3) for n in range(count * context)]
        s.tensor(name, ACT1, (count, context, width), numbers, sizes=sizes)
    q = dice("q", rows * groups * count * width, -30000, 30000)
    s.tensor("q", I32, (rows, groups * count * width), q, frac=12)
    s.tensor("y", I32, (rows, groups * count * width), frac=12)


@case()
def attention_causal_beyond_the_context(s: Sheet) -> None:
    """Two query heads for each of two; positions 3 to 6 of 5, clamped and counted."""
    heads(s, 2, 5, 4, 4, 2)
    s.scalar("position", 3)
    s.parameters("p", "k", "v", "position", scale(47274, -16))
    s.emit("a", "y", "q", "p")
    s.emit("H")


@case()
def attention_of_a_window(s: Sheet) -> None:
    """Windows of 3 tokens, of one, of one more than a block's 128, and of more than there are."""
    for name in "kv":
        numbers = 12 * dice(name, 44, -127, 127)
        s.tensor(
            name, ACT1, (1, 132, 4), numbers, sizes=66 * [scale(33000, -19), scale(50001, -20)]
        )
    s.tensor("q", I32, (4, 4), dice("q", 16, -30000, 30000), frac=12)
    s.scalar("position", 129)
    for name, window in (("three", 3), ("one", 1), ("block", 129), ("all", 1 << 20)):
        s.tensor(f"{name} y", I32, (4, 4), frac=12)
        s.parameters(name, "k", "v", "position", scale(47274, -16), window)
        s.emit("w", f"{name} y", "q", name)
    s.emit("H")


@case()
def attention_full_in_groups(s: Sheet) -> None:
    """Groups of two rows; of a length below 1, of one beyond, and of the last one for the rest."""
    heads(s, 1, 7, 8, 7, 1)
    s.scalar("span", 2)
    s.tensor("used", I32, (3, 1), [-4, 99, 1])
    s.parameters("p", "k", "v", "span", "used", scale(33000, -17))
    s.emit("f", "y", "q", "p")
    s.emit("H")


@case()
def append_beyond_the_context(s: Sheet) -> None:
    """Rows 2, 3 and 4 of a cache of 4: the last one stays; a row of zeros has its scale."""
    s.tensor("cache", ACT1, (2, 4, 4), dice("c", 32, -128, 127))
    x = [*[0] * 8, HIGH, LOW, 1, -1, 100, -50, 25, -13, *dice("x", 8, -999, 999)]
    s.tensor("x", I32, (3, 8), x, frac=12)
    s.scalar("position", 2)
    s.emit("K", "cache", "x", "position")
    s.emit("H")


@case()
def rope_of_both_kinds(s: Sheet) -> None:
    """Two heads of four; positions -1, 0 and 1 of a table of two; results beyond 32 bits."""
    x = [*dice("x", 16, -99999, 99999), *[HIGH, LOW] * 4]
    angles = [16384, 0, 16384, 0, 8852, 13787, -32768, -32768]
    s.tensor("angles", I16, (2, 4), angles, CONSTANT)
    s.scalar("position", -1)
    for glyph in "Pp":
        s.tensor(glyph, I32, (3, 8), x)
        s.emit(glyph, glyph, "angles", "position")
    s.emit("H")


# Moving and drawing


@case()
def slices_and_concats(s: Sheet) -> None:
    """One column with a step of 2^32 - 1; a step that ends on the last column."""
    s.tensor("x", I32, (2, 7), list(range(14)))
    s.tensor("one", I32, (2, 1))
    s.tensor("three", I32, (2, 3))
    s.tensor("joined", I32, (2, 6), [-1] * 12)
    s.parameters("far", 6, 2**32 - 1)
    s.parameters("odd", 0, 3)
    s.parameters("first", 2)
    s.emit("s", "one", "x", "far")
    s.emit("s", "three", "x", "odd")
    s.emit("j", "joined", "three", "first")
    s.emit("H")


@case()
def transpose_of_four_axes(s: Sheet) -> None:
    s.tensor("x", I32, (2, 3, 1, 4), list(range(24)))
    s.tensor("y", I32, (4, 2, 3))
    s.parameters("p", 3, 2, 0, 1)
    s.emit("t", "y", "x", "p")
    s.emit("H")


@case()
def blit_of_unknown_codes(s: Sheet) -> None:
    """Codes outside of the font are clamped; lines that do not fit are left out."""
    s.tensor("font", RGBA, (3, 2, 2), [0x01010101 * (n + 1) for n in range(12)], CONSTANT)
    s.tensor("text", I32, (9,), [32, 33, 34, 31, 35, LOW, HIGH, 33, 32])
    s.tensor("canvas", RGBA, (5, 5), [0xFFEEDDCC] * 25)
    s.emit("B", "canvas", "text", "font")
    s.emit("H")


# Sampling


def sampler(s: Sheet, temperature: int, top_k: int, top_p: int, penalty: int) -> None:
    """Eight draws, each appended to the history that the penalty looks at."""
    s.tensor("logits", I32, (1, 9), [0, 40000, -9, 39000, 40000, 1, 38000, LOW, 20000], frac=12)
    names = ("temperature", "top_k", "top_p", "penalty")
    for name, value in zip(names, (temperature, top_k, top_p, penalty), strict=True):
        s.scalar(name, value)
    s.scalar("n", 0)
    s.constant("eight", 8)
    s.tensor("history", I32, (8, 1), [-1] * 8)
    s.tensor("random", I32, (2,), [0x12345678, -0x76543210])
    s.tensor("token", I32, (1, 1))
    s.parameters("p", *names, "history", "random")
    s.emit("[", "eight", 0, 0)
    s.emit("$", "token", "logits", "p")
    s.emit("u", "history", "token", "n")
    s.emit("]")
    s.emit("H")


@case()
def sample_the_likeliest(s: Sheet) -> None:
    """Temperature 0: no number is drawn; a penalty below 1 lets the first stay."""
    sampler(s, 0, 3, ONE, ONE // 2)


@case()
def sample_with_all_settings(s: Sheet) -> None:
    sampler(s, 3 * ONE, 5, ONE * 9 // 10, ONE * 12 // 10)


@case()
def sample_with_settings_out_of_range(s: Sheet) -> None:
    """Top-k and top-p below their ranges leave one candidate; a number is drawn all the same."""
    sampler(s, 1, -5, -ONE, -3)
