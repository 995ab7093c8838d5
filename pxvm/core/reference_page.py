"""The reference page of the instruction set, written from the table: ``docs/ISA.md``.

Words and formulas come from ``isa.OPCODES``; the specification of an opcode is the source of the
function that the reference executor runs, quoted as it stands. ``make docs`` rewrites the page, a
test compares it with what is committed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pxvm.core import dialect0, integer, matrix, operand, ops, reference, reference1, rules, tensor
from pxvm.core.isa import OPCODES, Flow, Mode, Opcode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ISA.md"
OPERANDS = "GBA"

HEAD = """\
# The instruction set

This page is generated from the table in [`pxvm/core/isa.py`](../pxvm/core/isa.py) and from the
functions that the reference executor runs; `make docs` rewrites it, and a test fails when the two
differ. [FORMAT.md](FORMAT.md) says how programs and tensors stand in the pixels. An introduction
with examples is [CORE_VM_README.md](../CORE_VM_README.md).

The quoted functions are the specification: another executor is right when it leaves the same
bytes in the image. Speed, the order of a sum and the number of threads are its own business.
"""

LEGEND = """\
## How to read an entry

One instruction is one RGBA pixel: R is the opcode, a printable ASCII letter; G, B and A are
operands.

```text
      R        G        B        A
    +--------+--------+--------+--------+
    | opcode | operand| operand| operand|
    +--------+--------+--------+--------+
```

| field | meaning |
|---|---|
| glyph, byte | the R channel as a character and a number; "also 4": the code in the oldest files |
| operands | what G, B and A mean; those not listed are unused, in dialect 1 they must be 0 |
| shape | the shape rule; its letters are the ones in the cost formulas |
| semantics | the exact meaning in a line |
| parameters | the words of the parameter block in order, each with its mode |
| next | which instruction comes after it; where nothing is said, the one behind it |
| in place | the result may be one of the operands that are read; elsewhere it is none of them |
| bias | the weight's bias is added, and has the result's fraction bits |
| operations | integer operations of one execution |
| bytes | bytes of pixels read and written by one execution |

The cost formulas use `d` for the columns and `t` for the rows of the operand that the work follows;
they feed profiles and budgets, not results.

### Modes of operands and parameters

"""

DIALECT_0 = """\
## Dialect 0

The program is row 0, executed from left to right until Halt, the end of the row or `max_steps`
(1,024 unless the caller says otherwise). Operands are row numbers.
"""

SHARED_0 = """\
### Functions that the entries above use

A function reads its operands, checks them and only then writes; where it raises, the image is
as it was before the instruction.
"""

DIALECT_1 = """\
## Dialect 1

A program whose first pixel spells `PXV1`. An operand below 128 is the number of a descriptor; one
of 128 or more is relative to the base register: descriptor `base + operand - 128`.

In the quoted functions an operand is a `Tensor`: `values` are its rows in use as int64 of shape
(rows, columns), `scales` their scales as (mantissas, exponents), `frac` its fraction bits, and
`write` saturates to 32 bits, counts what was saturated, and stores. Operands come in the order G,
B, A; parameters are keyword arguments. An instruction one of whose tensors in G, B and A has no row
in use does nothing. Below each specification stands the verifier's rule for the same opcode: a
program that breaks it never runs.
"""

STEPS = """\
## How a program runs

