"""Compiled kernels on disk: named by all that they depend on, loaded only where they are ours."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pxvm.cpu import executor, kept

if executor.available():
    pytest.skip(executor.available(), allow_module_level=True)

INPUTS, SOURCES = kept.inputs(), kept.sources()
ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="owners and modes")


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_every_input_is_part_of_the_name(name: str):
    values = dict(INPUTS)
    before = kept.name_of(values)
    assert before == kept.name_of(dict(reversed(values.items())))
    assert kept.name_of(values | {name: values[name] + " "}) != before
    del values[name]
    assert kept.name_of(values) != before


def test_all_that_kernels_are_made_of_is_an_input():
    """What a new process has of ours once it has compiled, except packages, which are empty."""
    code = "import sys, pxvm.cpu.kernels; print(*(m for m in sys.modules if m[:5] == 'pxvm.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = {m for m in done.stdout.split() if (ROOT / (m.replace(".", "/") + ".py")).exists()}
    assert {"pxvm.core.integer", "pxvm.core.isa", "pxvm.core.rules", "pxvm.core.tensor",
            "pxvm.cpu.bounds", "pxvm.cpu.native", "pxvm.cpu.vnni"} <= modules  # fmt: skip
    assert modules <= set(SOURCES) <= set(INPUTS)
    others = {"opcodes", "python", "numpy", "numba", "llvm", "processor", "tiles"}
    assert set(INPUTS) - set(SOURCES) == others
    for package in ("core", "cpu"):
        lines = (ROOT / "pxvm" / package / "__init__.py").read_text().splitlines()
        assert len(lines) == 1, "a package that holds code is an input too"


def test_a_change_of_any_source_changes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = {name: tmp_path / (name.replace(".", "/") + ".py") for name in SOURCES}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SOURCES[name])
    assert kept.sources(root=tmp_path) == SOURCES
    seen = {kept.name_of(INPUTS)}
    for path in paths.values():
        path.write_bytes(path.read_bytes() + b"\n")
        found = kept.sources(root=tmp_path)
        monkeypatch.setattr(kept, "sources", lambda found=found: found)
        seen.add(kept.name_of(kept.inputs()))
        monkeypatch.undo()
    assert len(seen) == 1 + len(SOURCES)


def test_what_the_processor_and_the_compilers_say_is_asked_of_them(
    monkeypatch: pytest.MonkeyPatch,
):
    import llvmlite
    import numba
    import numpy as np

    values = INPUTS
    assert f'"{numba.__version__}"' in values["numba"]
    assert f"llvmlite {llvmlite.__version__}" in values["llvm"] and "LLVM " in values["llvm"]
    assert values["numpy"] == np.__version__ and values["python"] == sys.version
    monkeypatch.setattr(kept.native, "features", lambda: "another processor")
    assert kept.inputs()["processor"] == "another processor"


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert kept.folder().parent == tmp_path / "cache/pxvm"
    assert kept.folder().name == kept.name_of(kept.inputs()) and not kept.folder().exists()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept.folder().parent == tmp_path / "home/.cache/pxvm"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@posix
def test_what_is_kept_is_closed_to_others(tmp_path: Path):
    before = os.umask(0)
    try:
        store = kept.Kept(tmp_path / "pxvm/kernels")
        store.write("Add", b"code")
    finally:
        os.umask(before)
    assert mode(store.place) == 0o700 and mode(store.place / "Add.o") == 0o600
    assert [p.name for p in store.place.iterdir()] == ["Add.o"]
    assert kept.Kept(store.place).read("Add") == b"code"
    assert store.read("Mul") == b""


def damaged(path: Path, whole: bytes) -> list[bytes]:
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    return [b"", whole[:100], whole[:-1], flipped, b"\0" * 32 + whole[32:], whole + b"\0"]


def test_damaged_code_is_not_loaded(tmp_path: Path):
    store = kept.Kept(tmp_path / "kernels")
    store.write("Add", bytes(range(256)))
    path = store.place / "Add.o"
    whole = path.read_bytes()
    for data in damaged(path, whole):
        path.write_bytes(data)
        assert store.read("Add") == b""
    path.write_bytes(whole)
    assert store.read("Add") == bytes(range(256))
    shutil.copy(path, store.place / "Mul.o")
    assert store.read("Mul") == b"", "another kernel's file"


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def link(path: Path) -> None:
    shutil.move(path.with_name("good"), path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def writable(path: Path) -> None:
    shutil.move(path.with_name("good"), path)
    path.chmod(0o620)


def anyones(path: Path) -> None:
    shutil.move(path.with_name("good"), path)
    path.chmod(0o602)


def another_users(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only the system's own user gives files away")
    shutil.move(path.with_name("good"), path)
    os.chown(path, 65534, 65534)


@posix
@pytest.mark.parametrize("make", [fifo, link, dangling, writable, anyones, another_users])
def test_no_file_but_our_own_is_loaded(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = kept.Kept(tmp_path / "kernels")
    store.write("Add", b"code")
    (store.place / "Add.o").rename(store.place / "good")
    make(store.place / "Add.o")
    assert store.read("Add") == b""
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"pxvm: '{store.place}/Add.o': ")
    store.write("Add", b"new")
    assert store.read("Add") == b"new" and capsys.readouterr().err == ""


@posix
def test_a_folder_under_the_name_of_a_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = kept.Kept(tmp_path / "kernels")
    (store.place / "Add.o").mkdir()
    assert store.read("Add") == b""
    assert len(capsys.readouterr().err.splitlines()) == 1
    store.write("Add", b"new")
    assert [p.name for p in store.place.iterdir()] == ["Add.o"]


def opened_to_all(place: Path) -> None:
    place.chmod(0o777)


def opened_to_the_group(place: Path) -> None:
    place.chmod(0o770)


def given_away(place: Path) -> None:
    if os.geteuid():
        pytest.skip("only the system's own user gives folders away")
    os.chown(place, 65534, 65534)


def linked(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    place.symlink_to(place.with_name("elsewhere"))


@posix
@pytest.mark.parametrize("change", [opened_to_all, opened_to_the_group, given_away, linked])
def test_no_folder_but_our_own_is_used(change, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = tmp_path / "kernels"
    kept.Kept(place).write("Add", b"code")
    change(place)
    store = kept.Kept(place)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"pxvm: '{place}': others may write")
    assert store.read("Add") == b""
    store.write("Mul", b"code")
    assert not (place / "Mul.o").exists()


def test_no_folder_can_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("no folder can be made below")
    store = kept.Kept(tmp_path / "file/kernels")
    store.write("Add", b"code")
    assert store.read("Add") == b""
