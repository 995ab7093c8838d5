"""The container: what is written is read, mapped memory is private, saving is all or nothing."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pxvm.core import container, mappable, mapping, png, saving, scanlines
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
from pxvm.core.errors import FormatError, LimitError

LAYOUTS = ("compressed", "mappable")
SHAPES = [(1, 1), (1, 16), (5, 3), (37, 29), (2, 1023), (300, 4), (16, 256), (3, 5000)]


def noise(height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(height * 1_000_003 + width)
    return generator.integers(0, 256, (height, width, 4), dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "image.pxi"


@pytest.fixture
def all_mapped(monkeypatch) -> None:
    """Small files are mapped as large ones are."""
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)


@pytest.mark.parametrize("whole", [0, 1 << 24])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(file, layout, shape, whole, monkeypatch):
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", whole)
    image = noise(*shape)
    save_image(image, file, layout=layout)
    for read in (read_image, open_image, lambda path: decode_image(path.read_bytes())):
        found = read(file)
        assert found.dtype == np.uint8 and found.shape == image.shape
        assert found.flags.writeable
        assert (found == image).all()
    assert read_image(file).flags.c_contiguous
    with Image.open(file) as seen:
        assert seen.mode == "RGBA"
        assert (np.asarray(seen) == image).all()
    check_file(file)
    assert asdict(inspect_file(file)) == {
        "width": shape[1],
        "height": shape[0],
        "bit_depth": 8,
        "colour_type": "RGBA",
        "interlaced": False,
        "layout": layout,
        "bytes": file.stat().st_size,
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bands_join(file, layout, monkeypatch):
    """Files of many bands, pieces and IDAT chunks."""
    monkeypatch.setattr(scanlines, "BAND_BYTES", 500)
    monkeypatch.setattr(container, "IDAT_BYTES", 300)
    image = noise(400, 123)
    save_image(image, file, layout=layout)
    assert (file.read_bytes().count(b"IDAT") > 3) == (layout == "compressed")
    assert (read_image(file) == image).all()
    check_file(file)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    assert (decode_image(out.getvalue()) == image).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(file, layout):
    image = noise(40, 64)
    for view in (image[::3, ::-2], image.transpose(1, 0, 2), image[..., ::-1], image[7:8, 3:4]):
        save_image(view, file, layout=layout)
        assert (read_image(file) == view).all()
    image.flags.writeable = False
    save_image(image, file, layout=layout)


def test_exact_bytes_of_the_mappable_layout(file):
    image = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    save_image(image, file, layout="mappable")
    data = file.read_bytes()
    row_header = bytes.fromhex("000000ffff 000000ffff 001100eeff 00")
    assert data[33:54][4:17] == b"pxVMmappable1"
    assert data[58:64] == b"IDAT\x78\x01"
    assert data[64:80] == row_header and data[80:96] == image[0].tobytes()
    assert data[96:112] == row_header and data[112:128] == image[1].tobytes()
    assert data[128:133] == bytes.fromhex("010000ffff")
    assert len(data) == 128 + 25
    kind = data[37:41]
    assert [bool(letter & 0x20) for letter in kind] == [True, True, False, False]


# What other tools write


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_colour_types_as_pillow_reads_them(mode):
    source = Image.fromarray(noise(19, 23)).convert(mode)
    out = io.BytesIO()
    source.save(out, "PNG")
    assert (decode_image(out.getvalue()) == np.asarray(source.convert("RGBA"))).all()


def test_a_lossless_resave_keeps_a_program(file):
    """An optimiser may turn few colours into a palette, opaque RGBA into RGB."""
    image = np.zeros((9, 16, 4), np.uint8)
    image[..., 3] = 255
    image[0, :5, 0] = [77, 72, 65, 82, 68]
    out = io.BytesIO()
    Image.fromarray(image).convert("RGB").quantize(8).save(out, "PNG", optimize=True, bits=4)
    assert out.getvalue()[25] == 3
    assert (decode_image(out.getvalue()) == image).all()


def test_gamma_and_text_change_nothing():
    from PIL.PngImagePlugin import PngInfo

    image = noise(5, 7)
    text = PngInfo()
    text.add_text("Comment", "hello", zip=True)
    text.add(b"gAMA", (45455).to_bytes(4, "big"))
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", pnginfo=text, dpi=(72, 72))
    assert (decode_image(out.getvalue()) == image).all()


def test_pillow_keeps_its_own_limit(file, monkeypatch):
    """Its limit neither stops us nor is changed by us."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    out = io.BytesIO()
    image = noise(30, 30)
    Image.fromarray(image).save(out, "PNG")
    assert (decode_image(out.getvalue()) == image).all()
    assert Image.MAX_IMAGE_PIXELS == 10


