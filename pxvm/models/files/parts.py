"""Models in several files: which of a folder's belong together, and none of them missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.core.reading import read_bytes
from pxvm.models.files.gguf import GgufFile, open_gguf
from pxvm.models.files.safetensors import open_safetensors, parse_json
from pxvm.models.files.stored import Stored

INDEX = "model.safetensors.index.json"
MAX_INDEX = 1 << 26
PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.gguf|\.safetensors)")


def part_paths(path: Path) -> list[Path]:
    """All parts of the model that a file is a part of, in order; the file where it is whole.

    Raises FormatError naming a part that is missing.
    """
    match = PART.fullmatch(path.name)
    if match is None:
        return [path]
    name, _, count, ending = match.groups()
    found = []
    for number in range(1, int(count) + 1):
        part = path.with_name(f"{name}-{number:05}-of-{count}{ending}")
        if not part.exists():
            raise FormatError(f"{path}: expected {part.name} beside it; found none: fetch it too")
        found.append(part)
    return found or [path]


def open_gguf_parts(path: Path) -> GgufFile:
    """A GGUF with the tensors of all its parts; what it says stands in the first.

    Raises FormatError; OSError.
    """
    paths = part_paths(path)
    files = [open_gguf(part) for part in paths]
    for number, file in enumerate(files):
        said = [file.metadata.get(f"split.{key}") for key in ("no", "count")]
        if said not in ([None, None], [number, len(files)]):
            raise FormatError(
                f"{file.path}: expected part {number} of {len(files)}; found {said!r:.60}: keep"
                " names such as model-00001-of-00003.gguf"
            )
    tensors = _together((file.path, file.tensors) for file in files)
    total = files[0].metadata.get("split.tensors.count")
    if total is not None and total != len(tensors):
        raise FormatError(f"{path}: expected {total!r:.20} tensors in all; found {len(tensors)}")
    return GgufFile(paths[0], files[0].metadata, tensors)


def open_safetensors_parts(
    folder: Path, file: Path | None = None
) -> tuple[Mapping[str, Stored], list[Path]]:
    """The tensors of a folder's model, and its files that are no part of it.

    Args:
        file: one that was named; its parts where it is one of several.

    What belongs together says ``model.safetensors.index.json``, or the files' numbers.

    Raises FormatError naming a file that is missing, or those between which nothing decides.
    """
    every = sorted(folder.glob("*.safetensors"))
    index, single = folder / INDEX, folder / "model.safetensors"
    if file is not None:
        chosen = part_paths(file)
    elif single in every:
        chosen = [single]
    elif index.exists():
        return _by_index(index), []
    else:
        sets = {tuple(part_paths(path)) for path in every if path.stem != "adapter_model"}
        if len(sets) > 1:  # parts that are numbered go together, the others are something else
            sets = {paths for paths in sets if PART.fullmatch(paths[0].name)} or sets
        if len(sets) != 1:
            names = ", ".join(path.name for path in every[:4]) or "none"
            raise FormatError(f"{folder}: expected model.safetensors or {INDEX}; found {names}")
        chosen = list(sets.pop())
    tensors = _together((path, open_safetensors(path)) for path in chosen)
    return tensors, [path for path in every if path not in chosen and file is None]


def _by_index(path: Path) -> Mapping[str, Stored]:
    places = parse_json(read_bytes(path, MAX_INDEX), str(path)).get("weight_map")
    if not isinstance(places, Mapping) or not all(map(_is_file_name, places.values())):
        raise FormatError(f"{path}: weight_map: expected the names of files by those of tensors")
    files = {name: path.with_name(name) for name in sorted(set(places.values()))}
    for name, file in files.items():
        if not file.exists():
            raise FormatError(f"{path}: expected {name} beside it; found none: fetch it too")
    tensors = _together((file, open_safetensors(file)) for file in files.values())
    for name, tensor in tensors.items():
        if places.get(name, tensor.path.name) != tensor.path.name:
            raise FormatError(
                f"{path}: tensor {name}: expected in {places[name]}; found in {tensor.path.name}"
            )
    return tensors


def _is_file_name(value: Any) -> bool:
    """Whether a name is that of a file in the same folder."""
    return isinstance(value, str) and value.endswith(".safetensors") and Path(value).name == value


def _together(files: Iterable[tuple[Path, Mapping[str, Stored]]]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for path, tensors in files:
        if twice := found.keys() & tensors.keys():
            raise FormatError(f"{path}: tensor {min(twice)} stands in another file of the folder")
        found |= tensors
    return found
