"""Vectors as a picture that is a program: one run scores every vector against a query, exactly.

Tensors, by name:

    query [1, d]      fixed point with 24 fraction bits, written before a run
    act [1, d]        the same as int8 and one scale
    records [n]       whose vector each row is: the records' sequence numbers
    scales [n]        of each row
    vectors [n, d]    int8, four to a pixel
    scores [1, n]     what a run leaves: dot products with 24 fraction bits, each rounded once

A score is the same integer on every executor. d is filled up with zeros to a multiple of 4.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pxvm.core import choices, executors
from pxvm.core.container import PathLike, open_image, save_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role, encode_scales, tensor_words
from pxvm.core.verifier import verify
from pxvm.models.graph.fields import Fields

FRAC = 24
RUNS = 65_535
#: Elements of one picture: a tensor holds at most 2**28.
MOST_ELEMENTS = 1 << 27
BAND = 4096


def most_rows(dimension: int) -> int:
    """Vectors that one picture may hold."""
    return MOST_ELEMENTS // (-(-dimension // 4) * 4)


def build_vectors(
    records: NDArray[np.int64], scales: NDArray[np.float64], values: NDArray[np.int8]
) -> Image:
    """A picture of n vectors.

    Args:
        records: sequence numbers [n], ascending.
        scales: of each row [n], positive.
        values: int8 [n, d].
    """
    count, dimension = values.shape
    width = -(-dimension // 4) * 4

    def bands() -> Iterator[NDArray[np.int8]]:
        for first in range(0, count, BAND):
            band = values[first : first + BAND]
            yield np.pad(band, ((0, 0), (0, width - dimension)))

    b = NetworkBuilder()
    b.tensor("query", DType.I32, (1, width), Role.STATE, frac=FRAC)
    b.tensor("act", DType.ACT1, (1, width))
    b.tensor("records", DType.I32, (count,), Role.CONSTANT, data=records)
    b.tensor("scales", DType.SCALE, (count,), Role.CONSTANT, data=_scale_words(scales))
    b.tensor("vectors", DType.I8, (count, width), Role.CONSTANT, scale="scales", data=bands)
    b.tensor("scores", DType.I32, (1, count), Role.STATE, frac=FRAC)
    b.constant("runs", RUNS)
    b.emit("Loop", "runs", 0)
    b.emit("Quantise", "act", "query")
    b.emit("Linear", "scores", "act", "vectors")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")
    b.fit()
    return b.build()


def _scale_words(scales: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Real numbers to scale words, 16 bits of mantissa."""
    fraction, exponent = np.frexp(scales)
    mantissa = np.rint(np.ldexp(fraction, 16)).astype(np.int64)
    over = mantissa >> 16  # a fraction that rounds up to 1
    return encode_scales(mantissa >> over, np.clip(exponent - 16 + over, -(2**15), 2**15 - 1))


class Vectors:
    """A picture of vectors, scored by an executor.

    Attributes:
        records: sequence numbers [n] of the rows, ascending.
    """

    def __init__(self, image: Image, device: str = "auto", *, passing: bool = False) -> None:
        """``passing``: another one takes its place soon, so that nothing is learned of its runs."""
        program = verify(image)
        if not isinstance(program, TensorProgram):
            raise ProgramError("vectors: expected a program of dialect 1; found one of dialect 0")
        self.fields = Fields(image, program)
        self.device, self._passing = device, passing
        self.records: NDArray[np.int64] = self.fields["records"]
        self._runs = 0

    @cached_property
    def _plan(self) -> choices.Plan:
        if self._passing:
            return choices.Plan()
        return choices.plan(self.fields.network, self.device, None)

    @cached_property
    def _session(self) -> executors.Session:
        return self._bound()

    def _bound(self) -> executors.Session:
        image = self.fields.image
        executor = executors.executor(self.device, 1, self._plan.chosen)
        session = executor.session(image, self.fields.network)
        session.host(("query", "scores"))  # a GPU keeps the vectors from one question to the next
        return session

    @classmethod
    def open(cls, path: PathLike, device: str = "auto") -> Vectors:
        """Map a file written by ``save_vectors``; it never changes."""
        return cls(open_image(path), device)

    def scores(self, query: NDArray[np.floating]) -> NDArray[np.int32]:
        """Dot products [n] with ``FRAC`` fraction bits, of a real query [d]."""
        wanted = np.zeros(self.fields.descriptor("query").cols)
        wanted[: len(query)] = query
        if self._runs == RUNS:
            self.fields.restart()
            self._session, self._runs = self._bound(), 0
        self.fields.set_real("query", wanted)
        session, begun = self._session, time.perf_counter()
        session.run(None)
        self._plan.watch.took("run", begun)
        self._runs += 1
        d = self.fields.descriptor("scores")
        words: NDArray[np.int32] = tensor_words(self.fields.image, d, 0, 1)[0].view(np.int32)
        return words

    def rows(self) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """(scales [n], values int8 [n, d], filled up) as they are in the picture."""
        words = self.fields["scales"]
        scales = np.ldexp((words & 0xFFFF).astype(np.float64), words >> 16)
        d = self.fields.descriptor("vectors")
        values = tensor_words(self.fields.image, d, 0, d.rows).view(np.uint8)
        values ^= 0x80  # excess-128
        return scales, values.view(np.int8)


def save_vectors(image: Image, path: PathLike) -> None:
    """Write a picture of vectors so that it can be mapped."""
    save_image(image, path, layout="mappable")
