"""``pxvm studio``: who may ask its server, and what that reads and writes."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from pxvm.coach.coach import Coach
from pxvm.core.container import decode_image, save_image
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.integration.server.wanted import RefusedError
from pxvm.learning import Draft, Network
from pxvm.studio import built, experiments
from pxvm.studio.networks import View
from tests.coach.making import X, task
from tests.integration.servers import PIECES, cache_with_an_embedder, misbehaving, serving
from tests.learning.networks import MOMENT, small

pytest.importorskip("uvicorn", reason="needs the extra server")


class Asker:
    """A page's requests to a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def raw(self, path: str, data: bytes | None = None, **headers: str) -> SimpleNamespace:
        """A request as it is."""
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return SimpleNamespace(
                    status=answer.status, headers=answer.headers, body=answer.read()
                )
        except urllib.error.HTTPError as error:
            with error:
                return SimpleNamespace(status=error.code, headers=error.headers, body=error.read())

    def __call__(self, path: str, body: Any = None, **query: Any) -> Any:
        """What the interface answers."""
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        address = f"api/{path}?{urlencode(query)}"
        found = self.raw(address, data, **({"Content-Type": kind} if data is not None else {}))
        assert found.status == 200, found.body
        if found.headers["Content-Type"] == "application/octet-stream":
            return found.body
        return json.loads(found.body)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    cache_with_an_embedder(folder / "cache")
    save_image(np.zeros((4, 6, 4), np.uint8), folder / "plain.png")
    (folder / "secret.txt").write_text("not opened")
    with Network.open(folder / "notes.png", draw=small) as network:
        network.append_many(
            Draft(f"question {n}", f"answer {n} of oak", tags=("odd",) if n % 2 else ("even",),
                  source=f"docs/{n}.md", event_time=MOMENT + timedelta(days=n))
            for n in range(20)
        )  # fmt: skip
        Coach(network).solve(task(("Add", X, X), words="twice"), 2000)
    return folder


@pytest.fixture(scope="module")
def model():
    with misbehaving(["good"]) as found:
        yield found


@pytest.fixture(scope="module")
def studio(home, model):
    words = [home / "plain.png", "-n", home / "notes.png", "--no-browser"]
    words += ["--backend", model.url, "--model", "good"]
    with serving(*words, command="studio", cache=home / "cache") as found:
        yield found


@pytest.fixture
def ask(studio) -> Asker:
    return Asker(studio.url)


def test_the_page_comes_with_its_policy_and_says_who_serves_it(ask):
    page = ask.raw("")
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
    assert built.SERVED in page.body
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy and "unsafe-eval" not in policy.replace("wasm-unsafe", "")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    again = ask.raw("", **{"If-None-Match": page.headers["ETag"]})
    assert again.status == 304 and not again.body
    for name, data in built.page().items():
        found = ask.raw(name)
        assert found.status == 200
        assert found.body == data or name == built.INDEX
        assert not found.headers["Content-Type"].startswith("application/octet")


def test_what_was_opened_is_read_and_nothing_else(ask, home):
    session = ask("session")
    assert [file["name"] for file in session["files"]] == ["plain.png"]
    assert session["model"]["name"] == "good" and session["networks"][0]["name"] == "notes"
    assert ask("files/0") == (home / "plain.png").read_bytes()
    secret = quote(str(home / "secret.txt"))
    for path in ("api/files/1", "api/files/-1", "api/files/" + "9" * 5000, "api/nothing",
                 "secret.txt", "../secret.txt", "%2e%2e/secret.txt", "assets/../../built.py",
                 secret):  # fmt: skip
        found = ask.raw(path)
        assert found.status == 404 and b"not opened" not in found.body, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_only_the_page_may_ask(headers, status, ask):
    assert ask.raw("api/session", **headers).status == status
    own = {"Origin": ask.url.rstrip("/")}
    assert ask.raw("api/session", **own).status == 200


def test_more_than_it_takes_is_refused_before_it_arrives(ask):
    host, port = ask.url.split("/")[2].split(":")
    head = f"POST /api/networks/notes/merge HTTP/1.1\r\nHost: {host}:{port}\r\n"
    head += "Content-Type: application/octet-stream\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(head.encode() + b"x")
        assert b" 413 " in connection.recv(1000).split(b"\r\n")[0]


def test_a_form_of_another_site_changes_nothing(ask):
    body = b'{"text": "planted", "question": "", "tags": []}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        found = ask.raw("api/networks/notes/teach", body, **{"Content-Type": kind})
        assert found.status == 415
    assert not ask("networks/notes/search", query="planted")


