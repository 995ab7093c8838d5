"""Expressions as pixel programs and back; the machine's word on what a program computes.

A program has its task's inputs as I32 tensors of the state by their names and leaves the result in
``out``, all for one example. A piece is a subroutine: its instructions stand once behind Halt, each
Call moves the base to the tensors of that call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pxvm.coach.errors import TaskError
from pxvm.coach.expression import (
    CONSTANT,
    LEAVES,
    OPERATIONS,
    Expression,
    Pieces,
    Shape,
    expand,
    infer,
)
from pxvm.coach.task import RESULT, Task
from pxvm.core import executors
from pxvm.core.cost import cost
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints
from pxvm.core.isa import Flow
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.tensor import HALTED, Descriptor, DType, Role, State
from pxvm.core.verifier import verify
from pxvm.models.graph.fields import Fields

WIDTH = 32
#: What a program may take: steps of a run, pixels, elements of all its tensors.
MOST_STEPS, MOST_PIXELS, MOST_ELEMENTS = 1024, 1 << 16, 1 << 14
#: Integer operations of all its runs, and what a step counts for at least.
MOST_WORK, STEP = 1 << 28, 1 << 11
MOST_OPCODES = 256  # of an expression that is read, equal parts counted each time
FRAME = 127  # descriptors that calls can reach


def draw(
    expression: Expression, inputs: Mapping[str, Shape], pieces: Pieces | None = None
) -> Image:
    """The pixel program of an expression. Raises ValueError where it does not fit the inputs."""
    drawing = _Drawing(inputs, pieces or {})
    if not drawing.frames(expression):  # more calls than operands reach: no subroutines
        expression = expand(expression, drawing.pieces)
    return drawing.build(expression)


Placed = tuple[str | int, Shape]  # a tensor's name or an operand, and the shape of its value


class _Drawing:
    def __init__(self, inputs: Mapping[str, Shape], pieces: Pieces) -> None:
        self.inputs, self.pieces = inputs, pieces
        self.b = NetworkBuilder(WIDTH)
        self.done: dict[Expression, Placed] = {}
        self.calls: list[tuple[str, list[Shape]]] = []
        self.used: dict[str, int] = {}
        self.layer: list[str] = []
        self.blocks: set[str] = set()
        self.count = 0

    def frames(self, expression: Expression) -> bool:
        """Decide what a call's tensors are called; False where there are too many."""
        found: set[Expression] = set()

        def walk(e: Expression) -> None:
            if e[0] not in LEAVES:
                if e[0][0] == "@":
                    found.add(e)
                for part in e[1:]:
                    walk(part)

        walk(expression)
        if not found:
            return True
        names = {e[0] for e in found}
        holes = max(len(e) - 1 for e in found)
        inner = max(len(_parts(self.pieces[name])) for name in names)
        self.layer = [*(f"a{n}" for n in range(holes)), *(f"t{n}" for n in range(inner))]
        for name in names:  # what an opcode of two results needs beside its place
            self.layer += [
                f"p{place}" for place, e in enumerate(_parts(self.pieces[name]))
                if OPERATIONS[e[0]].result and f"p{place}" not in self.layer
            ]  # fmt: skip
        return len(found) * len(self.layer) <= FRAME

    def build(self, expression: Expression) -> Image:
        b = self.b
        for name, shape in self.inputs.items():
            b.tensor(name, DType.I32, (1, *shape), Role.STATE, data=np.zeros((1, *shape)))
        made = infer(expand(expression, self.pieces), list(self.inputs.values()))
        if made is None or made == CONSTANT:
            raise ValueError("the expression does not fit the inputs")
        b.tensor(RESULT, DType.I32, (1, *made), Role.STATE, data=np.zeros((1, *made)))
        self._value(expression, RESULT)
        b.emit("Halt")
        for name in self.used:
            self._subroutine(name)
        self._lay_out_calls()
        return b.build()

    def _value(self, e: Expression, target: str | None = None) -> Placed:
        """Where an expression's value stands, and its shape; emits what is not there yet."""
        if e in self.done and target is None:
            return self.done[e]
        if e[0] == "x":
            name = list(self.inputs)[e[1]]
            place: Placed = (name, self.inputs[name])
        elif e[0] == "k":
            place = (self._constant(e[1]), CONSTANT)
        elif e[0][0] == "@":
            place = self._call(e)
        else:
            given = [self._value(part) for part in e[1:]]
            made = OPERATIONS[e[0]].shape(*(shape for _, shape in given))
            assert made is not None
            place = (target or self._scratch(made), made)
            self._emit(e[0], place[0], [name for name, _ in given], made)
        if target is not None and place[0] != target:
            self.b.emit("Copy", target, place[0])
        self.done[e] = place
        return place

    def _emit(self, name: str, out: str | int, given: Sequence[str | int], shape: Shape,
              places: str | int | None = None) -> None:  # fmt: skip
        op = OPERATIONS[name]
        operands: list[str | int] = [out, *given]
        if op.result == 2:
            operands = [places or self._scratch(shape), *given, out]
        if op.block:
            block = name.lower()
            if block not in self.blocks:
                self.b.parameters(block, name, **op.block)
                self.blocks.add(block)
            operands.append(block)
        self.b.emit(name, *operands)

    def _scratch(self, shape: Shape) -> str:
        self.count += 1
        return self.b.tensor(f"v{self.count}", DType.I32, (1, *shape))

    def _constant(self, value: int) -> str:
        name = f"c{value}"
        if name not in self.blocks:
            self.blocks.add(name)
            self.b.tensor(name, DType.I32, (1, 1), Role.CONSTANT, data=[[value]])
        return name

    def _call(self, e: Expression) -> Placed:
        given = [self._value(part) for part in e[1:]]
        piece = self.pieces[e[0]]
        shape = infer(piece, [shape for _, shape in given])
        assert shape is not None
        first = 128 + len(self.calls) * len(self.layer)
        for number, (name, _) in enumerate(given):
            self.b.emit("Copy", first + number, name)
        self.b.emit("Call", e[0], len(self.calls) * len(self.layer))
        self.used.setdefault(e[0], len(self.used))
        self.calls.append((e[0], [shape for _, shape in given]))
        return first + self.layer.index(f"t{len(_parts(piece)) - 1}"), shape

    def _subroutine(self, name: str) -> None:
        """The instructions of a piece on the tensors of whichever call it is."""
        self.b.label(name)
        places: dict[Expression, str] = {}
        for number, e in enumerate(_parts(self.pieces[name])):
            given = [self._inner(part, places) for part in e[1:]]
            places[e] = f"t{number}"
            self._emit(e[0], places[e], given, CONSTANT, places=f"p{number}")
        self.b.emit("Return")

    def _inner(self, e: Expression, places: Mapping[Expression, str]) -> str:
        if e[0] == "h":
            return f"a{e[1]}"
        return self._constant(e[1]) if e[0] == "k" else places[e]

    def _lay_out_calls(self) -> None:
        for number, (name, given) in enumerate(self.calls):
            shapes = {f"a{n}": shape for n, shape in enumerate(given)}
            for place, e in enumerate(_parts(self.pieces[name])):
                shapes[f"t{place}"] = infer(e, given) or (1, 1)
                shapes[f"p{place}"] = shapes[f"t{place}"]
            for tensor in self.layer:
                shape = shapes.get(tensor, (1, 1))
                self.b.tensor(tensor, DType.I32, (1, *shape), layer=number)


