"""Drafts become records at the end of a network; what is there already is not stored again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import LimitError
from pxvm.learning.store.catalogue import Catalogue
from pxvm.learning.store.layout import MOST_ROWS
from pxvm.learning.store.pages import Pages
from pxvm.learning.store.pieces import Piece
from pxvm.learning.store.record import (
    ACTS,
    FORMAT_SOURCE,
    KINDS,
    LATEST,
    Draft,
    Record,
    encode,
    from_microseconds,
    join,
    to_microseconds,
)

#: Draws a record as packed rows, uint8 (rows, 128).
Draw = Callable[[Record], NDArray[np.uint8]]


def make_piece(draft: Draft, sequence: int, moment: datetime, draw: Draw) -> Piece:
    """``draft`` as record ``sequence``, drawn and ready to be laid out.

    ``moment`` becomes its record time, unless it is a record and has one.
    """
    if isinstance(draft, Record):
        record = replace(draft, sequence=sequence)
    else:
        record = Record.of(draft, sequence, moment)
    return Piece(
        kind=KINDS.index(record.kind),
        sequence=sequence,
        time=to_microseconds(record.times[-1]),
        flags=record.flags,
        identity=bytes.fromhex(record.id),
        payload=encode(record),
        text=draw(record),
    )


class Appender:
    """Appends to ``pages`` of ``page_rows`` rows; ``catalogue`` says what is there."""

    def __init__(self, pages: Pages, catalogue: Catalogue, page_rows: int, draw: Draw) -> None:
        self._pages = pages
        self._catalogue = catalogue
        self._page_rows = page_rows
        self._draw = draw

    def append(self, batch: list[Draft]) -> list[str]:
        """Stores what is new of ``batch`` with one commit a page; returns the ids of all."""
        if not batch:
            return []
        with self._pages.writing():
            self._pages.refresh()
            self._pages.mend()
            chosen: dict[str, Draft] = {}
            for draft in batch:
                known = chosen.get(draft.id)
                if isinstance(draft, Record):
                    if draft.source == FORMAT_SOURCE:
                        continue  # every network has its own
                    together = self._joined(draft, known)
                    if together is not None:
                        chosen[draft.id] = together
                elif known is None and not self._is_known(draft):
                    chosen[draft.id] = draft
            if chosen:
                self._store(list(chosen.values()))
        return [draft.id for draft in batch]

    def _is_known(self, draft: Draft) -> bool:
        """Whether this content is stored and counts, with all that it says of others."""
        catalogue = self._catalogue
        positions = catalogue.stored(draft.id)
        if not positions:
            return False
        if not catalogue.standing().counts(draft.id, catalogue.time(positions[-1])):
            return False
        said = {link for position in positions for link in catalogue.read(position).links}
        return not draft.flags & ACTS or said >= set(draft.links)

    def _joined(self, record: Record, known: Draft | None) -> Record | None:
        """``record`` joined with what is stored of it, or None when it adds nothing."""
        stored = [self._catalogue.read(p) for p in self._catalogue.stored(record.id)]
        stored += [known] if isinstance(known, Record) else []
        together = join([record, *stored])
        if stored and replace(together, sequence=0) == replace(join(stored), sequence=0):
            return None
        return together

    def _store(self, drafts: list[Draft]) -> None:
        """Appends drafts behind the last record, with one commit for each page."""
        pages, catalogue = self._pages, self._catalogue
        before = catalogue.directory().number
        now = to_microseconds(datetime.now(timezone.utc))
        moment = max(now, pages.header_at_end().time + 1)
        # A last record that claims the end of all times leaves none that is later.
        moment = moment if moment + len(drafts) < LATEST else now
        room = pages.room(self._page_rows)
        groups: list[list[Piece]] = [[]]
        for number, draft in enumerate(drafts):
            piece = make_piece(
                draft, before + 1 + number, from_microseconds(moment + number), self._draw
            )
            if piece.rows > MOST_ROWS:
                raise LimitError(
                    f"record of {piece.rows:,} rows is over the limit of {MOST_ROWS:,}: split it"
                )
            if piece.rows > room and (groups[-1] or len(groups) == 1):
                groups.append([])
                room = self._page_rows
            groups[-1].append(piece)
            room -= piece.rows
        if groups[0]:
            catalogue.added(pages.last, pages.append(groups[0]))
        for group in groups[1:]:
            places = pages.add_page(group)
            catalogue.added(pages.last, places)
