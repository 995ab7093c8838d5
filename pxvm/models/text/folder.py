"""The tokenizer of a folder as Hugging Face lays it out: ``tokenizer.json`` and its companions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.models.text.tokenizer import MAX_JSON, Settings, Tokenizer

STOP_TEXTS = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>",
    "<end_of_turn>", "</s>",
)  # fmt: skip


def from_folder(folder: Path, vocab: int) -> tuple[str, Settings] | None:
    """(JSON, settings) of a folder; None where there is no ``tokenizer.json``.

    Args:
        vocab: rows of the model's embedding; no token may be beyond.

    Raises FormatError when a file cannot be used.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    raw = _json(path)
    raw |= {"padding": None, "truncation": None}
    text = json.dumps(raw, ensure_ascii=False)
    config = _json(folder / "tokenizer_config.json")
    inner = Tokenizer(text, Settings()).inner
    check_vocabulary(inner, vocab, str(path))
    bos = _token(inner, config.get("bos_token"))
    stops = _stops(inner, folder, config)
    own = inner.encode("a").ids[:1] == [bos]  # the JSON's own processor puts it there
    return text, Settings(
        bos=bos,
        add_bos=bool(config.get("add_bos_token", False)) and not own,
        stops=stops,
        template=_template(folder, config),
        limit=_limit(folder),
    )


def check_vocabulary(inner: Any, vocab: int, where: str) -> None:
    """Raise FormatError when a token's number is beyond the embedding."""
    highest = max(inner.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= vocab:
        raise FormatError(
            f"{where}: expected tokens below {vocab}, the rows of the embedding; found {highest}"
        )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not path.exists():
        return {}
    if path.stat().st_size > MAX_JSON:
        raise FormatError(f"{path}: expected at most {MAX_JSON} bytes")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: expected a JSON object; found {type(found).__name__}")
    return found


def _token(inner: Any, value: Any) -> int | None:
    """The number of a token that is given as text or as {"content": text}."""
    text = value.get("content") if isinstance(value, dict) else value
    found: int | None = inner.token_to_id(text) if isinstance(text, str) else None
    return found


def _stops(inner: Any, folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    found = [_token(inner, config.get("eos_token"))]
    for name in ("generation_config.json", "config.json"):
        value = _json(folder / name).get("eos_token_id")
        found += value if isinstance(value, list) else [value]
    added = inner.get_added_tokens_decoder()
    found += [number for number, token in added.items() if token.content in STOP_TEXTS]
    return tuple(dict.fromkeys(token for token in found if type(token) is int and token >= 0))


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several by name
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _limit(folder: Path) -> int | None:
    """Tokens of a sentence, as sentence-transformers cut it."""
    found = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return found if type(found) is int and found > 0 else None
