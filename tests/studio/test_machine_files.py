"""What the page reads of a PNG is what Python reads, and it refuses in the same words."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pxvm.core import png
from pxvm.core.container import decode_image, save_image
from pxvm.core.errors import FormatError
from tests.attacks.test_png_attacks import FOLDER
from tests.studio.machine_pages import bind, chosen, encoded, reads

if TYPE_CHECKING:
    from playwright.sync_api import Page

SAVED = """async ([words, width, height]) => {
    const picture = { width, height, words: Uint32Array.from(words), texts: new Map() };
    return textOf(await rooms.machine.encode(picture));
}"""

CHOSEN = """async () => {
    const { picture } = await machine("open", "image", await dropped());
    const { width, height, words } = picture;
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", words));
    return [width, height, [...hash].map((b) => b.toString(16).padStart(2, "0")).join("")];
}"""


@pytest.fixture(scope="module")
def machine(rooms: Page) -> Page:
    bind(rooms)
    return rooms


def expected(data: bytes) -> Any:
    try:
        image = decode_image(data)
    except FormatError as error:
        return str(error)
    height, width = image.shape[:2]
    return [width, height, hashlib.sha256(image.tobytes()).hexdigest()]


def compared(machine: Page, files: list[bytes]) -> None:
    for data, found in zip(files, reads(machine, files), strict=True):
        assert found == expected(data)


class Maker:
    """Writes PNGs of every kind, as random as their kind allows."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def stream(self, header: png.Header, colours: int) -> bytes:
        """Rows of a picture, compressed in some way."""
        dice, rows = self.dice, b""
        filters = dice.choice(([0], [0, 1, 2, 3, 4], [4], [3]))
        for _, _, count, columns in header.passes():
            for _ in range(count):
                row = bytes(dice.randrange(colours) for _ in range(header.row_bytes(columns)))
                rows += bytes([0 if colours < 256 else dice.choice(filters)]) + row
        deflate = zlib.compressobj(dice.randrange(10), 8, 15, 9, dice.choice((0, 0, 1, 2, 3, 4)))
        return deflate.compress(rows) + deflate.flush()

    def file(self, header: png.Header, stream: bytes, front: bytes = b"") -> bytes:
        """A whole file; the stream in one or several chunks."""
        kinds = (header.bit_depth, header.colour_type, 0, 0, int(header.interlaced))
        size = struct.pack(">IIBBBBB", header.width, header.height, *kinds)
        body = png.SIGNATURE + png.chunk(b"IHDR", size) + png.chunk(b"tEXt", b"Comment\0x") + front
        cuts = sorted(
            self.dice.randrange(len(stream) + 1) for _ in range(self.dice.choice((0, 0, 2)))
        )
        for first, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            body += png.chunk(b"IDAT", stream[first:stop])
        return body + png.END

    def any(self, colour: int, depth: int, interlaced: bool, number: int) -> bytes:
        dice = self.dice
        width, height = dice.choice(((1, 1), (3, 2), (7, 9), (33, 5)))
        header, front, colours = png.Header(width, height, depth, colour, interlaced), b"", 256
        clear = number % 2 == 0
        if colour == 3:
            colours = 2**depth if depth == 8 else 256
            front = png.chunk(b"PLTE", dice.randbytes(3 * 2**depth))
            front += png.chunk(b"tRNS", dice.randbytes(2**depth - 1)) if clear else b""
        elif colour in (0, 2) and clear:
            front = png.chunk(b"tRNS", dice.randbytes(2 if colour == 0 else 6))
        return self.file(header, self.stream(header, colours), front)


def test_every_kind_of_png(machine: Page) -> None:
    maker = Maker(1)
    files = [
        maker.any(colour, depth, interlaced, number)
        for colour, depths in png.BIT_DEPTHS.items()
        for depth in depths
        for interlaced in (False, True)
        for number in range(4)
    ]
    compared(machine, files)


def test_every_attack(machine: Page) -> None:
    compared(machine, [path.read_bytes() for path in sorted(FOLDER.iterdir())])


def test_damage(machine: Page) -> None:
    """Streams with changed bits and cut ends, under checksums of chunks that are right."""
    maker, files = Maker(2), []
    for _ in range(80):
        header = png.Header(40, 30, 8, maker.dice.choice((0, 2, 6)), maker.dice.random() < 0.3)
        stream = bytearray(maker.stream(header, 256))
        if maker.dice.random() < 0.7:
            stream[maker.dice.randrange(len(stream))] ^= 1 << maker.dice.randrange(8)
        else:
            del stream[maker.dice.randrange(len(stream)) :]
        files.append(maker.file(header, bytes(stream)))
    compared(machine, files)


