"""The interpreter's loop: fetch, decode, execute, compiled, the same in every thread.

Each thread keeps its own registers and takes the same path, because after every instruction a
barrier makes the pixels that a path depends on the same for all. Thread 0 stores the state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core import isa
from pxvm.core.tensor import HALTED, READY, YIELDED, State
from pxvm.cpu.attention import append, attention
from pxvm.cpu.intrinsics import barrier
from pxvm.cpu.memory import (
    DTYPE,
    ROLE,
    ROW_WORDS,
    THREADS,
    jit,
    part,
    row_at,
    scalar,
    used_rows,
    wrapped,
)
from pxvm.cpu.moving import blit, copy, push, sample, transpose
from pxvm.cpu.products import COUNTER, conv2d, linear
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

_OP = {op.name: op.code for op in isa.OPCODES if op.dialect == 1}
HALT, YIELD, LOOP, END_LOOP = _OP["Halt"], _OP["Yield"], _OP["Loop"], _OP["EndLoop"]
CALL, RETURN, SKIP = _OP["Call"], _OP["Return"], _OP["SkipIfZero"]
EMBED, LINEAR, MATMUL, CONV2D = _OP["Embed"], _OP["Linear"], _OP["MatMul"], _OP["Conv2D"]
ADD, MUL, DOT, RELU = _OP["Add"], _OP["Mul"], _OP["Dot"], _OP["ReLU"]
TABLE, GATE, LESS, EQUAL = _OP["Table"], _OP["Gate"], _OP["Less"], _OP["Equal"]
SELECT, RMS_NORM, LAYER_NORM = _OP["Select"], _OP["RMSNorm"], _OP["LayerNorm"]
L2_NORM, SOFTMAX, QUANTISE = _OP["L2Norm"], _OP["Softmax"], _OP["Quantise"]
SUM, MAX, MEAN, ARGMAX, TOP_K = _OP["Sum"], _OP["Max"], _OP["Mean"], _OP["Argmax"], _OP["TopK"]
ROPE_PAIRS, ROPE_HALVES, APPEND = _OP["RoPEPairs"], _OP["RoPEHalves"], _OP["Append"]
CAUSAL, FULL, MEAN_POOL = _OP["AttentionCausal"], _OP["AttentionFull"], _OP["MeanPool"]
MAX_POOL, AVG_POOL, BLIT, COPY = _OP["MaxPool"], _OP["AvgPool"], _OP["Blit"], _OP["Copy"]
TRANSPOSE, SLICE, CONCAT, TAIL = _OP["Transpose"], _OP["Slice"], _OP["Concat"], _OP["Tail"]
PUSH, FILL, SAMPLE = _OP["Push"], _OP["Fill"], _OP["Sample"]

# How many of G, B and A are tensors, by opcode: rows in use of each decide whether it runs.
_TENSOR_OPERANDS = np.zeros((256, 3), np.bool_)
for _op in isa.OPCODES:
    if _op.dialect == 1:
        _TENSOR_OPERANDS[_op.code] = [mode.name.startswith("TENSOR") for mode in _op.operands]
TENSOR_OPERANDS = _TENSOR_OPERANDS

PC, BASE, STATUS, STEPS = int(State.PC), int(State.BASE), int(State.STATUS), int(State.STEPS)
LOOPS, CALLS = int(State.LOOPS), int(State.CALLS)
LOOP_STACK, CALL_STACK = int(State.LOOP_STACK), int(State.CALL_STACK)
IS_READY, HAS_YIELDED, HAS_HALTED = READY, YIELDED, HALTED
SCRATCH, PARAMS, MAX_COUNT = 2, 8, 65535


@jit
def _products(c: Any, tid: int, code: int, g: int, b: int, a: int, turn: int) -> bool:
    if code == LINEAR or code == MATMUL:
        linear(c, tid, g, b, a, turn)
    elif code == EMBED:
        embed(c, tid, g, b, a)
    elif code == CONV2D:
        conv2d(c, tid, g, b, a)
    elif code == CAUSAL or code == FULL:
        attention(c, tid, g, b, a, code == CAUSAL, turn)
    elif code == APPEND:
        append(c, tid, g, b, a)
    elif code == ROPE_PAIRS or code == ROPE_HALVES:
        rope(c, tid, g, b, a, code == ROPE_PAIRS)
    else:
        return False
    return True


@jit
def _elements(c: Any, tid: int, code: int, g: int, b: int, a: int) -> bool:
    if code == ADD:
        binary(c, tid, g, b, a, 0)
    elif code == MUL:
        binary(c, tid, g, b, a, 1)
    elif code == LESS:
        binary(c, tid, g, b, a, 2)
    elif code == EQUAL:
        binary(c, tid, g, b, a, 3)
    elif code == GATE or code == TABLE:
        lookup(c, tid, g, b, a, code == GATE)
    elif code == RELU:
        relu(c, tid, g, b)
    elif code == SELECT:
        select(c, tid, g, b, a)
    elif code == QUANTISE:
        quantise(c, tid, g, b)
    elif code == RMS_NORM or code == LAYER_NORM:
        norm(c, tid, g, b, a, code == LAYER_NORM)
    else:
        return False
    return True


@jit
def _rows(c: Any, tid: int, code: int, g: int, b: int, a: int) -> bool:
    if code == SOFTMAX:
        softmax(c, tid, g, b)
    elif code == L2_NORM:
        l2_norm(c, tid, g, b)
    elif code == SUM:
        reduce(c, tid, g, b, 0)
    elif code == MAX:
        reduce(c, tid, g, b, 1)
    elif code == MEAN:
        reduce(c, tid, g, b, 2)
    elif code == ARGMAX:
        reduce(c, tid, g, b, 3)
    elif code == TOP_K:
        top_k(c, tid, g, b, a)
    elif code == DOT:
        dot(c, tid, g, b, a)
    elif code == MEAN_POOL:
        mean_pool(c, tid, g, b, a)
    elif code == MAX_POOL or code == AVG_POOL:
        pool(c, tid, g, b, a, code == AVG_POOL)
    elif code == SLICE or code == CONCAT:
        columns(c, tid, g, b, a, code == CONCAT)
    elif code == TAIL:
        tail(c, tid, g, b)
    elif code == FILL:
        fill(c, tid, g, b)
    else:
        return False
    return True


@jit
def _moves(c: Any, tid: int, code: int, g: int, b: int, a: int) -> None:
    if tid:
        return
    if code == SAMPLE:
        sample(c, tid, g, b, a)
    elif code == PUSH:
        push(c, tid, g, b, a)
    elif code == COPY:
        copy(c, tid, g, b)
    elif code == TRANSPOSE:
        transpose(c, tid, g, b, a)
    elif code == BLIT:
        blit(c, tid, g, b, a)


@jit
def _index(operand: int, base: int) -> int:
    return operand if operand < 128 else base + operand - 128


@jit
def _compute(c: Any, tid: int, code: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:  # nobody uses the next instruction's counter yet
        c.sync[COUNTER + (turn + 1) % 3] = 0
    if TENSOR_OPERANDS[code, 0] and used_rows(c, g) == 0:
        return
    if TENSOR_OPERANDS[code, 1] and used_rows(c, b) == 0:
        return
    if TENSOR_OPERANDS[code, 2] and used_rows(c, a) == 0:
        return
    if _products(c, tid, code, g, b, a, turn):
        return
    if _elements(c, tid, code, g, b, a):
        return
    if not _rows(c, tid, code, g, b, a):
        _moves(c, tid, code, g, b, a)


@jit
def _clear_scratch(c: Any, tid: int) -> None:
    """Zero the rows in use of every scratch tensor."""
    for d in range(len(c.tensors)):
        if c.tensors[d, ROLE] != SCRATCH or c.tensors[d, DTYPE] == PARAMS:
            continue
        first, stop = part(used_rows(c, d), tid, c.config[THREADS])
        for row in range(first, stop):
            start = row_at(c, d, row)
            for i in range(c.tensors[d, ROW_WORDS]):
                c.words[wrapped(c, d, start, i)] = 0


@jit
def _control(c: Any, s: Any, code: int, index: int, g: int, b: int, a: int) -> None:
    """Loop, EndLoop, Call, Return, SkipIfZero on a thread's own registers."""
    if code == LOOP:
        count = min(max(scalar(c, _index(g, s[BASE])), np.int64(0)), np.int64(MAX_COUNT))
        if count == 0:
            s[PC] = c.match[index] + 1
            return
        at = LOOP_STACK + 4 * s[LOOPS]
        s[at], s[at + 1], s[at + 2], s[at + 3] = s[PC], count, a, s[BASE]
        s[LOOPS] += 1
    elif code == END_LOOP:
        at = LOOP_STACK + 4 * (s[LOOPS] - 1)
        s[at + 1] -= 1
        if s[at + 1]:
            s[PC] = s[at]
            s[BASE] += s[at + 2]
            return
        s[BASE] = s[at + 3]
        s[at : at + 4] = 0
        s[LOOPS] -= 1
    elif code == CALL:
        at = CALL_STACK + 2 * s[CALLS]
        s[at], s[at + 1] = s[PC], s[BASE]
        s[CALLS] += 1
        s[PC] = g | b << 8
        s[BASE] += a
    elif code == RETURN:
        at = CALL_STACK + 2 * (s[CALLS] - 1)
        s[PC], s[BASE] = s[at], s[at + 1]
        s[at], s[at + 1] = 0, 0
        s[CALLS] -= 1
    elif scalar(c, _index(g, s[BASE])) == 0:
        s[PC] += a


