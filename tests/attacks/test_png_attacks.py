"""Every abusive PNG of ``png/`` with its verdict: refused, by which error, at which place.

A new abuse: add it to ``make_png_attacks.py``, run that, and give it a row here.
"""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.core import mappable
from pxvm.core.container import (
    check_file,
    decode_image,
    inspect_file,
    open_image,
    pack,
    read_image,
    unpack,
)
from pxvm.core.errors import FormatError, LimitError
from pxvm.core.interpreter import execute_pxi

FOLDER = Path(__file__).parent / "png"
LIMIT, FORMAT = LimitError, FormatError

REFUSED = {
    "empty": (FORMAT, "byte 0: expected the signature of a PNG, found nothing"),
    "jpeg": (FORMAT, "byte 0: expected the signature of a PNG, found ff d8"),
    "signature_only": (FORMAT, "byte 8: expected 8 bytes, found 0"),
    "sent_as_text": (FORMAT, "byte 0: expected the signature"),
    "data_after_end": (FORMAT, "expected the end of the file after IEND, found 2 more bytes"),
    "two_images": (FORMAT, "expected the end of the file after IEND"),
    "no_end": (FORMAT, "then the end of the file"),
    "end_with_data": (FORMAT, "expected IEND of 0 bytes"),
    "header_cut": (FORMAT, "byte 16: expected 13 bytes, found 4"),
    "header_missing": (FORMAT, "byte 8: expected chunk IHDR of 13 bytes, found chunk IDAT"),
    "header_long": (FORMAT, "byte 8: expected chunk IHDR of 13 bytes, found chunk IHDR of 14"),
    "header_bad_crc": (FORMAT, "byte 29: expected CRC"),
    "header_twice": (FORMAT, "byte 33: expected a critical chunk of the PNG standard"),
    "width_zero": (FORMAT, "byte 16: expected a width of 1"),
    "height_zero": (FORMAT, "byte 20: expected a height of 1"),
    "width_32_bits": (FORMAT, "byte 16: expected a width of 1 to 2147483647, found 2147483648"),
    "depth_16": (FORMAT, "byte 24: expected at most 8 bits a channel, found 16"),
    "depth_3": (FORMAT, "byte 24: expected a valid pair"),
    "rgb_of_4_bits": (FORMAT, "byte 24: expected a valid pair"),
    "colour_type_5": (FORMAT, "byte 24: expected a valid pair"),
    "compression_1": (FORMAT, "byte 26: expected a method of at most 0"),
    "filter_method_64": (FORMAT, "byte 27: expected a method of at most 0, found 64"),
    "interlace_2": (FORMAT, "byte 28: expected a method of at most 1, found 2"),
    "too_many_pixels": (LIMIT, "found 65536 x 65536 = 4294967296"),
    "most_pixels_possible": (LIMIT, "width is at most"),
    "too_wide": (LIMIT, "width is at most 1000000 pixels; found 2000000"),
    "bomb_declared": (FORMAT, "bytes of IDAT for the declared size"),
    "bomb_undeclared": (FORMAT, "expected the end of the pixels, found more data"),
    "animated": (FORMAT, "byte 33: expected a still image, found animation chunk acTL"),
    "animated_after_pixels": (FORMAT, "found animation chunk fdAT"),
    "chunk_past_end": (FORMAT, "byte 33: expected at most 36 bytes of data"),
    "chunk_of_4_gib": (FORMAT, "byte 33: expected at most 36 bytes of data"),
    "chunk_bad_crc": (FORMAT, "byte 44: expected CRC"),
    "chunk_named_by_digits": (FORMAT, "byte 37: expected a chunk type of four letters"),
    "chunk_unknown_critical": (FORMAT, "byte 33: expected a critical chunk of the PNG standard"),
    "pixels_missing": (FORMAT, "found 0 (deflate unfolds"),
    "pixels_empty": (FORMAT, "found 0 (deflate unfolds"),
    "pixels_interrupted": (FORMAT, "expected all IDAT chunks in a row, found one after chunk tEXt"),
    "palette_missing": (FORMAT, "byte 33: expected a PLTE chunk before the pixels"),
    "palette_late": (FORMAT, "byte 33: expected a PLTE chunk before the pixels"),
    "palette_twice": (FORMAT, "byte 51: expected one PLTE"),
    "palette_of_4_bytes": (FORMAT, "byte 33: expected 1 to 256 colours of 3 bytes"),
    "palette_over_depth": (FORMAT, "byte 33: expected 1 to 2 colours of 3 bytes"),
    "palette_for_grey": (FORMAT, "byte 33: expected one PLTE, before tRNS and IDAT"),
    "palette_index_out": (FORMAT, "expected palette indices below 2 in rows 0 to 0, found 2"),
    "alpha_for_rgba": (FORMAT, "byte 33: expected one tRNS"),
    "alpha_before_palette": (FORMAT, "byte 33: expected tRNS of 1 to 0 bytes"),
    "alpha_over_palette": (FORMAT, "byte 51: expected tRNS of 1 to 2 bytes"),
    "zlib_no_header": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_dictionary": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_reserved_block": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_reaches_before_start": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_stored_length_wrong": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_wrong_adler": (FORMAT, "byte 41: expected a valid zlib stream"),
    "zlib_no_adler": (FORMAT, "expected the zlib stream's Adler-32, found nothing"),
    "zlib_then_garbage": (FORMAT, "expected no bytes after the zlib stream"),
    "zlib_then_garbage_chunk": (FORMAT, "expected no bytes after the zlib stream"),
    "zlib_one_byte_short": (FORMAT, "expected 1 more bytes of pixels"),
    "zlib_one_byte_long": (FORMAT, "expected the end of the pixels, found more data"),
    "interlaced_short": (FORMAT, "more bytes of pixels"),
    "row_filter_5": (FORMAT, "expected row filters 0 to 4 in rows 0 to 0, found 5"),
    "row_filter_255": (FORMAT, "expected row filters 0 to 4 in rows 0 to 0, found 255"),
    "bomb_of_one_bit": (LIMIT, "at most 67108864 pixels; found 8193 x 8192 = 67117056"),
    "mappable_wrong_adler": (FORMAT, "byte 62: expected a valid zlib stream"),
    "mappable_wrong_crc": (FORMAT, "byte 169: expected CRC"),
    "mappable_row_filter_5": (FORMAT, "expected row filters 0 to 4 in rows 0 to 2, found 5"),
    "mappable_row_lengths_disagree": (FORMAT, "invalid stored block lengths"),
    "mappable_row_too_long": (FORMAT, "invalid stored block lengths"),
    "mappable_row_reserved_block": (FORMAT, "invalid block type"),
    "mappable_ends_in_row_1": (FORMAT, "incorrect data check"),
    "mappable_interlaced": (FORMAT, "expected row filters 0 to 4 in rows 0 to 0, found 9"),
    "mappable_never_ends": (FORMAT, "byte 62: expected"),
    "mappable_cut": (FORMAT, "byte 54: expected at most"),
    "mappable_one_byte_more": (FORMAT, "expected the end of the file after IEND, found 1 more"),
}

