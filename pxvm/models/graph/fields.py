"""Tensors of a program by name: what the host reads and writes between two runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core.dialect1 import TensorProgram, parse, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints, ints
from pxvm.core.program import Image
from pxvm.core.tensor import (
    STATE_WORDS,
    Descriptor,
    DType,
    Role,
    State,
    decode,
    encode,
    shape_text,
    store_words,
    tensor_words,
    write_words,
)


class Fields:
    """The tensors of an image.

    Args:
        image: uint8 (height, width, 4), RGBA; written in place.
        network: what ``verify`` or ``parse`` said about it; parsed when missing.
    """

    def __init__(self, image: Image, network: TensorProgram | None = None) -> None:
        self.image = image
        self.network = network or parse(image)
        self.by_name = {d.name: d for d in self.network.descriptors}

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def descriptor(self, name: str) -> Descriptor:
        """The descriptor called ``name``. Raises ProgramError."""
        if name not in self.by_name:
            raise ProgramError(f"expected a tensor called {name!r} in the image; found none")
        return self.by_name[name]

    def __getitem__(self, name: str) -> Ints:
        """All elements as integers, of the tensor's extents."""
        return self.rows(name, self.descriptor(name).rows).reshape(self.descriptor(name).extents)

    def rows(self, name: str, count: int) -> Ints:
        """The first ``count`` rows as integers (count, columns)."""
        d = self.descriptor(name)
        return decode(tensor_words(self.image, d, 0, count), d.dtype, d.cols)

    def real(self, name: str) -> Any:
        """All elements of an I32 or I16 tensor as real numbers, float64."""
        return np.ldexp(self[name].astype(np.float64), -self.descriptor(name).frac)

    @property
    def saturated(self) -> bool:
        """Did numbers not fit 32 bits so far, and became the nearest that do?"""
        return bool(read_state(self.image, self.network.state_start)[State.SATURATED])

    def scalar(self, name: str) -> int:
        """The first element."""
        return int(self.rows(name, 1)[0, 0])

    def __setitem__(self, name: str, values: Any) -> None:
        """Write the first rows of an I32 tensor of the state: a scalar, or whole rows."""
        d = self.descriptor(name)
        rows = ints(values).reshape(-1, d.cols)
        if d.dtype != DType.I32 or d.role != Role.STATE or len(rows) > d.rows:
            raise ProgramError(
                f"{name}: expected at most {shape_text(d.extents)} integers for an I32 tensor of"
                f" the state; found {len(rows)} rows for {d.dtype.name} {d.role.name.lower()}"
            )
        if rows.size and (rows.min() < -(2**31) or rows.max() >= 2**32):
            raise ProgramError(f"{name}: expected integers of 32 bits; found {np.abs(rows).max()}")
        store_words(self.image, d, 0, encode(rows, d.dtype))

    def set_real(self, name: str, values: Any) -> None:
        """Write real numbers, rounded to the tensor's fraction bits.

        Raises ProgramError when one is outside the range that those leave.
        """
        real, frac = np.asarray(values, np.float64), self.descriptor(name).frac
        scaled = np.rint(np.ldexp(real, frac))
        if not (np.abs(scaled) < 2.0**31).all():
            raise ProgramError(
                f"{name}: expected numbers below {np.ldexp(1.0, 31 - frac):g}, several times the"
                f" largest of the calibration; found {np.abs(real).max():g}"
            )
        self[name] = ints(scaled)

    def restart(self) -> None:
        """Put the registers of a program without calls where a fresh one has them."""
        old = read_state(self.image, self.network.state_start)
        state = np.zeros(STATE_WORDS, np.uint32)
        state[State.BASE] = old[State.LOOP_STACK + 3] if old[State.LOOPS] else old[State.BASE]
        write_words(self.image, self.network.state_start, state)


def fields(image: Image | Fields) -> Fields:
    """``image`` with names; every helper takes either."""
    return image if isinstance(image, Fields) else Fields(image)
