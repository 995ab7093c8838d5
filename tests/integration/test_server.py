"""The real server process and the real client, with a small random model behind it."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from pxvm import Model, Network
from pxvm.integration.server.metrics import Metrics
from pxvm.integration.server.remembering import Memories
from pxvm.integration.server.wanted import chat
from pxvm.models.options import Options
from tests.integration.servers import (
    PIECES,
    cache_with_an_embedder,
    chunk,
    misbehaving,
    serving,
)
from tests.models.tiny_models import CHATML, write_llama
from tests.terminal.screen import called

openai = pytest.importorskip("openai", reason="needs the extra bridge")
pytest.importorskip("uvicorn", reason="needs the extra server")

ASK = [{"role": "user", "content": "What is a pixel?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 4}},
        "required": ["city"], "additionalProperties": False}  # fmt: skip


#: A template that tells of functions, and of calls and their results.
TOLD = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool.function | tojson }}{% endfor %}</tools>"
    "<tool_call>{% endif %}{% for message in messages if message.tool_calls %}"
    "{{ message.tool_calls[0].function.arguments.city }}{% endfor %}"
)
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    write_llama(folder / "tiny.pxi", context=1024, template=TOLD + CHATML)
    cache_with_an_embedder(folder / "cache")
    return folder


@pytest.fixture(scope="module")
def server(home):
    words = ["-n", home / "one.png", "-n", home / "two.png", "--threads", 1, "--slots", 4]
    words += ["--max-body", 20_000]
    with serving(home / "tiny.pxi", *words, cache=home / "cache") as found:
        yield found


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def alone(home):
    """What a model gives that nobody else is using."""

    def ask(messages, **options):
        with Model.open(home / "tiny.pxi", threads=1) as model:
            return model.chat(messages, **options)

    return ask


def asked(client, messages=ASK, memory="no-memory", **options):
    options.setdefault("max_tokens", 12)
    return client.chat.completions.create(
        model="tiny", messages=messages, extra_headers={"X-PXVM-Network": memory}, **options
    )


def raw(server, path, data=None, **headers):
    """(status, headers, text) of a request as it is."""
    url = server.url.removesuffix("/v1") + path
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_an_answer_is_that_of_the_model_whole_and_in_pieces(client, alone):
    wanted = alone(ASK, max_tokens=12)
    whole = asked(client)
    assert whole.choices[0].message.content == wanted
    assert whole.choices[0].finish_reason == "length" and whole.model == "tiny"
    assert whole.usage.completion_tokens == 12 and whole.usage.total_tokens > 12
    stream = list(asked(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == wanted
    assert [c.choices[0].finish_reason for c in stream if c.choices][-1] == "length"
    assert stream[-1].usage == whole.usage and len({c.id for c in stream}) == 1


def test_many_at_once_get_the_bytes_that_each_gets_alone(client, alone):
    kinds = [
        {"temperature": 0.0},
        {"temperature": 0.9, "seed": 5, "top_p": 0.9},
        {"temperature": 1.2, "seed": 6, "stop": ["s"]},
        {"extra_body": {"repeat_penalty": 1.3}},
    ]
    requests = [
        ([{"role": "user", "content": f"{n} " + "pixel " * n}], kinds[n % 4]) for n in range(12)
    ]

    def one(request):
        messages, options = request
        pieces = asked(client, messages, stream=True, **options)
        return "".join(c.choices[0].delta.content or "" for c in pieces)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(one, requests))
    for (messages, options), text in zip(requests, found, strict=True):
        options = {**options, **options.get("extra_body", {})}
        options.pop("extra_body", None)
        if "repeat_penalty" in options:
            options["penalty"] = options.pop("repeat_penalty")
        assert text == alone(messages, max_tokens=12, **options)


def test_choices_forms_and_stops(client, alone):
    found = asked(client, n=3, temperature=1.0, seed=7)
    wanted = [alone(ASK, max_tokens=12, temperature=1.0, seed=7 + n) for n in range(3)]
    assert [c.message.content for c in found.choices] == wanted and len(set(wanted)) == 3
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    text = asked(client, response_format=form, max_tokens=None).choices[0].message.content
    assert list(json.loads(text)) == ["city"]
    whole = alone(ASK, max_tokens=12)
    stopped = asked(client, stop=whole[5:8]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (
        whole[: whole.index(whole[5:8])],
        "stop",
    )
    parts = [{"role": "user", "content": [{"type": "text", "text": ASK[0]["content"]}]}]
    assert asked(client, parts, max_completion_tokens=12).choices[0].message.content == whole


def test_scores_are_those_of_the_logits(client, home):
    options = {"logprobs": True, "top_logprobs": 3, "temperature": 1.0, "seed": 5}
    whole = asked(client, **options).choices[0].logprobs.content
    chunks = [c.choices[0] for c in asked(client, stream=True, **options)]
    assert [s for c in chunks if c.logprobs for s in c.logprobs.content] == whole
    assert len(whole) == 12
    with Model.open(home / "tiny.pxi", threads=1) as model:
        ids = model.tokenizer.encode(model.tokenizer.render(ASK), special=False)
        drawn = model.generator.answer(ids, Options(temperature=1.0, seed=5))
        drawn = [token for token, _ in zip(drawn, whole, strict=False)]
        real = model.logits([*ids, *drawn])[len(ids) - 1 :].astype(np.float64)
        real -= np.log(np.exp(real).sum(axis=1, keepdims=True))
        for row, token, score in zip(real, drawn, whole, strict=False):
            assert score.token == model.tokenizer.inner.decode([token])
            assert score.logprob == pytest.approx(row[token], abs=1e-3)
            best = sorted(row, reverse=True)[:3]
            assert [s.logprob for s in score.top_logprobs] == pytest.approx(best, abs=1e-3)
            assert score.bytes is None or bytes(score.bytes).decode() == score.token
    found = client.completions.create(model="tiny", prompt="pixel", max_tokens=5, logprobs=2)
    scores = found.choices[0].logprobs
    assert len(scores.tokens) == len(scores.token_logprobs) == 5
    assert all(len(top) <= 2 for top in scores.top_logprobs)


def test_functions_are_called(client):
    tools = {"tools": [CLOCK, WEATHER], "max_tokens": None}
    choice = {"type": "function", "function": {"name": "weather"}}
    for must, names in (("required", ["clock", "weather"]), (choice, ["weather"])):
        found = asked(client, tool_choice=must, **tools).choices[0]
        call = found.message.tool_calls[0]
        assert found.finish_reason == "tool_calls" and found.message.content is None
        assert call.function.name in names and call.id and call.type == "function"
    assert list(json.loads(call.function.arguments)) == ["city"]
    stream = [c.choices[0] for c in asked(client, tool_choice=choice, stream=True, **tools)]
    deltas = [delta for c in stream for delta in c.delta.tool_calls or []]
    assert [delta.function.arguments for delta in deltas] == [call.function.arguments]
    assert stream[-1].finish_reason == "tool_calls"
    result = {"role": "tool", "content": "sunny", "tool_call_id": call.id}
    free = {"tools": [WEATHER], "max_tokens": 12}
    after = asked(client, [*ASK, found.message.to_dict(), result], **free).choices[0]
    assert after.message.tool_calls is None and after.message.content
    assert asked(client, tool_choice="none", **free).choices[0].message.content


def test_completions_and_models(client, home):
    found = client.completions.create(model="tiny", prompt=["pixel", "word"], max_tokens=5)
    with Model.open(home / "tiny.pxi", threads=1) as model:
        wanted = [model.generate(text, max_tokens=5) for text in ("pixel", "word")]
    assert [choice.text for choice in found.choices] == wanted
    pieces = client.completions.create(model="tiny", prompt="pixel", max_tokens=5, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == wanted[0]
    assert [model.id for model in client.models.list()] == ["tiny", "minilm"]
    assert client.models.retrieve("tiny").owned_by == "pxvm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("abacus")


def test_vectors_are_those_of_the_embedder(client, home):
    texts = ["one sentence", "another"]
    path = next((home / "cache/pxvm/models").glob("minilm*"))
    with Model.open(path, threads=1) as model:
        wanted = model.embed(texts)
    for kind in ("float", "base64"):
        found = client.embeddings.create(model="minilm", input=texts, encoding_format=kind)
        rows = [
            np.frombuffer(base64.b64decode(row.embedding), "<f4")
            if isinstance(row.embedding, str)
            else np.array(row.embedding, np.float32)
            for row in found.data
        ]
        assert np.array_equal(np.array(rows), wanted)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
        ({"messages": ASK, "max_tokens": 0}, 400, "max_tokens"),
        ({"messages": ASK, "temperature": "hot"}, 400, "temperature"),
        ({"messages": ASK, "n": 99}, 400, "n"),
        ({"messages": ASK, "stop": 7}, 400, "stop"),
        ({"messages": ASK, "unknown": 7}, 400, "unknown"),
        ({"messages": ASK, "logprobs": 7}, 400, "logprobs"),
        ({"messages": ASK, "top_logprobs": 3}, 400, "top_logprobs"),
        ({"messages": ASK, "logprobs": True, "top_logprobs": 99}, 400, "top_logprobs"),
        ({"messages": ASK, "tool_choice": "required"}, 400, "tool_choice"),
        ({"messages": ASK, "tools": [{"type": "function"}]}, 400, "tools"),
        ({"messages": ASK, "response_format": {"type": "x"}}, 400, "response_format"),
        ({"messages": ASK, "network": "elsewhere"}, 404, "network"),
        ({"messages": ASK, "network": ["one"]}, 404, "network"),
        ({"messages": ASK, "network": {"a": 1}}, 404, "network"),
        (
            {"messages": ASK, "tool_choice": {"type": "function", "function": {"name": []}}},
            400,
            "tool_choice",
        ),
        ({"messages": ASK, "\ud800": 7}, 400, "\ufffd"),
        ({"messages": [{"role": "\ud800", "content": "x"}]}, 400, "messages"),
        ({"messages": ASK, "model": "minilm"}, 400, "model"),
        ({"messages": ASK, "regex": "("}, 400, None),
        ([], 400, None),
        (None, 400, None),
    ],
)
def test_what_is_refused_is_refused_in_a_sentence(body, status, field, server):
    data = b"{" if body is None else json.dumps(body).encode()
    found, _, text = raw(server, "/v1/chat/completions", data)
    error = json.loads(text)["error"]
    assert (found, error["param"]) == (status, field) and error["message"]


def test_too_much_too_long_and_from_elsewhere(server, client):
    large = json.dumps({"messages": [{"role": "user", "content": "x" * 30_000}]}).encode()
    assert raw(server, "/v1/chat/completions", large)[0] == 413
    with pytest.raises(openai.BadRequestError) as caught:
        asked(client, [{"role": "user", "content": "pixel " * 2000}])
    assert caught.value.code == "context_length_exceeded"
    plain = {"Content-Type": "text/plain"}
    assert raw(server, "/v1/chat/completions", b"{}", **plain)[0] == 415
    evil = ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil",
            "::1", "0.0.0.0", "127.0.0.1:80:80", "localhost..")  # fmt: skip
    for host in evil:
        assert raw(server, "/v1/models", Host=host)[0] == 403, host
    for host in ("localhost:9", "LOCALHOST", "localhost.", "[::1]:9", "127.0.0.1:"):
        assert raw(server, "/v1/models", Host=host)[0] == 200, host
    headers = raw(server, "/v1/models", Origin="http://evil.example")[1]
    assert "access-control-allow-origin" not in headers
    for path, status in (("/nothing", 404), ("/v1/models/x%22%20y", 404), ("/v1/completions", 405)):
        found, _, text = raw(server, path)
        assert found == status and json.loads(text)["error"]["type"] == "invalid_request_error"
    counted = raw(server, "/metrics")[2]
    assert (
        'path="other",status="404"' in counted
        and "nothing" not in counted
        and "x" not in [line.partition("/v1/models/")[2][:1] for line in counted.splitlines()]
    )


def test_what_careless_clients_send_is_understood(server, client):
    """No limit as LM Studio writes it, samplers that are off, and halves of characters."""
    wanted = asked(client).choices[0].message.content
    off = {"top_k": 0, "frequency_penalty": 0, "logit_bias": {}, "network": "no-memory"}
    body = {"messages": ASK, "max_tokens": 12, "stop": [], "n": None, **off}
    answer = json.loads(raw(server, "/v1/chat/completions", json.dumps(body).encode())[2])
    assert answer["choices"][0]["message"]["content"] == wanted
    body |= {"max_tokens": -1, "top_k": -1, "regex": "(pixel ){3}"}
    answer = json.loads(raw(server, "/v1/chat/completions", json.dumps(body).encode())[2])
    assert answer["choices"][0]["message"]["content"] == "pixel pixel pixel "
    for text in ("a\ud800b", "\udfff"):
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 2, "network": "one"}
        assert raw(server, "/v1/chat/completions", json.dumps(body).encode())[0] == 200
    vectors = {"input": "one", "dimensions": 5}
    assert raw(server, "/v1/embeddings", json.dumps(vectors).encode())[0] == 400


def test_counters_are_exact():
    metrics = Metrics()
    metrics.add("pxvm_answer_tokens_total", 123_456_789)
    assert "pxvm_answer_tokens_total 123456789\n" in metrics.text()


def test_pages(server):
    described = json.loads(raw(server, "/openapi.json")[2])
    assert "/v1/chat/completions" in described["paths"]
    assert "openapi.json" in raw(server, "/docs")[2]
    assert json.loads(raw(server, "/healthz")[2]) == {"status": "ok"}
    assert 'pxvm_requests_total{path="/healthz",status="200"}' in raw(server, "/metrics")[2]


def test_who_hangs_up_is_not_answered_any_further(server, client):
    stream = asked(client, stream=True, max_tokens=None)
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 20
    while "pxvm_answers_under_way 0\n" not in raw(server, "/metrics")[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_assistant_remembers_and_a_header_says_what(server, client, home):
    told = [{"role": "user", "content": "The shed of the harbour has the code 4711."}]
    first = asked(client, told, memory="one").model_dump()["pxvm"]
    assert first["records"] == [] and first["stored"]
    question = [{"role": "user", "content": "What code has the shed of the harbour?"}]
    again = asked(client, question, memory="one")
    with Network.open(home / "one.png", read_only=True) as network:
        number = network.record(first["stored"]).sequence
    assert again.model_dump()["pxvm"]["records"] == [number]
    last = list(asked(client, question, memory="one", stream=True))[-1].model_dump()["pxvm"]
    assert number in last["records"] and last["stored"]
    assert asked(client, question, memory="two").model_dump()["pxvm"]["records"] == []
    assert "pxvm" not in asked(client, question, memory="no-memory").model_dump()
    with Network.open(home / "one.png", read_only=True) as network:
        record = network.record(first["stored"])
        assert (record.query, record.model) == (told[0]["content"], "tiny")
        stored = network.record(last["stored"])
        assert first["stored"] in {link.id for link in stored.links}
        assert stored.query == question[0]["content"] and "recalled" not in stored.query


def test_a_server_that_is_killed_has_lost_nothing_that_it_acknowledged(home):
    network = home / "killed.png"
    acknowledged = []
    words = [home / "tiny.pxi", "-n", network, "--threads", 1]
    with (
        serving(*words, cache=home / "cache") as found,
        openai.OpenAI(base_url=found.url, api_key="none", max_retries=0) as client,
    ):

        def ask(number):
            with pytest.raises(openai.APIError):
                for turn in range(1000):
                    said = [{"role": "user", "content": f"fact {number} {turn}"}]
                    answer = asked(client, said, "killed", max_tokens=2)
                    acknowledged.append(answer.model_dump()["pxvm"]["stored"])

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 12:
            time.sleep(0.01)
        found.process.kill()
        for thread in threads:
            thread.join()
    with Network.open(network) as opened:
        assert opened.verify().problems == []
        assert set(acknowledged) <= opened.live_ids()


def test_a_key_a_full_queue_and_a_limit_of_time(home):
    words = [home / "tiny.pxi", "--slots", 1, "--queue", 0, "--timeout", 1.5, "--threads", 1]
    with serving(*words, cache=home / "cache", PXVM_SERVER_KEY="secret") as found:
        assert raw(found, "/v1/models")[0] == 401
        assert raw(found, "/v1/models", Authorization="Bearer wrong")[0] == 401
        assert raw(found, "/v1/models", Authorization="Bearer secret")[0] == 200
        assert raw(found, "/healthz")[0] == 200
        with openai.OpenAI(base_url=found.url, api_key="secret", max_retries=0) as client:
            slow = {"max_tokens": None, "extra_body": {"regex": "(pixel ){500}"}}
            stream = iter(asked(client, stream=True, **slow))
            next(stream)
            with pytest.raises(openai.RateLimitError) as caught:
                asked(client)
            assert int(caught.value.response.headers["Retry-After"]) > 0
            stream.close()
            end = time.monotonic() + 20
            while True:
                try:
                    asked(client, max_tokens=1)
                    break
                except openai.RateLimitError:
                    assert time.monotonic() < end
                    time.sleep(0.05)


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


def test_a_server_that_is_its_own_back_end_under_another_name(home):
    with (
        misbehaving(["forward"]) as behind,
        serving("--backend", behind.url, cache=home / "cache") as found,
        openai.OpenAI(base_url=found.url, api_key="none", max_retries=0) as client,
    ):
        behind.target = found.url
        with pytest.raises(openai.InternalServerError, match="is its own back end"):
            client.chat.completions.create(model="any", messages=ASK)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "set a key in PXVM_SERVER_KEY"),
        (["--backend", "http://localhost:1235/v1"], "is this very server"),
        (["--backend", "pxvm"], "is this very server"),
        (["--backend", "nowhere"], "or an address"),
        (["--backend", "http://localhost:99999"], "no address of a server"),
        (["--backend", "localhost:1235"], "is this very server"),
        (["--host", "0.0.0.0", "--api-key", "  "], "set a key in PXVM_SERVER_KEY"),
        (["--api-key", "schlüssel"], "characters that no key can have"),
        (["missing.pxi"], "No such file"),
    ],
)
def test_settings_that_are_unsafe_or_do_not_fit(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PXVM_SERVER_KEY", raising=False)
    status, shown = called(["serve", *words], columns=200)
    assert status == 2 and said.lower() in shown.decode().lower()