# Limits


def test_limits_are_stated(file, monkeypatch):
    save_image(noise(10, 10), file)
    with pytest.raises(LimitError, match="at most 99 pixels; found 10 x 10 = 100"):
        read_image(file, max_pixels=99)
    with pytest.raises(LimitError):
        decode_image(file.read_bytes(), max_pixels=99)
    for way in (check_file, open_image, lambda *a, **k: pack(file, *a, **k)):
        with pytest.raises(LimitError, match="at most 99 pixels; found 10 x 10 = 100"):
            way(file, max_pixels=99)
    monkeypatch.setattr(png, "MAX_CHUNKS", 1)
    with pytest.raises(LimitError, match="over 1 chunks"):
        read_image(file)


def test_negative_extra_rows(file):
    save_image(noise(2, 2), file)
    with pytest.raises(LimitError, match="extra_rows is at least 0; found -1"):
        open_image(file, extra_rows=-1)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((4, 4, 4)), {}, "expected a NumPy array of uint8, found float64"),
        ([[1]], {}, "expected a NumPy array of uint8, found list"),
        (np.zeros((4, 4, 3), np.uint8), {}, r"found \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), {}, r"found \(4, 4\)"),
        (np.zeros((0, 4, 4), np.uint8), {}, r"found \(0, 4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), {"layout": "flat"}, "found 'flat'"),
        (np.zeros((4, 4, 4), np.uint8), {"level": 10}, "level: expected 0 to 9, found 10"),
        (np.zeros((1, 16381, 4), np.uint8), {"layout": "mappable"}, "found 16381; arrange it"),
        (np.zeros((1, 1_000_001, 4), np.uint8), {}, "width is at most 1000000"),
        (
            np.broadcast_to(np.uint8(0), (2**29 + 1, 1, 4)),
            {},
            "at most 536870912 pixels; found 1 x 536870913",
        ),
        (
            np.broadcast_to(np.uint8(0), (2**27, 4, 4)),
            {"layout": "mappable"},
            "at most 2147483647 bytes of data; found 4294967307",
        ),
    ],
)
def test_what_cannot_be_saved_is_said_before_the_file_is_touched(file, image, options, message):
    file.write_bytes(b"old")
    with pytest.raises(FormatError, match=message):
        save_image(image, file, **options)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_widest_mappable(file):
    image = noise(2, mappable.MAX_MAPPABLE_WIDTH)
    save_image(image, file, layout="mappable")
    assert inspect_file(file).layout == "mappable"
    assert (open_image(file) == image).all()
    check_file(file)


# Mapping


@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("extra_rows", [0, 1, 2, 63, 64, 5000])
def test_mapped_memory(file, extra_rows):
    """At sizes around a page, the extension reads zero and the file stays as it was."""
    for height in (1, 30, 31, 32, 33, 61, 62, 63, 64):
        image = noise(height, 16)
        save_image(image, file, layout="mappable")
        before = file.read_bytes()
        mapped = open_image(file, extra_rows=extra_rows)
        assert mapped.shape == (height + extra_rows, 16, 4)
        assert mapped.strides == (4 * 16 + 16, 4, 1)
        assert mapped.ctypes.data % 16 == 0
        assert (mapped[:height] == image).all()
        assert not mapped[height:].any()
        mapped[:] = 170
        assert file.read_bytes() == before
        assert (open_image(file, extra_rows=extra_rows)[:height] == image).all()


