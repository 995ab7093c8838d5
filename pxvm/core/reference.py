"""The reference executor: the slow, readable, vectorised definition of every opcode.

One function for each row of the table. A function reads all its operands, checks them, and only
then writes, so that an instruction either happens or leaves the image as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pxvm.core import matrix
from pxvm.core.dialect0 import text_lines
from pxvm.core.errors import ExecutionError, ProgramError
from pxvm.core.isa import Flow
from pxvm.core.mapping import watched
from pxvm.core.matrix import Matrix, check_fits, check_row, quantise, read_matrix, write_matrix
from pxvm.core.program import Image, Instruction, Program
from pxvm.core.resources import threads_for

if TYPE_CHECKING:
    from pxvm.core.reference1 import Runner

Execute = Callable[[Image, int, int, int], None]

FUNCTIONS: dict[str, Execute] = {}


def defines(name: str) -> Callable[[Execute], Execute]:
    """Mark a function as the definition of the opcode called ``name``."""

    def mark(function: Execute) -> Execute:
        FUNCTIONS[name] = function
        return function

    return mark


def execute(image: Image, instruction: Instruction) -> None:
    """Execute one instruction in place. Raises ExecutionError; the image is then unchanged."""
    try:
        FUNCTIONS[instruction.op.name](image, *instruction.operands)
    except ProgramError as error:
        raise ExecutionError(f"{instruction.place}: {error}") from None
    except MemoryError:
        raise ExecutionError(f"{instruction.place}: this machine lacks the memory for it") from None


def available() -> str:
    """Empty: the reference executor runs wherever NumPy does."""
    return ""


def run(image: Image, program: Program, max_steps: int | None, threads: int | None = None) -> int:
    """Run a verified program in place; returns the number of instructions executed.

    ``max_steps`` None: 1,024 in dialect 0, until Halt or Yield in dialect 1. One thread is used.
    """
    return session(image, program, threads).run(max_steps)


def session(image: Image, program: Program, threads: int | None = None) -> Row | Runner:
    """Bind a verified program to its image. One thread is used, and at least one asked for."""
    threads_for(threads)
    if program.dialect == 0:
        return Row(image, program)
    from pxvm.core.dialect1 import TensorProgram
    from pxvm.core.reference1 import Runner  # a dialect 0 program starts without it

    return Runner(image, cast(TensorProgram, program))


class Row:
    """A dialect 0 program at some point of its run."""

    def __init__(self, image: Image, program: Program) -> None:
        self.image, self.program, self.steps = image, program, 0

    @watched
    def run(self, max_steps: int | None = None) -> int:
        """Execute until Halt or ``max_steps`` (None: 1,024); returns the steps made."""
        first, limit = self.steps, 1024 if max_steps is None else max_steps
        for instruction in self.program.instructions[first : first + limit]:
            if instruction.op.flow is Flow.HALT:
                break
            execute(self.image, instruction)
            self.steps += 1
        return self.steps - first

    def host(self, names: Iterable[str] | None) -> None:
        """Nothing: this executor works in the image itself."""

    def sync(self) -> None:
        """Nothing: this executor works in the image itself."""


def store(image: Image, row: int, values: NDArray[np.float64], *inputs: Matrix) -> None:
    """Write a result in the encoding that its inputs call for."""
    encoding = encoding_of(*inputs)
    if encoding == "quantised":
        shape = (values.shape[0], values.shape[1])
        check_fits(image, row, shape, "quantised")
        data, scale, offset = quantise(values)
        write_matrix(image, row, data, encoding="quantised", scale=scale, offset=offset)
        return
    write_matrix(image, row, np.clip(values, 0, 255), encoding=encoding)


def encoding_of(*inputs: Matrix) -> str:
    """The encoding of a result; a placeholder goes along with the other operand."""
    encodings = {m.encoding for m in inputs}
    if "quantised" in encodings:
        return "quantised"
    return "headerless" if "headerless" in encodings else "plain"


def _shape(m: Matrix) -> str:
    return f"{m.shape[0]} x {m.shape[1]} at row {m.row}"


@defines("Halt")
def _halt(image: Image, g: int, b: int, a: int) -> None:
    """Nothing happens."""


def dot_operands(image: Image, g: int, b: int, a: int) -> tuple[Matrix, Matrix]:
    """What Dot reads, checked. Raises ProgramError."""
    left, right = matrix.read_vectors(image, g, b)
    check_row(image, a)
    if left.data.size != right.data.size:
        raise ProgramError(
            f"Dot needs as many elements left as right; found {_shape(left)} and {_shape(right)}"
        )
    for m in (left, right):
        if m.encoding == "quantised":
            raise ProgramError(f"Dot takes plain vectors; row {m.row} is quantised: use MatMul")
    return left, right


@defines("Dot")
def _dot(image: Image, g: int, b: int, a: int) -> None:
    left, right = dot_operands(image, g, b, a)
    total = int(left.data.astype(np.int64).ravel() @ right.data.astype(np.int64).ravel()) & 0xFFFF
    image[a, 0, :2] = total & 255, total >> 8


def add_operands(image: Image, g: int, b: int) -> tuple[Matrix, Matrix]:
    """What Add reads, checked. Raises ProgramError."""
    left, right = matrix.read_vectors(image, g, b)
    if left.shape != right.shape:
        raise ProgramError(
            f"Add needs two operands of one shape; found {_shape(left)} and {_shape(right)}"
        )
    return left, right


@defines("Add")
def _add(image: Image, g: int, b: int, a: int) -> None:
    left, right = add_operands(image, g, b)
    store(image, a, left.values + right.values, left, right)


@defines("ReLU")
def _relu(image: Image, g: int, b: int, a: int) -> None:
    (m,) = matrix.read_vectors(image, g)
    if m.encoding == "quantised":
        store(image, g, np.maximum(m.values, 0.0), m)


def matmul_operands(image: Image, g: int, b: int, a: int) -> tuple[Matrix, Matrix]:
    """What MatMul reads, checked, and that its result fits. Raises ProgramError."""
    left, right = read_matrix(image, g), read_matrix(image, b)
    if left.shape[1] != right.shape[0]:
        raise ProgramError(
            f"MatMul needs as many columns left as rows right; found {_shape(left)} and"
            f" {_shape(right)}"
        )
    # Before the product is computed: two thin operands can call for one of gigabytes.
    check_fits(image, a, (left.shape[0], right.shape[1]), encoding_of(left, right))
    return left, right


@defines("MatMul")
def _matmul(image: Image, g: int, b: int, a: int) -> None:
    left, right = matmul_operands(image, g, b, a)
    store(image, a, product(left, right), left, right)


def product(left: Matrix, right: Matrix) -> NDArray[np.float64]:
    """left x right as float64 of (m, n)."""
    qa, qb = left.data.astype(np.float64), right.data.astype(np.float64)
    return product_of_sums(left, right, qa @ qb, qa.sum(axis=1), qb.sum(axis=0))


def product_of_sums(
    left: Matrix, right: Matrix, total: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]
) -> NDArray[np.float64]:
    """left x right as float64 of (m, n), the operations in one fixed order.

    Args:
        total: sum(qa qb), (m, n).
        rows, columns: sum(qa) of each row, sum(qb) of each column.

    With values ``q / s + o`` the product is sum(qa qb) / (sa sb) + ob sum(qa) / sa
    + oa sum(qb) / sb + k oa ob. The three sums are integers below 2^53, so any summation order
    (and BLAS) gives them exactly; only the epilogue rounds.
    """
    sa, oa, sb, ob = left.scale, left.offset, right.scale, right.offset
    result = total / (sa * sb)
    result = result + (ob * rows[:, None]) / sa
    result = result + (oa * columns[None, :]) / sb
    return np.asarray(result + left.shape[1] * (oa * ob))


@dataclass(frozen=True)
class Glyphs:
    """What Blit copies: glyphs of ``width`` x ``height`` pixels, each (y, x) from and (y, x) to."""

    width: int
    height: int
    places: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


def glyphs_of(image: Image, g: int, b: int, a: int) -> Glyphs:
    """What Blit copies from where to where, checked. Raises ProgramError."""
    text = read_matrix(image, g)
    if text.encoding == "quantised":
        raise ProgramError(f"Blit takes a plain matrix of character codes; row {g} is quantised")
    check_row(image, b)
    check_row(image, a)
    width = image.shape[1]
    w, h, first, count = (int(v) for v in image[b, 0])
    per_band = (width - 1) // w if w else 0
    if not (w and h and count and per_band) or b + -(-count // per_band) * h > len(image):
        raise ProgramError(
            f"row {b} has no valid font header: found {(w, h, first, count)}; expected (glyph"
            f" width, glyph height, first code, glyphs) with all glyphs inside the image"
        )
    lines = text_lines(text.data.ravel().tolist(), max(1, width // w))
    if a + len(lines) * h > len(image):
        raise ProgramError(
            f"{len(lines)} lines of {h}-pixel glyphs from row {a} on end below the image's last"
            f" row {len(image) - 1}"
        )
    places = []
    for number, line in enumerate(lines):
        for column, code in enumerate(line):
            band, place = divmod(code - first, per_band)
            if not 0 <= code - first < count:
                raise ProgramError(
                    f"the font at row {b} has codes {first}..{first + count - 1}; the text holds"
                    f" {code}"
                )
            places.append(((b + band * h, 1 + place * w), (a + number * h, column * w)))
    return Glyphs(w, h, tuple(places))


@defines("Blit")
def _blit(image: Image, g: int, b: int, a: int) -> None:
    glyphs = glyphs_of(image, g, b, a)
    w, h = glyphs.width, glyphs.height
    sources = {source for source, _ in glyphs.places}
    cells = {(y, x): image[y : y + h, x : x + w].copy() for y, x in sources}
    for source, (y, x) in glyphs.places:
        image[y : y + h, x : x + w] = cells[source]
