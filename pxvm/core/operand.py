"""What an instruction's operand does: the tensors of dialect 1 as ``ops`` sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.integer import Ints, ints, next_random
from pxvm.core.parts import Image
from pxvm.core.tensor import (
    Descriptor,
    DType,
    decode,
    decode_scales,
    encode,
    store_words,
    tensor_words,
    write_words,
)

# The largest magnitude of an element that products take; of the others it is a signed byte's.
LARGEST = {DType.I4: 15 * 255 + 2**15 - 1, DType.ACT2: 257 * 128}
LIMITS = {DType.I32: (-(2**31), 2**31 - 1), DType.RGBA: (0, 2**32 - 1)}


class Tensors:
    """The tensors of a program in its image, and whether anything was saturated or clamped."""

    def __init__(self, image: Image, program: TensorProgram) -> None:
        self.image, self.program = image, program
        self.saturated = self.clamped = False

    def tensor(self, index: int) -> Tensor:
        """The tensor of a descriptor."""
        return Tensor(self, self.program.descriptors[index])


class Tensor:
    """An operand as the specification sees it; see ``ops``."""

    def __init__(self, tensors: Tensors, d: Descriptor) -> None:
        self.tensors, self.d = tensors, d
        self.image = tensors.image
        self.frac, self.cols, self.rows, self.extents = d.frac, d.cols, d.rows, d.extents
        self.is_activation = d.dtype in (DType.ACT1, DType.ACT2)
        self.bits = 14 if d.dtype == DType.ACT2 else 7
        self.largest = LARGEST.get(d.dtype, 128)
        self.used = self.rows
        if d.length is not None:
            self.used = int(np.clip(tensors.tensor(d.length).scalar, 0, d.rows))

    def _words(self, start: int, stop: int) -> Any:
        return tensor_words(self.image, self.d, start, stop - start)

    @property
    def values(self) -> Ints:
        """Rows in use as int64 (rows, cols)."""
        return decode(self._words(0, self.used), self.d.dtype, self.cols)

    @property
    def all(self) -> Ints:
        """Every element, in use or not, of shape (rows, cols)."""
        return decode(self._words(0, self.rows), self.d.dtype, self.cols)

    @property
    def flat(self) -> Ints:
        """Every element in one dimension."""
        return self.all.reshape(-1)

    @property
    def scalar(self) -> Any:
        """The first element, int64."""
        return self.all[0, 0]

    def at(self, rows: Ints) -> Ints:
        """The given rows (all valid), int64 (len(rows), cols)."""
        if len(rows) > 64:
            return self.all[rows]
        found = [decode(self._words(r, r + 1), self.d.dtype, self.cols)[0] for r in rows.tolist()]
        return ints(found).reshape(-1, self.cols)

    def slice(self, start: int, stop: int) -> tuple[Ints, tuple[Ints, Ints]]:
        """Activation rows [start, stop): (values, scales)."""
        words = self._words(start, stop)
        return decode(words, self.d.dtype, self.cols), decode_scales(words[:, -1])

    @property
    def scales(self) -> tuple[Ints, Ints]:
        """One scale for each row: an activation's own, or the linked SCALE tensor's."""
        if self.is_activation:
            return decode_scales(self._words(0, self.used)[:, -1])
        if self.d.scale is None:
            return ints([0]), ints([0])
        linked = self.tensors.tensor(self.d.scale)
        return decode_scales(linked._words(0, linked.rows).reshape(-1))

    @property
    def bias(self) -> Any:
        """The linked bias, one integer for each row, or 0."""
        return 0 if self.d.bias is None else self.tensors.tensor(self.d.bias).flat

    def clamp_index(self, index: Any, count: int) -> Ints:
        """Indexes clamped to 0..count - 1; the state is marked where that changed one."""
        inside = np.clip(index, 0, count - 1)
        self.tensors.clamped |= bool((inside != index).any())
        return ints(inside)

    def saturate(self, values: Ints) -> Ints:
        """The nearest that an element holds; the state is marked where that changed one."""
        if self.d.dtype not in LIMITS:
            return values
        kept = np.clip(values, *LIMITS[self.d.dtype])
        self.tensors.saturated |= bool((kept != values).any())
        return ints(kept)

    def write(self, values: Any, scales: tuple[Ints, Ints] | None = None) -> None:
        """Store the rows in use, saturated."""
        kept = self.saturate(ints(values))
        store_words(self.image, self.d, 0, encode(kept, self.d.dtype, scales))

    def write_all(self, values: Any) -> None:
        """Store elements in order from the first on; later ones stay."""
        kept = self.saturate(ints(values))
        rows, rest = divmod(len(kept), self.cols)
        full = kept[: rows * self.cols].reshape(rows, self.cols)
        store_words(self.image, self.d, 0, encode(full, self.d.dtype))
        if rest:
            start = self.d.row_start(rows, self.tensors.program.width)
            write_words(self.image, start, encode(kept[None, rows * self.cols :], self.d.dtype)[0])

    def put(self, row: int, values: Ints, mantissa: Any, exponent: Any) -> None:
        """Store one activation row."""
        scales = (ints([mantissa]), ints([exponent]))
        store_words(self.image, self.d, row, encode(values[None], self.d.dtype, scales))

    def draw(self) -> int:
        """32 random bits; the state of the generator, two words of this tensor, moves on."""
        low, high = (int(v) & 0xFFFFFFFF for v in self.flat[:2])
        state, bits = next_random(low | high << 32)
        words = np.array([state & 0xFFFFFFFF, state >> 32], np.uint32)
        write_words(self.image, self.d.start, words)
        return bits
