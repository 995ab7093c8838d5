"""Tasks for tests, made from programs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pxvm.coach.expression import LEAVES, Expression, evaluate
from pxvm.coach.task import Shape, Task

X, Y = ("x", 0), ("x", 1)
VECTOR = {"x": (1, 6)}


def k(value: int) -> Expression:
    return ("k", value)


def neg(e: Expression) -> Expression:
    return ("Mul", e, k(-1))


def above(e: Expression) -> Expression:
    """Where it is above its mean."""
    return ("Less", neg(e), neg(("Mean", e)))


def size(e: Expression) -> int:
    """Opcodes, those of equal parts counted each time."""
    return 0 if e[0] in LEAVES else 1 + sum(map(size, e[1:]))


def task(
    program: Expression, inputs: Mapping[str, Shape] = VECTOR, words: str = "", *,
    shown: int = 8, hidden: int = 8, seed: int = 0,
) -> Task:  # fmt: skip
    """The task that a program solves."""
    rng = np.random.default_rng(seed)
    given = tuple(rng.integers(-9, 10, (shown + hidden, *shape)) for shape in inputs.values())
    wanted = evaluate(program, given)
    output = (wanted.shape[1], wanted.shape[2])
    marks = np.arange(shown + hidden) >= shown
    return Task(words or "a task", words, inputs, output, given, wanted, marks)
