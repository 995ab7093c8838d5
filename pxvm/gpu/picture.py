"""A program's picture on a GPU: the image as it is, and beside it the tensors that may change.

Those, and the small constants, lie row behind row in a buffer of their own, behind the state's
words; a tensor that is written overlaps nothing else, so that this is no other program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError
from pxvm.core.parts import Image
from pxvm.core.tensor import (
    Descriptor,
    DType,
    Role,
    read_words,
    store_words,
    tensor_words,
    words_of,
)
from pxvm.gpu.devices import WINDOWS, Gpu
from pxvm.gpu.phases import table_of
from pxvm.gpu.shaders import FIELDS, FRONT, KNOWN, TABLE, powers

CHUNK = 1 << 24  # words copied at a time
NEAR = 1 << 15  # words that are fetched after every run
GAP = 1 << 14  # words fetched in vain rather than in a copy of their own


@dataclass(frozen=True)
class Watch:
    """Stop at a Yield where an I32 scalar has one of these values."""

    descriptor: int
    values: tuple[int, ...]


def _order(d: Descriptor) -> tuple[bool, int]:
    """Small tensors that may change first: the host reads them all at once."""
    return d.role == Role.CONSTANT, d.rows * d.row_words


class Picture:
    """The buffers of a program, and what the device has in them that the host knows.

    Attributes:
        tensors: the table of records, and behind it of the plan.
        marks: where in that table the plan begins.
        cleared: scratch tensors.
        changing: the words of all tensors but weights.
        loose: tensors that may change.
        images: the image in windows.
        windows: how many of them it takes.
        ahead: tensors that the device has and the image not yet.
        near: how far the small tensors that may change reach.
        front: a copy up to there, for the host.
        recent: the words up to there, until the device changes them or gets others.
    """

    def __init__(self, gpu: Gpu, image: Image, program: TensorProgram) -> None:
        self.gpu, self.image, self.program = gpu, image, program
        self.places: dict[int, tuple[int, int]] = {}
        self.ahead: set[int] = set()
        self.recent: NDArray[np.uint32] = np.zeros(0, np.uint32)
        total = self.near = FRONT
        for d in sorted(program.descriptors, key=_order):
            if d.dtype not in (DType.PARAMS, DType.I8, DType.I4):
                self.places[d.index] = (total, d.rows * d.row_words)
                total += d.rows * d.row_words
                if d.role != Role.CONSTANT and total <= NEAR:
                    self.near = total
        self.known: NDArray[np.uint32] = np.zeros(total, np.uint32)
        self.changing = gpu.buffer(total)
        usage = gpu.usage.MAP_READ | gpu.usage.COPY_DST
        self.front = gpu.device.create_buffer(size=4 * self.near, usage=usage)
        self.cleared = [
            d.index
            for d in program.descriptors
            if d.role == Role.SCRATCH and d.dtype != DType.PARAMS
        ]
        records = self._records().reshape(-1)
        self.marks = TABLE + len(records)
        lengths = {d.length for d in program.descriptors if d.length is not None}
        known = sorted(self.places[d][0] for d in lengths)[:KNOWN]
        known += [0] * (KNOWN - len(known))
        table = np.concatenate([powers(), records, table_of(program), self.cleared, known])
        table = table.astype(np.int32)
        self.tensors = gpu.buffer(len(table))
        gpu.device.queue.write_buffer(self.tensors, 0, table)
        self.images = self._upload()
        constant = {d.index for d in program.descriptors if d.role == Role.CONSTANT}
        self.refresh(constant & self.places.keys())
        self.loose = frozenset(self.places.keys() - constant)

    def _records(self) -> NDArray[np.int64]:
        width = self.program.width
        records = np.zeros((len(self.program.descriptors), len(FIELDS)), np.int64)
        for d in self.program.descriptors:
            if d.dtype == DType.PARAMS:
                records[d.index, : len(d.parameters)] = d.parameters
                # The type stands where a tensor's does; no opcode has so many parameters.
                records[d.index, FIELDS.index("DTYPE")] = d.dtype
                continue
            scale, bias, length = (
                -1 if link is None else self.places[link][0] for link in (d.scale, d.bias, d.length)
            )
            if d.index in self.places:
                start, per, stride = self.places[d.index][0], 1, d.row_words
            else:
                start, per = d.start, max(d.per, 1)
                stride = width if d.per else -(-d.row_words // width) * width
            extents = (*d.extents, 1, 1, 1)[:4]
            records[d.index] = [
                start, d.row_words, d.rows, d.cols, d.frac, scale, bias, per, stride, d.dtype,
                length, *extents,
            ]  # fmt: skip
        return (records + 2**31) % 2**32 - 2**31

    def _upload(self) -> list[Any]:
        """The image's words, in windows of what one binding takes."""
        rows = words_of(self.image)
        words, window = rows.size, self.gpu.window
        if words > WINDOWS * window:
            raise DeviceError(
                f"GPU {self.gpu.adapter.number} ({self.gpu.adapter.name}) takes pictures of"
                f" {WINDOWS * window} pixels; found {words}; --device cpu does without it"
            )
        self.windows = max(-(-words // window), 1)
        parts = [min(max(words - number * window, 0), window) for number in range(WINDOWS)]
        buffers = [self.gpu.buffer(part) for part in parts]  # is there room for all of it?
        for number, (buffer, part) in enumerate(zip(buffers, parts, strict=True)):
            for begin in range(0, part, CHUNK):
                data = read_words(self.image, number * window + begin, min(CHUNK, part - begin))
                self.gpu.device.queue.write_buffer(buffer, 4 * begin, data)
        return buffers

    def refresh(self, indexes: Iterable[int]) -> None:
        """Upload the tensors, of those given, that the host has changed."""
        for index in indexes:
            first, count = self.places[index]
            d = self.program.descriptors[index]
            now = tensor_words(self.image, d, 0, d.rows).reshape(-1)
            changed = np.flatnonzero(now != self.known[first : first + count])
            if len(changed):
                begin, end = int(changed[0]), int(changed[-1]) + 1
                self.recent = self.recent[:0]
                self.gpu.device.queue.write_buffer(
                    self.changing, 4 * (first + begin), np.ascontiguousarray(now[begin:end])
                )
                self.known[first + begin : first + end] = now[begin:end]

    def collect(self, wanted: Iterable[int]) -> None:
        """Download the tensors given into the image; neighbours at once.

        The image is written when all of them are there: a device that fails leaves it whole.
        """
        indexes = sorted(wanted, key=self.places.__getitem__)
        found: dict[int, NDArray[np.uint32]] = {}
        while indexes:
            begin, end = self.places[indexes[0]][0], 0
            several: list[int] = []
            for index in indexes:
                first, count = self.places[index]
                if several and first - end > GAP:
                    break
                several.append(index)
                end = first + count
            words = self.read(begin, end - begin)
            for index in several:
                first, count = self.places[index]
                found[index] = words[first - begin : first - begin + count]
            indexes = indexes[len(several) :]
        for index, words in found.items():
            first, count = self.places[index]
            self.known[first : first + count] = words
            d = self.program.descriptors[index]
            store_words(self.image, d, 0, words.reshape(d.rows, d.row_words))
        self.ahead.difference_update(found)

    def catch_up(self, encoder: Any = None) -> NDArray[np.uint32]:
        """Fetch what a run has left in front, and all small tensors with it.

        Args:
            encoder: what the device has to do before, not yet submitted.
        """
        device = self.gpu.device
        encoder = encoder or device.create_command_encoder()
        encoder.copy_buffer_to_buffer(self.changing, 0, self.front, 0, self.front.size)
        device.queue.submit([encoder.finish()])
        self.front.map_sync("READ")
        self.recent = np.frombuffer(self.front.read_mapped(), np.uint32)
        self.front.unmap()
        return self.recent

    def read(self, first: int, count: int) -> NDArray[np.uint32]:
        """Words of the buffer of what changes."""
        if first + count <= len(self.recent):
            return self.recent[first : first + count]
        data = self.gpu.device.queue.read_buffer(self.changing, 4 * first, 4 * count)
        words: NDArray[np.uint32] = np.frombuffer(data, np.uint32).copy()
        return words

    def scalar(self, d: Descriptor) -> int:
        """The first element of an I32 tensor, as the device has it."""
        return int(self.read(self.places[d.index][0], 1).view(np.int32)[0])
