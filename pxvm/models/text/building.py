"""The `tokenizers` library's object from JSON that was read and checked already.

The library's own reader takes twice as long for byte pairs, which it reads twice. What is made is
the same, and of the very numbers and texts that were checked.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pxvm.core import installation

NOTHING = {"type": "BPE", "vocab": {}, "merges": []}
FIELDS = {"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix",
          "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"}  # fmt: skip
ADDED = {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}


def tokenizer(raw: Mapping[str, Any], text: str) -> Any:
    """A ``tokenizers.Tokenizer``; whatever the library raises of what it cannot use.

    Args:
        raw: what ``text`` says, admitted by ``Bounds``.
        text: JSON of the library.
    """
    library = installation.library("tokenizers", "models")
    model, added = raw["model"], raw.get("added_tokens", [])
    if not _is_plain(model) or added is None or any(t.keys() != ADDED for t in added):
        return library.Tokenizer.from_str(text)
    made = library.Tokenizer.from_str(json.dumps({**raw, "model": NOTHING, "added_tokens": []}))
    settings = {name: model[name] for name in FIELDS & model.keys() if model[name] is not None}
    settings["merges"] = list(map(tuple, settings["merges"]))
    del settings["type"]
    made.model = installation.library("tokenizers.models", "models").BPE(**settings)
    made.add_tokens(
        [library.AddedToken(**{k: v for k, v in t.items() if k != "id"}) for t in added]
    )
    return made


@contextmanager
def uncollected() -> Iterator[None]:
    """Inside, Python's collector rests: it would search all that a vocabulary is made of, in vain.

    In a process where it rests already, it goes on resting.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _is_plain(model: Mapping[str, Any]) -> bool:
    """Whether a model is byte pairs with nothing in it that only the library's reader knows."""
    merges = model.get("merges")
    return (
        model.get("type") == "BPE"
        and model.keys() <= FIELDS
        and isinstance(merges, list)
        and set(map(type, merges)) <= {list}
    )