def _parts(piece: Expression) -> list[Expression]:
    """The distinct opcodes of a piece in the order in which they run; its result is the last."""
    found: dict[Expression, None] = {}

    def walk(e: Expression) -> None:
        if e[0] not in LEAVES:
            for part in e[1:]:
                walk(part)
            found.setdefault(e)

    walk(piece)
    return list(found)


@dataclass(frozen=True)
class Admitted:
    """A verified program that has a task's inputs and result."""

    image: Image
    program: TensorProgram
    inputs: Mapping[str, Shape]
    output: Shape


def admit(image: Image, inputs: Mapping[str, Shape], output: Shape) -> Admitted:
    """Verify a program, whoever wrote it, and look for the inputs and the result.

    Raises ProgramError, or TaskError where it is not for tasks of this type or larger than any
    task needs.
    """
    if image.shape[0] * image.shape[1] > MOST_PIXELS:
        raise TaskError(
            f"expected a program of at most {MOST_PIXELS} pixels; found"
            f" {image.shape[1]} x {image.shape[0]}"
        )
    program = verify(image)
    if not isinstance(program, TensorProgram):
        raise TaskError("expected a program of dialect 1; found one of dialect 0")
    if sum(d.rows * d.cols for d in program.descriptors) > MOST_ELEMENTS:
        raise TaskError(f"expected tensors of at most {MOST_ELEMENTS} elements in all")
    by_name = {d.name: d for d in program.descriptors}
    for name, shape in {**inputs, RESULT: output}.items():
        d = by_name.get(name)
        if d is None or not _holds(d, shape):
            found = "none" if d is None else f"{d.dtype.name} {d.extents} frac {d.frac}"
            raise TaskError(
                f"expected a tensor {name!r} of the state, I32 [1, {shape[0]}, {shape[1]}] without"
                f" fraction bits; found {found}"
            )
    return Admitted(image, program, inputs, output)


def _holds(d: Descriptor, shape: Shape) -> bool:
    plain = d.dtype == DType.I32 and d.role == Role.STATE and d.frac == 0 and d.length is None
    return plain and (d.rows, d.cols) == shape


