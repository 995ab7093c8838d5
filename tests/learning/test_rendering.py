"""Text as pixels: what is drawn is read back from the picture by rules written here anew."""

from __future__ import annotations

import unicodedata
import zlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.learning.append import render_text_to_rows
from pxvm.learning.typeset.fonts import FILE, hexadecimal_box
from pxvm.learning.typeset.rendering import render_record, render_text

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Sample:
    answer: str = ""
    query: str = ""
    sequence: int = 7
    kind: str = "interaction"
    tags: tuple[str, ...] = ()
    source: str = ""
    model: str = ""
    record_time: datetime = NOON
    event_time: datetime | None = None


def ink(rows: np.ndarray) -> np.ndarray:
    """Packed rows, 1 is white, to bool, True is black."""
    return np.unpackbits(rows, axis=1) == 0


def drawn(text: str, width: int = 1024) -> np.ndarray:
    return ink(render_text(text, width))


def art(pixels: np.ndarray) -> list[str]:
    return ["".join(".#"[int(p)] for p in row) for row in pixels]


@cache
def glyphs() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Each face straight from the file: character -> bool (height, width)."""
    faces = []
    with np.load(FILE) as file:
        for name, width in (("small", 5), ("large", 6)):
            bits = np.unpackbits(file[name][..., None], axis=2)[..., :width].astype(bool)
            codes = map(chr, file[f"{name}_codes"].tolist())
            faces.append(dict(zip(codes, bits, strict=True)))
        widths, columns = file["widths"], file["columns"]
        last = np.cumsum(widths, dtype=int)
    unifont = {}
    for code in np.flatnonzero(widths):
        own = columns[last[code] - widths[code] : last[code]]
        unifont[chr(code)] = np.concatenate(np.unpackbits(own[..., None], axis=2), 1).astype(bool)
    return faces[0], faces[1], unifont


@cache
def lookup() -> dict[tuple[tuple[int, ...], bytes], set[str]]:
    """Shape and pixels of a glyph -> the characters that look like this."""
    table = defaultdict(set)
    for face in glyphs():
        for character, glyph in face.items():
            table[glyph.shape, glyph.tobytes()].add(character)
    return table


def read_line(pixels: np.ndarray, text: str, face: str) -> list[set[str]]:
    """What may stand at the places where the characters of ``text`` must be, given only widths."""
    small, large, unifont = glyphs()
    own = {"small": small, "large": large, "unifont": {}}[face]
    cell = {"small": 5, "large": 6, "unifont": 8}[face]
    ascent = {"small": 7, "large": 11, "unifont": 14}[face]
    tall = any(c not in own for c in text)
    found, x = [], 16
    for character in text:
        if character in own:
            height, width = own[character].shape
            top, left, step = 14 - ascent if tall else 0, x, width
        else:
            height, width = unifont[character].shape
            step = -(-width // cell) * cell
            if face == "small":
                step = 20 if width == 16 else 10
            top, left = 0, x + (step - width) // 2
        box = np.ascontiguousarray(pixels[top : top + height, left : left + width])
        found.append(lookup()[box.shape, box.tobytes()])
        pixels[top : top + height, left : left + width] = False
        x += step
    return found


PLAIN = [
    chr(code)
    for code in range(0x20, 0xFFFE)
    if not 0xD800 <= code < 0xF900
    and chr(code) in glyphs()[2]
    and unicodedata.category(chr(code)) not in ("Mn", "Me", "Mc", "Cf", "Zl", "Zp")
    and unicodedata.bidirectional(chr(code)) in ("L", "EN", "ES", "ET", "CS", "ON", "WS", "B", "S")
    and unicodedata.is_normalized("NFC", chr(code))
    and not 0x180B <= code <= 0x180F
]


def test_a_word_pixel_by_pixel():
    assert art(drawn("Hi.", 128)[:10, 16:32]) == [
        "................",
        "#..#...#........",
        "#..#............",
        "####..##........",
        "#..#...#........",
        "#..#...#...##...",
        "#..#..###..##...",
        "................",
        "................",
        "................",
    ]


@given(st.text(st.sampled_from(PLAIN), min_size=1, max_size=25))
@settings(deadline=None)
def test_text_is_read_back_from_its_pixels(text: str):
    text = unicodedata.normalize("NFC", text).strip(" ")
    if not text or text.isspace() or text.lstrip().startswith(("```", "~~~")):
        return
    small = glyphs()[0]
    foreign = [c for c in text if c not in small and not c.isspace()]
    alphabetic = [c for c in foreign if c.isalpha() and unicodedata.east_asian_width(c) not in "WF"]
    many = 3 * (len(foreign) + 2 * len(alphabetic)) > len("".join(text.split()))
    face = "unifont" if many else "small"
    pixels = drawn(text, 1024)
    tall = face == "unifont" or any(c not in small for c in text)
    assert len(pixels) == (18 if tall else 10)
    found = read_line(pixels, text, face)
    assert all(c in candidates for c, candidates in zip(text, found, strict=True)), text
    assert not pixels.any(), "ink that belongs to no character"


def test_every_character_of_the_plane_has_its_glyph():
    """Each on a line of its own after an x, set in Unifont throughout."""
    unifont = glyphs()[2]
    rest = [c for c in PLAIN if c not in glyphs()[0]]
    assert len(rest) > 50_000
    wrong = []
    for start in range(0, len(rest), 10_000):
        chunk = rest[start : start + 10_000]
        pixels = drawn("\n".join("x" + c for c in chunk), 128)
        lines = pixels.reshape(len(chunk), 18, 128)[:, :16]
        for character, line in zip(chunk, lines, strict=True):
            glyph = unifont[character]
            if not np.array_equal(line[:, 24 : 24 + glyph.shape[1]], glyph):
                wrong.append(character)
    assert not wrong


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=130)


@given(st.lists(WORD, min_size=1, max_size=60))
@settings(deadline=None)
def test_lines_break_at_words(words: list[str]):
    text = "x " + " ".join(words)  # not a list item, whose lines would hang
    lines = greedy(text.split(" "), 192)
    pixels = drawn(text, 1024)
    assert len(pixels) == 10 * len(lines)
    for number, line in enumerate(lines):
        found = read_line(pixels[10 * number : 10 * number + 10], line, "small")
        assert all(c in candidates for c, candidates in zip(line, found, strict=True))
    assert not pixels.any()


def greedy(words: list[str], width: int) -> list[str]:
    """As many words a line as fit; a word longer than a line is cut where the line ends."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return [line for line in lines if line]


