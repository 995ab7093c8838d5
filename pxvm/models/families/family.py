"""What a family of models is: how its files are read, and which program it becomes.

A new family is one module in ``known`` that makes a ``Family``, and a row in ``table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.core.program import Image
from pxvm.models.families import bert, keys, llama
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.calibrate import llama_fracs
from pxvm.models.families.llama import LlamaConfig
from pxvm.models.families.settings import Settings
from pxvm.models.files.stored import Stored
from pxvm.models.files.views import View, rows_of

Tensors = Mapping[str, Stored]
Config = LlamaConfig | BertConfig
Weight = Stored | View
BATCH = 64  # sentences that an embedder takes at once; the file ships with room for one token
# Settings of a GGUF that change no answer.
HARMLESS = (
    "expert_used_count", "rope.scaling.finetuned", "rope.scaling.original_context_length",
    "tensor_data_layout", "vocab_size",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A program that families share.

    Attributes:
        name: of what it is, in reports.
        shapes: names and shapes of the weights for a config.
        settle: a config and weights as they are built, from those of a file.
        build: (image, measured fraction bits) of a config, weights as they are to be stored, the
            same as real numbers, and what ``build_llama`` and ``build_bert`` take besides.
        speaks: it writes text, rather than vectors.
    """

    name: str
    shapes: Callable[[Any], dict[str, tuple[int, ...]]]
    settle: Callable[[Any, Mapping[str, Any]], tuple[Any, Mapping[str, Any]]]
    build: Callable[..., tuple[Image, dict[str, int]]]
    speaks: bool


def _build_decoder(
    config: LlamaConfig, weights: Mapping[str, Any], real: Mapping[str, Any], **given: Any
) -> tuple[Image, dict[str, int]]:
    fracs = llama_fracs(config, real)
    return llama.build_llama(config, weights, fracs=fracs, **given), fracs


def _build_encoder(
    config: BertConfig, weights: Mapping[str, Any], real: Mapping[str, Any], **given: Any
) -> tuple[Image, dict[str, int]]:
    return bert.resize_rows(bert.build_bert(config, weights, batch=BATCH, **given), 1), {}


DECODER = Kind("llama", llama.weight_shapes, keys.settle, _build_decoder, True)
ENCODER = Kind("bert", bert.weight_shapes, lambda c, w: (c, w), _build_encoder, False)


@dataclass(frozen=True)
class Piece:
    """What of a file's tensor is a weight.

    Attributes:
        rows: (first, count); all where None.
        order: which of those each row is; as they stand where None.
        plus: what is added to each number.
    """

    tensor: str
    rows: tuple[int, int] | None = None
    order: Any = None
    plus: float = 0.0

    def of(self, tensors: Tensors, where: object) -> Weight:
        """The weight. Raises FormatError where the tensor has fewer rows."""
        found: Weight = tensors[self.tensor]
        if self.rows is not None:
            first, count = self.rows
            if found.shape[0] < first + count:
                raise FormatError(
                    f"{where}: tensor {self.tensor}: expected {first + count} rows at least;"
                    f" found {found.shape}"
                )
            found = rows_of(tensors[self.tensor], first, count)
        if self.order is not None or self.plus:
            order = self.order
            if order is not None and len(order) != found.shape[0]:
                raise FormatError(
                    f"{where}: tensor {self.tensor}: expected {len(order)} rows; found"
                    f" {found.shape}"
                )
            found = View(found, order=order, plus=self.plus)
        return found


@dataclass(frozen=True)
class Architecture:
    """What a file holds.

    Attributes:
        config: of the kind's program.
        names: the builder's names of weights to the file's, or to parts of its tensors.
        spare: beginnings of names of tensors that play no part.
        notes: what whoever imports it should know.
    """

    config: Config
    names: Mapping[str, str | Piece]
    spare: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Reader = Callable[[Settings, Tensors], Architecture]


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        about: whom it is for, in a line.
        gguf: readers by GGUF's name of the architecture.
        hf: readers by ``model_type`` of ``config.json``.
        template: the chat template where a file carries none.
    """

    about: str
    kind: Kind
    gguf: Mapping[str, Reader] = field(default_factory=dict)
    hf: Mapping[str, Reader] = field(default_factory=dict)
    template: str | None = None


# What readers share.


def named(
    table: Mapping[str, str], prefix: str, layer: str, shapes: Mapping[str, Any]
) -> dict[str, str | Piece]:
    """The file's name of every weight; ``layer`` is what stands before those of a layer."""
    found: dict[str, str | Piece] = {}
    for name in shapes:
        number, _, part = name.rpartition(".")
        theirs = table[part.removesuffix("_bias")]
        if part.endswith("_bias"):
            theirs = theirs.replace(".weight", ".bias")
        found[name] = prefix + (layer.format(number) if number else "") + theirs
    return found


def vocabulary(where: str, tensors: Tensors, name: str) -> int:
    """Rows of a tensor. Raises FormatError where there is none."""
    if name not in tensors:
        raise FormatError(f"{where}: expected a tensor {name}; found none")
    return tensors[name].shape[0]


def said_vocabulary(settings: Settings, tensors: Tensors, name: str) -> int:
    """The same, which must be what ``vocab_size`` says where it says something."""
    rows = vocabulary(settings.where, tensors, name)
    settings.only("vocab_size", None, rows)
    return rows


def layer_count(settings: Settings, key: str, tensors: Tensors) -> int:
    """Layers, no more than there are tensors."""
    layers = settings.count(key)
    if layers > len(tensors):
        raise settings.error(key, f"at most as many layers as there are tensors, {len(tensors)}")
    return layers


def check_heads(settings: Settings, key: str, width: int, heads: int) -> None:
    """Raise FormatError unless the heads share the width."""
    if width % heads:
        raise settings.error(key, f"a number of heads that divides {width}")


def half_rotated(heads: int, head: int, rotated: int) -> Any:
    """Which row each row is, of queries or keys of which only the first columns of a head turn.

    The halves of those become the first columns of the head's halves, so that columns i and
    i + head / 2 turn together.
    """
    half, rest = rotated // 2, (head - rotated) // 2
    first = np.arange(half)
    still = rotated + np.arange(head - rotated)
    order = np.concatenate([first, still[:rest], half + first, still[rest:]])
    return (np.arange(heads)[:, None] * head + order).reshape(-1)
