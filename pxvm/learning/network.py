"""A network: its store, and over it search, change, care and exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pxvm.learning.errors import RecordError, UnknownRecordError
from pxvm.learning.store import layout
from pxvm.learning.store.pages import page_bytes
from pxvm.learning.store.record import (
    ACTS,
    BOOKKEEPING,
    FORMAT_SOURCE,
    KINDS,
    Draft,
    Link,
    Record,
    Vector,
    from_microseconds,
    several,
)
from pxvm.learning.store.standing import forget_lines, tag_lines, text_of
from pxvm.learning.store.store import Store

if TYPE_CHECKING:
    from pxvm.learning.care.maintenance import Outcome
    from pxvm.learning.care.verifying import Report
    from pxvm.learning.search.embedding import Embedder
    from pxvm.learning.search.search import Hit


class Network(Store):
    """A knowledge network; made by `Network.open`.

    One object may be used by several threads, one network by several processes: writers take turns,
    readers never wait.
    """

    def search(
        self,
        text: str,
        k: int = 10,
        *,
        kinds: Sequence[str] = (),
        tags: Sequence[str] = (),
        source: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        device: str = "auto",
        embedder: Embedder | Literal["auto"] | None = "auto",
        now: datetime | None = None,
        unsearched: list[int] | None = None,
    ) -> list[Hit]:
        """The ``k`` best hits for ``text``, best first; keywords as in `search.search`.

        A large network that is not indexed yet is indexed first; with ``unsearched`` the answer is
        of its newest records until that is done, and how many others there are is added there.
        """
        from pxvm.learning.search.search import search

        return search(
            self,
            text,
            k,
            kinds=kinds,
            tags=tags,
            source=source,
            since=since,
            until=until,
            device=device,
            embedder=embedder,
            now=now,
            unsearched=unsearched,
        )

    # -- forgetting, correcting, tagging: records like any other ---------------------------------

    def forget(self, *names: str | int, versions: bool = True) -> str:
        """Marks records as forgotten; returns the id of the tombstone.

        With ``versions`` all versions of each, corrected and superseded ones; else just these.
        What they say is not learned again, under whatever name a file says it. Until `compact`
        their text is still in the file. Raises `UnknownRecordError`, and `RecordError` for the
        record that explains the format.
        """
        with self._turn:
            catalogue = self._catalogue
            identities: set[str] = set()
            for name in names:
                record = self.record(name)
                if record.source == FORMAT_SOURCE:
                    raise RecordError(
                        f"record {record.sequence} explains the format to whoever finds the file: "
                        "it cannot be forgotten"
                    )
                found = catalogue.standing().versions(record.id) if versions else {record.id}
                identities |= found
            if not identities:
                raise UnknownRecordError("nothing to forget: give at least one id or number")
            targets = sorted(identities)
            stored = (place for i in targets for place in catalogue.stored(i)[-1:])
            texts = [text_of(record) for record in catalogue.readable(stored)]
            return self.append(
                "",
                forget_lines(targets, texts),
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
            add, remove = set(several(add, "tags")), set(several(remove, "tags"))
            target = self._newest(name)
            changes = Draft("", "", tags=(*add, *remove)).tags
            if add - set(target.tags) or remove & set(target.tags):
                self.append(
                    "",
                    tag_lines(target.id, add, remove),
                    tags=changes,
                    kind="correction",
                    event_time=datetime.now(timezone.utc),
                    links=[Link("tags", target.id)],
                )
            return target.id

    def _newest(self, name: str | int) -> Record:
        """The version of a record that counts, or the newest when none does.

        Raises:
            RecordError: it was forgotten: a change of it would bring its text back; or it is the
                network's own.
        """
        named = self.record(name)
        if named.flags & BOOKKEEPING:
            raise RecordError(
                f"record {named.sequence} is the network's own, of how the file is read or of what"
                " was forgotten or tagged: it cannot be changed"
            )
        identity = named.id
        catalogue, standing = self._catalogue, self._catalogue.standing()
        found = []
        for version in standing.versions(identity):
            for position in catalogue.stored(version)[-1:]:
                time = catalogue.time(position)
                found.append((standing.counts(version, time), time, position))
        counts, time, position = max(found)
        record = standing.with_tags(catalogue.read(position))
        if not counts and standing.is_forgotten(record.id, time):
            raise RecordError(f"record {record.sequence} is forgotten: it cannot be changed")
        return record

    # -- care: see maintenance.py and verifying.py -----------------------------------------------

    @staticmethod
    def merge(first: Network, second: Network, target: str | Path) -> Outcome:
        """Writes the union of two networks by content to ``target``."""
        from pxvm.learning.care import maintenance

        return maintenance.merge(first, second, target)

    def compact(self, target: str | Path | None = None, *, history: bool = False) -> Outcome:
        """Erases what was forgotten or replaced, truly: in a new file, or in place in one step.

        With ``history`` what was replaced by a newer version stays."""
        from pxvm.learning.care import maintenance

        return maintenance.compact(self, target, history=history)

    def export(self, path: str | Path, *, current: bool = False) -> int:
        """Writes the records as JSONL, Markdown, Parquet or Arrow; see `exchange.export`."""
        from pxvm.learning.exchange.exchange import export

        return export(self, Path(path), current=current)

    def export_single(self, target: str | Path) -> Outcome:
        """Writes all pages as one file."""
        from pxvm.learning.care import maintenance

        return maintenance.export_single(self, target)

    def reembed(
        self,
        embed: Callable[[Sequence[Record]], Sequence[Sequence[Vector]]],
        target: str | Path | None = None,
    ) -> Outcome:
        """Gives every record the vectors that ``embed`` answers for it."""
        from pxvm.learning.care import maintenance

        return maintenance.reembed(self, embed, target)

    def verify(self) -> Report:
        """Checks every byte of every page."""
        from pxvm.learning.care.verifying import verify

        return verify(self)

    def repair(self, target: str | Path) -> Outcome:
        """Writes every record that is still whole to ``target``."""
        from pxvm.learning.care import maintenance

        return maintenance.repair(self, target)

    def stats(self) -> dict[str, Any]:
        """Counts, bytes and times, ready for JSON.

        Of the ``stored`` records, ``records`` are in force, ``format`` explain the format,
        ``about_others`` only forget others or change their tags, ``past`` are the rest: replaced,
        forgotten, or stored again later.
        """
        with self._turn:
            self.refresh()
            entries, live = self._catalogue.directory().entries, self._catalogue.live()
            size = page_bytes(self._pages)
            kinds = np.bincount(entries["kind"][live], minlength=len(KINDS)).tolist()
            flags = entries["flags"]
            explains = int((flags == BOOKKEEPING).sum())
            others = int((flags == BOOKKEEPING | ACTS).sum())
            exact = int(entries["data_rows"].sum()) * layout.LINE
            return {
                "path": str(self.path),
                "records": len(live),
                "stored": len(entries),
                "format": explains,
                "about_others": others,
                "past": len(entries) - len(live) - explains - others,
                "kinds": {kind: count for kind, count in zip(KINDS, kinds, strict=True) if count},
                "pages": self._pages.last,
                "rows": int((entries["data_rows"] + entries["text_rows"]).sum()),
                "bytes": size,
                "exact_bytes": exact,
                "generation": self._pages.generation,
                "first": from_microseconds(int(entries["time"].min())).isoformat(),
                "last": from_microseconds(int(entries["time"].max())).isoformat(),
            }
