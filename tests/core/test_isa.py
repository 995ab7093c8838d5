"""The table: every row complete, unambiguous, and known to what derives from it."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest

from pxvm.core import isa, opcodes, ops, reference, rules
from pxvm.core.isa import OPCODES, Flow, Mode, Names, Opcode
from pxvm.core.reference1 import Runner
from pxvm.core.tensor import PARAMETERS, DType

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
    used = any(mode in op.operands or mode in (p.mode for p in op.parameters) for op in OPCODES)
    assert used, "a mode that no opcode uses"


def test_what_modes_name_fits_the_dialect():
    for op in OPCODES:
        rows, tensors = {Names.ROW}, {Names.TENSOR, Names.BLOCK, Names.NUMBER}
        assert {mode.names for mode in op.operands} <= {
            Names.NOTHING,
            *(tensors if op.dialect else rows),
        }
        assert all((mode.access is isa.Access.NONE) == (mode.names not in (Names.ROW, Names.TENSOR))
                   for mode in op.operands)  # fmt: skip


@EVERY
def test_tensors_have_dtypes_and_nothing_else_has(op: Opcode):
    named = [*zip(op.operands, op.types, strict=True), *((p.mode, p.types) for p in op.parameters)]
    for mode, types in named:
        assert bool(types) == (mode.names is Names.TENSOR)
        assert set(types) <= DType.__members__.keys() - {"PARAMS"}


@EVERY
def test_parameters_fit_a_block(op: Opcode):
    assert bool(op.parameters) == (Mode.PARAMETERS in op.operands)
    assert len(op.parameters) <= PARAMETERS
    assert len({parameter.name for parameter in op.parameters}) == len(op.parameters)
    assert {p.mode.names for p in op.parameters} <= {Names.TENSOR, Names.NUMBER}


@pytest.mark.parametrize("op", [op for op in OPCODES if op.dialect == 1], ids=lambda op: op.name)
def test_an_opcode_either_computes_or_controls(op: Opcode):
    computes = op.flow is Flow.NEXT
    assert (op.name in ops.FUNCTIONS) == (op.name in rules.RULES) == computes
    assert computes or callable(getattr(Runner, f"_{op.name.lower()}"))
    assert computes == any(mode.writes for mode in op.operands)


def test_every_flow_but_the_next_has_one_opcode():
    for dialect, expected in ((0, {Flow.HALT}), (1, set(Flow) - {Flow.NEXT})):
        flows = [op.flow for op in OPCODES if op.dialect == dialect and op.flow is not Flow.NEXT]
        assert Counter(flows) == Counter(expected)


def test_a_bias_is_that_of_a_weight():
    for op in (op for op in OPCODES if op.adds_bias):
        weight = [p.types for p in op.parameters if p.name == "weight"] or [op.types[2]]
        assert set(weight[0]) <= {"I8", "I4", "I16"}, "only these link to a bias"


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
