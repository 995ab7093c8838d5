"""Golden files of dialect 1: control flow, step limits, snapshots, and how tensors lie.

Each function lays out a program; its name is the file's.
"""

from __future__ import annotations

from tests.conformance.cases1 import CASES, Case, case, stopped
from tests.conformance.sheet import (
    ACT2,
    CLAMPED,
    CONSTANT,
    HIGH,
    I32,
    LOOP_STACK,
    LOW,
    SATURATED,
    SCRATCH,
    STATE,
    STATUS,
    STEPS,
    Sheet,
    scale,
)


def layers(s: Sheet, count: int, *names: str) -> None:
    """Scalars of the state, the same in each layer, worth 1, 2, 3 and so on."""
    s.shared()
    value = 0
    for layer in range(count):
        for name in names:
            value += 1
            s.scalar(name if not layer else f"{layer}.{name}", value)


# Steps


def adding(s: Sheet) -> None:
    """x += one, four times; y is scratch."""
    s.scalar("x", 5)
    s.constant("one", 1)
    s.scalar("y", 7, SCRATCH)
    for _ in range(4):
        s.emit("A", "x", "x", "one")
    s.emit("H")


CASES["steps_none"] = Case(adding, max_steps=0)
CASES["steps_three"] = Case(adding, max_steps=3)
CASES["steps_to_halt"] = Case(adding, max_steps=5)


@case()
def halted_stays_as_it_is(s: Sheet) -> None:
    """No step; words of the state that hold what no run leaves stay too."""
    adding(s)
    s.state = {STATUS: 2, SATURATED: -1, CLAMPED: LOW, STEPS: -1}


@case(max_steps=0)
def yielded_without_a_step_is_ready(s: Sheet) -> None:
    adding(s)
    s.state = {STATUS: 1}


@case()
def steps_wrap_and_the_rest_stays(s: Sheet) -> None:
    """STEPS passes 2^31, SATURATED and CLAMPED become 1; entries not in use keep their noise."""
    s.tensor("x", I32, (1, 3), [HIGH, LOW, 0])
    s.tensor("one", I32, (1, 3), [1, -1, 0], CONSTANT)
    s.tensor("ids", I32, (2, 1), [-1, 5])
    s.weight("table", (2, 4), list(range(8)), [scale(32768, -15)] * 2)
    s.tensor("rows", I32, (2, 4))
    s.emit("A", "x", "x", "one")
    s.emit("E", "rows", "ids", "table")
    s.emit("H")
    s.state = {n: -n * 1234567 for n in range(LOOP_STACK, 64)}
    s.state |= {STEPS: HIGH - 1, SATURATED: HIGH, CLAMPED: 0}


# Loops, calls, skips


@stopped("nested_loops_that_move_the_base", 11)
def nested(s: Sheet) -> None:
    """Three rounds over pairs of two layers, the base moving in both loops."""
    s.constant("three", 3)
    s.constant("two", 2)
    layers(s, 8, "a", "b")
    s.emit("[", "three", 0, 4)
    s.emit("[", "two", 0, 2)
    s.emit("A", "+a", "+a", "+b")
    s.emit("A", "+b", "+b", "two")
    s.emit("]")
    s.emit("A", "+1.a", "+a", "+1.b")
    s.emit("]")
    s.emit("H")


@stopped("loop_in_a_subroutine_of_a_layer", 9)
def subroutine(s: Sheet) -> None:
    """Call adds to the base; the loop inside runs as often as a tensor of the state says."""
    s.scalar("n", 3)
    layers(s, 3, "a")
    s.emit("C", "s", 1)
    s.emit("C", "s", 2)
    s.emit("H")
    s.label("s")
    s.emit("A", "+a", "+a", "n")
    s.emit("[", "n", 0, 0)
    s.emit("A", "+a", "+a", "+a")
    s.emit("]")
    s.emit("^")


@stopped("yield_in_a_loop", 99)
def yields(s: Sheet) -> None:
    """The first run stops at Yield, with scratch cleared; the second at the next one."""
    s.constant("three", 3)
    s.scalar("x", 1)
    s.scalar("y", 9, SCRATCH)
    s.emit("[", "three", 0, 0)
    s.emit("A", "x", "x", "y")
    s.emit("F", "y", "three")
    s.emit("Y")
    s.emit("]")
    s.emit("H")


@case()
def loops_eight_deep(s: Sheet) -> None:
    s.constant("two", 2)
    s.scalar("x")
    for _ in range(8):
        s.emit("[", "two", 0, 0)
    s.emit("A", "x", "x", "two")
    for _ in range(8):
        s.emit("]")
    s.emit("H")


