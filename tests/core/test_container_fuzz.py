"""Generated PNG files against a plain-Python decoder; damage of every kind to valid ones."""

from __future__ import annotations

import itertools
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pxvm.core import mappable, png, scanlines
from pxvm.core.container import (
    check_file,
    decode_image,
    inspect_file,
    open_image,
    pack,
    read_image,
    save_image,
    unpack,
)
from pxvm.core.errors import FormatError

KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (2, 8), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (6, 8)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


# A PNG encoder and the meaning of its samples, in plain Python


def paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def filtered(row: bytes, above: bytes, step: int, kind: int) -> bytes:
    out = bytearray([kind])
    for i, value in enumerate(row):
        left = row[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        predicted = (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]
        out.append((value - predicted) % 256)
    return bytes(out)


def packed(row: list[tuple[int, ...]], depth: int) -> bytes:
    bits = "".join(f"{sample:0{depth}b}" for pixel in row for sample in pixel)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def encoded(pixels, colour, depth, interlaced, filters) -> bytes:
    """The filtered rows of all passes; ``filters`` is an endless iterator of filter types."""
    height, width = len(pixels), len(pixels[0])
    step = max(1, CHANNELS[colour] * depth // 8)
    out = b""
    for x0, y0, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        columns = range(x0, width, dx)
        if not columns:
            continue
        above = None
        for y in range(y0, height, dy):
            row = packed([pixels[y][x] for x in columns], depth)
            out += filtered(row, above or bytes(len(row)), step, next(filters))
            above = row
    return out


def meaning(pixel, colour, depth, palette, transparency) -> tuple[int, ...]:
    """RGBA of one pixel."""
    if colour == 6:
        return pixel
    if colour == 4:
        return (pixel[0],) * 3 + (pixel[1],)
    if colour == 3:
        alpha = transparency[pixel[0]] if pixel[0] < len(transparency) else 255
        return (*palette[pixel[0]], alpha)
    key = struct.unpack(f">{CHANNELS[colour]}H", transparency) if transparency else None
    alpha = 0 if pixel == key else 255
    if colour == 2:
        return (*pixel, alpha)
    return (pixel[0] * 255 // (2**depth - 1),) * 3 + (alpha,)


@st.composite
def pictures(draw):
    """A file and the RGBA that it means."""
    colour, depth = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 19)), draw(st.integers(1, 12))
    interlaced = draw(st.booleans())
    random = draw(st.randoms(use_true_random=False))
    palette, transparency = [], b""
    highest = 2**depth - 1
    chunks = b""
    if colour == 3:
        palette = [tuple(random.randbytes(3)) for _ in range(random.randint(1, 2**depth))]
        highest = len(palette) - 1
        chunks += png.chunk(b"PLTE", bytes(itertools.chain(*palette)))
    few = random.choice([1, 3, highest])  # few values, so that a transparent colour is met
    pixels = [
        [
            tuple(random.randint(0, min(few, highest)) for _ in range(CHANNELS[colour]))
            for _ in range(width)
        ]
        for _ in range(height)
    ]
    if colour in (0, 2, 3) and random.random() < 0.6:
        some = random.choice(random.choice(pixels))
        transparency = (
            random.randbytes(random.randint(1, len(palette)))
            if colour == 3
            else struct.pack(f">{len(some)}H", *some)
        )
        chunks += png.chunk(b"tRNS", transparency)
    kinds = random.choice([[0], [4], [0, 1, 2, 3, 4]])
    rows = encoded(pixels, colour, depth, interlaced, (random.choice(kinds) for _ in iter(int, 1)))
    stream = zlib.compress(rows, random.choice([0, 6]))
    cut = random.randint(0, len(stream))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    data = png.SIGNATURE + png.chunk(b"IHDR", header) + chunks
    data += png.chunk(b"IDAT", stream[:cut]) + png.chunk(b"IDAT", stream[cut:]) + png.END
    expected = [[meaning(p, colour, depth, palette, transparency) for p in row] for row in pixels]
    return data, np.array(expected, np.uint8)


@settings(max_examples=250, deadline=None)
@given(pictures(), st.sampled_from([40, 200, 4 << 20]))
def test_any_png_means_what_the_standard_says(picture, band):
    data, expected = picture
    whole, scanlines.BAND_BYTES = scanlines.BAND_BYTES, band
    try:
        assert (decode_image(data) == expected).all()
    finally:
        scanlines.BAND_BYTES = whole


IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(4)))


