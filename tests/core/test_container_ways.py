"""One PNG, one picture: every way into a file shows the same pixels or refuses in the same words.

Whatever byte of a mappable file is changed, with its checksums made right again, the readers that
map it, those that decode it and Pillow agree.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pxvm.cli import cli
from pxvm.core import executors, mappable, png
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
from pxvm.core.errors import FormatError, LimitError, ProgramError
from pxvm.core.fontcode import assemble, disassembly
from pxvm.core.interpreter import execute_pxi, run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.tensor import DType, Role
from pxvm.core.verifier import verify

DOT = ".image 8x4\nD@1@2@3\nH\n.pixels 1 0 01000000020000000300000004000000\n"
DOT += ".pixels 2 0 0a000000140000001e00000028000000\n"


def rewritten(way: Callable[..., None]) -> Callable[[Path], np.ndarray]:
    def through(file: Path) -> np.ndarray:
        target = file.with_suffix(".rewritten")
        way(file, target)
        return read_image(target)

    return through


def checked(file: Path) -> np.ndarray:
    check_file(file)
    return read_image(file)


WAYS: dict[str, Callable[[Path], np.ndarray]] = {
    "read": read_image,
    "open": open_image,
    "longer": lambda file: open_image(file, extra_rows=3)[:-3],
    "decode": lambda file: decode_image(file.read_bytes()),
    "check": checked,
    "pack": rewritten(pack),
    "unpack": rewritten(unpack),
}


def answer(way: Callable[[Path], np.ndarray], file: Path) -> object:
    """The shape and the pixels, or the words of the refusal."""
    try:
        image = way(file)
    except FormatError as error:
        return str(error).replace(str(file), "image")
    return image.shape, image.tobytes()


def pillow(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        return (image.height, image.width, 4), np.asarray(image.convert("RGBA")).tobytes()


def agreed(file: Path, data: bytes, without: tuple[str, ...] = ()) -> object:
    """What all ways say, which must be one; Pillow's picture where there is one."""
    file.write_bytes(data)
    found = {name: answer(way, file) for name, way in WAYS.items() if name not in without}
    first = found["read"]
    assert all(each == first for each in found.values()), found
    if not isinstance(first, str):
        assert pillow(data) == first
    return first


def with_right_checksums(data: bytes) -> bytes:
    """The same file with the Adler-32 of what its IDAT chunks unfold to, and every CRC, right."""
    out, offset = bytearray(data), 8
    while offset + 12 <= len(out):
        length, kind = struct.unpack_from(">I4s", out, offset)
        end = offset + 8 + length
        if end + 4 > len(out):
            break
        if kind == b"IDAT":
            inflate = zlib.decompressobj(-15)
            try:
                unfolded = inflate.decompress(bytes(out[offset + 10 : end]))
            except zlib.error:
                unfolded = b""
            at = end - len(inflate.unused_data)
            if inflate.eof and at + 4 <= end:
                struct.pack_into(">I", out, at, zlib.adler32(unfolded))
        struct.pack_into(">I", out, end, zlib.crc32(out[offset + 4 : end]))
        offset = end + 4
    return bytes(out)


@pytest.fixture
def program(tmp_path: Path) -> bytes:
    file = tmp_path / "program.pxi"
    save_image(assemble(DOT), file, layout="mappable")
    return file.read_bytes()


@pytest.fixture(params=[0, 1 << 24], ids=["mapped", "whole"])
def size(request, monkeypatch) -> int:
    """As a large file is read, and as a small one."""
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", request.param)
    return request.param


def structural(data: bytes) -> Iterator[int]:
    stride = 4 * 8 + 16
    rows = range(64, 64 + 4 * stride)
    return (i for i in range(len(data)) if i not in rows or (i - 64) % stride < 16)


