"""The table: every row complete, unambiguous, and known to what derives from it."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from pxvm.core import isa, opcodes, reference
from pxvm.core.isa import OPCODES, Mode, Opcode

EVERY = pytest.mark.parametrize("op", OPCODES, ids=lambda op: f"{op.dialect}-{op.name}")
DIALECTS = sorted({op.dialect for op in OPCODES})


@EVERY
def test_codes_are_letters_that_font_code_can_spell(op: Opcode):
    assert op.glyph.isascii() and op.glyph.isprintable() and not op.glyph.isspace()
    assert op.glyph not in "@;.0123456789", "these mean something else in font-code"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_codes_and_names_are_unique_within_a_dialect(dialect):
    rows = [op for op in OPCODES if op.dialect == dialect]
    codes = [op.code for op in rows] + [op.legacy for op in rows if op.legacy is not None]
    names = [op.name.lower() for op in rows]
    assert [c for c, n in Counter(codes).items() if n > 1] == []
    assert [c for c, n in Counter(names).items() if n > 1] == []
    assert isa.table(dialect).keys() == set(codes)
    assert all(isa.by_name(op.name.upper(), dialect) is op for op in rows)


def test_codes_of_files_that_exist_never_change():
    old = {op.name: (op.legacy, op.glyph) for op in OPCODES if op.dialect == 0}
    assert old == {
        "Halt": (0, "H"),
        "Dot": (1, "D"),
        "Add": (2, "A"),
        "ReLU": (3, "R"),
        "MatMul": (4, "M"),
        "Blit": (None, "B"),
    }


@EVERY
def test_words_are_there_and_fit_a_page(op: Opcode):
    assert op.shape and op.semantics
    assert "\n" not in op.shape + op.semantics
    assert len(op.operands) == 3
    assert all(isinstance(mode, Mode) for mode in op.operands)


@EVERY
def test_cost_formulas_evaluate_to_natural_numbers(op: Opcode):
    for formula in (op.operations, op.bytes):
        names = {node.id for node in ast.walk(ast.parse(formula)) if isinstance(node, ast.Name)}
        value = eval(formula, {"__builtins__": {}}, dict.fromkeys(names, 3))
        assert isinstance(value, int) and value >= 0
    assert value > 0, "an instruction reads its own pixel at least"


@pytest.mark.parametrize("op", [op for op in OPCODES if op.dialect == 0], ids=lambda op: op.name)
def test_letters_of_a_cost_stand_in_the_shape_rule(op: Opcode):
    letters = set(re.findall(r"[a-z]+", op.operations + " " + op.bytes))
    assert letters <= set(re.findall(r"\b[a-z]\b", op.shape))


@EVERY
def test_colours_are_colours(op: Opcode):
    assert len(op.color) == 3
    assert all(isinstance(c, int) and 0 <= c <= 255 for c in op.color)
    assert sum(op.color) > 240, "readable on black"


def test_colours_of_dialect_0_are_distinct():
    colors = [op.color for op in OPCODES if op.dialect == 0]
    assert len(set(colors)) == len(colors)


def test_every_row_of_dialect_0_has_a_reference_function_and_no_function_lacks_a_row():
    assert reference.FUNCTIONS.keys() == {op.name for op in OPCODES if op.dialect == 0}


@pytest.mark.parametrize("mode", Mode)
def test_modes_read_and_write_as_their_words_say(mode: Mode):
    assert mode.reads == bool(re.search(r"\bread\b", mode.value))
    assert mode.writes == bool(re.search(r"\bwritten\b", mode.value))
    assert any(mode in op.operands for op in OPCODES), "a mode that no opcode uses"


def test_opcodes_are_constants_by_name():
    assert opcodes.MATMUL == 77 == ord("M")
    assert opcodes.RELU_NUMERIC == 3
    assert opcodes.HALT_NUMERIC == 0
    assert not hasattr(opcodes, "BLIT_NUMERIC")
    for op in OPCODES:
        if op.dialect == 0:
            assert getattr(opcodes, op.name.upper()) == op.code
    assert set(opcodes.__all__) == {"NAMES", *opcodes.NAMES}
    with pytest.raises(AttributeError, match="no opcode constant 'JUMP'; there are HALT"):
        opcodes.__getattr__("JUMP")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="no opcode named 'Jump' in dialect 0; there are Halt, Dot"):
        isa.by_name("Jump")
