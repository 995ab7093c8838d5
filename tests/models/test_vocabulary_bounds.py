"""Tokenizers of strangers: one line that names the file, whatever it says, and nothing worse."""

from __future__ import annotations

import base64
import json
import os

import pytest

from pxvm.core.errors import FormatError
from pxvm.models.text import tokenizer as module
from pxvm.models.text.bounds import backtracks
from pxvm.models.text.folder import from_folder
from pxvm.models.text.guard import LateError, timed
from pxvm.models.text.tokenizer import Settings, Tokenizer
from tests.models.tiny_models import bytes_bpe, wordpiece

GOOD = json.loads(bytes_bpe())
VOCAB = 640


def split(pattern: str) -> dict:
    regex = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"pre_tokenizer": regex}


def replace(pattern: dict, content: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(kind: str, inner: list) -> dict:
    return {kind: {"type": "Sequence", f"{kind}s": inner}}


def charsmap(data: bytes) -> dict:
    coded = base64.b64encode(data).decode()
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": coded}}


def special(**changes: object) -> dict:
    token = {"id": 600, "content": "x", "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}  # fmt: skip
    return token | changes


def template(single: list, special_tokens: dict) -> dict:
    return {"post_processor": {"type": "TemplateProcessing", "single": single, "pair": [],
                               "special_tokens": special_tokens}}  # fmt: skip


TEXT = {"Sequence": {"id": "A", "type_id": 0}}
ZZ = {"SpecialToken": {"id": "zz", "type_id": 0}}


def explained(*ids: int) -> dict:
    return {"zz": {"id": "zz", "ids": list(ids), "tokens": ["zz"] * len(ids)}}


GROW = replace({"String": "a"}, "a" * 10)
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}
HOSTILE = {
    "a repeated repetition": split(r"(a+)+$"),
    "a counted repetition": split(r"(.*?,){25}z"),
    "a repeated choice": {"normalizer": replace({"Regex": "(a|a)*b"}, "z")},
    "a back reference": split(r"(\w+)\1"),
    "an unclosed group": split("(a"),
    "a pattern without end": split("a" * 5000),
    "no pattern": {"normalizer": replace({"String": ""}, "a")},
    "a pattern of nothing": {"normalizer": replace({}, "a")},
    "growth": sequence("normalizer", [GROW] * 8),
    "growth before every character": {"normalizer": replace({"Regex": "x*"}, "a" * 64)},
    "growth of what is decoded": sequence("decoder", [GROW] * 8),
    "bytes of bytes": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 20}},
    "a long beginning": {"normalizer": {"type": "Prepend", "prepend": "a" * 10_000_000}},
    "many parts": sequence("normalizer", [{"type": "NFC"}] * 100),
    "an unknown part": {"normalizer": {"type": "Explode"}},
    "a part that is none": {"normalizer": ["NFC"]},
    "an empty table": charsmap(b""), "a table without a tree": charsmap(b"\0" * 6),
    "a table longer than itself": charsmap(b"\xff" * 4),
    "a table in other letters": {"normalizer": {"type": "Precompiled",
                                                "precompiled_charsmap": "é"}},
    "a table of long texts": charsmap(b"\0\4\0\0" + b"\0" * 1024 + b"a" * 100),
    "a token that is not explained": template([ZZ, TEXT], {}),
    "tokens beyond the embedding": template([ZZ, TEXT], explained(4_000_000_000)),
    "a crowd around the text": template([ZZ, TEXT], explained(*[0] * 1000)),
    "a text many times": template([TEXT] * 1000, {}),
    "no text": template([ZZ], explained(0)),
    "a separator beyond": {"post_processor": {"type": "BertProcessing", "sep": ["a", 9999],
                                              "cls": ["b", 0]}},
    "added beyond the embedding": {"added_tokens": [special(id=VOCAB)]},
    "added below zero": {"added_tokens": [special(id=-1)]},
    "many added": {"added_tokens": [special(content=f"t{i}") for i in range(20_000)]},
    "a long one added": {"added_tokens": [special(content="a" * 20_000_000)]},
    "long ones added": {"added_tokens": [special(content=f"{i:4000}") for i in range(300)]},
    "added behind a gap": {"added_tokens": [*GOOD["added_tokens"], special(id=620)]},
    "added out of order": {"added_tokens": [*GOOD["added_tokens"], special(id=601),
                                            special(id=600, content="u")]},
    "added with another's number": {"added_tokens": [*GOOD["added_tokens"], special(id=5)]},
    "added that is no token": {"added_tokens": [7]},
    "no model": {"model": None},
    "a vocabulary that is none": {"model": GOOD["model"] | {"vocab": [1]}},
    "a number that is text": {"model": GOOD["model"] | {"vocab": {"a": "0"}}},
    "a long piece": {"model": GOOD["model"] | {"vocab": {"a" * 5000: 0}}},
    "random merges": {"model": GOOD["model"] | {"dropout": 0.5}},
    "a prefix that is not there": {"model": GOOD["model"] | {"continuing_subword_prefix": "ééé"}},
    "pieces without the unknown": {"model": UNIGRAM | {"unk_id": 5}},
    "no pieces": {"model": UNIGRAM | {"unk_id": None, "vocab": []}},
    "a word that is unknown": {"model": {"type": "WordLevel", "vocab": {"a": 0},
                                         "unk_token": "none"}},
    "words without end": {"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 10**9}},
    "a model of another kind": {"model": {"type": "Other", "vocab": {}}},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_is_refused_by_name(name, tmp_path):
    raw = json.loads(json.dumps(GOOD)) | HOSTILE[name]
    if name == "random merges":  # out of a picture; an import drops it
        with pytest.raises(FormatError, match="dropout"):
            Tokenizer(json.dumps(raw), Settings())
        return
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(FormatError) as caught:
        from_folder(tmp_path, VOCAB)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 600


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "[" * 200_000),
        ("tokenizer.json", '{"a":' * 100_000),
        ("tokenizer.json", '{"a": 1, "a": 2}'),
        ("tokenizer_config.json", '{"a":' * 100_000),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"eos_token": 5}'),
        ("tokenizer_config.json", '{"bos_token": {"content": 7}}'),
        ("tokenizer_config.json", '{"add_bos_token": "yes"}'),
        ("tokenizer_config.json", '{"chat_template": 7}'),
        ("tokenizer_config.json", '{"chat_template": [{"name": "default", "template": 7}]}'),
        ("tokenizer_config.json", json.dumps({"chat_template": "x" * 70_000})),
        ("tokenizer_config.json", json.dumps({"x": "x" * (5 << 20)})),
        ("generation_config.json", '{"eos_token_id": "2"}'),
        ("generation_config.json", '{"eos_token_id": [1, 2.5]}'),
        ("sentence_bert_config.json", '{"max_seq_length": "many"}'),
        ("sentence_bert_config.json", '{"do_lower_case": 1}'),
        ("chat_template.jinja", b"\xff\xfe{{"),
        ("chat_template.jinja", "x" * 70_000),
    ],
)
def test_a_hostile_companion_is_refused_by_name(name, content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(bytes_bpe(), encoding="utf-8")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FormatError) as caught:
        from_folder(tmp_path, VOCAB)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name)) and "\n" not in message and len(message) < 300


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json",
     "sentence_bert_config.json", "chat_template.jinja"],
)  # fmt: skip
def test_a_pipe_beside_the_vocabulary_is_waited_for_no_moment(name, tmp_path):
    (tmp_path / "tokenizer.json").write_text(bytes_bpe(), encoding="utf-8")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(FormatError, match=f"{name}: expected a regular file"):
        from_folder(tmp_path, VOCAB)


