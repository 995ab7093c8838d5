"""Font-code: a text assembly that is also what the pixels spell.

The pixel ``('M', 1, 4, 8)`` is the text ``M@1@4@8``: MatMul of the matrices at rows 1 and 4 into
row 8. A program is a list of lines; ``;`` starts a comment:

    .image 16x9
    .matrix A@1 2x3 = 1 2 3 4 5 6
    .matrix B@4 3x2 = 7 8 9 10 11 12
    .result C@8
    M@A@B@C
    H

    instruction   GLYPH@G@B@A, operands are rows or names, zeros at the end may be left out; a
                  decimal number in the glyph's place is the R byte itself (4@1@4@8, oldest files)
    .image WxH    width and height, once, first
    .matrix       [NAME]@ROW ROWSxCOLS = integers 0..255
    .quantised    [NAME]@ROW ROWSxCOLS scale=S offset=O = bytes 0..255, float32 as decimals
    .values       [NAME]@ROW ROWSxCOLS = floats, quantised over their own range
    .result       NAME@ROW, names a row and writes nothing
    .bitmap       Y X characters, ``#`` an opaque white and ``.`` an opaque black pixel
    .pixels       Y X hexadecimal RRGGBBAA of pixels from (X, Y) on to the right

``disassemble`` writes exactly this text, and ``assemble`` gives back the same pixels, for every
program of either dialect; ``fontcode1`` has the lines that dialect 1 adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from pxvm.core import fontcode1, isa, matrix
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import AssemblyError, PxvmError
from pxvm.core.program import Image, Region, load_program
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    NAME_WORD,
    encode_descriptor,
    header_words,
    write_words,
)

MAX_PIXELS = 1 << 28
_GLYPHS = {d: {op.glyph for op in isa.OPCODES if op.dialect == d} for d in (0, 1)}
_PLACE = re.compile(r"^([A-Za-z_]\w*)?@(\d+)$")
_SIZE = re.compile(r"^(\d+)x(\d+)$")
_INSTRUCTION = re.compile(r"^([!-/:-?A-~])((?:@\w+)*)$|^(\d+)((?:@\w+)*)$")


def assemble(text: str) -> Image:
    """Font-code text to an image: uint8 array (height, width, 4).

    Raises AssemblyError that names the line, what was expected and what was found.
    """
    return _Assembler().run(text)


class _Assembler:
    """One pass over the lines; instructions wait until every name is known."""

    def __init__(self) -> None:
        self.image: Image | None = None
        self.names: dict[str, int] = {}
        self.network: tuple[int, int, int] | None = None
        self.tensors: list[tuple[int, list[str]]] = []
        self.code: list[tuple[int, str]] = []
        self.runs: list[tuple[int, int, Image]] = []
        self.line = 0

    def error(self, message: str) -> AssemblyError:
        return AssemblyError(f"line {self.line}: {message}")

    def run(self, text: str) -> Image:
        for number, raw in enumerate(text.splitlines(), 1):
            self.line = number
            words = raw.split(";")[0].split()
            if not words:
                continue
            if not words[0].startswith("."):
                self.code += [(number, word) for word in words]
                continue
            if words[0] != ".image" and self.image is None:
                raise self.error(f"expected '.image WxH' before anything else; found {words[0]}")
            directive = getattr(self, "_" + words[0][1:], None)
            if directive is None or not directive.__doc__:
                raise self.error(
                    f"unknown directive {words[0]}; there are .image .matrix .quantised .values"
                    " .result .bitmap .pixels .network .tensor .parameters"
                )
            try:
                directive(words[1:])
            except AssemblyError:
                raise
            except (PxvmError, ValueError, IndexError) as error:
                raise self.error(f"{words[0]}: {error}") from None
        if self.image is None:
            raise AssemblyError("line 1: expected '.image WxH'; found no such line")
        if self.network is not None:
            self._place_network(self.image, *self.network)
        else:
            self._place_code(self.image)
        return self.image

    def _place_network(self, image: Image, code: int, state: int, table: int) -> None:
        ends = (code + len(self.code), table + len(self.tensors) * DESCRIPTOR_WORDS, HEADER_WORDS)
        if max(ends) > image.shape[0] * image.shape[1]:
            raise AssemblyError(f"{max(ends)} words do not fit into the image; make .image larger")
        words = header_words(code, state, table, len(self.code), len(self.tensors))
        write_words(image, 0, words)
        for index, (number, line) in enumerate(self.tensors):
            self.line = number
            try:
                if line[0] == ".tensor":
                    d = fontcode1.parse_tensor(line[1:], index, self._tensor_index)
                else:
                    d = fontcode1.parse_parameters(line[1:], index)
                known = encode_descriptor(d)
                if not d.name:  # it may stand in pixels that the text gives
                    known = known[:NAME_WORD]
                write_words(image, table + index * DESCRIPTOR_WORDS, known)
            except AssemblyError:
                raise
            except (PxvmError, ValueError, IndexError, KeyError) as error:
                raise self.error(f"{line[0]}: {error}") from None
        for number, (line_number, word) in enumerate(self.code):
            self.line = line_number
            pixel = bytes(self._instruction(word, 1))
            write_words(image, code + number, np.frombuffer(pixel, np.uint32))
        for y, x, pixels in self.runs:
            image[y, x : x + len(pixels)] = pixels

    def _tensor_index(self, text: str) -> int:
        if not text.isdecimal() and text not in self.names:
            raise self.error(f"unknown tensor {text!r}")
        return int(text) if text.isdecimal() else self.names[text]

    def _network(self, words: list[str]) -> None:
        """.network CODE STATE DESCRIPTORS"""
        code, state, table = (int(word) for word in words)
        if self.network is not None or min(code, state, table) < 0 or max(code, state, table) >> 32:
            raise self.error(".network stands once and gives three words of 32 bits")
        self.network = code, state, table

    def _tensor(self, words: list[str]) -> None:
        """.tensor [NAME]@INDEX ..."""
        self._keep(".tensor", words)

    def _parameters(self, words: list[str]) -> None:
        """.parameters [NAME]@INDEX ..."""
        self._keep(".parameters", words)

    def _keep(self, directive: str, words: list[str]) -> None:
        if self.network is None:
            raise self.error(f"{directive} needs .network before it")
        name, index = fontcode1.parse_place(words[0], len(self.tensors))
        if name:
            self.names.setdefault(name, index)
        self.tensors.append((self.line, [directive, *words]))

    def _place_code(self, image: Image) -> None:
        if len(self.code) > image.shape[1]:
            raise AssemblyError(
                f"{len(self.code)} instructions do not fit on a row of {image.shape[1]} pixels;"
                " make .image wider"
            )
        for x, (line, word) in enumerate(self.code):
            self.line = line
            image[0, x] = self._instruction(word)

    def _instruction(self, word: str, dialect: int = 0) -> list[int]:
        match = _INSTRUCTION.match(word)
        if not match:
            raise self.error(f"expected an instruction such as M@1@4@8; found {word!r}")
        glyph, operands, number, more = match.groups()
        if number is not None:
            code = self._byte(number, "an opcode number")
        elif glyph in _GLYPHS[dialect]:
            code = ord(glyph)
        else:
            known = " ".join(sorted(_GLYPHS[dialect]))
            raise self.error(f"unknown opcode {glyph!r} in {word!r}; there are {known}")
        parts = (operands if number is None else more).split("@")[1:]
        if len(parts) > 3:
            raise self.error(f"at most three operands; found {len(parts)} in {word!r}")
        return [code, *(self._operand(part) for part in parts), *[0] * (3 - len(parts))]

    def _operand(self, part: str) -> int:
        if part.isdecimal():
            return self._byte(part, "a row")
        if part not in self.names:
            known = ", ".join(self.names) or "none"
            raise self.error(f"unknown name {part!r}; known names: {known}")
        return self._byte(str(self.names[part]), f"the row of {part}")

    def _byte(self, text: str, what: str) -> int:
        value = int(text)
        if value > 255:
            raise self.error(f"{what} is 0..255; found {value}")
        return value

    def _image(self, words: list[str]) -> None:
        """.image WxH"""
        match = _SIZE.match(words[0]) if len(words) == 1 else None
        if not match:
            raise self.error(f".image expects WIDTHxHEIGHT; found {' '.join(words)!r}")
        if self.image is not None:
            raise self.error(".image stands once, before anything else")
        width, height = int(match[1]), int(match[2])
        if not 0 < width * height <= MAX_PIXELS:
            raise self.error(f".image holds 1..{MAX_PIXELS} pixels; found {width}x{height}")
        self.image = np.zeros((height, width, 4), np.uint8)

    def _target(self, words: list[str]) -> int:
        match = _PLACE.match(words[0]) if words else None
        if not match:
            raise self.error(f"expected NAME@ROW or @ROW; found {' '.join(words[:1])!r}")
        name, row = match[1], int(match[2])
        if name:
            if name in self.names:
                raise self.error(f"the name {name!r} is taken; names are unique")
            self.names[name] = row
        return row

    def _values_of(self, words: list[str]) -> tuple[int, tuple[int, int], list[str], list[str]]:
        row = self._target(words)
        size = _SIZE.match(words[1]) if len(words) > 1 else None
        if not size or "=" not in words:
            raise self.error("expected [NAME]@ROW ROWSxCOLS = values")
        equals = words.index("=")
        shape, values = (int(size[1]), int(size[2])), words[equals + 1 :]
        if len(values) != shape[0] * shape[1]:
            raise self.error(
                f"{shape[0]}x{shape[1]} needs {shape[0] * shape[1]} values; found {len(values)}"
            )
        return row, shape, words[2:equals], values

    def _write(self, row: int, shape: tuple[int, int], values: list[str], **how: object) -> None:
        assert self.image is not None
        data = np.array([int(value) for value in values], np.int64).reshape(shape)
        matrix.write_matrix(self.image, row, data, **how)  # type: ignore[arg-type]

    def _matrix(self, words: list[str]) -> None:
        """.matrix [NAME]@ROW RxC = integers"""
        row, shape, _, values = self._values_of(words)
        self._write(row, shape, values)

    def _quantised(self, words: list[str]) -> None:
        """.quantised [NAME]@ROW RxC scale=S offset=O = bytes"""
        row, shape, settings, values = self._values_of(words)
        given = dict(setting.split("=", 1) for setting in settings)
        if set(given) != {"scale", "offset"}:
            raise self.error("expected scale=S offset=O between the size and '='")
        scale, offset = float(given["scale"]), float(given["offset"])
        self._write(row, shape, values, encoding="quantised", scale=scale, offset=offset)

    def _values(self, words: list[str]) -> None:
        """.values [NAME]@ROW RxC = floats"""
        row, shape, _, values = self._values_of(words)
        data, scale, offset = matrix.quantise([float(value) for value in values])
        text = [str(byte) for byte in data.tolist()]
        self._write(row, shape, text, encoding="quantised", scale=scale, offset=offset)

    def _result(self, words: list[str]) -> None:
        """.result NAME@ROW"""
        assert self.image is not None
        matrix.check_row(self.image, self._target(words))

    def _run(self, words: list[str], pixels: Image) -> None:
        assert self.image is not None
        y, x = int(words[0]), int(words[1])
        if y >= len(self.image) or x + len(pixels) > self.image.shape[1]:
            raise self.error(f"{len(pixels)} pixels from ({x}, {y}) on leave the image")
        if self.network is None:
            self.image[y, x : x + len(pixels)] = pixels
        else:  # they may change the tables, which are written when every name is known
            self.runs.append((y, x, pixels))

    def _bitmap(self, words: list[str]) -> None:
        """.bitmap Y X #..#"""
        if len(words) != 3 or set(words[2]) - set("#."):
            raise self.error(".bitmap expects Y X and a run of '#' and '.'")
        pixels = np.array([[255 * (c == "#")] * 3 + [255] for c in words[2]], np.uint8)
        self._run(words, pixels)

    def _pixels(self, words: list[str]) -> None:
        """.pixels Y X RRGGBBAA..."""
        data = bytes.fromhex("".join(words[2:]))
        if len(data) % 4 or not data:
            raise self.error(".pixels expects Y X and eight hexadecimal digits a pixel")
        self._run(words, np.frombuffer(data, np.uint8).reshape(-1, 4))


