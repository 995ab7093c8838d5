"""Reads every byte and every pixel of a network and says what is not as it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pxvm.core.errors import PxvmError
from pxvm.learning.store import layout
from pxvm.learning.store.catalogue import decoded
from pxvm.learning.store.container import Page
from pxvm.learning.store.foreign import open_page
from pxvm.learning.store.pages import AnyPage, Pages
from pxvm.learning.store.pieces import Place
from pxvm.learning.store.record import Record

if TYPE_CHECKING:
    from pxvm.learning.store.store import Store


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written: on which page, in which record if in one."""

    page: str
    record: int | None
    what: str

    def __str__(self) -> str:
        where = "" if self.record is None else f", record {self.record}"
        return f"{self.page}{where}: {self.what}"


@dataclass
class Report:
    """What `verify` found: ``records`` are those that read back exactly."""

    pages: int = 0
    records: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


class _Verifier:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.report = Report()
        self._digest: bytes | None = layout.START
        self._sequence = -1
        self._probes: dict[str, str] = {}

    def page(self, number: int) -> None:
        """Verifies a page."""
        path = self._pages.page_path(number)
        self.report.pages += 1
        self._name = path.name
        try:
            page = open_page(self._pages.files, path)
        except FileNotFoundError:
            self._problem("the page is missing")
            self._digest = None
            return
        except PxvmError as error:
            self._problem(str(error))
            self._digest = None
            return
        try:
            self._records(page, number)
        finally:
            page.close()

    def _problem(self, what: str, place: Place | None = None) -> None:
        record = None if place is None else place.header.sequence
        self.report.problems.append(Problem(self._name, record, what))

    def _records(self, page: AnyPage, number: int) -> None:
        ours = isinstance(page, Page)
        if not ours:
            self.report.notes.append(
                f"{self._name} was saved by another program; the next append writes it anew"
            )
        elif not page.ours:
            self._problem("the first 512 bytes are not as they were written")
        elif not page.clean:
            self._problem("the end is not in order: opening for writing puts it right")
        row, adler = 0, 1
        for place in page.places():
            self._chain(place, number, row)
            if isinstance(page, Page):
                if place.header.adler != adler:
                    self._problem("pixels before it are not those it was written behind", place)
                self._frame(page, place)
                adler = page.adler_after(place) or place.header.adler
            self._content(page, place)
            row = place.header.row + place.header.rows
        for gap in page.gaps:
            self._problem(f"no whole record in {gap.start:,} to {gap.stop:,}")

    def _chain(self, place: Place, number: int, row: int) -> None:
        header = place.header
        if self._digest is not None and header.previous != self._digest:
            self._problem("the record before it is missing or another one", place)
        follows = layout.number_after(self._sequence, header.sequence)
        if header.sequence != follows:
            self._problem(f"its number does not follow {self._sequence}", place)
        if header.row != row:
            self._problem(f"it was written for row {header.row}, and stands in row {row}", place)
        if header.page != number or header.generation != self._pages.generation:
            self._problem(f"it was written for page {header.page}", place)
        self._digest, self._sequence = header.digest(), follows

    def _frame(self, page: Page, place: Place) -> None:
        if not page.link_is_whole(place):
            self._problem("the link before it is damaged", place)
        if not page.frame_is_whole(place):
            self._problem("the PNG chunks around it are damaged", place)

    def _content(self, page: AnyPage, place: Place) -> None:
        if page.text(place) is None:
            self._problem("its picture is damaged (its exact text may be whole)", place)
        try:
            record = decoded(page, place)
        except PxvmError as error:
            self._problem(str(error), place)
            return
        self.report.records += 1
        self._vectors(record, place)

    def _vectors(self, record: Record, place: Place) -> None:
        for vector in record.vectors:
            probe = self._probes.setdefault(vector.model, vector.probe)
            if vector.probe != probe:
                self._problem(
                    f"its vector is of another model named {vector.model!r}: probe {vector.probe}, "
                    f"others have {probe}; run `pxvm network reembed`",
                    place,
                )


def verify(network: Store, progress: Callable[[int, int], None] | None = None) -> Report:
    """Checks every byte of every page: frame, chain, checksums, hashes, pictures, vectors.

    ``progress`` is called with (pages done, pages).
    """
    pages = network._pages
    with network._turn:
        network.refresh()
        verifier = _Verifier(pages)
        for number in range(1, pages.last + 1):
            verifier.page(number)
            if progress is not None:
                progress(number, pages.last)
        for path in pages.beside():
            if path.name.endswith(".cut"):
                verifier.report.notes.append(
                    f"{path.name} holds bytes set aside after a crash; `pxvm network repair` looks "
                    "into it for records"
                )
    return verifier.report