@pytest.mark.parametrize("length", [192, 193, 384, 1000])
def test_a_long_word_is_cut(length: int):
    pixels = drawn("x" * length)
    lines = -(-length // 192)
    assert len(pixels) == 10 * lines
    last = length - 192 * (lines - 1)
    for number in range(lines):
        count = 192 if number + 1 < lines else last
        assert pixels[10 * number : 10 * number + 8, 16 : 16 + 5 * count].any(0).sum() > 0
        read_line(pixels[10 * number : 10 * number + 10], "x" * count, "small")
    assert not pixels.any()


def test_wide_characters_wrap_between_themselves_and_not_before_a_full_stop():
    text = "漢" * 62 + "。" + "字" * 3
    pixels = drawn(text)
    first, second = "漢" * 61, "漢。字字字"
    for top, line in ((0, first), (18, second)):
        found = read_line(pixels[top : top + 18], line, "unifont")
        assert all(c in candidates for c, candidates in zip(line, found, strict=True))
    assert not pixels.any()


def test_list_items_hang():
    text = "- " + "word " * 60
    pixels = drawn(text)
    assert pixels[0:8, 16:26].any() and not pixels[10:18, :26].any() and pixels[10:18, 26:40].any()


FULL = [
    "The network is one growing picture that a person reads, the machine reads back: each of its",
    "records stands there twice, as text in black on white, and above that as rows that look like",
    "noise, which hold the exact bytes and their checksums.",
]


@pytest.mark.parametrize("around", ["{}", "Heading\n\n{}", "- {}"])
def test_lines_that_another_program_wrapped_are_joined(around: str):
    """In a column of 88 cells they would leave one or two words on every second line."""
    text = around.format("\n  ".join(FULL) if around[0] == "-" else "\n".join(FULL))
    assert np.array_equal(drawn(text, 496), drawn(around.format(" ".join(FULL)), 496))


@pytest.mark.parametrize(
    "lines",
    [
        [FULL[0], "Short.", *FULL[1:]],
        [FULL[0], "- " + FULL[1]],
        ["| " + FULL[0], "| " + FULL[1]],
        ["```", *FULL],
        [FULL[0] + "  ", FULL[1]],
    ],
)
def test_other_lines_are_not_joined(lines: list[str]):
    joined = drawn(" ".join(lines), 496)
    assert not np.array_equal(drawn("\n".join(lines), 496), joined)


def test_code_is_kept_as_it_is_behind_a_bar():
    code = "```\nif  x:\n        return   1\n```"
    pixels = drawn(code)
    for number, line in enumerate(code.split("\n")):
        assert pixels[10 * number : 10 * number + 10, 11].all(), "the bar"
        pixels[10 * number : 10 * number + 10, 11] = False
        found = read_line(pixels[10 * number : 10 * number + 10], line, "small")
        assert all(c in candidates for c, candidates in zip(line, found, strict=True))
    assert not pixels.any()


def test_letters_of_one_text_have_one_size():
    for text in ("Tiếng Việt rất đẹp", "English 和中文也"):
        assert np.array_equal(drawn(text)[:16, 16:24], glyphs()[2][text[0]])
    for text in ("Some English words and 漢字", "Tschüß – ça va, Łódź, Ελλάδα, Россия"):
        assert any(
            np.array_equal(drawn(text)[y : y + 8, 16:21], glyphs()[0][text[0]]) for y in (0, 7)
        )


def test_marks_are_drawn_over_their_base():
    _, _, unifont = glyphs()
    pixels = drawn("some words x\u0302\u0331")
    both = np.zeros((16, 8), bool)
    for character in "x\u0302\u0331":
        both |= unifont[character]
    assert np.array_equal(pixels[:16, 16 + 55 + 1 : 16 + 55 + 9], both)
    assert np.array_equal(drawn("e\u0301"), drawn("é"))


def test_what_has_no_glyph_is_a_box_with_its_code_point():
    for character in ("\ue000", "\U00020000", "\U0010ffff"):
        box = np.unpackbits(hexadecimal_box(ord(character)).T.copy(), axis=1).astype(bool)
        assert np.array_equal(drawn("ab c" + character)[:16, 16 + 20 + 2 : 16 + 20 + 18], box)
    assert not np.array_equal(hexadecimal_box(0xE000), hexadecimal_box(0xE001))


def test_emoji_have_glyphs():
    smile, box = drawn("some words \U0001f600"), drawn("some words \U00020000")
    assert smile.shape == box.shape and not np.array_equal(smile, box)
    joined = "some words \U0001f469\u200d\U0001f4bb\ufe0f"
    assert np.array_equal(drawn(joined), drawn("some words \U0001f469\U0001f4bb"))


def test_control_characters_are_seen_and_surrogates_do_no_harm():
    for control in "\x00\x07\x1b\x7f\x85\u202e":
        assert drawn(f"a{control}b").sum() > drawn("ab").sum() + 10
    assert np.array_equal(drawn("a\ud800b"), drawn("a\ufffdb"))


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("abc אבג def", "abc גבא def"),
        ("אבג 123 דה", "הד 123 גבא"),
        ("אב (גד) 5%", "5% (דג) בא"),
        ("x אב, גד. y", "x דג ,בא. y"),
        ("ابج 12 + 3", "3 + 12 جبا"),
    ],
)
def test_order_of_both_directions(logical: str, visual: str):
    from pxvm.learning.typeset.righttoleft import reorder, starts_right

    assert reorder(logical, [], starts_right(logical))[0] == visual


