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
from pxvm.models.families import bert, llama
from pxvm.models.families.architectures import GGUF, HF, Architecture, Settings, Tensors
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.files.gguf import open_gguf
from pxvm.models.files.safetensors import open_safetensors, parse_json
from pxvm.models.files.stored import Stored

MAX_SETTINGS = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A model.

    Attributes:
        family: "llama" or "bert".
        weights: by the names that ``build_llama`` and ``build_bert`` want; read when used.
        tokenizer_files: the folder of ``tokenizer.json``, or the pairs of a GGUF.
    """

    path: Path
    family: str
    config: LlamaConfig | BertConfig
    weights: Mapping[str, Stored]
    tokenizer_files: Path | Mapping[str, Any]

    @property
    def parameters(self) -> int:
        """Numbers that were trained."""
        return sum(tensor.count for tensor in self.weights.values())


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Find out what a model is.

    Args:
        path: a ``.gguf``, a ``.safetensors`` with ``config.json`` beside it, or a folder.

    Raises FormatError when it is damaged or would not be built as it was trained; OSError.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        single = path / "model.safetensors"
        if files:
            return _from_safetensors(path, [single] if single in files else files)
        files = sorted(path.glob("*.gguf"))
        if len(files) != 1:
            raise FormatError(
                f"{path}: expected .safetensors files or one .gguf; found {len(files)} .gguf"
            )
        path = files[0]
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF" and path.suffix == ".safetensors":
        return _from_safetensors(path.parent, [path])
    return _from_gguf(path)


def _from_gguf(path: Path) -> Checkpoint:
    file = open_gguf(path)
    kind = file.metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in GGUF:
        raise FormatError(f"{path}: expected an architecture of {', '.join(GGUF)}; found {kind!r}")
    found = GGUF[kind](Settings(str(path), file.metadata), file.tensors)
    return Checkpoint(
        path, found.family, found.config, _bind(path, found, file.tensors), file.metadata
    )


def _from_safetensors(folder: Path, files: list[Path]) -> Checkpoint:
    settings = _settings(folder / "config.json")
    kind = settings.values.get("model_type")
    if not isinstance(kind, str) or kind not in HF:
        raise settings.error("model_type", f"one of {', '.join(HF)}")
    tensors: dict[str, Stored] = {}
    for file in files:
        here = open_safetensors(file)
        if twice := tensors.keys() & here.keys():
            raise FormatError(f"{file}: tensor {min(twice)} stands in another file of the folder")
        tensors |= here
    found = HF[kind](settings, tensors)
    if found.family == "bert":
        _check_pooling(folder / "1_Pooling" / "config.json")
    path = files[0] if len(files) == 1 else folder
    return Checkpoint(path, found.family, found.config, _bind(path, found, tensors), folder)


def _settings(path: Path) -> Settings:
    size = path.stat().st_size
    if size > MAX_SETTINGS:
        raise FormatError(f"{path}: expected at most {MAX_SETTINGS} bytes; found {size}")
    return Settings(str(path), parse_json(path.read_bytes(), str(path)))


def _check_pooling(path: Path) -> None:
    """sentence-transformers' pooling, where a file says it, is the mean."""
    if path.exists():
        settings = _settings(path)
        settings.only("pooling_mode_mean_tokens", None, True)
        for key in settings.values:
            if key.startswith("pooling_mode_") and key != "pooling_mode_mean_tokens":
                settings.only(key, False)


def _bind(path: Path, found: Architecture, tensors: Tensors) -> dict[str, Stored]:
    """The builder's names to tensors of the right shapes, with none left over."""
    if isinstance(found.config, LlamaConfig):
        shapes = llama.weight_shapes(found.config)
    else:
        shapes = bert.weight_shapes(found.config)
    if missing := sorted(set(found.names.values()) - tensors.keys()):
        raise FormatError(f"{path}: expected the tensors {', '.join(missing[:4])}; found none")
    weights = {}
    for ours, theirs in found.names.items():
        tensor = tensors[theirs]
        if ours == "type" and len(tensor.shape) == 2:
            tensor = replace(tensor, shape=tensor.shape[1:])  # the row of token type 0
        if tensor.shape != shapes[ours]:
            raise FormatError(
                f"{path}: tensor {theirs}: expected {shapes[ours]}; found {tensor.shape}"
            )
        weights[ours] = tensor
    left = tensors.keys() - set(found.names.values())
    if strange := sorted(name for name in left if not name.startswith(found.spare)):
        raise FormatError(
            f"{path}: expected no other tensors in a {found.family} model; found"
            f" {', '.join(strange[:4])}; this variant cannot be built"
        )
    return weights
