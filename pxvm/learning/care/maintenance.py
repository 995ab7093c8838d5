"""Care of a network: repair, compact, merge, put into one file, give other vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pxvm.core.errors import FormatError, PxvmError
from pxvm.learning.errors import NetworkError
from pxvm.learning.store import layout
from pxvm.learning.store.appending import make_piece
from pxvm.learning.store.catalogue import Catalogue, decoded
from pxvm.learning.store.container import Page
from pxvm.learning.store.foreign import open_page
from pxvm.learning.store.format_note import format_note
from pxvm.learning.store.pages import AnyPage, Pages, page_bytes, stored_piece
from pxvm.learning.store.pieces import Piece, Place
from pxvm.learning.store.record import BOOKKEEPING, Record, Vector, encode, from_microseconds, join
from pxvm.learning.store.rewriting import Rewriter

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store

#: Called with (done, total) records.
Progress = Callable[[int, int], None]
#: More rows than any single file has.
ENDLESS = 1 << 31


@dataclass(frozen=True)
class Outcome:
    """What a rewriting did: records written, records left out, damaged ones, bytes in all pages."""

    records: int
    left_out: int
    damaged: int
    size: int


def _no_progress(done: int, total: int) -> None:
    pass


def fresh_pages(like: Pages, target: str | Path) -> Pages:
    """The pages of a network that is to be made at ``target``, where nothing may stand yet."""
    path = Path(target).absolute()
    pages = Pages(path, read_only=False, timeout=like.timeout, files=like.files)
    if like.files.exists(path) or pages.further():
        raise NetworkError(f"{path} exists: give another name, or move it away")
    return pages


@contextmanager
def rewriting(pages: Pages, generation: int, page_rows: int) -> Iterator[Rewriter]:
    """A rewriter for ``pages`` that finishes at the end, or leaves nothing on an error."""
    rewriter = Rewriter(pages, generation, page_rows)
    try:
        yield rewriter
        rewriter.finish()
    except BaseException:
        rewriter.abandon()
        raise


def _piece_at(network: Store, page: AnyPage, place: Place, sequence: int | None = None) -> Piece:
    """The record at a place with its picture as it is, drawn anew only where it must be."""
    text = page.text(place) if sequence in (None, place.header.sequence) else None
    if text is not None:
        return stored_piece(page, place, text)
    record = decoded(page, place)
    number = record.sequence if sequence is None else sequence
    return make_piece(record, number, record.record_time, network.draw)


def _readable(page: AnyPage, place: Place) -> Record | None:
    """The record at a place; None where it is damaged."""
    try:
        return decoded(page, place)
    except FormatError:
        return None


def _rewrite(
    network: Store,
    target: str | Path | None,
    pieces: Iterable[Piece],
    left_out: Callable[[], int],
    page_rows: int,
) -> Outcome:
    """Writes ``pieces`` to ``target``, or over the network itself."""
    source = network._pages
    pages = source if target is None else fresh_pages(source, target)
    generation = source.generation + 1 if target is None else 0
    written = 0
    with rewriting(pages, generation, page_rows) as rewriter:
        for piece in pieces:
            rewriter.add(piece)
            written += 1
    pages.refresh()
    outcome = Outcome(written, left_out(), 0, page_bytes(pages))
    if target is not None:
        pages.close()
    return outcome


def _positions_by_id(catalogue: Catalogue) -> dict[str, list[int]]:
    """Places of every storing, by id, in the order of the last storing."""
    found: dict[str, list[int]] = {}
    for position, identity in enumerate(catalogue.directory().entries["id"]):
        name = identity.tobytes().hex()
        found[name] = [*found.pop(name, []), position]
    return found


def compact(
    network: Store,
    target: str | Path | None = None,
    progress: Progress = _no_progress,
    *,
    history: bool = False,
) -> Outcome:
    """Writes the network without what was forgotten, to ``target`` or over itself in one step.

    What a newer version replaced is left out as well, unless ``history`` is to be kept.
    Numbers stay. What remains of a forgotten record is the tombstone with its id, so that a merge
    with an older copy does not bring it back. All caches beside the network are removed.
    """
    catalogue, pages = network._catalogue, network._pages
    dropped = 0

    def pieces() -> Iterator[Piece]:
        nonlocal dropped
        standing = catalogue.standing()
        by_id = _positions_by_id(catalogue)
        is_out = standing.is_forgotten if history else lambda *record: not standing.counts(*record)
        gone = {
            name for name, positions in by_id.items() if is_out(name, catalogue.time(positions[-1]))
        }
        gone |= {tagging for name in gone for tagging in standing.tagging.get(name, ())}
        for done, (name, positions) in enumerate(by_id.items()):
            progress(done, len(by_id))
            if name in gone:
                dropped += 1
            elif len(positions) == 1:
                yield _piece_at(network, *catalogue.place(positions[0]))
            elif not (stored := list(catalogue.readable(positions))):  # damaged: kept as they are
                yield from (_piece_at(network, *catalogue.place(p)) for p in positions)
            else:
                record = join(stored)
                number = catalogue.number(positions[-1])
                yield make_piece(record, number, record.record_time, network.draw)

    with pages.writing() if target is None else network._turn:
        pages.refresh()
        if target is None:
            pages.mend()
        return _rewrite(network, target, pieces(), lambda: dropped, network.page_rows)


def export_single(network: Store, target: str | Path, progress: Progress = _no_progress) -> Outcome:
    """Writes the whole network as one file ``target``, however many pages it has."""
    with network._turn:
        network.refresh()
        catalogue = network._catalogue
        total = catalogue.directory().count

        def pieces() -> Iterator[Piece]:
            for position in range(total):
                progress(position, total)
                yield _piece_at(network, *catalogue.place(position))

        return _rewrite(network, target, pieces(), lambda: 0, ENDLESS)


def reembed(
    network: Store,
    embed: Callable[[Sequence[Record]], Sequence[Sequence[Vector]]],
    target: str | Path | None = None,
    batch: int = 256,
    progress: Progress = _no_progress,
) -> Outcome:
    """Gives every record the vectors that ``embed`` answers for it, instead of those it has.

    ``embed`` gets up to ``batch`` records and gives as many sequences of vectors. Written to
    ``target``, or over the network itself in one step.
    """
    catalogue, pages = network._catalogue, network._pages

    def pieces() -> Iterator[Piece]:
        total = catalogue.directory().count
        for start in range(0, total, batch):
            places = [catalogue.place(i) for i in range(start, min(start + batch, total))]
            records = [_readable(page, place) for page, place in places]
            given = iter(embed([record for record in records if record is not None]))
            for (page, place), record in zip(places, records, strict=True):
                progress(start, total)
                piece = _piece_at(network, page, place)
                if record is not None:  # a damaged one stays as it is
                    changed = replace(record, vectors=tuple(next(given)))
                    piece = replace(piece, payload=encode(changed))
                yield piece

    with pages.writing() if target is None else network._turn:
        pages.refresh()
        if target is None:
            pages.mend()
        return _rewrite(network, target, pieces(), lambda: 0, network.page_rows)


def merge(
    first: Store, second: Store, target: str | Path, progress: Progress = _no_progress
) -> Outcome:
    """Writes the union of two networks by content to ``target``, damaged records left out.

    Content that both know becomes one record with the times, links and vectors of both. Records are
    numbered anew in the order in which they were last stored; the order of the two does not matter.
    What one of them has erased and the other only has from before stays out.
    """
    with first._turn, second._turn:
        first.refresh()
        second.refresh()
        where: dict[str, list[tuple[Catalogue, int]]] = {}
        for network in (first, second):
            for name, positions in _positions_by_id(network._catalogue).items():
                where.setdefault(name, []).extend((network._catalogue, p) for p in positions)

        def order(item: tuple[str, list[tuple[Catalogue, int]]]) -> tuple[bool, int, str]:
            """The record that explains the format first, then by the last storing."""
            name, places = item
            flags = {int(c.directory().entries[p]["flags"]) for c, p in places}
            return flags != {BOOKKEEPING}, max(c.time(p) for c, p in places), name

        def is_erased(name: str, places: list[tuple[Catalogue, int]]) -> bool:
            last = max(c.time(p) for c, p in places)
            return any(
                c.standing().is_forgotten(name, last) and not c.stored(name)
                for c in (first._catalogue, second._catalogue)
            )

        ordered = sorted((i for i in where.items() if not is_erased(*i)), key=order)
        damaged = 0

        def pieces() -> Iterator[Piece]:
            nonlocal damaged
            number = 0
            for done, (_, places) in enumerate(ordered):
                progress(done, len(ordered))
                found = []
                for catalogue, position in places:
                    try:
                        found.append(catalogue.read(position))
                    except FormatError:
                        damaged += 1
                if found:
                    record = join(found)
                    yield make_piece(record, number, record.record_time, first.draw)
                    number += 1

        outcome = _rewrite(first, target, pieces(), lambda: 0, first.page_rows)
        return replace(outcome, damaged=damaged)


def repair(network: Store, target: str | Path, progress: Progress = _no_progress) -> Outcome:
    """Writes every record that is still whole to ``target``, wherever in the files it stands.

    ``network`` need not be readable otherwise (`Network.unopened`). Also looks into what was set
    aside after a crash. Numbers stay where they are free; damaged pictures are drawn anew from the
    exact data. ``damaged`` of the outcome counts the records that are certainly missing.
    """
    pages = network._pages
    found: dict[tuple[bytes, int], tuple[Path, Place]] = {}
    for path in _whatever_is_there(pages):
        with suppress(OSError, FormatError), closing(_opened(pages, path)) as page:
            for place in page.everything():
                found.setdefault((place.header.identity, place.header.time), (path, place))
    if not found:
        raise FormatError(f"{network.path}: no whole record in it or its pages; nothing to repair")
    ordered = sorted(
        found.values(), key=lambda item: (item[1].header.sequence, item[1].header.time)
    )
    missing, unreadable = 0, 0

    def pieces() -> Iterator[Piece]:
        nonlocal missing, unreadable
        number, digest, done = -1, layout.START, 0
        first = ordered[0][1].header
        if first.sequence > 0:  # the record that explains the format is lost: say it again
            moment = from_microseconds(first.time - 1)
            yield make_piece(format_note(), 0, moment, network.draw)
        for path, items in groupby(ordered, key=itemgetter(0)):
            with closing(_opened(pages, path)) as page:
                for _, place in items:
                    progress(done, len(ordered))
                    done += 1
                    sequence = layout.number_after(number, place.header.sequence)
                    if place.header.previous != digest:
                        missing += max(1, sequence - number - 1)
                    digest = place.header.digest()
                    try:
                        decoded(page, place)  # also where the bytes could be kept as they are
                        piece = _piece_at(network, page, place, sequence)
                    except PxvmError:
                        unreadable += 1
                        continue
                    number = piece.sequence
                    yield piece

    outcome = _rewrite(network, target, pieces(), lambda: 0, network.page_rows)
    return replace(outcome, damaged=missing + unreadable)


def _whatever_is_there(pages: Pages) -> list[Path]:
    """The first page, further ones of its generation or else the newest, set-aside bytes."""
    further = pages.further()
    generation = max((made for made, _, _ in further), default=0)
    with suppress(OSError, FormatError), closing(open_page(pages.files, pages.path)) as first:
        header = first.header_at(first.cursor.last)
        generation = generation if header is None else header.generation
    found = [pages.path, *(path for made, _, path in further if made == generation)]
    return found + [path for path in pages.beside() if path.suffix == ".cut"]


def _opened(pages: Pages, path: Path) -> AnyPage:
    if path.suffix == ".cut":
        return Page(pages.files, path)
    return open_page(pages.files, path)
