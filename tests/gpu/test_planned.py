"""The planned way: what the host knows of a run without asking the device."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from pxvm.core.errors import DeviceError
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.tensor import DType, Role, encode_scales
from pxvm.core.verifier import verify
from pxvm.gpu import devices, planned, shaders
from pxvm.gpu import executor as gpu
from pxvm.gpu.groups import groups_of
from pxvm.gpu.picture import Picture
from pxvm.gpu.planned import Planned
from pxvm.gpu.resident import Resident
from pxvm.models.graph.fields import Fields
from tests.differential.generator import generate
from tests.differential.harness import compare
from tests.gpu.test_gpu import needs_gpu, sums

ROWS = 200
SUBGROUP = "subgroup"


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


@needs_gpu
def test_lanes_may_reduce_by_subgroups_where_those_are_lanes_side_by_side(monkeypatch):
    if SUBGROUP not in devices.adapter_of().features:
        pytest.skip(f"no {SUBGROUP} here")
    monkeypatch.setattr(planned, "subgroups_of", lambda adapter: devices.SUBGROUPS[SUBGROUP])
    said: list[str | None] = []
    make = shaders.planned
    monkeypatch.setattr(shaders, "planned", lambda *a: said.append(a[2]) or make(*a))
    for numbered, expected in (("lane", devices.SUBGROUPS[SUBGROUP]), ("lane + 1u", None)):
        monkeypatch.setattr(shaders, "text", wrongly(numbered))
        devices.forget()
        for seed in range(30):
            assert compare(generate(seed), ("reference", "gpu:planned"), Random(seed)) is None
        assert {*said} == {expected}
        said.clear()
    devices.forget()


def wrongly(numbered: str) -> Callable[[str], str]:
    """WGSL in which the trial takes lanes to be numbered like this."""
    text = shaders.text
    return lambda name: text(name).replace("(lane !=", f"({numbered} !=")


def with_many_rows() -> Image:
    """A program whose rows in use the host sets; it takes them times three, and yields."""
    b = NetworkBuilder(64)
    b.scalar("count", 1)
    b.scalar("n", 0)
    values = np.arange(2048).reshape(1024, 2)
    b.tensor("x", DType.I32, (1024, 2), Role.STATE, length="n", data=values)
    b.tensor("t", DType.I32, (1024, 2), Role.SCRATCH, length="n")
    b.label("start")
    b.constant("runs", 9)
    b.emit("Loop", "runs", 0)
    b.emit("Copy", "n", "count")
    b.emit("Add", "t", "x", "x")
    b.emit("Add", "x", "x", "t")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")
    return b.build()


@needs_gpu
def test_a_run_of_many_rows_goes_the_planned_way_and_the_next_one_on_from_there():
    ours, plain = with_many_rows(), with_many_rows()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), gpu.RESIDENT)
    ways = []
    for count in (3, 1024, 1000, 5, gpu.MANY - 1, gpu.MANY):
        Fields(ours)["count"] = Fields(plain)["count"] = count
        session.way = ""  # as where it was taken for the best
        ways.append(type(session._way()))
        session.run()
        run_program(plain, device="reference")
        assert np.array_equal(ours, plain), count
    assert ways == [Resident, Planned, Planned, Resident, Resident, Planned]
    session.way = gpu.RESIDENT
    assert isinstance(session._way(), Resident)


@needs_gpu
@pytest.mark.parametrize("way", [gpu.PLANNED, gpu.RESIDENT])
def test_what_the_host_wrote_outlasts_a_run_of_no_steps(way):
    ours, plain = sums(), sums()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), way)
    for steps in (2, 0, None):
        session.run(steps)
        run_program(plain, steps, device="reference")
        assert np.array_equal(ours, plain)
        Fields(ours)["z"] = Fields(plain)["z"] = [[5, 6, 7, 8]]


@needs_gpu
def test_no_room_for_the_planned_way_leaves_the_image_and_the_session(monkeypatch):
    ours, plain = with_many_rows(), with_many_rows()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), gpu.RESIDENT)
    session.way = ""

    def full(*arguments):
        raise DeviceError("no room")

    for count in (3, gpu.MANY, 4):
        Fields(ours)["count"] = Fields(plain)["count"] = count
        if count == gpu.MANY:
            before = ours.copy()
            with monkeypatch.context() as m:
                m.setattr(Planned, "__init__", full)
                with pytest.raises(DeviceError):
                    session.run()
            assert np.array_equal(ours, before)
        session.run()
        run_program(plain, device="reference")
        assert np.array_equal(ours, plain)


def test_rows_are_those_of_scratch_and_known_by_a_scalar_or_all():
    assert gpu.rows_by_scalar(verify(with_many_rows())) == {0}
    b = NetworkBuilder(64)
    b.tensor("kept", DType.I32, (4096, 1), Role.STATE)
    b.tensor("few", DType.I32, (gpu.MANY - 1, 1), Role.SCRATCH)
    b.tensor("heads", DType.I32, (2, gpu.MANY, 1), Role.SCRATCH)
    b.emit("Add", "few", "few", "few")
    b.emit("Halt")
    assert gpu.rows_by_scalar(verify(b.build())) == set()
    b.tensor("many", DType.I32, (gpu.MANY, 1), Role.SCRATCH)
    assert gpu.rows_by_scalar(verify(b.build())) == {None}


def test_matrix_units_take_products_that_fill_a_device():
    b = NetworkBuilder(512)
    b.scalar("one", 1)
    b.scalar("n", 1)
    b.tensor("act", DType.ACT2, (512, 64), Role.STATE, length="n")
    for cols in (512, 1024):
        scales = np.full(cols, encode_scales(np.array([1 << 15]), np.array([-20]))[0])
        b.tensor(f"scales{cols}", DType.SCALE, (cols,), Role.CONSTANT, data=scales)
        zeros = np.zeros((cols, 64), np.int8)
        scale = f"scales{cols}"
        b.tensor(f"w{cols}", DType.I8, (cols, 64), Role.CONSTANT, scale=scale, data=zeros)
        b.tensor(f"y{cols}", DType.I32, (512, cols), Role.STATE, length="n")
        b.emit("Linear", f"y{cols}", "act", f"w{cols}")
    b.emit("Halt")
    b.fit()
    program = verify(b.build())

    def groups(index: int, rows: int, units: bool) -> tuple[str, int]:
        instruction = program.instructions[index]
        operands = program.operands(instruction, -1)
        return groups_of(instruction, *operands, lambda d: rows if d.length else d.rows, units)

    for rows in (500, 512):
        assert groups(0, rows, True) == groups(0, rows, False) == ("op_linear", 16 * 16)
        assert groups(1, rows, True) == ("op_linear_by_units", 8 * 16)
        assert groups(1, rows, False) == ("op_linear", 16 * 32)
    assert [groups(index, 1, True) for index in range(2)] == [("op_linear", 64), ("op_linear", 128)]
    assert groups(1, 0, True) == ("op_linear", 0)
