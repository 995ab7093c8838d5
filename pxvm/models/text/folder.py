"""The tokenizer of a folder as Hugging Face lays it out: ``tokenizer.json`` and its companions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.core.reading import read_bytes
from pxvm.models.files.safetensors import parse_json
from pxvm.models.text.stops import stop_tokens
from pxvm.models.text.template import MAX_SOURCE
from pxvm.models.text.tokenizer import MAX_JSON, Settings, Tokenizer

MAX_COMPANION = 1 << 22  # bytes of every file but the vocabulary


def from_folder(folder: Path, vocab: int) -> tuple[str, Settings] | None:
    """(JSON, settings) of a folder; None where there is no ``tokenizer.json``.

    Args:
        vocab: rows of the model's embedding; no token may be beyond.

    Raises FormatError when a file cannot be used.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    raw = _json(path, MAX_JSON)
    raw |= {"padding": None, "truncation": None}
    if isinstance(raw.get("model"), dict):
        raw["model"].pop("dropout", None)  # of the training: one text has one answer
    sentences = Companion(folder / "sentence_bert_config.json")
    if sentences.kind("do_lower_case", bool):
        steps = [{"type": "Lowercase"}, *([raw["normalizer"]] if raw.get("normalizer") else [])]
        raw["normalizer"] = {"type": "Sequence", "normalizers": steps}
    text = json.dumps(raw, ensure_ascii=False)
    tokenizer = Tokenizer(text, Settings(), str(path), vocab)
    config = Companion(folder / "tokenizer_config.json", folder / "special_tokens_map.json")
    bos = config.token("bos_token", tokenizer)
    own = tokenizer.encode("a")[:1] == [bos]  # the JSON's own processor puts it there
    add = bool(config.kind("add_bos_token", bool))
    if add and bos is None:
        raise config.error("bos_token", "a token of the vocabulary, as add_bos_token wants one")
    return text, Settings(
        bos=bos,
        add_bos=add and not own,
        stops=_stops(tokenizer, folder, config, vocab),
        template=_template(folder, config),
        limit=_limit(sentences, config),
    )


class Companion:
    """A JSON file beside the vocabulary; empty where there is none.

    Args:
        older: the file that said the same before, and still does where this one says nothing.
    """

    def __init__(self, path: Path, older: Path | None = None) -> None:
        self.path = path
        said = {} if older is None else _json(older, MAX_COMPANION)
        self.values: Mapping[str, Any] = said | _json(path, MAX_COMPANION)

    def error(self, key: str, expected: str) -> FormatError:
        return FormatError(
            f"{self.path}: {key}: expected {expected}; found {brief(self.values.get(key))}"
        )

    def kind(self, key: str, kind: type) -> Any:
        """A value of a type, or None. Raises FormatError for another."""
        value = self.values.get(key)
        if value is not None and type(value) is not kind:
            raise self.error(key, f"{kind.__name__} or null")
        return value

    def token(self, key: str, tokenizer: Tokenizer) -> int | None:
        """The number of a token that is given as text or as {"content": text}."""
        value = self.values.get(key)
        text = value.get("content") if isinstance(value, Mapping) else value
        if text is not None and not isinstance(text, str):
            raise self.error(key, "the text of a token")
        found: int | None = None if text is None else tokenizer.inner.token_to_id(text)
        return found

    def numbers(self, key: str) -> list[int]:
        """The whole numbers of a value that is one, or a list of them."""
        value = self.values.get(key)
        found = [] if value is None else value if isinstance(value, list) else [value]
        if not all(type(number) is int for number in found):
            raise self.error(key, "a whole number or a list of them")
        return found


def _json(path: Path, most: int) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not path.exists():
        return {}
    return parse_json(read_bytes(path, most), str(path))


def _stops(
    tokenizer: Tokenizer, folder: Path, config: Companion, vocab: int
) -> tuple[int, ...]:  # fmt: skip
    end = config.token("eos_token", tokenizer)
    named = [] if end is None else [end]
    for name in ("generation_config.json", "config.json"):
        named += Companion(folder / name).numbers("eos_token_id")
    added = tokenizer.inner.get_added_tokens_decoder().items()
    return stop_tokens(named, ((n, t.content, t.special) for n, t in added), vocab)


def _template(folder: Path, config: Companion) -> str | None:
    path, found = folder / "chat_template.jinja", config.values.get("chat_template")
    if path.exists():
        try:
            found = read_bytes(path, MAX_COMPANION).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{path}: expected UTF-8; {error!s:.100}") from None
    else:
        path = config.path
        if isinstance(found, list):  # several by name
            named = (t for t in found if isinstance(t, Mapping) and t.get("name") == "default")
            found = next((t.get("template") for t in named), None)
    if found is not None and not isinstance(found, str):
        raise config.error("chat_template", "a text, or several by name")
    if found is not None and len(found) > MAX_SOURCE:
        raise FormatError(
            f"{path}: expected a chat template of at most {MAX_SOURCE} characters; found"
            f" {len(found)}"
        )
    return found


def _limit(sentences: Companion, config: Companion) -> int | None:
    """Tokens of a sentence, as sentence-transformers cut it."""
    found = sentences.kind("max_seq_length", int)
    if found is None:
        most = config.values.get("model_max_length")
        found = most if type(most) is int and most < 1 << 20 else None  # else "no limit"
    return found if found is not None and found > 0 else None
