"""Many pages as one store of records: open, append, read.

What search, care and exchange need of a network, and nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pxvm.learning.errors import BusyError, NetworkError, RecordError
from pxvm.learning.store import layout
from pxvm.learning.store.appending import Appender, Draw, make_piece
from pxvm.learning.store.catalogue import Catalogue
from pxvm.learning.store.files import Files
from pxvm.learning.store.format_note import format_note
from pxvm.learning.store.pages import Pages
from pxvm.learning.store.record import (
    Draft,
    Link,
    Record,
    Vector,
    several,
)
from pxvm.learning.store.standing import Standing

if TYPE_CHECKING:
    from typing_extensions import Self

PAGE_ROWS = 65_000
#: A batch is committed in parts of so many records, so that it fits in memory.
BATCH = 4096


def draw_record(record: Record) -> NDArray[np.uint8]:
    """The record as a person reads it: packed rows (rows, 128)."""
    from pxvm.learning.typeset.rendering import render_record

    return render_record(record, layout.WIDTH)


@dataclass(frozen=True)
class State:
    """What changes whenever the network does: equal states mean equal records."""

    generation: int
    pages: int
    end: int
    records: int
    sequence: int
    digest: str


class Store:
    """The records of a network; made by `Store.open`, or as a whole `Network` by `Network.open`.

    One object may be used by several threads, one network by several processes: writers take turns,
    readers never wait.
    """

    def __init__(self, pages: Pages, page_rows: int, draw: Draw) -> None:
        self.path = pages.path
        self.read_only = pages.read_only
        self.page_rows = page_rows
        self.draw = draw
        self._made = False  # by this object
        self._pages = pages
        self._turn = pages.turn
        self._catalogue = Catalogue(pages)
        self._appender = Appender(pages, self._catalogue, page_rows, draw)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        page_rows: int = PAGE_ROWS,
        timeout: float = 30.0,
        files: Files | None = None,
        draw: Draw = draw_record,
    ) -> Self:
        """Opens the network at ``path``; makes it when it is missing and not ``read_only``.

        ``page_rows`` is where a page ends and the next begins; ``timeout`` seconds is how long a
        write waits for another process. What a crash left is put in order here, unless
        ``read_only``. Raises `NetworkError`, or `FormatError` when the file is none.
        """
        path = Path(path).absolute()
        pages = Pages(path, read_only=read_only, timeout=timeout, files=files or Files())
        network = cls(pages, page_rows, draw)
        if not pages.files.exists(path):
            if read_only:
                raise NetworkError(f"{path}: no such file; open it for writing to make it")
            if not pages.files.exists(path.parent):
                raise NetworkError(f"{path.parent}: no such directory; make it first")
            with pages.writing():
                if not pages.files.exists(path):
                    pages.create(make_piece(format_note(), 0, datetime.now(timezone.utc), draw))
                    network._made = True
        network.refresh()
        if not read_only:
            network._tidy()
        return network

    @classmethod
    def unopened(cls, path: str | Path, draw: Draw = draw_record) -> Self:
        """A network that need not be readable, for `repair` alone."""
        pages = Pages(Path(path).absolute(), read_only=True, timeout=0, files=Files())
        return cls(pages, PAGE_ROWS, draw)

    def _tidy(self) -> None:
        """Finishes what a crash interrupted: a torn append, a rewriting of all pages."""
        pages = self._pages
        if pages.page(pages.last).changed() or pages.strays():
            with suppress(BusyError), pages.writing(timeout=0):  # who writes now does it, too
                pages.refresh()
                pages.mend()
                for stray in pages.strays():
                    pages.remove(stray)

    def close(self) -> None:
        """Saves the index and closes the files; the next use opens them again."""
        with self._turn:
            self._catalogue.save()
            self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if kind is not None and self._made:
            self._unmake()
        self.close()

    def _unmake(self) -> None:
        """Deletes the network that this object made, where nothing was stored in it: what failed
        leaves no empty one behind. Whoever writes it now keeps it."""
        pages = self._pages
        with suppress(NetworkError), pages.writing(timeout=0):
            pages.refresh()
            if pages.last == 1 and pages.page(1).cursor.records == 1:
                pages.unmake()

    def refresh(self) -> None:
        """Looks whether other processes have appended; every method does so by itself."""
        with self._turn:
            self._pages.refresh()

    # -- reading ---------------------------------------------------------------------------------

    @property
    def pages(self) -> list[Path]:
        """The paths of all pages, in order."""
        with self._turn:
            self.refresh()
            return [self._pages.page_path(n) for n in range(1, self._pages.last + 1)]

    @property
    def state(self) -> State:
        """Cheap to get; a cache made for an equal state is valid."""
        with self._turn:
            self.refresh()
            pages = self._pages
            number = self._catalogue.directory().number
            cursor, header = pages.page(pages.last).cursor, pages.header_at_end()
            return State(
                pages.generation,
                pages.last,
                cursor.slot,
                cursor.records,
                number,
                header.digest().hex(),
            )

    def __len__(self) -> int:
        """How many records count: without forgotten, replaced and bookkeeping ones."""
        with self._turn:
            self.refresh()
            return len(self._catalogue.live())

    def __bool__(self) -> bool:
        """A network is something even while it is empty."""
        return True

    def records(self, all: bool = False) -> Iterator[Record]:
        """The records in order; with ``all`` also what was forgotten, replaced, or says so.

        Damaged ones are left out, with a warning in the log; `verify` names them.
        Those that count have the tags they have by now; with ``all`` each is as it was stored.
        """
        with self._turn:
            self.refresh()
            catalogue = self._catalogue
            chosen = range(catalogue.directory().count) if all else catalogue.live().tolist()
            standing = catalogue.standing()
        for record in catalogue.readable(chosen):
            yield record if all else standing.with_tags(record)

    def records_from(self, sequence: int) -> Iterator[Record]:
        """Every record numbered ``sequence`` or higher, as it was stored."""
        with self._turn:
            self.refresh()
            directory = self._catalogue.directory()
            chosen = range(directory.from_sequence(sequence), directory.count)
        yield from self._catalogue.readable(chosen)

    def numbered(self, sequences: Iterable[int]) -> Iterator[Record]:
        """The records with these numbers, with their tags as of now, each read when it is wanted.

        Damaged ones are left out, with a warning in the log. Raises `UnknownRecordError`.
        """
        with self._turn:
            self.refresh()
            catalogue = self._catalogue
            standing = catalogue.standing()
        for sequence in sequences:
            for record in catalogue.readable([catalogue.find(sequence)]):
                yield standing.with_tags(record)

    def live_ids(self) -> set[str]:
        """The ids of the records that count."""
        with self._turn:
            self.refresh()
            identities = self._catalogue.directory().entries["id"][self._catalogue.live()]
            return {identity.tobytes().hex() for identity in identities}

    def counts(self, identity: str) -> bool:
        """Whether a record with this id is stored, and neither forgotten nor replaced."""
        with self._turn:
            self.refresh()
            return self._catalogue.counts(identity)

    def standing(self) -> Standing:
        """What later records say of earlier ones, as of now."""
        with self._turn:
            self.refresh()
            return self._catalogue.standing()

    def record(self, name: str | int) -> Record:
        """The record with an id, an unambiguous beginning of one, or a number.

        The newest storing of it, with its tags as of now. Raises `UnknownRecordError`.
        """
        with self._turn:
            self.refresh()
            catalogue = self._catalogue
            return catalogue.standing().with_tags(catalogue.read(catalogue.find(name)))

    def record_at(self, sequence: int) -> Record:
        """The record numbered ``sequence``, as it was stored. Raises `UnknownRecordError`."""
        with self._turn:
            self.refresh()
            return self._catalogue.read(self._catalogue.find(sequence))

    def history(self, name: str | int) -> list[Record]:
        """All versions of a record and every correction, tag and forgetting of them, by time."""
        with self._turn:
            identity = self.record(name).id
            catalogue = self._catalogue
            related = catalogue.standing().versions(identity)
            for version in tuple(related):
                related |= catalogue.standing().about.get(version, set())
            found = [catalogue.read(place) for i in related for place in catalogue.stored(i)]
        return sorted(found, key=lambda record: (record.times[-1], record.sequence))

    def locate(self, name: str | int) -> tuple[int, int, int, int]:
        """(page from 1, first row, data rows, text rows) of a record's pixels."""
        with self._turn:
            self.refresh()
            entry = self._catalogue.directory().entries[self._catalogue.find(name)]
            page, row, data_rows, text_rows = (
                int(entry[name]) for name in ("page", "row", "data_rows", "text_rows")
            )
            return page, row, data_rows, text_rows

    def pixels(self, name: str | int) -> NDArray[np.uint8]:
        """A record's rows as they stand in the picture, packed, (rows, 128): its data, then its
        text, of which white is left where it is damaged. Raises `FormatError` for damaged data."""
        with self._turn:
            self.refresh()
            page, place = self._catalogue.place(self._catalogue.find(name))
            exact = place.header.pack() + page.payload(place).data
            text = page.text(place)
        rows = np.full((place.header.rows, layout.ROW), 255, np.uint8)
        rows[: place.header.data_rows] = np.frombuffer(
            exact.ljust(place.header.data_rows * layout.ROW, b"\0"), np.uint8
        ).reshape(-1, layout.ROW)
        if text is not None:
            rows[place.header.data_rows :] = text
        return rows

    def entries(self) -> NDArray[np.void]:
        """Where every record stands, whether it counts or not: a copy, dtype `directory.ENTRY`."""
        with self._turn:
            self.refresh()
            entries: NDArray[np.void] = self._catalogue.directory().entries.copy()
            return entries

    # -- appending -------------------------------------------------------------------------------

    def append(
        self,
        query: str,
        answer: str,
        *,
        tags: Sequence[str] = (),
        kind: str = "interaction",
        source: str = "",
        model: str = "",
        event_time: datetime | None = None,
        links: Sequence[Link | tuple[str, str]] = (),
        vectors: Sequence[Vector] = (),
    ) -> str:
        """Stores one record and returns its id; it is durable when this returns.

        Content that is there already and counts is not stored again.
        """
        draft = Draft(
            query=query,
            answer=answer,
            tags=several(tags, "tags"),
            kind=kind,
            source=source,
            model=model,
            event_time=event_time,
            links=tuple(links),  # type: ignore[arg-type]  # pairs become links
            vectors=tuple(vectors),
        )
        return self.append_many([draft])[0]

    def append_many(self, drafts: Iterable[Draft]) -> list[str]:
        """Stores ``drafts`` in order and returns their ids, with one commit for up to 4,096.

        A `Record` keeps its own record times, so that what another network knew comes over with its
        history. What is there already is not stored again.
        """
        ids: list[str] = []
        batch: list[Draft] = []
        for draft in drafts:
            if not isinstance(draft, Draft):
                raise RecordError(f"a draft must be a Draft, found {type(draft).__name__}")
            # A record that is shown with later tags is named anew by them.
            batch.append(replace(draft) if isinstance(draft, Record) else draft)
            if len(batch) == BATCH:
                ids += self._appender.append(batch)
                batch = []
        return ids + self._appender.append(batch)
