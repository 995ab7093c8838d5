"""The studio in a real headless Chromium: what docs/STUDIO.md says of it.

``python -m benchmarks.studio [PART ...]`` prints the table, or some of its parts. WebGPU is
played by the processor where there is no GPU. Needs Chromium, Python's playwright, the packages of
``studio/`` for axe-core (``make studio``), and npm for Lighthouse; what is missing is left out, and
said.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._parts import parser, told
from pxvm import Model
from pxvm.learning import Draft, Network
from pxvm.models.download import here
from pxvm.studio.built import FOLDER, page
from tests.conformance.make import HERE
from tests.conformance.test_conformance import GOLDEN
from tests.studio.conftest import FLAGS, WEBGPU, chromium, with_rooms
from tests.studio.page_views import show
from tests.studio.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
AXE = ROOT / "studio/node_modules/axe-core/axe.min.js"
LIGHTHOUSE = "lighthouse@12"
ASKED = "What is a pixel?"
TOKENS = 32
SECONDS = 3.0  # of zooming, of scrolling
RECORDS, RECORD_ROWS = 20_000, 56  # of the large memory: more than a million rows

RUN = """async ([room, cases]) => {
    const found = [];
    for (const [name, file, maxSteps] of cases) {
        const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
        const opened = await rooms.machine.open(name, bytes);
        if (!opened.program) { found.push("refused"); continue; }
        let session;
        try {
            session = room === "gpu" ? await rooms.gpu.startGpu(opened)
                                     : await rooms.machine.start(opened);
            await session.run(maxSteps === null ? {} : { maxSteps });
            found.push(await session.sha256());
        } catch (error) {
            found.push(error.message);
        } finally {
            await session?.close();
        }
    }
    return found;
}"""
TALK = """async ([room, asked, maxTokens]) => {
    const file = await document.querySelector("#model").files[0].arrayBuffer();
    const opened = await rooms.machine.open("smollm2.pxi", new Uint8Array(file));
    const session = room === "gpu" ? await rooms.gpu.startGpu(opened)
                                   : await rooms.machine.start(opened);
    const chat = await rooms.machine.chat(session);
    await session.close();
    const times = [];
    const told = () => times.push(performance.now());
    const messages = [{ role: "user", content: asked }];
    const { text } = await chat.answer(messages, { maxTokens }, told, new AbortController().signal);
    await chat.session.close();
    return { text, rate: (times.length - 1) / (times.at(-1) - times[0]) * 1000 };
}"""
FRAMES = """(milliseconds) => new Promise((resolve) => {
    const times = [];
    const began = performance.now();
    const next = (now) => {
        times.push(now);
        if (now - began < milliseconds) requestAnimationFrame(next);
        else resolve((times.length - 1) / (times.at(-1) - times[0]) * 1000);
    };
    requestAnimationFrame(next);
})"""
SEEN = """() => document.querySelector("main canvas") && !document.querySelector("progress")"""
DRAWN = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"

Row = tuple[str, str, str]


@contextmanager
def browser(*more: str) -> Iterator[Browser]:
    """The machine's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = chromium()
        found = driver.chromium.launch(executable_path=path, args=[*FLAGS, *more])
        yield found
        found.close()


def conformance(site: str) -> Iterator[Row]:
    """Programs of the suite that give the recorded bytes."""
    cases = [
        [name, base64.b64encode((HERE / name).read_bytes()).decode(), golden["max_steps"]]
        for name, golden in GOLDEN.items()
    ]
    for room, what, flags in (("machine", "WebAssembly", ()), ("gpu", "WebGPU", WEBGPU)):
        with browser(*flags) as chrome:
            tab = chrome.new_page()
            with_rooms(tab, site)
            found = tab.evaluate(RUN, [room, cases])
        right = sum(
            said == golden["sha256"] or (golden.get("refused") == "program" and said == "refused")
            for said, golden in zip(found, GOLDEN.values(), strict=True)
        )
        yield f"conformance programs, {what}: same SHA-256", f"{right} of {len(GOLDEN)}", "all"


def size() -> Iterator[Row]:
    """Script of the page."""
    files = page()
    names = [name for name in files if name.endswith((".js", ".css", ".wasm"))]
    whole = sum(len(gzip.compress(files[name], 9)) for name in names)
    text = files["index.html"].decode()
    first = sum(len(gzip.compress(files[name], 9)) for name in names if name in text)
    yield "script, shaders and WebAssembly, compressed", f"{whole / 1e3:.0f} kB", "<= 350 kB"
    yield "of these before the first view", f"{first / 1e3:.0f} kB", ""


