import numpy as np
import pytest

from pxvm.visual.glyphs import FONTS, font, text_mask, text_size


@pytest.mark.parametrize("name", FONTS)
def test_every_printable_character_has_a_glyph_of_its_own(name):
    glyphs = font(name)
    assert glyphs.dtype == bool and len(glyphs) == 95
    assert not glyphs[0].any(), "the space has no ink"
    assert all(glyph.any() for glyph in glyphs[1:])
    assert len({glyph.tobytes() for glyph in glyphs}) == 95


def test_the_letter_h_looks_like_one():
    rows = ["".join(".#"[int(ink)] for ink in line) for line in font("small")[ord("H") - 32]]
    assert rows == [".....", "#..#.", "#..#.", "####.", "#..#.", "#..#.", "#..#.", "....."]


def test_text_is_glyphs_side_by_side_and_scales():
    assert text_size("HELLO", "small", 3) == (75, 24)
    mask = text_mask("Hi", "small", 2)
    assert mask.shape == (16, 20)
    small = np.concatenate([font("small")[ord(c) - 32] for c in "Hi"], axis=1)
    assert (mask[::2, ::2] == small).all()


def test_characters_that_the_font_lacks_are_question_marks():
    assert (text_mask("é") == text_mask("?")).all()


def test_an_unknown_font_names_the_known_ones():
    with pytest.raises(ValueError, match="small, normal, bold"):
        font("serif")
