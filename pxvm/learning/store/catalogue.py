"""What is stored where, and what of it counts: the reading side of a network.

Places in the catalogue are counted from 0 in the order of storing. Everything is found out only
when it is asked for, and from then on kept up with what is appended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning.errors import UnknownRecordError
from pxvm.learning.store.directory import Directory
from pxvm.learning.store.pages import AnyPage, Pages
from pxvm.learning.store.pieces import Place
from pxvm.learning.store.record import ACTS, BOOKKEEPING, Record, decode
from pxvm.learning.store.standing import Standing

_SAVE_EVERY = 256
_LOG = logging.getLogger(__name__)


def decoded(page: AnyPage, place: Place, number: int | None = None) -> Record:
    """The record at a place of a page, with this ``number`` or its header's. Raises `FormatError`
    when it is damaged."""
    header = place.header
    return decode(
        page.payload(place),
        kind=header.kind,
        sequence=header.sequence if number is None else number,
        time=header.time,
        identity=header.identity,
    )


class Catalogue:
    """The records of ``pages``."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._epoch = -1
        self._directory = Directory()
        self._standing = Standing()
        self._stood = 0
        self._live: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def _index_path(self) -> Path:
        return self._pages.path.with_name(self._pages.path.name + ".index")

    def _begin(self, directory: Directory) -> None:
        self._directory = directory
        self._standing, self._stood = Standing(), 0
        self._live = (-1, self._live[1])
        self._epoch = self._pages.epoch

    def directory(self) -> Directory:
        """The directory, up to date with the pages as they were at their last refresh."""
        pages = self._pages
        if self._epoch != pages.epoch:
            self._begin(self._load() or Directory())
        directory = self._directory
        number, behind = directory.last
        if number == pages.last and behind == pages.page(number).cursor.last:
            return directory
        while number <= pages.last:
            directory.add(number, pages.places(number, behind))
            number, behind = number + 1, None
        return directory

    def added(self, number: int, places: Iterable[Place]) -> None:
        """Takes in what was just appended to a page, when all before is known."""
        self._directory.add(number, places)
        if self._directory.unsaved >= _SAVE_EVERY:
            self.save()

    def _load(self) -> Directory | None:
        pages = self._pages
        loaded = Directory.load(pages.files, self._index_path(), pages.generation)
        if loaded is None or not loaded[0].count:
            return None
        last = loaded[0].entries[-1]
        if int(last["page"]) > pages.last:
            return None
        header = pages.page(int(last["page"])).header_at(int(last["offset"]))
        return loaded[0] if header is not None and header.digest() == loaded[1] else None

    def save(self) -> None:
        """Writes the directory's new entries beside the network."""
        pages, directory = self._pages, self._directory
        if pages.read_only or self._epoch != pages.epoch or not directory.unsaved:
            return
        last = directory.entries[-1]
        header = pages.page(int(last["page"])).header_at(int(last["offset"]))
        if header is not None:
            directory.save(pages.files, self._index_path(), pages.generation, header.digest())

    def standing(self) -> Standing:
        """What later records say of earlier ones."""
        directory, epoch = self.directory(), -1
        if self._stood == directory.count:
            return self._standing
        while epoch != self._epoch:  # reading may find the pages exchanged, and begin anew
            directory, epoch = self.directory(), self._epoch
            flags = directory.entries["flags"][self._stood :]
            for record in self.readable(np.flatnonzero(flags & ACTS) + self._stood):
                self._standing.take(record)
        self._stood = directory.count
        return self._standing

    def place(self, position: int) -> tuple[AnyPage, Place]:
        """The page and the place of a record."""
        identity = self.directory().entries[position]["id"].tobytes()
        found = self._looked_up(position, identity)
        if found is None:  # the page was saved by another program, or is damaged: look anew
            self._pages.begin_again()
            self._begin(Directory())
            found = self._looked_up(position, identity)
        if found is None:
            raise FormatError(
                f"{self._pages.path.name}: record {identity.hex()[:12]} no longer stands where it "
                "was; run `pxvm network verify`"
            )
        return found

    def _looked_up(self, position: int, identity: bytes) -> tuple[AnyPage, Place] | None:
        """Where the directory says that a record is, if it is there."""
        directory = self.directory()
        if position >= directory.count:
            return None
        entry = directory.entries[position]
        page, offset = self._pages.page(int(entry["page"])), int(entry["offset"])
        header = page.header_at(offset)
        here = header is not None and header.identity == identity == entry["id"].tobytes()
        return (page, Place(offset, header)) if here and header is not None else None

    def read(self, position: int) -> Record:
        """The record at a place in the catalogue, as it was stored."""
        page, place = self.place(position)
        return decoded(page, place, self.number(position))

    def readable(self, positions: Iterable[int]) -> Iterator[Record]:
        """The records at ``positions``; damaged ones are left out, with a warning in the log."""
        chosen = np.fromiter(positions, np.int64)
        entries = self.directory().entries[chosen]
        known = zip(
            chosen.tolist(),
            *(entries[name].tolist() for name in ("sequence", "page", "offset")),
            (identity.tobytes() for identity in entries["id"]),
            strict=True,
        )
        epoch = self._epoch
        for position, number, page, offset, identity in known:
            with self._pages.turn:
                try:
                    record = (
                        self._read_at(page, offset, identity, number)
                        if self._epoch == epoch
                        else None
                    )
                    if record is None:  # the pages were exchanged meanwhile, or are damaged
                        directory = self.directory()
                        here = position if self._epoch == epoch else directory.at_sequence(number)
                        if here is None:
                            continue
                        record = self.read(here)
                except FormatError as error:
                    _LOG.warning("record %d is left out: %s", number, error)
                    continue
            yield record

    def _read_at(self, on: int, offset: int, identity: bytes, number: int) -> Record | None:
        """The record that stands where the directory says; None where it does not."""
        if self._epoch != self._pages.epoch:
            return None
        page = self._pages.page(on)
        header = page.header_at(offset)
        if header is None or header.identity != identity:
            return None
        return decoded(page, Place(offset, header), number)

    def number(self, position: int) -> int:
        """The number of the record at a place."""
        return int(self.directory().entries[position]["sequence"])

    def time(self, position: int) -> int:
        """When the record at a place was last stored, in microseconds."""
        return int(self.directory().entries[position]["time"])

    def stored(self, identity: str) -> list[int]:
        """Places of every storing of an id, ascending."""
        return self.directory().positions(bytes.fromhex(identity))

    def live(self) -> NDArray[np.int64]:
        """Places of the records that count, ascending; of one stored twice, the later."""
        directory, standing = self.directory(), self.standing()
        if self._live[0] != directory.count:
            live = (directory.entries["flags"] & BOOKKEEPING) == 0
            live[directory.repeated()] = False
            for identity in standing.ended():
                for position in self.stored(identity):
                    if not standing.counts(identity, self.time(position)):
                        live[position] = False
            self._live = directory.count, np.flatnonzero(live)
        return self._live[1]

    def counts(self, identity: str) -> bool:
        """Whether a record with this id is stored and counts."""
        positions = self.stored(identity)
        if not positions:
            return False
        entry = self.directory().entries[positions[-1]]
        kept = self.standing().counts(identity, int(entry["time"]))
        return kept and not entry["flags"] & BOOKKEEPING

    def find(self, name: str | int) -> int:
        """Place of the newest storing of an id, of an unambiguous beginning of one, or a number.

        Raises `UnknownRecordError`.
        """
        directory, where = self.directory(), self._pages.path.name
        if isinstance(name, np.integer):
            name = int(name)
        if not isinstance(name, (int, str)):
            raise UnknownRecordError(f"a record is named by id or number, found {name!r:.80}")
        if isinstance(name, int):
            position = directory.at_sequence(name) if name >= 0 else None
            if position is None:
                raise UnknownRecordError(f"no record number {name} in {where}")
            return position
        digits = name.lower()
        if not digits or len(digits) > 64 or set(digits) - set("0123456789abcdef"):
            raise UnknownRecordError(f"{name!r} is no id: expected up to 64 hexadecimal digits")
        whole = len(digits) == 64
        identities = [bytes.fromhex(digits)] if whole else directory.with_prefix(digits)
        if len(identities) > 1:
            raise UnknownRecordError(
                f"{len(identities)} records begin with {digits}: give more digits"
            )
        positions = directory.positions(identities[0]) if identities else []
        if not positions:
            raise UnknownRecordError(f"no record {digits} in {where}")
        return positions[-1]
