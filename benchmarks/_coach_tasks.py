"""Tasks for the coach from a grammar that it does not see: idioms composed to a wanted depth.

Each idiom is a program with holes and the words that people use for it; a task applies idioms one
after the other, the first of the list more often than the last (Zipf), until the depth is reached.
Tasks whose results say little (few different ones), or that are another task's, are drawn anew.

``OTHER`` is a second grammar with other idioms, another way to compose them and other shapes. It
was not used while developing, and nothing of the coach was changed for what came out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pxvm.coach.expression import CONSTANT, LEAVES, Expression, Shape, evaluate, fill, infer
from pxvm.coach.task import Task

SHOWN, HIDDEN, DISTINCT, LARGEST = 12, 12, 5, 1 << 20
H, I = ("h", 0), ("h", 1)  # noqa: E741


def k(value: int) -> Expression:
    return ("k", value)


def neg(e: Expression) -> Expression:
    return ("Mul", e, k(-1))


def depth(expression: Expression) -> int:
    """Opcodes on the longest way from an input to the result."""
    return 0 if expression[0] in LEAVES else 1 + max(map(depth, expression[1:]))


@dataclass(frozen=True)
class Idiom:
    """A program with holes, and its words; ``{}`` is what the holes are."""

    words: str
    body: Expression

    @property
    def holes(self) -> int:
        return 2 if "{1}" in self.words else 1


IDIOMS = (
    Idiom("the sum of {0}", ("Sum", H)),
    Idiom("{0} minus its mean", ("Add", H, neg(("Mean", H)))),
    Idiom("where {0} is above its mean", ("Less", neg(H), neg(("Mean", H)))),
    Idiom("the absolute values of {0}", ("Add", ("ReLU", H), ("ReLU", neg(H)))),
    Idiom("the difference of {0} and {1}", ("Add", H, neg(I))),
    Idiom("the smallest of {0}", neg(("Max", neg(H)))),
    Idiom("the largest of {0}", ("Max", H)),
    Idiom("the range of {0}", ("Add", ("Max", H), ("Max", neg(H)))),
    Idiom("the larger of {0} and {1}", ("Add", I, ("ReLU", ("Add", H, neg(I))))),
    Idiom("{0} times {1}", ("Mul", H, I)),
    Idiom("the squares of {0}", ("Mul", H, H)),
    Idiom("the sums of the columns of {0}", ("Transpose", ("Sum", ("Transpose", H)))),
    Idiom("{0} sorted", ("TopK", H)),
    Idiom("{0} without what is below zero", ("ReLU", H)),
    Idiom("where {0} is largest", ("Equal", H, ("Max", H))),
    Idiom("the place of the largest of {0}", ("Argmax", H)),
    Idiom("{0} plus three", ("Add", H, k(3))),
    Idiom("where {0} is positive", ("Less", neg(H), k(0))),
    Idiom("twice {0}", ("Mul", H, k(2))),
    Idiom("the first of {0}", ("Slice", H)),
    Idiom("{0} plus seven", ("Add", H, k(7))),
    Idiom("the mean of {0}", ("Mean", H)),
    Idiom("{0} turned", ("Transpose", H)),
    Idiom("{0} and {1} together", ("Add", H, I)),
)
INPUTS: tuple[dict[str, Shape], ...] = (
    {"x": (1, 6)}, {"x": (1, 6)}, {"x": (1, 6), "y": (1, 6)}, {"x": (3, 4)},
)  # fmt: skip

Part = tuple[Expression, str]
Compose = Callable[[np.random.Generator, Sequence[Idiom], list[Part], int], Part]


def chain(
    rng: np.random.Generator, idioms: Sequence[Idiom], leaves: list[Part], wanted: int
) -> Part:
    """Idioms on top of one another; a second operand is any earlier part."""
    chances = 1 / np.arange(1, len(idioms) + 1) ** 0.8
    parts, top = list(leaves), leaves[0]
    for _ in range(2 * wanted):
        if depth(top[0]) >= wanted:
            break
        idiom = idioms[rng.choice(len(idioms), p=chances / chances.sum())]
        other = parts[rng.integers(len(parts))]
        given = [top, other][: idiom.holes]
        top = fill(idiom.body, [e for e, _ in given]), idiom.words.format(*(w for _, w in given))
        parts.append(top)
    return top


def tasks(
    seed: int,
    count: int,
    idioms: Sequence[Idiom] = IDIOMS,
    inputs: Sequence[dict[str, Shape]] = INPUTS,
    compose: Compose = chain,
) -> Iterator[Task]:
    """Distinct tasks of depth 1 to 6 in random order, the same for the same seed."""
    rng = np.random.default_rng(seed)
    seen: set[bytes] = set()
    made = 0
    while made < count:
        shapes = inputs[rng.integers(len(inputs))]
        wanted = int(rng.integers(1, 7))
        leaves: list[Part] = [(("x", n), name) for n, name in enumerate(shapes)]
        program, words = compose(rng, idioms, leaves, wanted)
        output = infer(program, list(shapes.values()))
        if depth(program) != wanted or output in (None, CONSTANT):
            continue
        task = _task(rng, made, words, shapes, program)
        probe = [
            np.random.default_rng(7).integers(-9, 10, (8, *shape)) for shape in shapes.values()
        ]
        key = str(shapes).encode() + evaluate(program, probe).tobytes()
        if task is not None and key not in seen:
            seen.add(key)
            made += 1
            yield task


def _task(rng: np.random.Generator, number: int, words: str, shapes: dict[str, Shape],
          program: Expression) -> Task | None:  # fmt: skip
    total = SHOWN + HIDDEN
    given = tuple(rng.integers(-9, 10, (total, *shape)) for shape in shapes.values())
    wanted = evaluate(program, given)
    shown = wanted[:SHOWN].reshape(SHOWN, -1)
    dull = len(np.unique(shown, axis=0)) < DISTINCT or np.abs(wanted).max() > LARGEST
    same = any(np.array_equal(wanted, values) for values in given)
    if dull or same:
        return None
    hidden = np.arange(total) >= SHOWN
    shape = (wanted.shape[1], wanted.shape[2])
    return Task(f"task {number} of depth {depth(program)}", words, shapes, shape, given, wanted,
                hidden)  # fmt: skip


def clipped(e: Expression, low: int) -> Expression:
    return ("Add", ("ReLU", ("Add", e, k(-low))), k(low))


OTHER = (
    Idiom("how far {0} lies under its top", ("Add", neg(H), ("Max", H))),
    Idiom("{0} weighted by rank", ("Mul", ("TopK", H), H)),
    Idiom("{0} with nothing under two", clipped(H, 2)),
    Idiom("the energy of {0}", ("Dot", H, H)),
    Idiom("where {0} exceeds {1}", ("Less", I, H)),
    Idiom("where {0} and {1} agree", ("Equal", H, I)),
    Idiom("the midpoint of the extremes of {0}", ("Add", ("Max", H), neg(("Max", neg(H))))),
    Idiom("{0} kept where it is at least its average",
          ("Mul", H, ("Less", neg(H), ("Add", neg(("Mean", H)), k(1))))),
    Idiom("the gap between the total and the peak of {0}",
          ("Add", ("Sum", H), neg(("Max", H)))),
    Idiom("the total of {0} and {1}", ("Add", H, I)),
    Idiom("the product of {0} and {1}", ("Mul", H, I)),
    Idiom("the flipped {0}", ("Transpose", H)),
    Idiom("ten of {0}", ("Mul", H, k(10))),
    Idiom("the position of the peak of {0}", ("Argmax", H)),
    Idiom("the head of {0}", ("Slice", H)),
    Idiom("the total of {0}", ("Sum", H)),
)  # fmt: skip
OTHER_INPUTS: tuple[dict[str, Shape], ...] = (
    {"a": (1, 5)}, {"a": (2, 5)}, {"a": (1, 5), "b": (1, 5)}, {"a": (4, 3), "b": (4, 1)},
)  # fmt: skip


def tree(
    rng: np.random.Generator, idioms: Sequence[Idiom], leaves: list[Part], wanted: int
) -> Part:
    """Idioms over idioms: every hole is a smaller tree of its own; all idioms equally often."""
    if wanted <= 0:
        return leaves[rng.integers(len(leaves))]
    idiom = idioms[rng.integers(len(idioms))]
    rest = wanted - depth(idiom.body)
    given = [tree(rng, idioms, leaves, rest if n == 0 else int(rng.integers(0, max(rest, 0) + 1)))
             for n in range(idiom.holes)]  # fmt: skip
    return fill(idiom.body, [e for e, _ in given]), idiom.words.format(*(w for _, w in given))