def run(admitted: Admitted, given: Sequence[Ints], device: str = "reference") -> Ints | None:
    """What the machine computes: int64 [n, rows, columns], each example from a fresh picture.

    None where a run does not come to its end within ``MOST_STEPS``, or all within ``MOST_WORK``.
    """
    image = np.array(admitted.image)
    fields = Fields(image, admitted.program)
    session = executors.executor(device, 1).session(image, admitted.program)
    results, left = [], _steps(admitted)
    for number in range(len(given[0])):
        image[...] = admitted.image
        for name, values in zip(admitted.inputs, given, strict=True):
            fields[name] = values[number]
        left -= session.run(min(MOST_STEPS, left))
        session.sync()
        if read_state(image, admitted.program.state_start)[State.STATUS] != HALTED:
            return None
        results.append(fields[RESULT].reshape(admitted.output))
    return np.stack(results)


def _steps(admitted: Admitted) -> int:
    """Steps of ``MOST_WORK``, were each the dearest that the program can come to."""
    program = admitted.program  # its tensors with all their rows, whatever is in use by now
    whole = replace(
        program, descriptors=tuple(replace(d, length=None) for d in program.descriptors)
    )
    every = (
        cost(admitted.image, whole, program.instructions[index], max(base, 0)).operations
        for index, base in program.visits
    )
    return MOST_WORK // max(STEP, *every)


def right(admitted: Admitted, task: Task, device: str = "reference") -> tuple[bool, bool]:
    """Does the machine agree with the shown examples, and with the hidden ones?"""
    found = run(admitted, task.given, device)
    if found is None:
        return False, False
    same = (found == task.wanted).all(axis=(1, 2))
    return bool(same[~task.hidden].all()), bool(same[task.hidden].all())


def read(admitted: Admitted) -> Expression | None:
    """The expression that a program computes; None where it is more than one of ``OPERATIONS``.

    Calls are followed; a program with loops, conditions or other opcodes stays as it is.
    """
    try:
        return _Reading(admitted).result()
    except (LookupError, ProgramError):
        return None


class _Reading:
    def __init__(self, admitted: Admitted) -> None:
        self.program, self.image = admitted.program, admitted.image
        self.fields = Fields(admitted.image, admitted.program)
        self.values: dict[int, Expression] = {}
        self.sizes: dict[int, int] = {}  # opcodes of each value that was made
        self.shapes = list(admitted.inputs.values())
        by_name = {d.name: d.index for d in self.program.descriptors}
        for number, name in enumerate(admitted.inputs):
            self.values[by_name[name]] = ("x", number)
        self.out = by_name[RESULT]

    def result(self) -> Expression:
        state = read_state(self.image, self.program.state_start)
        place, base = int(state[State.PC]), int(state[State.BASE])
        back: list[tuple[int, int]] = []
        for _ in range(MOST_STEPS):
            instruction = self.program.instructions[place]
            place += 1
            flow = instruction.op.flow
            if flow is Flow.HALT:
                return self.values[self.out]
            if flow is Flow.CALL:
                g, b, a = instruction.operands
                back.append((place, base))
                place, base = g | b << 8, base + a
            elif flow is Flow.RETURN:
                place, base = back.pop()
            elif flow is Flow.NEXT:
                tensors, block = self.program.operands(instruction, base)
                self._take(instruction.op.name, tensors, block)
            else:
                break
        raise LookupError("no expression")

    def _take(self, name: str, tensors: list[Descriptor], block: Mapping[str, int]) -> None:
        if name == "Copy":
            if (tensors[0].rows, tensors[0].cols) != (tensors[1].rows, tensors[1].cols):
                raise LookupError("a copy into another shape")
            self.values[tensors[0].index] = self._value(tensors[1])
            self.sizes[tensors[0].index] = self.sizes.get(tensors[1].index, 0)
            return
        op = OPERATIONS[name]
        if op.block != block:
            raise LookupError("other parameters")
        out = tensors.pop(op.result)
        operands = tensors[1:] if op.result else tensors
        count = 1 + sum(self.sizes.get(d.index, 0) for d in operands)
        if count > MOST_OPCODES:
            raise LookupError("too long")
        given = [self._value(d) for d in operands]
        if infer((name, *given), self.shapes) != (out.rows, out.cols):
            raise LookupError("another broadcast")
        self.values[out.index], self.sizes[out.index] = (name, *given), count

    def _value(self, d: Descriptor) -> Expression:
        if d.role == Role.CONSTANT:
            if (d.rows, d.cols, d.frac, d.dtype) != (1, 1, 0, DType.I32):
                raise LookupError("a constant of another kind")
            return ("k", self.fields.scalar(d.name))
        return self.values[d.index]