@pytest.mark.usefixtures("size")
def test_any_structural_byte(program, tmp_path):
    """Every byte that is no pixel, changed in several ways; all ways in agree, and with Pillow."""
    file = tmp_path / "changed.pxi"
    pictures = set()
    for position, change in itertools.product(structural(program), (0x01, 0x04, 0xFF)):
        changed = bytearray(program)
        changed[position] ^= change
        # Rewriting is left out: it syncs a thousand files to the disk.
        found = agreed(file, with_right_checksums(bytes(changed)), ("pack", "unpack"))
        if not isinstance(found, str):
            pictures.add(found)
    assert len(pictures) > 4  # filters of single rows are valid, and other pictures


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("row", range(4))
def test_a_row_with_a_filter(program, tmp_path, row, kind):
    file = tmp_path / "filtered.pxi"
    changed = bytearray(program)
    changed[64 + row * 48 + 15] = kind
    shape, pixels = agreed(file, with_right_checksums(bytes(changed)))
    assert inspect_file(file).layout == "compressed"
    found = np.frombuffer(pixels, np.uint8).reshape(shape)
    for device in ("reference", "auto"):
        try:
            answer = execute_pxi(file, device=device)
        except ProgramError:
            assert row == 0  # the row of the instructions
            continue
        assert (answer == run_program(found.copy(), device="reference")).all()


BLOCK = b"\x00\x00\x00\xff\xff"
STORED = struct.pack("<BHH", 0, 33, 33 ^ 0xFFFF)


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("row", [0, 1, 3])
@pytest.mark.parametrize(
    ("prefix", "behind", "valid"),
    [
        (STORED, BLOCK * 2, True),  # the same row behind other bytes
        (BLOCK + STORED, BLOCK, True),
        (BLOCK * 2 + b"\x00\x11\x00\xee\xff", b"", False),  # a block that ends inside the row
        (BLOCK * 2 + b"\x00\x21\x00\xdf\xff", b"", False),  # lengths that disagree
        (b"\x01" + BLOCK[1:] + BLOCK + STORED, b"", False),  # the last block comes too early
        (BLOCK + b"\x06" + BLOCK[1:] + STORED, b"", False),  # no kind of block
        (BLOCK + b"\xf8" + BLOCK[1:] + STORED, b"", True),  # bits that deflate skips
    ],
)
def test_other_blocks(program, tmp_path, row, prefix, behind, valid):
    """Deflate streams of the same length, with the bytes of one row elsewhere."""
    start = 64 + row * 48
    pixels = program[start + 15 : start + 48]
    changed = program[:start] + prefix + pixels + behind + program[start + 48 :]
    assert len(changed) == len(program)
    found = agreed(tmp_path / "blocks.pxi", with_right_checksums(changed))
    image = assemble(DOT)
    assert found == (image.shape, image.tobytes()) if valid else isinstance(found, str)


@pytest.mark.usefixtures("size")
def test_other_chunks(program, tmp_path):
    """Around the same pixels: other private data, text, two IDAT chunks, IHDR twice, junk."""
    file = tmp_path / "chunks.pxi"
    head, private, data, end = program[:33], program[33:54], program[54:-12], program[-12:]
    stream = data[8:-4]
    halves = png.chunk(b"IDAT", stream[:99]) + png.chunk(b"IDAT", stream[99:])
    image = assemble(DOT)
    for chunks in (
        private[:8] + b"mappable2",
        b"\x00\x00\x00\x09tEXta\0bcdefgh",
    ):
        changed = with_right_checksums(head + chunks + bytes(4) + data + end)
        assert len(changed) == len(program)
        assert agreed(file, changed) == (image.shape, image.tobytes())
    for valid in (head + private + halves + end, head + private + data + private + end):
        assert agreed(file, valid) == (image.shape, image.tobytes())
    for refused, words in (
        (head + head[8:] + data + end, "critical chunk"),
        (head + private + data + data + end, "after the zlib stream"),
        (head + private + png.chunk(b"IDAT", stream + b"\0") + end, "after the zlib stream"),
        (program + b"\0", "after IEND"),
        (program[:-1], "before the file ends"),
    ):
        assert words in agreed(file, refused)


def test_checksums_have_one_rule(program, tmp_path, size):
    """Compared by all; those over the pixels of a large mappable file only where it is verified."""
    file = tmp_path / "sums.pxi"
    for position in (30, 51, len(program) - 19, len(program) - 14, len(program) - 1):
        changed = bytearray(program)
        changed[position] ^= 1
        file.write_bytes(changed)
        if size or position < 64 or position == len(program) - 1:
            assert isinstance(agreed(file, bytes(changed)), str)
            continue
        assert inspect_file(file).layout == "mappable"
        image = assemble(DOT)
        for way in ("read", "open", "longer", "decode"):
            assert (WAYS[way](file) == image).all()
        assert execute_pxi(file)[3, 0].tolist()[:2] == [44, 1]
        for way in ("check", "pack", "unpack"):
            with pytest.raises(FormatError, match=r"CRC|zlib stream"):
                WAYS[way](file)


