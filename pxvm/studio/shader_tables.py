"""What the page knows of the shaders: numbers in ``shaders.json``, WGSL in files beside it.

The texts are ``pxvm/gpu/wgsl``'s, without comments and indentation; the numbers are those that
``pxvm.gpu`` works with. Nothing of it is written by hand in TypeScript.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pxvm.core import ops
from pxvm.core.tensor import STATE_WORDS
from pxvm.gpu import devices, groups, picture, planned, rounds, row, shaders

FOLDER = Path(__file__).resolve().parents[2] / "studio/src/generated"
#: What depends on the device stands in the module as names that the page puts numbers for.
WINDOW, WINDOWS, GROUPED, OPERATION = "$WINDOW", "$WINDOWS", "$GROUPED", "$OPERATION"


def tables() -> dict[str, Any]:
    """Everything that the page needs to run programs as ``pxvm.gpu.planned`` does."""
    return {
        "numbers": {
            "LANES": shaders.LANES, "FRONT": shaders.FRONT, "TABLE": shaders.TABLE,
            "FEW": shaders.FEW, "WIDE": shaders.WIDE, "SPAN": shaders.SPAN, "BLOCK": ops.BLOCK,
            "TOGETHER": shaders.TOGETHER,
            "CANDIDATES": ops.SAMPLE_CANDIDATES, "STATE_WORDS": STATE_WORDS,
            "WINDOWS": devices.WINDOWS, "NEAR": picture.NEAR, "GAP": picture.GAP,
            "MOST_GROUPS": planned.MOST_GROUPS, "CALLS": planned.CALLS,
            "ALIGNED": planned.ALIGNED, "SCRATCH": groups.SCRATCH,
            "MOST_QUERIES": groups.MOST_QUERIES, "FEW_COLUMNS": groups.FEW_COLUMNS,
            "MOST_OF_FEW": groups.MOST_OF_FEW, "MOST_ROUNDS": rounds.MOST,
            "REDUCTION": rounds.REDUCTION, "ROW_LANES": row.LANES, "ROW_GROUPS": row.GROUPS,
        },
        "fields": shaders.FIELDS,
        "byRows": groups.BY_ROWS,
        "operations": shaders.OPERATIONS,
        "limits": devices.LIMITS,
        "powers": shaders.powers().tolist(),
        "entry": short(shaders.entry(f"op_{OPERATION}")),
    }  # fmt: skip


def module() -> str:
    """The planned module for any device and program, without its entry points."""
    text = shaders.module(0, 0, shaders.LANES, True, "planned", "lanes")
    for said, placeholder in (
        ("WINDOW: u32 = 0u", WINDOW),
        ("WINDOWS: u32 = 0u", WINDOWS),
        ("GROUPED: bool = true", GROUPED),
    ):
        assert text.count(said) == 1
        text = text.replace(said, f"{said.partition('=')[0]}= {placeholder}")
    return short(text)


def short(text: str) -> str:
    """WGSL without comments, indentation and empty lines."""
    lines = (re.sub(r"\s*//.*", "", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def contents() -> dict[Path, str]:
    """The files with their content."""
    return {
        FOLDER / "shaders.json": json.dumps(tables(), indent=1) + "\n",
        FOLDER / "planned.wgsl": module(),
        FOLDER / "row.wgsl": short(shaders.text("row")),
    }
