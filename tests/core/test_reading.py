"""Inputs: regular files only; what would be waited for without end is refused at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pxvm.core.errors import FormatError
from pxvm.core.reading import check_regular, open_binary, open_regular, read_bytes

READERS = [
    open_regular, check_regular, open_binary, read_bytes, lambda path: open_regular(path, os.O_RDWR)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    Path("file").write_bytes(b"text")
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe", "link", os.devnull, "/dev/zero", "socket"])
@pytest.mark.parametrize("read", READERS)
def test_pipes_devices_and_sockets_are_refused_at_once(folder, read, name):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(FormatError, match=f"^{name}: expected a regular file; found a device"):
            read(name)


@pytest.mark.parametrize("read", READERS)
def test_folders_and_what_is_missing_are_named(folder, read):
    with pytest.raises(IsADirectoryError) as caught:
        read(folder)
    assert caught.value.filename in (folder, str(folder))
    with pytest.raises(FileNotFoundError) as caught:
        read(folder / "none")
    assert caught.value.filename in (folder / "none", str(folder / "none"))


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have_are_refused(folder, name):
    """They come out of other files."""
    for read in (open_regular, open_binary, read_bytes):
        with pytest.raises(FormatError, match="expected the name of a file; found none"):
            read(name)


def test_a_file_is_read_whole_or_refused(folder):
    assert read_bytes("file") == read_bytes("file", 4) == b"text"
    with pytest.raises(FormatError, match="file: expected at most 3 bytes; found 4"):
        read_bytes("file", 3)
