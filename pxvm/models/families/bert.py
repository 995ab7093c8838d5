"""BERT encoders as one program: sentences in, one unit vector each out.

A batch is padded to ``span`` rows a sentence. Tensors of the state, by name:

    ids [rows, 1]         tokens, span rows for each sentence
    position_ids [rows,1] 0, 1, 2, ... within each sentence
    n [1]                 rows in use, sentences * span
    span [1]              rows of a sentence, padding included
    lengths [batch, 1]    rows of each sentence in use, at least 1
    vectors [batch, width] the mean over a sentence's rows in use, or its first row, of length 1

Post-layer-norm as in the original (Devlin et al., 2018), GELU with erf, pooling and, unless a model
does without, L2 normalisation as sentence-transformers do. Caches and row tensors stand at the end
of the image; ``resize_rows`` opens a file with room for more rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pxvm.core.container import PathLike
from pxvm.core.errors import ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from pxvm.models.graph.fields import Fields, fields
from pxvm.models.graph.quantise import (
    Checked,
    Choice,
    Floats,
    add_norm,
    add_table,
    add_weight,
    attention_scale,
    largest,
)
from pxvm.models.graph.resize import resize

RUNS = 65535
FRACS = {"residual": 20, "attention": 20, "ff": 20, "vectors": 24}
# Int8 planes of the activations before each product. Measured on all-MiniLM-L6-v2, worst cosine to
# float32 over 500 sentences: 0.9938 with two planes for qkv alone, 0.9963 with two for up as well.
PLANES = {"qkv": 2, "o": 1, "up": 2, "down": 1}


@dataclass(frozen=True)
class BertConfig:
    """Shapes of a model; the defaults are all-MiniLM-L6-v2's.

    Attributes:
        pooling: "mean" of a sentence's rows, or "cls", its first row.
        unit: whether vectors are brought to length 1.
    """

    layers: int = 6
    width: int = 384
    heads: int = 12
    ff: int = 1536
    vocab: int = 30522
    positions: int = 512
    epsilon: float = 1e-12
    pooling: str = "mean"
    unit: bool = True

    @property
    def head(self) -> int:
        """Columns of one head."""
        return self.width // self.heads


def weight_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that ``build_bert`` wants."""
    c = config
    shapes: dict[str, tuple[int, ...]] = {
        "embedding": (c.vocab, c.width), "positions": (c.positions, c.width),
        "type": (c.width,), "norm": (c.width,), "norm_bias": (c.width,),
    }  # fmt: skip
    for i in range(c.layers):
        for name in ("q", "k", "v", "o"):
            shapes |= {f"{i}.{name}": (c.width, c.width), f"{i}.{name}_bias": (c.width,)}
        for name in ("attention_norm", "ff_norm"):
            shapes |= {f"{i}.{name}": (c.width,), f"{i}.{name}_bias": (c.width,)}
        shapes |= {f"{i}.up": (c.ff, c.width), f"{i}.up_bias": (c.ff,)}
        shapes |= {f"{i}.down": (c.width, c.ff), f"{i}.down_bias": (c.width,)}
    return shapes


def build_bert(
    config: BertConfig,
    weights: Mapping[str, Any],
    *,
    batch: int = 1,
    tokens: int = 1,
    planes: Mapping[str, int] | None = None,
    choice: Choice = largest,
    fracs: Mapping[str, int] | None = None,
    extend: Callable[[NetworkBuilder], None] | None = None,
    width: int | None = None,
) -> Image:
    """Write an encoder as a program.

    Args:
        weights: float arrays with the names and shapes of ``weight_shapes``; ``type`` is the row
            of token type 0.
        batch: sentences at most.
        tokens: capacity in rows is batch * tokens; ``resize_rows`` changes it.
        planes: int8 planes of activations, 1 or 2, other than ``PLANES``.
        choice: steps of a weight's rows, by name; see ``quantise``.
        fracs: fraction bits other than ``FRACS``.
        extend: declares more tensors that the file carries, such as its tokenizer's.
        width: of the image; chosen when None.

    Returns:
        uint8 (height, width, 4).

    Raises ProgramError when a weight is missing, misshapen or not finite.
    """
    weights = Checked(weights, weight_shapes(config))
    frac = FRACS | dict(fracs or {})
    b = NetworkBuilder()
    _shared(b, config, weights, choice, frac, batch, batch * tokens, PLANES | dict(planes or {}))
    for layer in range(config.layers):
        _layer(b, config, weights, choice, frac, layer)
    _program(b, config)
    if extend is not None:
        extend(b)
    if width is None:
        b.fit()
    else:
        b.width = width
    return b.build()


