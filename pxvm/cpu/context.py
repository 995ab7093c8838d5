"""What every kernel gets: one pointer to a block of array addresses and extents.

This is the host's side of it; ``compiler`` has the side of compiled code, where a context is a
64-bit address, so that calls pass one register instead of a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import DeviceError
from pxvm.core.resources import size_text

# Entries of ``config``; of VNNI and AVX2 at most one is set, AMX only with VNNI.
WIDTH, STRIDE, THREADS, VNNI, AVX2, AMX = range(6)
Fields = dict[str, tuple[Any, int]]  # name: (dtype, dimensions)

# Scratch memory of as many elements as ``scratch`` says: a row for each thread, or shared.
BUFFERS: Fields = {
    "row0": (np.int64, 2),
    "row1": (np.int64, 2),
    "row2": (np.int64, 2),
    "row3": (np.int64, 2),
    "bits": (np.int8, 2),  # activations, or packed weights
    "tile": (np.int32, 2),  # what one tile of products gives
    "planes": (np.int8, 1),  # activations of a whole instruction
    "sums": (np.int64, 1),  # their sums and scales
    "queries": (np.int8, 2),  # of one tile
    "keys": (np.int8, 2),  # of one head, packed
    "values": (np.int8, 2),  # likewise
    "totals": (np.int32, 2),  # products of a tile's queries with keys
    "scores": (np.int32, 2),
    "facts": (np.int64, 2),  # what is known of each query of a tile: see ``attention``
    "weights": (np.int8, 2),  # softmax weights as planes
    "key_scales": (np.int32, 2),
    "value_scales": (np.int32, 2),
}
FIELDS: Fields = {
    "words": (np.int32, 1),  # the image's memory
    "bytes": (np.uint8, 1),  # the same memory
    "tensors": (np.int64, 2),  # (descriptors, COLUMNS)
    "params": (np.int64, 2),  # (descriptors, 9)
    "code": (np.uint8, 2),  # (instructions, 4)
    "kernels": (np.int64, 1),  # (256,): addresses by opcode
    "barriers": (np.uint8, 1),  # this and the next two: see ``core.plan``
    "match": (np.int64, 1),
    "ahead": (np.int64, 1),
    "config": (np.int64, 1),
    "registers": (np.int64, 2),  # (threads, state words): thread 0's are stored in the end
    "sync": (np.int64, 1),  # what threads tell each other: see ``loop``
    "counters": (np.int64, 2),  # (threads, 8)
    **BUFFERS,
}
SLOTS = 4  # words a field takes in the block: address and up to three extents
GAP = 64  # elements behind each buffer: no two threads write to one cache line
LINE = 64  # bytes of one: buffers begin with one, every thread's too; tiles load 4 times as fast


def _extent(size: int) -> int:
    """Elements of a buffer, or of a thread's, gap included: whole cache lines of any dtype."""
    return (size + GAP + LINE - 1) // LINE * LINE


def size_of(sizes: Mapping[str, int], threads: int) -> int:
    """Bytes that ``allocate`` takes."""
    return sum(
        _extent(sizes.get(name, 0)) * np.dtype(dtype).itemsize * (threads if rank == 2 else 1)
        for name, (dtype, rank) in BUFFERS.items()
    )


def allocate(sizes: Mapping[str, int], threads: int) -> dict[str, Any]:
    """Scratch buffers of so many elements, zero, each with a gap behind it.

    Raises DeviceError where the system does not give them.
    """
    try:
        return {
            name: _zeros((threads, _extent(sizes.get(name, 0)))[2 - rank :], dtype)
            for name, (dtype, rank) in BUFFERS.items()
        }
    except MemoryError:
        needed = size_text(size_of(sizes, threads))
        raise DeviceError(f"the system does not give the {needed} of memory needed") from None


def _zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros from a cache line's begin on."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(dtype).reshape(shape)


class Context:
    """The arrays of ``FIELDS``, C-contiguous, as attributes; ``address`` is what kernels get."""

    def __init__(self, **arrays: Any) -> None:
        self.block = np.zeros((len(FIELDS), SLOTS), np.int64)
        self.arrays = arrays
        for slot, (name, (dtype, dimensions)) in zip(self.block, FIELDS.items(), strict=True):
            array = arrays[name]
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise TypeError(f"{name}: expected contiguous {dtype} of {dimensions} dimensions")
            slot[0] = array.ctypes.data
            slot[1 : 1 + dimensions] = array.shape
        self.address = int(self.block.ctypes.data)
