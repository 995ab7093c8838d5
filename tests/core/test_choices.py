"""Ways to run a program: the table, what is known of it, and that none of them changes a byte."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pxvm.core import choices, executors, notes
from pxvm.core.errors import DeviceError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role, encode_scales
from pxvm.core.verifier import verify


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A file of choices of its own; the compiled kernels stay where they are."""
    monkeypatch.setattr(notes, "folder", lambda: tmp_path)
    return tmp_path


def product(rows=8, batch=3):
    b = NetworkBuilder()
    one = encode_scales(np.array([1 << 15]), np.array([-20]))[0]
    b.tensor("x", DType.I32, (batch, 16), Role.STATE, data=np.arange(16 * batch) % 251)
    b.tensor("act", DType.ACT2, (batch, 16))
    b.tensor("scales", DType.SCALE, (rows,), Role.CONSTANT, data=np.full(rows, one))
    weights = np.arange(rows * 16).astype(np.int8).reshape(rows, 16)
    b.tensor("w", DType.I8, (rows, 16), Role.CONSTANT, scale="scales", data=weights)
    b.tensor("y", DType.I32, (batch, rows), Role.STATE)
    b.emit("Quantise", "act", "x")
    b.emit("Linear", "y", "act", "w")
    b.emit("Halt")
    b.fit()
    return b.build()


def test_a_shape_is_what_programs_have_in_common():
    shape = choices.shape_of(verify(product()))
    assert shape == choices.shape_of(verify(product(batch=5)))
    assert shape != choices.shape_of(verify(product(rows=12)))


def test_auto_takes_what_is_known_where_it_is_switched_on(cache, monkeypatch):
    image = product()
    program = verify(image)
    assert choices.known() is None and choices.best(program) == {}
    taken = []
    cpu = executors.load("cpu")
    session = cpu.session
    monkeypatch.setattr(
        cpu, "session", lambda image, program, threads=None:
        taken.append(threads) or session(image, program, threads),
    )  # fmt: skip
    monkeypatch.setattr(choices, "neighbours", lambda: 1)
    monkeypatch.setattr(choices, "settings", lambda: {
        "threads": choices.Setting(None, (1,), "threads", choices.WORK),
        "device": choices.Setting("auto", ("reference",), "executor", choices.WORK),
    })  # fmt: skip
    shape = choices.shape_of(program)
    choices.switch({choices.key(shape, 1): {"threads": 1}, choices.key(shape, 0): {}})
    executors.executor("auto", 1).run(image, program, None)
    executors.executor("auto", 1).run(product(), program, None, 2)  # who says so is obeyed
    executors.executor("cpu", 1).session(product(), program)
    monkeypatch.setattr(choices, "neighbours", lambda: 0)
    executors.executor("auto", 1).run(product(), program, None)
    assert taken == [1, 2, None, None]
    choices.switch({choices.key(shape, 0): {"device": "reference"}})
    executors.executor("auto", 1).run(product(), program, None)
    assert len(taken) == 4
    choices.switch(None)
    assert choices.known() is None and choices.best(program) == {}


@pytest.mark.parametrize(
    "chosen",
    [{"threads": 0}, {"threads": True}, {"threads": 10**9}, {"prompt": 128.0}, {"device": "cpu:x"},
     {"rows": "256"}, {"speed": 1}, [1], None],
)  # fmt: skip
def test_settings_that_the_table_does_not_have_are_not_taken(chosen, cache):
    assert choices.checked(chosen) is None
    choices.switch({"a program": {"prompt": 128}})
    path = cache / "choices.json"
    path.write_text(json.dumps({"a program": chosen, "another": {"prompt": 128}}))
    choices._read.cache_clear()
    assert choices.known() == {"another": {"prompt": 128}}
    path.write_text("[[[")
    choices._read.cache_clear()
    assert choices.known() == {}


def test_every_processor_way_that_can_be_chosen_gives_the_same_bytes():
    found = set()
    ways = [d for d in choices.settings()["device"].values if not d.startswith("gpu")]
    for device in ("cpu", *ways):  # tests/gpu compares the others
        for threads in (1, 2):
            image = product(rows=64, batch=5)
            executors.executor(device, 1).run(image, verify(image), None, threads)
            found.add(image.tobytes())
    assert len(ways) == 2 and len(found) == 1
    with pytest.raises(DeviceError, match="expected cpu or cpu:portable"):
        executors.executor("cpu:fast", 1)


def test_neighbours_are_those_that_keep_processors_busy(monkeypatch, tmp_path):
    assert 0 <= choices.neighbours() <= choices.processors()
    monkeypatch.setattr(notes, "STATISTICS", tmp_path / "none")
    choices._neighbours.cache_clear()
    assert choices.neighbours() == 0


def test_neighbours_are_counted_once_a_second(monkeypatch):
    looks = []
    monkeypatch.setattr(notes, "_ticks", lambda: looks.append(1))
    monkeypatch.setattr(choices.time, "monotonic", lambda: 5000.25)
    for _ in range(50):
        choices.neighbours()
    monkeypatch.setattr(choices.time, "monotonic", lambda: 5001.0)
    choices.neighbours()
    assert len(looks) == 2
    choices._neighbours.cache_clear()
