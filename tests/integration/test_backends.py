"""Back ends by name and address, and what is said when one does not answer as it should."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from pxvm.core.errors import PxvmError
from pxvm.core.tensor import DType
from pxvm.integration.backends import ADDRESSES, NAMES, completed, kind_of
from pxvm.integration.connecting import connect
from pxvm.integration.conversation import Conversation
from pxvm.integration.embedded import PASSAGES, SMALL, Embedded, passages_for
from pxvm.integration.errors import BackendError
from pxvm.integration.memory import Memory
from pxvm.integration.remote import Remote
from tests.integration.servers import PIECES, misbehaving
from tests.models.tiny_models import write_llama

ASK = [{"role": "user", "content": "What is the keel made of?"}]

pytest.importorskip("openai", reason="needs the extra bridge")

FAULTS = {
    "cut": "the answer was cut in the middle",
    "empty": "empty answer",
    "garbled": "an answer that cannot be read",
    "page": "the server sent none that can be read",
    "other": "an answer of an unknown form",
    "broken": "error 500: out of",
    "busy": "too many requests",
    "locked": "the key was refused",
    "gone": "not found there: no such model",
    "error": "the card fell off",
    "drop": "no server answers there",
}


@pytest.fixture(scope="module")
def server():
    with misbehaving(["text-embedding-x", "good"]) as found:
        yield found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.pxi", stops=())


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    """Retries come without pauses, and no embedding model is here."""
    monkeypatch.setattr("pxvm.integration.memory.Embedder.present", lambda: None)
    monkeypatch.setattr("pxvm.integration.remote.PAUSE", 0.01)


@pytest.fixture
def opened():
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield lambda backend: stack.enter_context(closing(backend))


def test_the_loaded_model_is_found_and_answers(server, opened):
    remote = opened(connect(url=server.url))
    assert (remote.name, remote.model) == ("server", "good")
    assert list(remote.stream(ASK)) == PIECES
    assert server.asked[-1]["messages"] == ASK
    assert opened(connect("ollama", server.url, "local-model")).model == "good"


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_one_sentence_and_leaves_no_trace(fault, server, tmp_path, opened):
    memory = Memory(tmp_path / "k.png")
    before = memory.path.read_bytes()
    talk = Conversation(opened(Remote("server", server.url, fault)), memory)
    with pytest.raises(BackendError, match=FAULTS[fault]) as caught:
        talk.ask("What is the keel made of?")
    assert "\n" not in str(caught.value) and server.url in str(caught.value)
    memory.settle()
    assert (len(memory.network), memory.path.read_bytes(), talk.turns) == (0, before, [])
    talk.backend = opened(Remote("server", server.url, "good"))  # the conversation goes on
    assert talk.ask("What is the keel made of?") == "".join(PIECES)
    memory.settle()
    assert len(memory.network) == 1
    memory.close()


def test_what_can_help_is_tried_again_and_what_cannot_is_not(server, opened):
    for fault, tries in (("broken", 2), ("busy", 2), ("locked", 1), ("cut", 1), ("page", 1)):
        server.asked.clear()
        with pytest.raises(BackendError):
            list(opened(Remote("server", server.url, fault)).stream(ASK))
        assert len(server.asked) == tries, fault


def test_a_server_that_is_slow_is_not_waited_for(server, monkeypatch, opened):
    monkeypatch.setattr("pxvm.integration.remote.READ", 0.02)
    with pytest.raises(BackendError, match="no answer within"):
        list(opened(Remote("server", server.url, "slow")).stream(ASK))


def test_no_model_no_server_and_no_such_name(tmp_path):
    loaded = pytest.raises(BackendError, match="no language model is loaded there")
    with misbehaving([]) as empty, loaded:
        connect(url=empty.url)
    with pytest.raises(BackendError, match="no server answers there"):
        connect(url=empty.url)
    with pytest.raises(BackendError, match="no back end is called 'abacus'"):
        connect("abacus")
    assert {"auto", "embedded", "lm-studio", "ollama", "llama.cpp", "vllm"} <= set(NAMES)
    assert issubclass(BackendError, PxvmError)
    assert ADDRESSES["lm-studio"].url == "http://localhost:1234/v1"


def test_the_embedded_model_stands_in_and_says_so(monkeypatch, tiny, opened):
    monkeypatch.setattr("pxvm.integration.connecting.EMBEDDED_MODEL", str(tiny))
    with misbehaving([]) as nobody:
        pass
    monkeypatch.setitem(ADDRESSES, "lm-studio", type(ADDRESSES["vllm"])(nobody.url))
    told = []
    found = opened(connect(tell=told.append))
    assert isinstance(found, Embedded) and found.model == "tiny"
    assert len(told) == 1 and "answers instead" in told[0]
    assert "".join(found.stream(ASK, max_tokens=5))
    assert found.count("hello world") == len(found._model.tokenizer.encode("hello world"))


def test_a_key_comes_from_the_environment_and_goes_only_where_it_belongs(monkeypatch, opened):
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai")
    monkeypatch.setenv("PXVM_API_KEY", "mine")
    assert opened(connect("openai", model="m"))._client.api_key == "of-openai"
    assert opened(connect("vllm", model="m"))._client.api_key == "mine"
    monkeypatch.delenv("PXVM_API_KEY")
    assert opened(connect("vllm", model="m"))._client.api_key == "none"


def test_a_small_model_is_given_one_passage_however_long_its_context(tmp_path):
    """Of several passages it answers from any: what counts is its size, not what fits in."""
    for context in (256, 8192):
        path = write_llama(tmp_path / f"{context}.pxi", context=context)
        with closing(Embedded(str(path), "reference")) as small:
            assert (small.context, small.passages) == (context, 1)
            network = small._model.fields.network
    large = replace(network.descriptors[0], dtype=DType.I8, extents=(SMALL // 64, 64))
    assert passages_for(replace(network, descriptors=(large,))) == PASSAGES > 1


def test_of_lm_studios_models_the_one_that_is_loaded_answers(opened):
    with misbehaving(["on-disk", "text-embedding-x", "loaded"]) as studio:
        assert opened(Remote("lm-studio", studio.url)).model == "on-disk"
        rows = [("text-embedding-x", "loaded"), ("on-disk", "not-loaded"), ("loaded", "loaded")]
        studio.loaded = [{"id": name, "state": state} for name, state in rows]
        assert opened(Remote("lm-studio", studio.url)).model == "loaded"
        studio.loaded = ["no form", 5]
        assert opened(Remote("lm-studio", studio.url)).model == "on-disk"


def test_a_model_that_is_gone_is_looked_for_again(opened):
    with misbehaving(["gone"]) as server:
        remote = opened(Remote("server", server.url))
        with pytest.raises(BackendError, match="not found there"):
            list(remote.stream(ASK))
        server.models = [{"id": "good", "object": "model"}]
        assert list(remote.stream(ASK)) == PIECES


@pytest.mark.parametrize(
    ("typed", "meant", "kind"),
    [
        ("localhost:1234", "http://localhost:1234/v1", "lm-studio"),
        ("http://127.0.0.1:1234/", "http://127.0.0.1:1234/v1", "lm-studio"),
        ("http://[::1]:11434/v1/", "http://[::1]:11434/v1", "ollama"),
        (" http://localhost:8080/v1/chat/completions ", "http://localhost:8080/v1", "llama.cpp"),
        ("https://api.openai.com", "https://api.openai.com/v1", "openai"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1", "server"),
        ("http://gpu.lan:1234/v1", "http://gpu.lan:1234/v1", "server"),
    ],
)
def test_an_address_may_be_written_as_people_write_it(typed, meant, kind):
    assert (completed(typed), kind_of(typed)) == (meant, kind)


@pytest.mark.parametrize("typed", ["http://", "ftp://x/", "http://[::1", "localhost:99999", ":80"])
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(BackendError, match="no address of a server"):
        connect(url=typed)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "bell\x07"])
def test_a_key_that_no_header_can_carry_is_refused(key, server, opened):
    with pytest.raises(BackendError, match="characters that no key can have"):
        Remote("server", server.url, "good", key)
    assert list(opened(Remote("server", server.url, "good", " key\n")).stream(ASK)) == PIECES


def test_openai_is_told_its_own_name_for_the_limit(server, opened):
    list(opened(Remote("openai", server.url, "good")).stream(ASK, max_tokens=5))
    assert server.asked[-1]["max_completion_tokens"] == 5 and "max_tokens" not in server.asked[-1]


def test_a_server_that_does_not_begin_is_asked_once(server, monkeypatch, opened):
    monkeypatch.setattr("pxvm.integration.remote.READ", 0.05)
    server.asked.clear()
    with pytest.raises(BackendError, match="no answer within"):
        list(opened(Remote("server", server.url, "late")).stream(ASK))
    assert len(server.asked) == 1
