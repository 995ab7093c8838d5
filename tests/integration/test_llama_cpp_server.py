"""A stranger's server, llama.cpp's, in LM Studio's place: at localhost:1234, with a small model."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from pxvm import Network
from pxvm.integration.connecting import connect
from pxvm.integration.conversation import Conversation
from pxvm.integration.lm_studio_bridge import LMStudioPixelBridge
from pxvm.integration.memory import Memory
from tests.integration.servers import ASK, ROOT, asked, raw, serving
from tests.models.tiny_models import CHATML, LLAMA, SPECIAL, add_vocabulary, bytes_bpe

openai = pytest.importorskip("openai", reason="needs the extra bridge")
pytest.importorskip("uvicorn", reason="needs the extra server")
pytest.importorskip("llama_cpp.server.app", reason="needs llama-cpp-python[server]")
pytest.importorskip("gguf", reason="needs gguf")

CONTEXT = 512
QUESTION = "What is the keel of the Molly made of?"


def write_model(path):
    """Random weights; tokens that are parts of characters are unlikely, for llama.cpp's server
    takes longer for each of them than for the one before."""
    from tests.models.model_files import gguf_llama, llama_weights

    def vocabulary(writer):
        add_vocabulary(writer, bytes_bpe(), "gpt-2")
        writer.add_chat_template(CHATML)
        writer.add_bos_token_id(SPECIAL.index("<|endoftext|>"))

    tokens = json.loads(bytes_bpe())["model"]["vocab"]
    config = replace(LLAMA, vocab=len(tokens), context=CONTEXT)
    weights = llama_weights(config)
    for token, number in tokens.items():
        if not token.replace("Ġ", "").isascii():
            weights["embedding"][number] = 0
    return gguf_llama(path, config, weights, vocabulary=vocabulary)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The server; where the port is taken, by LM Studio itself perhaps, nothing is tested."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 1234))
        except OSError:
            pytest.skip("localhost:1234 is in use")
    folder = tmp_path_factory.mktemp("llama")
    model = write_model(folder / "tiny.gguf")
    words = ["--model", str(model), "--host", "127.0.0.1", "--port", "1234"]
    words += ["--n_ctx", str(CONTEXT), "--n_threads", "1", "--n_threads_batch", "1"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *words], stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", 1234), 1).close()
                    break
                except OSError:
                    log.seek(0)
                    assert process.poll() is None and time.monotonic() < end, log.read()
                    time.sleep(0.1)
            with openai.OpenAI(base_url="http://localhost:1234/v1", api_key="none") as client:
                yield partial(client.chat.completions.create, model="any", max_tokens=12)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A home without models, in which the embedded one cannot stand in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), *sys.path])))
    return tmp_path


def run(folder, *words, said=None):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, input=said, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_loaded_model_is_found_and_asked_with_what_is_known(studio, bare):
    with LMStudioPixelBridge(bare / "knowledge.png") as bridge:
        assert bridge.backend.name == "lm-studio"
        assert bridge.backend.model.endswith("tiny.gguf")
        told = bridge.append_interaction("", "The keel of the Molly is made of oak.")
        evidence = bridge.read_pixel_context(QUESTION)
        assert "made of oak" in evidence
        answer = bridge.ask_lm_studio(QUESTION, temperature=0, max_tokens=12)
        sent = bridge.conversation._messages(QUESTION, [])
        assert evidence in sent[0]["content"]
        assert answer == studio(messages=sent, temperature=0).choices[0].message.content
        stored = bridge.append_interaction(QUESTION, answer)
        record = bridge.memory.network.record(stored)
        assert [link.id for link in record.links] == [told]
        assert (record.source, record.answer) == ("lm-studio", answer.strip())


def test_the_commands_of_the_guide(studio, bare):
    done = run(bare, "-m", "pxvm", "ask", QUESTION, "--max-tokens", 16)
    assert done.stdout.strip() and "embedded" not in done.stderr
    bridge = ROOT / "pxvm" / "integration" / "lm_studio_bridge.py"
    done = run(bare, bridge, "--demo", "--network", "demo.png")
    assert re.search(r"\brows?\b", done.stdout)
    done = run(bare, bridge, "--interactive", said=f"/teach A marble is blue.\n{QUESTION}\n")
    with Network.open(bare / "knowledge.png", read_only=True) as network:
        kinds = [(record.kind, record.query) for record in network.records()]
    assert kinds == [("interaction", QUESTION), ("note", ""), ("interaction", QUESTION)]


def test_a_question_that_is_too_long_is_said_to_be(studio, bare):
    """And evidence that is too long together with it is shortened until it fits."""
    with closing(Memory(bare / "long.png")) as memory, closing(connect("lm-studio")) as backend:
        for number in range(8):
            memory.network.append("", f"The keel of the Molly, part {number}: " + "oak " * 60)
        backend.context = 4 * CONTEXT  # as one believes who cannot know
        talk = Conversation(backend, memory)
        assert talk.ask(QUESTION, max_tokens=8)
        assert len(talk.seen.hits) < 8
        with pytest.raises(Exception, match="context"):
            talk.ask("oak " * 3000, use_context=False)
        talk.settle()
        assert [record.query for record in memory.network.records()][8:] == [QUESTION]


def test_a_server_with_a_memory_before_it(studio, bare):
    with Network.open(bare / "front.png") as network:
        network.append("", "The keel of the Molly is made of oak.", kind="note")
    with (
        serving("--backend", "lm-studio", "-n", bare / "front.png") as front,
        openai.OpenAI(base_url=front.url, api_key="none", max_retries=0) as client,
    ):
        wanted = studio(messages=ASK, temperature=0).choices[0]
        whole = asked(client, temperature=0).choices[0]
        assert whole.message.content == wanted.message.content
        assert whole.finish_reason == wanted.finish_reason
        pieces = asked(client, temperature=0, stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in pieces if c.choices)
        assert text == wanted.message.content
        status, _, names = raw(front, "/v1/models")
        assert status == 200 and "tiny.gguf" in names
        question = [{"role": "user", "content": QUESTION}]
        answer = asked(client, question, memory="front").model_dump()["pxvm"]
        assert answer["records"] == [1] and answer["stored"]
