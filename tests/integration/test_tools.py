"""The tools of a memory, called by the official client of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from pxvm import Network

mcp = pytest.importorskip("mcp", reason="needs the extra mcp")


def session(work, path, *words):
    """Do work with a client of ``pxvm mcp`` in a process of its own."""
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "pxvm", "mcp", "-n", str(path), *words],
        env={**os.environ, "XDG_CACHE_HOME": str(path.parent)},  # by words, without an embedder
    )

    async def run():
        async with mcp.Client(command) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(run(), 60))


def text_of(result):
    assert not result.is_error, result
    return result.content[0].text


def test_a_memory_is_searched_and_changed(tmp_path):
    path = tmp_path / "k.png"

    async def work(client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == ["append", "correct", "forget", "search", "stats"]
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert [name for name, hint in sorted(hints.items()) if hint.read_only_hint] == [
            "search", "stats",
        ]  # fmt: skip
        assert [name for name, hint in hints.items() if hint.destructive_hint] == ["forget"]
        assert all(tool.description for tool in tools.values())
        call = client.call_tool
        fact = {"text": "The keel of the Molly is made of oak.", "tags": ["boats"]}
        assert text_of(await call("append", fact)) == "Stored as record 1."
        wanted = {"question": "What is the keel of the Molly made of?"}
        assert "made of oak" in text_of(await call("search", wanted))
        assert "Nothing is known" in text_of(await call("search", {"question": "who won in 1912"}))
        corrected = {"record": "1", "text": "The keel of the Molly is made of elm."}
        assert text_of(await call("correct", corrected)) == "Record 2 takes its place."
        found = text_of(await call("search", wanted))
        assert "elm" in found and "oak" not in found and found.startswith("⟦recalled 2")
        assert json.loads(text_of(await call("stats", {})))["records"] == 1
        missing = await call("forget", {"record": "99"})
        assert missing.is_error and "99" in missing.content[0].text
        assert text_of(await call("forget", {"record": "2"})).startswith("Forgotten: record 2 of")
        assert "Nothing is known" in text_of(await call("search", wanted))

    session(work, path)
    with Network.open(path, read_only=True) as network:
        assert len(network) == 0 and network.record(1).tags == ("boats",)


def test_a_memory_that_is_only_read(tmp_path):
    path = tmp_path / "k.png"
    with Network.open(path) as network:
        network.append("", "The keel of the Molly is made of oak.", kind="note")
    before = path.read_bytes()

    async def work(client):
        tools = (await client.list_tools()).tools
        assert sorted(tool.name for tool in tools) == ["search", "stats"]
        return text_of(await client.call_tool("search", {"question": "keel of the Molly"}))

    assert "oak" in session(work, path, "--read-only")
    assert path.read_bytes() == before
