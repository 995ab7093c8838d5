"""What servers send that keep to the protocol in their own way, or not at all."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.integration.events import events
from pxvm.integration.pieces import whole_characters
from pxvm.integration.remote import Remote
from pxvm.integration.server.shapes import joined
from tests.integration.servers import chunk, misbehaving

pytest.importorskip("openai", reason="needs the extra bridge")

ASK = [{"role": "user", "content": "What is the keel made of?"}]
OAK, END, DONE = chunk("Öl, oak 日."), chunk(None, "stop"), b"data: [DONE]\n\n"
WHOLE = OAK + END + DONE


def sent(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: object = None, **fields: object) -> bytes:
    return sent({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


ANSWERED = {
    "without its last line": OAK + END,
    "without a reason": OAK + DONE,
    "with empty reasons": delta("", content="Öl, oak 日.") + delta("") + DONE,
    "with a number for a reason": OAK + delta(5) + DONE,
    "with CRLF": WHOLE.replace(b"\n", b"\r\n"),
    "with CR": WHOLE.replace(b"\n", b"\r"),
    "without spaces": WHOLE.replace(b"data: ", b"data:"),
    "with comments": b": ping\n\n" + OAK + b":\n\nevent: ping\ndata: {}\n\n" + END + DONE,
    "with a mark of the byte order": b"\xef\xbb\xbf" + WHOLE,
    "with its cost": OAK + END + sent({"choices": [], "usage": {"total_tokens": 3}}) + DONE,
    "with no choices": OAK + sent({"choices": None}) + END + DONE,
    "with no delta": sent({"choices": [{"index": 0, "delta": None}]}) + WHOLE,
    "with no error": sent({"error": None, "choices": []}) + WHOLE,
    "after thoughts": delta(content=None, reasoning_content="hmm") + WHOLE,
    "in parts": delta(content=[{"type": "text", "text": "Öl, oak 日."}]) + END,
    "beside another": sent({"choices": [{"index": 1, "delta": {"content": "elm"}}]}) + WHOLE,
    "and more after its end": WHOLE + chunk("elm"),
    "with scores of no form": sent(
        {"choices": [{"index": 0, "delta": {"content": "Öl, oak 日."}, "logprobs": 5}]}
    )
    + END,
}

REFUSED = {
    "a number": (sent(5), "a chunk is int"),
    "a text": (sent("oak"), "a chunk is str"),
    "choices that are none": (sent({"choices": {"a": 1}}), "choices are dict"),
    "a choice that is none": (sent({"choices": [None]}), "a choice is NoneType"),
    "a content that is none": (delta(content={"a": 1}), "a text is dict"),
    "calls that are none": (delta(tool_calls=[None]), "a call is NoneType"),
    "bytes that are no text": (OAK + b'data: {"a": "\xff"}\n\n' + END, "no JSON"),
    "an error as a text": (OAK + sent({"error": "the card fell off"}), "the card fell off"),
    "what a filter has cut": (OAK + delta("content_filter"), "a filter there has cut"),
    "nothing at all": (b": ping\n\n", "the server sent none that can be read"),
    "thoughts alone": (delta(reasoning="hmm") + END + DONE, "empty answer"),
}


@pytest.fixture(scope="module")
def server():
    with misbehaving(["script"]) as found:
        yield found


@pytest.fixture(scope="module")
def remote(server):
    with closing(Remote("server", server.url, "script")) as found:
        yield found


@pytest.mark.parametrize("how", ANSWERED)
def test_an_answer_is_read_however_it_is_written(how, server, remote):
    server.script = ANSWERED[how]
    assert "".join(remote.stream(ASK)) == "Öl, oak 日."


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_an_answer_is_said_in_a_sentence(what, server, remote):
    server.script, said = REFUSED[what]
    with pytest.raises(BackendError, match=said):
        list(remote.stream(ASK))


def test_a_stream_that_is_cut_at_any_byte_is_never_taken_for_whole(server, remote):
    whole = delta(content="oak 日") + delta("stop") + DONE
    end = whole.index(b'"stop"') + len(b'"stop"}]}')
    for length in range(0, len(whole) + 1):
        server.script = whole[:length]
        try:
            text = "".join(remote.stream(ASK))
        except BackendError:
            assert length < end
        else:
            assert length >= end and text == "oak 日"


def test_events_do_not_depend_on_how_the_network_cuts_them():
    for written in (WHOLE, *(ANSWERED[how] for how in ("with CRLF", "with CR", "with comments"))):
        found = [list(events(written[i : i + n] for i in range(0, len(written), n)))
                 for n in (1, 2, 3, 7, len(written))]  # fmt: skip
        assert all(each == found[0] for each in found)
        assert found[0][-1] == b"[DONE]"
    assert list(events([b"data: a\ndata: b\n", b"\ndata: c"])) == [b"a\nb", b"c"]


def test_calls_come_out_whole_however_they_are_sent(server, remote):
    call = {"id": "1", "type": "function", "function": {"name": "w", "arguments": {"a": 1}}}
    more = {"index": "0", "function": {"name": "w", "arguments": None}}
    server.script = delta(tool_calls=[call]) + delta(tool_calls=[more]) + delta("tool_calls")
    pieces = [piece for piece, _ in remote.pieces("chat", ASK, extra={})]
    assert joined(pieces) == [{**call, "function": {"name": "w", "arguments": '{"a": 1}'}}]


def test_halves_of_characters_become_marks(server, remote):
    server.script = b'data: {"choices": [{"delta": {"content": "a\\ud800b"}}]}\n\n' + END
    assert "".join(remote.stream(ASK)) == "a\ufffdb"
    assert whole_characters("😀\udfff") == "😀\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Trying to keep the first 5000 tokens when context overflows its length"},
        {"error": {"message": "request (5000 tokens) exceeds the available context size"}},
        {"message": "This model's maximum context length is 4096 tokens"},
        {"detail": "the prompt is too long"},
    ],
)
def test_that_too_much_was_sent_is_understood_in_every_form(body, server, remote):
    server.script = (400, body)
    with pytest.raises(ContextTooLongError):
        list(remote.stream(ASK))


def test_a_stream_of_nothing_is_asked_for_whole_which_tells_why(server):
    """So llama-cpp-python's server answers a prompt that is too long."""
    with (
        closing(Remote("server", server.url, "mute")) as mute,
        pytest.raises(ContextTooLongError, match="exceed context window of 512"),
    ):
        list(mute.stream(ASK))
    assert [asked["stream"] for asked in server.asked[-2:]] == [True, False]


def test_an_answer_that_came_whole_is_taken(server, remote):
    choice = {"index": 0, "message": {"content": "oak"}, "finish_reason": "stop"}
    server.script = (200, {"choices": [choice]})
    assert list(remote.stream(ASK)) == ["oak"]


def test_what_is_said_to_a_server_goes_to_no_other(server, remote, monkeypatch):
    """Neither because it says so, nor because a proxy stands in the environment."""
    server.script = (307, {})
    with pytest.raises(BackendError, match="error 307"):
        list(remote.stream(ASK))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for host in ("127.0.0.1", "localhost"):
        url = server.url.replace("127.0.0.1", host)
        with closing(Remote("server", url, "script")) as direct:
            server.script = WHOLE
            assert "".join(direct.stream(ASK)) == "Öl, oak 日."
