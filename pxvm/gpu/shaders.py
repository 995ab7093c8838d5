"""The shaders: WGSL files, and before them the constants that Python's tables already say."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import numpy as np

from pxvm.core import isa, ops
from pxvm.core.integer import EXP2, HIGHEST, LOWEST
from pxvm.core.isa import Flow
from pxvm.core.operand import LARGEST
from pxvm.core.tensor import (
    GROUP,
    HALTED,
    MAX_COUNT,
    READY,
    STATE_WORDS,
    YIELDED,
    DType,
    State,
)
from pxvm.gpu.phases import MOST, STAGED, Need, Way

LANES = (
    ops.BLOCK
)  # of a workgroup, unless many can run at a time: a token of attention's block each
FEW = 4  # rows: of so few, workgroups share a product's columns, and repeat what is short
WIDE, SPAN = 64, 32  # rows of planes and columns of a product's tile; with four bits, WIDE columns
UNIT_ROWS, UNIT_COLS = 128, 64  # of a tile by matrix units
ONE_BY_ONE = 16  # of the best of a row, looked for one by one
TOGETHER = 16  # heads, or queries, that a workgroup takes at a time
#: Words in front of the tensors that change: the state, the registers when a run ends, and how
#: workgroups meet: those that arrived, that one waited in vain, steps made, rounds left, seats.
RESULT, ARRIVED, LOST = (STATE_WORDS * number for number in (1, 2, 3))
MADE, LEFT, FIRST_SEAT, SEATS = LOST + 1, LOST + 2, LOST + 3, STATE_WORDS - 3
FRONT = LOST + STATE_WORDS
#: Words of a tensor's record, as in tensor.wgsl; a block of parameters has its words from 0 on.
FIELDS = (
    "START", "ROW_WORDS", "ROWS", "COLS", "FRAC", "SCALE", "BIAS", "PER", "STRIDE", "DTYPE",
    "LENGTH", "E0", "E1", "E2", "E3",
)  # fmt: skip
TABLE = 260  # where the records begin, behind the powers of two
FAMILIES = ("integer", "tensor", "elements", "moving", "rows", "products", "fourbit",
            "attention", "queries", "sample")  # fmt: skip
OPERATIONS = {op.code: f"op_{op.name.lower()}" for op in isa.OPCODES
              if op.dialect == 1 and op.flow is Flow.NEXT}  # fmt: skip
#: Dispatches that are no instruction's own.
EXTRA = ("op_clear", "op_push_length")
BY_UNITS = "op_linear_by_units"  # a product where the device has matrix units
# What an entry point says of a lane where subgroups.wgsl reduces.
TEAMS = """, @builtin(subgroup_id) its_team: u32,
        @builtin(subgroup_invocation_id) its_place: u32, @builtin(subgroup_size) its_size: u32"""
SEATED = """
    team = its_team;
    place = its_place;
    size = its_size;"""
KNOWN = 8  # lengths of tensors that the interpreter keeps at hand
CASES = {"op_push": "push_all"}  # what the interpreter does in one piece
PCG = 6364136223846793005, 1442695040888963407

assert len(EXP2) <= TABLE


def constants(window: int, windows: int, lanes: int) -> str:
    """WGSL constants from the tables.

    Args:
        window: words of the picture that are in one binding.
        windows: bindings that the picture takes.
        lanes: of a workgroup.
    """
    unsigned = {
        "LANES": lanes, "BLOCK": ops.BLOCK, "FEW": FEW, "WIDE": WIDE, "SPAN": SPAN,
        "UNIT_ROWS": UNIT_ROWS, "UNIT_COLS": UNIT_COLS,
        "STAGED": STAGED,
        "TOGETHER": TOGETHER, "ONE_BY_ONE": ONE_BY_ONE,
        "TABLE": TABLE, "RECORD": len(FIELDS), "WINDOW": window, "WINDOWS": windows,
        "GROUP": GROUP, "LARGEST_I4": LARGEST[DType.I4], "LARGEST_ACT1": 128,
        "LARGEST_ACT2": LARGEST[DType.ACT2],
        "SATURATED": int(State.SATURATED), "CLAMPED": int(State.CLAMPED),
        "CANDIDATES": ops.SAMPLE_CANDIDATES, "LOG2E_M": int(ops.LOG2E[0]),
        "PCG_LOW": PCG[0] & 0xFFFFFFFF, "PCG_HIGH": PCG[0] >> 32,
        "PCG_STEP_LOW": PCG[1] & 0xFFFFFFFF, "PCG_STEP_HIGH": PCG[1] >> 32,
    }  # fmt: skip
    signed = {
        "LOWEST": LOWEST, "HIGHEST": HIGHEST, "FAR": ops.FAR, "LOG2E_E": int(ops.LOG2E[1]),
        **{dtype.name: int(dtype) for dtype in (DType.ACT1, DType.ACT2, DType.I4, DType.PARAMS)},
    }  # fmt: skip
    lines = [f"const {name}: u32 = {value}u;" for name, value in unsigned.items()]
    lines += [f"const {name}: i32 = {value};" for name, value in signed.items()]
    return "\n".join(lines) + "\n"


def entry(operation: str, subgroups: str | None = None) -> str:
    """The entry point ``run_x`` of the planned way for an operation ``op_x``."""
    more, begin = ("", "") if subgroups is None else (TEAMS, SEATED)
    return f"""
