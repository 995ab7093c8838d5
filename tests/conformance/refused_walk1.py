"""Golden files of dialect 1 that the verifier refuses while it walks the program."""

from __future__ import annotations

from tests.conformance.cases1 import case, refused
from tests.conformance.refused1 import tensors, two_layers
from tests.conformance.sheet import (
    ACT1,
    ACT2,
    BASE,
    CALL_STACK,
    CALLS,
    CONSTANT,
    I16,
    I32,
    LOOP_STACK,
    LOOPS,
    PC,
    RGBA,
    STATUS,
    Sheet,
    scale,
)

# The walk


@refused("V1", "the base becomes 10")
def base_beyond_the_descriptors(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 1, s.pixel("C", ("s", 4)))
    s.change("code", 0, s.pixel("[", ("two", 0, 0)))


def visits(s: Sheet, before: int) -> None:
    """34 loops of 92 rounds in a loop of 81, the base moving in all, are 262,134 visits:

    Loop and Halt 2, the outer loop's rounds 81 and its body 81 * 35, the inner loops' rounds
    81 * 34 * 92 and their EndLoops, each with 172 bases, 34 * 172. Some instructions stand before.
    """
    s.constant("many", 81)
    s.constant("more", 92)
    s.shared()
    for n in range(171):
        s.parameters(f"{n}")
    for _ in range(before):
        s.emit("Y")
    s.emit("[", "many", 0, 1)
    for _ in range(34):
        s.emit("[", "more", 0, 1)
        s.emit("]")
    s.emit("]")
    s.emit("H")


@case(width=64, max_steps=3)
def as_many_visits_as_there_may_be(s: Sheet) -> None:
    visits(s, 10)


@refused("V2", "has over 262144 paths", width=64)
def more_visits_than_there_may_be(s: Sheet) -> None:
    visits(s, 11)


@refused("V3", "nest at most 8 deep")
def nine_loops(s: Sheet) -> None:
    tensors(s)
    for _ in range(9):
        s.emit("[", "two", 0, 0)
    for _ in range(9):
        s.emit("]")
    s.emit("H")


@refused("V3", "nest at most 8 deep")
def loops_of_a_subroutine_inside_loops(s: Sheet) -> None:
    """Five and four; it was visited before, where it fitted."""
    tensors(s)
    s.emit("C", "s", 0)
    for _ in range(4):
        s.emit("[", "two", 0, 0)
    s.emit("C", "s", 0)
    for _ in range(4):
        s.emit("]")
    s.emit("H")
    s.label("s")
    for _ in range(5):
        s.emit("[", "n", 0, 0)
    for _ in range(5):
        s.emit("]")
    s.emit("^")


@refused("V3", "at most 8 deep")
def recursion(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 6, s.pixel("C", ("s", 0)))


@refused("C1", "Loop): expected a count of one element, no length; found counts 2x1")
def count_of_two_elements(s: Sheet) -> None:
    two_layers(s)
    s.tensor("counts", I32, (2, 1), [1, 1], CONSTANT)
    s.change("code", 0, s.pixel("[", ("counts", 0, 1)))


@refused("C1", "Loop): expected a count of one element, no length; found count 1x1")
def count_with_a_length(s: Sheet) -> None:
    two_layers(s)
    s.tensor("count", I32, (1, 1), [1], length="n")
    s.change("code", 5, s.pixel("[", ("count", 0, 0)))


@refused("C2", "a constant count where the base moves")
def count_that_may_change_where_the_base_moves(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 0, s.pixel("[", ("n", 0, 1)))


@refused("C3", "expected the start of a subroutine")
def call_into_a_subroutine(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 1, s.pixel(ord("C"), (5, 0, 1)))


@refused("C4", "skip whole loops")
def skip_into_a_loop(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 4, s.pixel("?", ("n", 0, 1)))


@refused("C4", "skip whole loops")
def skip_behind_the_end_of_the_body(s: Sheet) -> None:
    """In a loop that never runs: its body is visited all the same."""
    s.constant("zero", 0)
    s.emit("[", "zero", 0, 0)
    s.emit("?", "zero", 0, 1)
    s.emit("]")
    s.emit("H")


# Operands


@refused("U1", "unused and must be 0")
def unused_operand(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 5, s.pixel("[", ("n", 1, 0)))


@refused("U2", "expected descriptor 0..8; found 9")
def operand_beyond_the_descriptors_in_the_last_round(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 6, s.pixel("A", (130, 130, "rows")))


@refused("U3", "expected I8 or I4; found I32")
def operand_of_another_dtype(s: Sheet) -> None:
    two_layers(s)
    s.change("code", 4, s.pixel("E", ("rows", "ids", "rows")))


@refused("U3", "expected I32; found RGBA")
def parameter_of_another_dtype(s: Sheet) -> None:
    tensors(s)
    s.tensor("pixels", RGBA, (1, 1))
    s.parameters("p", "two", "pixels")
    s.emit("o", "rows", "x", "p")
    s.emit("H")


