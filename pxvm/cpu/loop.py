"""The interpreter's loop: fetch, decode, execute, compiled, the same in every thread.

Each thread keeps its own registers and takes the same path, because a barrier stands before every
instruction that reads what another thread may still write, or writes what one may still read: where
the program's plan says so (``core.plan``), and where threads share memory of their own. Between two
barriers instructions are shared out as one. Thread 0 stores the state.

A run is made of slices, so that Ctrl-C is heard between two of them. Thread 0 looks at the clock
and says at a barrier that the slice is over, where all threads hear it; where control flow alone
meets no barrier, every ROUND steps make one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pxvm.core import isa
from pxvm.core.isa import Flow
from pxvm.core.plan import OPERANDS, Use
from pxvm.core.tensor import HALTED, MAX_COUNT, READY, YIELDED, DType, Role, State
from pxvm.cpu.bounds import BATCH
from pxvm.cpu.compiler import address_of, call_kernel, context_at, jit
from pxvm.cpu.intrinsics import atomic_load, atomic_store, barrier, now
from pxvm.cpu.memory import (
    DTYPE,
    PER,
    ROLE,
    ROW_WORDS,
    THREADS,
    part,
    row_at,
    scalar,
    used_rows,
    wrapped,
)
from pxvm.cpu.products import COUNTER, TURNS, soon

_CODES = {op.flow: op.code for op in isa.OPCODES if op.dialect == 1}
HALT, YIELD, LOOP = (_CODES[flow] for flow in (Flow.HALT, Flow.YIELD, Flow.LOOP))
END_LOOP, CALL = _CODES[Flow.END_LOOP], _CODES[Flow.CALL]
RETURN, SKIP = _CODES[Flow.RETURN], _CODES[Flow.SKIP]
LINEAR = isa.by_name("Linear", 1).code

PC, BASE, STATUS, STEPS = int(State.PC), int(State.BASE), int(State.STATUS), int(State.STEPS)
LOOPS, CALLS = int(State.LOOPS), int(State.CALLS)
LOOP_STACK, CALL_STACK = int(State.LOOP_STACK), int(State.CALL_STACK)
IS_READY, HAS_YIELDED, HAS_HALTED = READY, YIELDED, HALTED
SCRATCH, PARAMS, NAMES = int(Role.SCRATCH), int(DType.PARAMS), int(Use.NAMES)
PATIENCE = 8  # instructions between two barriers at most; counters are reused after TURNS
SLICE = 50_000_000  # nanoseconds after which a run comes back to Python
ROUND = 1024  # steps after which the clock is looked at; a power of two
# Entries of ``sync``: 0 and 8 are the barrier's, COUNTER and on hand out work.
STOP, CLOCK = COUNTER + TURNS, COUNTER + TURNS + 8
SYNC = CLOCK + 8


@jit
def _index(operand: int, base: int) -> int:
    return operand if operand < 128 else base + operand - 128


@jit
def _compute(c: Any, tid: int, code: int, g: int, b: int, a: int, turn: int) -> None:
    if tid == 0:  # nobody uses that counter any more, or already
        c.sync[COUNTER + (turn + TURNS // 2) % TURNS] = 0
    tensors = OPERANDS[code]
    if 0 < tensors[0] < NAMES and used_rows(c, g) == 0:
        return
    if 0 < tensors[1] < NAMES and used_rows(c, b) == 0:
        return
    if 0 < tensors[2] < NAMES and used_rows(c, a) == 0:
        return
    call_kernel(c.kernels[code], address_of(c), tid, g, b, a, turn)


@jit
def _clear_scratch(c: Any, tid: int) -> None:
    """Zero the rows in use of every scratch tensor."""
    for d in range(len(c.tensors)):
        if c.tensors[d, ROLE] != SCRATCH or c.tensors[d, DTYPE] == PARAMS:
            continue
        done, stop = part(used_rows(c, d), tid, c.config[THREADS])
        size, per = c.tensors[d, ROW_WORDS], c.tensors[d, PER]
        while done < stop:
            start, step = row_at(c, d, done), np.int64(1)
            if per > 0:  # rows side by side at once
                step = min(per - done % per, stop - done)
                c.words[start : start + step * size] = 0
            else:
                for i in range(size):
                    c.words[wrapped(c, d, start, i)] = 0
            done += step


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
def _is_shared(c: Any, code: int, b: int) -> bool:
    """True for a product that puts its activations into the planes that all threads share."""
    return code == LINEAR and used_rows(c, b) >= BATCH


@jit
def _over(c: Any, tid: int, until: int, epoch: int) -> bool:
    """True when the slice is over: thread 0 asks the clock before a barrier, all hear it after."""
    if c.config[THREADS] == 1:
        return now(c.sync[CLOCK:]) > until
    return atomic_load(c.sync.ctypes.data + 8 * STOP) == epoch


@jit
def _meet(c: Any, tid: int, until: int, epoch: int, first: int, stop: int) -> None:
    """A barrier, before which thread 0 may say that the slice is over."""
    if tid == 0 and now(c.sync[CLOCK:]) > until:
        atomic_store(c.sync.ctypes.data + 8 * STOP, epoch)
    barrier(c.sync, c.config[THREADS], first, stop)


def run(p: int, tid: int, max_steps: int) -> int:
    """Run until Halt, Yield, ``max_steps`` or the slice's end; steps made.

    ``p`` is the context's address. Each thread starts from its own copy of the registers.
    """
    c = context_at(p)
    s, threads = c.registers[tid], c.config[THREADS]
    made, computed, epoch, pending = np.int64(0), np.int64(0), np.int64(1), np.int64(0)
    until = now(c.sync[CLOCK:]) + SLICE if tid == 0 else np.int64(0)
    while s[STATUS] == IS_READY and made < max_steps:
        index, base = s[PC], s[BASE]
        code = np.int64(c.code[index, 0])
        g, b, a = np.int64(c.code[index, 1]), np.int64(c.code[index, 2]), np.int64(c.code[index, 3])
        control = code == LOOP or code == END_LOOP or code == CALL or code == RETURN or code == SKIP
        ends = code == HALT or code == YIELD
        rest = made & (ROUND - 1) == ROUND - 1
        if not control:
            g, b, a = _index(g, base), _index(b, base), _index(a, base)
        if threads > 1:
            if rest or (
                pending
                and (c.barriers[index] != 0 or pending >= PATIENCE or _is_shared(c, code, b))
            ):
                first, stop = np.int64(0), np.int64(0)
                if c.ahead[index] >= 0:
                    first, stop = soon(c, tid, _index(c.code[c.ahead[index], 3], base))
                _meet(c, tid, until, epoch, first, stop)
                if _over(c, tid, until, epoch):
                    break
                epoch, pending = epoch + 1, np.int64(0)
        elif (rest or not control) and _over(c, tid, until, epoch) and made:
            break
        s[STEPS] = (s[STEPS] + 1) & 0x7FFFFFFF
        s[PC] += 1
        made += 1
        if ends:
            if code == HALT:
                s[PC] -= 1
            s[STATUS] = HAS_HALTED if code == HALT else HAS_YIELDED
            _clear_scratch(c, tid)
        elif control:
            _control(c, s, code, index, g, b, a)
            pending += code == LOOP or code == SKIP
        else:
            _compute(c, tid, code, g, b, a, computed % TURNS)
            computed += 1
            pending += 1
    return made
