"""Language models of Llama's kind as one program: a loop over layers inside a loop over tokens.

What families do differently is said by a ``LlamaConfig``; each layer runs the same instructions,
and what differs between layers (a window, which rotary table) stands in descriptors of the layer.

One execution takes the tokens in ``ids`` through all layers, draws the next one, makes it the only
token in ``ids``, and yields; running on generates token after token. Tensors of the state, by name:

    ids [prompt, 1]       tokens to take in; rows in use: count
    count [1]             how many; 1 after each execution that drew a token
    answer [1]            1: draw a token; 0: only take the tokens in (all but a prompt's last part)
    position [1]          tokens in the caches
    token [1, 1]          the token drawn last
    output [context, 1]   the tokens drawn so far, output_length [1] of them
    history [context, 1]  the tokens taken in so far, history_length [1]: the penalty sees them
    logits [1, vocab]     of the last token; with all_logits [prompt, vocab] of every one
    masked [1]            1: mask is added to the logits before a token is drawn
    mask [1, vocab]       0 for tokens that may be drawn, FORBIDDEN for others
    temperature, top_p, penalty [1] with 16 fraction bits; top_k [1] (1 to 1,024); random [2]

Caches ``<layer>.k_cache`` and ``.v_cache`` [kv heads, context, head width] and the tensors of
``prompt`` rows stand at the end of the image, so that a file can ship small and be opened with
``resize_context`` for any context up to the rotary table's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pxvm.core.container import PathLike
from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints, next_random
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from pxvm.models.graph.fields import Fields, fields
from pxvm.models.graph.quantise import (
    ROPE_FRAC,
    Checked,
    Choice,
    Floats,
    add_norm,
    add_table,
    add_weight,
    attention_scale,
    fixed,
    largest,
    rope_table,
)
from pxvm.models.graph.resize import resize

RUNS = 65535
WIDE = 1 << 20  # the window of a layer that sees everything
FRACS = {"residual": 12, "attention": 16, "gate": 16, "product": 13, "logits": 16}
FORBIDDEN = -(1 << 30)  # a logit of -16,384, far below any that a network computes


@dataclass(frozen=True)
class LlamaConfig:
    """Shapes of a model.

    Attributes:
        context: positions of the rotary table, the longest text.
        interleaved: rotary pairs are elements 2i and 2i + 1 (GGUF), else i and i + w/2.
        tied: the output weight is the embedding.
        frequencies: rotary rates [head width / 2] where rope_base does not say it all; a pair
            whose rate is 0 stays as it is.
        amplitude: factor of the pairs that turn.
        qk_norm: queries and keys are normalised, each head by itself.
        post_norms: what attention and the feed-forward network give is normalised, too.
        activation: the table of the gate, "sigmoid" (SiLU) or "normal_tanh" (GELU).
        embedding_scale: factor of the embeddings.
        score_scale: factor of queries times keys; 1 / sqrt(head width) where None.
        window: tokens that the sliding layers see.
        sliding: numbers of those layers.
        local_frequencies: rotary rates of the sliding layers, where they have their own.
        unrotated: numbers of layers without rotary positions.
        key_shift: a constant is taken from the keys, as weights ``k_shift``: see ``keys``.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    ff: int
    vocab: int
    rope_base: float = 10000.0
    epsilon: float = 1e-5
    context: int = 2048
    interleaved: bool = True
    tied: bool = True
    qkv_bias: bool = False
    head_width: int | None = None
    frequencies: Floats | None = None
    amplitude: float = 1.0
    qk_norm: bool = False
    post_norms: bool = False
    activation: str = "sigmoid"
    embedding_scale: float = 1.0
    score_scale: float | None = None
    window: int = WIDE
    sliding: frozenset[int] = field(default_factory=frozenset)
    local_frequencies: Floats | None = None
    unrotated: frozenset[int] = field(default_factory=frozenset)
    key_shift: bool = False

    @property
    def head(self) -> int:
        """Columns of one head."""
        return self.head_width or self.width // self.heads

    @property
    def scale(self) -> float:
        """Factor of queries times keys."""
        return self.score_scale or 1 / math.sqrt(self.head)

    def rope(self, positions: int, local: bool = False) -> Ints:
        """The rotary table [positions, head width]; ``local``: of the sliding layers."""
        rates = self.local_frequencies if local else self.frequencies
        return rope_table(positions, self.head, self.rope_base, rates, self.amplitude)