def test_numbers_that_are_no_tokens_end_no_answer(tmp_path):
    (tmp_path / "tokenizer.json").write_text(bytes_bpe(), encoding="utf-8")
    stops = {"eos_token_id": [10**30, 2**31, -1, VOCAB, 639]}
    (tmp_path / "generation_config.json").write_text(json.dumps(stops))
    found = from_folder(tmp_path, VOCAB)
    assert found is not None and found[1].stops == (639, 0, 2)


WORDS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
HARMLESS = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    WORDS + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    r"(?=(\d{3})+(?!\d))", r"\d{1,3}(?=(?:\d{3})*\b)", r"[^\r\n\p{L}]?+\p{L}++",
    r" {2,}", r"^\s|\s$",
    r" ?[^(\s|.,!?…。，、।۔،)]+", r"([\t\n]|    |  )", r"<sentinel:[0-9]+>", r"[一-龥぀-ゟ]+",
]  # fmt: skip
HARMFUL = [
    r"(a+)+$", r"(.*?,){25}z", r"(x+x+)+y", r"(a|a)*b", r"(a|aa){2,}", r"(?:a?){50}a{50}",
    r"a{1,3}+b", r"(\w)\1", r"((ab)*)*", r"(?:(?:a|b)c)*", r"(?(1)a|b)", r"(a", r"a)", r"(?~abc)",
    r"\g<0>", r"a**", r"([a-z]+)*?", r"(?<x>a*)*", r"(?=(a*)*)b",
]  # fmt: skip


