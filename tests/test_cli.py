"""run, asm, dis, info, verify, pack, unpack; outputs, exit statuses, and the two ways in."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from pxvm.cli import cli
from pxvm.core.builder import Builder
from pxvm.core.container import inspect_file, open_image, read_image, save_image
from pxvm.core.layout import NetworkBuilder
from pxvm.core.matrix import write_matrix
from pxvm.core.tensor import DType, Role
from tests.terminal.screen import called

PRODUCT = """
.image 16x16
.matrix A@1 2x3 = 1 2 3 4 5 6
.matrix B@4 3x2 = 7 8 9 10 11 12
.result C@8
M@A@B@C     ; C = A x B
H
"""
VALUES = [[58.0, 64.0], [139.0, 154.0]]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with a text and its program."""
    monkeypatch.chdir(tmp_path)
    Path("product.txt").write_text(PRODUCT)
    assert pxvm("asm", "product.txt", "-o", "product.pxi") == ("wrote product.pxi: 16x16 pixels\n")
    return tmp_path


def pxvm(*words, status=0, given=""):
    """What a command prints; fails unless it ends with this status, on one line if it refuses."""
    found, shown = called(words, given, columns=200)
    text = shown.decode().replace("\r\n", "\n")
    assert found == status, text
    if status == 2:
        assert text.count("\n") == 1 or text.startswith("Usage: "), text
    return text


def test_run_writes_the_result_and_says_it(home):
    before = Path("product.pxi").read_bytes()
    assert "@8  matrix 2x2" in pxvm("run", "product.pxi")
    assert read_image("product.out.png")[8, 1:3, 0].tolist() == [58, 64]
    found = json.loads(pxvm("run", "product.pxi", "-o", "o.png", "--json"))
    (result,) = (r for r in found["regions"] if r["name"] == "@8")
    assert found["output"] == "o.png" and result["values"] == VALUES
    pxvm("run", "product.pxi", "-o", "mapped.pxi", "--layout", "mappable", "--max-steps", "0")
    assert inspect_file("mapped.pxi").layout == "mappable"
    assert np.array_equal(open_image("mapped.pxi"), read_image("product.pxi"))
    assert Path("product.pxi").read_bytes() == before


def network():
    """A dialect 1 program whose run adds a third to twenty numbers, round after round."""
    b = NetworkBuilder(64)
    b.constant("rounds", 3)
    b.tensor("a_sum_of_thirds", DType.I32, (4, 5), Role.STATE, frac=16, data=np.zeros((4, 5)))
    third = np.full((4, 5), round(2**16 / 3))
    b.tensor("third", DType.I32, (4, 5), Role.CONSTANT, frac=16, data=third)
    b.tensor("x", DType.I32, (2, 2), Role.STATE, frac=16, data=[[1, 1 << 16], [21845, -(1 << 30)]])
    b.emit("Loop", "rounds", 0)
    b.emit("Add", "a_sum_of_thirds", "a_sum_of_thirds", "third")
    b.emit("Yield")
    b.emit("EndLoop")
    return b.build()


def test_run_prints_short_numbers_below_each_other(home):
    assert "    @8  matrix 2x2 plain: [[58, 64], [139, 154]]\n" in pxvm("run", "product.pxi")
    save_image(network(), "network.pxi")
    assert pxvm("run", "network.pxi", "--device", "reference").splitlines() == [
        "a_sum_of_thirds  tensor 4x5 I32 state: all 0.333",
        "              x  tensor 2x2 I32 state: [[1.53e-05, 1], [0.333, -16384]]",
        "wrote network.out.png",
    ]


def test_run_stops_at_yield_and_goes_on_from_its_result(home):
    save_image(network(), "0.pxi")
    for number, shown in enumerate(("all 0.333", "all 0.667", "all 1")):
        words = "run", f"{number}.pxi", "-o", f"{number + 1}.pxi", "--device", "reference"
        assert f"state: {shown}\n" in pxvm(*words)
    few = "run", "0.pxi", "-o", "few.pxi", "--max-steps", "1", "--threads", "1"
    assert "a_sum_of_thirds  tensor 4x5 I32 state: all 0\n" in pxvm(*few)


