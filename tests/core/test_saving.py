"""Outputs: refused before any work where they cannot be, whole or not at all, never over an input.

``tests/core/test_container.py`` lets ``save_image``, which goes this way, fail at every step.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pxvm.core.errors import FormatError, OutputError
from pxvm.core.saving import check_output, replacing


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("input").write_bytes(b"input")
    Path("other").write_bytes(b"other")
    Path("inside").mkdir()
    Path("link").symlink_to("input")
    Path("inside/deep").symlink_to("../link")
    Path("dangling").symlink_to("nothing")
    os.link("input", "hard")
    return tmp_path


@pytest.mark.parametrize(
    "output", ["input", "./input", "inside/../input", "link", "inside/deep", "hard", "{}/input"]
)
def test_an_output_is_never_an_input(folder, output):
    with pytest.raises(OutputError, match="the output is the same file as the input link"):
        check_output(output.format(folder), "other", "missing", "link")


def test_an_output_is_never_what_standard_input_comes_from(folder):
    code = "from pxvm.core.saving import check_output; check_output('input')"
    with Path("hard").open() as given:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=given, capture_output=True, text=True
        )
    assert "OutputError: input: the output is the same file as standard input" in done.stderr


def test_another_spelling_of_a_name_where_case_does_not_count(folder):
    Path("INPUT").touch()
    if Path("INPUT").samefile("input"):  # macOS, Windows
        with pytest.raises(OutputError):
            check_output("INPUT", "input")
    else:
        check_output("INPUT", "input")


@pytest.mark.parametrize("output", ["other", "new", "dangling", "inside/new"])
def test_other_outputs_may_be(folder, output):
    check_output(output, "input", "missing", "-")
    with replacing(output) as stream:
        stream.write(b"new")
    assert Path(output).read_bytes() == b"new"
    assert Path("input").read_bytes() == b"input"
    assert Path("dangling").is_symlink()


@pytest.mark.parametrize(
    ("output", "error", "number"),
    [
        ("inside", IsADirectoryError, errno.EISDIR),
        ("none/new", FileNotFoundError, errno.ENOENT),
        ("input/new", FileNotFoundError, errno.ENOENT),
        ("/dev/null", FormatError, None),
    ],
)
def test_what_cannot_be_written_is_refused_before(folder, output, error, number):
    for refuse in (check_output, lambda path: replacing(path).__enter__()):
        with pytest.raises(error) as caught:
            refuse(output)
        assert output in str(caught.value)
        assert getattr(caught.value, "errno", None) == number


def test_no_permission_is_said_before(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anything
    for output in ("other", "new"):
        with pytest.raises(PermissionError, match=output):
            check_output(output)


@pytest.mark.parametrize("output", ["other", "new"])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(folder, output):
    before = {path: path.is_file() and path.read_bytes() for path in Path().iterdir()}
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught, replacing(output) as stream:
            stream.write(bytes(1 << 22))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert caught.value.filename == output
    assert {path: path.is_file() and path.read_bytes() for path in Path().iterdir()} == before