@case()
def calls_eight_deep(s: Sheet) -> None:
    """Each subroutine adds 1 to the base and calls the next; the last fills its layer."""
    s.constant("value", 77)
    layers(s, 9, "a")
    s.emit("C", "0", 1)
    s.emit("H")
    for depth in range(8):
        s.label(str(depth))
        if depth < 7:
            s.emit("C", str(depth + 1), 1)
        s.emit("A", "+a", "+a", "value")
        s.emit("^")


@case(max_steps=3)
def loop_counts_are_clamped(s: Sheet) -> None:
    """65,535 rounds are left on the stack; the one around has a count below 0."""
    s.tensor("many", I32, (1, 1), [HIGH])
    s.tensor("none", I32, (1,), [-7])
    s.scalar("x")
    s.emit("[", "none", 0, 0)
    s.emit("F", "x", "many")
    s.emit("]")
    s.emit("[", "many", 0, 0)
    s.emit("A", "x", "x", "many")
    s.emit("]")
    s.emit("H")


@case()
def loop_never_run_that_moves_the_base(s: Sheet) -> None:
    """Its body is not visited, so nothing in it need be right."""
    s.constant("zero", 0)
    s.scalar("x", 3)
    s.emit("[", "zero", 0, 200)
    s.emit("A", 99, 98, 255)
    s.emit("]")
    s.emit("A", "x", "x", "x")
    s.emit("H")


@case()
def subroutine_that_is_never_called(s: Sheet) -> None:
    """No path reaches it, so only its opcodes and its blocks need be right."""
    s.scalar("x", 3)
    s.emit("A", "x", "x", "x")
    s.emit("H")
    s.emit("A", 99, 98, 255)
    s.emit("?", 77, 1, 200)
    s.emit("^")


@case()
def skips(s: Sheet) -> None:
    """Over nothing, over a loop, to the end of a body, to the Return; the first element counts."""
    s.tensor("no", I32, (2, 2), [0, 1, 1, 1])
    s.tensor("yes", I32, (2, 2), [-1, 0, 0, 0])
    s.constant("two", 2)
    s.tensor("x", I32, (1, 4), [1, 2, 3, 4])
    s.emit("?", "no", 0, 0)
    s.emit("?", "no", 0, 3)
    s.emit("[", "two", 0, 0)
    s.emit("F", "x", "two")
    s.emit("]")
    s.emit("?", "yes", 0, 1)
    s.emit("A", "x", "x", "x")
    s.emit("[", "two", 0, 0)
    s.emit("?", "no", 0, 1)
    s.emit("A", "x", "x", "x")
    s.emit("]")
    s.emit("C", "s", 0)
    s.emit("?", "no", 0, 1)
    s.emit("A", "x", "x", "x")
    s.emit("H")
    s.label("s")
    s.emit("A", "x", "x", "two")
    s.emit("?", "no", 0, 1)
    s.emit("A", "x", "x", "x")
    s.emit("^")


# Places


def place(s: Sheet, rows: int, cols: int, **fields: int) -> None:
    """x doubles where it lies, with what is beside it untouched."""
    s.tensor("x", I32, (rows, cols), [100 * r + c for r in range(rows) for c in range(cols)],
             **fields)  # fmt: skip
    s.emit("A", "x", "x", "x")
    s.emit("H")


@case()
def rows_below_each_other(s: Sheet) -> None:
    place(s, 4, 3, skip=5, side=1)


@case()
def rows_side_by_side(s: Sheet) -> None:
    """Three in an image row, the last of three image rows with one only."""
    place(s, 7, 4, skip=18, side=3)


@case()
def tensors_side_by_side(s: Sheet) -> None:
    """Two in the same image rows, two rows of each beside each other, one of activations."""
    s.tensor("x", I32, (5, 2), [7, -9000, 1, 2, 0, 0, 123456, -5, 1 << 30, 3], side=2)
    s.tensor("y", ACT2, (5, 8), beside=("x", 5), side=2)
    s.tensor("z", I32, (5, 8), [r * 1000003 % 70001 - 35000 for r in range(40)])
    s.emit("Q", "y", "z")
    s.emit("A", "x", "x", "x")
    s.emit("H")


@case()
def more_rows_side_by_side_than_there_are(s: Sheet) -> None:
    place(s, 3, 4, skip=4, side=2**32 - 1)


@case()
def rows_that_wrap(s: Sheet) -> None:
    place(s, 2, 37, side=0)


@case()
def rows_on_whole_image_rows(s: Sheet) -> None:
    place(s, 3, 5, side=0)


@case(width=1)
def one_pixel_wide(s: Sheet) -> None:
    place(s, 3, 5, side=0)