def test_one_instruction_is_no_plural(home):
    Path("halt.txt").write_text(".image 4x4\nH\n")
    pxvm("asm", "halt.txt", "-o", "halt.pxi")
    assert pxvm("verify", "halt.pxi") == "halt.pxi: valid, dialect 0, 1 instruction\n"


def test_asm_and_dis_are_inverse(home):
    text = pxvm("dis", "product.pxi")
    assert pxvm("dis", "product.pxi", "-o", "-") == text
    assert pxvm("dis", "product.pxi", "-o", "again.txt") == ""
    assert Path("again.txt").read_text(encoding="utf-8") == text
    assert pxvm("asm", "-", "-o", "again.pxi", given=text) == "wrote again.pxi: 16x16 pixels\n"
    assert np.array_equal(read_image("again.pxi"), read_image("product.pxi"))
    assert pxvm("dis", "product.pxi", "--code-only").splitlines()[-2:] == ["M@1@4@8", "H"]
    Path("bad.txt").write_text(".image 4x4\nQ@1")
    assert pxvm("asm", "bad.txt", "-o", "no.pxi", status=2).startswith("pxvm: line 2: unknown")
    assert not Path("no.pxi").exists()


def test_names_travel_in_any_locale(home):
    b = NetworkBuilder(64)
    b.tensor("größe", DType.I32, (1, 1), Role.STATE, data=[[1]])
    b.emit("Add", "größe", "größe", "größe")
    save_image(b.build(), "named.pxi")
    pxvm("dis", "named.pxi", "-o", "named.txt")
    assert "größe@0" in Path("named.txt").read_text(encoding="utf-8")
    pxvm("asm", "named.txt", "-o", "again.pxi")
    assert np.array_equal(read_image("again.pxi"), read_image("named.pxi"))


def test_info_and_verify(home):
    shown = pxvm("info", "product.pxi")
    assert "width 16  height 16" in shown and "dialect 0" in shown and "M@1@4@8" in shown
    found = json.loads(pxvm("info", "product.pxi", "--json"))
    assert found["instructions"] == ["M@1@4@8", "H"] and found["file"]["layout"] == "compressed"
    assert pxvm("verify", "product.pxi") == "product.pxi: valid, dialect 0, 2 instructions\n"
    assert json.loads(pxvm("verify", "product.pxi", "--json")) == {"valid": True, "reason": ""}
    data = bytearray(Path("product.pxi").read_bytes())
    data[-20] ^= 1
    Path("product.pxi").write_bytes(data)
    assert pxvm("verify", "product.pxi", status=1).startswith("product.pxi: refused: ")
    found = json.loads(pxvm("verify", "product.pxi", "--json", status=1))
    assert not found["valid"] and found["reason"]


def test_verify_refuses_what_would_not_be_run(home):
    image = network()
    image[0, 8:, 0] = 200
    save_image(image, "wild.pxi")
    assert "unknown opcode 200" in pxvm("verify", "wild.pxi", status=1)
    assert "unknown opcode 200" in pxvm("run", "wild.pxi", status=2)
    assert not Path("wild.out.png").exists()


def test_a_result_has_its_place_before_the_first_run(home):
    """Its shape is told by what it is added to, and tells what the product before it reads."""
    b = Builder(20)
    for name, columns in (("window", 6), ("hidden", 4), ("logits", 5)):
        b.result(name, 1, columns)
    b.quantised("bias", [[0.5, -1.0, 2.0, 0.0]])
    b.quantised("output", np.linspace(-1, 1, 20).reshape(4, 5))
    b.quantised("weights", np.linspace(-2, 1, 24).reshape(6, 4))
    b.emit("MatMul", "window", "weights", "hidden")
    b.emit("Add", "hidden", "bias", "hidden")
    b.emit("ReLU", "hidden")
    b.emit("MatMul", "hidden", "output", "logits")
    image = b.build()
    save_image(image, "net.pxi")
    before = json.loads(pxvm("info", "net.pxi", "--json"))["regions"]
    assert [(r["name"], r["encoding"], r["shape"]) for r in before[1:]] == [
        ("@1", "quantised", [1, 6]),
        ("@2", "quantised", [1, 4]),
        ("@3", "quantised", [1, 5]),
        ("@4", "quantised", [1, 4]),
        ("@5", "quantised", [4, 5]),
        ("@7", "quantised", [6, 4]),
    ]
    write_matrix(image, 1, [[1, 2, 3, 4, 5, 6]], encoding="quantised", scale=2.0)
    save_image(image, "set.pxi")
    pxvm("run", "set.pxi", "-o", "done.pxi")
    assert json.loads(pxvm("info", "done.pxi", "--json"))["regions"] == before


