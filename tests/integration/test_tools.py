"""The tools of a memory, called by the official client of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from filelock import FileLock

from pxvm import Network
from pxvm.integration import NetworkOrchestrator
from pxvm.integration.memory import Memory
from pxvm.learning import Draft
from pxvm.learning.search import building
from pxvm.learning.search.cache import LOCK, cache_folder

mcp = pytest.importorskip("mcp", reason="needs the extra mcp")
from pxvm.integration.tools import server  # noqa: E402


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


def test_arguments_are_taken_as_models_write_them(tmp_path, monkeypatch):
    """Numbers for texts, a text for a list, null for what is left out; nothing empty is stored."""
    path = tmp_path / "k.png"

    monkeypatch.setattr("pxvm.integration.memory.Embedder.present", lambda: None)

    async def work(memory):
        async with mcp.Client(server(memory)) as client:
            await calls(client.call_tool)

    async def calls(call):
        for tags in (None, "boats, keels", ["two  words ", ""]):
            text_of(await call("append", {"text": f"of {tags}", "question": None, "tags": tags}))
        text_of(await call("correct", {"record": 1, "text": "elm"}))
        text_of(await call("correct", {"record": "recalled 2", "text": "oak"}))
        assert (await call("correct", {"record": "#3", "text": " "})).is_error
        assert (await call("append", {"text": ""})).is_error
        assert (await call("forget", {"record": True})).is_error  # which is no number 1
        text_of(await call("search", {"question": "keels", "max_tokens": None}))
        text_of(await call("forget", {"record": "#3"}))

    with closing(Memory(path)) as memory:
        asyncio.run(work(memory))
    with Network.open(path, read_only=True) as network:
        assert [record.answer for record in network.records()] == ["elm", "oak"]
        assert [network.record(n).tags for n in (1, 2, 3)] == [
            (), ("boats", "keels"), ("two words",),
        ]  # fmt: skip


def test_what_is_not_indexed_yet_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("pxvm.integration.memory.Embedder.present", lambda: None)
    monkeypatch.setattr(building, "RECENT", 2)
    monkeypatch.setattr(building, "PATIENCE", 0.0)
    path, found = tmp_path / "k.png", []

    async def work(memory):
        async with mcp.Client(server(memory)) as client:
            for question in ("the keel of the Molly", "who won in 1912"):
                found.append(text_of(await client.call_tool("search", {"question": question})))

    with closing(Memory(path)) as memory, closing(NetworkOrchestrator([path])) as many:
        memory.network.append_many(Draft("", f"The keel of the Molly, fact {n}.") for n in range(6))
        cache_folder(path).mkdir()
        with FileLock(cache_folder(path) / LOCK):  # so that it takes long
            asyncio.run(work(memory))
            assert many.evidence("the keel of the Molly", (), 500, 9, len).unsearched == 5
        building.finish(memory.network)
        building.finish(many.members[0].network)
    assert "fact 5" in found[0] and "fact 1" not in found[0]
    assert all("(5 older records are still being indexed" in text for text in found)


def test_halves_of_characters_are_marks_and_the_asker_is_answered(tmp_path):
    """Clients in JavaScript send what is left of a character that they have cut."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {},
             "clientInfo": {"name": "x", "version": "1"}}  # fmt: skip
    keep = {"name": "append", "arguments": {"text": "a \ud83d", "tags": ["b\udfff", "\\ud83d"]}}
    asked = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": keep},
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **each}) + "\n" for each in asked)
    words = [sys.executable, "-m", "pxvm", "mcp", "-n", str(tmp_path / "k.png")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(lines.encode())
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 2:
            pass
        process.stdin.close()
        assert process.wait(20) == 0
    with Network.open(tmp_path / "k.png", read_only=True) as network:
        (record,) = network.records()
        assert (record.answer, record.tags) == ("a \ufffd", ("\\ud83d", "b\ufffd"))


@pytest.mark.parametrize("end", [signal.SIGTERM, None])
def test_it_ends_when_it_is_told_to_and_when_nobody_listens(end, tmp_path):
    """Though standard input stays open, on which a thread waits."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {},
             "clientInfo": {"name": "x", "version": "1"}}  # fmt: skip
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    process = subprocess.Popen(
        [sys.executable, "-m", "pxvm", "mcp", "-n", str(tmp_path / "k.png")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        process.stdin.write(b"no JSON\n" + json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        if end is None:
            process.stdout.close()
            process.stdin.write(json.dumps({**asked, "id": 2}).encode() + b"\n")
            process.stdin.close()
        else:
            process.send_signal(end)
        assert process.wait(20) == (0 if end is None else 128 + end)
        assert b"Traceback" not in process.stderr.read()


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


def test_who_forgets_is_told_of_a_copy(tmp_path):
    path = tmp_path / "k.png"
    said = "The keel of the Molly is made of oak, as the shipwright says in his letter."
    with Network.open(path) as network:
        for name in ("a.md", "b.md"):
            network.append_many([Draft(name, said, (), "document", source=name)])

    async def work(client):
        call = client.call_tool
        told = text_of(await call("forget", {"record": "1"}))
        assert told.endswith("These say the same, and still count: 2.")
        assert "say the same" not in text_of(await call("forget", {"record": "2"}))

    session(work, path)
