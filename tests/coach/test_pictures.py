"""Expressions as pixel programs: the machine computes what search computed, and they read back."""

from __future__ import annotations

import numpy as np
import pytest

from pxvm.coach.errors import TaskError
from pxvm.coach.expression import OPERATIONS, evaluate, expand, infer
from pxvm.coach.pictures import MOST_STEPS, admit, draw, read, run
from pxvm.core.errors import ProgramError
from pxvm.core.executors import installed
from pxvm.core.fontcode import assemble, disassemble
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import load_program
from pxvm.core.tensor import DType, Role
from tests.coach.making import X, Y, above, k

SHAPES = [(1, 5), (3, 4), (4, 1)]


def values(*shapes, count=6):
    rng = np.random.default_rng(5)
    return [rng.integers(-60, 60, (count, *shape)) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", OPERATIONS.values(), ids=lambda op: op.name)
def test_every_opcode_on_the_machine_is_what_its_definition_gave(op, shape):
    for second in ((Y,), (k(3),)) if op.arity == 2 else ((),):
        expression = (op.name, X, *second)
        inputs = {"x": shape, "y": shape}
        output = infer(expression, list(inputs.values()))
        if output is None:
            continue
        admitted = admit(draw(expression, inputs), inputs, output)
        given = values(shape, shape)
        np.testing.assert_array_equal(run(admitted, given), evaluate(expression, given))
        assert read(admitted) == expression


def test_saturation_is_the_machines():
    program = X
    for _ in range(6):
        program = ("Mul", program, program)
    given = [np.full((1, 1, 2), [[-3, 7]])]
    admitted = admit(draw(program, {"x": (1, 2)}), {"x": (1, 2)}, (1, 2))
    found = run(admitted, given)
    np.testing.assert_array_equal(found, evaluate(program, given))
    assert found[0, 0, 1] == 2**31 - 1


PIECES = {"@above": above(("h", 0)), "@mixed": ("Add", ("TopK", ("h", 0)), ("h", 1))}
CALLING = ("Sum", ("Mul", ("@above", X), ("@mixed", ("@above", X), ("@mixed", X, X))))


def test_a_piece_is_one_subroutine_that_is_called():
    image = draw(CALLING, {"x": (1, 5)}, PIECES)
    names = [i.op.name for i in load_program(image).instructions]
    assert names.count("Call") == 3 and names.count("Return") == 2 and names.count("TopK") == 1
    admitted = admit(image, {"x": (1, 5)}, (1, 1))
    plain = expand(CALLING, PIECES)
    assert read(admitted) == plain
    given = values((1, 5))
    np.testing.assert_array_equal(run(admitted, given), evaluate(plain, given))
    assert (assemble(disassemble(image)) == image).all()


def test_more_calls_than_operands_reach_are_written_out():
    program = X
    for _ in range(40):
        program = ("@mixed", program, X)
    image = draw(program, {"x": (1, 4)}, PIECES)
    assert "Call" not in [i.op.name for i in load_program(image).instructions]
    given = values((1, 4))
    found = run(admit(image, {"x": (1, 4)}, (1, 4)), given)
    np.testing.assert_array_equal(found, evaluate(expand(program, PIECES), given))


@pytest.mark.parametrize("device", [name for name in ("reference", "cpu") if name in installed()])
def test_the_executors_agree(device):
    image = draw(CALLING, {"x": (1, 5)}, PIECES)
    given = values((1, 5), count=2)
    admitted = admit(image, {"x": (1, 5)}, (1, 1))
    np.testing.assert_array_equal(
        run(admitted, given, device), evaluate(expand(CALLING, PIECES), given)
    )


def strange(instructions, **more):
    """A program with x [1, 1, 4] and out [1, 1, 1] of other instructions."""
    b = NetworkBuilder(32)
    for name, count in (("x", 4), ("out", 1)):
        b.tensor(name, DType.I32, (1, 1, count), Role.STATE)
    b.constant("often", more.get("often", 2))
    for line in instructions:
        b.emit(*line)
    return b.build()


def test_a_loop_runs_but_is_no_expression():
    image = strange([("Loop", "often", 0), ("Sum", "out", "x"), ("EndLoop",), ("Halt",)])
    admitted = admit(image, {"x": (1, 4)}, (1, 1))
    assert read(admitted) is None
    given = values((1, 4))
    np.testing.assert_array_equal(run(admitted, given), evaluate(("Sum", X), given))


def test_a_program_that_takes_too_many_steps_is_stopped():
    image = strange([("Loop", "often", 0), ("Sum", "out", "x"), ("EndLoop",), ("Halt",)],
                    often=MOST_STEPS)  # fmt: skip
    admitted = admit(image, {"x": (1, 4)}, (1, 1))
    assert run(admitted, values((1, 4))) is None


@pytest.mark.parametrize(
    ("program", "inputs", "output", "said"),
    [
        (strange([("Sum", "out", "x")]), {"z": (1, 4)}, (1, 1), "expected a tensor 'z'"),
        (strange([("Sum", "out", "x")]), {"x": (1, 5)}, (1, 1), "expected a tensor 'x'"),
        (strange([("Sum", "out", "x")]), {"x": (1, 4)}, (1, 4), "expected a tensor 'out'"),
        (np.zeros((300, 300, 4), np.uint8), {"x": (1, 4)}, (1, 1), "at most 65536 pixels"),
        (assemble(".image 4x4\nH\n"), {"x": (1, 4)}, (1, 1), "dialect 1"),
    ],
)
def test_a_program_for_other_tasks_is_refused(program, inputs, output, said):
    with pytest.raises(TaskError, match=said):
        admit(program, inputs, output)


def test_what_the_verifier_refuses_never_runs():
    image = strange([("Sum", "out", "x")])
    image[0, 8] = 255
    with pytest.raises(ProgramError):
        admit(image, {"x": (1, 4)}, (1, 1))


def test_another_broadcast_is_no_expression():
    """One example's row over the rows of a matrix: right for one, undefined for a stack."""
    b = NetworkBuilder(32)
    b.tensor("x", DType.I32, (1, 2, 3), Role.STATE)
    b.tensor("y", DType.I32, (1, 1, 3), Role.STATE)
    b.tensor("out", DType.I32, (1, 2, 3), Role.STATE)
    b.emit("Add", "out", "x", "y")
    admitted = admit(b.build(), {"x": (2, 3), "y": (1, 3)}, (2, 3))
    assert read(admitted) is None
    given = values((2, 3), (1, 3))
    np.testing.assert_array_equal(run(admitted, given), given[0] + given[1])
