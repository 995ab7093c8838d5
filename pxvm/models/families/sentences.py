"""How sentence-transformers make one vector of a sentence's tokens: ``modules.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.core.reading import read_bytes
from pxvm.models.families.settings import read_settings
from pxvm.models.files.safetensors import parse_json

MODULES = ("Transformer", "Pooling", "Normalize")
FLAG = "pooling_mode_"
MAX_MODULES = 1 << 16
FLAGS = {"cls_token": "cls", "mean_tokens": "mean"}


@dataclass(frozen=True)
class Sentences:
    """What is done with the vectors of a sentence's tokens.

    Attributes:
        pooling: "mean" of all tokens or "cls", the first one's.
        unit: whether the result is brought to length 1.
        note: what is assumed because no file says it; "" where one does.
    """

    pooling: str = "mean"
    unit: bool = True
    note: str = ""


def read_sentences(folder: Path, width: int) -> Sentences:
    """What the files of a folder say.

    Args:
        width: of a token's vector.

    Raises FormatError naming the file and the module that cannot be built; OSError.
    """
    path = folder / "modules.json"
    prompts = read_settings(folder / "config_sentence_transformers.json", optional=True)
    prompts.only("default_prompt_name", None)
    if not path.exists():
        pooling = folder / "1_Pooling" / "config.json"
        if pooling.exists():
            return Sentences(_pooling(pooling, width))
        return Sentences(
            note=f"{folder}: no modules.json says how a sentence's tokens become one vector: their"
            " mean is taken, of length 1"
        )
    modules = _modules(path)
    kinds = tuple(kind for kind, _ in modules)
    if kinds not in (MODULES, MODULES[:2]):
        raise FormatError(
            f"{path}: expected the modules {', '.join(MODULES)}, the last or not; found"
            f" {', '.join(kinds):.100}: this variant cannot be built"
        )
    if modules[0][1]:
        raise FormatError(f"{path}: expected the Transformer in the folder itself")
    return Sentences(_pooling(folder / modules[1][1] / "config.json", width), len(kinds) == 3)


def _modules(path: Path) -> list[tuple[str, str]]:
    """(kind, folder) of each module."""
    data = read_bytes(path, MAX_MODULES)
    entries: Any = parse_json(b'{"modules":%b}' % data, str(path))["modules"]
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        match entry:
            case {"type": str(kind), "path": str(where)} if where == Path(where).name:
                found.append((kind.rpartition(".")[2], where))
            case _:
                raise FormatError(
                    f"{path}: expected modules with type and path; found {entry!r:.60}"
                )
    return found


def _pooling(path: Path, width: int) -> str:
    """ "mean" or "cls"."""
    settings = read_settings(path)
    for key in ("word_embedding_dimension", "embedding_dimension"):
        settings.only(key, None, width)
    settings.only("pooling_mode", None, "mean", "cls")
    named = settings.get("pooling_mode")
    flags = {"mean_tokens": named is None}  # on unless it is off, as sentence-transformers read it
    for key in settings.values:
        if key.startswith(FLAG):
            settings.only(key, *((True, False) if key.removeprefix(FLAG) in FLAGS else (False,)))
            flags[key.removeprefix(FLAG)] = settings.values[key]
    wanted = {FLAGS[flag] for flag, on in flags.items() if on} | ({named} if named else set())
    if len(wanted) != 1:
        raise settings.error("pooling_mode", f"one of mean and cls, not {', '.join(wanted)}")
    return str(wanted.pop())