# Files that change while they are open


@pytest.fixture
def mapped(tmp_path, monkeypatch) -> Path:
    """A network in a file that is mapped."""
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (512, 64), Role.STATE, data=np.ones((512, 64), np.int64))
    b.emit("Add", "x", "x", "x")
    b.emit("Yield")
    b.emit("Add", "x", "x", "x")
    file = tmp_path / "network.pxi"
    save_image(b.build(), file, layout="mappable")
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)
    return file


def cut(file: Path) -> None:
    os.truncate(file, 4096)


def overwrite(file: Path) -> None:
    time.sleep(0.02)  # more than the step of a file system's clock
    with file.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\xff" * 60_000)


CHANGES = [(cut, "4096 now"), (overwrite, "found written to")]


@pytest.mark.skipif(os.name != "posix", reason="an open file can be cut")
@pytest.mark.parametrize(("change", "words"), CHANGES)
@pytest.mark.parametrize("extra_rows", [0, 2])
def test_a_mapped_file_that_changes_is_refused(mapped, change, words, extra_rows, tmp_path):
    """Before a run, between two, and when it is saved: an error, and neither a crash nor junk."""
    images = [open_image(mapped, extra_rows=extra_rows) for _ in range(3)]
    sessions = [
        executors.executor(name).session(images[0], verify(images[0]))
        for name in executors.installed()
        if not executors.load(name).available()
    ]
    assert [session.run(1) for session in sessions] == [1] * len(sessions)
    machine = Machine(images[1])
    machine.step()
    change(mapped)
    for use in (
        *(lambda session=session: session.run(None) for session in sessions),
        machine.step,
        lambda: run_program(images[2]),
        lambda: save_image(images[2], tmp_path / "saved.pxi"),
        lambda: save_image(images[2], mapped, layout="mappable"),
    ):
        with pytest.raises(FormatError, match=words):
            use()
    assert not (tmp_path / "saved.pxi").exists()


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_small_file_may_change(mapped, change, words, monkeypatch):
    monkeypatch.undo()
    expected = run_program(open_image(mapped))
    opened = open_image(mapped)
    change(mapped)
    assert (run_program(opened) == expected).all()


def test_a_mapped_file_may_be_replaced(mapped, tmp_path):
    """By another, by its own result, or by nothing."""
    expected = run_program(read_image(mapped))
    before = open_image(mapped)
    save_image(run_program(open_image(mapped)), mapped, layout="mappable")
    assert (read_image(mapped) == expected).all()
    other = tmp_path / "other.pxi"
    save_image(assemble(DOT), other)
    other.replace(mapped)
    mapped.unlink()
    assert (run_program(before) == expected).all()


def test_a_file_that_changes_while_it_is_saved(mapped, tmp_path, monkeypatch):
    """What was written of it goes away."""
    from pxvm.core import container

    image, target = open_image(mapped), tmp_path / "saved.pxi"

    def change_and_write(stream, pixels):
        overwrite(mapped)
        mappable.write_mappable(stream, pixels)

    monkeypatch.setattr(container, "write_mappable", change_and_write)
    with pytest.raises(FormatError, match="found written to"):
        save_image(image, target, layout="mappable")
    assert sorted(tmp_path.iterdir()) == [mapped]


def test_a_large_file_is_mapped_and_a_small_one_is_not(tmp_path):
    """At the size that the format page states."""
    file = tmp_path / "large.pxi"
    height = (mappable.READ_WHOLE_BYTES - 89) // (4 * 4096 + 16)
    for rows, strides in ((height, 4 * 4096), (height + 1, 4 * 4096 + 16)):
        save_image(np.zeros((rows, 4096, 4), np.uint8), file, layout="mappable")
        assert (file.stat().st_size > mappable.READ_WHOLE_BYTES) == (rows > height)
        image = open_image(file)
        assert image.strides == (strides, 4, 1)
        assert read_image(file).strides == (4 * 4096, 4, 1)


