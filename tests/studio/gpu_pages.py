"""Programs on the page's GPU, for tests: JavaScript that runs them, and what it is given."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import PIL.Image

from pxvm.core.program import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Opens a program on the GPU as ``session``; ``shown`` is what a page would show of it.
START = """async ([name, file]) => {
    await window.session?.close();
    window.session = undefined;
    const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
    window.opened = await rooms.machine.open(name, bytes);
    window.session = await rooms.gpu.startGpu(opened);
    const { picture } = opened;
    window.first = picture.words.slice();
    window.see = async (stop) => {
        for (const rect of stop.changed) {
            const words = await session.words(rect);
            for (let y = 0; y < rect.height; y++) {
                const from = y * rect.width;
                const row = words.subarray(from, from + rect.width);
                picture.words.set(row, (rect.y + y) * picture.width + rect.x);
            }
        }
        return stop;
    };
    window.same = (a, b) => a.length === b.length && a.every((word, i) => word === b[i]);
    return session.executor;
}"""
RUN = """async (maxSteps) => {
    const options = maxSteps === null ? {} : { maxSteps };
    const stop = await see(await session.run(options));
    const { words } = await session.picture();
    return { ...stop, shown: same(words, opened.picture.words), sha256: await session.sha256() };
}"""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def file_of(image: Image) -> str:
    """The picture's file, in base64."""
    stream = io.BytesIO()
    PIL.Image.fromarray(image, "RGBA").save(stream, "png")
    return encoded(stream.getvalue())


def start(page: Page, file: str, name: str = "program.pxi") -> str:
    """Opens a program's file on the GPU; the device's name."""
    return str(page.evaluate(START, [name, file]))


def run(page: Page, max_steps: int | None = None) -> dict[str, Any]:
    """Goes on with the program; where it stands, and its digest."""
    found: dict[str, Any] = page.evaluate(RUN, max_steps)
    return found
