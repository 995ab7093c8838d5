"""The shaders: WGSL files, and before them the constants that Python's tables already say."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from pxvm.core import isa, ops
from pxvm.core.integer import EXP2, HIGHEST, LOWEST
from pxvm.core.isa import Flow
from pxvm.core.tensor import DType, State

LANES = ops.BLOCK  # a token of attention's block each
#: Words of a tensor's record; a block of parameters has its words from 0 on.
FIELDS = (
    "START", "PER", "STRIDE", "ROW_WORDS", "ROWS", "COLS", "DTYPE", "FRAC", "CHANGES", "SCALE",
    "BIAS", "LENGTH", "E0", "E1", "E2", "E3",
)  # fmt: skip
TABLE = 260  # where the records begin, behind the powers of two
FAMILIES = ("integer", "tensor", "elements", "moving", "rows", "products", "attention", "sample")
OPERATIONS = {op.code: f"op_{op.name.lower()}" for op in isa.OPCODES
              if op.dialect == 1 and op.flow is Flow.NEXT}  # fmt: skip
#: Dispatches that are no instruction's own.
EXTRA = ("op_clear", "op_push_length")
PCG = 6364136223846793005, 1442695040888963407

assert len(EXP2) <= TABLE


def constants(window: int) -> str:
    """WGSL constants from the tables; ``window`` words of the picture are in one binding."""
    unsigned = {
        "LANES": LANES, "TABLE": TABLE, "RECORD": len(FIELDS), "WINDOW": window,
        "SATURATED": int(State.SATURATED), "CLAMPED": int(State.CLAMPED),
        "CANDIDATES": ops.SAMPLE_CANDIDATES, "LOG2E_M": int(ops.LOG2E[0]),
        "PCG_LOW": PCG[0] & 0xFFFFFFFF, "PCG_HIGH": PCG[0] >> 32,
        "PCG_STEP_LOW": PCG[1] & 0xFFFFFFFF, "PCG_STEP_HIGH": PCG[1] >> 32,
        **{name: place for place, name in enumerate(FIELDS)},
    }  # fmt: skip
    signed = {
        "LOWEST": LOWEST, "HIGHEST": HIGHEST, "FAR": ops.FAR, "LOG2E_E": int(ops.LOG2E[1]),
        **{dtype.name: int(dtype) for dtype in DType if dtype.name.startswith(("ACT", "PAR"))},
    }  # fmt: skip
    lines = [f"const {name}: u32 = {value}u;" for name, value in unsigned.items()]
    lines += [f"const {name}: i32 = {value};" for name, value in signed.items()]
    return "\n".join(lines) + "\n"


def _entry(operation: str) -> str:
    return f"""
@compute @workgroup_size(LANES)
fn run_{operation[3:]}(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {{
    let c = call(lane);
    if (c.rows_g == 0u || c.rows_b == 0u || c.rows_a == 0u) {{ return; }}
    {operation}(c, id.x, n.x, lane);
}}
"""


def text(name: str) -> str:
    """A WGSL file of this package."""
    return (files("pxvm.gpu") / "wgsl" / f"{name}.wgsl").read_text(encoding="utf-8")


@cache
def planned(window: int) -> str:
    """The module with an entry point for each opcode."""
    bodies = "\n".join(text(name) for name in ("planned", *FAMILIES))
    entries = "".join(_entry(name) for name in (*OPERATIONS.values(), *EXTRA))
    return constants(window) + bodies + entries


def powers() -> np.ndarray:
    """The powers of two as the shaders read them: int32 (TABLE,)."""
    table = np.zeros(TABLE, np.int32)
    table[: len(EXP2)] = EXP2
    return table