def test_arabic_letters_are_joined():
    from pxvm.learning.typeset.righttoleft import shape

    assert shape("بيت") == "\ufe91\ufef4\ufe96"
    assert shape("سلام") == "\ufeb3\ufefc\ufee1"
    assert unicodedata.normalize("NFKC", shape("مرحبا بالعالم")) == "مرحبا بالعالم"


def pieces(size: int) -> list[str]:
    """Real prose: this project's documents, cut to so many characters."""
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))[:4])
    return [text[i : i + size] for i in range(0, 40 * size, size)]


@pytest.mark.parametrize("question", [0, 120, 300, 500])
def test_a_kilobyte_is_cheap_in_rows_and_bytes(question: int):
    rows, bytes_ = [], []
    for number, text in enumerate(pieces(1000)):
        record = Sample(
            text[question:], text[:question], number, tags=("design", "memory"), source="docs"
        )
        picture = render_record(record)
        assert picture.shape[1] == 128 and picture.dtype == np.uint8
        rows.append(len(picture))
        filtered = np.pad(picture, ((0, 0), (1, 0))).tobytes()
        bytes_.append(len(zlib.compress(filtered, 6)))
    assert np.mean(rows) <= 150
    assert np.mean(bytes_) <= 3850


@pytest.mark.parametrize(
    "text",
    ["plain words " * 90_000, "漢字かな交じり文。" * 120_000, "\n" * 1_000_000, "x" * 1_000_000,
     "e\u0302\u0302" * 350_000, "שלום " * 200_000, "a\n" * 500_000, "\U0001f600" * 250_000],
    ids=["words", "wide", "empty lines", "one word", "marks", "Hebrew", "short lines", "emoji"],
)  # fmt: skip
def test_a_megabyte_is_drawn(text: str):
    assert render_record(Sample(text)).shape[1] == 128