def coded(*codes: tuple[int, int]) -> bytes:
    """A last block of fixed codes: (bits, how many), the highest first."""
    bits = "110" + "".join(f"{code:0{count}b}" for code, count in codes)
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


def test_what_is_wrong_right_behind_the_last_row(machine: Page) -> None:
    """zlib finds it together with the row's last byte, or only when more is asked for."""
    maker, header = Maker(4), png.Header(3, 2, 8, 0, False)
    wrong_filter, rows = b"\0abc\x09abc", b"\0abc\0abc"
    far, no_symbol, no_distance = [(1, 7), (29, 5), (0, 13)], [(0b11000110, 8)], [(1, 7), (30, 5)]
    mores = far, no_symbol, no_distance, [(0x30, 8), *far], [(0x30, 8), *no_symbol]
    files = []
    for plain in (wrong_filter, rows):
        head = b"\x78\x01\0" + len(plain).to_bytes(2, "little")
        head += (len(plain) ^ 0xFFFF).to_bytes(2, "little") + plain
        files += [maker.file(header, head + coded(*more) + bytes(8)) for more in mores]
        for extra in (b"", b"x", b"xy"):
            stream = zlib.compress(plain + extra)
            files += [maker.file(header, stream[:-1] + end) for end in (b"", b"!", stream[-1:])]
        files += [maker.file(header, head[:count]) for count in range(len(head))]
    compared(machine, files)


def test_chunk_types_of_every_byte(machine: Page) -> None:
    files = []
    for first in range(0, 256, 4):
        kind = bytes(range(first, first + 4))
        front = png.chunk(kind, b"") + png.chunk(b"IHDR", bytes(13))
        files += [png.SIGNATURE + front, Maker(5).file(png.Header(1, 1, 8, 6, False), b"", front)]
    compared(machine, files)


def test_what_is_no_png(machine: Page) -> None:
    compared(machine, [b"", b"\0\1", b"GGUF" + bytes(60), "D@1@2@3 é".encode(), b"\x89PNG\r\n"])


@pytest.mark.parametrize("layout", ["compressed", "mappable"])
def test_a_large_file(machine: Page, tmp_path: Path, layout: str) -> None:
    """Pieces, bands and the mappable way of files over 16 MiB."""
    rows = np.arange(2100 * 2048 * 4, dtype=np.uint32).reshape(2100, 2048, 4) * 2654435761
    file = tmp_path / "large.png"
    save_image((rows >> 24).astype(np.uint8), file, layout=layout, level=1)
    chosen(machine, file)
    assert machine.evaluate(CHOSEN) == expected(file.read_bytes())


def test_what_the_page_saves_is_what_python_reads(machine: Page) -> None:
    words = np.random.default_rng(1).integers(0, 2**32, (5, 7), np.uint32)
    file = machine.evaluate(SAVED, [words.reshape(-1).tolist(), 7, 5])
    assert np.array_equal(decode_image(base64.b64decode(file)).view("<u4")[..., 0], words)


def test_texts_are_read(machine: Page) -> None:
    header = png.Header(1, 1, 8, 6, False)
    front = png.chunk(b"zTXt", b"Packed\0\0" + zlib.compress(b"inside"))
    front += png.chunk(b"iTXt", b"Title\0\0\0de\0Titel\0" + "Grüße".encode())
    data = Maker(3).file(header, zlib.compress(bytes(5)), front)
    found = machine.evaluate(
        "async (file) => [...(await machine('open', 'x', bytesOf(file))).picture.texts]",
        encoded(data),
    )
    assert dict(found) == {"Comment": "x", "Packed": "inside", "Title": "Grüße"}


def test_texts_that_unfold_to_more_than_a_picture_are_left_out(machine: Page) -> None:
    packed = zlib.compress(bytes(600_000))
    front = b"".join(png.chunk(b"zTXt", b"bomb%d\0\0" % n + packed) for n in range(200))
    data = Maker(3).file(png.Header(1, 1, 8, 6, False), zlib.compress(bytes(5)), front)
    sizes = machine.evaluate(
        """async (file) => {
            const { picture } = await machine("open", "x", bytesOf(file));
            return [...picture.texts].map(([name, text]) => [name, text.length]);
        }""",
        encoded(data),
    )
    assert dict(sizes) == {"Comment": 1, "bomb0": 600_000}