@refused("U4", "expected a parameter block")
def tensor_instead_of_parameters(s: Sheet) -> None:
    tensors(s)
    s.emit("o", "rows", "x", "n")
    s.emit("H")


@refused("W1", "a result that is not constant")
def constant_result(s: Sheet) -> None:
    tensors(s)
    s.emit("F", "two", "n")
    s.emit("H")


@refused("W2", "none of the other operands")
def two_results_in_one_tensor(s: Sheet) -> None:
    tensors(s)
    s.emit("k", "rows", "x", "rows")
    s.emit("H")


@refused("W2", "none of the other operands")
def result_among_the_parameters(s: Sheet) -> None:
    tensors(s)
    s.tensor("y", I32, (2, 4), length="n")
    s.parameters("p", "two", "y")
    s.emit("o", "y", "x", "p")
    s.emit("H")


@refused("W3", "another operand's length")
def length_of_an_operand(s: Sheet) -> None:
    tensors(s)
    s.emit("u", "rows", "x", "n")
    s.emit("H")


# Shapes


@refused("S1", "weight [n,k]")
def linear_of_unlike_columns(s: Sheet) -> None:
    tensors(s)
    s.tensor("act", ACT2, (2, 8), length="n")
    s.tensor("y", I32, (2, 2), length="n")
    s.emit("L", "y", "act", "w")
    s.emit("H")


@refused("S1", "as many rows and one length for all")
def equal_rows_of_another_length(s: Sheet) -> None:
    tensors(s)
    s.tensor("y", I32, (2, 4))
    s.emit("A", "y", "x", "x")
    s.emit("H")


@refused("S1", "not the table")
def gate_over_its_own_table(s: Sheet) -> None:
    s.tensor("x", I32, (3,), [1, 2, 3])
    s.tensor("table", I32, (3,), [1, 2, 3])
    s.emit("G", "table", "x", "table")
    s.emit("H")


@refused("S1", "inside x")
def slice_beyond_the_columns(s: Sheet) -> None:
    """7 is one too far, whatever 32 bits make of it."""
    s.tensor("x", I32, (1, 7))
    s.tensor("y", I32, (1, 2))
    s.parameters("p", 6, 2**32 - 1)
    s.emit("s", "y", "x", "p")
    s.emit("H")


@refused("S1", "heads a multiple of the cache's")
def query_heads_that_do_not_divide(s: Sheet) -> None:
    s.tensor("k", ACT1, (2, 3, 4))
    s.tensor("q", I32, (1, 12))
    s.tensor("y", I32, (1, 12))
    s.scalar("position", 0)
    s.parameters("p", "k", "k", "position", scale(32768, -15))
    s.emit("a", "y", "q", "p")
    s.emit("H")


@refused("F1", "a bias with the result's fraction bits")
def bias_of_other_fraction_bits(s: Sheet) -> None:
    """Also where the result is an activation, which gets no bias."""
    tensors(s)
    s.tensor("bias", I32, (4,), None, CONSTANT, frac=11)
    s.tensor("norm", I16, (4,), None, CONSTANT, frac=14, bias="bias")
    s.tensor("y", ACT2, (2, 4), frac=12, length="n")
    s.emit("N", "y", "x", "norm")
    s.emit("H")


# Registers


def in_a_loop(s: Sheet) -> None:
    """``two_layers`` after 7 steps: in the loop of the subroutine, called in the first round."""
    two_layers(s)
    x, first = s.names["x"], s.names["1.x"]
    s.state = {PC: 6, BASE: first, LOOPS: 2, CALLS: 1}
    s.state |= dict(enumerate((1, 2, 1, x, 6, 1, 0, first), LOOP_STACK))
    s.state |= dict(enumerate((2, x), CALL_STACK))


case()(in_a_loop)
NO_PLACE = "registers are not a place"


@refused("R1", NO_PLACE)
def status_of_three(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {STATUS: 3}


@refused("R2", NO_PLACE)
def place_that_has_no_such_base(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {BASE: 6}


@refused("R3", NO_PLACE)
def loop_that_was_not_entered(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {LOOPS: 0}


@refused("R4", NO_PLACE)
def loop_with_another_body(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {LOOP_STACK + 4: 5}


@refused("R5", NO_PLACE)
def fewer_rounds_than_the_base_says(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {LOOP_STACK + 1: 1}


@refused("R6", NO_PLACE)
def return_to_no_call(s: Sheet) -> None:
    in_a_loop(s)
    s.state |= {CALL_STACK: 1}


@refused("R7", NO_PLACE)
def loop_below_those_around(s: Sheet) -> None:
    in_a_loop(s)
    entries = [s.state[LOOP_STACK + n] for n in range(8)]
    s.state |= {LOOPS: 3} | dict(enumerate(entries[:4] + entries, LOOP_STACK))