@compute @workgroup_size(LANES)
fn run_{operation[3:]}(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32{more}) {{{begin}
    let c = named(lane);
    if (c.rows_g == 0u || c.rows_b == 0u || c.rows_a == 0u) {{ return; }}
    {operation}(call(c), id.x, n.x, lane);
}}
"""


def text(name: str) -> str:
    """A WGSL file of this package."""
    return (files("pxvm.gpu") / "wgsl" / f"{name}.wgsl").read_text(encoding="utf-8")


def module(window: int, windows: int, lanes: int, grouped: bool, *more: str) -> str:
    """The constants and all families behind the files ``more``, without entry points."""
    bodies = "\n".join(text(name) for name in (*more, *FAMILIES))
    said = f"const GROUPED: bool = {str(grouped).lower()};\n"
    return constants(window, windows, lanes) + said + bodies


@cache
def planned(
    window: int, windows: int, subgroups: str | None = None, units: str | None = None
) -> str:
    """The module with an entry point for each opcode.

    Args:
        subgroups: what to say first where lanes may reduce by subgroups, None where not.
        units: the same of products by matrix units.
    """
    operations = (*OPERATIONS.values(), *EXTRA, *([] if units is None else [BY_UNITS]))
    files = ["planned", "lanes" if subgroups is None else "subgroups"]
    if units is not None:
        files.append("units")
    entries = "".join(entry(name, subgroups) for name in operations)
    body = module(window, windows, LANES, True, *files)
    return (units or "") + (subgroups or "") + body + entries


def interpreter(
    window: int,
    windows: int,
    lanes: int,
    codes: Iterable[int],
    grouped: bool,
    subgroups: str | None = None,
) -> str:
    """The module of the interpreter for programs of these opcodes.

    Args:
        grouped: whether there are weights of four bits.
        subgroups: what to say first where lanes may reduce by subgroups, None where not.
    """
    cases = "".join(
        f"        case {code}u: {{ {CASES.get(OPERATIONS[code], OPERATIONS[code])}"
        "(call_of(it, t), group, groups, lane); }\n"
        for code in sorted(set(codes) & OPERATIONS.keys())
    )
    switch = f"""
fn execute(it: Todo, t: Turn, group: u32, groups: u32, lane: u32) {{
    switch it.code {{
{cases}        default: {{ }}
    }}
}}
"""
    more = ("lanes", "alone") if subgroups is None else ("subgroups", "teams")
    body = module(window, windows, lanes, grouped, "interpreter", *more)
    return (subgroups or "") + body + _control() + switch


def _control() -> str:
    unsigned = {
        "STATE_WORDS": STATE_WORDS, "RESULT": RESULT, "ARRIVED": ARRIVED, "LOST": LOST,
        "MADE": MADE, "LEFT": LEFT, "FIRST_SEAT": FIRST_SEAT, "SEATS": SEATS, "MOST": MOST,
        "KNOWN": KNOWN,
        **{need.name + "_NEED": int(need) for need in Need}, **{w.name: int(w) for w in Way},
        **{word.name: int(word) for word in State if word not in (State.SATURATED, State.CLAMPED)},
        **{f"OP_{op.name.upper()}": op.code for op in isa.OPCODES
           if op.dialect == 1 and op.flow is not Flow.NEXT},
    }  # fmt: skip
    signed = {"READY": READY, "YIELDED": YIELDED, "HALTED": HALTED, "MAX_COUNT": MAX_COUNT}
    lines = [f"const {name}: u32 = {value}u;" for name, value in unsigned.items()]
    return "\n".join(lines + [f"const {name}: i32 = {value};" for name, value in signed.items()])


def powers() -> np.ndarray:
    """The powers of two as the shaders read them: int32 (TABLE,)."""
    table = np.zeros(TABLE, np.int32)
    table[: len(EXP2)] = EXP2
    return table
