"""Dialect 1: descriptors and tensors in pixels.

A pixel is one little-endian 32-bit *word* (R lowest). Words are numbered row-major through the
image. Row 0 starts with the header:

    word 0 'PXV1' | 1 version | 2 code start | 3 instructions | 4 descriptors start | 5 descriptors
         | 6 state start

A descriptor is 16 words:

    0       dtype | rank << 8 | role << 16 | fraction bits << 24 (signed)
    1..4    extents (capacity), outermost first, 1 beyond the rank
    5       word where the tensor starts
    6       tensor rows in one image row; 0 when one tensor row takes several image rows
    7 8 9   links to other descriptors, index + 1 or 0: scale, bias, length
    10..15  name, UTF-8, zero-padded

A tensor *row* runs along the last extent; there are rows = product of the other extents. Rows lie
side by side from the start on, as many in an image row as word 6 says, then on the next image row
at the same column; a row wider than the image starts at column 0 and wraps. ``length`` names an
I32 scalar that holds how many rows are in use now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints, ints
from pxvm.core.parts import MAGIC, Image

Words = NDArray[np.uint32]

VERSION = 2
HEADER_WORDS = 7
DESCRIPTOR_WORDS = 16
NAME_WORD = 10  # of a descriptor
STATE_WORDS = 64
PARAMETERS = 9
MAX_EXTENT = 1 << 28
GROUP = 32  # columns of an I4 row that share a scale and a minimum
# What fills a word: columns of a row are a multiple of this.
MULTIPLES = {"I8": 4, "I16": 2, "ACT1": 4, "ACT2": 4, "I4": GROUP}


class DType(IntEnum):
    """How elements stand in words; the value is the descriptor's byte."""

    I8 = 1  # four in a word, excess-128: grey is zero
    I16 = 2  # two in a word, two's complement
    I32 = 3  # fixed point, two's complement
    SCALE = 4  # mantissa in the low half, exponent in the high half, two's complement
    ACT1 = 5  # a row of I8 and one scale word: activations of 7 bits
    ACT2 = 6  # rows of low and high I8 plane (x = 256 high + low) and one scale word
    RGBA = 7  # a pixel is a pixel
    PARAMS = 8  # no pixels: words 1..9 of the descriptor are parameters of an instruction
    I4 = 9  # eight codes in a word, then groups' scales and minima: scale * code + minimum


class Role(IntEnum):
    """What may happen to a tensor."""

    CONSTANT = 0  # read only
    STATE = 1  # kept when the machine stops
    SCRATCH = 2  # rows in use are zero whenever the machine stops at Halt or Yield


class State(IntEnum):
    """Words of the machine's state."""

    PC = 0
    BASE = 1
    STATUS = 2
    STEPS = 3
    SATURATED = 4  # 1: an element did not fit 32 bits, and became the nearest that does
    CLAMPED = 5  # 1: an index was outside, and became the nearest that is not
    LOOPS = 6
    CALLS = 7
    LOOP_STACK = 8  # 8 entries of (first instruction, iterations left, stride, base before)
    CALL_STACK = 40  # 8 entries of (return instruction, base before)


DEPTH = 8
MAX_COUNT = 65535  # rounds of a loop
READY, YIELDED, HALTED = 0, 1, 2


