"""Ctrl-C, and devices that fail in the middle: between two instructions, or as if nothing was."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from pxvm.core import executors
from pxvm.core.builder import Builder
from pxvm.core.dialect1 import read_state
from pxvm.core.errors import DeviceError
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.program import load_program
from pxvm.core.tensor import DType, Role, State
from pxvm.core.verifier import verify
from pxvm.gpu import devices
from pxvm.gpu import executor as gpu
from pxvm.models.graph.fields import Fields
from tests.gpu.test_gpu import needs_gpu, sums


def endless(rows: int, cols: int) -> Image:
    """Sums of a softmax's softmax, and so on: 2^32 rounds."""
    b = NetworkBuilder(64)
    b.constant("n", 65535)
    values = np.arange(rows * cols).reshape(rows, cols)
    b.tensor("y", DType.I32, (rows, cols), Role.STATE, frac=16, data=values)
    b.tensor("z", DType.I32, (rows, cols), Role.STATE, frac=16)
    for _ in range(2):
        b.emit("Loop", "n")
    b.emit("Softmax", "y", "y")
    b.emit("Add", "z", "z", "y")
    for _ in range(2):
        b.emit("EndLoop")
    return b.build()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("device", "rows"),
    [("reference", 4), pytest.param("gpu:planned", 4, marks=needs_gpu),
     pytest.param("gpu:planned", 1000, marks=needs_gpu)],
)  # fmt: skip
def test_ctrl_c_stops_between_two_instructions_(device, rows):
    image, straight = endless(rows, 64), endless(rows, 64)
    session = executors.executor(device, 1).session(image, verify(image))
    session.run(5)
    press = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    with pytest.raises(KeyboardInterrupt):
        session.run(None)
    press.join()
    steps = int(read_state(image, verify(image).state_start)[State.STEPS])
    assert steps > 5
    run_program(straight, steps, device="reference")
    assert np.array_equal(image, straight)
    for found in (image, straight):
        run_program(found, 7, device="reference")
    assert np.array_equal(image, straight)


@needs_gpu
def test_ctrl_c_while_the_host_s_words_go_up_is_as_if_none_had(monkeypatch):
    ours, plain = sums(), sums()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), gpu.PLANNED)
    Fields(ours)["x"] = Fields(plain)["x"] = [[5, 6, 7, 8]]

    def pressed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(session.gpu.device.queue, "write_buffer", pressed)
        with pytest.raises(KeyboardInterrupt):
            session.run()
    assert np.array_equal(ours, plain)
    session.run()
    run_program(plain, device="reference")
    assert np.array_equal(ours, plain)


@needs_gpu
def test_the_host_waits_for_a_submission_before_it_gives_the_next(monkeypatch):
    """So a run that is stopped ends soon: the device has not been given much."""
    image = endless(4, 64)
    session = gpu.Session(devices.open_gpu(), image, verify(image), gpu.PLANNED)
    begin, wait, said = session.gpu.begin, session.worker.marker.map_sync, []
    monkeypatch.setattr(session.gpu, "begin", lambda encoder: said.append("next") or begin(encoder))
    monkeypatch.setattr(
        session.worker.marker, "map_sync", lambda mode: said.append("wait") or wait(mode)
    )
    session.run(64)
    assert said[:7] == ["next", *["next", "wait"] * 3]


@needs_gpu
@pytest.mark.parametrize("fetches", [1, 2])
def test_a_device_that_is_lost_among_instructions_of_dialect_0_leaves_the_image(fetches):
    devices.forget()
    b = Builder()
    b.matrix("A", [[1, 2], [3, 4]])
    b.matrix("B", [[5, 6], [7, 8]])
    for name in "CD":
        b.result(name, 2, 2)
        b.emit("MatMul", "A", "B", name)
    image = b.build()
    before, session = image.copy(), gpu.session(image, load_program(image))
    fetch, count = session.inner._fetch, []

    def lost(*rows: int) -> None:
        count.append(rows)
        if len(count) == fetches:
            session.gpu.device.destroy()
        fetch(*rows)

    session.inner._fetch = lost
    with pytest.raises(DeviceError, match="was lost"):
        session.run(None)
    assert np.array_equal(image, before)
    devices.forget()
