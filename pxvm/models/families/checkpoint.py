"""A trained model on disk: one GGUF, one safetensors file, or a folder of those with its settings.

``open_checkpoint`` says what the model is and where its weights are; nothing but settings is read
until a weight is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.core.reading import open_binary
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.family import Architecture, Config, Family, Piece, Tensors, Weight
from pxvm.models.families.sentences import read_sentences
from pxvm.models.families.settings import Settings, read_settings
from pxvm.models.families.table import GGUF, HF
from pxvm.models.files.parts import INDEX, open_gguf_parts, open_safetensors_parts, part_paths
from pxvm.models.files.stored import Stored


@dataclass(frozen=True)
class Checkpoint:
    """A model.

    Attributes:
        family: which one it is of, and with it the program that it becomes.
        weights: by the names that the program's builder wants; read when used.
        tokenizer_files: the folder of ``tokenizer.json``, or the pairs of a GGUF.
        notes: what was assumed or left out.
    """

    path: Path
    family: Family
    config: Config
    weights: Mapping[str, Weight]
    tokenizer_files: Path | Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Numbers that were trained."""
        return sum(tensor.count for tensor in self.weights.values())


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Find out what a model is.

    Args:
        path: a ``.gguf``, a ``.safetensors`` with ``config.json`` beside it, or a folder; of a
            model in several files, any of them.

    Raises FormatError when it is damaged or would not be built as it was trained; OSError.
    """
    path = Path(path)
    if path.is_dir():
        if any(path.glob("*.safetensors")) or (path / INDEX).exists():
            return _from_safetensors(path)
        files = {part_paths(file)[0] for file in path.glob("*.gguf")}
        if len(files) != 1:
            raise FormatError(
                f"{path}: expected .safetensors files or one .gguf; found {len(files)} .gguf"
            )
        path = files.pop()
    with open_binary(path) as stream:
        magic = stream.read(4)
    if magic != b"GGUF" and path.suffix == ".safetensors":
        return _from_safetensors(path.parent, path)
    return _from_gguf(path)


def _from_gguf(path: Path) -> Checkpoint:
    file = open_gguf_parts(path)
    settings = Settings(str(path), file.metadata)
    kind = settings.get("general.architecture")
    if not isinstance(kind, str) or kind not in GGUF:
        raise settings.error("general.architecture", f"one of {', '.join(GGUF)}")
    family = GGUF[kind]
    found = family.gguf[kind](settings, file.tensors)
    weights = _bind(path, family, found, file.tensors)
    return Checkpoint(path, family, found.config, weights, file.metadata, found.notes)


def _from_safetensors(folder: Path, file: Path | None = None) -> Checkpoint:
    tensors, left = open_safetensors_parts(folder, file)
    settings = read_settings(folder / "config.json")
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in HF:
        raise settings.error("model_type", f"one of {', '.join(HF)}")
    family = HF[kind]
    found = family.hf[kind](settings, tensors)
    notes = [*found.notes]
    if isinstance(found.config, BertConfig):
        how = read_sentences(folder, found.config.width)
        found = replace(found, config=replace(found.config, pooling=how.pooling, unit=how.unit))
        notes += [how.note] if how.note else []
    if left:
        notes.append(f"{folder}: left out {', '.join(other.name for other in left):.200}")
    path = file or folder
    weights = _bind(path, family, found, tensors)
    return Checkpoint(path, family, found.config, weights, folder, tuple(notes))


def _bind(path: Path, family: Family, found: Architecture, tensors: Tensors) -> dict[str, Weight]:
    """The builder's names to tensors of the right shapes, with none left over."""
    shapes = family.kind.shapes(found.config)
    pieces = {ours: p if isinstance(p, Piece) else Piece(p) for ours, p in found.names.items()}
    used: dict[str, int] = dict.fromkeys((piece.tensor for piece in pieces.values()), 0)
    if missing := sorted(used.keys() - tensors.keys()):
        raise FormatError(f"{path}: expected the tensors {', '.join(missing[:4])}; found none")
    weights = {}
    for ours, piece in pieces.items():
        tensor = piece.of(tensors, path)
        if ours == "type" and len(tensor.shape) == 2:
            assert isinstance(tensor, Stored)
            tensor = replace(tensor, shape=tensor.shape[1:])  # the row of token type 0
        if tensor.shape != shapes[ours]:
            raise FormatError(
                f"{path}: tensor {piece.tensor}: expected {shapes[ours]}; found {tensor.shape}"
            )
        used[piece.tensor] += tensor.shape[0] if piece.rows else 0
        weights[ours] = tensor
    for name, rows in used.items():
        first = min((p.rows[0] for p in pieces.values() if p.rows and p.tensor == name), default=0)
        if rows and first + rows != tensors[name].shape[0]:
            raise FormatError(
                f"{path}: tensor {name}: expected {first + rows} rows; found {tensors[name].shape}"
            )
    left = tensors.keys() - used.keys()
    if strange := sorted(name for name in left if not name.startswith(found.spare)):
        raise FormatError(
            f"{path}: expected no other tensors in a {family.kind.name} model; found"
            f" {', '.join(strange[:4])}; this variant cannot be built"
        )
    return weights