@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("extra_rows", [0, 100])
def test_mapping_lives_as_long_as_a_view(file, extra_rows):
    image = noise(50, 20)
    save_image(image, file, layout="mappable")
    mapped = open_image(file, extra_rows=extra_rows)
    row = mapped[49, ::2]
    del mapped
    file.unlink()
    gc.collect()
    assert (row == image[49, ::2]).all()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("extra_rows", [0, 100])
def test_mapping_ends_with_the_last_view(file, extra_rows):
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(file))

    descriptors = len(list(Path("/proc/self/fd").iterdir()))

    save_image(noise(50, 20), file, layout="mappable")
    image = open_image(file, extra_rows=extra_rows)
    assert mappings() == 1
    del image
    gc.collect()
    assert mappings() == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.usefixtures("all_mapped")
def test_mapping_survives_replacement_of_its_file(file):
    image = noise(8, 8)
    save_image(image, file, layout="mappable")
    mapped = open_image(file, extra_rows=4)
    mapped[8:] = 9
    save_image(mapped, file, layout="mappable")
    assert (mapped[:8] == image).all()
    assert (open_image(file) == mapped).all()
    mapping.check_unchanged(mapped)
    save_image(mapped, file)


@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("extra_rows", [0, 3])
def test_systems_that_cannot_map_behind_a_file_copy(file, extra_rows, monkeypatch):
    image = noise(8, 8)
    save_image(image, file, layout="mappable")
    monkeypatch.setattr(mapping.ctypes, "sizeof", lambda kind: 4)
    copied = open_image(file, extra_rows=extra_rows)
    assert (copied[:8] == image).all() and not copied[8:].any()
    assert copied.flags.writeable


def test_unmappable_files_get_extra_rows_too(file):
    image = noise(8, 8)
    save_image(image, file)
    opened = open_image(file, extra_rows=5)
    assert opened.shape == (13, 8, 4)
    assert (opened[:8] == image).all() and not opened[8:].any()


def test_a_resave_that_keeps_the_private_chunk_is_still_read(file):
    """An editor that copies pxVM against the rules does not lead us to map compressed bytes."""
    image = noise(6, 8)
    save_image(image, file)
    data = file.read_bytes()
    file.write_bytes(data[:33] + png.chunk(b"pxVM", b"mappable1") + data[33:])
    assert inspect_file(file).layout == "compressed"
    assert (open_image(file) == image).all()
    check_file(file)


def test_the_mappable_writer_holds_no_second_copy(file):
    image = np.zeros((4096, 4096, 4), np.uint8)
    tracemalloc.start()
    try:
        save_image(image, file, layout="mappable")
        assert tracemalloc.get_traced_memory()[1] < image.nbytes // 4
    finally:
        tracemalloc.stop()
    assert not open_image(file).any()


# Packing


def test_pack_and_unpack(file, tmp_path):
    image = np.zeros((64, 64, 4), np.uint8)
    image[3] = noise(1, 64)[0]
    save_image(image, file, layout="mappable")
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    pack(file, small)
    unpack(small, large)
    assert large.read_bytes() == file.read_bytes()
    assert small.stat().st_size < file.stat().st_size // 10
    pack(large, large)
    assert large.read_bytes() == small.read_bytes()
    unpack(large, large)
    assert large.read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("all_mapped")
def test_pack_does_not_hide_damage(file, tmp_path):
    """A rewrite computes new checksums, so the old ones are verified first."""
    save_image(noise(8, 8), file, layout="mappable")
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    open_image(file)
    for rewrite in (pack, unpack):
        with pytest.raises(FormatError, match="expected CRC"):
            rewrite(file, tmp_path / "out.png")
        with pytest.raises(FormatError, match="expected CRC"):
            rewrite(file, file)
    assert file.read_bytes() == data
    assert not (tmp_path / "out.png").exists()


def test_weights_are_packed_by_run_lengths_programs_by_matches():
    generator = np.random.default_rng(1)
    weights = generator.normal(128, 30, (1024, 1024, 4)).clip(0, 255).astype(np.uint8)
    repeated = np.tile(generator.integers(0, 256, (64, 64, 4), dtype=np.uint8), (16, 16, 1))
    assert container._strategy(weights, 6) == container.zlib.Z_RLE
    assert container._strategy(repeated, 6) == container.zlib.Z_DEFAULT_STRATEGY
    assert container._strategy(weights[:10], 6) == container.zlib.Z_DEFAULT_STRATEGY


