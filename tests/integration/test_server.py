"""The real server process and the real client, with a small random model behind it."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pxvm import Model, Network
from pxvm.integration.server.metrics import Metrics
from pxvm.integration.server.serving import bound
from pxvm.models.options import Options
from tests.integration.servers import ASK, asked, cache_with_an_embedder, raw, serving
from tests.models.tiny_models import CHATML, write_llama
from tests.terminal.screen import called

openai = pytest.importorskip("openai", reason="needs the extra bridge")
pytest.importorskip("uvicorn", reason="needs the extra server")

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
    words = ["-n", home / "one.png", "-n", home / "two.png", "-n", home / "spare.png"]
    words += ["--threads", 1, "--slots", 4]
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


def test_each_piece_is_sent_at_once():
    """And not held back until what was sent before is acknowledged."""

    async def accepted():
        taken = asyncio.get_running_loop().create_future()

        async def take(_, writer):
            line = writer.get_extra_info("socket")
            taken.set_result(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(take, sock=bound("127.0.0.1", 0)) as listening:
            _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            writer.close()
            return await taken

    assert asyncio.run(accepted())


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
        ({"messages": [{"role": "user"}]}, 400, "messages"),
        ({"messages": [{"role": "system", "content": None}]}, 400, "messages"),
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
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 2,
            "network": "spare",
        }
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
    words = [home / "tiny.pxi", "--slots", 1, "--queue", 0, "--timeout", 15, "--threads", 1]
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
                except (openai.RateLimitError, openai.InternalServerError):  # a busy machine
                    assert time.monotonic() < end
                    time.sleep(0.05)


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
