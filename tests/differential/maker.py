"""Tensors for generated programs: named, reused where they fit, hostile in their values.

A ``Maker`` collects tensors and instructions and writes them with ``NetworkBuilder``. Tensors that
are *layered* exist once in every layer; what a generated instruction needs is asked for with
``take`` (read) and ``give`` (written), which keep to the verifier's rules by construction.

A *large* program is short, and its extents go up to the limits of the rules and just beyond powers
of two, as far as its words and its work allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from pxvm.core.dialect1 import parse
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    Descriptor,
    DType,
    Role,
    State,
    encode_descriptor,
    read_words,
    store_words,
    tensor_words,
    write_words,
)

I4, I8, I16, I32, SCALE = DType.I4, DType.I8, DType.I16, DType.I32, DType.SCALE
ACT1, ACT2, RGBA = DType.ACT1, DType.ACT2, DType.RGBA
CONSTANT, STATE, SCRATCH = Role.CONSTANT, Role.STATE, Role.SCRATCH

EDGES = (0, 1, -1, 2, 127, -128, 255, 16384, -32768, 32767, 65535, 65536, 2**30, -(2**30) + 1,
         2**31 - 1, -(2**31), -(2**31) + 1, 2**31 - 2)  # fmt: skip
FRACS = (0, 0, 4, 8, 12, 12, 14, 16, 16, -3, 31, 127, -128)
WIDTHS = (16, 16, 20, 32, 64, 128)
MOST_TENSORS = 110
LARGE_WIDTHS = (16, 17, 33, 64, 255, 1001, 4096, 16380, 16383, 32801, 65540)
LARGE_ROWS = (1, 1, 2, 3, 4, 5, 31, 33, 63, 65, 66, 130, 257, 1025)
WORDS = 1 << 22  # that the tensors of a large program take together, roughly
ELEMENTS = 1 << 20  # of one operand whose extent no rule bounds
LINES = 1 << 12  # image rows that its tensors take, roughly: a picture of many is slow to verify


EXTREMES = {
    **dict.fromkeys((I8, ACT1, ACT2), (0, 0xFFFFFFFF, 0xE8E8E8E8)),
    I16: (0x80008000, 0x7FFF7FFF),
    I4: (0x80008000, 0x7FFF7FFF, 0xFFFFFFFF),
    I32: (0x7FFFFFFF, 0x80000000, 1 << 16),
    SCALE: (0xFFF0FFFF, 0xFFF08000, 0xFFEF8000),
    RGBA: (0xFFFFFFFF,),
}


@dataclass(frozen=True, eq=False)
class Made:
    """A tensor that the program declares; ``values`` are what ``fill`` chooses from."""

    name: str
    dtype: DType
    extents: tuple[int, ...]
    role: Role
    frac: int
    length: Made | None = None
    scale: Made | None = None
    bias: Made | None = None
    layered: bool = False
    values: tuple[int, ...] = ()

    @property
    def cols(self) -> int:
        return self.extents[-1]

    @property
    def rows(self) -> int:
        return int(np.prod(self.extents[:-1], dtype=np.int64))


class Maker:
    """Collects a program; every choice comes from ``rng``."""

    def __init__(self, rng: Random, layers: int = 1, large: bool = False) -> None:
        self.rng, self.layers, self.large, self.room = rng, layers, large, WORDS
        self.tensors: list[Made] = []
        self.blocks: list[tuple[str, str, dict[str, Any], bool]] = []
        self.code: list[tuple[str, tuple[Any, ...]]] = []
        self.layered = False
        self.length: Made | None = None
        self.rows = 1
        self.set_rows()

    # Sizes

    def set_rows(self, cols: int = 1) -> None:
        """Choose how many rows the next instruction works on, and whether a length limits them."""
        if self.large:
            self.rows = self.rng.choice([n for n in LARGE_ROWS if n * cols <= ELEMENTS] or [1])
        else:
            self.rows = self.rng.choice((1, 1, 2, 3, 4, 5, 6, 9, 18))
        self.length = None
        if self.rng.random() < 0.4:
            edges = (0, 1, self.rows, self.rows - 1, self.rows + 1, -1, 2**31 - 1, -(2**31))
            known = [t for t in self.tensors if t.name.startswith("length") and self.usable(t)]
            if known and self.rng.random() < 0.5:
                self.length = self.rng.choice(known)
            else:
                self.length = self.new("length", I32, (1,), STATE, values=edges)

    def near(self, limit: int, multiple: int = 1, each: int = 1) -> int:
        """A large extent: up to a limit, on either side of a power of two, or anything between.

        ``each`` is how many words one unit of it takes.
        """
        most = max(min(limit, self.room // (4 * each)), multiple)
        powers = [1 << bit for bit in range(2, 21) if 1 << bit < most]
        drawn = self.rng.choice(
            (most, most - multiple, self.rng.choice([*powers, 1]) + self.rng.choice((-1, 0, 1, 4)),
             int(most ** self.rng.random()))
        )  # fmt: skip
        return max(min(drawn, most) // multiple, 1) * multiple

    def size(self, multiple: int = 1, limit: int = ELEMENTS) -> int:
        """An extent: one-element rows, odd ones, rows wider than the image."""
        if self.large and self.rng.random() < 0.6:
            return self.near(limit, multiple, self.rows)
        most = self.rng.choice((1, 4, 9, 20, 80))
        return multiple * self.rng.randint(1, max(1, most // multiple))

    def shape(self, rows: int, cols: int) -> tuple[int, ...]:
        """Extents of so many rows and columns, in one of the ranks that hold them."""
        limited = self.length is not None
        if rows == 1 and not limited and self.rng.random() < 0.3:
            return (cols,)
        divisors = [n for n in range(2, rows) if rows % n == 0]
        if divisors and self.rng.random() < 0.3:
            first = self.rng.choice(divisors)
            if self.large and self.rng.random() < 0.5:
                return (first, 1, rows // first, cols)
            return (first, rows // first, cols)
        return (1, rows, cols) if self.rng.random() < 0.1 else (rows, cols)

    def frac(self) -> int:
        return self.rng.choice(FRACS)

    # Tensors

    def usable(self, t: Made) -> bool:
        """A layered tensor needs a layered instruction or the first layer."""
        return self.layers > 0 or not t.layered

    def new(self, stem: str, dtype: DType, extents: tuple[int, ...], role: Role | None = None,
            **fields: Any) -> Made:  # fmt: skip
        """Declare a tensor."""
        if role is None:
            role = self.rng.choice((STATE, STATE, SCRATCH, CONSTANT))
        links = [fields.get(key) for key in ("length", "scale", "bias")]
        layered = any(link is not None and link.layered for link in links)
        layered |= self.layered and self.rng.random() < 0.5
        fields.setdefault("frac", self.frac())
        self.room -= int(np.prod(extents, dtype=np.int64)) // (1 if dtype == I32 else 2)
        made = Made(f"{stem}{len(self.tensors)}", dtype, extents, role, layered=layered, **fields)
        self.tensors.append(made)
        return made

    def take(self, dtype: DType, rows: int | None, cols: int, *, frac: int | None = None,
             length: bool = True, rank: int | None = None, stem: str = "t") -> Made:  # fmt: skip
        """A tensor to read: one that there is, or a new one. ``rows`` None: the rows of now."""
        return self._find(dtype, rows, cols, frac, length, rank, stem, lambda t: True, None)

    def give(self, dtype: DType, rows: int | None, cols: int, others: list[Made], *,
             frac: int | None = None, length: bool = True, rank: int | None = None,
             in_place: bool = False, stem: str = "r") -> Made:  # fmt: skip
        """A tensor to write: none of the others (but in place), and nobody's length."""
        lengths = {id(t.length) for t in others if t.length} | {id(self.length)}

        def free(t: Made) -> bool:
            fits = in_place or t not in others
            return t.role != CONSTANT and fits and id(t) not in lengths

        role = self.rng.choice((STATE, SCRATCH))
        return self._find(dtype, rows, cols, frac, length, rank, stem, free, role)

    def _find(self, dtype: DType, rows: int | None, cols: int, frac: int | None, length: bool,
              rank: int | None, stem: str, fits: Any, role: Role | None) -> Made:  # fmt: skip
        count = self.rows if rows is None else rows
        limit = self.length if length and rows is None else None
        known = [
            t
            for t in self.tensors
            if t.dtype == dtype and t.rows == count and t.cols == cols and t.length is limit
            and frac in (None, t.frac) and rank in (None, len(t.extents)) and fits(t)
        ]  # fmt: skip
        if known and self.rng.random() < 0.6:
            return self.rng.choice(known)
        if rank is None:
            extents = self.shape(count, cols)
            if limit is not None and len(extents) == 1:
                extents = (1, cols)
        else:
            extents = {1: (cols,), 2: (count, cols)}[rank]
        fields = {} if frac is None else {"frac": frac}
        return self.new(stem, dtype, extents, role, length=limit, **fields)

    def scalar(self, *values: int, role: Role | None = None) -> Made:
        """An I32 scalar with one of the values, or an extreme one."""
        role = role or self.rng.choice((STATE, STATE, CONSTANT))
        return self.new("scalar", I32, self.rng.choice(((1,), (1, 1))), role,
                        frac=0, values=(*values, *EDGES[:3]) if values else EDGES)  # fmt: skip

    def weight(self, rows: int, cols: int, bias_frac: int | None = None, dtype: DType = I8) -> Made:
        """I8 or I4 rows with scales, and a bias when its fraction bits are given."""
        scale = self.new("scale", SCALE, (rows,), CONSTANT)
        bias = None
        if bias_frac is not None and self.rng.random() < 0.5:
            bias = self.new("bias", I32, (rows,), CONSTANT, frac=bias_frac)
        return self.new("weight", dtype, (rows, cols), CONSTANT, scale=scale, bias=bias)

    def norm_weight(self, cols: int, bias_frac: int | None) -> Made:
        """I16 weights with epsilon as scale; ``cols`` is even."""
        scale = bias = None
        if self.rng.random() < 0.8:
            scale = self.new("epsilon", SCALE, (1,), CONSTANT)
        if bias_frac is not None and self.rng.random() < 0.5:
            bias = self.new("bias", I32, (cols,), CONSTANT, frac=bias_frac)
        return self.new("norm", I16, (cols,), CONSTANT, scale=scale, bias=bias)

    def parameters(self, op: str, **values: Any) -> str:
        """A parameter block; layered when a tensor of it is."""
        name = f"p{len(self.blocks)}"
        layered = any(isinstance(v, Made) and v.layered for v in values.values())
        self.blocks.append((name, op, values, layered or self.layered))
        return name

    def emit(self, op: str, *operands: Any) -> None:
        self.code.append((op, operands))

    @property
    def full(self) -> bool:
        """True when no further instruction should be added."""
        shared = sum(not t.layered for t in self.tensors) + len(self.blocks)
        layered = sum(t.layered for t in self.tensors) + len(self.blocks)
        return max(shared, layered) > MOST_TENSORS - 20

    # The image

    def build(self) -> Image:
        """The program's image, its values hostile, its state's unused words too."""
        b = NetworkBuilder(1024 if self.large else self.rng.choice(WIDTHS))
        for t in self.tensors:
            links = {key: getattr(t, key).name if getattr(t, key) else None
                     for key in ("length", "scale", "bias")}  # fmt: skip
            for layer in range(self.layers) if t.layered else (None,):
                b.tensor(t.name, t.dtype, t.extents, t.role, frac=t.frac, layer=layer, **links)
        for name, op, values, layered in self.blocks:
            named = {key: v.name if isinstance(v, Made) else v for key, v in values.items()}
            for layer in range(self.layers) if layered else (None,):
                b.parameters(name, op, layer=layer, **named)
        for op, operands in self.code:
            if op == "label":
                b.label(operands[0])
                continue
            sizes = {"LAYER": b.layer_size}
            given = [o.name if isinstance(o, Made) else o for o in operands]
            if op in ("Loop", "Call"):
                given = [given[0], *[sizes.get(o, o) for o in given[1:]]]
            b.emit(op, *given)
        image = self._scatter(b.build())
        self._fill(image)
        return image

    def _scatter(self, image: Image) -> Image:
        """Move some tensors to places that the builder would not choose, all where it is large."""
        network, width = parse(image), image.shape[1]
        table = int(read_words(image, 0, HEADER_WORDS)[4])
        reserved = max(start + count for _, start, count in network.reserved)
        moved: list[tuple[Descriptor, Descriptor]] = []
        height = image.shape[0]
        if self.large:
            words = sum(d.rows * d.row_words for d in network.descriptors)
            width = self.rng.choice([w for w in LARGE_WIDTHS if words <= LINES * w])
            height = -(-reserved // width)
        for d in network.descriptors:
            if d.dtype == DType.PARAMS:
                continue
            if not self.large and (self.rng.random() < 0.6 or d.rows * d.row_words > 2000):
                continue
            most = width // d.row_words
            per = self.rng.randint(1, min(most, d.rows)) if most else 0
            if per and d.rows // per * width > ELEMENTS:
                per = min(most, d.rows)
            x = self.rng.randint(0, width - per * d.row_words) if per else 0
            if per and self.rng.random() < 0.1 and per == d.rows:
                per = self.rng.choice((per, per + 1, 2**32 - 1))
            if self.large and self.rng.random() < 0.2 and d.rows * width < ELEMENTS:
                x = per = 0  # a row takes whole image rows, also where it is shorter
            after = replace(d, start=height * width + x, per=per)
            height += after.image_rows(width)
            moved.append((d, after))
        larger = np.zeros((height, width, 4), np.uint8)
        if width == image.shape[1]:
            larger[: image.shape[0]] = image
        else:
            write_words(larger, 0, read_words(image, 0, reserved))
        for before, after in moved:
            if width == image.shape[1]:
                store_words(larger, after, 0, tensor_words(image, before, 0, before.rows))
            write_words(larger, table + after.index * DESCRIPTOR_WORDS, encode_descriptor(after))
        return larger

    def _fill(self, image: Image) -> None:
        network = parse(image)
        by_name = {t.name: t for t in self.tensors}
        bulk = np.random.default_rng(self.rng.getrandbits(32))
        for d in network.descriptors:
            if d.dtype == DType.PARAMS:
                continue
            made = by_name[d.name.split(".")[-1]]
            if made.values:
                values = bulk.choice(np.array(made.values, np.int64), (d.rows, d.row_words))
                words = (values & 0xFFFFFFFF).astype(np.uint32)
            else:
                words = hostile_words(bulk, d)
                if self.large and self.rng.random() < 0.25:  # what makes sums as large as they get
                    words[:] = self.rng.choice(EXTREMES[d.dtype])
            store_words(image, d, 0, words)
        if self.rng.random() < 0.5:
            unused = network.state_start + State.LOOP_STACK
            write_words(image, unused, bulk.integers(0, 2**32, 56, np.uint32))


def hostile_words(bulk: np.random.Generator, d: Descriptor) -> Any:
    """Raw words of a whole tensor: what a verifier admits, which is anything."""
    shape = (d.rows, d.row_words)
    if d.dtype == I32:
        return _integers(bulk, shape)
    if d.dtype == SCALE:
        return _scales(bulk, shape)
    if d.dtype == RGBA:
        return bulk.integers(0, 2**32, shape, np.uint32)
    words = _bytes(bulk, shape) if d.dtype != I16 else _halves(bulk, shape)
    if d.dtype in (ACT1, ACT2):
        words[:, -1] = _scales(bulk, (d.rows,))
    return words


def _integers(bulk: np.random.Generator, shape: tuple[int, ...]) -> Any:
    style = bulk.integers(0, 7)
    if style == 0:
        values = np.zeros(shape, np.int64)
    elif style == 1:
        values = bulk.choice(np.array(EDGES, np.int64), shape)
    else:
        bits = int((3, 8, 13, 20, 32)[style - 2])
        values = bulk.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape)
    if style > 2 and bulk.random() < 0.3:
        values[bulk.integers(0, shape[0])] = 0
    if style > 2 and bulk.random() < 0.3:
        values[bulk.integers(0, shape[0]), bulk.integers(0, shape[1])] = bulk.choice(
            (2**31 - 1, -(2**31))
        )
    return (values & 0xFFFFFFFF).astype(np.uint32)


