"""Build a dialect 0 program in Python: tensors by name, rows computed.

>>> b = Builder()
>>> b.matrix("A", [[1, 2, 3], [4, 5, 6]])
>>> b.matrix("B", [[7, 8], [9, 10], [11, 12]])
>>> b.result("C", 2, 2)
>>> b.emit("MatMul", "A", "B", "C")
>>> image = b.build()
>>> b.rows
{'A': 1, 'B': 2, 'C': 3}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pxvm.core import isa, matrix
from pxvm.core.dialect0 import text_lines
from pxvm.core.errors import ProgramError
from pxvm.core.isa import Flow, Mode
from pxvm.core.program import Image

DEFAULT_WIDTH = 16
LAST_ADDRESSABLE_ROW = 255


@dataclass(frozen=True)
class _Part:
    height: Callable[[int], int]  # image width -> rows
    draw: Callable[[Image, int], None]  # image, first row


class Builder:
    """Collects tensors and instructions, then lays them out.

    Args:
        width: image width in pixels; None takes the smallest multiple of 16 for which all rows
            can be addressed and every instruction fits on row 0.
    """

    def __init__(self, width: int | None = None) -> None:
        self.width = width
        self.rows: dict[str, int] = {}
        self._parts: dict[str, _Part] = {}
        self._code: list[tuple[isa.Opcode, tuple[str | int, ...]]] = []

    def _add(self, name: str, part: _Part) -> None:
        if name in self._parts:
            raise ProgramError(f"there is a tensor {name!r} already; names are unique")
        self._parts[name] = part

    def matrix(self, name: str, values: ArrayLike) -> None:
        """A plain matrix of integers 0..255; one dimension is one row."""
        data = np.atleast_2d(np.asarray(values))
        self._add(
            name,
            _Part(
                lambda width: matrix.rows_needed(data.size, width, "plain"),
                lambda image, row: matrix.write_matrix(image, row, data),
            ),
        )

    def quantised(self, name: str, values: ArrayLike) -> None:
        """A matrix of floats, quantised to uint8 over its own range; one dimension is one row."""
        data, scale, offset = matrix.quantise(np.atleast_2d(np.asarray(values, np.float64)))
        self._add(
            name,
            _Part(
                lambda width: matrix.rows_needed(data.size, width, "quantised"),
                lambda image, row: matrix.write_matrix(
                    image, row, data, encoding="quantised", scale=scale, offset=offset
                ),
            ),
        )

    def vector(self, name: str, values: ArrayLike) -> None:
        """A headerless vector of integers 0..255, as in the oldest files."""
        data = np.atleast_2d(np.asarray(values))
        self._add(
            name,
            _Part(
                lambda width: matrix.rows_needed(data.size, width, "headerless"),
                lambda image, row: matrix.write_matrix(image, row, data, encoding="headerless"),
            ),
        )

    def result(self, name: str, rows: int, columns: int) -> None:
        """Room for a result of rows x columns in whichever encoding it gets."""
        self._add(
            name,
            _Part(
                lambda width: matrix.rows_needed(rows * columns, width, "quantised"),
                lambda image, row: None,
            ),
        )

    def text(self, name: str, text: str) -> None:
        """Character codes 0..255 as a plain matrix of one row."""
        codes = [ord(character) for character in text]
        if not codes or max(codes) > 255:
            raise ProgramError(f"text {name!r} needs characters of codes 0..255; found {text!r}")
        self.matrix(name, codes)

    def font(self, name: str, glyphs: NDArray[np.bool_], first: int = 32) -> None:
        """A font held in pixels: white on black, glyph after glyph.

        Args:
            glyphs: boolean array (count, height, width), each extent 1..255.
            first: character code of the first glyph.
        """
        count, height, width_ = glyphs.shape
        if max(glyphs.shape) > 255 or min(glyphs.shape) < 1 or not 0 <= first <= 255:
            raise ProgramError(f"font {name!r} has extents 1..255; found {glyphs.shape}")

        def bands(width: int) -> int:
            per_band = (width - 1) // width_
            return -(-count // per_band) if per_band else 1 << 32

        def draw(image: Image, row: int) -> None:
            per_band = (image.shape[1] - 1) // width_
            image[row, 0] = width_, height, first, count
            for index, glyph in enumerate(glyphs):
                band, column = divmod(index, per_band)
                y, x = row + band * height, 1 + column * width_
                cell = image[y : y + height, x : x + width_]
                cell[..., :3] = 255 * glyph[..., None]
                cell[..., 3] = 255

        self._add(name, _Part(lambda width: bands(width) * height, draw))

    def canvas(self, name: str, text: str, glyph_width: int, glyph_height: int) -> None:
        """Room for ``text`` drawn with glyphs of the given size in pixels."""
        codes = [ord(character) for character in text]
        self._add(
            name,
            _Part(
                lambda w: len(text_lines(codes, max(1, w // glyph_width))) * glyph_height,
                lambda image, row: None,
            ),
        )

    def emit(self, name: str, *operands: str | int) -> None:
        """Append an instruction by the opcode's name; operands are tensor names or rows."""
        try:
            op = isa.by_name(name)
        except KeyError as error:
            raise ProgramError(str(error.args[0])) from None
        expected = sum(mode is not Mode.NONE for mode in op.operands)
        if len(operands) != expected:
            raise ProgramError(f"{op.name} takes {expected} operands; found {len(operands)}")
        for operand in operands:
            if isinstance(operand, str) and operand not in self._parts:
                known = ", ".join(self._parts) or "none yet"
                raise ProgramError(f"{op.name} names {operand!r}; known tensors: {known}")
        self._code.append((op, operands))

    def _layout(self, width: int) -> tuple[dict[str, int], int]:
        rows, next_row = {}, 1
        for name, part in self._parts.items():
            rows[name] = next_row
            next_row += part.height(width)
        return rows, next_row

    def build(self) -> Image:
        """Lay everything out: uint8 array (height, width, 4). Sets ``rows`` to name -> row.

        A Halt is appended where the program has none. Raises ProgramError naming the tensor that
        cannot be addressed, and the fix.
        """
        code = list(self._code)
        if not code or code[-1][0].flow is not Flow.HALT:
            code.append((isa.by_name("Halt"), ()))
        width = self.width or DEFAULT_WIDTH
        while self.width is None and width < 16380:
            rows, height = self._layout(width)
            if len(code) <= width and max(rows.values(), default=0) <= LAST_ADDRESSABLE_ROW:
                break
            width += DEFAULT_WIDTH
        rows, height = self._layout(width)
        for name, row in rows.items():
            if row > LAST_ADDRESSABLE_ROW:
                raise ProgramError(
                    f"tensor {name!r} would start at row {row}; an operand reaches row"
                    f" {LAST_ADDRESSABLE_ROW}: make the image wider than {width}"
                )
        if len(code) > width:
            raise ProgramError(f"{len(code)} instructions do not fit on a row of {width} pixels")
        image = np.zeros((height, width, 4), np.uint8)
        for x, (op, operands) in enumerate(code):
            numbers = [rows[o] if isinstance(o, str) else o for o in operands]
            image[0, x] = [op.code, *numbers, *[0] * (3 - len(numbers))]
        for name, part in self._parts.items():
            part.draw(image, rows[name])
        self.rows = rows
        return image