@pytest.mark.parametrize("command", ["run", "info", "view", "dis"])
def test_what_is_no_program_is_told_what_it_is(command, home):
    Picture.new("RGB", (20, 20), (15, 17, 22)).save("plain.png")
    said = pxvm(command, "plain.png", status=2)
    assert "this picture is no pxVM program" in said
    assert said.count("H Halt") == 1 == said.count("D Dot")
    for name, content, expected in (
        ("text.txt", PRODUCT.encode(), "found text; `pxvm asm` makes a program"),
        ("umlaut.txt", ("ä" * 400).encode(), "found text; `pxvm asm` makes a program"),
        ("model.gguf", b"GGUF\3\0\0\0" + bytes(40), "found a GGUF file; `pxvm import` makes"),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(40), "found ff d8 ff e0 00 00 00 00; save it"),
    ):
        Path(name).write_bytes(content)
        assert expected in pxvm(command, name, status=2)


def test_asm_tells_a_picture_from_text(home):
    said = pxvm("asm", "product.pxi", "-o", "x.pxi", status=2)
    assert (
        said == "pxvm: product.pxi: this is a PNG, not text; `pxvm dis` shows a program as text\n"
    )
    assert not Path("x.pxi").exists()


def test_asm_notes_a_program_that_cannot_run(home):
    Path("bad.txt").write_text(".image 16x4\nM@1@2@9\nH\n")
    said = pxvm("asm", "bad.txt", "-o", "bad.pxi")
    assert "note: this program cannot run: instruction 0" in said and "row 9" in said
    assert Path("bad.pxi").exists()


def test_run_sets_a_scalar_of_the_state(home):
    b = NetworkBuilder()
    b.tensor("count", DType.I32, (1, 1), Role.STATE, data=[[3]])
    b.emit("Add", "count", "count", "count")
    save_image(b.build(), "double.pxi")
    assert "count  tensor 1x1 I32 state: [[6]]" in pxvm("run", "double.pxi")
    assert "[[-14]]" in pxvm("run", "double.pxi", "--set", "count=3", "--set", "count=-7")
    said = pxvm("run", "double.pxi", "--set", "cuont=1", status=2)
    assert "(count) and 32 bits; found 'cuont=1'" in said


