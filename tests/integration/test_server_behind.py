"""The server before another one: the memory between them, and what goes on as it came."""

from __future__ import annotations

import json
import time
import urllib.request
from types import SimpleNamespace

import pytest

from pxvm import Network
from pxvm.integration.server.remembering import Memories
from pxvm.integration.server.wanted import chat
from tests.integration.servers import (
    ASK,
    PIECES,
    asked,
    cache_with_an_embedder,
    chunk,
    misbehaving,
    raw,
    serving,
)

openai = pytest.importorskip("openai", reason="needs the extra bridge")
pytest.importorskip("uvicorn", reason="needs the extra server")

WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("behind")
    cache_with_an_embedder(folder / "cache")
    return folder


@pytest.fixture
def behind(proxy):
    """The server behind, which answers well until a test says otherwise."""
    behind = proxy.behind
    behind.fault = "good"
    return behind


@pytest.fixture(scope="module")
def proxy(home):
    """A server with a memory before another one, and a client of it."""
    networks = [home / "proxy.png", home / "parts.png"]
    for path in networks:
        with Network.open(path) as opened:
            opened.append("", "The keel of the Molly is made of oak.", kind="note")
    words = [word for path in networks for word in ("-n", path)]
    nowhere = "http://127.0.0.1:9"  # a proxy that a server on this machine is not asked through
    with misbehaving(["good"]) as behind:
        url = behind.url.removesuffix("/v1")
        with (
            serving("--backend", url, *words, cache=home / "cache", HTTP_PROXY=nowhere) as found,
            openai.OpenAI(base_url=found.url, api_key="none", max_retries=0) as client,
        ):
            found.behind, found.client, (found.network, found.other) = behind, client, networks
            yield found


def test_a_memory_before_another_server(proxy, behind):
    """What fails behind is said, and nothing of it is learned."""
    question = [{"role": "user", "content": "What is the keel of the Molly made of?"}]
    ask = proxy.client.chat.completions.create
    answer = ask(model="any", messages=question, temperature=0.5)
    assert answer.choices[0].message.content == "".join(PIECES)
    sent = behind.asked[-1]
    assert sent["temperature"] == 0.5 and sent["model"] == "good"
    assert "made of oak" in sent["messages"][0]["content"]
    assert sent["messages"][0]["content"].endswith(question[0]["content"])
    behind.fault = "cut"
    with pytest.raises(openai.InternalServerError, match="cut in the middle"):
        ask(model="any", messages=question)
    with pytest.raises(openai.APIError, match="cut in the middle"):
        list(ask(model="any", messages=question, stream=True))
    with Network.open(proxy.network, read_only=True) as opened:
        stored = opened.record(answer.model_dump()["pxvm"]["stored"])
        assert stored.query == question[0]["content"] and len(opened) == 2


def test_a_request_goes_on_to_the_server_behind_as_it_came(proxy, behind):
    """With parts, fields and roles that this server does not know; evidence stands before them."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    question = {"type": "text", "text": "What is the keel of the Molly made of?"}
    called = {"role": "function", "name": "f", "content": "1"}
    fields = {"min_p": 0.1, "frequency_penalty": 0.5, "chat_template_kwargs": {"thinking": False}}
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]}

    def ask(network, **more):
        body = {"messages": [called, {"role": "user", "content": [question, picture]}], **more}
        data = json.dumps(body).encode()
        status, _, text = raw(proxy, "/v1/chat/completions", data, **{"X-PXVM-Network": network})
        return status, json.loads(text)

    behind.fault = "script"
    behind.script = b"data: " + json.dumps(thought).encode() + b"\n\n" + chunk("oak", "stop")
    status, answer = ask("parts", **fields)
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("oak", "Hm.")
    sent = behind.asked[-1]
    assert {name: sent[name] for name in fields} == fields and sent["messages"][0] == called
    evidence, *rest = sent["messages"][1]["content"]
    assert "made of oak" in evidence["text"] and rest == [question, picture]
    behind.script = (400, {"error": "no such sampler"})
    status, answer = ask("no-memory")
    assert status == 502 and "no such sampler" in answer["error"]["message"]
    with Network.open(proxy.other, read_only=True) as opened:
        assert [record.answer for record in opened.records()][1:] == ["oak"]


def test_who_hangs_up_before_the_first_word_is_noticed_behind_as_well(proxy, behind):
    behind.fault = "silent"
    body = json.dumps({"messages": ASK, "network": "no-memory"}).encode()
    request = urllib.request.Request(
        f"{proxy.url}/chat/completions", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=0.3)
    end = time.monotonic() + 10
    while not behind.hung_up:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_functions_and_scores_of_a_server_behind(proxy, behind):
    behind.fault = "calls"
    options = {"tools": [WEATHER], "logprobs": True, "messages": ASK}
    whole = asked(proxy.client, **options).choices[0]
    call = whole.message.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "weather", "{}")
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    assert [score.logprob for score in whole.logprobs.content] == [-0.5]
    chunks = asked(proxy.client, stream=True, **options)
    deltas = [d for c in chunks for d in c.choices[0].delta.tool_calls or []]
    assert [d.function.arguments for d in deltas] == ["{", "}"]
    assert behind.asked[-1]["tools"] == [WEATHER] and behind.asked[-1]["logprobs"] is True


def test_a_server_that_asks_itself_for_its_models_is_told_so(proxy, behind):
    asked(proxy.client)
    hop = {"X-PXVM-Hop": {k.lower(): v for k, v in behind.fetched[-1].items()}["x-pxvm-hop"]}
    assert raw(proxy, "/v1/models", **hop)[0] == 508


def test_an_answer_that_cannot_be_stored_is_given_all_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pxvm.integration.memory.Embedder.present", lambda: None)
    source = SimpleNamespace(
        name="x", model="m", context=100, passages=1, count=lambda text: len(text.split())
    )
    memories = Memories([tmp_path / "k.png"])
    wanted = chat({"messages": ASK})
    recalled = memories.recall(wanted, None, source)
    resource = pytest.importorskip("resource")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        told = memories.learn(recalled, "A dot.", source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert told["stored"] is None and told["fault"].startswith("not learned: ")
    assert "not learned" in capsys.readouterr().err
    assert memories.recall(wanted, None, source).found.hits == ()  # and nobody else is told
    assert memories.learn(recalled, "A dot.", source)["stored"]
    memories.close()


def test_a_server_that_is_its_own_back_end_under_another_name(proxy, behind):
    behind.fault, behind.target = "forward", proxy.url
    with pytest.raises(openai.InternalServerError, match="is its own back end"):
        asked(proxy.client)
