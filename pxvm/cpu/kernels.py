"""The kernel of each opcode: compiled by itself when a program first needs it, called by address.

The loop knows kernels only as addresses in ``Context.kernels``, so that neither it nor a kernel is
compiled again with every other one. All have one signature: the context's address, the thread's
number, the descriptors G, B and A, and the turn of the counter that hands out work.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import types

from pxvm.cpu.attention import CAUSAL, FULL, WINDOW, append, attention
from pxvm.cpu.compiler import context_at, object_code
from pxvm.cpu.fourbit import linear_groups
from pxvm.cpu.loop import run
from pxvm.cpu.memory import DTYPE, I4
from pxvm.cpu.moving import blit, copy, push, sample, transpose
from pxvm.cpu.products import linear
from pxvm.cpu.rowwise import (
    binary,
    columns,
    dot,
    embed,
    fill,
    l2_norm,
    lookup,
    mean_pool,
    norm,
    pool,
    quantise,
    reduce,
    relu,
    rope,
    select,
    softmax,
    tail,
    top_k,
)
from pxvm.cpu.wide import conv2d, matmul

KERNELS: dict[str, Callable[..., None]] = {}


def executes(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a function as the kernel of an opcode."""

    def mark(function: Callable[..., None]) -> Callable[..., None]:
        KERNELS[name] = function
        return function

    return mark


def object_of(name: str) -> bytes:
    """Machine code of an opcode's kernel, or of the loop under the name "loop"."""
    if name == "loop":
        return object_code(run, types.int64, 3)
    return object_code(KERNELS[name], types.none, 6)


@executes("Embed")
def _embed(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    embed(context_at(p), tid, g, b, a)


@executes("Linear")
def _linear(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    c = context_at(p)
    if c.tensors[a, DTYPE] == I4:
        linear_groups(c, tid, g, b, a, turn)
    else:
        linear(c, tid, g, b, a, turn)


@executes("MatMul")
def _matmul(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    matmul(context_at(p), tid, g, b, a)


@executes("Conv2D")
def _conv2d(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    conv2d(context_at(p), tid, g, b, a)


@executes("AttentionCausal")
def _attention_causal(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    attention(context_at(p), tid, g, b, a, CAUSAL, turn)


@executes("AttentionFull")
def _attention_full(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    attention(context_at(p), tid, g, b, a, FULL, turn)


@executes("AttentionWindow")
def _attention_window(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    attention(context_at(p), tid, g, b, a, WINDOW, turn)


@executes("Append")
def _append(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    append(context_at(p), tid, g, b, a)


@executes("RoPEPairs")
def _rope_pairs(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    rope(context_at(p), tid, g, b, a, True)


@executes("RoPEHalves")
def _rope_halves(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    rope(context_at(p), tid, g, b, a, False)


@executes("Add")
def _add(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    binary(context_at(p), tid, g, b, a, 0)


@executes("Mul")
def _mul(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    binary(context_at(p), tid, g, b, a, 1)


@executes("Less")
def _less(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    binary(context_at(p), tid, g, b, a, 2)


@executes("Equal")
def _equal(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    binary(context_at(p), tid, g, b, a, 3)


@executes("Gate")
def _gate(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    lookup(context_at(p), tid, g, b, a, True)


@executes("Table")
def _table(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    lookup(context_at(p), tid, g, b, a, False)


@executes("ReLU")
def _relu(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    relu(context_at(p), tid, g, b)


@executes("Select")
def _select(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    select(context_at(p), tid, g, b, a)


@executes("Quantise")
def _quantise(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    quantise(context_at(p), tid, g, b)


@executes("RMSNorm")
def _rms_norm(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    norm(context_at(p), tid, g, b, a, False)


@executes("LayerNorm")
def _layer_norm(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    norm(context_at(p), tid, g, b, a, True)


@executes("L2Norm")
def _l2_norm(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    l2_norm(context_at(p), tid, g, b)


@executes("Softmax")
def _softmax(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    softmax(context_at(p), tid, g, b)


@executes("Sum")
def _sum(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    reduce(context_at(p), tid, g, b, 0)


@executes("Max")
def _max(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    reduce(context_at(p), tid, g, b, 1)


@executes("Mean")
def _mean(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    reduce(context_at(p), tid, g, b, 2)


@executes("Argmax")
def _argmax(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    reduce(context_at(p), tid, g, b, 3)


@executes("TopK")
def _top_k(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    top_k(context_at(p), tid, g, b, a)


@executes("Dot")
def _dot(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    dot(context_at(p), tid, g, b, a)


@executes("MeanPool")
def _mean_pool(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    mean_pool(context_at(p), tid, g, b, a)


@executes("MaxPool")
def _max_pool(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    pool(context_at(p), tid, g, b, a, False)


@executes("AvgPool")
def _avg_pool(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    pool(context_at(p), tid, g, b, a, True)


@executes("Slice")
def _slice(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    columns(context_at(p), tid, g, b, a, False)


@executes("Concat")
def _concat(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    columns(context_at(p), tid, g, b, a, True)


@executes("Tail")
def _tail(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    tail(context_at(p), tid, g, b)


@executes("Fill")
def _fill(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    fill(context_at(p), tid, g, b)


# One thread does what follows.


@executes("Sample")
def _sample(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:
        sample(context_at(p), tid, g, b, a)


@executes("Push")
def _push(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:
        push(context_at(p), tid, g, b, a)


@executes("Copy")
def _copy(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:
        copy(context_at(p), tid, g, b)


@executes("Transpose")
def _transpose(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:
        transpose(context_at(p), tid, g, b, a)


@executes("Blit")
def _blit(p: int, tid: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:
        blit(context_at(p), tid, g, b, a)
