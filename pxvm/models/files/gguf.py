"""GGUF files: key/value pairs and tensors; every count is checked against the file first.

Layout, little-endian: ``GGUF``, version (uint32, 2 or 3), number of tensors and of pairs (uint64);
the pairs (key, type, value); the tensors' names, extents (innermost first), formats, offsets; and,
from the next multiple of ``general.alignment`` on, their data.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.core.reading import open_binary
from pxvm.models.files.formats import BY_NUMBER, UNREAD, Singles
from pxvm.models.files.stored import Stored, check_apart, check_extents

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?",
           10: "<u8", 11: "<i8", 12: "<f8"}  # fmt: skip
STRING, ARRAY = 8, 9
MAX_NAME = 64
MAX_TABLE = 1 << 26  # bytes before the data; as Python's objects they take several times as much
MAX_ENTRIES = 1 << 16  # pairs, or tensors
LEAST_PAIR = 13  # empty key, type, one byte
LEAST_TENSOR = 32  # empty name, one extent
LEAST_STRING = 8


@dataclass(frozen=True)
class GgufFile:
    """What a file says.

    Attributes:
        metadata: numbers, strings, lists of strings and arrays of numbers by key.
        tensors: by name; shapes outermost first, as NumPy has them.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Stored]

    def array(self, name: str) -> Singles:
        """A whole tensor as float32. Raises FormatError when there is none of that name."""
        if name not in self.tensors:
            raise FormatError(f"{self.path}: expected a tensor {name}; found none")
        return np.asarray(self.tensors[name])


def open_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """Read the pairs of a file and where its tensors stand; their data stay where they are.

    Raises FormatError naming the byte, what was expected and what was found; OSError.
    """
    path = Path(path)
    with open_binary(path) as stream:
        return _Reader(path, stream, path.stat().st_size).file()


class _Reader:
    """Reads forward, and never more than the file still has, or may have before its data."""

    def __init__(self, path: Path, stream: BinaryIO, size: int) -> None:
        self.path, self.stream, self.size, self.at = path, stream, size, 0
        self.end = min(size, MAX_TABLE)

    def error(self, expected: str, found: Any) -> FormatError:
        return FormatError(f"{self.path}: byte {self.at}: expected {expected}; found {found}")

    def take(self, count: int, what: str) -> bytes:
        left = self.end - self.at
        if count > left:
            end = "the end of the file" if self.end == self.size else f"byte {self.end}, the last"
            raise self.error(f"{count} bytes of {what}", f"{left} until {end}")
        data = self.stream.read(count)
        if len(data) != count:
            raise self.error(f"{count} bytes of {what}", len(data))
        self.at += count
        return data

    def number(self, kind: str, what: str) -> int:
        return int(struct.unpack(f"<{kind}", self.take(struct.calcsize(kind), what))[0])

    def count(self, what: str, least: int, most: int = MAX_TABLE) -> int:
        """A count of things that take at least so many bytes each."""
        count, left = self.number("Q", f"a count of {what}"), self.end - self.at
        if count > (most := min(most, left // least)):
            self.at -= 8
            raise self.error(f"at most {most} {what} in {left} bytes", count)
        return count

    def text(self, what: str, most: int | None = None) -> str:
        length = self.count(f"bytes of {what}", 1)
        if most is not None and length > most:
            raise self.error(f"{what} of at most {most} bytes", length)
        data = self.take(length, what)
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.at -= length
            raise self.error(f"{what} in UTF-8", data[:16].hex(" ")) from None

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text("a string")
        if kind == ARRAY:
            return self.array()
        return self.numbers(kind, 1)[0].item()

    def array(self) -> Any:
        kind = self.number("I", "an array's type")
        if kind == STRING:
            return [self.text("a string") for _ in range(self.count("strings", LEAST_STRING))]
        if kind not in NUMBERS:
            raise self.error("an array of numbers or strings", f"type {kind}")
        return self.numbers(kind, self.count("numbers", np.dtype(NUMBERS[kind]).itemsize))

    def numbers(self, kind: int, count: int) -> Any:
        if kind not in NUMBERS:
            raise self.error(f"a value's type, 0 to {max(NUMBERS)}", kind)
        dtype = np.dtype(NUMBERS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize, "numbers"), dtype)

    def file(self) -> GgufFile:
        magic = self.take(4, "the magic")
        if magic != MAGIC:
            self.at = 0
            raise self.error("GGUF", magic)
        version = self.number("I", "the version")
        if version not in VERSIONS:
            self.at -= 4
            raise self.error("version 2 or 3, little-endian", version)
        tensors = self.count("tensors", LEAST_TENSOR, MAX_ENTRIES)
        pairs = self.count("key/value pairs", LEAST_PAIR, MAX_ENTRIES)
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self.text("a key")
            if key in metadata:
                raise self.error("keys that differ", f"{key!r} twice")
            metadata[key] = self.value(self.number("I", "a value's type"))
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 1 << 20 or alignment % 8:
            raise self.error("general.alignment, a multiple of 8 up to 1 MiB", repr(alignment)[:40])
        found = [self.tensor() for _ in range(tensors)]
        start = -(-self.at // alignment) * alignment
        return GgufFile(self.path, metadata, self.place(found, start, alignment))

    def tensor(self) -> Stored:
        """One entry; its offset is still relative to the data."""
        name = self.text("a tensor's name", MAX_NAME)
        if not name.isprintable():
            raise self.error("a tensor's name that can be printed", repr(name))
        rank = self.number("I", "a tensor's rank")
        if not 1 <= rank <= 4:
            raise self.error(f"tensor {name} of rank 1 to 4", rank)
        extents = struct.unpack(f"<{rank}Q", self.take(8 * rank, "extents"))
        number = self.number("I", "a tensor's format")
        if number not in BY_NUMBER:
            known = ", ".join(kind.name for kind in BY_NUMBER.values())
            found = f"format {number}" + (f", {UNREAD[number]}" if number in UNREAD else "")
            raise self.error(
                f"tensor {name} in one of {known}", f"{found}: take a file of another quantisation"
            )
        kind, shape = BY_NUMBER[number], tuple(reversed(extents))
        check_extents(f"{self.path}: tensor {name}", kind, shape)
        return Stored(self.path, name, kind, shape, self.number("Q", "an offset"))

    def place(self, tensors: list[Stored], start: int, alignment: int) -> dict[str, Stored]:
        placed = {}
        for t in tensors:
            if t.offset % alignment or start + t.offset + t.bytes > self.size:
                raise FormatError(
                    f"{self.path}: tensor {t.name}: expected {t.bytes} bytes of {t.format.name}"
                    f" inside the file of {self.size}, aligned to {alignment}; found them at byte"
                    f" {start + t.offset}"
                )
            if t.name in placed:
                raise FormatError(
                    f"{self.path}: expected names of tensors that differ; found {t.name} twice"
                )
            placed[t.name] = Stored(self.path, t.name, t.format, t.shape, start + t.offset)
        check_apart(self.path, list(placed.values()))
        return placed