def _scales(bulk: np.random.Generator, shape: tuple[int, ...]) -> Any:
    style = bulk.integers(0, 6)
    if style == 0:
        return bulk.integers(0, 2**32, shape, np.uint32)
    if style == 1:
        edges = (0, 1, 65535, 32768, 0x7FFFFFFF, 0x80000001, 0x8000FFFF, 0x7FFF8000, 0xFFFF0000)
        return bulk.choice(np.array(edges, np.uint32), shape)
    exponent = bulk.integers(-40, 10, shape) if style < 4 else bulk.integers(-26, -16, shape)
    return ((exponent & 0xFFFF) << 16 | bulk.integers(32768, 65536, shape)).astype(np.uint32)


def _bytes(bulk: np.random.Generator, shape: tuple[int, ...]) -> Any:
    style = bulk.integers(0, 4)
    if style == 0:
        return np.full(shape, 0x80808080, np.uint32)
    if style == 1:
        quads = bulk.choice(np.array([0, 1, 127, 128, 129, 255], np.uint8), (*shape, 4))
        return quads.view("<u4")[..., 0].copy()
    return bulk.integers(0, 2**32, shape, np.uint32)


def _halves(bulk: np.random.Generator, shape: tuple[int, ...]) -> Any:
    if bulk.random() < 0.3:
        return bulk.choice(np.array([0, 0x80008000, 0x7FFF7FFF, 0x00010000], np.uint32), shape)
    if bulk.random() < 0.5:
        return bulk.integers(-16384, 16385, (*shape, 2), np.int16).view("<u4")[..., 0].copy()
    return bulk.integers(0, 2**32, shape, np.uint32)