@jit
def run(c: Any, state: Any, tid: int, max_steps: int) -> int:
    """Run from ``state`` until Halt, Yield or ``max_steps`` (below 0: no limit); steps made.

    ``state`` is this thread's own copy of the registers; thread 0's is what gets stored.
    """
    s, threads = state, c.config[THREADS]
    made, computed = np.int64(0), np.int64(0)
    while s[STATUS] == IS_READY and made != max_steps:
        index = s[PC]
        code = np.int64(c.code[index, 0])
        g, b, a = np.int64(c.code[index, 1]), np.int64(c.code[index, 2]), np.int64(c.code[index, 3])
        s[STEPS] = (s[STEPS] + 1) & 0x7FFFFFFF
        s[PC] += 1
        made += 1
        if code == HALT or code == YIELD:
            if code == HALT:
                s[PC] -= 1
            s[STATUS] = HAS_HALTED if code == HALT else HAS_YIELDED
            _clear_scratch(c, tid)
        elif code == LOOP or code == END_LOOP or code == CALL or code == RETURN or code == SKIP:
            _control(c, s, code, index, g, b, a)
            if code == LOOP or code == SKIP:  # what they read must not change before all have
                barrier(c.sync, threads)
        else:
            base = s[BASE]
            _compute(c, tid, code, _index(g, base), _index(b, base), _index(a, base), computed % 3)
            computed += 1
            barrier(c.sync, threads)
    return made
