"""The page's machine, for tests: calls into one worker of it, and what they are given."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from pxvm.core.program import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: One worker for many calls, as the machine's own: `machine(method, ...)`.
BIND = """async () => {
    const Real = Worker;
    let made;
    window.Worker = function (url, options) { made = url; return new Real(url, options); };
    const words = new Uint32Array(1);
    await rooms.machine.encode({ width: 1, height: 1, words, texts: new Map() });
    window.Worker = Real;
    const worker = new Real(made, { type: "module" });
    const waiting = new Map();
    let next = 0;
    worker.onmessage = ({ data }) => {
        if (!("id" in data)) return;
        const { resolve, reject } = waiting.get(data.id);
        waiting.delete(data.id);
        "error" in data ? reject(new Error(data.error)) : resolve(data.value);
    };
    window.machine = (method, ...args) => new Promise((resolve, reject) => {
        waiting.set(next, { resolve, reject });
        worker.postMessage({ id: next++, method, args });
    });
    window.bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    window.textOf = (bytes) => {
        let text = "";
        for (let at = 0; at < bytes.length; at += 32768) {
            text += String.fromCharCode(...bytes.subarray(at, at + 32768));
        }
        return btoa(text);
    };
}"""
#: Of each (file, most steps): the digest afterwards, what was refused, the last stop.
RUNS = """async (cases) => {
    const found = [];
    for (const [name, file, maxSteps] of cases) {
        const opened = await machine("open", name, bytesOf(file));
        if (!opened.program) {
            found.push({ refused: opened.refused, kind: opened.kind });
            continue;
        }
        const picture = { ...opened.picture, texts: new Map() };
        await machine("start", picture, name);
        const stop = await machine("run", maxSteps === null ? {} : { maxSteps });
        found.push({ ...stop, kind: opened.kind, sha256: await machine("sha256") });
    }
    return found;
}"""
#: Of each file: the digest of its pixels, or the sentence.
READS = """async (files) => {
    const found = [];
    for (const file of files) {
        try {
            const { picture } = await machine("open", "image", bytesOf(file));
            const { width, height, words } = picture;
            const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
            const hash = [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))];
            found.push([width, height, hash.map((b) => b.toString(16).padStart(2, "0")).join("")]);
        } catch (error) {
            found.push(error.message);
        }
    }
    return found;
}"""


def bind(page: Page) -> None:
    page.evaluate(BIND)


def chosen(page: Page, path: Path) -> None:
    """The file is what somebody chose: ``dropped()`` reads its bytes, from disk."""
    page.evaluate("""() => {
        document.body.innerHTML = "<input type=file>";
        const read = () => document.querySelector("input").files[0].arrayBuffer();
        window.dropped = async () => new Uint8Array(await read());
    }""")
    page.set_input_files("input", path)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def file_of(image: Image) -> bytes:
    """The picture's file."""
    stream = io.BytesIO()
    PIL.Image.fromarray(image, "RGBA").save(stream, "png")
    return stream.getvalue()


def runs(page: Page, cases: list[tuple[str, bytes, int | None]]) -> list[dict[str, Any]]:
    """What becomes of programs: (name, file, most steps)."""
    given = [[name, encoded(data), steps] for name, data, steps in cases]
    found: list[dict[str, Any]] = page.evaluate(RUNS, given)
    return found


def reads(page: Page, files: list[bytes]) -> list[Any]:
    """Of each file [width, height, digest of its pixels], or the sentence that refuses it."""
    found: list[Any] = page.evaluate(READS, [encoded(data) for data in files])
    return found