def test_with_a_key_only_the_pages_files_are_open(home):
    words = ["--no-browser", "-n", home / "other.png"]
    with serving(*words, command="studio", PXVM_SERVER_KEY="s3cret") as server:
        ask = Asker(server.url)
        assert ask.raw("").status == 200 and ask.raw("icon.png").status == 200
        for path in ("api/session", "api/files/0", "api/networks/other/records", "v1/models",
                     "metrics"):  # fmt: skip
            assert ask.raw(path).status == 401, path
            assert ask.raw(path, Authorization="Bearer wrong").status == 401
        found = ask.raw("api/session", Authorization="Bearer s3cret")
        assert found.status == 200 and json.loads(found.body)["model"] is None
        asked = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
        said = ask.raw(
            "v1/chat/completions", b'{"messages":[{"role":"user","content":"a"}]}', **asked
        )
        assert said.status == 404 and b"--backend or --model" in said.body


def test_records_are_those_that_python_reads(ask, home):
    about = ask("networks/notes/about")
    with Network.open(home / "notes.png", read_only=True) as network:
        view = View(network)
        assert about["count"] == len(view.entries) and about["rows"] == view.rows
        assert ask("networks/notes/records", first=0, count=500) == view.records(0, 500)
        assert ask("networks/notes/bits", first=3, count=40) == view.bits(3, 40).tobytes()
        assert ask("networks/notes/growth", parts=4) == list(view.growth(4))
        number = view.records(5, 1)[0]["number"]
        assert ask("networks/notes/record", number=number) == view.records(5, 1)[0]
    hits = ask("networks/notes/search", query="oak", tag="odd", limit=3, since="2024-03-05")
    assert len(hits) == 3 and all("odd" in hit["record"]["tags"] for hit in hits)
    hits = ask("networks/notes/search", query="", tag="odd", limit=4, since="2024-03-05")
    numbers = [hit["record"]["number"] for hit in hits]
    assert len(numbers) == 4 and numbers == sorted(numbers, reverse=True)
    assert all("odd" in hit["record"]["tags"] for hit in hits)
    assert all(hit["record"]["standing"] == "standing" for hit in hits)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("networks/nobody/about", None, 404, "no network is called"),
        ("networks/notes/record?number=99999", None, 404, "no record number 99999"),
        ("networks/notes/record?number=x", None, 400, "invalid literal"),
        ("networks/notes/record", None, 400, "not how it is asked"),
        ("networks/notes/records?first=0&count=1&colour=1", None, 400, "not how it is asked"),
        ("networks/notes/search?query=a&since=later", None, 400, "later"),
        ("networks/notes/teach", {"text": " ", "question": "", "tags": []}, 400, "empty"),
        ("networks/notes/teach", {"text": 3}, 400, "expected a text"),
        ("networks/notes/forget", {}, 400, "nothing to forget"),
        ("networks/notes/forget", {"numbers": []}, 400, "nothing to forget"),
        ("networks/notes/forget", {"numbers": [], "tag": "odd"}, 400, "nothing to forget"),
        ("networks/notes/forget", {"text": "", "source": "", "limit": 3}, 400, "nothing to forget"),
        ("networks/notes/forget", {"numbers": ["3"]}, 400, "whole numbers"),
        ("networks/notes/forget", {"everything": True}, 400, "unknown conditions"),
        ("networks/notes/correct", {"number": 99999, "answer": "b"}, 404, "no record"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(path, body, status, said, ask):
    data = None if body is None else json.dumps(body).encode()
    kind = {} if data is None else {"Content-Type": "application/json"}
    found = ask.raw(f"api/{path}", data, **kind)
    assert found.status == status and said in json.loads(found.body)["error"]["message"]


def test_teaching_correcting_forgetting_and_taking_it_back(ask):
    taught = ask("networks/notes/teach", {"text": "Elm bends.", "question": "elm?", "tags": ["t"]})
    assert taught["standing"] == "standing" and taught["kind"] == "note"
    better = ask("networks/notes/correct", {"number": taught["number"], "answer": "Elm splits."})
    old = ask("networks/notes/record", number=taught["number"])
    assert (better["text"], old["standing"]) == ("Elm splits.", "corrected")
    back = ask("networks/notes/correct", {"number": better["number"], "answer": "Elm bends."})
    assert back["text"] == "Elm bends." and back["standing"] == "standing"
    tagged = ask("networks/notes/tag", {"number": back["number"], "add": ["wood"], "remove": ["t"]})
    assert tagged["tags"] == ["wood"]
    preview = ask("networks/notes/forget", {"tag": "wood"}, preview=1)
    assert preview["count"] == 1 and preview["undo"] == []
    assert ask("networks/notes/record", number=back["number"])["standing"] == "standing"
    forgotten = ask("networks/notes/forget", {"tag": "wood"})
    assert forgotten["undo"] == [back["number"]]
    assert ask("networks/notes/record", number=back["number"])["standing"] == "forgotten"
    assert not ask("networks/notes/search", query="elm bends")
    (restored,) = ask("networks/notes/restore", {"numbers": forgotten["undo"]})
    assert (restored["text"], restored["standing"]) == ("Elm bends.", "standing")
    (hit, *_) = ask("networks/notes/search", query="elm bends")
    assert hit["record"] == restored
    versions = ask("networks/notes/history", number=restored["number"])
    assert [v["text"] for v in versions if v["kind"] != "tombstone"][:2] == [
        "Elm bends.", "Elm splits.",
    ]  # fmt: skip


def test_who_forgets_is_told_of_a_copy_that_still_counts(ask):
    said = {"text": "Ash burns while it is green.", "question": ""}
    first, second = (
        ask("networks/notes/teach", {**said, "tags": [tag]})["number"] for tag in ("one", "two")
    )
    assert ask("networks/notes/forget", {"numbers": [first]}, preview=1)["same"] == []
    assert ask("networks/notes/forget", {"numbers": [first]})["same"] == [second]
    assert ask("networks/notes/forget", {"numbers": [second]})["same"] == []


def test_another_network_is_looked_at_and_taken_in(ask, tmp_path):
    with Network.open(tmp_path / "b.png", draw=small) as other:
        other.append_many([Draft("", "Larch loses its needles.", kind="note"),
                           Draft("question 1", "answer 1 of oak", tags=("odd",), source="docs/1.md",
                                 event_time=MOMENT + timedelta(days=1))])  # fmt: skip
    data = (tmp_path / "b.png").read_bytes()
    before = ask("networks/notes/about")["count"]
    preview = ask("networks/notes/merge", data, preview=1)
    assert (preview["added"], [s["text"] for s in preview["samples"]]) == (
        1, ["Larch loses its needles."],
    )  # fmt: skip
    assert ask("networks/notes/about")["count"] == before
    assert ask("networks/notes/merge", data)["added"] == 1
    (hit, *_) = ask("networks/notes/search", query="larch needles")
    assert hit["record"]["text"] == "Larch loses its needles."
    found = ask.raw("api/networks/notes/merge", b"no picture",
                    **{"Content-Type": "application/octet-stream"})  # fmt: skip
    assert found.status == 400 and b"Traceback" not in found.body


def test_a_dropped_document_is_learned_and_what_is_unreadable_said(ask):
    text = "# Trees\n\nA yew can be two thousand years old.\n"
    learned = ask("networks/notes/learn", text.encode(), name="trees.md")
    assert learned["added"] == 1 and not learned["skipped"]
    assert ask("networks/notes/learn", text.encode(), name="../../trees.md")["known"] == 1
    (hit, *_) = ask("networks/notes/search", query="how old can a yew be")
    assert hit["record"]["source"].startswith("dropped: trees.md")
    assert ask("networks/notes/learn", bytes(range(256)) * 9, name="a.bin")["skipped"]


def test_a_chat_streams_with_its_evidence_and_is_remembered(ask, model):
    body = {"messages": [{"role": "user", "content": "what is answer 7 of oak?"}],
            "network": "notes", "stream": True}  # fmt: skip
    found = ask.raw("v1/chat/completions", json.dumps(body).encode(),
                    **{"Content-Type": "application/json"})  # fmt: skip
    events = [json.loads(line[6:]) for line in found.body.decode().split("\n\n")
              if line.startswith("data: {")]  # fmt: skip
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])
    assert text == "".join(PIECES)
    told = events[-1]["pxvm"]
    titles = [ask("networks/notes/record", number=n)["title"] for n in told["records"]]
    assert "question 7" in titles
    stored = ask("networks/notes/search", query="made of oak", kind="interaction", limit=50)
    assert told["stored"] in {hit["record"]["meta"]["id"] for hit in stored}


