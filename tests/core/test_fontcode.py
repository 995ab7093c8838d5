"""Font-code both ways: text -> pixels -> text and pixels -> text -> pixels, in either dialect."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core import isa
from pxvm.core.container import read_image
from pxvm.core.errors import AssemblyError, ProgramError
from pxvm.core.fontcode import assemble, disassemble
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from tests.conformance.test_conformance import HERE
from tests.differential.generator import generate

PRODUCT = """
.image 16x9            ; a comment
.matrix A@1 2x3 = 1 2 3 4 5 6
.matrix B@4 3x2 = 7 8 9 10 11 12
.result C@8
M@A@B@C H
"""
CODES = sorted(isa.table(0))


def test_the_pixels_spell_the_text():
    image = assemble(PRODUCT)
    assert image[0, 0].tolist() == [ord("M"), 1, 4, 8]
    assert disassemble(image).splitlines()[-2:] == ["M@1@4@8", "H"]


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 14), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_dialect_0_image_comes_back(seed, height, width, sparse):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 4 if sparse else 256, (height, width, 4)).astype(np.uint8)
    image[0, :, 0] = rng.choice(CODES, width)
    image[0, :, 1:] = rng.integers(1, height, (width, 3))
    text = disassemble(image)
    again = assemble(text)
    assert (again == image).all()
    assert disassemble(again) == text


GOLDEN = [path for path in sorted(HERE.glob("**/*.pxi")) if "refused" not in path.stem]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_programs_come_back(path):
    image = read_image(path)
    assert (assemble(disassemble(image)) == image).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_dialect_1_program_comes_back(seed):
    image = generate(seed)
    text = disassemble(image)
    again = assemble(text)
    assert (again == image).all()
    assert disassemble(again) == text


NAMES = ["plain", "é", "a b", "a;b", "a=b", "@x", ".x", "a\x1b]0;b\x07", "a\u202eb", "a\x9bb",
         "a\x00b", "a\x85b", "a\u2028b", "\u200bx", "x\u00a0y"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [True, False])
def test_any_name_comes_back_and_none_acts_on_a_terminal(name, data):
    b = NetworkBuilder(64)
    b.tensor(name, DType.I32, (1, 1), Role.STATE, data=[[1]])
    b.emit("Add", name, name, name)
    image = b.build()
    text = disassemble(image, data=data)
    assert text.replace("\n", "").isprintable()
    if data:
        assert np.array_equal(assemble(text), image)
    else:
        assert assemble(text).shape == image.shape


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '.image WxH'"),
        ("M@1@2@3", "expected '.image WxH'"),
        (".image 4x", ".image expects"),
        (".image 4x4\n.image 4x4", "line 2: .image stands once"),
        (".image 99999x99999", "holds 1"),
        (".image 4x4\nZ@1", "line 2: unknown opcode 'Z'"),
        (".image 4x4\nM@1@2@3@4", "line 2: at most three operands"),
        (".image 4x4\nM@256", "line 2: a row is 0..255"),
        (".image 4x4\nM@A", "line 2: unknown name 'A'"),
        (".image 2x4\nH H H", "3 instructions do not fit"),
        (".image 8x4\n.matrix A@1 2x2 = 1 2 3", "line 2: 2x2 needs 4 values"),
        (".image 8x4\n.matrix A@1 1x2 = 1 900", "line 2: .matrix"),
        (".image 8x4\n.matrix A@1 1x1 = 1\n.result A@2", "line 3: the name 'A' is taken"),
        (".image 8x4\n.matrix A@9 1x1 = 1", "line 2: .matrix: row 9"),
        (".image 8x4\n.pixels 0 7 0000000000000000", "leave the image"),
        (".image 8x4\n.bitmap 0 0 #x", ".bitmap expects"),
        (".image 8x4\n.wrong", "unknown directive"),
        (".image 8x4\n.tensor x@0 I32 state 1", "needs .network"),
        (
            ".image 8x8\n.network 8 16 32\n.tensor x@1 I32 state 1 at=60 per=1\nH",
            "expected [NAME]@0",
        ),
        (
            ".image 8x8\n.network 8 16 32\n.tensor x@0 I33 state 1 at=60 per=1\nH",
            "expected a dtype",
        ),
        (".image 4x4\n.network 8 16 99\n.tensor x@0 I32 state 1 at=0 per=1\nH", "do not fit"),
    ],
)
def test_bad_text_names_the_line(text, message):
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert message in str(caught.value)


WORDS = [
    ".matrix", ".result", ".vector", ".text", ".canvas", ".pixels", ".bitmap", ".network",
    ".tensor", "A@1", "@2", "@300", "2x2", "1x3", "0", "1", "255", "256", "=", "M@1@2@3", "A@A@A@2",
    "R@1", "H", "Y", "[@0", "]", ";", "#", "00ff00ff", "7", "I32", "state", "at=0", "per=1", "\n",
]  # fmt: skip


@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_assembled_or_refused(text):
    try:
        image = assemble(".image 8x8\n" + text)
    except AssemblyError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert image.shape == (8, 8, 4) and image.dtype == np.uint8
    try:
        again = disassemble(image)
    except ProgramError:
        return  # pixels that spell no program
    assert (assemble(again) == image).all()


def test_no_program_no_text():
    with pytest.raises(ProgramError):
        disassemble(np.full((2, 2, 4), 200, np.uint8))
