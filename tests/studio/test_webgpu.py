"""Programs on the page's GPU give the bytes that they give everywhere.

What a GPU lacks, refuses or loses is one sentence. SwiftShader, which plays the GPU, compiles
slowly: a few programs run always; all of conformance, random ones and a model are journeys.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pxvm.core.container import read_image
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from tests.conformance.make import HERE, digest
from tests.conformance.test_conformance import GOLDEN
from tests.differential.generator import generate
from tests.models.tiny_models import write_llama
from tests.studio.conftest import watched, with_rooms
from tests.studio.gpu_pages import encoded, file_of, run, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RUNS = [name for name, golden in GOLDEN.items() if golden.get("refused") != "program"]
#: Few operations, so that they are soon compiled; control flow of every kind.
FEW = (
    "dialect0/network.pxi",
    "dialect0/refused_shapes_at_1.pxi",
    "dialect1/calls_eight_deep.pxi",
    "dialect1/nested_loops_that_move_the_base_resumed.pxi",
    "dialect1/loop_in_a_subroutine_of_a_layer_stopped.pxi",
    "dialect1/yield_in_a_loop_resumed.pxi",
    "dialect1/yielded_without_a_step_is_ready.pxi",
    "dialect1/push.pxi",
)
WALKED = "dialect1/nested_loops_that_move_the_base_resumed.pxi"
#: Runs, and stops when it is under way.
STOP = """async () => {
    const running = session.run();
    await new Promise((resolve) => setTimeout(resolve, 300));
    session.stop();
    return see(await running);
}"""
#: The error of a start on the GPU, after `change` of what the browser offers.
REFUSED = """async ([file, change]) => {
    const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
    const opened = await rooms.machine.open("program.pxi", bytes);
    const back = change ? eval(change)() : undefined;
    try {
        const session = await rooms.gpu.startGpu(opened);
        await session.close();
        return "";
    } catch (error) {
        return error.message;
    } finally {
        back?.();
    }
}"""


@pytest.fixture(scope="module")
def page(webgpu_browser: Browser, site: str) -> Iterator[Page]:
    """A tab with the rooms, and with WebGPU."""
    for page in watched(webgpu_browser, site):
        with_rooms(page, site)
        yield page


@pytest.fixture
def tab(webgpu_browser: Browser, site: str) -> Iterator[Page]:
    """The same for one test that leaves its GPU in no good state."""
    for page in watched(webgpu_browser, site):
        with_rooms(page, site)
        yield page


def file_at(name: str) -> str:
    return encoded((HERE / name).read_bytes())


def check(page: Page, name: str) -> None:
    golden = GOLDEN[name]
    start(page, file_at(name))
    stop = run(page, golden["max_steps"])
    assert stop["sha256"] == golden["sha256"]
    assert stop["shown"], "what changed is told"
    refused = golden.get("refused")
    assert (stop["status"] == "failed") == (refused is not None)
    if refused is not None:
        assert f"instruction {refused} at" in stop["error"]


@pytest.mark.parametrize("name", FEW)
def test_programs_give_their_digests(page: Page, name: str) -> None:
    check(page, name)


@pytest.mark.journey
@pytest.mark.parametrize("name", [name for name in RUNS if name not in FEW])
def test_all_of_conformance(page: Page, name: str) -> None:
    check(page, name)


@pytest.mark.journey
@pytest.mark.parametrize("seed", range(12))
def test_random_programs(page: Page, seed: int) -> None:
    image = generate(seed)
    start(page, file_of(image))
    for steps in (3, 400):
        run_program(image, steps, device="reference")
        stop = run(page, steps)
        assert stop["sha256"] == digest(image)
        assert stop["shown"]


def test_steps_forth_and_back_are_the_machine_s(page: Page) -> None:
    image = read_image(HERE / WALKED)
    machine = Machine(image)
    wanted = [digest(image)]
    while machine.step():
        wanted.append(digest(image))
    start(page, file_at(WALKED))
    walk = """async ([count, way]) => {
        const found = [await session.sha256()];
        for (let i = 0; i < count; i++) {
            await see(await session[way](1));
            const { words } = await session.picture();
            found.push(same(words, opened.picture.words) ? await session.sha256() : "not as told");
        }
        return found;
    }"""
    count = len(wanted) - 1
    assert page.evaluate(walk, [count, "step"]) == wanted
    assert page.evaluate(walk, [count, "back"]) == wanted[::-1]
    page.evaluate("() => session.step(5)")
    assert page.evaluate("() => session.sha256()") == wanted[5]


def summing(rounds: int, loops: int = 1) -> Image:
    """Adds 1 to x, in loops inside each other."""
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (1, 8), Role.STATE, data=np.arange(8)[None])
    b.tensor("one", DType.I32, (1, 1), Role.STATE, data=np.ones((1, 1), np.int64))
    b.constant("rounds", rounds)
    for _ in range(loops):
        b.emit("Loop", "rounds", 0)
    b.emit("Add", "x", "x", "one")
    for _ in range(loops):
        b.emit("EndLoop")
    b.emit("Halt")
    b.fit()
    return b.build()


def test_breakpoints_watches_and_what_the_host_writes(page: Page) -> None:
    start(page, file_of(summing(5)))
    found: dict[str, Any] = page.evaluate(
        """async () => {
            const { tensors, instructions } = opened.program;
            const x = tensors.find((tensor) => tensor.name === "x");
            const add = instructions.find((each) => each.name === "Add").index;
            const at = async (options) => {
                const { status, counter, steps } = await see(await session.run(options));
                return [status, counter, steps];
            };
            const places = [await at({ breakpoints: [add] }), await at({ until: add })];
            places.push(await at({ watch: x.rects }));
            const before = Array.from(await session.read(x.index));
            await session.write(x.index, before.map((value) => -value));
            places.push(await at({}));
            const after = Array.from(await session.read(x.index));
            await see(await session.back(2));
            await see(await session.run());
            const again = Array.from(await session.read(x.index));
            const { index } = tensors.find((tensor) => tensor.name === "rounds");
            const refused = await session.write(index, [1]).catch((error) => error.message);
            return { add, places, before, after, again, refused };
        }"""
    )
    add = found["add"]
    assert found["places"] == [
        ["paused", add, 1],
        ["paused", add, 3],
        ["paused", add + 1, 4],
        ["halted", add + 2, 12],
    ]
    assert found["before"] == [value + 2 for value in range(8)]
    assert found["after"] == found["again"] == [3 - value - 2 for value in range(8)]
    assert "a constant" in found["refused"]


def test_a_run_stops_at_once_and_goes_on(page: Page) -> None:
    start(page, file_of(summing(60000, 2)))
    stop = page.evaluate(STOP)
    assert stop["status"] == "paused"
    image = summing(60000, 2)
    run_program(image, stop["steps"])
    assert page.evaluate("() => session.sha256()") == digest(image)


def test_a_file_that_is_saved_goes_on_in_python(page: Page, tmp_path: Path) -> None:
    start(page, file_of(summing(5)))
    run(page, 6)
    saved = page.evaluate("async () => Array.from(await session.save())")
    path = tmp_path / "saved.pxi"
    path.write_bytes(bytes(saved))
    image, whole = read_image(path), summing(5)
    assert np.array_equal(run_program(image), run_program(whole))


def refused(page: Page, image: Image, change: str = "") -> str:
    return str(page.evaluate(REFUSED, [file_of(image), change]))


def test_without_webgpu_it_says_so(browser: Browser, site: str) -> None:
    for page in watched(browser, site):
        with_rooms(page, site)
        assert page.evaluate("() => rooms.gpu.gpuAvailable()") is None
        assert "the browser offers none; WebAssembly goes on" in refused(page, summing(5))
        gone = """() => {
            Object.defineProperty(navigator, "gpu", { value: undefined, configurable: true });
            return () => delete navigator.gpu;
        }"""
        assert "this page has no WebGPU: expected a browser" in refused(page, summing(5), gone)


def test_a_device_that_is_too_small_says_so(tab: Page) -> None:
    small = """() => {
        const { prototype } = GPUSupportedLimits;
        const name = "maxStorageBufferBindingSize";
        const before = Object.getOwnPropertyDescriptor(prototype, name);
        Object.defineProperty(prototype, name, { get: () => 1 << 20, configurable: true });
        return () => Object.defineProperty(prototype, name, before);
    }"""
    said = refused(tab, summing(5), small)
    assert "max-storage-buffer-binding-size 1048576; expected at least 134217728" in said
    assert "swiftshader" in tab.evaluate("() => rooms.gpu.gpuAvailable()")


def test_a_shader_that_does_not_compile_says_so(tab: Page) -> None:
    broken = """() => {
        const { prototype } = GPUDevice;
        const before = prototype.createShaderModule;
        prototype.createShaderModule = function ({ code }) {
            return before.call(this, { code: code + "no WGSL" });
        };
        return () => (prototype.createShaderModule = before);
    }"""
    said = refused(tab, summing(5), broken)
    assert "swiftshader) refuses the shader of add: " in said
    assert "\n" not in said
    assert refused(tab, summing(5)) == "", "what failed is tried again"


def test_a_device_that_is_lost_says_so_and_is_opened_anew(tab: Page) -> None:
    tab.evaluate(
        """() => {
            const { prototype } = GPUAdapter;
            const before = prototype.requestDevice;
            prototype.requestDevice = async function (...options) {
                return (window.device = await before.apply(this, options));
            };
        }"""
    )
    image = summing(5)
    start(tab, file_of(image))
    run(tab, 4)
    said = tab.evaluate(
        """async () => {
            device.destroy();
            await device.lost;
            return session.run().then(() => "it ran", (error) => error.message);
        }"""
    )
    assert "swiftshader) was lost: its driver reset it, or it went away" in said
    # What the page shows is where the last run ended: from there another executor goes on.
    after = tab.evaluate(
        """async () => {
            window.session = await rooms.gpu.startGpu(opened);
            await session.run();
            return session.sha256();
        }"""
    )
    assert after == digest(run_program(image))


def test_long_loops_are_refused_on_a_device_played_by_a_processor(page: Page) -> None:
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (1, 1 << 16), Role.STATE, data=np.zeros((1, 1 << 16), np.int64))
    for name in ("indices", "values"):
        b.tensor(name, DType.I32, (1, 1024), Role.STATE)
    b.emit("TopK", "indices", "x", "values")
    b.emit("Halt")
    b.fit()
    said = refused(page, b.build())
    assert "instruction 0 (TopK): expected at most 60,000 rounds of a loop" in said


TALK = """async ([file, onGpu]) => {
    const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
    const opened = await rooms.machine.open("tiny.pxi", bytes);
    const session = await (onGpu ? rooms.gpu.startGpu(opened) : rooms.machine.start(opened));
    const chat = await rooms.machine.chat(session);
    await session.close();
    const tokens = [];
    const { signal } = new AbortController();
    const told = ({ id, likely }) => tokens.push([id, likely]);
    const said = [];
    for (const sampling of [{ maxTokens: 6 }, { maxTokens: 5, temperature: 0.8, seed: 3 }]) {
        const messages = [{ role: "user", content: "hello" }];
        const { text } = await chat.answer(messages, sampling, told, signal);
        said.push([text, await chat.session.sha256()]);
    }
    const { executor } = chat.session;
    await chat.session.close();
    return { said, tokens, executor };
}"""


@pytest.mark.journey
def test_a_model_says_the_same_on_the_gpu(page: Page, tmp_path: Path) -> None:
    file = encoded(write_llama(tmp_path / "tiny.pxi").read_bytes())
    wasm, gpu = (page.evaluate(TALK, [file, on_gpu]) for on_gpu in (False, True))
    assert (wasm.pop("executor"), gpu.pop("executor")) == ("wasm", "google swiftshader")
    assert wasm == gpu
    assert len(wasm["tokens"]) > 2