ANY = st.text(max_size=300) | st.text(
    st.sampled_from("漢。 אב5(ab\n\t\x00e\u0301`~-\U0001f600✓\ue000")
)


@given(ANY, ANY, st.integers(2, 20))
@settings(deadline=None, max_examples=300)
def test_any_text_is_drawn_the_same_each_time(answer: str, query: str, width: int):
    record = Sample(answer, query, tags=(query,), source=answer, event_time=NOON)
    first = render_record(record, 64 * width)
    assert first.shape[1] == 8 * width and first.dtype == np.uint8
    assert np.array_equal(first, render_record(record, 64 * width))


def test_question_and_answer_differ_at_a_glance():
    pixels = ink(render_record(Sample("the same words", "the same words")))
    assert pixels[0].all(), "a rule above"
    assert pixels[2:12, :40].mean() > 0.5, "the number in a black tab"
    assert pixels[14:29, 9:13].all(), "a bar beside the question"
    assert pixels[12:, 16:508].sum() > 1.3 * pixels[12:, 528:1020].sum(), "bold beside plain"
    assert not pixels[12:, 520:526].any(), "no bar beside the answer"


@pytest.mark.parametrize("end", ["", "\n", "\n\n \n"])
def test_empty_lines_leave_their_neighbours_alone(end: str):
    apart = ink(render_record(Sample("", "漢字かな" + end)))
    both = ink(render_record(Sample("plain words\n" * 12, "漢字かな" + end)))
    words = ink(render_record(Sample("plain words\n" * 12)))
    assert both[14:].sum() >= apart[14:].sum() + words[14:].sum() - 18 * 4
    assert np.array_equal(drawn("漢字\n" + end), drawn("漢字"))


def test_columns_are_of_equal_height():
    pixels = ink(render_record(Sample("many words in a row " * 200)))
    heights = [np.flatnonzero(half.any(1)).max() for half in (pixels[:, :512], pixels[:, 512:])]
    assert abs(heights[0] - heights[1]) <= 10


def test_the_header_names_number_times_kind_source_and_tags():
    record = Sample("x", "", 42, "note", ("a", "b"), "mail", "llm", NOON, NOON)
    header = ink(render_record(record))[2:12]
    header[:, :48] = ~header[:, :48]  # the black tab
    header[:, 1024 - 56 :] = False
    left = "     42    2026-11-24 12:00   of 2026-11-24   note   mail   llm"
    text = left + "#a #b".rjust(192 - len(left))
    shifted = np.pad(header, ((0, 0), (8, 0)))  # the header's text begins 8 pixels further left
    found = read_line(shifted, text, "small")
    assert all(c in candidates for c, candidates in zip(text, found, strict=True))


def test_rgba_rows_for_the_old_name():
    rows = render_text_to_rows("Knowledge", 256)
    assert rows.shape == (10, 256, 4) and rows.dtype == np.uint8
    assert (rows[..., 3] == 255).all() and set(np.unique(rows[..., :3])) == {0, 255}
    assert np.array_equal(rows[..., 0] == 0, drawn("Knowledge", 256))
    assert render_text_to_rows("", 256).shape == (0, 256, 4)


@pytest.mark.parametrize("width", [0, 64, 130, -8])
def test_widths_that_cannot_be_drawn_on(width: int):
    with pytest.raises(ValueError, match="multiple of 8"):
        render_record(Sample("x"), width)
