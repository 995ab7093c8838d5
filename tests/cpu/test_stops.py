"""Ctrl-C and step limits stop the compiled loop at any nesting, at a place to go on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pxvm.core import resources
from pxvm.core.container import save_image
from pxvm.core.dialect1 import TensorProgram, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.interpreter import run_program
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role, State
from pxvm.core.verifier import verify
from pxvm.cpu import executor

pytestmark = pytest.mark.skipif(bool(executor.available()), reason=executor.available() or "-")
FOREVER = ("eight loops", "empty loops", "loops side by side", "tensors")


def program(name: str, count: int = 65535) -> Image:
    """Loops that take years, of little work or none."""
    b = NetworkBuilder(64)
    b.constant("n", count)
    b.tensor("x", DType.I32, (1, 1), Role.STATE, data=[[1]])
    b.tensor("y", DType.I32, (4, 16), Role.STATE, data=np.ones((4, 16), int))
    depth = 8
    for _ in range(depth):
        b.emit("Loop", "n")
    if name == "eight loops":
        b.emit("Add", "x", "x", "x")
    elif name == "loops side by side":
        for _ in range(3):
            b.emit("EndLoop")
            b.emit("Loop", "n")
    elif name == "tensors":
        b.emit("Softmax", "y", "y")
    for _ in range(depth):
        b.emit("EndLoop")
    return b.build()


def admitted(image: Image) -> TensorProgram:
    found = verify(image)
    assert isinstance(found, TensorProgram)
    return found


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "processors", lambda: 2)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FOREVER)
def test_ctrl_c_stops_between_two_instructions(name: str, threads: int):
    image = program(name)
    session = executor.Session(image, admitted(image), threads)
    session.run(5)
    press = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    press.start()
    with pytest.raises(KeyboardInterrupt):
        session.run()
    press.join()
    steps = int(read_state(image, admitted(image).state_start)[State.STEPS])
    assert steps > 5
    straight = program(name)
    assert executor.run(straight, admitted(straight), steps, threads) == steps
    assert np.array_equal(image, straight)
    for found, device in ((image, "cpu"), (straight, "reference")):
        run_program(found, 7, device=device)
    assert np.array_equal(image, straight)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_command(tmp_path: Path):
    save_image(program("eight loops"), tmp_path / "forever.pxi")
    start = "from pxvm.cli import main; print('started', flush=True); main()"
    command = [sys.executable, "-c", start, "run", str(tmp_path / "forever.pxi"),
               "--device", "cpu"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdout.readline() == "started\n"
        time.sleep(2)
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(60) != 0
        assert child.stderr and child.stderr.read().endswith("pxvm: stopped\n")
    assert not (tmp_path / "forever.out.png").exists()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", FOREVER)
def test_step_limits_count_as_the_reference_does(name: str, threads: int):
    rng = Random(name)
    for limit in [0, 1, 8, 9, 10, *(rng.randint(11, 3000) for _ in range(6))]:
        count = rng.choice((0, 1, 2, 3, 65535))
        wanted, found = program(name, count), program(name, count)
        run_program(wanted, limit, device="reference")
        run_program(found, limit, device="cpu", threads=threads)
        assert np.array_equal(wanted, found), (limit, count)


@pytest.mark.parametrize("limit", [2**63 - 1, 2**63, 2**64, 10**30])
def test_a_limit_of_any_size(limit: int):
    wanted, found = program("tensors", 1), program("tensors", 1)
    run_program(wanted, limit, device="reference")
    run_program(found, limit, device="cpu")
    assert np.array_equal(wanted, found)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_of_several_slices_is_one_run(threads: int):
    """Long enough for the loop to come back some times; the sum says that no round was lost."""
    b = NetworkBuilder(64)
    b.constant("n", 65535)
    b.constant("m", 12)
    b.constant("one", 1)
    b.tensor("x", DType.I32, (1, 1), Role.STATE)
    for name in ("m", "n"):
        b.emit("Loop", name)
    b.emit("Add", "x", "x", "one")
    for _ in range(2):
        b.emit("EndLoop")
    image = b.build()
    steps = executor.run(image, admitted(image), None, threads)
    rounds = 12 * 65535
    assert steps == 1 + 12 + 2 * rounds + 12 + 1
    assert admitted(image).region("x").values(image).item() == rounds
    assert read_state(image, admitted(image).state_start)[State.STEPS] == steps


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("threads", [0, -1, -(10**9)])
def test_less_than_one_thread_is_an_error(threads: int, device: str):
    image = program("tensors", 1)
    with pytest.raises(ProgramError, match=f"^threads is at least 1; found {threads}$"):
        run_program(image, device=device, threads=threads)


@pytest.mark.usefixtures("interruptible")
def test_blocks_inside_each_other_hand_ctrl_c_on():
    reached = []
    with pytest.raises(KeyboardInterrupt), Uninterrupted():
        with Uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("inner")
        reached.append("outer")
    assert reached == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("interruptible")
def test_pressed_again_later_it_does_not_wait():
    def press() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.7)

    image = program("tensors")
    session = executor.Session(image, admitted(image), 2)
    other = threading.Thread(target=press)
    with pytest.raises(KeyboardInterrupt), Uninterrupted():
        other.start()
        session.run()
    other.join()
    assert session.run(3) == 3


@pytest.mark.usefixtures("interruptible")
def test_a_handler_of_somebody_elses_is_called_afterwards():
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append("called"))
    with Uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        assert not calls
    assert calls == ["called"]