def test_info_of_a_network_names_its_tensors(home):
    save_image(network(), "network.pxi", layout="mappable")
    shown = pxvm("info", "network.pxi")
    assert "layout mappable" in shown and "dialect 1" in shown and "Loop" in shown
    found = json.loads(pxvm("info", "network.pxi", "--json"))
    regions = {r["name"]: (r["encoding"], r["shape"]) for r in found["regions"]}
    assert regions["third"] == ("I32 constant", [4, 5]) and found["dialect"] == 1


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_a_damaged_file_is_neither_packed_nor_unpacked(home, command):
    data = Path("product.pxi").read_bytes()
    Path("cut.pxi").write_bytes(data[: len(data) // 2])
    assert pxvm(command, "cut.pxi", "out.pxi", status=2).startswith("pxvm: cut.pxi: ")
    assert not Path("out.pxi").exists()


def test_pack_and_unpack_keep_the_pixels(home):
    assert pxvm("unpack", "product.pxi", "mapped.pxi").endswith("mapped.pxi: 1369 bytes\n")
    assert pxvm("pack", "mapped.pxi", "packed.pxi").startswith("mapped.pxi: 1369 bytes, packed")
    assert inspect_file("mapped.pxi").layout == "mappable"
    assert inspect_file("packed.pxi").layout == "compressed"
    assert np.array_equal(read_image("packed.pxi"), read_image("product.pxi"))


WRITING = {
    "run": ("run", "{}", "-o", "{out}"),
    "asm": ("asm", "{}", "-o", "{out}"),
    "dis": ("dis", "{}", "-o", "{out}"),
    "pack": ("pack", "{}", "{out}"),
    "unpack": ("unpack", "{}", "{out}"),
    "view": ("view", "{}", "-o", "{out}"),
    "trace": ("trace", "{}", "-o", "{out}"),
    "diff": ("diff", "other.pxi", "{}", "-o", "{out}"),
}


def words_of(command, source, output):
    return [word.format(source, out=output) for word in WRITING[command]]


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("way", ["same", "link", "hard"])
def test_no_command_writes_over_what_it_reads(home, command, way):
    source = "product.txt" if command == "asm" else "product.pxi"
    pxvm("asm", "product.txt", "-o", "other.pxi")
    output = source if way == "same" else way
    if way == "link":
        Path("link").symlink_to(source)
    elif way == "hard":
        os.link(source, "hard")
    before = Path(source).read_bytes()
    said = pxvm(*words_of(command, source, output), status=2)
    assert "the output is the same file as the input" in said
    assert Path(source).read_bytes() == before


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_the_old_output_or_none(home, command, there):
    source = "product.txt" if command == "asm" else "product.pxi"
    pxvm("asm", "product.txt", "-o", "other.pxi")
    if there:
        Path("out").write_bytes(b"old")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        status, shown = called(words_of(command, source, "out"), columns=200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert status == 2 and b"pxvm: out: File too large" in shown
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_cannot_be_is_refused_before_the_work(home, command):
    pxvm("asm", "product.txt", "-o", "other.pxi")
    source = "product.txt" if command == "asm" else "product.pxi"
    said = pxvm(*words_of(command, source, "nowhere/out.png"), status=2)
    assert said == "pxvm: nowhere/out.png: there is no folder nowhere\n"
    assert "Is a directory" in pxvm(*words_of(command, source, "."), status=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("info", "missing.pxi"), "pxvm: missing.pxi: No such file or directory\n"),
        (("info", "."), "pxvm: .: Is a directory\n"),
        (("asm", "missing.txt", "-o", "x"), "No such file or directory"),
        (("asm", "latin.txt", "-o", "x"), "pxvm: input is not text: "),
        (("run", "product.txt"), "pxvm: product.txt: "),
        (("run", "product.pxi", "--device", "abacus"), "no executor for device 'abacus'"),
        (("nothing",), "No such command 'nothing'"),
    ],
)
def test_bad_input_is_said_and_ends_with_status_2(home, words, said):
    Path("latin.txt").write_bytes(b".image 4x4 ; gr\xf6\xdfe")
    assert said in pxvm(*words, status=2)


def test_a_fault_of_pxvm_itself_is_told_from_bad_input(home, monkeypatch):
    def fail(*_):
        raise KeyError("\x1b]0;pwned\x07")

    monkeypatch.setattr("pxvm.core.program.load_program", fail)
    shown = pxvm("info", "product.pxi", status=3)
    assert "KeyError" in shown and "a fault of pxvm itself" in shown and "\x1b" not in shown
    monkeypatch.setattr("pxvm.core.program.load_program", lambda _: bytearray(1 << 62))
    assert pxvm("info", "product.pxi", status=2) == "pxvm: there is not enough memory for this\n"


def test_both_ways_in_and_an_output_that_is_full(home):
    for module in ("pxvm", "pxvm.cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "pxvm, version 0.1.0\n", "")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-m", "pxvm", "info", "product.pxi"]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (2, "pxvm: No space left on device\n")


def test_every_command_has_help_and_a_line_in_the_list():
    runner = CliRunner()
    shown = runner.invoke(cli, ["--help"]).output
    for name in cli.list_commands(None):
        assert f"  {name} " in shown
        assert runner.invoke(cli, [name, "--help"]).exit_code == 0


def test_a_stream_that_is_closed_is_no_fault(tmp_path):
    """Nor does a file that is written take the number of one, and what is printed there."""
    target, words = tmp_path / "out.pxi", f"{sys.executable} -m pxvm"
    (tmp_path / "a.txt").write_text(".image 4x4\nH\n")
    command = f"{words} asm {tmp_path / 'a.txt'} -o {target} <&- >&- && {words} ask <&- >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2 and "expected a question" in done.stderr
    assert target.read_bytes().startswith(b"\x89PNG") and "Traceback" not in done.stderr