@dataclass(frozen=True)
class Descriptor:
    """One decoded descriptor; ``extents`` has ``rank`` entries, links are indexes or None."""

    index: int
    name: str
    dtype: DType
    role: Role
    frac: int
    extents: tuple[int, ...]
    start: int
    per: int
    scale: int | None
    bias: int | None
    length: int | None
    parameters: tuple[int, ...] = ()

    @property
    def cols(self) -> int:
        """Elements of a tensor row."""
        return self.extents[-1]

    @cached_property
    def rows(self) -> int:
        """Tensor rows (capacity)."""
        count = 1
        for extent in self.extents[:-1]:
            count *= extent
        return count

    @cached_property
    def row_words(self) -> int:
        """Words of one tensor row."""
        return row_words(self.dtype, self.cols)

    def image_rows(self, width: int) -> int:
        """Image rows that the tensor reaches over."""
        if self.per:
            return -(-self.rows // self.per)
        return self.rows * -(-self.row_words // width)

    def row_start(self, row: int, width: int) -> int:
        """The word where a tensor row starts."""
        if self.per:
            return self.start + row // self.per * width + row % self.per * self.row_words
        return self.start + row * -(-self.row_words // width) * width


def row_words(dtype: DType, cols: int) -> int:
    """Words that ``cols`` elements of a dtype take in a tensor row."""
    quads = -(-cols // 4)
    return {
        DType.I8: quads,
        DType.I16: -(-cols // 2),
        DType.ACT1: quads + 1,
        DType.ACT2: 2 * quads + 1,
        DType.PARAMS: 0,
        DType.I4: sum(group_words(cols)),
    }.get(dtype, cols)


def group_words(cols: int) -> tuple[int, int, int]:
    """Words of an I4 row's codes, scales and minima, which stand in this order."""
    return -(-cols // 8), -(-cols // (4 * GROUP)), -(-cols // (2 * GROUP))


def encode_descriptor(d: Descriptor) -> Words:
    """The 16 words of a descriptor. Raises ProgramError when the name is too long."""
    words = np.zeros(DESCRIPTOR_WORDS, "<u4")
    words[0] = d.dtype | len(d.extents) << 8 | d.role << 16 | (d.frac & 255) << 24
    if d.dtype == DType.PARAMS:
        words[1 : 1 + len(d.parameters)] = d.parameters
    else:
        words[1:5] = [*d.extents, *[1] * (4 - len(d.extents))]
        words[5:7] = d.start, d.per
        words[7:10] = [0 if link is None else link + 1 for link in (d.scale, d.bias, d.length)]
    name = d.name.encode()
    if len(name) > 24:
        raise ProgramError(f"a tensor's name has at most 24 bytes; found {d.name!r}")
    words[NAME_WORD:] = np.frombuffer(name.ljust(24, b"\0"), "<u4")
    return words


def decode_descriptor(words: Words, index: int, count: int, area: int) -> Descriptor:
    """Decode and check a descriptor on its own.

    Args:
        words: its 16 words.
        index, count: its place and how many there are.
        area: words in the image.

    Raises ProgramError naming the descriptor, what was expected and what was found.
    """
    first, *numbers = words[:NAME_WORD].tolist()
    where = f"descriptor {index}"
    try:
        name = words[NAME_WORD:].tobytes().rstrip(b"\0").decode()
        dtype, role = DType(first & 255), Role(first >> 16 & 255)
    except (ValueError, UnicodeDecodeError) as error:
        raise ProgramError(f"{where}: {error}") from None
    rank = first >> 8 & 255
    frac = (first >> 24) - (first >> 31 << 8)
    if dtype == DType.PARAMS:
        kept = tuple(numbers)
        return Descriptor(index, name, dtype, role, frac, (0,), 0, 1, None, None, None, kept)
    where += f" ({name})"
    if not 1 <= rank <= 4:
        raise ProgramError(f"{where}: rank is 1..4; found {rank}")
    extents = tuple(numbers[:rank])
    total = 1
    for extent in extents:
        total *= max(extent, 1)
    most = min(MAX_EXTENT, (8 if dtype == DType.I4 else 4) * area)
    if min(extents) < 1 or total > most:
        raise ProgramError(f"{where}: extents {extents} are not inside an image of {area} pixels")
    check_columns(where, dtype, extents[-1])
    links: list[int | None] = []
    for word in numbers[6:]:
        if word > count:
            raise ProgramError(f"{where}: link to descriptor {word - 1}; there are {count}")
        links.append(word - 1 if word else None)
    start, per = numbers[4:6]
    scale, bias, length = links
    return Descriptor(index, name, dtype, role, frac, extents, start, per, scale, bias, length)


def check_columns(where: str, dtype: DType, columns: int) -> None:
    """Raise ProgramError where a row would end inside a pixel."""
    multiple = MULTIPLES.get(dtype.name, 1)
    if columns % multiple:
        raise ProgramError(
            f"{where}: {dtype.name} rows fill whole pixels, {multiple} elements together; found"
            f" {columns}"
        )


def check_place(d: Descriptor, width: int, height: int) -> None:
    """Raise ProgramError unless every word of the tensor lies inside the image."""
    if d.dtype == DType.PARAMS:
        return
    x, y = d.start % width, d.start // width
    used = min(d.per, d.rows) * d.row_words if d.per else d.row_words
    fits = x + used <= width if d.per else x == 0
    if not fits or y + d.image_rows(width) > height:
        raise ProgramError(
            f"descriptor {d.index} ({d.name}): {d.rows} rows of {d.row_words} pixels, {d.per} in an"
            f" image row, from ({x}, {y}) on leave the {width} x {height} image"
        )


def header_words(code: int, state: int, table: int, instructions: int, tensors: int) -> Words:
    """The seven words of a dialect 1 header."""
    magic = int.from_bytes(MAGIC, "little")
    return np.array([magic, VERSION, code, instructions, table, tensors, state], np.uint32)


def format_version(image: Image) -> int | None:
    """The format version that a dialect 1 image says it has; None of any other image."""
    if image.shape[0] * image.shape[1] < 2:
        return None
    magic, version = (int(word) for word in read_words(image, 0, 2))
    return version if magic == int.from_bytes(MAGIC, "little") else None


def words_of(image: Image) -> Words:
    """The image as words (height, width), a view; rows may be padded."""
    view: NDArray[np.uint32] = image.view("<u4")[..., 0]
    return view


def read_words(image: Image, start: int, count: int) -> Words:
    """Copy ``count`` consecutive words, wrapping at the image's right edge."""
    view, width = words_of(image), image.shape[1]
    first, last = start // width, -(-(start + count) // width)
    flat = view[first:last].reshape(-1)
    found: Words = flat[start - first * width :][:count].copy()
    return found


def write_words(image: Image, start: int, values: Words) -> None:
    """Write consecutive words, wrapping at the image's right edge."""
    view, width = words_of(image), image.shape[1]
    done = 0
    while done < len(values):
        y, x = divmod(start + done, width)
        step = min(width - x, len(values) - done)
        view[y, x : x + step] = values[done : done + step]
        done += step


def tensor_words(image: Image, d: Descriptor, row0: int, rows: int) -> Words:
    """Words of tensor rows [row0, row0 + rows): a copy of shape (rows, row_words)."""
    view, width, n = words_of(image), image.shape[1], d.row_words
    if not d.per:
        span = -(-n // width)
        y = d.start // width + row0 * span
        long: Words = view[y : y + rows * span].reshape(rows, span * width)[:, :n].copy()
        return long
    x, y = d.start % width, d.start // width
    first, last = row0 // d.per, -(-(row0 + rows) // d.per)
    used = min(d.per, d.rows) * n
    block = view[y + first : y + last, x : x + used]
    found: Words = block.reshape(-1, n)[row0 - first * d.per :][:rows].copy()
    return found


def store_words(image: Image, d: Descriptor, row0: int, values: Words) -> None:
    """Write tensor rows from ``row0`` on; the inverse of ``tensor_words``."""
    if not d.per:
        for number, row in enumerate(values):
            write_words(image, d.row_start(row0 + number, image.shape[1]), row)
        return
    view, width, done = words_of(image), image.shape[1], 0
    x, y = d.start % width, d.start // width
    while done < len(values):
        place, column = divmod(row0 + done, d.per)
        step, lines = min(d.per - column, len(values) - done), 1
        if not column and len(values) - done >= d.per:  # whole image rows at once
            lines = (len(values) - done) // d.per
            step = lines * d.per
        block = values[done : done + step].reshape(lines, -1)
        left = x + column * d.row_words
        view[y + place : y + place + lines, left : left + block.shape[1]] = block
        done += step


def decode(words: Words, dtype: DType, cols: int) -> Ints:
    """Elements of tensor rows as int64 (rows, cols); ACT scales are left out."""
    if dtype in (DType.I8, DType.ACT1, DType.ACT2):
        quads = -(-cols // 4)
        low = ints(words[:, :quads].copy().view(np.uint8)[:, :cols]) - 128
        if dtype != DType.ACT2:
            return ints(low)
        high = words[:, quads : 2 * quads].copy().view(np.uint8)[:, :cols].astype(np.int64)
        return ints((high - 128) * 256 + low)
    if dtype == DType.I16:
        return ints(words.view("<i2")[:, :cols])
    if dtype == DType.I4:
        codes, scales, minima = decode_groups(words, cols)
        each = codes.reshape(len(codes), -1, GROUP) * scales[..., None] + minima[..., None]
        return ints(each.reshape(codes.shape))
    if dtype in (DType.I32, DType.SCALE):
        return words.view("<i4").astype(np.int64)
    return words.astype(np.int64)


def decode_scales(words: Words) -> tuple[Ints, Ints]:
    """Scale words to (mantissas, exponents)."""
    w = words.astype(np.uint32).view("<i4").astype(np.int64)
    return w & 0xFFFF, w >> 16


def encode_scales(mantissa: Ints, exponent: Ints) -> Words:
    """(mantissas, exponents) to scale words."""
    return ((mantissa & 0xFFFF) | (exponent & 0xFFFF) << 16).astype(np.uint32)


def encode(values: Ints, dtype: DType, scales: tuple[Ints, Ints] | None = None) -> Words:
    """Integers (rows, cols), already in range, to words (rows, row_words).

    ACT1 and ACT2 need one scale for each row. ACT2 splits x into high = floor((x + 128) / 256)
    and low = x - 256 high, both int8.
    """
    if dtype == DType.I16:
        return np.ascontiguousarray(values.astype("<i2")).view("<u4")
    if dtype in (DType.I32, DType.SCALE, DType.RGBA):
        return np.ascontiguousarray(values & 0xFFFFFFFF).astype(np.uint32)
    if dtype == DType.I8:
        octets = np.ascontiguousarray(values.astype(np.uint8))
        return (octets ^ 0x80).view("<u4")
    assert scales is not None
    high = (values + 128) >> 8
    planes = [values] if dtype == DType.ACT1 else [values - 256 * high, high]
    words = [np.ascontiguousarray((p + 128).astype(np.uint8)).view("<u4") for p in planes]
    return np.concatenate([*words, encode_scales(*scales)[:, None]], axis=1)


def decode_groups(words: Words, cols: int) -> tuple[Ints, Ints, Ints]:
    """(codes (rows, cols), scales and minima (rows, cols / GROUP)) of I4 rows.

    Of a word's eight codes the first four are the low halves of its bytes, then the high ones.
    """
    first, second, _ = group_words(cols)
    octets = words[:, :first].copy().view(np.uint8).reshape(len(words), -1, 4)
    codes = np.concatenate([octets & 15, octets >> 4], axis=2).reshape(len(words), -1)
    scales = words[:, first : first + second].copy().view(np.uint8)[:, : cols // GROUP]
    minima = words[:, first + second :].copy().view("<i2")[:, : cols // GROUP]
    return ints(codes[:, :cols]), ints(scales), ints(minima)


def encode_groups(codes: Ints, scales: Ints, minima: Ints) -> Words:
    """I4 rows, words (rows, row_words): codes 0..15 (rows, cols), scales 0..255 and minima of 16
    bits (rows, cols / GROUP)."""
    rows, cols = codes.shape
    _, second, third = group_words(cols)
    halves = codes.astype(np.uint8).reshape(rows, -1, 2, 4)
    packed = np.ascontiguousarray(halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, -1)
    sizes, lows = np.zeros((rows, 4 * second), np.uint8), np.zeros((rows, 2 * third), "<i2")
    sizes[:, : cols // GROUP], lows[:, : cols // GROUP] = scales, minima
    return np.concatenate([part.view("<u4") for part in (packed, sizes, lows)], axis=1)


def shape_text(extents: Sequence[int]) -> str:
    """Extents as people write them: 30x64."""
    return "x".join(map(str, extents))