# Saving is all or nothing


class Cut(OSError):
    """The disk is full, the cable is out."""


def cut(*_arguments, **_options):
    raise Cut("cut")


class CutStream:
    """A stream that fails at its n-th write."""

    def __init__(self, stream, writes):
        self.stream, self.writes = stream, writes

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stream.close()

    def write(self, data):
        if not self.writes:
            self.stream.write(bytes(data)[: len(data) // 2])
            cut()
        self.writes -= 1
        return self.stream.write(data)

    def __getattr__(self, name):
        return getattr(self.stream, name)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod", 0, 1, 2])
def test_a_failure_at_any_step_leaves_the_old_file(file, layout, step, monkeypatch):
    old = noise(3, 3)
    save_image(old, file)
    before = file.read_bytes()
    if isinstance(step, str):
        monkeypatch.setattr(os, step, cut)
    else:
        whole = os.fdopen
        monkeypatch.setattr(os, "fdopen", lambda *a, **k: CutStream(whole(*a, **k), step))
    with pytest.raises(Cut):
        save_image(noise(1200, 300), file, layout=layout)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_while_the_image_is_read_leaves_the_old_file(file, monkeypatch):
    """Also an interruption by the user."""

    def stop(*_arguments):
        raise KeyboardInterrupt

    file.write_bytes(b"old")
    monkeypatch.setattr(container, "framed_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        save_image(noise(3, 3), file)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_to_sync_the_folder_leaves_the_new_file_whole(file, monkeypatch):
    save_image(noise(3, 3), file)
    new = noise(9, 9)
    monkeypatch.setattr(saving, "_sync_folder", cut)
    with pytest.raises(Cut):
        save_image(new, file)
    assert (read_image(file) == new).all()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_killed_process_leaves_the_old_file(file, step):
    old = noise(3, 3)
    save_image(old, file)
    program = (
        "import os, signal, sys, numpy\n"
        "from pxvm.core.container import save_image\n"
        f"os.{step} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "save_image(numpy.zeros((9, 9, 4), numpy.uint8), sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (read_image(file) == old).all()


def test_missing_files_and_folders_are_os_errors(tmp_path):
    for read in (read_image, open_image, check_file, inspect_file):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.pxi")
        with pytest.raises(IsADirectoryError):
            read(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        save_image(noise(2, 2), tmp_path / "none" / "a.png")
    assert caught.value.filename == str(tmp_path / "none" / "a.png")
    with pytest.raises(IsADirectoryError):
        save_image(noise(2, 2), tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(FormatError, match="found a device or pipe"):
            open_image(path)
        with pytest.raises(FormatError, match="found a device or pipe"):
            save_image(noise(2, 2), path)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_permissions(tmp_path):
    old, new = tmp_path / "old.png", tmp_path / "new.png"
    mask = os.umask(0o027)
    try:
        save_image(noise(2, 2), new)
        save_image(noise(2, 2), old)
        old.chmod(0o604)
        save_image(noise(3, 3), old)
    finally:
        os.umask(mask)
    assert new.stat().st_mode & 0o777 == 0o640
    assert old.stat().st_mode & 0o777 == 0o604


def test_a_read_only_file_is_not_replaced(file, monkeypatch):
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    with pytest.raises(PermissionError):
        save_image(noise(2, 2), file)
    assert file.read_bytes() == b"old"


def test_a_link_is_followed(file, tmp_path):
    (tmp_path / "inside").mkdir()
    real = tmp_path / "inside" / "real.png"
    file.symlink_to(real)
    image = noise(4, 4)
    save_image(image, file)
    assert file.is_symlink()
    assert (read_image(real) == image).all()


def test_saving_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = noise(4, 4)
    save_image(image, "output.png")
    assert (read_image("output.png") == image).all()


def test_importing_the_container_does_not_import_pillow():
    program = "import sys, pxvm.core.container; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
