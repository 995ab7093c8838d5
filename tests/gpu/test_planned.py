"""The planned way: what the host knows of a run without asking the device."""

from __future__ import annotations

import numpy as np
import pytest

from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.tensor import DType, Role
from pxvm.core.verifier import verify
from pxvm.gpu import devices
from pxvm.gpu import executor as gpu
from pxvm.gpu.picture import Picture
from pxvm.gpu.planned import Planned
from pxvm.models.graph.fields import Fields
from tests.gpu.test_gpu import needs_gpu

ROWS = 200


def with_lengths() -> NetworkBuilder:
    """A program to be: of many rows ``n`` are in use, 2 at first."""
    b = NetworkBuilder(64)
    for value, name in enumerate(("none", "one", "two", "three")):
        b.constant(name, value)
    b.scalar("n", 2)
    b.scalar("other", 1)
    values = np.arange(4 * ROWS).reshape(ROWS, 4)
    b.tensor("x", DType.I32, (ROWS, 4), Role.STATE, length="n", data=values)
    b.tensor("act", DType.ACT1, (ROWS, 4), Role.STATE, length="n")
    return b


@pytest.fixture
def asked(monkeypatch):
    """Lists: workgroups of each Quantise, and scalars that the device was asked for."""
    groups: list[int] = []
    scalars: list[str] = []
    dispatch, scalar = Planned._dispatch, Picture.scalar

    def dispatched(self, operation, operands, count):
        groups.extend([count] * (operation == "op_quantise"))
        dispatch(self, operation, operands, count)

    def fetched(self, d):
        scalars.append(d.name)
        return scalar(self, d)

    monkeypatch.setattr(Planned, "_dispatch", dispatched)
    monkeypatch.setattr(Picture, "scalar", fetched)
    return groups, scalars


def like_the_reference(image: Image) -> None:
    """Run on both to the end; what is yielded and what remains are the same."""
    plain = image.copy()
    session = gpu.Session(devices.open_gpu(), image, verify(image), gpu.PLANNED)
    for _ in range(2):
        session.run()
        run_program(plain, device="reference")
        assert np.array_equal(image, plain)


@needs_gpu
def test_a_length_that_is_copied_is_known_and_one_that_is_computed_is_not(asked):
    """As when an answer is written: each round's length is a copy of a scalar that is known."""
    groups, scalars = asked
    b = with_lengths()
    for name, *operands in (("Copy", "n", "three"), ("Copy", "other", "n"), ("Copy", "n", "none"),
                            ("Copy", "n", "other"), ("Add", "n", "n", "two")):  # fmt: skip
        b.emit(name, *operands)
        b.emit("Quantise", "act", "x")
    b.emit("Yield")
    b.emit("Quantise", "act", "x")
    b.emit("Halt")
    like_the_reference(b.build())
    assert groups == [3, 3, 0, 3, ROWS, 5] and scalars == []


@needs_gpu
def test_a_scalar_that_the_device_was_asked_for_is_known_until_it_changes(asked):
    groups, scalars = asked
    b = with_lengths()
    b.emit("Add", "other", "other", "one")
    b.emit("Loop", "other", 0)
    b.emit("Copy", "n", "other")
    b.emit("Quantise", "act", "x")
    b.emit("Add", "other", "other", "one")
    b.emit("EndLoop")
    b.emit("SkipIfZero", "other", 0)
    b.emit("SkipIfZero", "other", 0)
    b.emit("Yield")
    b.emit("Halt")
    like_the_reference(b.build())
    assert groups == [2, ROWS] and scalars == ["other"] * 2


@needs_gpu
def test_scratch_that_is_cleared_is_known_no_longer():
    b = with_lengths()
    b.tensor("m", DType.I32, (1,))
    b.emit("Copy", "m", "three")
    for _ in range(2):
        b.emit("Loop", "m", 0)
        b.emit("Add", "other", "other", "one")
        b.emit("EndLoop")
        b.emit("Yield")
    b.emit("Halt")
    image = b.build()
    like_the_reference(image)
    assert Fields(image)["other"] == [4]