def opened(tab: Page, path: Path) -> float:
    """Seconds from a file's choosing to the first view of its picture."""
    begin = time.perf_counter()
    tab.set_input_files("#files", path)
    tab.locator("header li").first.wait_for(timeout=120_000)
    if not tab.locator("main canvas").count():  # a model is talked to first
        show(tab, "Picture")
    tab.wait_for_function(SEEN, timeout=120_000, polling="raf")
    tab.evaluate(DRAWN)
    return time.perf_counter() - begin


def views(site: str, model: Path | None, memory: Path) -> Iterator[Row]:
    """First views, and frames while zooming and scrolling."""
    small = FOLDER / "samples/matmul_test.pxi"
    with browser() as chrome:
        for what, path, aim in (("a 16 x 16 program", small, "<= 0.5 s"),
                                ("SmolLM2's picture", model, "<= 3 s")):  # fmt: skip
            if path is None:
                yield f"first view of {what}", "not here", aim
                continue
            tab = chrome.new_page(viewport={"width": 1280, "height": 800})
            tab.goto(site)
            tab.wait_for_selector("#files", state="attached")
            yield f"first view of {what}", f"{opened(tab, path):.2f} s", aim
            if path is model:
                rate = frames(tab, "main .well", zoom=True)
                yield "zooming a picture of 34 million pixels", f"{rate:.0f} frames/s", ">= 50"
            tab.close()
        tab = chrome.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(site)
        tab.wait_for_selector("#files", state="attached")
        begin = time.perf_counter()
        tab.set_input_files("#files", memory)
        tab.wait_for_selector("main .scroller", timeout=120_000)
        yield "first view of a memory of a million rows", f"{time.perf_counter() - begin:.2f} s", ""
        rate = frames(tab, "main .scroller", zoom=False)
        yield "scrolling it", f"{rate:.0f} frames/s", ">= 50"
        rate = frames(chrome.new_page(), "body", zoom=False)
        yield "an empty page beside them", f"{rate:.0f} frames/s", ""


