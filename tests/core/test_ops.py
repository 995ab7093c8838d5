"""Every opcode through real programs: the reference against unbounded integers in plain Python.

The programs are those of ``tests.differential``: random shapes and places, extreme values,
hostile scale words, lengths of 0 and beyond the capacity, indices out of range. The whole picture
must agree, and with it what the state says of saturation and of clamped indices.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pxvm.core import reference
from pxvm.core.isa import OPCODES, Flow
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role, State
from tests.core.big_model import Machine
from tests.core.big_ops import OPS
from tests.differential.generator import CASES, generate, generate_one
from tests.differential.harness import admitted, describe

NAMES = sorted(op.name for op in OPCODES if op.dialect == 1 and op.flow is Flow.NEXT)


def model(image: Image, max_steps: int) -> tuple[Image, int]:
    """What the plain Python model makes of an image: (the result, the steps)."""
    machine = Machine(image.view("<u4").ravel().tolist(), image.shape[1])
    made = machine.run(max_steps)
    return np.array(machine.words, "<u4").view(np.uint8).reshape(image.shape), made


def check(image: Image, max_steps: int) -> None:
    expected, steps = model(image, max_steps)
    found = image.copy()
    assert reference.run(found, admitted(found), max_steps) == steps
    assert np.array_equal(found, expected), describe(found, expected)


def test_the_model_knows_every_opcode() -> None:
    for op in OPCODES:
        if op.dialect == 1:
            assert hasattr(Machine, f"do_{op.name.lower()}") == (op.flow is not Flow.NEXT)
            assert (op.name in OPS) == (op.flow is Flow.NEXT)
    assert set(NAMES) == set(CASES)


@pytest.mark.parametrize("name", NAMES)
def test_opcode(name: str) -> None:
    for seed in range(150):
        image = generate_one(Random(f"{name}-{seed}"), name)
        check(image, 1)
        check(image, 3)


@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(NAMES), st.integers(0, 2**32))
def test_opcodes_with_fresh_seeds(name: str, seed: int) -> None:
    check(generate_one(Random(seed), name), 1)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(0, 120))
def test_whole_programs_stopped_anywhere(seed: int, steps: int) -> None:
    check(generate(seed), steps)


def run_one(
    op: str, extents: tuple[int, ...], *data: list[int], frac: int = 0
) -> tuple[Image, list[int]]:
    """``op`` on state tensors of one shape: (the image, the result's integers)."""
    b = NetworkBuilder()
    names = [f"x{n}" for n in range(len(data))]
    b.tensor("y", DType.I32, extents, Role.STATE, frac=frac)
    for name, values in zip(names, data, strict=True):
        b.tensor(name, DType.I32, extents, Role.STATE, frac=frac, data=values)
    b.emit(op, "y", *names)
    image = b.build()
    network = admitted(image)
    reference.run(image, network, None)
    return image, network.region("y").values(image).ravel().tolist()


def marks(image: Image) -> tuple[int, int]:
    """(saturated, clamped) in the state."""
    words = admitted(image).region("state").values(image)
    return int(words[State.SATURATED]), int(words[State.CLAMPED])


def test_additions_saturate_and_say_so() -> None:
    top, bottom = 2**31 - 1, -(2**31)
    image, y = run_one("Add", (2, 2), [top, bottom, top, 5], [1, -1, bottom, -5])
    assert y == [top, bottom, -1, 0]
    assert marks(image) == (1, 0)


def test_products_round_half_up() -> None:
    assert run_one("Mul", (1, 4), [3, -3, 1, -1], [1, 1, 1, 1], frac=1)[1] == [1.0, -0.5, 0.5, 0.0]


def test_the_lowest_index_wins() -> None:
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (3, 3), Role.STATE, data=[[7, 7, 7], [0, 5, 5], [-9, -9, -8]])
    b.tensor("y", DType.I32, (3, 1), Role.STATE)
    b.emit("Argmax", "y", "x")
    image = b.build()
    network = admitted(image)
    reference.run(image, network, None)
    assert network.region("y").values(image).ravel().tolist() == [0, 1, 2]


def test_indices_out_of_range_are_clamped_and_say_so() -> None:
    b = NetworkBuilder()
    b.tensor("scale", DType.SCALE, (3,), Role.CONSTANT, data=[32768 | (-15 & 0xFFFF) << 16] * 3)
    b.tensor("table", DType.I8, (3, 4), Role.CONSTANT, data=np.arange(12), scale="scale")
    b.tensor("ids", DType.I32, (4, 1), Role.STATE, data=[-1, 1, 3, 2**31 - 1])
    b.tensor("y", DType.I32, (4, 4), Role.STATE)
    b.emit("Embed", "y", "ids", "table")
    image = b.build()
    network = admitted(image)
    reference.run(image, network, None)
    assert network.region("y").values(image)[:, 0].tolist() == [0, 4, 8, 8]
    assert marks(image) == (0, 1)
