"""Dialect 0: instructions on row 0, matrices named by their row.

This module finds instructions and regions; ``matrix`` reads the pixels, ``reference`` executes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core import isa, matrix
from pxvm.core.errors import ProgramError
from pxvm.core.isa import Flow, Names
from pxvm.core.parts import Image, Instruction, Program, Region

TABLE = isa.table(0)
HALTS = [code for code, op in TABLE.items() if op.flow is Flow.HALT]
NEW_LINE = 10


def parse(image: Image) -> Program:
    """Instructions of row 0 up to the first Halt, and the regions that they name."""
    instructions = []
    for x, pixel in enumerate(image[0].tolist()):
        code, *operands = pixel
        op = TABLE.get(code)
        if op is None:
            raise ProgramError(_unknown(x, code))
        instructions.append(Instruction(x, x, 0, code, op, (operands[0], operands[1], operands[2])))
        if op.flow is Flow.HALT:
            break
    program = tuple(instructions)
    code_region = Region(
        "code", "code", "instructions", (len(program),), ((0, 0, len(program)),), _codes
    )
    regions = (code_region, *_Regions(image).walk(program))
    return Program(0, program, lambda: regions)


def _unknown(x: int, code: int) -> str:
    known = ", ".join(dict.fromkeys(f"{op.glyph} {op.name}" for op in TABLE.values()))
    found = f"instruction {x} at x={x}, y=0: unknown opcode {code} ({chr(code)!r})"
    if x:
        return f"{found}; expected one of {known}"
    return f"this picture is no pxVM program: {found}; a program begins with one of {known}"


def _codes(image: Image) -> NDArray[Any]:
    codes = image[0, :, 0]
    halts = np.flatnonzero(np.isin(codes, HALTS))
    return codes[: halts[0] + 1 if len(halts) else len(codes)].astype(np.int64)


class _Regions:
    """Follows shapes through a program: a result that is not computed yet has a place already.

    Attributes:
        awaited: rows still blank that an instruction writes to, from operands not known then.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        self.found: dict[int, Region] = {}
        self.awaited: set[int] = set()

    def walk(self, program: tuple[Instruction, ...]) -> list[Region]:
        for instruction in program:
            for mode, row in zip(instruction.op.operands, instruction.operands, strict=True):
                if mode.names is Names.ROW and not 1 <= row < len(self.image):
                    raise ProgramError(f"{instruction.place}: {_row_message(self.image, row)}")
        # What is awaited may be told by a later instruction, and then tells what earlier ones read.
        for order in (program, program[::-1], program):
            for instruction in order:
                self._visit(instruction)
            if not self.awaited:
                break
        return [self.found[row] for row in sorted(self.found)]

    def _visit(self, instruction: Instruction) -> None:
        g, b, a = instruction.operands
        name = instruction.op.name
        if name == "MatMul":
            left, right = self._factors(g, b, a)
            if left and right:
                self._result(a, (left.shape[0], right.shape[1]), left, right)
            else:
                self._await(a)
        elif name == "Add":
            left, right = self._vectors(g, b)
            if left and right:
                self._result(a, (left.shape[0], left.shape[1]), left, right)
            else:
                self._await(a)
        elif name == "Dot":
            self._vectors(g, b)
            self._keep(a, "scalar", "16-bit", (1,), ((a, 0, 1),), partial(_scalar, a))
        elif name == "ReLU":
            self._vectors(g)
        elif name == "Blit":
            self._blit(self._matrix(g), b, a)

    def _keep(
        self,
        row: int,
        role: str,
        encoding: str,
        shape: tuple[int, ...],
        spans: tuple[tuple[int, int, int], ...],
        decode: Callable[[Image], NDArray[Any]],
    ) -> Region:
        return self.found.setdefault(row, Region(f"@{row}", role, encoding, shape, spans, decode))

    def _matrix(self, row: int) -> Region | None:
        if row in self.found:
            return self.found[row] if self.found[row].role == "matrix" else None
        try:
            found = matrix.read_matrix(self.image, row)
        except ProgramError:
            return None
        encoding = "plain" if found.encoding == "placeholder" else found.encoding
        return self._place(row, found.shape, encoding)

    def _place(self, row: int, shape: tuple[int, int], encoding: str) -> Region | None:
        width, height = self.image.shape[1], len(self.image)
        count = shape[0] * shape[1]
        if row + matrix.rows_needed(count, width, encoding) > height:
            return None
        headerless = encoding == "headerless"
        decode = partial(_headerless, row, count) if headerless else partial(_values, row, shape)
        role = "vector" if headerless else "matrix"
        spans = matrix.spans(row, count, width, encoding)
        kept = self._keep(row, role, encoding, shape, spans, decode)
        return kept if kept.role == role else None

    def _await(self, row: int) -> None:
        if row not in self.found and self._blank(row):
            self.awaited.add(row)

    def _blank(self, row: int) -> bool:
        return not self.image[row].any()

    def _factors(self, g: int, b: int, a: int) -> list[Region | None]:
        """Both operands of a product; one that is blank has its shape from the other two."""
        left, right = self._matrix(g), self._matrix(b)
        result = self.found.get(a) if a in self.awaited else None
        if result and right and not left and self._blank(g):
            left = self._place(g, (result.shape[0], right.shape[0]), right.encoding)
        elif result and left and not right and self._blank(b):
            right = self._place(b, (left.shape[1], result.shape[1]), left.encoding)
        return [left, right]

    def _vectors(self, *rows: int) -> list[Region | None]:
        known = [self.found.get(row) for row in rows]
        if any(row in self.awaited and row not in self.found for row in rows):
            known = [self._matrix(row) for row in rows]
            alike = next((region for region in known if region), None)
            if alike:  # operands of one shape: what is not computed yet will be like the other
                shape = (alike.shape[0], alike.shape[1])
                known = [self._place(row, shape, alike.encoding) for row in rows]
            return known
        if all(region and region.role == "matrix" for region in known):
            return known
        try:
            found = matrix.read_vectors(self.image, *rows)
        except ProgramError:
            return [None for _ in rows]
        if found[0].encoding != "headerless":
            return [self._matrix(row) for row in rows]
        if any(region and region.role == "matrix" for region in known):
            return [self._matrix(row) for row in rows]
        return [self._place(m.row, m.shape, "headerless") for m in found]

    def _result(self, row: int, shape: tuple[int, int], *inputs: Region) -> None:
        encodings = {region.encoding for region in inputs}
        kind = next((e for e in ("quantised", "headerless") if e in encodings), "plain")
        if row not in self.found or self.found[row].role == "scalar":
            self.found.pop(row, None)
            self._place(row, shape, kind)

    def _blit(self, text: Region | None, font_row: int, canvas_row: int) -> None:
        width, height = self.image.shape[1], len(self.image)
        w, h, _, count = (int(v) for v in self.image[font_row, 0])
        per_band = (width - 1) // w if w else 0
        if not (w and h and per_band and text and text.encoding == "plain"):
            return
        bands = -(-count // per_band)
        if font_row + bands * h > height:
            return
        font = [(font_row + y, min(y, 1), 1 + w * per_band) for y in range(bands * h)]
        decode = partial(_pixels, font_row, bands * h)
        self._keep(font_row, "font", f"{w}x{h} glyphs", (bands * h, width), tuple(font), decode)
        codes = text.values(self.image).reshape(-1).astype(int).tolist()
        lines = max(1, len(text_lines(codes, max(1, width // w))))
        rows = min(lines * h, height - canvas_row)
        canvas = tuple((canvas_row + y, 0, width) for y in range(rows))
        decode = partial(_pixels, canvas_row, rows)
        self._keep(canvas_row, "canvas", "pixels", (rows, width), canvas, decode)


def text_lines(codes: list[int], per_line: int) -> list[list[int]]:
    """Break character codes into lines of at most ``per_line``, a new one after code 10."""
    lines: list[list[int]] = [[]]
    for code in codes:
        if code == NEW_LINE:
            lines.append([])
            continue
        if len(lines[-1]) == per_line:
            lines.append([])
        lines[-1].append(code)
    return lines


def _row_message(image: Image, row: int) -> str:
    try:
        matrix.check_row(image, row)
    except ProgramError as error:
        return str(error)
    return ""


def _values(row: int, shape: tuple[int, int], image: Image) -> NDArray[Any]:
    try:
        found = matrix.read_matrix(image, row)
    except ProgramError:
        return np.zeros(shape)
    return found.values if found.shape == shape else np.zeros(shape)


def _headerless(row: int, count: int, image: Image) -> NDArray[Any]:
    return image[row, :count, 0].astype(np.int64)[None]


def _scalar(row: int, image: Image) -> NDArray[Any]:
    return np.array([int(image[row, 0, 0]) | int(image[row, 0, 1]) << 8])


def _pixels(row: int, rows: int, image: Image) -> NDArray[Any]:
    return np.asarray(image[row : row + rows, :, :3].astype(np.int64).sum(axis=2))