def frames(tab: Page, selector: str, *, zoom: bool) -> float:
    """Frames a second while the wheel turns over an element."""
    box = tab.locator(selector).first.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.evaluate(f"window.rate = ({FRAMES})({SECONDS * 1000}); void 0")
    until, turn = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < until:
        turn += 1
        tab.mouse.wheel(0, (-120 if turn // 24 % 2 == 0 else 120) if zoom else 700)
        time.sleep(1 / 60)
    return float(tab.evaluate("window.rate"))


def talking(site: str, model: Path | None) -> Iterator[Row]:
    """Tokens a second, and whether the words are the same."""
    if model is None:
        yield "tokens a second of SmolLM2", "not here", ""
        return
    rates: dict[str, float] = {}
    texts: dict[str, str] = {}
    for device, count in (("cpu", TOKENS), ("reference", 6)):
        with Model.open(model, device) as found:
            times, pieces = [], []
            for piece in found.chat([{"role": "user", "content": ASKED}], stream=True,
                                    max_tokens=count):  # fmt: skip
                pieces.append(piece)
                times.append(time.perf_counter())
        rates[device] = (len(times) - 1) / (times[-1] - times[0])
        texts[device] = "".join(pieces)
    for room, flags in (("machine", ()), ("gpu", WEBGPU)):
        with browser(*flags) as chrome:
            tab = chrome.new_page()
            tab.set_default_timeout(1_800_000)
            with_rooms(tab, site)
            tab.evaluate("document.body.innerHTML = '<input type=file id=model>'")
            tab.set_input_files("#model", model)
            told = tab.evaluate(TALK, [room, ASKED, TOKENS])
            rates[room], texts[room] = told["rate"], told["text"]
    same = [room for room in ("machine", "gpu") if texts[room] == texts["cpu"]]
    yield f"{TOKENS} greedy tokens of SmolLM2, the same as on the CPU", " and ".join(same), "both"
    ratio = rates["machine"] / rates["reference"]
    for device, what, aim in (
        ("machine", f"WebAssembly ({ratio:.1f} x the reference)", ">= 5 x the reference"),
        ("gpu", "WebGPU, played by the processor", ""), ("cpu", "compiled executor", ""),
        ("reference", "reference executor", ""),
    ):  # fmt: skip
        yield f"tokens a second, {what}", f"{rates[device]:.2f}", aim


def faults(site: str) -> Iterator[Row]:
    """Accessibility faults that axe-core finds in every view of the samples."""
    if not AXE.exists():
        yield "axe-core faults", "axe-core is not here", "0"
        return
    found: list[str] = []
    looked = 0
    with browser() as chrome:
        for scheme in ("light", "dark"):
            context = chrome.new_context(bypass_csp=True, color_scheme=scheme)  # type: ignore[arg-type]
            tab = context.new_page()
            for sample in ("", "matmul_test.pxi", "network.pxi", "knowledge.png"):
                tab.goto(site)
                tab.wait_for_selector("#files", state="attached")
                if sample:
                    tab.set_input_files("#files", FOLDER / "samples" / sample)
                    tab.wait_for_selector("main [role=tab], main canvas, main .scroller")
                tab.add_script_tag(path=AXE)
                tabs = tab.locator("main nav button, main [role=tab]")
                for number in range(max(1, tabs.count())):
                    if tabs.count():
                        tabs.nth(number).click()
                        tab.wait_for_timeout(300)
                    said = tab.evaluate("async () => (await axe.run()).violations")
                    found += [f"{sample or 'home'}: {fault['id']}" for fault in said]
                    looked += 1
            context.close()
    shown = f"{len(found)} in {looked} views" + (
        f": {', '.join(sorted(set(found)))}" if found else ""
    )
    yield "accessibility faults (axe-core)", shown, "0"


def kept(site: str) -> Iterator[Row]:
    """Memory that stays after files were opened and closed."""
    names = ("matmul_test.pxi", "network.pxi", "dot_test.pxi", "knowledge.png")
    with browser("--js-flags=--expose-gc", "--enable-precise-memory-info") as chrome:
        tab = chrome.new_page()
        tab.goto(site)
        tab.wait_for_selector("#files", state="attached")

        def one(name: str) -> None:
            tab.set_input_files("#files", FOLDER / "samples" / name)
            close = tab.locator("header li button.icon")
            close.first.wait_for()
            tab.wait_for_timeout(200)
            close.first.click()
            close.first.wait_for(state="detached")

        def used() -> float:
            tab.evaluate("async () => { for (let i = 0; i < 3; i++) { gc();"
                         " await new Promise((r) => setTimeout(r, 300)); } }")  # fmt: skip
            return float(tab.evaluate("performance.memory.usedJSHeapSize"))

        for name in (*names, *names):  # what is loaded, and what is compiled, once
            one(name)
        before = used()
        for number in range(20):
            one(names[number % len(names)])
        workers = len(tab.workers)
        grown = used() / before - 1
    yield "memory after opening and closing 20 files", f"{grown:+.1%}, {workers} workers", "+10%"


def lighthouse(site: str) -> Iterator[Row]:
    """Lighthouse's marks."""
    path = chromium()
    if shutil.which("npx") is None or path is None:
        yield "Lighthouse", "npx is not here", ""
        return
    command = [
        "npx", "--yes", LIGHTHOUSE, site, "--quiet", "--output=json",
        "--only-categories=accessibility,best-practices",
        f"--chrome-flags=--headless=new {' '.join(FLAGS)}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600,
                              env={**os.environ, "CHROME_PATH": path}, cwd=folder)  # fmt: skip
    try:
        marks = json.loads(done.stdout)["categories"]
    except (ValueError, KeyError):
        yield "Lighthouse", f"did not run: {done.stderr.strip()[-80:]}", ""
        return
    for name in ("accessibility", "best-practices"):
        yield f"Lighthouse, {name}", f"{100 * marks[name]['score']:.0f}", ">= 95"


def large_memory(path: Path) -> Path:
    """A memory of more than a million rows."""
    rows = np.random.default_rng(0).integers(0, 256, (RECORD_ROWS - 4, 128), np.uint8)
    rows &= np.uint8(0x18)  # so that it deflates as text does
    began = datetime(2024, 1, 1, tzinfo=timezone.utc)
    with Network.open(path, draw=lambda record: rows, page_rows=10**9) as network:
        network.append_many(
            Draft(f"question {n}", f"answer {n} about oak and {n % 97} " * 8,
                  event_time=began + timedelta(minutes=n))
            for n in range(RECORDS)
        )  # fmt: skip
    return path


#: What is measured, of a site and a folder to work in.
PARTS: dict[str, Callable[[str, Path], Iterator[Row]]] = {
    "size": lambda site, folder: size(),
    "conformance": lambda site, folder: conformance(site),
    "views": lambda site, folder: views(site, here("smollm2"), large_memory(folder / "large.png")),
    "faults": lambda site, folder: faults(site),
    "kept": lambda site, folder: kept(site),
    "lighthouse": lambda site, folder: lighthouse(site),
    "talking": lambda site, folder: talking(site, here("smollm2")),
}


def main(words: Sequence[str] = ()) -> None:
    """Measure the parts named, or everything, and print it."""
    table = Table("measure", "measured", "aim")
    with tempfile.TemporaryDirectory() as folder, serving(FOLDER) as site:
        for name in told(words, PARTS, parser(__doc__)).parts:
            for row in PARTS[name](site, Path(folder)):
                print(*row, sep=" | ", flush=True)
                table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