def _shared(
    b: NetworkBuilder, c: BertConfig, weights: Mapping[str, Any], choice: Choice,
    frac: dict[str, int], batch: int, rows: int, planes: dict[str, int],
) -> None:  # fmt: skip
    """Tensors that all layers use: state, embeddings, scratch."""
    for name, number in {"zero": 0, "runs": RUNS, "layers": c.layers}.items():
        b.constant(name, number)
    b.scalar("n")
    b.scalar("span", 1)
    b.tensor("lengths", DType.I32, (batch, 1), Role.STATE, data=np.ones(batch))
    bits = frac["vectors" if c.unit else "residual"]
    b.tensor("vectors", DType.I32, (batch, c.width), Role.STATE, frac=bits)
    if c.unit:
        b.tensor("pooled", DType.I32, (batch, c.width), frac=frac["residual"])
    if c.pooling == "cls":  # the mean of one row
        b.tensor("firsts", DType.I32, (batch, 1), Role.CONSTANT, data=np.ones(batch))
    add_table(b, "normal")
    add_weight(b, "embedding", weights["embedding"], choice)
    places = np.asarray(weights["positions"], np.float64) + np.asarray(weights["type"], np.float64)
    add_weight(b, "positions", places, choice)
    add_norm(b, "norm", weights["norm"], c.epsilon, bias=weights["norm_bias"],
             bias_frac=frac["residual"])  # fmt: skip
    pooled_rows = "firsts" if c.pooling == "cls" else "lengths"
    b.parameters("pool", "MeanPool", span="span", lengths=pooled_rows)
    act = {name: {1: DType.ACT1, 2: DType.ACT2}[number] for name, number in planes.items()}
    tensors = {
        "ids": (DType.I32, 1, 0), "position_ids": (DType.I32, 1, 0),
        "x": (DType.I32, c.width, frac["residual"]), "qkv_act": (act["qkv"], c.width, 0),
        "o_act": (act["o"], c.width, 0), "up_act": (act["up"], c.width, 0),
        "q": (DType.I32, c.width, frac["attention"]), "k": (DType.I32, c.width, frac["attention"]),
        "v": (DType.I32, c.width, frac["attention"]),
        "mixed": (DType.I32, c.width, frac["attention"]),
        "delta": (DType.I32, c.width, frac["residual"]),
        "hidden": (DType.I32, c.ff, frac["ff"]), "down_act": (act["down"], c.ff, 0),
    }  # fmt: skip
    for name, (dtype, cols, bits) in tensors.items():
        role = Role.STATE if name.endswith("ids") else Role.SCRATCH
        b.tensor(name, dtype, (rows, cols), role, frac=bits, length="n", last=True)
    for name in ("k_cache", "v_cache"):
        b.tensor(name, DType.ACT1, (c.heads, rows, c.head), last=True)
    b.parameters("attention", "AttentionFull", k="k_cache", v="v_cache", span="span",
                 lengths="lengths", scale=attention_scale(1 / math.sqrt(c.head)))  # fmt: skip


