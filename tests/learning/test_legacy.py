"""Old pictures of text are read back exactly, and what cannot be read is said to be so."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from pxvm.core.errors import FormatError
from pxvm.learning.append import render_text_to_rows
from pxvm.learning.exchange.legacy import UNKNOWN, passages, read_picture

LINES = [
    "Q: What is a pixel program?",
    "A: A program whose instructions, data and results",
    "are pixels; it runs inside the picture.",
    '   e = mc^2, "quoted" [brackets] {x} ~ | \\ / @ #1',
    "WAVY MMWW kkww AWAWA, na\xefve caf\xe9 \xbd \xae",
]
BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)


def old_picture(path: Path, lines: list[str], ink=BLACK, ground=WHITE, x=10, y=5, pitch=14) -> Path:
    """A picture as programs drew it with Pillow's built-in bitmap font."""
    font = ImageFont.load_default_imagefont()
    image = Image.new("RGBA", (1024, y + pitch * len(lines) + 20), ground)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((x, y + pitch * number), line, font=font, fill=ink)
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("ink", "ground"), [(BLACK, WHITE), (WHITE, BLACK), ((200, 255, 180, 255), (20, 30, 60, 255))]
)
@pytest.mark.parametrize("place", [(10, 5), (0, 0), (3, 7)])
def test_pillow_text_is_read_exactly(tmp_path: Path, ink, ground, place):
    path = old_picture(tmp_path / "old.png", LINES, ink, ground, *place)
    read = read_picture(path)
    assert [line.text for line in read] == LINES
    assert all(line.certain == 1 and line.face == "pillow" for line in read)
    assert [line.row for line in read] == [place[1] + 14 * n for n in range(len(LINES))]


WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=9, max_size=90)


@given(st.lists(WORDS, min_size=1, max_size=5))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_ascii_line_is_read_exactly(tmp_path: Path, lines: list[str]):
    read = read_picture(old_picture(tmp_path / "old.png", lines))
    assert [line.text for line in read] == lines


def own_picture(path: Path, text: str) -> Path:
    Image.fromarray(render_text_to_rows(text)).save(path)
    return path


def test_our_own_faces_are_read(tmp_path: Path):
    lines = ["Knowledge is stored as pixels.", "Ελληνικά and Кириллица in one line",
             "Some 漢字 and ✓ among small letters", "日本語の文章はこのように。テスト"]  # fmt: skip
    read = read_picture(own_picture(tmp_path / "own.png", "\n".join(lines[:3])))
    assert [line.text for line in read] == lines[:3]
    assert all(line.certain == 1 for line in read)
    read = read_picture(own_picture(tmp_path / "own.png", "\n".join(lines[3:])))
    assert [line.text for line in read] == lines[3:]


def test_a_word_that_three_scripts_could_have_written_is_doubtful(tmp_path: Path):
    read = read_picture(own_picture(tmp_path / "own.png", "Кириллица beside Latin and ABC here"))
    assert read[0].text == "Кириллица beside Latin and ABC here"
    assert read[0].doubtful == (27, 28, 29)
    assert read[0].certain == pytest.approx(1 - 3 / 30)
    alone = read_picture(own_picture(tmp_path / "own.png", "nothing but Latin and ABC here"))
    assert alone[0].doubtful == ()


def test_what_was_painted_over_is_unknown_and_the_rest_is_read(tmp_path: Path):
    path = old_picture(tmp_path / "old.png", LINES[:3])
    with Image.open(path) as image:
        ImageDraw.Draw(image).line((10 + 6 * 8, 24, 10 + 6 * 12, 24), BLACK)
        image.save(path)
    first, second, third = read_picture(path)
    assert (first.text, third.text) == (LINES[0], LINES[2])
    assert UNKNOWN in second.text and second.certain < 1
    good = [p for p in range(len(LINES[1])) if p not in second.doubtful]
    assert len(good) > 40 and all(second.text[p] == LINES[1][p] for p in good)


def test_blurred_letters_are_not_guessed(tmp_path: Path):
    image = Image.new("RGBA", (1024, 800), WHITE)
    draw = ImageDraw.Draw(image)
    for number in range(50):
        draw.text((10, 5 + 14 * number), LINES[1], font=ImageFont.load_default(), fill=BLACK)
    image.save(tmp_path / "blurred.png")
    start = time.process_time()
    read = read_picture(tmp_path / "blurred.png")
    assert len(read) == 50 and all(line.certain == 0 and line.text == UNKNOWN for line in read)
    assert time.process_time() - start < 30


def test_noise_is_no_text(tmp_path: Path):
    noise = np.random.default_rng(3).integers(0, 2, (200, 300), np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert sum(line.certain for line in read_picture(tmp_path / "noise.png")) < 0.5


def test_an_empty_picture_has_no_lines(tmp_path: Path):
    Image.new("RGBA", (1024, 50), WHITE).save(tmp_path / "empty.png")
    assert read_picture(tmp_path / "empty.png") == []


def test_passages_are_parted_by_wider_gaps(tmp_path: Path):
    lines = [LINES[0], LINES[1], "", LINES[2], LINES[2]]
    read = read_picture(old_picture(tmp_path / "old.png", lines))
    texts = [text for text, _ in passages(read)]
    assert texts == ["\n".join(LINES[:2]), "\n".join([LINES[2]] * 2)]
    assert all(certain == 1 for _, certain in passages(read))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "no.png").write_bytes(content)
    with pytest.raises(FormatError, match="no readable picture"):
        read_picture(tmp_path / "no.png")
    with pytest.raises(FormatError, match="no readable picture"):
        read_picture(tmp_path / "absent.png")
