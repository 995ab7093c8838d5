"""Plans: nothing between two barriers depends on each other, and barriers are few."""

from __future__ import annotations

from random import Random

import pytest

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.isa import Flow
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.plan import plan_of, touched
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from tests.core.test_ops import NAMES
from tests.differential.generator import generate, generate_one
from tests.differential.harness import admitted


def roles(program: TensorProgram) -> dict[str, Role]:
    """Role of each tensor by its region's name."""
    tensors = [d for d in program.descriptors if d.dtype != DType.PARAMS]
    return {program.tensor_region(d.index).name: d.role for d in tensors}


def walk(image: Image, steps: int) -> int:
    """Follow a run: between two barriers nothing meets what was written, or writes what was read.

    What is touched is taken from the regions that a step names, not from the plan. Returns how
    many instructions followed another without a barrier.
    """
    machine, program = Machine(image), admitted(image)
    barriers, role = plan_of(program).barriers, roles(program)
    read, written, together = set(), set(), 0
    for _ in range(steps):
        step = machine.step()
        if step is None:
            break
        if barriers[step.instruction.index]:
            read, written = set(), set()
        else:
            together += 1
        reads, writes = ({r.name for r in regions if role[r.name] != Role.CONSTANT}
                         for regions in (step.reads, step.writes))  # fmt: skip
        assert not (reads | writes) & written, step.instruction.place
        assert not writes & read, step.instruction.place
        read, written = read | reads, written | writes
    return together


def test_nothing_between_two_barriers_depends_on_each_other() -> None:
    assert sum(walk(generate(seed), 200) for seed in range(60)) > 100


@pytest.mark.parametrize("name", NAMES)
def test_what_is_touched_is_what_the_regions_say(name: str) -> None:
    program = admitted(generate_one(Random(name), name))
    role, lengths = roles(program), {d.length for d in program.descriptors}
    for index, base in program.visits:
        instruction = program.instructions[index]
        wanted, found = set(), set()
        for mode, region in program.operand_regions(instruction, base):
            if role[region.name] != Role.CONSTANT:
                wanted.add((region.name, mode.writes))
        for d, writes in touched(program, instruction, base):
            if (program.tensor_region(d).name, writes) in wanted or d not in lengths:
                found.add((program.tensor_region(d).name, writes))
        assert found == wanted


def layers(shared: bool) -> Image:
    """Two rounds over layers of three products of one input, and what joins them."""
    b = NetworkBuilder()
    b.tensor("two", DType.I32, (1,), Role.CONSTANT, data=[2])
    b.tensor("x", DType.I32, (1, 4), Role.STATE, data=[[1, 2, 3, 4]])
    for name in "abc":
        b.tensor(name, DType.I32, (1, 4), Role.SCRATCH)
    for layer in range(2):
        b.tensor("w", DType.I32, (1, 4), Role.CONSTANT, data=[[1, 2, 3, 4]], layer=layer)
    b.emit("Loop", "two", b.layer_size)
    for name in "abc":
        b.emit("Mul", "a" if shared else name, "x", "w")
    b.emit("Add", "x", "a", "b")
    b.emit("EndLoop")
    b.emit("Halt")
    return b.build()


def test_a_barrier_stands_where_it_must_and_nowhere_else() -> None:
    program = admitted(layers(False))
    names = [
        [program.instructions[i].op.name for i in group] for group in plan_of(program).groups()
    ]
    assert names == [["Loop"], ["Mul", "Mul", "Mul"], ["Add", "EndLoop"], ["Halt"]]
    names = [len(group) for group in plan_of(admitted(layers(True))).groups()]
    assert names == [1, 1, 1, 1, 2, 1]


def test_loops_and_what_follows_products() -> None:
    plan = plan_of(admitted(layers(False)))
    assert plan.match.tolist() == [5, 0, 0, 0, 0, 0, 0]
    assert plan.ahead.tolist() == [-1] * 7
    b = NetworkBuilder()
    b.tensor("x", DType.ACT1, (1, 4), Role.STATE)
    b.tensor("s", DType.SCALE, (4,), Role.CONSTANT, data=[32768] * 4)
    b.tensor("w", DType.I8, (4, 4), Role.CONSTANT, scale="s", data=[[1] * 4] * 4)
    b.tensor("y", DType.I32, (1, 4), Role.STATE)
    b.emit("Add", "y", "y", "y")
    b.emit("Linear", "y", "x", "w")
    b.emit("Halt")
    program = admitted(b.build())
    assert plan_of(program).ahead.tolist() == [1, 1, -1]
    assert [i.op.flow is Flow.HALT for i in program.instructions] == [False, False, True]
