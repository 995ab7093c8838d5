"""Golden files of dialect 1 that the verifier refuses: one at least for each of its rules.

Each begins with a rule's name in docs/VERIFIER.md, and with words of the message that pxVM's own
verifier gives. Most are the program of ``two_layers`` with one thing wrong.
"""

from __future__ import annotations

from tests.conformance.cases1 import case, refused
from tests.conformance.sheet import (
    CONSTANT,
    I32,
    SCALE,
    SCRATCH,
    Sheet,
    scale,
)


def tensors(s: Sheet) -> None:
    s.constant("two", 2)
    s.scalar("n", 1)
    s.weight("w", (2, 4), list(range(8)), [scale(32768, -15)] * 2)
    s.tensor("ids", I32, (2, 1), [1, 0], length="n")
    s.tensor("rows", I32, (2, 4), length="n")
    s.shared()
    for layer in ("", "1.", "2."):
        s.tensor(f"{layer}x", I32, (2, 4), [3] * 8, length="n")


def two_layers(s: Sheet) -> None:
    """A subroutine that is called from a loop over two layers; it begins with instruction 4."""
    tensors(s)
    s.emit("[", "two", 0, 1)
    s.emit("C", "s", 1)
    s.emit("]")
    s.emit("H")
    s.label("s")
    s.emit("E", "rows", "ids", "w")
    s.emit("[", "n", 0, 0)
    s.emit("A", "+x", "+x", "rows")
    s.emit("]")
    s.emit("^")


case()(two_layers)


# Header


@refused("H1", "a PXV1 header has 7 pixels")
def image_without_a_header(s: Sheet) -> None:
    s.only = (2, 3)
    two_layers(s)


@refused("H2", "expected format version 2; found 1: an older pxvm wrote it")
def an_older_version(s: Sheet) -> None:
    two_layers(s)
    s.change("header", 1, 1)


@refused("H2", "expected format version 2; found 3: use a newer pxvm")
def another_version(s: Sheet) -> None:
    two_layers(s)
    s.change("header", 1, 3)


@refused("H3", "leave the image")
def state_beyond_the_image(s: Sheet) -> None:
    two_layers(s)
    s.change("header", 6, 2**32 - 64)


@refused("H4", "found 0 instructions")
def no_instructions(s: Sheet) -> None:
    two_layers(s)
    s.change("header", 3, 0)


# Descriptors


@refused("D1", "descriptor 0")
def name_that_is_no_utf8(s: Sheet) -> None:
    two_layers(s)
    s.change("two", 15, 0xFF000000)


@refused("D2", "descriptor 0")
def unknown_role(s: Sheet) -> None:
    two_layers(s)
    s.change("two", 0, 3 | 1 << 8 | 3 << 16)


@refused("D3", "rank is 1..4")
def rank_of_five(s: Sheet) -> None:
    two_layers(s)
    s.change("two", 0, 3 | 5 << 8)


@refused("D4", "are not inside an image")
def extents_beyond_the_image(s: Sheet) -> None:
    """Their product, not 0 modulo 2^32, but 2^34."""
    two_layers(s)
    s.change("1.x", 1, 1 << 32 - 2)
    s.change("1.x", 2, 16)


@refused("D5", "rows fill whole pixels")
def rows_that_end_inside_a_word(s: Sheet) -> None:
    two_layers(s)
    s.change("w", 2, 3)


@refused("D6", "link to descriptor")
def link_beyond_the_descriptors(s: Sheet) -> None:
    two_layers(s)
    s.change("1.x", 9, 10)


# Places


@refused("P1", "leave the 16 x")
def row_beyond_the_right_edge(s: Sheet) -> None:
    """Two rows of four side by side from column 9 on."""
    two_layers(s)
    s.tensor("last", I32, (2, 4), skip=9, side=1)
    s.change("last", 6, 2)


@refused("P1", "leave the 16 x")
def whole_rows_from_column_1(s: Sheet) -> None:
    two_layers(s)
    s.tensor("last", I32, (2, 4), skip=1, side=1)
    s.change("last", 6, 0)


@refused("P2", "leave the 16 x")
def rows_below_the_image(s: Sheet) -> None:
    two_layers(s)
    s.tensor("last", I32, (2, 4), side=2)
    s.change("last", 6, 1)


@refused("P3", "image rows", width=64)
def constants_over_the_picture_again_and_again(s: Sheet) -> None:
    s.tensor("0", I32, (200, 1), None, CONSTANT, side=1)
    for n in range(1, 120):
        s.tensor(f"{n}", I32, (200, 1), [], CONSTANT, side=1, beside=("0", 0))
    s.emit("H")


# Links


@refused("L1", "a kept I32 scalar as length")
def length_of_two_elements(s: Sheet) -> None:
    two_layers(s)
    s.tensor("long", I32, (2,), [1, 1])
    s.change("1.x", 9, 10)


@refused("L1", "a kept I32 scalar as length")
def length_in_scratch(s: Sheet) -> None:
    two_layers(s)
    s.scalar("short", 1, SCRATCH)
    s.change("1.x", 9, 10)


@refused("L2", "at least two extents with a length")
def length_of_a_line(s: Sheet) -> None:
    two_layers(s)
    s.tensor("line", I32, (4,), length="n")


@refused("L3", "2 constant scales")
def too_few_scales(s: Sheet) -> None:
    two_layers(s)
    s.tensor("one", SCALE, (1,), [scale(1, 0)], CONSTANT)
    s.change("w", 7, 10)


@refused("L4", "a constant I32 bias [2]")
def bias_that_may_change(s: Sheet) -> None:
    two_layers(s)
    s.tensor("bias", I32, (2,), [1, 1])
    s.change("w", 8, 10)


@refused("L5", "a constant role for I8")
def weights_in_the_state(s: Sheet) -> None:
    two_layers(s)
    s.change("w", 0, 1 | 2 << 8 | 1 << 16)


# Overlaps


@refused("O1", "overlap at")
def state_tensors_on_the_same_pixels(s: Sheet) -> None:
    """The last row of three, two in an image row, leaves columns free that count as its own."""
    two_layers(s)
    s.tensor("three", I32, (3, 4), side=2)
    s.tensor("inside", I32, (1, 4), beside=("three", 20))


@refused("O1", "overlap at")
def constant_over_code(s: Sheet) -> None:
    two_layers(s)
    s.tensor("numbers", I32, (1, 4), [], CONSTANT)
    s.change("numbers", 5, 16)


# Code


@refused("K1", "unknown opcode 33")
def unknown_opcode_that_is_never_reached(s: Sheet) -> None:
    two_layers(s)
    s.emit("!")
    s.emit("^")


@refused("B1", "expected a Loop before it")
def end_without_a_loop(s: Sheet) -> None:
    tensors(s)
    s.emit("]")
    s.emit("H")


@refused("B2", "ends with its one Halt")
def halt_in_a_subroutine(s: Sheet) -> None:
    two_layers(s)
    s.emit("H")


@refused("B3", "expected its EndLoop")
def loop_across_the_end_of_a_block(s: Sheet) -> None:
    tensors(s)
    s.emit("[", "two", 0, 0)
    s.emit("H")
    s.emit("]")
    s.emit("^")


@refused("B4", "expected Halt (or Return) at the end")
def block_without_an_end(s: Sheet) -> None:
    two_layers(s)
    s.emit("Y")
