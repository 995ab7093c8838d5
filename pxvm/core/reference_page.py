"""The reference page of the instruction set, written from the table: ``docs/ISA.md``.

Words and formulas come from ``isa.OPCODES``; the specification of an opcode is the source of the
function that the reference executor runs, quoted as it stands. ``make docs`` rewrites the page, a
test compares it with what is committed.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pxvm.core import dialect0, integer, matrix, operand, ops, reference, reference1, rules, tensor
from pxvm.core import reference_words as words
from pxvm.core.isa import OPCODES, Flow, Mode, Opcode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ISA.md"
OPERANDS = "GBA"

RUNNER = (
    "run",
    "step",
    "_value",
    "_scalar",
    "_compute",
    "_parameter",
    "_clear_scratch",
    "load",
    "store",
)


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


def assignments(module: ModuleType, *names: str) -> str:
    """Module constants as they stand in the text, in one fenced block."""
    text = inspect.getsource(module)
    found = {
        node.targets[0].id: ast.get_source_segment(text, node)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    lines = "\n".join(f"{found[name]}" for name in names)
    return f"```python\n{lines}\n```\n"


def exp2_text() -> str:
    """The table of powers of two in numbers, and its digest."""
    numbers = integer.EXP2.tolist()
    lines = [" ".join(f"{n:5}" for n in numbers[i : i + 16]) for i in range(0, len(numbers), 16)]
    digest = hashlib.sha256(integer.EXP2.astype("<u4").tobytes()).hexdigest()
    return words.EXP2.format(numbers="\n".join(lines), digest=digest)


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
    if op.sums:
        yield f"- bits of sums: {op.sums}"
    yield f"- operations: `{op.operations}`; bytes: `{op.bytes}`\n"
    yield from quotes


def dialect_0() -> Iterator[str]:
    """The part of dialect 0."""
    yield words.DIALECT_0
    rows = [op for op in OPCODES if op.dialect == 0]
    yield from table_lines(rows)
    for op in rows:
        yield from entry(op, quoted(reference.FUNCTIONS[op.name]))
    yield words.SHARED_0
    yield constants(matrix, "FIRST_COLUMN", "SMALLEST_SCALE", "LARGEST_FLOAT")
    yield assignments(dialect0, "NEW_LINE")
    yield quoted(
        matrix.check_row, matrix.read_header, matrix.is_quantised, matrix.rows_needed,
        matrix.read_matrix, matrix._gather, matrix.read_vectors, matrix.check_fits,
        matrix.write_matrix, matrix._scatter, matrix.quantise, reference.store,
        reference.encoding_of, reference._shape, reference.dot_operands, reference.add_operands,
        reference.matmul_operands, reference.product, reference.product_of_sums, reference.Glyphs,
        reference.glyphs_of, dialect0.text_lines,
    )  # fmt: skip


def definition(op: Opcode) -> list[str]:
    """Specification and rule of an opcode of dialect 1."""
    if op.flow is not Flow.NEXT:
        return [quoted(getattr(reference1.Runner, f"_{op.name.lower()}"))]
    rule = [quoted(rules.RULES[op.name])] if op.name in rules.RULES else []
    return [quoted(ops.FUNCTIONS[op.name]), *(["The verifier's rule:\n"] if rule else []), *rule]


def dialect_1() -> Iterator[str]:
    """The part of dialect 1."""
    yield words.DIALECT_1
    rows = [op for op in OPCODES if op.dialect == 1]
    yield from table_lines(rows)
    for op in rows:
        yield from entry(op, *definition(op))
    yield words.SHARED_1
    yield assignments(ops, "LOG2E")
    yield constants(ops, "BLOCK", "FAR", "SAMPLE_CANDIDATES")
    yield quoted(*functions_of(ops, [*ops.FUNCTIONS.values(), ops.defines]))
    yield "## What the rules share\n"
    yield constants(rules, "MAX_INNER", "MAX_CONTEXT")
    shared = functions_of(rules, [*rules.RULES.values(), rules.rule, rules.need])
    yield quoted(*shared, tensor.shape_text)
    yield words.TENSORS
    yield assignments(operand, "LARGEST", "LIMITS")
    yield quoted(operand.Tensors, operand.Tensor)
    yield words.STEPS
    yield constants(tensor, "MAX_COUNT", "READY", "YIELDED", "HALTED")
    yield quoted(*(getattr(reference1.Runner, name) for name in RUNNER), reference1.matching_loops)
    yield words.INTEGERS
    yield constants(integer, "LOWEST", "HIGHEST", "LARGEST_SHIFT")
    yield quoted(*functions_of(integer))
    yield assignments(integer, "EXP2")
    yield exp2_text()
    yield "## Elements and words\n"
    yield "Quoted from [`pxvm/core/tensor.py`](../pxvm/core/tensor.py).\n"
    yield constants(tensor, "GROUP")
    yield quoted(
        tensor.row_words, tensor.group_words, tensor.decode, tensor.encode, tensor.decode_groups,
        tensor.encode_groups, tensor.decode_scales, tensor.encode_scales,
    )  # fmt: skip
    yield words.NUMPY
    yield words.NAMES


def page() -> str:
    """The whole page."""
    modes = ["| mode | meaning | the number names | read | written |", "|---|---|---|---|---|"]
    for mode in Mode:
        reads, writes = ("yes" if done else "" for done in (mode.reads, mode.writes))
        modes.append(f"| {mode.name} | {mode.value} | {mode.names.value} | {reads} | {writes} |")
    parts = [words.HEAD, words.LEGEND + "\n".join(modes) + "\n", *dialect_0(), *dialect_1()]
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
