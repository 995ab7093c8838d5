"""The reference page is the table's: committed as generated, complete, and well-formed."""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
import symtable
from collections.abc import Iterator

import numpy as np
import pytest

from pxvm.core import integer, ops, reference_page, rules
from pxvm.core.isa import OPCODES, Mode, Opcode

TEXT = reference_page.page()
EVERY = pytest.mark.parametrize("op", OPCODES, ids=lambda op: f"{op.dialect}-{op.name}")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def section(op: Opcode) -> str:
    """The entry of an opcode, up to the next heading."""
    _, found = TEXT.split(f"### {op.name}, dialect {op.dialect}\n", 1)
    return re.split(r"^##", found, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_committed_page_is_what_the_table_says():
    committed = reference_page.PAGE.read_text(encoding="utf-8")
    assert committed == TEXT, "the table or a specification changed: run `make docs` and commit"


@EVERY
def test_every_opcode_has_its_entry(op: Opcode):
    text = section(op)
    assert f"`{op.glyph}` (byte {op.code}" in text
    assert op.semantics in text and op.shape in text
    assert f"operations: `{op.operations}`; bytes: `{op.bytes}`" in text
    assert sum(f"- {letter}: " in text for letter in "GBA") == 3 - op.operands.count(Mode.NONE)
    assert all(f"`{parameter.name}` (" in text for parameter in op.parameters)
    assert "```python\ndef " in text, "no specification"


@pytest.mark.parametrize("name", sorted(ops.FUNCTIONS))
def test_specification_and_rule_stand_as_they_are_in_the_code(name):
    op = next(op for op in OPCODES if op.dialect == 1 and op.name == name)
    text = section(op)
    assert reference_page.source(ops.FUNCTIONS[name]) in text
    assert reference_page.source(rules.RULES[name]) in text


def test_every_function_of_the_arithmetic_is_quoted():
    functions = reference_page.functions_of(integer)
    assert len(functions) > 10
    assert all(reference_page.source(function) in TEXT for function in functions)


def test_quotes_are_whole_functions():
    assert len(BLOCKS) > len(OPCODES)
    for block in BLOCKS:
        ast.parse(block)
        assert "@defines" not in block and "@rule" not in block


def free_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a quote uses and does not define."""
    for symbol in table.get_symbols():
        inside = table.get_type() == "module" and not symbol.is_assigned()
        if symbol.is_referenced() and (symbol.is_global() or inside):
            yield symbol.get_name()
    for child in table.get_children():
        yield from free_names(child)


def part(heading: str) -> str:
    """The text under a heading of the second level."""
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_name_of_a_quote_is_defined_or_explained():
    defined = set(dir(builtins))
    for block in BLOCKS:
        for node in ast.parse(block).body:
            if isinstance(node, ast.Assign):
                defined |= {target.id for target in node.targets}
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined.add(node.name)
    used = {name for block in BLOCKS for name in free_names(symtable.symtable(block, "", "exec"))}
    named = re.findall(r"^- (.*?):", part("Names from elsewhere"), re.MULTILINE)
    explained = set(re.findall(r"`(\w+)[`(]", "".join(named)))
    assert used - defined == explained


def test_everything_of_numpy_that_a_quote_uses_is_explained():
    used = set(re.findall(r"\bnp\.(?:lib\.stride_tricks\.)?(\w+)", "".join(BLOCKS)))
    assert used <= set(re.findall(r"\w+", part("What NumPy does")))


def test_the_powers_of_two_are_printed_and_rounded_once():
    text = part("Exact integer arithmetic")
    (numbers,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    values = [int(n) for n in numbers.split()]
    assert values == integer.EXP2.tolist() and len(values) == 257
    for i, value in enumerate(values):  # 65536 * 2^(-i / 256) lies within a half of it
        assert (2 * value - 1) ** 256 <= 2 ** (256 * 17 - i) < (2 * value + 1) ** 256
    assert hashlib.sha256(np.array(values, "<u4").tobytes()).hexdigest() in text


def test_links_inside_the_page_arrive():
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_a_table_has_as_many_cells_in_every_row():
    tables = re.findall(r"(?:^\|.*\|$\n)+", TEXT, re.MULTILINE)
    assert tables
    for table in tables:
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    reference_page.main([str(tmp_path / "new" / "page.md")])
    assert (tmp_path / "new" / "page.md").read_text(encoding="utf-8") == TEXT
    assert "page.md" in capsys.readouterr().out
