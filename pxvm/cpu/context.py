"""What every kernel gets: one pointer to a block of array addresses and extents.

This is the host's side of it; ``compiler`` has the side of compiled code, where a context is a
64-bit address, so that calls pass one register instead of a hundred.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Name: (dtype, dimensions).
FIELDS: dict[str, tuple[Any, int]] = {
    "words": (np.int32, 1),  # the image's memory
    "bytes": (np.uint8, 1),  # the same memory
    "tensors": (np.int64, 2),  # (descriptors, COLUMNS)
    "params": (np.int64, 2),  # (descriptors, 9)
    "code": (np.uint8, 2),  # (instructions, 4)
    "kernels": (np.int64, 1),  # (256,): addresses by opcode
    "match": (np.int64, 1),  # EndLoop of each Loop
    "ahead": (np.int64, 1),  # (instructions,): the next Linear on the way, or -1
    "config": (np.int64, 1),
    "rows": (np.int64, 3),  # (threads, 4, columns): row buffers
    "bits": (np.int8, 2),  # (threads, bytes): byte buffers
    "tile": (np.int32, 2),  # (threads, 1024)
    "planes": (np.int8, 1),  # activations of a whole instruction, shared
    "sums": (np.int64, 1),  # their sums, shared
    "attend": (np.int8, 2),  # (threads, bytes): attention's planes, queries, packed cache
    "scores": (np.int32, 2),  # (threads, 11 * context): sums, scores, scale words
    "registers": (np.int64, 2),  # (threads, state words): thread 0's are stored in the end
    "sync": (np.int64, 1),  # the barrier
    "touched": (np.int64, 2),  # (threads, ...): see ``loop``
    "counters": (np.int64, 2),  # (threads, 8)
}
SLOTS = 4  # words a field takes in the block: address and up to three extents
TILE = 8  # activation rows that one tile of the matrix product holds in registers


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