Quoted from [`pxvm/core/reference1.py`](../pxvm/core/reference1.py). The words of the state and
their names are in [FORMAT.md](FORMAT.md#registers-and-state).
"""

RUNNER = ("run", "step", "_compute", "_parameter", "_clear_scratch", "load", "store")

INTEGERS = """\
## Exact integer arithmetic

All arithmetic of dialect 1 is made of these functions, quoted from
[`pxvm/core/integer.py`](../pxvm/core/integer.py). `>>` is an arithmetic shift and `//` is floor
division. No floating-point operation can be observed in a result: where NumPy computes in float64
below (exact products in `ops.product`, a first guess in `isqrt`), every value is an integer below
2^53 or is corrected to one; the 257 entries of `exp2_table` are rounded once.
"""

SHARED_1 = """\
## Functions that the opcodes share

Quoted from [`pxvm/core/ops.py`](../pxvm/core/ops.py).
"""

TENSORS = """\
## What an operand does

Quoted from [`pxvm/core/operand.py`](../pxvm/core/operand.py): which rows are in use,
saturation, clamped indexes, and the random numbers that Sample draws.
"""


def source(function: Callable[..., Any]) -> str:
    """The text of a function without its decorators, not indented."""
    lines = inspect.cleandoc("\n" + inspect.getsource(function)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(("def ", "class ")))
    return "\n".join(lines[start:])


def quoted(*functions: Callable[..., Any]) -> str:
    """Functions as one fenced block."""
    body = "\n\n\n".join(source(function) for function in functions)
    return f"```python\n{body}\n```\n"


def functions_of(module: ModuleType, but: Iterable[Callable[..., Any]] = ()) -> list[Any]:
    """Functions that a module defines, in the order of its text, without some of them."""
    left_out = set(but)
    return [
        value
        for value in vars(module).values()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and value not in left_out
    ]


def constants(module: ModuleType, *names: str) -> str:
    """Named numbers of a module as one fenced block."""
    lines = "\n".join(f"{name} = {getattr(module, name)}" for name in names).replace("'", '"')
    return f"```python\n{lines}\n```\n"


def byte_text(op: Opcode) -> str:
    """The R byte, and the oldest files' code for the same thing."""
    return str(op.code) if op.legacy is None else f"{op.code}, also {op.legacy}"


def operand_texts(op: Opcode) -> list[str]:
    """What each operand in use means, with its dtypes."""
    return [
        f"{letter}: {mode_text(mode, types)}"
        for letter, mode, types in zip(OPERANDS, op.operands, op.types, strict=True)
        if mode is not Mode.NONE
    ]


def mode_text(mode: Mode, types: tuple[str, ...]) -> str:
    """What an operand or a parameter means, with its dtypes."""
    return f"{' or '.join(types)} {mode.value}".strip()


def parameter_text(op: Opcode) -> str:
    """The words of the parameter block in order."""
    return ", ".join(
        f"`{parameter.name}` ({mode_text(parameter.mode, parameter.types)})"
        for parameter in op.parameters
    )


def table_lines(rows: list[Opcode]) -> Iterator[str]:
    """One line for each opcode of a dialect."""
    yield "| glyph | byte | name | operands | semantics |"
    yield "|---|---|---|---|---|"
    for op in rows:
        operands = "; ".join(operand_texts(op)) or "none"
        yield (
            f"| `{op.glyph}` | {byte_text(op)} | [{op.name}](#{anchor(op)}) | {operands}"
            f" | {op.semantics} |"
        )
    yield ""


def title(op: Opcode) -> str:
    """The heading of an entry."""
    return f"{op.name}, dialect {op.dialect}"


def anchor(op: Opcode) -> str:
    """The heading as a link target."""
    return title(op).lower().replace(",", "").replace(" ", "-")


def entry(op: Opcode, *quotes: str) -> Iterator[str]:
    """The entry of an opcode, its quotes at the end."""
    yield f"### {title(op)}\n"
    yield f"`{op.glyph}` (byte {byte_text(op)}): {op.semantics}.\n"
    yield from (f"- {text}" for text in operand_texts(op))
    if op.parameters:
        yield f"- parameters: {parameter_text(op)}"
    yield f"- shape: {op.shape}"
    if op.flow is not Flow.NEXT:
        yield f"- next: {op.flow.value}"
    if op.in_place:
        yield "- in place: yes"
    if op.adds_bias:
        yield "- bias: yes"
    yield f"- operations: `{op.operations}`; bytes: `{op.bytes}`\n"
    yield from quotes


def dialect_0() -> Iterator[str]:
    """The part of dialect 0."""
    yield DIALECT_0
    rows = [op for op in OPCODES if op.dialect == 0]
    yield from table_lines(rows)
    for op in rows:
        yield from entry(op, quoted(reference.FUNCTIONS[op.name]))
    yield SHARED_0
    yield constants(matrix, "FIRST_COLUMN", "SMALLEST_SCALE", "LARGEST_FLOAT")
    yield quoted(
        matrix.read_header, matrix.is_quantised, matrix.rows_needed, matrix.read_matrix,
        matrix.read_vectors, matrix.check_fits, matrix.write_matrix, matrix.quantise,
        *(f for f in functions_of(reference) if f.__name__ in ("_store", "_encoding", "product")),
        dialect0.text_lines,
    )  # fmt: skip


def definition(op: Opcode) -> list[str]:
    """Specification and rule of an opcode of dialect 1."""
    if op.flow is not Flow.NEXT:
        return [quoted(getattr(reference1.Runner, f"_{op.name.lower()}"))]
    rule = [quoted(rules.RULES[op.name])] if op.name in rules.RULES else []
    return [quoted(ops.FUNCTIONS[op.name]), *(["The verifier's rule:\n"] if rule else []), *rule]


def dialect_1() -> Iterator[str]:
    """The part of dialect 1."""
    yield DIALECT_1
    rows = [op for op in OPCODES if op.dialect == 1]
    yield from table_lines(rows)
    for op in rows:
        yield from entry(op, *definition(op))
    yield SHARED_1
    yield constants(ops, "LOG2E", "SAMPLE_CANDIDATES")
    yield quoted(*functions_of(ops, [*ops.FUNCTIONS.values(), ops.defines]))
    yield "## What the rules share\n"
    yield constants(rules, "MAX_INNER", "MAX_CONTEXT")
    yield quoted(*functions_of(rules, [*rules.RULES.values(), rules.rule, rules.need]))
    yield TENSORS
    yield quoted(operand.Tensor)
    yield STEPS
    yield constants(tensor, "MAX_COUNT", "READY", "YIELDED", "HALTED")
    yield quoted(*(getattr(reference1.Runner, name) for name in RUNNER))
    yield INTEGERS
    yield constants(integer, "WIDE", "LARGEST_SHIFT")
    yield quoted(*functions_of(integer))
    yield "## Elements and words\n"
    yield "Quoted from [`pxvm/core/tensor.py`](../pxvm/core/tensor.py).\n"
    yield quoted(
        tensor.row_words, tensor.decode, tensor.encode, tensor.decode_scales, tensor.encode_scales
    )


def page() -> str:
    """The whole page."""
    modes = ["| mode | meaning | the number names | read | written |", "|---|---|---|---|---|"]
    for mode in Mode:
        reads, writes = ("yes" if done else "" for done in (mode.reads, mode.writes))
        modes.append(f"| {mode.name} | {mode.value} | {mode.names.value} | {reads} | {writes} |")
    parts = [HEAD, LEGEND + "\n".join(modes) + "\n", *dialect_0(), *dialect_1()]
    text = "\n".join(parts)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"


def main(argv: list[str]) -> None:
    """Write the page to the path given, or to docs/ISA.md."""
    target = Path(argv[0]) if argv else PAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