def test_what_the_coach_tried_is_shown_and_its_program_runs(ask):
    told = ask("networks/notes/coach")
    (attempt,) = told["attempts"]
    assert attempt["outcome"] == "solved" and attempt["picture"] and attempt["program"]
    image = decode_image(ask("networks/notes/program", number=attempt["record"]))
    run_program(image, device="reference")
    assert ask.raw("api/networks/notes/program?number=1").status == 404


def test_a_programs_time_is_measured(ask):
    data = ask(
        "networks/notes/program", number=ask("networks/notes/coach")["attempts"][0]["record"]
    )
    found = ask("profile", data)
    assert found["steps"] == sum(line["count"] for line in found["opcodes"]) > 0
    assert found["instructions"][0]["index"] == 0
    wrong = ask.raw("api/profile", b"no picture",
                    **{"Content-Type": "application/octet-stream"})  # fmt: skip
    assert wrong.status == 400


def test_a_program_without_an_end_is_not_measured_for_ever(monkeypatch, tmp_path):
    b = NetworkBuilder()
    b.constant("many", 65535)
    b.tensor("x", DType.I32, (1, 4), Role.STATE, data=np.ones((1, 4), np.int64))
    for name in ("Loop", "Loop"):
        b.emit(name, "many", 0)
    b.emit("Add", "x", "x", "x")
    for name in ("EndLoop", "EndLoop"):
        b.emit(name)
    save_image(b.build(), tmp_path / "endless.pxi")
    monkeypatch.setattr(experiments, "MOST_SECONDS", 0)
    with pytest.raises(RefusedError, match="has not ended after"):
        experiments.profiled((tmp_path / "endless.pxi").read_bytes())