def test_patterns_that_search_for_ever_are_told_from_those_in_use():
    assert [p for p in HARMLESS if backtracks(p)] == []
    assert [p for p in HARMFUL if not backtracks(p)] == []


def test_a_panic_of_the_library_is_an_error(capfd):
    """A tree whose root points out of it; nothing but walking it finds that out."""
    tree = b"\0\xfc\xff\xff".ljust(1024, b"\0")
    raw = GOOD | charsmap(b"\0\4\0\0" + tree + b"a\0")
    tokenizer = Tokenizer(json.dumps(raw), Settings(), "some.file")
    with pytest.raises(FormatError, match=r"some\.file: the tokenizer cannot cut this text: index"):
        tokenizer.encode("a")
    assert capfd.readouterr() == ("", "")


def test_a_text_that_takes_too_long_is_given_up_and_the_tokenizer_with_it(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "SPEED", 1 << 40)
    raw = GOOD | split("[a-z]*[a-z]*[0-9]")
    tokenizer = Tokenizer(json.dumps(raw), Settings(), "some.file")
    with pytest.raises(LateError, match=r"some\.file: .* more than 0 seconds"):
        tokenizer.encode("a" * 600 + " 1")
    with pytest.raises(LateError, match="took too long once"):
        tokenizer.encode("a")


SLOW = {"Regex": "a*a*a*a*a*a*[bc][e-z]"}  # gives up after ten million steps, and panics


@pytest.mark.parametrize("escaped", [False, True])
def test_a_search_that_gives_up_is_one_error_and_nothing_is_written(escaped, capfd):
    text = json.dumps(GOOD | {"normalizer": replace(SLOW, "")})
    text = text.replace('"Regex"', '"\\u0052egex"') if escaped else text
    tokenizer = Tokenizer(text, Settings(), "some.file")
    with pytest.raises(
        FormatError, match=r"^some\.file: the tokenizer cannot cut this text: [^\n]+$"
    ):
        tokenizer.encode("a" * 60 + "c")
    assert capfd.readouterr() == ("", "")


def test_spelling_tokens_has_a_limit_too(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "SPEED", 1 << 40)
    words = {"type": "WordLevel", "unk_token": "b", "vocab": {"b": 0, "a" * 60 + "c": 1}}
    raw = GOOD | {"model": words, "added_tokens": [], "decoder": replace(SLOW, "")}
    tokenizer = Tokenizer(json.dumps(raw), Settings())
    with pytest.raises(LateError, match="cannot spell these tokens: it takes more than"):
        tokenizer.decode([1])
    with pytest.raises(LateError, match="cannot spell these tokens: it took too long once"):
        tokenizer.stream().put(1)
    monkeypatch.undo()
    raw["decoder"] = replace({"Regex": "[x-z]"}, "")
    raw["model"]["vocab"] = {"b": 0, "axa": 1}
    stream = Tokenizer(json.dumps(raw), Settings()).stream()
    assert [stream.put(1), stream.put(0), stream.finish()] == ["aa", "b", ""]


def test_what_others_write_while_a_library_works_is_kept(capfd):
    timed(5, "work", lambda: os.write(2, b"one\n\nthread 'x' panicked at a.rs:1:1:\nno\ntwo\n"))
    assert capfd.readouterr().err == "one\ntwo\n"


def test_what_a_call_gives_and_raises_comes_out_of_its_thread():
    assert timed(10, "sum", lambda: 1 + 1, stack=1 << 20) == 2
    with pytest.raises(FormatError, match=r"sum: .*zero"):
        timed(10, "sum", lambda: 1 // 0)


def test_half_a_character_is_no_text():
    with pytest.raises(FormatError, match="cannot cut this text"):
        Tokenizer(bytes_bpe(), Settings()).encode("\ud800")


def test_sentences_are_lowered_where_the_folder_says_so(tmp_path):
    raw = json.loads(wordpiece())
    raw["normalizer"] = raw["normalizer"] | {"lowercase": False, "strip_accents": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    found = Tokenizer(*from_folder(tmp_path, 400))  # type: ignore[misc]
    plain = Tokenizer(json.dumps(raw), Settings())
    assert found.encode("BAN é") == plain.encode("ban é") != plain.encode("BAN é")