def disassemble(image: Image, *, data: bool = True) -> str:
    """The font-code text of an image; ``assemble`` of it gives exactly the same pixels.

    ``data`` False leaves out the pixels that neither instructions nor matrices draw: weights.

    Raises ProgramError when row 0 holds no program.
    """
    return "".join(f"{line}\n" for line in disassembly(image, data=data))


def disassembly(image: Image, *, data: bool = True) -> Iterator[str]:
    """The lines of ``disassemble`` one by one: the text of a large image is larger than it."""
    program = load_program(image)
    height, width = image.shape[:2]
    yield f".image {width}x{height}"
    drawn = np.zeros(image.shape, np.uint8)  # pages that nothing is drawn on take no memory
    if isinstance(program, TensorProgram):
        yield from fontcode1.network_lines(image, program, drawn)
    for region in program.regions:
        yield from _matrix_line(image, drawn, region)
    for instruction in program.instructions:
        drawn[instruction.y, instruction.x] = [instruction.code, *instruction.operands]
        yield str(instruction)
    if data:
        yield from _rest_lines(image, drawn)


def _matrix_line(image: Image, drawn: Image, region: Region) -> Iterator[str]:
    """The line of a region that is a matrix as written by ``write_matrix``, drawn as well."""
    if region.role != "matrix":
        return
    row = region.spans[0][0]
    try:
        found = matrix.read_matrix(image, row)
    except PxvmError:
        return
    size = f"{found.shape[0]}x{found.shape[1]}"
    values = " ".join(map(str, found.data.ravel().tolist()))
    if found.encoding != "quantised":
        matrix.write_matrix(drawn, row, found.data)
        yield f".matrix @{row} {size} = {values}"
        return
    settings = {"scale": found.scale, "offset": found.offset}
    matrix.write_matrix(drawn, row, found.data, encoding="quantised", **settings)
    text = " ".join(f"{key}={np.float32(value)!s}" for key, value in settings.items())
    yield f".quantised @{row} {size} {text} = {values}"


def _rest_lines(image: Image, drawn: Image) -> Iterator[str]:
    """Lines for every pixel that differs from what the lines so far draw."""
    for y in range(len(image)):
        word, done = (rows[y].copy().view("<u4")[:, 0] for rows in (image, drawn))
        wrong = np.flatnonzero(word != done)
        if not len(wrong):
            continue
        breaks = np.flatnonzero(np.diff(wrong) > 1) + 1
        for run in np.split(wrong, breaks):
            x, stop = int(run[0]), int(run[-1]) + 1
            pixels = word[x:stop]
            if np.isin(pixels, (0xFFFFFFFF, 0xFF000000)).all():
                bits = "".join("#" if p == 0xFFFFFFFF else "." for p in pixels.tolist())
                yield f".bitmap {y} {x} {bits}"
            else:
                yield f".pixels {y} {x} {image[y, x:stop].tobytes().hex()}"