def weight_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that ``build_llama`` wants."""
    c = config
    q, kv = c.heads * c.head, c.kv_heads * c.head
    layer: dict[str, tuple[int, ...]] = {
        "attention_norm": (c.width,), "q": (q, c.width), "k": (kv, c.width), "v": (kv, c.width),
        "o": (c.width, q), "ff_norm": (c.width,), "gate": (c.ff, c.width), "up": (c.ff, c.width),
        "down": (c.width, c.ff),
    }  # fmt: skip
    if c.qkv_bias:
        layer |= {"q_bias": (q,), "k_bias": (kv,), "v_bias": (kv,)}
    if c.qk_norm:
        layer |= {"q_norm": (c.head,), "k_norm": (c.head,)}
    if c.post_norms:
        layer |= {"o_norm": (c.width,), "down_norm": (c.width,)}
    if c.key_shift:
        layer |= {"k_shift": (kv,)}
    shapes: dict[str, tuple[int, ...]] = {"embedding": (c.vocab, c.width), "norm": (c.width,)}
    shapes |= {} if c.tied else {"output": (c.vocab, c.width)}
    return shapes | {f"{i}.{n}": s for i in range(c.layers) for n, s in layer.items()}


def build_llama(
    config: LlamaConfig,
    weights: Mapping[str, Any],
    *,
    context: int = 1,
    prompt: int = 1,
    choice: Choice = largest,
    fracs: Mapping[str, int] | None = None,
    all_logits: bool = False,
    extend: Callable[[NetworkBuilder], None] | None = None,
    width: int | None = None,
) -> Image:
    """Write a model as a program.

    Args:
        weights: float arrays with the names and shapes of ``weight_shapes``; each is read once.
        context: tokens that the caches hold; ``resize_context`` changes it.
        prompt: tokens in one execution, likewise.
        choice: steps of a weight's rows, by name ("3.down"); see ``quantise``.
        fracs: fraction bits other than ``FRACS``.
        all_logits: logits of every token instead of drawing one: for perplexity.
        extend: declares more tensors that the file carries, such as its tokenizer's.
        width: of the image; chosen when None.

    Returns:
        uint8 (height, width, 4).

    Raises ProgramError when a weight is missing, misshapen or not finite.
    """
    weights = Checked(weights, weight_shapes(config))
    frac = FRACS | dict(fracs or {})
    b = NetworkBuilder()
    _shared(b, config, weights, choice, frac, prompt, all_logits)
    for layer in range(config.layers):
        _layer(b, config, weights, choice, frac, context, layer)
    _program(b, config, all_logits)
    if extend is not None:
        extend(b)
    if width is None:
        b.fit()
    else:
        b.width = width
    return b.build()


def _shared(
    b: NetworkBuilder, c: LlamaConfig, weights: Mapping[str, Any], choice: Choice,
    frac: dict[str, int], prompt: int, all_logits: bool,
) -> None:  # fmt: skip
    """Tensors that all layers use: state, weights around the layers, scratch."""
    numbers = {"one": 1, "runs": RUNS, "layers": c.layers, "places": c.context}
    for name, number in numbers.items():
        b.constant(name, number)
    for name in ("n", "count", "position", "output_length", "history_length", "seen"):
        b.scalar(name)
    b.scalar("answer", 1)
    for name in ("temperature", "top_p", "penalty"):
        value = 0 if name == "temperature" else 1 << 16
        b.tensor(name, DType.I32, (1,), Role.STATE, frac=16, data=[value])
    b.scalar("top_k", 40)
    b.tensor("random", DType.I32, (2,), Role.STATE)
    b.tensor("token", DType.I32, (1, 1), Role.STATE)
    b.tensor("output", DType.I32, (c.context, 1), Role.STATE)
    b.tensor("history", DType.I32, (c.context, 1), Role.STATE, length="seen")
    add_table(b, c.activation)
    for name, local in (("rope", False), ("local_rope", True)):
        if not local or c.local_frequencies is not None:
            rope = c.rope(c.context, local)
            b.tensor(name, DType.I16, rope.shape, Role.CONSTANT, frac=ROPE_FRAC, data=rope)
    if c.embedding_scale != 1:
        data = fixed("embedding_scale", [c.embedding_scale], 16)
        b.tensor("embedding_scale", DType.I32, (1,), Role.CONSTANT, frac=16, data=data)
    add_weight(b, "embedding", weights["embedding"], choice)
    if not c.tied:
        add_weight(b, "output_weight", weights["output"], choice)
    add_norm(b, "norm", weights["norm"], c.epsilon)
    rows = {
        "ids": (DType.I32, 1, 0), "x": (DType.I32, c.width, frac["residual"]),
        "normed": (DType.ACT2, c.width, 0), "q": (DType.I32, c.heads * c.head, frac["attention"]),
        "k": (DType.I32, c.kv_heads * c.head, frac["attention"]),
        "v": (DType.I32, c.kv_heads * c.head, frac["attention"]),
        "mixed": (DType.I32, c.heads * c.head, frac["attention"]),
        "mixed_act": (DType.ACT2, c.heads * c.head, 0),
        "delta": (DType.I32, c.width, frac["residual"]), "gate": (DType.I32, c.ff, frac["gate"]),
        "up": (DType.I32, c.ff, frac["gate"]), "product": (DType.I32, c.ff, frac["product"]),
        "product_act": (DType.ACT2, c.ff, 0),
    }  # fmt: skip
    for name, (dtype, cols, bits) in rows.items():
        role = Role.STATE if name == "ids" else Role.SCRATCH
        b.tensor(name, dtype, (prompt, cols), role, frac=bits, length="n", last=True)
    if all_logits:
        b.tensor("logits", DType.I32, (prompt, c.vocab), Role.STATE, frac=frac["logits"],
                 length="n", last=True)  # fmt: skip
        return
    b.tensor("logits", DType.I32, (1, c.vocab), Role.STATE, frac=frac["logits"])
    b.scalar("masked")
    b.tensor("mask", DType.I32, (1, c.vocab), Role.STATE, frac=frac["logits"])
    b.tensor("last", DType.I32, (1, c.width), frac=frac["residual"])
    b.tensor("last_normed", DType.ACT2, (1, c.width))
    b.parameters("sampler", "Sample", temperature="temperature", top_k="top_k", top_p="top_p",
                 penalty="penalty", history="history", random="random")  # fmt: skip


def _layer(
    b: NetworkBuilder, c: LlamaConfig, weights: Mapping[str, Any], choice: Choice,
    frac: dict[str, int], context: int, layer: int,
) -> None:  # fmt: skip
    """Tensors of one layer; every layer declares the same in the same order."""
    norms = ["attention_norm", "ff_norm"]
    norms += ["q_norm", "k_norm"] if c.qk_norm else []
    norms += ["o_norm", "down_norm"] if c.post_norms else []
    for name in norms:
        add_norm(b, name, weights[f"{layer}.{name}"], c.epsilon, layer=layer)
    for name in ("q", "k", "v", "o", "gate", "up", "down"):
        bias = weights[f"{layer}.{name}_bias"] if c.qkv_bias and name in "qkv" else None
        add_weight(b, f"{name}_weight", weights[f"{layer}.{name}"], choice, bias=bias,
                   bias_frac=frac["attention"], layer=layer)  # fmt: skip
    for name in ("k_cache", "v_cache"):
        b.tensor(
            name, DType.ACT1, (c.kv_heads, context, c.head), Role.STATE, layer=layer, last=True
        )
    if c.key_shift:
        data = fixed("k_shift", weights[f"{layer}.k_shift"], frac["attention"])
        b.tensor("k_shift", DType.I32, (c.kv_heads * c.head,), Role.CONSTANT,
                 frac=frac["attention"], data=data, layer=layer)  # fmt: skip
    for name, value in _flags(c, layer).items():
        b.constant(name, value, layer)
    named: dict[str, Any] = {"k": "k_cache", "v": "v_cache", "position": "position",
                             "scale": attention_scale(c.scale)}  # fmt: skip
    if c.sliding:
        named["window"] = min(c.window, WIDE) if layer in c.sliding else WIDE
    b.parameters("attention", _attention(c), layer=layer, **named)


def _flags(c: LlamaConfig, layer: int) -> dict[str, int]:
    """What a layer turns its queries and keys by, where layers differ: 1 where it does."""
    local = c.local_frequencies is not None and layer in c.sliding
    flags = {"rope": int(layer not in c.unrotated and not local), "local_rope": int(local)}
    differ = {"rope": bool(c.unrotated) or c.local_frequencies is not None,
              "local_rope": c.local_frequencies is not None}  # fmt: skip
    return {f"has_{name}": flags[name] for name, varies in differ.items() if varies}


def _attention(c: LlamaConfig) -> str:
    return "AttentionWindow" if c.sliding else "AttentionCausal"


def _rotate(b: NetworkBuilder, c: LlamaConfig) -> None:
    """Positions of queries and keys."""
    rope, flags = "RoPEPairs" if c.interleaved else "RoPEHalves", _flags(c, 0)
    for table in ("rope", "local_rope"):
        if f"has_{table}" in flags:
            b.emit("SkipIfZero", f"has_{table}", 2)
        elif table != "rope":
            continue
        for name in ("q", "k"):
            b.emit(rope, name, table, "position")


def _program(b: NetworkBuilder, c: LlamaConfig, all_logits: bool) -> None:
    b.emit("Loop", "runs", 0)
    b.emit("Copy", "n", "count")
    b.emit("Copy", "seen", "places")  # nothing is pushed to a tensor that is not in use
    b.emit("Push", "history", "ids", "history_length")
    b.emit("Copy", "seen", "history_length")
    b.emit("Embed", "x", "ids", "embedding")
    if c.embedding_scale != 1:
        b.emit("Mul", "x", "x", "embedding_scale")
    b.emit("Loop", "layers", b.layer_size)
    b.emit("RMSNorm", "normed", "x", "attention_norm")
    for name in ("q", "k", "v"):
        b.emit("Linear", name, "normed", f"{name}_weight")
    for name in ("q", "k") if c.qk_norm else ():
        b.emit("RMSNorm", name, name, f"{name}_norm")
    _rotate(b, c)
    if c.key_shift:
        b.emit("Add", "k", "k", "k_shift")
    b.emit("Append", "k_cache", "k", "position")
    b.emit("Append", "v_cache", "v", "position")
    b.emit(_attention(c), "mixed", "q", "attention")
    b.emit("Quantise", "mixed_act", "mixed")
    b.emit("Linear", "delta", "mixed_act", "o_weight")
    if c.post_norms:
        b.emit("RMSNorm", "delta", "delta", "o_norm")
    b.emit("Add", "x", "x", "delta")
    b.emit("RMSNorm", "normed", "x", "ff_norm")
    b.emit("Linear", "gate", "normed", "gate_weight")
    b.emit("Linear", "up", "normed", "up_weight")
    b.emit("Gate", "gate", "gate", c.activation)
    b.emit("Mul", "product", "gate", "up")
    b.emit("Quantise", "product_act", "product")
    b.emit("Linear", "delta", "product_act", "down_weight")
    if c.post_norms:
        b.emit("RMSNorm", "delta", "delta", "down_norm")
    b.emit("Add", "x", "x", "delta")
    b.emit("EndLoop")
    b.emit("Add", "position", "position", "n")
    weight = "embedding" if c.tied else "output_weight"
    if all_logits:
        b.emit("RMSNorm", "normed", "x", "norm")
        b.emit("Linear", "logits", "normed", weight)
    else:
        b.emit("SkipIfZero", "answer", 9)
        b.emit("Tail", "last", "x")
        b.emit("RMSNorm", "last_normed", "last", "norm")
        b.emit("Linear", "logits", "last_normed", weight)
        b.emit("SkipIfZero", "masked", 1)
        b.emit("Add", "logits", "logits", "mask")
        b.emit("Sample", "token", "logits", "sampler")
        b.emit("Push", "output", "token", "output_length")
        b.emit("Copy", "ids", "token")
        b.emit("Copy", "count", "one")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")


def resize_context(source: Image | PathLike, context: int, *, prompt: int | None = None) -> Image:
    """Open a program with caches for ``context`` tokens (and ``prompt`` tokens an execution)."""
    return resize(source, context=context, prompt=prompt)


def set_tokens(image: Image | Fields, ids: Sequence[int], *, answer: bool = True) -> None:
    """Give the next execution its tokens; ``answer`` False takes them in and draws none.

    The token drawn last is not in the caches yet: to go on after an answer, put it first.

    Raises ProgramError when they exceed an execution's or the context's capacity.
    """
    f = fields(image)
    capacity = f.descriptor("ids").rows
    cache = next(d for d in f.network.descriptors if d.name.endswith("k_cache"))
    context = min(cache.extents[1], f.descriptor("rope").rows)
    position = f.scalar("position")
    if not 1 <= len(ids) <= capacity or position + len(ids) > context:
        raise ProgramError(
            f"expected 1 to {capacity} tokens and room for them after {position} of {context};"
            f" found {len(ids)}; open the program with more, or feed the text in parts"
        )
    f["ids"] = ids
    f["count"] = len(ids)
    f["answer"] = int(answer)


def reset(image: Image | Fields) -> None:
    """Forget the text: an empty context, no output; the sampler stays as it is set."""
    f = fields(image)
    for name in ("count", "position", "output_length", "history_length", "seen"):
        f[name] = 0
    f["answer"] = 1
    f.restart()


def set_sampler(
    image: Image | Fields,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    penalty: float | None = None,
    seed: int | None = None,
) -> None:
    """Set the sampler; None leaves a setting. Temperature 0 takes the most likely token.

    The seed is that of PCG32: state = (increment + seed) advanced once.
    """
    f = fields(image)
    for name, value in (("temperature", temperature), ("top_p", top_p), ("penalty", penalty)):
        if value is not None:
            f.set_real(name, value)
    if top_k is not None:
        f["top_k"] = top_k
    if seed is not None:
        state, _ = next_random((next_random(0)[0] + seed) % 2**64)
        f["random"] = [state & 0xFFFFFFFF, state >> 32]


def tokens(image: Image | Fields) -> list[int]:
    """The tokens drawn so far."""
    f = fields(image)
    return [int(t) for t in f.rows("output", f.scalar("output_length"))[:, 0]]
