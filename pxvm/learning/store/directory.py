"""Where every record stands: an array of fixed entries, kept beside the network as a cache.

The file ``<network>.index`` may be deleted at any moment. It is believed only when its checksum
holds and the last record it names still stands in the pages with the same digest.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.store.files import Files
from pxvm.learning.store.layout import number_after
from pxvm.learning.store.pieces import Place

ENTRY = np.dtype(
    [
        ("prefix", "<u8"),
        ("id", "u1", (32,)),
        ("sequence", "<u8"),
        ("time", "<i8"),
        ("offset", "<u8"),
        ("page", "<u4"),
        ("row", "<u4"),
        ("data_rows", "<u4"),
        ("text_rows", "<u4"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("spare", "u1", (6,)),
    ]
)
_HEAD = struct.Struct("<8sIIQ16s")
_MAGIC = b"pxidx01\n"


class Directory:
    """Entries of all records in order, found by number and by id."""

    def __init__(self) -> None:
        self._entries = np.zeros(0, ENTRY)
        self.count = 0
        #: Page and offset of the last record; the first page and None before there is one.
        self.last: tuple[int, int | None] = (1, None)
        self._sorted: NDArray[np.uint64] | None = None
        self._order: NDArray[np.int64] | None = None
        self._recent: dict[bytes, list[int]] = {}
        self._saved = 0
        self._checksum = 0

    @property
    def entries(self) -> NDArray[np.void]:
        """All entries, dtype `ENTRY`, shape (count,)."""
        return self._entries[: self.count]

    @property
    def number(self) -> int:
        """That of the last record; -1 before there is one."""
        return int(self._entries[self.count - 1]["sequence"]) if self.count else -1

    @property
    def unsaved(self) -> int:
        """How many entries are not in the file."""
        return self.count - self._saved

    def add(self, page: int, places: Iterable[Place]) -> None:
        """Takes in records that stand behind all those known."""
        number = self.number
        for offset, header in places:
            if self.count == len(self._entries):
                grown = np.zeros(max(1024, self.count * 3 // 2), ENTRY)
                grown[: self.count] = self._entries[: self.count]
                self._entries = grown
            number = number_after(number, header.sequence)
            self._entries[self.count] = (
                int.from_bytes(header.identity[:8], "big"),
                np.frombuffer(header.identity, np.uint8),
                number,
                header.time,
                offset,
                page,
                header.row,
                header.data_rows,
                header.text_rows,
                header.kind,
                header.flags,
                0,
            )
            if self._sorted is not None:
                self._recent.setdefault(header.identity, []).append(self.count)
            self.count += 1
            self.last = (page, offset)

    def _sort(self) -> None:
        """Brings every entry into the sorted order."""
        if self._sorted is not None and len(self._sorted) == self.count:
            return
        order = np.argsort(self.entries["prefix"], kind="stable")
        self._order, self._sorted = order, self.entries["prefix"][order]
        self._recent = {}

    def positions(self, identity: bytes) -> list[int]:
        """Places in `entries` of all records with the 32-byte id, ascending."""
        if self._sorted is None:
            self._sort()
        assert self._sorted is not None and self._order is not None
        prefix = np.uint64(int.from_bytes(identity[:8], "big"))
        first = int(np.searchsorted(self._sorted, prefix))
        found = []
        while first < len(self._sorted) and self._sorted[first] == prefix:
            position = int(self._order[first])
            if self.entries[position]["id"].tobytes() == identity:
                found.append(position)
            first += 1
        return sorted(found) + self._recent.get(identity, [])

    def repeated(self) -> list[int]:
        """Places in `entries` of the records whose id stands again further on."""
        self._sort()
        assert self._sorted is not None and self._order is not None
        again = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        found = []
        for first in again.tolist():
            position = int(self._order[first])
            if position != self.positions(self.entries[position]["id"].tobytes())[-1]:
                found.append(position)
        return found

    def with_prefix(self, digits: str) -> list[bytes]:
        """The different ids that begin with the hexadecimal ``digits`` (at most 64)."""
        self._sort()
        assert self._sorted is not None and self._order is not None
        low = int(digits[:16].ljust(16, "0"), 16)
        high = int(digits[:16].ljust(16, "f"), 16)
        first = int(np.searchsorted(self._sorted, np.uint64(low)))
        last = int(np.searchsorted(self._sorted, np.uint64(high), side="right"))
        ids = {self.entries[int(p)]["id"].tobytes() for p in self._order[first:last]}
        return sorted(i for i in ids if i.hex().startswith(digits))

    def at_sequence(self, sequence: int) -> int | None:
        """Place in `entries` of the record numbered ``sequence``, or None."""
        position = self.from_sequence(sequence)
        if position < self.count and self.entries[position]["sequence"] == sequence:
            return position
        return None

    def from_sequence(self, sequence: int) -> int:
        """Place in `entries` of the first record numbered ``sequence`` or higher."""
        numbers = self.entries["sequence"]  # not contiguous: NumPy's search would copy it
        return bisect_left(range(self.count), sequence, key=numbers.__getitem__)

    # -- the cache file --------------------------------------------------------------------------

    def save(self, files: Files, path: Path, generation: int, digest: bytes) -> None:
        """Writes what is new; ``digest`` is the last record's. An unwritable place is no error."""
        new = self._entries[self._saved : self.count].tobytes()
        try:
            handle = files.open(path, writable=True, create=not self._saved)
            try:
                handle.write(_HEAD.size + self._saved * ENTRY.itemsize, new)
                self._checksum = zlib.crc32(new, self._checksum)
                handle.write(0, _HEAD.pack(_MAGIC, generation, self._checksum, self.count, digest))
            finally:
                handle.close()
            self._saved = self.count
        except OSError:
            self._saved, self._checksum = 0, 0

    @classmethod
    def load(cls, files: Files, path: Path, generation: int) -> tuple[Directory, bytes] | None:
        """The saved directory and its last record's digest, or None when it cannot be believed."""
        try:
            handle = files.open(path)
        except OSError:
            return None
        try:
            head = handle.read(0, _HEAD.size)
            if len(head) != _HEAD.size:
                return None
            magic, made_for, checksum, count, digest = _HEAD.unpack(head)
            size = count * ENTRY.itemsize
            if magic != _MAGIC or made_for != generation or handle.size() < _HEAD.size + size:
                return None
            data = handle.read(_HEAD.size, size)
        except OSError:
            return None
        finally:
            handle.close()
        if len(data) != size or zlib.crc32(data) != checksum:
            return None
        directory = cls()
        directory._entries = np.frombuffer(data, ENTRY)
        directory.count = directory._saved = count
        directory._checksum = checksum
        if count:
            directory.last = (
                int(directory.entries[-1]["page"]),
                int(directory.entries[-1]["offset"]),
            )
        return directory, digest
