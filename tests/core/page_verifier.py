"""The verifier that stands in docs/VERIFIER.md, run as it stands there.

The blocks of that page are one program; the shape rules it calls are the blocks of docs/ISA.md.
Nothing of pxVM's own verifier is used, only the opcodes' entries in the table.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pxvm.core.isa import OPCODES, Opcode
from pxvm.core.program import Image

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "VERIFIER.md").read_text(encoding="utf-8")
ISA = (DOCS / "ISA.md").read_text(encoding="utf-8")
RULES = set(re.findall(r'demand\(.*, "([A-Z]\d)"\)', PAGE))


def blocks(text: str) -> list[str]:
    """The fenced Python of a page."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def opcodes() -> dict[int, Any]:
    """The table's entries as the page wants them."""
    return {op.code: entry(op) for op in OPCODES if op.dialect == 1}


def entry(op: Opcode) -> SimpleNamespace:
    return SimpleNamespace(
        name=op.name,
        operands=list(zip([mode.name for mode in op.operands], op.types, strict=True)),
        parameters=[(p.name, p.mode.name, p.types) for p in op.parameters],
        in_place=op.in_place,
        adds_bias=op.adds_bias,
    )


def program() -> dict[str, Any]:
    """The page's names, ready to run."""
    names: dict[str, Any] = {}
    for block in blocks(PAGE):
        exec(compile(block, "VERIFIER.md", "exec"), names)
    shared = ISA.split("\n## What the rules share\n")[1].split("\n## ")[0]
    for block in blocks(shared):
        exec(compile(block, "ISA.md", "exec"), names)
    names["SHAPES"] = {}
    for name, text in re.findall(
        r"^### (\w+), dialect 1\n(.*?)(?=^##)", ISA, re.MULTILINE | re.DOTALL
    ):
        if "The verifier's rule:" in text:
            (rule,) = blocks(text.split("The verifier's rule:")[1])
            exec(compile(rule, "ISA.md", "exec"), names)
            names["SHAPES"][name] = names[re.search(r"^def (\w+)", rule, re.MULTILINE)[1]]
    names["OPCODES"] = opcodes()
    return names


NAMES = program()


def second_opinion(image: Image) -> int | str:
    """The page's verdict on an image of dialect 1: the largest number of steps, or the rule."""
    height, width = image.shape[:2]
    words = image.copy().view("<u4").ravel().tolist()
    try:
        return NAMES["verify"](words, width, height)
    except NAMES["Refused"] as refused:
        return str(refused)
