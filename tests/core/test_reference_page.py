"""The reference page is the table's: committed as generated, complete, and well-formed."""

from __future__ import annotations

import ast
import re

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


def test_links_inside_the_page_arrive():
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_a_table_has_as_many_cells_in_every_row():
    for table in re.findall(r"(?:^\|.*\|$\n)+", TEXT, re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    reference_page.main([str(tmp_path / "new" / "page.md")])
    assert (tmp_path / "new" / "page.md").read_text(encoding="utf-8") == TEXT
    assert "page.md" in capsys.readouterr().out