@case()
def constants_on_the_same_pixels(s: Sheet) -> None:
    """Rows of I32 are read as rows of I8 as well."""
    s.tensor("numbers", I32, (4, 4), [0x01020304 * (n + 1) for n in range(16)], CONSTANT, side=1)
    s.weight("table", (4, 16), [], [scale(32768, -15)] * 4, side=1,
             beside=("numbers", 0))  # fmt: skip
    s.tensor("ids", I32, (2, 1), [3, 1])
    s.tensor("rows", I32, (2, 16))
    s.tensor("sum", I32, (4, 4), [1] * 16)
    s.emit("E", "rows", "ids", "table")
    s.emit("A", "sum", "sum", "numbers")
    s.emit("H")


@case()
def areas_in_another_order(s: Sheet) -> None:
    """Descriptors, then state, then code, none of them at the beginning of an image row."""
    layers(s, 2, "a")
    for _ in range(20):
        s.emit("A", "+1.a", "+a", "+1.a")
    s.emit("H")
    s.areas_at = (133, 60, 21, 160)


@case()
def words_that_nobody_reads(s: Sheet) -> None:
    """Extents beyond the rank, a parameter block's rank, role, fraction bits and last words."""
    s.tensor("a name of 24 bytes, full", I32, (3,), [1, 2, 3])
    s.tensor("y", I32, (1, 2))
    s.parameters("p", 0, 2, 77, -1, 2**31)
    for offset, word in ((2, 0), (3, -1), (4, 123)):
        s.change("a name of 24 bytes, full", offset, word)
    s.change("p", 0, 8 | 200 << 8 | 2 << 16 | 130 << 24)
    s.change("y", 10, int.from_bytes(b"a\0\0b", "little"))
    s.emit("s", "y", "a name of 24 bytes, full", "p")
    s.emit("H")


# Rows in use


@case()
def lengths_are_clamped(s: Sheet) -> None:
    """None, two and all of four rows in use; a scratch tensor's other rows are not cleared."""
    values = list(range(1, 9))
    for name, length in (("none", -5), ("two", 2), ("all", HIGH)):
        s.tensor(f"{name} rows", I32, (1, 1), [length])
        for part, role in (("x", STATE), ("y", SCRATCH), ("z", STATE)):
            s.tensor(f"{name} {part}", I32, (4, 2), values, role, length=f"{name} rows")
        s.emit("A", f"{name} y", f"{name} x", f"{name} x")
        s.emit("A", f"{name} z", f"{name} y", f"{name} x")
    s.emit("Y")
    s.emit("H")


@case()
def moving_with_and_without_lengths(s: Sheet) -> None:
    """Copy and Transpose take every row, Tail the last in use, Push what fits."""
    s.scalar("n", 2)
    s.scalar("filled", 3)
    x = [10 * r + c for r in range(4) for c in range(2)]
    s.tensor("x", I32, (4, 2), x, length="n")
    s.tensor("copy", I32, (3, 3), [-1] * 9)
    s.tensor("turned", I32, (2, 4))
    s.tensor("tail", I32, (3, 2))
    s.tensor("list", I32, (4, 2), [-r for r in range(8)])
    s.parameters("axes", 1, 0, 2, 3)
    s.emit("c", "copy", "x")
    s.emit("t", "turned", "x", "axes")
    s.emit("z", "tail", "x")
    s.emit("u", "list", "x", "filled")
    s.emit("u", "list", "x", "filled")
    s.emit("H")


@case()
def rows_pushed_before_much_else(s: Sheet) -> None:
    """What Push counts is the rows in use of others, nine instructions later."""
    s.scalar("filled", 2)
    s.tensor("list", I32, (5, 2), [3 * r for r in range(10)])
    s.tensor("more", I32, (2, 2), [-1, -2, -3, -4])
    for name in ("x", "sums"):
        s.tensor(name, I32, (5, 2), [7 + r for r in range(10)], length="filled")
    s.emit("u", "list", "more", "filled")
    for i in range(9):
        s.tensor(f"apart {i}", I32, (1, 2), [i, -i])
        s.emit("A", f"apart {i}", f"apart {i}", f"apart {i}")
    s.emit("A", "sums", "x", "x")
    s.emit("H")


@case()
def steered_by_rows_made_just_before(s: Sheet) -> None:
    """A norm of six rows, and a jump by the first of them."""
    s.tensor("x", I32, (6, 3), [100 * r - 900 for r in range(18)])
    s.tensor("y", I32, (6, 3), [-1] * 18)
    s.tensor("shares", I32, (6, 3), frac=30)
    s.emit("S", "shares", "x")
    s.emit("?", "shares", 0, 1)
    s.emit("A", "y", "x", "x")
    s.emit("H")


@case()
def many_rows_again_and_again(s: Sheet) -> None:
    """Twelve sums of forty rows, each of what the one before made."""
    s.tensor("x", I32, (40, 3), list(range(120)))
    s.tensor("y", I32, (40, 1), list(range(40)))
    for i in range(12):
        s.emit("A", "x", "x", "y" if i % 2 else "x")
    s.emit("H")