# Checksums over the pixels of a mappable file: of a large one only verifying compares them.
UNSUMMED = {"mappable_wrong_adler", "mappable_wrong_crc"}

# Valid pixels all the same: a reader must not be led astray.
ACCEPTED = {
    "bomb_in_text",
    "mappable_all_rows_filtered",
    "mappable_in_two_chunks",
    "mappable_last_row_filtered",
    "mappable_other_private_data",
    "mappable_other_zlib_header",
    "mappable_row_behind_its_pixels",
    "mappable_row_by_other_bits",
    "mappable_row_filtered",
    "mappable_small_window",
    "mappable_text_for_private_data",
}


def path(name: str) -> Path:
    return FOLDER / f"{name}.png"


def test_every_file_has_a_verdict():
    assert {file.stem for file in FOLDER.iterdir()} == REFUSED.keys() | ACCEPTED


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    kind, message = REFUSED[name]
    for read in (read_image, check_file, lambda file: decode_image(file.read_bytes())):
        with pytest.raises(FormatError) as caught:
            read(path(name))
        assert type(caught.value) is kind
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_without_memory(name):
    """The declared size never costs memory; a refused file costs a few pieces of itself."""
    with pytest.raises(FormatError):  # Pillow and the like are imported before measuring
        read_image(path(name))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read_image(path(name))
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


@pytest.fixture(params=[0, 1 << 24], ids=["mapped", "whole"])
def size(request, monkeypatch) -> int:
    """As a large file is read, and as a small one."""
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_the_same_words_by_every_way_in(name, size, tmp_path):
    if not size and name in UNSUMMED:
        return
    file = path(name)
    words = set()
    for way in (
        read_image,
        open_image,
        check_file,
        execute_pxi,
        lambda file: open_image(file, extra_rows=3),
        lambda file: decode_image(file.read_bytes()),
        lambda file: pack(file, tmp_path / "packed.png"),
    ):
        with pytest.raises(FormatError) as caught:
            way(file)
        words.add(str(caught.value).replace(str(file), "image"))
    assert len(words) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", REFUSED)
def test_inspect_says_something_or_refuses(name):
    with contextlib.suppress(FormatError):
        assert inspect_file(path(name)).bytes == path(name).stat().st_size


def test_text_is_never_inflated():
    assert read_image(path("bomb_in_text")).tolist() == [[[10, 20, 30, 40]]]


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("name", sorted(ACCEPTED - {"bomb_in_text"}))  # Pillow refuses the text
def test_accepted_as_one_picture(name):
    """What is mapped is what is decoded, and what Pillow shows."""
    file = path(name)
    check_file(file)
    with Image.open(file) as seen:
        expected = np.asarray(seen)
    for image in (
        read_image(file),
        open_image(file),
        open_image(file, extra_rows=2)[:-2],
        decode_image(file.read_bytes()),
    ):
        assert (image == expected).all()
    assert inspect_file(file).layout == "compressed"


def test_a_filter_changes_the_picture():
    stored = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    decoded = stored.copy()
    decoded[1] += stored[0]
    assert (open_image(path("mappable_row_filtered")) == decoded).all()
    assert (open_image(path("mappable_last_row_filtered"))[2] == stored[1] + stored[2]).all()


@pytest.mark.parametrize("name", sorted(UNSUMMED))
def test_sums_of_a_large_mappable_file_are_left_to_verifying(name, monkeypatch, tmp_path):
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)
    file = path(name)
    for image in (read_image(file), open_image(file), decode_image(file.read_bytes())):
        assert (image == np.arange(48, dtype=np.uint8).reshape(3, 4, 4)).all()
    target = tmp_path / "rewritten.png"
    for way in (check_file, lambda file: pack(file, target), lambda file: unpack(file, target)):
        with pytest.raises(FormatError):
            way(file)
    assert not target.exists()
