"""Makes ``glyphs.npz`` from the fonts' sources; only needed to take in newer ones.

    apt-get download unifont fonts-unifont xfonts-base
    for package in *.deb; do dpkg -x "$package" sources; done
    python -m pxvm.learning.typeset.fonts.make_fonts sources

What the file holds is described in the package's docstring.
"""

from __future__ import annotations

import gzip
import struct
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.typeset.fonts import FILE

#: Blocks outside the Basic Multilingual Plane that are taken in: letters for mathematics; emoji,
#: symbols and pictographs.
ASTRAL = (range(0x1D400, 0x1D800), range(0x1F000, 0x1FC00))
_ENCODINGS, _METRICS, _BITMAPS = 32, 4, 8  # kinds of table in a PCF file


def read_pcf(path: Path) -> dict[int, list[int]]:
    """The glyphs of a gzipped X11 PCF font: code point -> rows, the first pixel in the top bit."""
    data = gzip.decompress(path.read_bytes())
    tables = {}
    for number in range(struct.unpack_from("<I", data, 4)[0]):
        kind, form, _, offset = struct.unpack_from("<4I", data, 8 + 16 * number)
        tables[kind] = form, offset, ">" if form & 4 else "<"

    form, offset, order = tables[_METRICS]
    if not form & 0x100:
        raise SystemExit(f"{path}: expected compressed metrics")
    count = struct.unpack_from(f"{order}H", data, offset + 4)[0]
    heights = [data[offset + 9 + 5 * i] + data[offset + 10 + 5 * i] - 256 for i in range(count)]

    form, offset, order = tables[_BITMAPS]
    padding, top_bit_first = 1 << (form & 3), bool(form & 8)
    starts = struct.unpack_from(f"{order}{count}I", data, offset + 8)
    pixels = offset + 8 + 4 * count + 16

    def rows(glyph: int) -> list[int]:
        first = pixels + starts[glyph]
        values = data[first : first + padding * heights[glyph] : padding]
        return list(values) if top_bit_first else [int(f"{v:08b}"[::-1], 2) for v in values]

    _, offset, order = tables[_ENCODINGS]
    low_first, low_last, high_first, high_last, _ = struct.unpack_from(
        f"{order}5H", data, offset + 4
    )
    codes = [h << 8 | low for h in range(high_first, high_last + 1)
             for low in range(low_first, low_last + 1)]  # fmt: skip
    glyphs = struct.unpack_from(f"{order}{len(codes)}H", data, offset + 14)
    return {c: rows(g) for c, g in zip(codes, glyphs, strict=True) if g != 0xFFFF}


def compact(glyphs: dict[int, list[int]], marks: set[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(codes, rows) of a compact face, without controls, marks and characters that show nothing."""
    blank = {0x20, 0xA0, 0x3000, *range(0x2000, 0x200B), 0x2800}
    kept = [c for c in sorted(glyphs) if c not in marks and not 0x7F <= c < 0xA0 and c >= 0x20]
    kept = [c for c in kept if any(glyphs[c]) or c in blank]
    return np.array(kept, np.uint16), np.array([glyphs[c] for c in kept], np.uint8)


def read_hex(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Unifont's source: (columns of 8 pixels of each code point (65536,), the columns (n, 16))."""
    widths = np.zeros(0x10000, np.uint8)
    columns = []
    for line in path.read_text().splitlines():
        code, bits = line.split(":")
        glyph = np.frombuffer(bytes.fromhex(bits), np.uint8).reshape(16, -1)
        widths[int(code, 16)] = glyph.shape[1]
        columns.append(glyph.T)
    return widths, np.ascontiguousarray(np.concatenate(columns))


def read_upper(path: Path) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """(codes, (n, 2, 16) columns) of the glyphs outside the Basic Multilingual Plane."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(path, 16)
    codes, glyphs = [], []

    def draw(code: int) -> NDArray[np.uint8]:
        image = Image.new("1", (16, 16))
        pen = ImageDraw.Draw(image)
        pen.fontmode = "1"
        pen.text((0, 0), chr(code), fill=1, font=font)
        return np.asarray(np.packbits(np.asarray(image), axis=1).T)

    absent = draw(0x10FFFF)
    for code in (c for block in ASTRAL for c in block):
        glyph = draw(code)
        if glyph.any() and not np.array_equal(glyph, absent):
            codes.append(code)
            glyphs.append(glyph)
    return np.array(codes, np.uint32), np.array(glyphs, np.uint8, order="C")


def main(sources: Path) -> None:
    unifont, faces = sources / "usr/share/unifont", sources / "usr/share/fonts"
    marks = {}
    for line in (unifont / "plane00-combining.txt").read_text().splitlines():
        code, offset = line.split(":")
        if int(offset) or unicodedata.category(chr(int(code, 16))) in ("Mn", "Me"):
            marks[int(code, 16)] = int(offset)
    face = read_pcf(faces / "X11/misc/5x8.pcf.gz")
    face[ord(".")] = [0] * 5 + face[ord(":")][5:7] + [0]  # a square, not a small cross
    small = compact(face, set(marks))
    bold = read_pcf(faces / "X11/misc/6x13B.pcf.gz")
    dot = [0b00110000] * 2
    bold[ord(".")] = [0] * 9 + dot + [0] * 2
    bold[ord(":")] = [0] * 4 + dot + [0] * 3 + dot + [0] * 2
    large = compact(bold, set(marks))
    widths, columns = read_hex(unifont / "unifont.hex")
    astral = read_upper(faces / "opentype/unifont/unifont_upper.otf")
    np.savez_compressed(
        FILE,
        small_codes=small[0], small=small[1], large_codes=large[0], large=large[1],
        widths=widths, columns=columns, astral_codes=astral[0], astral=astral[1],
        marks=np.array(sorted(marks), np.uint16),
        offsets=np.array([marks[c] for c in sorted(marks)], np.int8),
    )  # fmt: skip
    print(f"{FILE}: {FILE.stat().st_size:,} bytes; {len(small[0])} small, {len(large[0])} large, "
          f"{np.count_nonzero(widths)} and {len(astral[0])} of Unifont")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
