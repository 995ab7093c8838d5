"""Opcode constants, derived from the table: ``opcodes.MATMUL == ord("M")``.

``NAMES`` maps each constant's name to its R byte; ``MATMUL_NUMERIC`` and the like are the codes
of the oldest files.
"""

from __future__ import annotations

from pxvm.core.isa import OPCODES

NAMES: dict[str, int] = {op.name.upper(): op.code for op in OPCODES if op.dialect == 0}
NAMES |= {f"{op.name.upper()}_NUMERIC": op.legacy for op in OPCODES if op.legacy is not None}

globals().update(NAMES)
__all__ = ["NAMES"]
__all__ += list(NAMES)


def __getattr__(name: str) -> int:
    raise AttributeError(f"no opcode constant {name!r}; there are {', '.join(NAMES)}")
