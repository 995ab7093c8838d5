"""A tokenizer that is built of what was checked is the one that the library reads."""

from __future__ import annotations

import gc
import json

import pytest
import tokenizers

from pxvm.core.errors import FormatError
from pxvm.models.text import building
from pxvm.models.text.tokenizer import Settings, Tokenizer
from tests.models.tiny_models import TEXTS, bytes_bpe, wordpiece

FLAGS = {"single_word": True, "lstrip": True, "rstrip": False, "normalized": True, "special": False}
ADDED = [{"id": 600 + n, "content": text, **FLAGS, **more}
         for n, (text, more) in enumerate([("<ban>", {}), ("é é", {"special": True}),
                                           ("QQ", {"single_word": False})])]  # fmt: skip


def variant(model=(), **parts) -> str:
    raw = json.loads(bytes_bpe())
    return json.dumps(raw | {"model": raw["model"] | dict(model)} | parts)


VARIANTS = {
    "as it is": bytes_bpe,
    "with added tokens": lambda: variant(
        added_tokens=json.loads(bytes_bpe())["added_tokens"] + ADDED,
        normalizer={"type": "Lowercase"},
    ),
    "with settings": lambda: variant(
        {"ignore_merges": True, "byte_fallback": True, "fuse_unk": True, "unk_token": "a",
         "end_of_word_suffix": "b"}
    ),
    "without settings": lambda: variant(
        {"dropout": None, "unk_token": None}, added_tokens=[]
    ),
    "merges as texts": lambda: variant(
        {"merges": [" ".join(pair) for pair in json.loads(bytes_bpe())["model"]["merges"]]}
    ),
    "words": wordpiece,
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_built_is_what_the_library_reads(name):
    text = VARIANTS[name]()
    found, wanted = Tokenizer(text, Settings()).inner, tokenizers.Tokenizer.from_str(text)
    assert json.loads(found.to_str()) == json.loads(wanted.to_str())
    for sentence in (*TEXTS, "a <ban> QQQ é é ban", ""):
        assert found.encode(sentence).ids == wanted.encode(sentence).ids


def test_byte_pairs_do_not_go_through_the_library_s_reader(monkeypatch):
    read: list[int] = []
    plain = tokenizers.Tokenizer

    class Counted:
        @staticmethod
        def from_str(text):
            read.append(len(text))
            return plain.from_str(text)

    monkeypatch.setattr(tokenizers, "Tokenizer", Counted)
    building.tokenizer(json.loads(bytes_bpe()), bytes_bpe())
    assert len(read) == 1 and read[0] < 1000 < len(bytes_bpe())


@pytest.mark.parametrize(
    "model",
    [{"merges": [["a", "nowhere"]]}, {"merges": [["a"]]}, {"merges": [["a", 5]]},
     {"merges": [["a", "b", "c"]]}, {"merges": [[]]}, {"fuse_unk": "yes"}, {"unk_token": 5},
     {"vocab": {"\ud800": 0}}],
)  # fmt: skip
def test_damaged_byte_pairs_are_refused(model):
    with pytest.raises(FormatError, match="the tokenizer is damaged"):
        Tokenizer(variant(model), Settings())


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        Tokenizer(bytes_bpe(), Settings())
        assert gc.isenabled() is enabled
        with pytest.raises(FormatError):
            Tokenizer("{", Settings())
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
