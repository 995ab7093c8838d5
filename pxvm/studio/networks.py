"""A network as the page sees it: records with their standing, growth, rows.

``Memory`` of ``studio/src/api.ts`` says the shapes; what the page reads from a file by itself is
the same, value for value.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import FormatError
from pxvm.learning import Network
from pxvm.learning.store.layout import ROW
from pxvm.learning.store.record import (
    ACTS,
    BOOKKEEPING,
    KINDS,
    Record,
    from_microseconds,
    to_microseconds,
)

MOST = 1000  # records, or parts of a history, of one request
MOST_ROWS = 20_000  # image rows of one request


class View:
    """A network at one moment.

    Args:
        network: stays open while this is used.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.entries, self.standing = network.entries(), network.standing()
        identities = [identity.tobytes() for identity in self.entries["id"]]
        self._last = {identity: place for place, identity in enumerate(identities)}
        ends = self.entries["row"].astype(np.int64) + self.entries["data_rows"]
        ends += self.entries["text_rows"]
        pages = self.entries["page"]
        heights = [int(ends[pages == n].max(initial=0)) for n in range(1, int(pages.max()) + 1)]
        self.bases = np.concatenate([[0], np.cumsum(heights)])
        self.ends = ends + self.bases[pages - 1]

    @property
    def rows(self) -> int:
        """Image rows of all pages."""
        return int(self.bases[-1])

    def records(self, first: int, count: int) -> list[dict[str, Any]]:
        """Records by their places in the order of storing; fewer at the end."""
        last = min(first + min(count, MOST), len(self.entries))
        return [self.at(place) for place in range(max(first, 0), last)]

    def numbered(self, number: int) -> dict[str, Any]:
        """A record by its number. Raises UnknownRecordError."""
        return self.at(self._place(number))

    def _place(self, number: int) -> int:
        self.network.locate(number)  # raises where there is none
        return int(np.flatnonzero(self.entries["sequence"] == number)[-1])

    def history(self, number: int) -> list[dict[str, Any]]:
        """All versions of a record and what was said of them, by time."""
        return [self.numbered(record.sequence) for record in self.network.history(number)]

    def at(self, place: int) -> dict[str, Any]:
        """The record at a place; what is damaged says why in its text."""
        entry = self.entries[place]
        number = int(entry["sequence"])
        first = int(entry["row"]) + int(self.bases[entry["page"] - 1])
        rows = {"first": first, "data": int(entry["data_rows"]), "text": int(entry["text_rows"])}
        shared = {"number": number, "rows": rows}
        try:
            record = self.network.record_at(number)
        except FormatError as error:
            kind = int(entry["kind"])
            return {
                **shared, "kind": KINDS[kind] if kind < len(KINDS) else "", "time": "",
                "title": "", "text": str(error), "source": "", "tags": [], "standing": "damaged",
                "meta": {"id": entry["id"].tobytes().hex(), "model": "", "stored": [],
                         "event": None, "links": [], "vectors": []},
            }  # fmt: skip
        return {
            **shared,
            **described(self.standing.with_tags(record)),
            "standing": self._word(place),
        }

    def _word(self, place: int) -> str:
        """What a record counts for."""
        entry = self.entries[place]
        identity, time = entry["id"].tobytes(), int(entry["time"])
        if entry["flags"] & BOOKKEEPING:
            return "about" if entry["flags"] & ACTS else "format"
        if self._last[identity] != place:
            return "repeated"
        if self.standing.counts(identity.hex(), time):
            return "standing"
        if self.standing.is_forgotten(identity.hex(), time):
            return "forgotten"
        return "corrected" if identity.hex() in self.standing.corrections else "replaced"

    def growth(self, parts: int) -> Iterator[dict[str, Any]]:
        """At most so many points of how it grew, the last of them now."""
        whole = len(self.entries)
        count = min(max(parts, 1), MOST, whole)
        for part in range(1, count + 1):
            place = -(-part * whole // count) - 1
            moment = from_microseconds(int(self.entries[place]["time"]))
            yield {"time": iso(moment), "records": place + 1, "rows": int(self.ends[place])}

    def bits(self, first: int, count: int) -> NDArray[np.uint8]:
        """Image rows of all pages under one another, packed, (rows, 128)."""
        first = max(first, 0)
        last = min(first + min(count, MOST_ROWS), self.rows)
        found = np.zeros((max(last - first, 0), ROW), np.uint8)
        for place in range(int(np.searchsorted(self.ends, first, "right")), len(self.entries)):
            entry = self.entries[place]
            start = int(entry["row"]) + int(self.bases[entry["page"] - 1])
            if start >= last:
                break
            try:
                pixels = self.network.pixels(int(entry["sequence"]))[max(first - start, 0) :]
            except FormatError:
                continue
            at = max(start - first, 0)
            found[at : at + len(pixels)] = pixels[: len(found) - at]
        return found


def described(record: Record) -> dict[str, Any]:
    """A record's own fields as the page has them."""
    return {
        "kind": record.kind,
        "time": iso(record.event_time or record.record_time),
        "title": record.query,
        "text": record.answer,
        "source": record.source,
        "tags": list(record.tags),
        "meta": {
            "id": record.id,
            "model": record.model,
            "stored": [iso(moment) for moment in record.times],
            "event": record.event_time and iso(record.event_time),
            "links": [link._asdict() for link in record.links],
            "vectors": [vector.model for vector in record.vectors],
        },
    }


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def moment_of(text: str) -> datetime:
    """An aware time of ISO 8601, a day as its beginning in UTC. Raises ValueError."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    to_microseconds(found)
    return found
