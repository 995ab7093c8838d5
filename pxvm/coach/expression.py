"""Programs as expressions over the machine's opcodes, and what they compute on stacks of examples.

An expression is a tuple: ``("x", n)`` is input n, ``("k", v)`` a constant, ``("h", n)`` a hole of a
piece, ``("Sum", e)`` an opcode on expressions; ``("@name", e, ...)`` calls a piece.

A value is int64 [n, rows, columns]: n examples, or n examples of several candidates, one behind the
other. Every opcode used here works on each of them alone, so any number is computed by one call of
the function that *defines* the opcode (``pxvm.core.ops.FUNCTIONS``): the reference executor runs
the same function on the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.core.integer import Ints, saturate
from pxvm.core.isa import Opcode, by_name
from pxvm.core.ops import FUNCTIONS

Expression = tuple[Any, ...]
Shape = tuple[int, int]
Pieces = Mapping[str, Expression]
LEAVES = ("x", "k", "h")
#: The constants that search tries, in the machine as pixels of their own; refitting tries others.
CONSTANTS = (-1, 0, 1, 2, 3, 10)


@dataclass(frozen=True)
class Operation:
    """How an opcode of the table is used in an expression.

    Attributes:
        shape: of the result from the operands' shapes; None where they do not fit. A constant's
            shape is (0, 0): it fits as the second operand of what broadcasts.
        block: parameters of the opcode.
        commutes: the operands may change places.
        result: the place among G, B and A of the tensor that holds the result.
    """

    name: str
    arity: int
    shape: Callable[..., Shape | None]
    block: Mapping[str, int] = field(default_factory=dict)
    commutes: bool = False
    result: int = 0

    @property
    def opcode(self) -> Opcode:
        """The row of the table."""
        return by_name(self.name, 1)


CONSTANT: Shape = (0, 0)


def _rows(a: Shape) -> Shape | None:
    return (a[0], 1) if a[1] > 1 else None


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    return a if a != CONSTANT and b in (CONSTANT, a, (a[0], 1)) else None


OPERATIONS: Mapping[str, Operation] = {
    op.name: op
    for op in (
        Operation("ReLU", 1, lambda a: a),
        Operation("Sum", 1, _rows),
        Operation("Max", 1, _rows),
        Operation("Mean", 1, _rows),
        Operation("Argmax", 1, _rows),
        Operation("TopK", 1, lambda a: a if a[1] > 1 else None, result=2),
        Operation(
            "Transpose", 1, lambda a: (a[1], a[0]) if a != (1, 1) else None,
            {"a": 0, "b": 2, "c": 1, "d": 3},
        ),
        Operation("Slice", 1, _rows, {"first": 0, "step": 1}),
        Operation("Add", 2, _broadcast, commutes=True),
        Operation("Mul", 2, _broadcast, commutes=True),
        Operation("Less", 2, _broadcast),
        Operation("Equal", 2, _broadcast, commutes=True),
        Operation("Dot", 2, lambda a, b: _rows(a) if a == b else None, commutes=True),
    )
}  # fmt: skip


class _Operand:
    """A tensor as the defining functions see it, on values instead of pixels."""

    frac = 0

    def __init__(self, values: Ints | None, extents: tuple[int, ...]) -> None:
        self.extents, self.cols = extents, extents[-1]
        if values is not None:
            self.values = self.all = values.reshape(-1, extents[-1])

    def saturate(self, values: Ints) -> Ints:
        return saturate(values)

    def write(self, values: Ints) -> None:
        self.values = saturate(values)

    def write_all(self, values: Ints) -> None:
        self.values = saturate(values).reshape(-1, self.cols)


def shape_of(value: Ints) -> Shape:
    """The shape of one example."""
    return (value.shape[1], value.shape[2]) if value.ndim else CONSTANT


def compute(op: Operation, *arguments: Ints) -> Ints:
    """One opcode on stacks of values [n, rows, columns]; a constant has no extents.

    Raises ValueError where it does not take them.
    """
    shapes = [shape_of(value) for value in arguments]
    shape = op.shape(*shapes)
    if shape is None:
        raise ValueError(f"{op.name} does not take {shapes}")
    count = len(arguments[0])
    operands = [_Operand(value, value.shape or (1, 1)) for value in arguments]
    out = _Operand(None, (count, *shape))
    if op.result == 2:  # the first result is the places, the last the values
        FUNCTIONS[op.name](_Operand(None, (count, *shape)), *operands, out)
    else:
        FUNCTIONS[op.name](out, *operands, **op.block)
    return out.values.reshape(count, *shape)


def evaluate(expression: Expression, inputs: Sequence[Ints]) -> Ints:
    """What an expression without calls gives: int64 [n, rows, columns]; holes are inputs as well.

    Raises ValueError where an opcode does not take what it gets.
    """
    known: dict[Expression, Ints] = {}

    def value(e: Expression) -> Ints:
        if e[0] in ("x", "h"):
            return inputs[e[1]]
        if e[0] == "k":
            return np.array(e[1], np.int64)
        if e not in known:
            known[e] = compute(OPERATIONS[e[0]], *map(value, e[1:]))
        return known[e]

    return value(expression)


def infer(expression: Expression, inputs: Sequence[Shape]) -> Shape | None:
    """The shape of an expression's result without calls; None where it does not fit the inputs."""
    known: dict[Expression, Shape | None] = {}

    def shape(e: Expression) -> Shape | None:
        if e[0] in ("x", "h"):
            return inputs[e[1]] if e[1] < len(inputs) else None
        if e[0] == "k":
            return CONSTANT
        if e not in known:
            given = [shape(part) for part in e[1:]]
            known[e] = None if None in given else OPERATIONS[e[0]].shape(*given)
        return known[e]

    return shape(expression)


def expand(expression: Expression, pieces: Pieces) -> Expression:
    """The same with every call replaced by what its piece is."""
    if expression[0] in LEAVES:
        return expression
    parts = tuple(expand(part, pieces) for part in expression[1:])
    if expression[0][0] == "@":
        return fill(pieces[expression[0]], parts)
    return (expression[0], *parts)


def fill(piece: Expression, parts: Sequence[Expression]) -> Expression:
    """A piece with its holes filled."""
    if piece[0] == "h":
        return tuple(parts[piece[1]])
    if piece[0] in LEAVES:
        return piece
    return (piece[0], *(fill(part, parts) for part in piece[1:]))


def text(expression: Expression, names: Sequence[str] = ()) -> str:
    """As people write it: ``Sum(ReLU(x))``; inputs by their names."""
    kind = expression[0]
    if kind in ("x", "h"):
        return names[expression[1]] if names else f"{kind}{expression[1]}"
    if kind == "k":
        return str(expression[1])
    return f"{kind.lstrip('@')}({', '.join(text(part, names) for part in expression[1:])})"
