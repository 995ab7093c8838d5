"""Tokens: through the picture unchanged, and what is damaged is refused."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from pxvm.core.errors import FormatError, ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.models.text import tokenizer as module
from pxvm.models.text.folder import from_folder
from pxvm.models.text.tokenizer import Settings, Tokenizer, load_tokenizer, store_tokenizer
from tests.models.tiny_models import (
    CHATML,
    TEXTS,
    bytes_bpe,
    llama_settings,
    random_texts,
)

CORPUS = [*TEXTS, *random_texts(400)]


def picture(text: str, settings: Settings, width: int = 64):
    """The smallest program that carries a tokenizer."""
    b = NetworkBuilder(width)
    b.tensor("x", DType.I32, (1, 4), Role.STATE)
    b.emit("Add", "x", "x", "x")
    store_tokenizer(b, text, settings)
    return b.build()


@pytest.mark.parametrize("width", [64, 100, 512])
def test_a_tokenizer_comes_back_out_of_the_picture(width):
    settings = llama_settings()
    found = load_tokenizer(picture(bytes_bpe(), settings, width))
    assert found.settings == settings
    assert json.loads(found.text) == json.loads(bytes_bpe())
    original = Tokenizer(bytes_bpe(), settings)
    for text in CORPUS:
        ids = found.encode(text)
        assert ids == original.encode(text)
        assert found.inner.decode(ids, skip_special_tokens=False) == text


def test_a_folder_says_what_begins_and_ends_a_text(tmp_path):
    (tmp_path / "tokenizer.json").write_text(bytes_bpe(), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": {"content": "<|endoftext|>"}, "add_bos_token": True,
                    "eos_token": "<|im_end|>", "chat_template": CHATML})
    )  # fmt: skip
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256}))
    found = from_folder(tmp_path, 600)
    assert found is not None
    assert found[1] == Settings(bos=0, add_bos=True, stops=(2, 0), template=CHATML, limit=256)
    assert Tokenizer(*found).encode("hi")[0] == 0
    (tmp_path / "chat_template.jinja").write_text("own file")
    assert from_folder(tmp_path, 600)[1].template == "own file"  # type: ignore[index]
    with pytest.raises(FormatError, match="tokens below 599"):
        from_folder(tmp_path, 599)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True}))
    with pytest.raises(FormatError, match="bos_token: expected a token of the vocabulary"):
        from_folder(tmp_path, 600)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<|endoftext|>"}))
    assert from_folder(tmp_path, 600)[1].bos == 0  # type: ignore[index]
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(FormatError, match="expected a JSON object"):
        from_folder(tmp_path, 600)
    assert from_folder(tmp_path / "none", 600) is None


def test_text_streams_in_whole_characters():
    tokenizer = Tokenizer(bytes_bpe(), llama_settings())
    for text in TEXTS[:5]:
        stream = tokenizer.stream()
        shown = [stream.put(t) for t in tokenizer.encode(text)]
        assert "".join(shown) + stream.finish() == text
        assert not any("�" in piece for piece in shown)
    stream = tokenizer.stream()
    shown = "".join(stream.put(t) for t in tokenizer.encode("😀")[:-1])
    assert shown == "" and stream.finish() == "�"  # cut short in the middle of a character


# Damage


def damaged(name: str, change):
    image = picture(bytes_bpe(), llama_settings())
    from pxvm.models.graph.fields import Fields

    d = Fields(image).descriptor(name)
    y, x = divmod(d.start, image.shape[1])
    change(image[y:, x:])
    return image


def test_a_damaged_tokenizer_is_refused_in_one_line():
    def flip(pixels):
        pixels[0, 3] ^= 0xFF

    for name in ("tokenizer", "settings"):
        with pytest.raises(FormatError, match="damaged"):
            load_tokenizer(damaged(name, flip))


@pytest.mark.parametrize(
    "settings",
    [
        {"stops": ["x"]},
        {"bos": "x"},
        {"template": 7},
        {"limit": 0},
        {"unknown": 1},
        [],
        {"stops": 3},
    ],
)
def test_settings_of_wrong_kinds_are_refused(settings):
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (1, 4), Role.STATE)
    b.emit("Add", "x", "x", "x")
    module._store(b, "tokenizer", zlib.compress(bytes_bpe().encode()))
    module._store(b, "settings", json.dumps(settings).encode())
    with pytest.raises(FormatError, match="damaged"):
        load_tokenizer(b.build())


def test_a_small_picture_cannot_unpack_to_more_than_the_limit(monkeypatch):
    monkeypatch.setattr(module, "MAX_JSON", 1000)
    with pytest.raises(FormatError, match="more than 1000 bytes"):
        load_tokenizer(picture(bytes_bpe(), llama_settings()))


def test_a_program_without_a_tokenizer_says_so():
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (1, 4), Role.STATE)
    b.emit("Add", "x", "x", "x")
    with pytest.raises(ProgramError, match="found none"):
        load_tokenizer(b.build())


def test_settings_stand_in_the_picture_as_readable_bytes():
    image = picture(bytes_bpe(), llama_settings())
    assert b'"stops": [2]' in np.ascontiguousarray(image).tobytes()
