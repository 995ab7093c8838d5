"""Writes the abusive PNG files beside it: ``python tests/attacks/make_png_attacks.py``.

The files are kept, so that a verdict does not depend on the zlib that runs the tests.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "png"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL = b"\x00\x0a\x14\x1e\x28"  # the one row of a 1 x 1 RGBA image: filter 0, (10, 20, 30, 40)
IEND = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A well-formed chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width=1, height=1, depth=8, colour=6, compression=0, filters=0, interlace=0) -> bytes:
    """An IHDR chunk."""
    fields = (width, height, depth, colour, compression, filters, interlace)
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))


def data(rows: bytes = PIXEL) -> bytes:
    """An IDAT chunk of filtered rows."""
    return chunk(b"IDAT", zlib.compress(rows, 9))


def png(*chunks: bytes) -> bytes:
    """A file that ends as it should."""
    return SIGNATURE + b"".join(chunks) + IEND


BLOCK = b"\x00\x00\x00\xff\xff"  # an empty stored block
ROW = b"\x00\x11\x00\xee\xff"  # the header of a stored block of 17 bytes


def mappable(
    filters=(0, 0, 0),
    *,
    before=BLOCK * 2 + ROW,
    behind=b"",
    last=b"\x01" + BLOCK[1:],
    wrong_adler=False,
    wrong_crc=False,
    zlib_header=b"\x78\x01",
    private=b"pxVMmappable1",
    cut=0,
    interlace=0,
) -> bytes:
    """A 4 x 3 image in the mappable layout whose rows have these filter bytes.

    ``before`` and ``behind`` stand around the 17 bytes of row 1; ``cut`` divides IDAT there.
    """
    rows, raw = b"", b""
    for y, kind in enumerate(filters):
        row = bytes([kind]) + bytes(range(16 * y, 16 * y + 16))
        raw += row
        rows += before + row + behind if y == 1 else BLOCK * 2 + ROW + row
    stream = zlib_header + rows + last + struct.pack(">I", zlib.adler32(raw) ^ wrong_adler)
    data = chunk(b"IDAT", stream)
    if cut:
        data = chunk(b"IDAT", stream[:cut]) + chunk(b"IDAT", stream[cut:])
    if wrong_crc:
        data = data[:-1] + bytes([data[-1] ^ 1])
    size = header(4, len(filters), interlace=interlace)
    return png(size, chunk(private[:4], private[4:]), data)


def files() -> dict[str, bytes]:
    """Name -> content of every attack."""
    good = png(header(), data())
    stream = zlib.compress(PIXEL, 9)
    palette = chunk(b"PLTE", b"\x00\x00\x00\xff\xff\xff")
    flip = bytearray(chunk(b"tEXt", b"a\0b"))
    flip[9] ^= 1
    return {
        # the file as such
        "empty": b"",
        "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
        "signature_only": SIGNATURE,
        "sent_as_text": good.replace(b"\r\n", b"\n"),
        "data_after_end": good + b"MZ",
        "two_images": good + good,
        "no_end": good[:-12],
        "end_with_data": SIGNATURE + header() + data() + chunk(b"IEND", b"x"),
        # the header
        "header_cut": good[:20],
        "header_missing": png(data()),
        "header_long": png(
            chunk(b"IHDR", struct.pack(">IIBBBBBB", 1, 1, 8, 6, 0, 0, 0, 0)), data()
        ),
        "header_bad_crc": good[:29] + bytes(4) + good[33:],
        "header_twice": png(header(), header(), data()),
        "width_zero": png(header(width=0), data()),
        "height_zero": png(header(height=0), data()),
        "width_32_bits": png(header(width=2**31), data()),
        "depth_16": png(header(depth=16), data(PIXEL + bytes(4))),
        "depth_3": png(header(depth=3, colour=0), data()),
        "rgb_of_4_bits": png(header(depth=4, colour=2), data()),
        "colour_type_5": png(header(colour=5), data()),
        "compression_1": png(header(compression=1), data()),
        "filter_method_64": png(header(filters=64), data()),
        "interlace_2": png(header(interlace=2), data()),
        # sizes
        "too_many_pixels": png(header(2**16, 2**16), data()),
        "most_pixels_possible": png(header(2**31 - 1, 2**31 - 1), data()),
        "too_wide": png(header(2_000_000, 1), data()),
        "bomb_declared": png(header(8_192, 8_192), data(bytes(4 << 20))),
        "bomb_of_one_bit": png(header(8_193, 8_192, 1, 0), data(bytes(8_192 * 1_026))),
        "bomb_undeclared": png(header(), data(PIXEL + bytes(8 << 20))),
        "bomb_in_text": png(
            header(), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8 << 20), 9)), data()
        ),
        # chunks
        "animated": png(header(), chunk(b"acTL", bytes(8)), data()),
        "animated_after_pixels": png(header(), data(), chunk(b"fdAT", bytes(8))),
        "chunk_past_end": SIGNATURE + header() + b"\x00\x01\x00\x00tEXt" + bytes(40),
        "chunk_of_4_gib": SIGNATURE + header() + b"\xff\xff\xff\xfftEXt" + bytes(40),
        "chunk_bad_crc": png(header(), bytes(flip), data()),
        "chunk_named_by_digits": png(header(), chunk(b"1234"), data()),
        "chunk_unknown_critical": png(header(), chunk(b"ABCD"), data()),
        "pixels_missing": png(header()),
        "pixels_empty": png(header(), chunk(b"IDAT")),
        "pixels_interrupted": png(
            header(),
            chunk(b"IDAT", stream[:5]),
            chunk(b"tEXt", b"a\0b"),
            chunk(b"IDAT", stream[5:]),
        ),
        "palette_missing": png(header(colour=3), data(b"\x00\x00")),
        "palette_late": png(header(colour=3), data(b"\x00\x00"), palette),
        "palette_twice": png(header(colour=3), palette, palette, data(b"\x00\x00")),
        "palette_of_4_bytes": png(header(colour=3), chunk(b"PLTE", bytes(4)), data(b"\x00\x00")),
        "palette_over_depth": png(
            header(depth=1, colour=3), chunk(b"PLTE", bytes(9)), data(b"\x00\x00")
        ),
        "palette_for_grey": png(header(colour=0), palette, data(b"\x00\x00")),
        "palette_index_out": png(header(colour=3), palette, data(b"\x00\x02")),
        "alpha_for_rgba": png(header(), chunk(b"tRNS", bytes(6)), data()),
        "alpha_before_palette": png(
            header(colour=3), chunk(b"tRNS", b"\x00"), palette, data(b"\x00\x00")
        ),
        "alpha_over_palette": png(
            header(colour=3), palette, chunk(b"tRNS", bytes(3)), data(b"\x00\x00")
        ),
        # the compressed stream
        "zlib_no_header": png(header(), chunk(b"IDAT", b"\x00\x00" + stream[2:])),
        "zlib_dictionary": png(header(), chunk(b"IDAT", b"\x78\xbb" + bytes(4) + stream[2:])),
        "zlib_reserved_block": png(header(), chunk(b"IDAT", b"\x78\x01\x07" + bytes(8))),
        "zlib_reaches_before_start": png(
            header(), chunk(b"IDAT", b"\x78\x01\x4b\x02\x1a\x00" + bytes(8))
        ),
        "zlib_stored_length_wrong": png(
            header(), chunk(b"IDAT", b"\x78\x01\x01\x05\x00\x00\x00" + PIXEL + bytes(4))
        ),
        "zlib_wrong_adler": png(header(), chunk(b"IDAT", stream[:-1] + b"\x00")),
        "zlib_no_adler": png(header(), chunk(b"IDAT", stream[:-4])),
        "zlib_then_garbage": png(header(), chunk(b"IDAT", stream + b"x")),
        "zlib_then_garbage_chunk": png(header(), chunk(b"IDAT", stream), chunk(b"IDAT", b"x")),
        "zlib_one_byte_short": png(header(), data(PIXEL[:-1])),
        "zlib_one_byte_long": png(header(), data(PIXEL + b"\x00")),
        "interlaced_short": png(header(3, 3, interlace=1), data(bytes(20))),
        "row_filter_5": png(header(), data(b"\x05" + PIXEL[1:])),
        "row_filter_255": png(header(), data(b"\xff" + PIXEL[1:])),
        # the mappable layout: what is mapped must be what is decoded
        "mappable_row_filtered": mappable((0, 2, 0)),
        "mappable_last_row_filtered": mappable((0, 0, 2)),
        "mappable_all_rows_filtered": mappable((1, 2, 4)),
        "mappable_row_filter_5": mappable((0, 5, 0)),
        "mappable_row_behind_its_pixels": mappable(before=ROW, behind=BLOCK * 2),
        "mappable_row_lengths_disagree": mappable(before=BLOCK * 2 + b"\x00\x11\x00\xef\xff"),
        "mappable_row_too_long": mappable(before=BLOCK * 2 + b"\x00\x21\x00\xde\xff"),
        "mappable_row_reserved_block": mappable(before=BLOCK + b"\x06" + BLOCK[1:] + ROW),
        "mappable_ends_in_row_1": mappable(before=b"\x01" + BLOCK[1:] + BLOCK + ROW),
        "mappable_row_by_other_bits": mappable(before=b"\xf8" + BLOCK[1:] + BLOCK + ROW),
        "mappable_other_private_data": mappable(private=b"pxVMmappable2"),
        "mappable_text_for_private_data": mappable(private=b"tEXta\0bcdefgh"),
        "mappable_other_zlib_header": mappable(zlib_header=b"\x78\x9c"),
        "mappable_small_window": mappable(zlib_header=b"\x08\x1d"),
        "mappable_in_two_chunks": mappable(cut=50),
        "mappable_interlaced": mappable(interlace=1),
        "mappable_wrong_adler": mappable(wrong_adler=True),
        "mappable_wrong_crc": mappable(wrong_crc=True),
        "mappable_never_ends": mappable(last=BLOCK),
        "mappable_cut": mappable()[:-30],
        "mappable_one_byte_more": mappable() + b"\x00",
    }


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / f"{name}.png").write_bytes(content)