@settings(max_examples=80, deadline=None)
@given(IMAGES, st.sampled_from(["compressed", "mappable"]), st.integers(0, 9), st.integers(0, 99))
def test_round_trips(image, layout, level, extra_rows):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.pxi")
        save_image(image, file, layout=layout, level=level)
        assert (read_image(file) == image).all()
        opened = open_image(file, extra_rows=extra_rows)
        assert (opened[: len(image)] == image).all() and not opened[len(image) :].any()
        check_file(file)
        for rewrite, found in ((pack, "compressed"), (unpack, "mappable"), (pack, "compressed")):
            rewrite(file, file)
            assert inspect_file(file).layout == found
            assert (read_image(file) == image).all()


# Damage


def small_files() -> dict[str, bytes]:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.pxi")
        for layout in ("compressed", "mappable"):
            save_image(image, file, layout=layout)
            found[layout] = file.read_bytes()
    rows = encoded(
        [[(x + y,) for x in range(9)] for y in range(7)], 3, 4, True, itertools.cycle(range(5))
    )
    found["palette"] = (
        png.SIGNATURE
        + png.chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 7, 4, 3, 0, 0, 1))
        + png.chunk(b"tEXt", b"Comment\0hello")
        + png.chunk(b"PLTE", bytes(range(48)))
        + png.chunk(b"tRNS", b"\x00\x80")
        + png.chunk(b"IDAT", zlib.compress(rows))
        + png.END
    )
    return found


SMALL = small_files()


@pytest.mark.parametrize("name", SMALL)
def test_cut_at_every_byte(name, tmp_path):
    data = SMALL[name]
    decode_image(data)
    file = tmp_path / "cut.pxi"
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode_image(data[:length])
        file.write_bytes(data[:length])
        for read in (open_image, check_file):
            with pytest.raises(FormatError):
                read(file)


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_damaged(name, tmp_path):
    """One byte inverted, or one bit flipped, anywhere: an error, or the very same pixels."""
    data = SMALL[name]
    expected = decode_image(data)
    for position, change in itertools.product(range(len(data)), (0xFF, 1, 0x20, 0x80)):
        damaged = bytearray(data)
        damaged[position] ^= change
        try:
            found = decode_image(bytes(damaged))
        except FormatError:
            continue
        assert (found == expected).all(), position


@pytest.mark.parametrize("name", SMALL)
def test_every_byte_removed_or_doubled(name):
    data = SMALL[name]
    for position in range(len(data)):
        for damaged in (
            data[:position] + data[position + 1 :],
            data[: position + 1] + data[position:],
        ):
            with pytest.raises(FormatError):
                decode_image(damaged)


def test_a_damaged_mapped_file_opens_or_is_refused_but_never_crashes(tmp_path, monkeypatch):
    """Mapping checks no checksum of pixels: they may differ, shape and error class may not."""
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)
    data = SMALL["mappable"]
    file = tmp_path / "a.pxi"
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        file.write_bytes(damaged)
        with pytest.raises(FormatError):
            check_file(file)
        try:
            assert open_image(file, extra_rows=2).shape == (6, 5, 4)
        except FormatError:
            assert position < 80 or position >= len(data) - 25 or (position - 64) % 36 < 16
        else:
            checksums = range(len(data) - 20, len(data) - 12)
            assert position in checksums or (position >= 80 and (position - 64) % 36 >= 16)


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    found, offset = [], 8
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        found.append((kind, data[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    return found


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.randoms(use_true_random=False))
def test_malice_with_right_checksums(name, random):
    """Chunks changed, dropped, doubled, swapped, their CRC made right again: no other error."""
    chunks = chunks_of(SMALL[name])
    for _ in range(random.randint(1, 3)):
        i = random.randrange(len(chunks))
        kind, content = chunks[i]
        match random.randrange(5):
            case 0 if content:
                changed = bytearray(content)
                changed[random.randrange(len(content))] = random.randrange(256)
                chunks[i] = (kind, bytes(changed))
            case 1:
                del chunks[i]
                if not chunks:
                    return
            case 2:
                chunks.insert(random.randrange(len(chunks) + 1), chunks[i])
            case 3:
                j = random.randrange(len(chunks))
                chunks[i], chunks[j] = chunks[j], chunks[i]
            case _:
                chunks[i] = (kind, content[: random.randint(0, len(content))])
    data = png.SIGNATURE + b"".join(png.chunk(*each) for each in chunks)
    try:
        image = decode_image(data, max_pixels=10_000)
    except FormatError as error:
        assert str(error).startswith("image: ")
    else:
        assert image.shape[2] == 4