def _layer(
    b: NetworkBuilder, c: BertConfig, weights: Mapping[str, Any], choice: Choice,
    frac: dict[str, int], layer: int,
) -> None:  # fmt: skip
    """Tensors of one layer; every layer declares the same in the same order."""
    units = {"q": "attention", "k": "attention", "v": "attention", "up": "ff"}
    for name in ("q", "k", "v", "o", "up", "down"):
        add_weight(b, f"{name}_weight", weights[f"{layer}.{name}"], choice, layer=layer,
                   bias=weights[f"{layer}.{name}_bias"],
                   bias_frac=frac[units.get(name, "residual")])  # fmt: skip
    for name in ("attention_norm", "ff_norm"):
        add_norm(b, name, weights[f"{layer}.{name}"], c.epsilon, layer=layer,
                 bias=weights[f"{layer}.{name}_bias"], bias_frac=frac["residual"])  # fmt: skip


def _program(b: NetworkBuilder, c: BertConfig) -> None:
    b.emit("Loop", "runs", 0)
    b.emit("Embed", "x", "ids", "embedding")
    b.emit("Embed", "delta", "position_ids", "positions")
    b.emit("Add", "x", "x", "delta")
    b.emit("LayerNorm", "x", "x", "norm")
    b.emit("Loop", "layers", b.layer_size)
    b.emit("Quantise", "qkv_act", "x")
    for name in ("q", "k", "v"):
        b.emit("Linear", name, "qkv_act", f"{name}_weight")
    b.emit("Append", "k_cache", "k", "zero")
    b.emit("Append", "v_cache", "v", "zero")
    b.emit("AttentionFull", "mixed", "q", "attention")
    b.emit("Quantise", "o_act", "mixed")
    b.emit("Linear", "delta", "o_act", "o_weight")
    b.emit("Add", "x", "x", "delta")
    b.emit("LayerNorm", "x", "x", "attention_norm")
    b.emit("Quantise", "up_act", "x")
    b.emit("Linear", "hidden", "up_act", "up_weight")
    b.emit("Gate", "hidden", "hidden", "normal")
    b.emit("Quantise", "down_act", "hidden")
    b.emit("Linear", "delta", "down_act", "down_weight")
    b.emit("Add", "x", "x", "delta")
    b.emit("LayerNorm", "x", "x", "ff_norm")
    b.emit("EndLoop")
    b.emit("MeanPool", "pooled" if c.unit else "vectors", "x", "pool")
    if c.unit:
        b.emit("L2Norm", "vectors", "pooled")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")


def resize_rows(source: Image | PathLike, rows: int) -> Image:
    """Open a program with room for ``rows`` tokens in all."""
    return resize(source, context=rows, prompt=rows)


def set_sentences(image: Image | Fields, sentences: Sequence[Sequence[int]]) -> None:
    """Give the next execution its sentences, each a list of token numbers.

    Raises ProgramError when they exceed the batch, the rows, or the positions.
    """
    f = fields(image)
    batch, rows = f.descriptor("lengths").rows, f.descriptor("ids").rows
    span = max(map(len, sentences), default=0)
    limit = f.descriptor("positions").rows
    fits = 1 <= len(sentences) <= batch and len(sentences) * span <= rows and span <= limit
    if not fits or not all(sentences):
        raise ProgramError(
            f"expected 1 to {batch} sentences of 1 to {limit} tokens, in {rows} rows when padded;"
            f" found {len(sentences)} of up to {span}"
        )
    ids = np.zeros((len(sentences), span), np.int64)
    for row, sentence in zip(ids, sentences, strict=True):
        row[: len(sentence)] = sentence
    f["ids"] = ids.reshape(-1, 1)
    f["position_ids"] = np.tile(np.arange(span), len(sentences))[:, None]
    f["lengths"] = [len(s) for s in sentences]
    f["span"], f["n"] = span, len(sentences) * span


def vectors(image: Image | Fields, count: int) -> Floats:
    """The unit vectors of the first ``count`` sentences, float64 [count, width]."""
    f = fields(image)
    return np.asarray(f.real("vectors")[:count])
