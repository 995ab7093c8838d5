"""A program in the page: steps forth and back, stops, values, and going on in Python and back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pxvm.core.container import decode_image, read_image
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from tests.conformance.make import HERE, digest
from tests.conformance.test_conformance import GOLDEN
from tests.studio.machine_pages import bind, encoded, file_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOPED = "dialect1/nested_loops_that_move_the_base_resumed.pxi"
PLAIN = "dialect0/network.pxi"
START = """async ([name, file]) => {
    await window.session?.close();
    window.opened = await rooms.machine.open(name, bytesOf(file));
    window.session = await rooms.machine.start(opened);
    return { program: session.program, kind: opened.kind, executor: session.executor };
}"""
#: What changed is put into the picture that a page shows; whether that is the machine's.
DO = """async ([method, ...args]) => {
    const stop = await session[method](...args);
    const { picture } = opened;
    for (const { x, y, width, height } of stop.changed) {
        const words = await session.words({ x, y, width, height });
        for (let row = 0; row < height; row++) {
            const own = words.subarray(row * width, (row + 1) * width);
            picture.words.set(own, (y + row) * picture.width + x);
        }
    }
    const now = await session.picture();
    const shown = now.words.every((word, i) => word === picture.words[i]);
    return { ...stop, shown, sha256: await session.sha256() };
}"""


@pytest.fixture(scope="module")
def machine(rooms: Page) -> Page:
    bind(rooms)
    return rooms


def start(page: Page, file: bytes, name: str = "program.pxi") -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(START, [name, encoded(file)])
    return found


def do(page: Page, method: str, *args: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(DO, [method, *args])
    assert found["shown"], "what changed is not all that changed"
    return found


def test_what_was_another_only_in_between_is_told_when_going_back(machine: Page) -> None:
    """Scratch is zero before a run and behind it, and something else one step earlier."""
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (1, 4), Role.STATE, data=np.arange(1, 5)[None])
    b.tensor("y", DType.I32, (1, 4), Role.SCRATCH)
    b.emit("Add", "y", "x", "x")
    b.emit("Add", "x", "x", "y")
    image = b.build()
    start(machine, file_of(image))
    assert do(machine, "run")["status"] == "halted"
    for steps in (2, 1, 0):
        before = run_program(image.copy(), steps, device="reference")
        assert do(machine, "back")["sha256"] == digest(before)


@pytest.mark.parametrize("name", [LOOPED, PLAIN])
def test_steps_forth_and_back_are_those_of_python(machine: Page, name: str) -> None:
    started = start(machine, (HERE / name).read_bytes(), name)
    assert (started["kind"], started["executor"]) == ("program", "wasm")
    image = read_image(HERE / name)
    python, seen = Machine(image), [digest(image)]
    for _ in range(12):
        if python.step() is None:
            break
        seen.append(digest(image))
        assert do(machine, "step")["sha256"] == seen[-1]
    for before in reversed(seen[:-1]):
        assert do(machine, "back")["sha256"] == before
    end = do(machine, "run")
    assert (end["status"], end["sha256"]) == ("halted", GOLDEN[name]["sha256"])
    assert do(machine, "back", end["steps"])["sha256"] == seen[0]
    assert do(machine, "step", 5)["sha256"] == seen[5] if len(seen) > 5 else True


def test_it_stops_where_it_should(machine: Page) -> None:
    started = start(machine, (HERE / LOOPED).read_bytes())
    last = started["program"]["instructions"][-1]["index"]
    stop = do(machine, "run", {"until": last})
    assert (stop["status"], stop["counter"]) == ("paused", last)
    start(machine, (HERE / LOOPED).read_bytes())
    again = do(machine, "run", {"breakpoints": [last]})
    assert again["steps"] == stop["steps"]
    watched = started["program"]["tensors"][-1]["rects"]
    start(machine, (HERE / LOOPED).read_bytes())
    hit = do(machine, "run", {"watch": watched})
    image = read_image(HERE / LOOPED)
    before = [image[r["y"], r["x"]].copy() for r in watched]
    steps = Machine(image)
    while steps.step() and all(
        np.array_equal(image[r["y"], r["x"]], b) for r, b in zip(watched, before, strict=True)
    ):
        pass
    assert hit["steps"] >= steps.steps or hit["status"] == "halted"


def endless() -> Image:
    """A program of billions of steps."""
    b = NetworkBuilder()
    b.constant("many", 65535)
    b.tensor("x", DType.I32, (1, 64), Role.STATE, data=np.ones((1, 64), np.int64))
    for _ in range(3):
        b.emit("Loop", "many", 0)
    b.emit("Add", "x", "x", "x")
    for _ in range(3):
        b.emit("EndLoop")
    return b.build()


def test_a_long_run_is_stopped_at_once_and_gone_back_from(machine: Page) -> None:
    start(machine, file_of(endless()))
    found = machine.evaluate("""async () => {
        const running = session.run();
        await new Promise((resolve) => setTimeout(resolve, 700));
        const asked = performance.now();
        session.stop();
        const stop = await running;
        const took = performance.now() - asked;
        const back = await session.back(10);
        return { took, stop, back };
    }""")
    assert found["stop"]["status"] == "paused"
    assert found["stop"]["steps"] - found["back"]["steps"] == 10
    assert found["took"] < 2000  # a machine with nothing else to do takes 50


def test_closing_at_any_time_leaves_no_worker_and_no_error(machine: Page) -> None:
    """Errors that nobody has caught fail the test of the tab."""
    machine.evaluate("async () => window.session?.close()")
    machine.wait_for_timeout(500)  # the browser tells of workers a little later
    before = len(machine.workers)
    said = machine.evaluate(
        """async (file) => {
            const opened = await rooms.machine.open("x", bytesOf(file));
            const said = [];
            for (const wait of [0, 50]) {
                const session = await rooms.machine.start(opened);
                const running = session.run().catch((error) => error.message);
                await new Promise((resolve) => setTimeout(resolve, wait));
                session.stop();
                await session.close();
                session.stop();
                said.push(await running);
                said.push(await session.step().catch((error) => error.message));
                said.push(await rooms.machine.chat(session).catch((error) => error.message));
            }
            opened.picture.words[1] = 99; // another program than the one that was opened
            said.push(await rooms.machine.start(opened).catch((error) => error.message));
            return said;
        }""",
        encoded(file_of(endless())),
    )
    closed = "the machine is closed: open the file again"
    assert set(said[:-1]) == {closed} and "format version" in said[-1]
    machine.wait_for_timeout(500)
    assert len(machine.workers) == before


def test_more_steps_than_32_bits_hold_may_be_asked_for(machine: Page) -> None:
    for most in (2**31, 2**32, 2**32 + 3, 2**53):
        start(machine, (HERE / LOOPED).read_bytes())
        end = do(machine, "run", {"maxSteps": most})
        assert (end["status"], end["sha256"]) == ("halted", GOLDEN[LOOPED]["sha256"])


def test_values_are_read_and_written(machine: Page) -> None:
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (2, 2), Role.STATE, frac=4, data=np.array([[16, 32], [48, -8]]))
    b.tensor("y", DType.I32, (2, 2), Role.STATE, frac=4)
    b.emit("Add", "y", "x", "x")
    start(machine, file_of(b.build()))
    read = "async (tensor) => [...(await session.read(tensor))]"
    assert machine.evaluate(read, 0) == [1, 2, 3, -0.5]
    machine.evaluate("async () => session.write(0, [0.5, 1, 1.5, -2])")
    machine.evaluate("() => session.run()")
    assert machine.evaluate(read, 1) == [1, 2, 3, -4]
    machine.evaluate("() => session.back(2)")
    assert machine.evaluate(read, 0) == [0.5, 1, 1.5, -2]
    wrong = machine.evaluate("async () => session.write(0, [1e9, 0, 0, 0]).catch((e) => e.message)")
    assert "does not fit" in wrong


@pytest.mark.parametrize("name", [LOOPED, "dialect1/two_layers.pxi"])
def test_what_the_page_begins_python_ends_and_the_other_way_round(machine: Page, name: str) -> None:
    start(machine, (HERE / name).read_bytes())
    machine.evaluate("() => session.run({ maxSteps: 7 })")
    half = base64.b64decode(machine.evaluate("async () => textOf(await session.save())"))
    image = decode_image(half)
    run_program(image, device="reference")
    assert digest(image) == GOLDEN[name]["sha256"]
    image = read_image(HERE / name)
    run_program(image, 7, device="reference")
    start(machine, file_of(image))
    assert do(machine, "run")["sha256"] == GOLDEN[name]["sha256"]


def test_what_fails_says_so_and_can_be_gone_back_from(machine: Page) -> None:
    name = "dialect0/refused_shapes_at_1.pxi"
    start(machine, (HERE / name).read_bytes())
    stop = do(machine, "run")
    assert (stop["status"], stop["steps"]) == ("failed", 1)
    assert stop["error"].startswith("instruction 1 at x=1, y=0")
    assert do(machine, "back")["sha256"] == digest(read_image(HERE / name))


def test_kinds(machine: Page) -> None:
    noise = np.random.default_rng(1).integers(2, 60, (4, 4, 4)).astype(np.uint8)
    refused = (HERE / "dialect1/refused_u1_unused_operand.pxi").read_bytes()
    for file, kind, said in (
        (file_of(noise), "picture", "this picture is no pxVM program"),
        (refused, "program", "is unused and must be 0"),
    ):
        found = machine.evaluate(
            "async (file) => rooms.machine.open('x', bytesOf(file))", encoded(file)
        )
        assert found["kind"] == kind and said in found["refused"] and "program" not in found
    error = machine.evaluate(
        "async (file) => rooms.machine.start(await rooms.machine.open('x', bytesOf(file)))"
        ".catch((e) => e.message)",
        encoded(refused),
    )
    assert "is unused and must be 0" in error
