"""The network: many pages as one memory. Open, append, read, forget, correct, tag."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError, LimitError
from pxvm.learning import layout
from pxvm.learning.container import Cursor, Page, Piece, Place, deflate_rows, whole_page
from pxvm.learning.directory import Directory
from pxvm.learning.errors import NetworkError, RecordError, UnknownRecordError
from pxvm.learning.files import Files
from pxvm.learning.foreign import PicturePage, open_page
from pxvm.learning.format_note import format_note
from pxvm.learning.record import (
    ACTS,
    BOOKKEEPING,
    KINDS,
    Draft,
    Link,
    Record,
    Vector,
    decode,
    encode,
    from_microseconds,
    join,
    to_microseconds,
)
from pxvm.learning.standing import Standing, tag_lines

if TYPE_CHECKING:
    from pxvm.learning.search import Hit

PAGE_ROWS = 65_000
#: Rows that a page may have when one record alone is longer than ``page_rows``.
MOST_ROWS = 1_000_000
#: A batch is committed in parts of so many records, so that it fits in memory.
BATCH = 4096
_OPEN_PAGES = 32
_SAVE_EVERY = 256

Draw = Callable[[Record], NDArray[np.uint8]]


def draw_record(record: Record) -> NDArray[np.uint8]:
    """The record as a person reads it: packed rows (rows, 128)."""
    from pxvm.learning.rendering import render_record

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


class Network:
    """A knowledge network in ``path`` and the pages beside it. Made by `Network.open`.

    One object may be used by several threads, one network by several processes: writers take turns,
    readers never wait.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool,
        page_rows: int,
        timeout: float,
        files: Files,
        draw: Draw,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self.page_rows = page_rows
        self.timeout = timeout
        self.files = files
        self.draw = draw
        self._turn = threading.RLock()
        self._lock = files.lock(path.with_name(path.name + ".lock"), timeout)
        self._forget_everything()

    def _forget_everything(self) -> None:
        self._open_pages: OrderedDict[int, Page | PicturePage] = OrderedDict()
        self._directory: Directory | None = None
        self._standing: Standing | None = None
        self._stood = 0
        self._last_page = 0
        self._generation = 0
        self._identity: tuple[int, int] = (0, 0)

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
    ) -> Network:
        """Opens the network at ``path``; makes it when it is missing and not ``read_only``.

        ``page_rows`` is where a page ends and the next begins; ``timeout`` seconds is how long a
        write waits for another process. A crashed append is put in order here, unless
        ``read_only``. Raises `NetworkError`, or `FormatError` when the file is none.
        """
        path = Path(path).absolute()
        network = cls(
            path,
            read_only=read_only,
            page_rows=page_rows,
            timeout=timeout,
            files=files or Files(),
            draw=draw,
        )
        if not network.files.exists(path):
            if read_only:
                raise NetworkError(f"{path}: no such file; open it for writing to make it")
            with network._writing():
                pass
        network.refresh()
        if not read_only and network._page(network._last_page).changed():
            with network._writing():
                pass
        return network

    def close(self) -> None:
        """Saves the index and closes the files; the object opens them again when it is used."""
        with self._turn:
            self._save_directory()
            for page in self._open_pages.values():
                page.close()
            self._forget_everything()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- pages -----------------------------------------------------------------------------------

    def page_path(self, number: int, generation: int | None = None) -> Path:
        """Where page ``number`` (from 1) stands."""
        if number == 1:
            return self.path
        generation = self._generation if generation is None else generation
        middle = f".g{generation}" if generation else ""
        return self.path.with_name(f"{self.path.stem}{middle}.p{number}{self.path.suffix}")

    @property
    def pages(self) -> list[Path]:
        """The paths of all pages, in order."""
        self.refresh()
        return [self.page_path(number) for number in range(1, self._last_page + 1)]

    def page_files(self) -> list[tuple[int, int, Path]]:
        """(generation, number, path) of every further page beside the first, of any generation."""
        stem, suffix = re.escape(self.path.stem), re.escape(self.path.suffix)
        pattern = re.compile(rf"{stem}(?:\.g(\d+))?\.p(\d+){suffix}")
        found = []
        for name in self.files.names(self.path.parent):
            if match := pattern.fullmatch(name):
                found.append((int(match[1] or 0), int(match[2]), self.path.with_name(name)))
        return sorted(found)

    def _page(self, number: int) -> Page | PicturePage:
        page = self._open_pages.get(number)
        if page is None:
            page = self._open_page(self.page_path(number))
            self._open_pages[number] = page
            if len(self._open_pages) > _OPEN_PAGES:
                oldest = next(n for n in self._open_pages if n not in (1, number, self._last_page))
                self._open_pages.pop(oldest).close()
        self._open_pages.move_to_end(number)
        return page

    def _open_page(self, path: Path) -> Page | PicturePage:
        try:
            return open_page(self.files, path, writable=not self.read_only)
        except FileNotFoundError:
            raise NetworkError(
                f"{path} is missing: the network has pages that are not here; bring it back, or "
                "save what is left with `pxvm network repair`"
            ) from None
        except PermissionError:
            raise NetworkError(
                f"{path}: permission denied; open it with read_only=True, or allow writing"
            ) from None

    def refresh(self) -> None:
        """Looks whether the files have changed, here or by another process."""
        with self._turn:
            try:
                identity = self.files.identity(self.path)
            except FileNotFoundError:
                raise NetworkError(f"{self.path}: the file is gone") from None
            if identity != self._identity:
                self._start(identity)
            elif self._page(self._last_page).changed():
                self._page(self._last_page).look()
            while self.files.exists(self.page_path(self._last_page + 1)):
                self._last_page += 1
                self._page(self._last_page)

    def _start(self, identity: tuple[int, int]) -> None:
        """Begins anew with the file that stands at the path now."""
        for page in self._open_pages.values():
            page.close()
        self._forget_everything()
        self._last_page = 1
        self._identity = identity
        first = self._page(1)
        header = first.header_at(first.cursor.last)
        assert header is not None
        self._generation = header.generation
        numbers = [n for g, n, _ in self.page_files() if g == self._generation]
        self._last_page = max([1, *numbers])

    # -- the directory and what counts -----------------------------------------------------------

    def _index_path(self) -> Path:
        return self.path.with_name(self.path.name + ".index")

    def _entries(self) -> Directory:
        """The directory, up to date with the pages."""
        if self._directory is None:
            self._directory = self._load_directory() or Directory()
        directory = self._directory
        number, start = 1, None
        if directory.count:
            last = directory.entries[-1]
            number = int(last["page"])
            page = self._page(number)
            if number == self._last_page and int(last["offset"]) == page.cursor.last:
                return directory
            start = self._behind(page, int(last["offset"]))
        while number <= self._last_page:
            directory.add(number, self._page(number).places(start))
            number, start = number + 1, None
        return directory

    @staticmethod
    def _behind(page: Page | PicturePage, offset: int) -> Cursor:
        header = page.header_at(offset)
        if header is None:
            raise FormatError(f"{page.path.name}: no record at {offset}, where one was before")
        return page.after(Place(offset, header))

    def _load_directory(self) -> Directory | None:
        loaded = Directory.load(self.files, self._index_path(), self._generation)
        if loaded is None or not loaded[0].count:
            return None
        directory, digest = loaded
        last = directory.entries[-1]
        number = int(last["page"])
        if number > self._last_page:
            return None
        header = self._page(number).header_at(int(last["offset"]))
        return directory if header is not None and header.digest() == digest else None

    def _save_directory(self) -> None:
        directory = self._directory
        if self.read_only or directory is None or not directory.unsaved:
            return
        last = directory.entries[-1]
        header = self._page(int(last["page"])).header_at(int(last["offset"]))
        if header is not None:
            directory.save(self.files, self._index_path(), self._generation, header.digest())

    def _counting(self) -> Standing:
        """What later records say of earlier ones, up to date."""
        entries = self._entries().entries
        if self._standing is None:
            self._standing, self._stood = Standing(), 0
        for position in np.flatnonzero(entries["flags"][self._stood :] & ACTS) + self._stood:
            self._standing.take(self._read(int(position)))
        self._stood = len(entries)
        return self._standing

    def _read(self, position: int) -> Record:
        """The record at a place in the directory, as it was stored."""
        entry = self._entries().entries[position]
        page = self._page(int(entry["page"]))
        header = page.header_at(int(entry["offset"]))
        if header is None or header.identity != entry["id"].tobytes():
            raise FormatError(
                f"{page.path.name}: record {int(entry['sequence'])} is damaged at "
                f"{int(entry['offset'])}; run `pxvm network verify`"
            )
        return self.decoded(page, Place(int(entry["offset"]), header))

    @staticmethod
    def decoded(page: Page | PicturePage, place: Place) -> Record:
        """The record at a place of a page."""
        header = place.header
        return decode(
            page.payload(place),
            kind=header.kind,
            sequence=header.sequence,
            time=header.time,
            identity=header.identity,
        )

    def _live(self) -> NDArray[np.int64]:
        """Places in the directory of the records that count, ascending."""
        directory, standing = self._entries(), self._counting()
        entries = directory.entries
        live = (entries["flags"] & BOOKKEEPING) == 0
        for position in directory.repeated():
            live[position] = False
        for identity in standing.ended():
            for position in directory.positions(bytes.fromhex(identity)):
                if not standing.counts(identity, int(entries[position]["time"])):
                    live[position] = False
        return np.flatnonzero(live)

    # -- reading ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many records count: without forgotten, replaced and bookkeeping ones."""
        with self._turn:
            self.refresh()
            return len(self._live())

    def records(self, all: bool = False) -> Iterator[Record]:
        """The records in order; with ``all`` also what was forgotten, replaced, or says so.

        Those that count have the tags they have by now; with ``all`` each is as it was stored.
        """
        with self._turn:
            self.refresh()
            chosen = np.arange(self._entries().count) if all else self._live()
            standing = self._counting()
        for position in chosen.tolist():
            with self._turn:
                record = self._read(position)
            yield record if all else standing.with_tags(record)

    def records_from(self, sequence: int) -> Iterator[Record]:
        """Every stored record numbered ``sequence`` or higher, as it was stored."""
        with self._turn:
            self.refresh()
            directory = self._entries()
            chosen = range(directory.from_sequence(sequence), directory.count)
        for position in chosen:
            with self._turn:
                yield self._read(position)

    def live_ids(self) -> set[str]:
        """The ids of the records that count."""
        with self._turn:
            self.refresh()
            identities = self._entries().entries["id"][self._live()]
            return {identity.tobytes().hex() for identity in identities}

    def record(self, name: str | int) -> Record:
        """The record with an id, an unambiguous beginning of one, or a number.

        The newest storing of it, with its tags as of now. Raises `UnknownRecordError`.
        """
        with self._turn:
            self.refresh()
            return self._counting().with_tags(self._read(self._find(name)))

    def record_at(self, sequence: int) -> Record:
        """The record numbered ``sequence``, as it was stored. Raises `UnknownRecordError`."""
        with self._turn:
            self.refresh()
            return self._read(self._find(sequence))

    def _find(self, name: str | int) -> int:
        directory = self._entries()
        if isinstance(name, int):
            position = directory.at_sequence(name) if name >= 0 else None
            if position is None:
                raise UnknownRecordError(f"no record number {name} in {self.path.name}")
            return position
        digits = name.lower()
        if not digits or len(digits) > 64 or set(digits) - set("0123456789abcdef"):
            raise UnknownRecordError(f"{name!r} is no id: expected up to 64 hexadecimal digits")
        whole = len(digits) == 64
        identities = [bytes.fromhex(digits)] if whole else directory.with_prefix(digits)
        positions = directory.positions(identities[0]) if len(identities) == 1 else []
        if len(identities) > 1:
            raise UnknownRecordError(
                f"{len(identities)} records begin with {digits}: give more digits"
            )
        if not positions:
            raise UnknownRecordError(f"no record {digits} in {self.path.name}")
        return positions[-1]

    def history(self, name: str | int) -> list[Record]:
        """All versions of a record and every correction, tag and forgetting of them, by time."""
        with self._turn:
            identity = self.record(name).id
            directory, standing = self._entries(), self._counting()
            related = standing.versions(identity)
            for version in tuple(related):
                related |= standing.about.get(version, set())
            found = [self._read(p) for i in related for p in directory.positions(bytes.fromhex(i))]
        return sorted(found, key=lambda record: (record.times[-1], record.sequence))

    def locate(self, name: str | int) -> tuple[int, int, int, int]:
        """(page from 1, first row, data rows, text rows) of a record's pixels."""
        with self._turn:
            self.refresh()
            entry = self._entries().entries[self._find(name)]
            return tuple(int(entry[k]) for k in ("page", "row", "data_rows", "text_rows"))  # type: ignore[return-value]

    @property
    def state(self) -> State:
        """Cheap to get; a cache made for an equal state is valid."""
        with self._turn:
            self.refresh()
            page = self._page(self._last_page)
            header = page.header_at(page.cursor.last)
            assert header is not None
            return State(
                self._generation,
                self._last_page,
                page.cursor.slot,
                page.cursor.records,
                header.sequence,
                header.digest().hex(),
            )

    # -- writing ---------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Holds the writer's lock, with the network up to date and its end in order."""
        if self.read_only:
            raise NetworkError(f"{self.path} was opened read-only: open it for writing")
        with self._turn:
            try:
                self._lock.__enter__()
            except TimeoutError:
                raise NetworkError(
                    f"{self.path} is being written by another process for more than "
                    f"{self.timeout:g} s: try again when it is done"
                ) from None
            except OSError as error:
                raise NetworkError(
                    f"{self.path}: cannot be locked for writing ({error.strerror}); open it with "
                    "read_only=True, or move it where you may write"
                ) from None
            try:
                if not self.files.exists(self.path):
                    self._create()
                self.refresh()
                self._mend()
                yield
            except OSError as error:
                raise NetworkError(
                    f"{self.path}: {error.strerror or error}; nothing acknowledged was lost"
                ) from None
            finally:
                self._lock.__exit__(None, None, None)

    def _create(self) -> None:
        note = format_note()
        piece = self._piece(note, 0, datetime.now(timezone.utc))
        self._write_page(self.path, whole_page([piece], layout.START, 1, 0))

    def _write_page(self, path: Path, data: bytes) -> None:
        """A whole new file at ``path``, or none."""
        temporary = path.with_name(path.name + ".new")
        handle = self.files.open(temporary, writable=True, create=True)
        try:
            handle.write(0, data)
            handle.sync()
        finally:
            handle.close()
        self.files.replace(temporary, path)
        self.files.settle(path.parent)

    def _mend(self) -> None:
        """Puts the last page in order: after a crash, or after another program saved it."""
        page = self._page(self._last_page)
        if isinstance(page, Page):
            page.mend()
            return
        if page.gaps:
            return
        pieces = []
        for place in page.places():
            text = page.text(place)
            if text is None:
                return
            pieces.append(self.stored_piece(page, place, text))
        first = next(page.places()).header
        data = whole_page(pieces, first.previous, self._last_page, self._generation)
        self._write_page(page.path, data)
        self._open_pages.pop(self._last_page)
        if self._last_page == 1:
            self._start(self.files.identity(self.path))
        self._directory = None

    @staticmethod
    def stored_piece(page: Page | PicturePage, place: Place, text: NDArray[np.uint8]) -> Piece:
        """The record at a place as it is, to be laid out elsewhere."""
        header = place.header
        return Piece(
            header.kind,
            header.sequence,
            header.time,
            header.flags,
            header.identity,
            page.payload(place),
            text,
            page.deflated(place),
        )

    def _piece(self, draft: Draft, sequence: int, moment: datetime) -> Piece:
        """``draft`` as record ``sequence``, drawn and ready to be laid out."""
        if isinstance(draft, Record):
            record = replace(draft, sequence=sequence)
        else:
            values = {f.name: getattr(draft, f.name) for f in fields(Draft)}
            record = Record(**values, sequence=sequence, record_time=moment)
        text = self.draw(record)
        return Piece(
            kind=KINDS.index(record.kind),
            sequence=sequence,
            time=to_microseconds(record.times[-1]),
            flags=record.flags,
            identity=bytes.fromhex(record.id),
            payload=encode(record),
            text=text,
            deflated=deflate_rows(text),
        )

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
        if isinstance(tags, str):
            raise RecordError(f"tags must be a list of texts, found the text {tags!r}")
        draft = Draft(
            query=query,
            answer=answer,
            tags=tuple(tags),
            kind=kind,
            source=source,
            model=model,
            event_time=event_time,
            links=tuple(Link(*link) for link in links),
            vectors=tuple(vectors),
        )
        return self.append_many([draft])[0]

    def append_many(self, drafts: Iterable[Draft]) -> list[str]:
        """Stores ``drafts`` in order and returns their ids, with one commit for up to 4,096.

        A `Record` keeps its own record time, so that what another network knew comes over with its
        history; what is there already is not stored again.
        """
        ids: list[str] = []
        batch: list[Draft] = []
        for draft in drafts:
            batch.append(draft)
            if len(batch) == BATCH:
                ids += self._append_batch(batch)
                batch = []
        return ids + self._append_batch(batch) if batch else ids

    def _append_batch(self, batch: list[Draft]) -> list[str]:
        batch = [replace(draft) for draft in batch]
        with self._writing():
            chosen: dict[str, Draft] = {}
            for draft in batch:
                known = chosen.get(draft.id)
                if isinstance(draft, Record):
                    together = self._joined(draft, known)
                    if together is not None:
                        chosen[draft.id] = together
                elif known is None and not self._counts(draft):
                    chosen[draft.id] = draft
            if chosen:
                self._store(list(chosen.values()))
        return [draft.id for draft in batch]

    def _counts(self, draft: Draft) -> bool:
        """Whether this content is stored and counts, with all that it says of others."""
        positions = self._entries().positions(bytes.fromhex(draft.id))
        if not positions:
            return False
        time = int(self._entries().entries[positions[-1]]["time"])
        if not self._counting().counts(draft.id, time):
            return False
        said = {link for position in positions for link in self._read(position).links}
        return not draft.flags & ACTS or said >= set(draft.links)

    def _joined(self, record: Record, known: Draft | None) -> Record | None:
        """``record`` joined with what is stored of it, or None when it adds nothing."""
        stored = [self._read(p) for p in self._entries().positions(bytes.fromhex(record.id))]
        stored += [known] if isinstance(known, Record) else []
        together = join([record, *stored])
        if stored and replace(together, sequence=0) == replace(join(stored), sequence=0):
            return None
        return together

    def _store(self, drafts: list[Draft]) -> None:
        """Appends drafts behind the last record, page by page, one commit for each page."""
        last_page = self._page(self._last_page)
        header = last_page.header_at(last_page.cursor.last)
        assert header is not None
        sequence, now = header.sequence, datetime.now(timezone.utc)
        moment = max(to_microseconds(now), header.time + 1)
        room = self.page_rows - last_page.cursor.rows if isinstance(last_page, Page) else 0
        groups: list[list[Piece]] = [[]]
        for draft in drafts:
            sequence += 1
            piece = self._piece(draft, sequence, from_microseconds(moment))
            moment += 1
            if piece.rows > MOST_ROWS:
                raise LimitError(
                    f"record of {piece.rows:,} rows is over the limit of {MOST_ROWS:,}: split it"
                )
            if piece.rows > room and (groups[-1] or len(groups) == 1):
                groups.append([])
                room = self.page_rows
            groups[-1].append(piece)
            room -= piece.rows
        if groups[0]:
            assert isinstance(last_page, Page)
            places = last_page.append(groups[0], self._last_page, self._generation)
            self._entries_of(self._last_page, places)
        for group in groups[1:]:
            self._add_page(group)
        if self._directory is not None and self._directory.unsaved >= _SAVE_EVERY:
            self._save_directory()

    def _add_page(self, pieces: list[Piece]) -> None:
        """Makes the next page; it is there as a whole, or not at all."""
        before = self._page(self._last_page).cursor.previous
        number = self._last_page + 1
        data = whole_page(pieces, before, number, self._generation)
        self._write_page(self.page_path(number), data)
        self._last_page = number
        self._entries_of(number, self._page(number).places())

    def _entries_of(self, number: int, places: Iterable[Place]) -> None:
        if self._directory is not None:
            self._directory.add(number, places)

    def forget(self, *names: str | int) -> str:
        """Marks records as forgotten, in all their versions; returns the id of the tombstone.

        Until `compact` their text is still in the file. Raises `UnknownRecordError`.
        """
        with self._turn:
            identities: set[str] = set()
            for name in names:
                identity = self.record(name).id
                identities |= self._counting().versions(identity)
            if not identities:
                raise UnknownRecordError("nothing to forget: give at least one id or number")
            targets = sorted(identities)
            return self.append(
                "",
                "\n".join(["Forgotten:", *targets]),
                kind="tombstone",
                event_time=datetime.now(timezone.utc),
                links=[Link("forgets", target) for target in targets],
            )

    def correct(
        self,
        name: str | int,
        *,
        answer: str | None = None,
        query: str | None = None,
        vectors: Sequence[Vector] = (),
    ) -> str:
        """Replaces the newest version of a record with another text; returns the new id."""
        with self._turn:
            old = self._newest(name)
            if answer in (None, old.answer) and query in (None, old.query):
                return old.id
            return self.append(
                old.query if query is None else query,
                old.answer if answer is None else answer,
                tags=old.tags,
                kind="correction",
                source=old.source,
                model=old.model,
                event_time=old.event_time,
                links=[Link("corrects", old.id)],
                vectors=vectors,
            )

    def tag(self, name: str | int, add: Iterable[str] = (), remove: Iterable[str] = ()) -> str:
        """Gives tags to the newest version of a record and takes some away; returns its id."""
        with self._turn:
            target, add, remove = self._newest(name), set(add), set(remove)
            checked = Draft("", "", tags=(*add, *remove))
            if add - set(target.tags) or remove & set(target.tags):
                self.append(
                    "",
                    tag_lines(target.id, add, remove),
                    tags=checked.tags,
                    kind="correction",
                    event_time=datetime.now(timezone.utc),
                    links=[Link("tags", target.id)],
                )
            return target.id

    def _newest(self, name: str | int) -> Record:
        """The version of a record that counts, or the newest when it was forgotten."""
        identity = self.record(name).id
        directory, standing = self._entries(), self._counting()
        found = []
        for version in standing.versions(identity):
            position = directory.positions(bytes.fromhex(version))[-1:]
            for place in position:
                time = int(directory.entries[place]["time"])
                found.append((standing.counts(version, time), time, place))
        return standing.with_tags(self._read(max(found)[2]))

    def search(self, text: str, k: int = 10, **options: Any) -> list[Hit]:
        """The ``k`` best hits for ``text``; options as in `pxvm.learning.search.search`."""
        from pxvm.learning.search import search

        return search(self, text, k=k, **options)