# Limits


def one_bit(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel: the most pixels for its bytes."""
    rows = zlib.compress(bytes(height * (1 + -(-width // 8))), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return png.SIGNATURE + png.chunk(b"IHDR", header) + png.chunk(b"IDAT", rows) + png.END


def test_a_small_file_that_unfolds_to_much_is_refused_everywhere(tmp_path):
    file = tmp_path / "bomb.png"
    words = agreed(file, one_bit(8193, 8192))
    assert "at most 67108864 pixels; found 8193 x 8192 = 67117056; if you trust its" in words
    assert "--max-pixels 67117056" in words
    with pytest.raises(LimitError, match="--max-pixels 67117056"):
        execute_pxi(file)
    assert decode_image(one_bit(80, 90), max_pixels=7200).shape == (90, 80, 4)


def test_a_file_may_hold_as_many_pixels_as_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(png, "USUAL_PIXELS", 99)
    file = tmp_path / "honest.pxi"
    image = np.random.default_rng(1).integers(0, 256, (30, 30, 4), dtype=np.uint8)
    for layout in ("compressed", "mappable"):
        save_image(image, file, layout=layout)
        assert (open_image(file) == image).all()
    with pytest.raises(LimitError, match="may unfold to at most 99 pixels"):
        open_image(tmp_path / "honest.pxi", max_pixels=99)
    save_image(np.zeros((30, 30, 4), np.uint8), file)
    with pytest.raises(LimitError, match="may unfold to at most"):
        open_image(file)


SHORT = """
import resource, sys
import numpy, PIL.Image, pxvm.core.interpreter, pxvm.core.fontcode, pxvm.cli
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
free = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_AS, (used + free, used + free))
pxvm.cli.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(("width", "height", "free"), [(8192, 8192, 100), (4096, 1200, 10)])
def test_a_picture_that_does_not_fit_into_memory_is_one_line(tmp_path, width, height, free):
    file = tmp_path / "large.png"
    if width == height:
        file.write_bytes(one_bit(width, height))
    else:
        save_image(np.zeros((height, width, 4), np.uint8), file, layout="mappable")
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(free << 20), "info", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and not done.stdout
    size = 4 * width * height
    expected = f"{width} x {height} pixels take {size} bytes of memory; found less than that free"
    assert done.stderr == f"pxvm: {file}: {expected}\n"


def test_the_text_of_a_large_picture_is_never_whole_in_memory():
    import tracemalloc

    image = np.random.default_rng(2).integers(0, 256, (512, 1024, 4), dtype=np.uint8)
    image[:2] = 0
    image[0, 0, 0] = ord("H")
    tracemalloc.start()
    try:
        count = sum(len(line) for line in disassembly(image))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 2 * 510 * 1024 * 4
    assert peak < 1.2 * image.nbytes


OPENING = [
    "run",
    "info",
    "dis",
    "verify",
    "view",
    "trace",
    "debug",
    "diff",
    "profile",
    "pack",
    "unpack",
    "chat",
    "generate",
    "embed",
    "eval",
]


@pytest.mark.parametrize("command", OPENING)
def test_every_command_that_opens_a_file_has_the_option(tmp_path, command, monkeypatch):
    """It refuses a small file that unfolds to much, and opens it with the option."""
    monkeypatch.setattr(png, "USUAL_PIXELS", 99)
    file = tmp_path / "zeros.png"
    save_image(np.zeros((100, 200, 4), np.uint8), file)
    more = {
        "debug": ["--commands", "step"], "diff": [str(file)], "chat": ["hello"],
        "pack": [str(tmp_path / "target.pxi")], "unpack": [str(tmp_path / "target.pxi")],
        "generate": ["hello"], "embed": ["hello"], "eval": ["--text", str(file)],
    }  # fmt: skip

    def outcome(*options: str) -> str:
        arguments = [command, str(file), *more.get(command, []), *options]
        found = CliRunner().invoke(cli, arguments)
        return f"{found.output}{found.exception}"

    refused = "pixels; found 200 x 100 = 20000; if you trust its origin, allow them by"
    assert f"{refused} --max-pixels 20000" in outcome()
    assert refused not in outcome("--max-pixels", "20000")
