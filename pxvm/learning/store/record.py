"""What a record is: its fields, the hash that names it, and its exact bytes.

A `Draft` is what somebody wants to have remembered; a `Record` is a draft that has been stored, so
it has a number and a time. Both are values: nothing here knows of files or pixels.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from pxvm.core.errors import FormatError, LimitError
from pxvm.learning.errors import RecordError

# The place in this tuple is the number in the pixels: append only.
KINDS = (
    "interaction",
    "note",
    "document",
    "correction",
    "tombstone",
    "program",
    "measurement",
)
RELATIONS = ("corrects", "forgets", "tags", "supersedes", "next", "recalled")
#: Bits of a header's flags: the record changes what others count for; it is no content itself.
ACTS, BOOKKEEPING = 1, 2
#: Source of the record that explains the format.
FORMAT_SOURCE = "pxvm:format"

STORED, DEFLATED = 0, 1
#: Most bytes of a record's text; a larger one is refused rather than drawn over many pages.
MAX_TEXT = 16 << 20
#: Most bytes of a record's JSON, in which a control character takes six and a storing's time 17.
MAX_RAW = 8 * MAX_TEXT
#: Most bytes of a record's vectors: a hundred of the largest there may be.
MAX_VECTORS = 100 * 65_535
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Link(NamedTuple):
    """One record names another: ``relation`` is in `RELATIONS`, ``id`` 64 hexadecimal digits."""

    relation: str
    id: str


@dataclass(frozen=True, eq=False)
class Vector:
    """An embedding: ``values`` int8 of shape (dimension,), times ``scale`` the real numbers.

    ``probe`` is a hash of what the model answers to a fixed text: it tells two models of one name
    apart.
    """

    model: str
    probe: str
    values: NDArray[np.int8]
    scale: float

    def __post_init__(self) -> None:
        values = self.values if type(self.values) is np.ndarray else np.asarray(self.values)
        if values.dtype != np.int8 or values.ndim != 1 or not 0 < values.size < 65536:
            raise RecordError(
                f"vector of {self.model!r}: expected int8 values of shape (dimension,), "
                f"found {values.dtype} of shape {values.shape}"
            )
        for name in ("model", "probe"):
            _text(getattr(self, name), f"a vector's {name}")
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float, np.floating)):
            raise RecordError(f"vector of {self.model!r}: the scale must be a number")
        if not isfinite(self.scale):
            raise RecordError(f"vector of {self.model!r}: scale {self.scale} is not finite")

    def key(self) -> tuple[str, str, float, bytes]:
        return self.model, self.probe, float(self.scale), self.values.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())


def to_microseconds(moment: datetime, name: str = "time") -> int:
    """Microseconds since 1970 in UTC, exactly. Raises `RecordError` for a time without a zone."""
    if not isinstance(moment, datetime):
        raise RecordError(f"{name} must be a datetime, found {type(moment).__name__}")
    if moment.tzinfo is None:
        raise RecordError(f"{name} {moment} has no time zone: give one, e.g. timezone.utc")
    return (moment - EPOCH) // _MICROSECOND


LATEST = to_microseconds(datetime.max.replace(tzinfo=timezone.utc))


def from_microseconds(count: int) -> datetime:
    """The aware UTC datetime that ``count`` microseconds since 1970 name."""
    try:
        return EPOCH + timedelta(microseconds=count)
    except OverflowError:
        raise FormatError(f"time of {count} microseconds is outside the years 1 to 9999") from None


def several(values: Iterable[str], name: str) -> tuple[str, ...]:
    """A list of texts that somebody gave, of which one alone would be taken for its letters."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise RecordError(f"{name} must be a list of texts, found {values!r:.80}")
    return tuple(_text(value, name) for value in values)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f"{name} must be text, found {type(value).__name__}")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RecordError(
            f"{name} holds a lone surrogate U+{ord(value[error.start]):04X} at character "
            f"{error.start}, which is no Unicode text: decode its source with errors='replace'"
        ) from None
    return value


def _link(given: Sequence[str]) -> Link:
    if isinstance(given, str) or len(given) != 2:
        raise RecordError(f"a link must be (relation, id), found {given!r:.80}")
    relation, identity = given
    return Link(_text(relation, "a link's relation"), _text(identity, "a link's id"))


@dataclass(frozen=True)
class Draft:
    """What is to be stored. Raises `RecordError` when a field cannot be kept exactly.

    ``tags``, ``links`` and ``vectors`` become sorted and unique; ``event_time`` has a zone and
    becomes UTC.
    """

    query: str
    answer: str
    tags: tuple[str, ...] = ()
    kind: str = "interaction"
    source: str = ""
    model: str = ""
    event_time: datetime | None = None
    links: tuple[Link, ...] = ()
    vectors: tuple[Vector, ...] = ()

    def __post_init__(self) -> None:
        for name in ("query", "answer", "source", "model"):
            _text(getattr(self, name), name)
        if self.kind not in KINDS:
            raise RecordError(f"unknown kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        tags = several(self.tags, "tags")
        for tag in tags:
            if not tag or tag != " ".join(tag.split()):
                raise RecordError(f"tag {tag!r} is empty or has spaces at its ends or line breaks")
        set_field = object.__setattr__
        set_field(self, "tags", tuple(sorted(set(tags))))
        set_field(self, "links", tuple(sorted(set(map(_link, self.links)))))
        set_field(self, "vectors", tuple(sorted(set(self.vectors), key=Vector.key)))
        for link in self.links:
            if link.relation not in RELATIONS:
                raise RecordError(
                    f"unknown relation {link.relation!r}: expected one of {', '.join(RELATIONS)}"
                )
            if len(link.id) != 64 or set(link.id) - set("0123456789abcdef"):
                raise RecordError(f"link to {link.id!r}: expected 64 hexadecimal digits")
        if self.event_time is not None:
            exact = from_microseconds(to_microseconds(self.event_time, "event_time"))
            set_field(self, "event_time", exact)
        size = sum(len(t.encode()) for t in (self.query, self.answer, self.source, *self.tags))
        if size > MAX_TEXT:
            raise LimitError(
                f"record of {size:,} bytes of text is over the limit of {MAX_TEXT:,}: split it"
            )

    @cached_property
    def id(self) -> str:
        """SHA-256 over kind, query, answer, source, event time and tags, 64 hexadecimal digits."""
        event = "" if self.event_time is None else str(to_microseconds(self.event_time))
        said: list[bytes] = []
        for part in (self.kind, self.query, self.answer, self.source, event, *self.tags):
            data = part.encode()
            said += (len(data).to_bytes(8, "big"), data)
        return hashlib.sha256(b"".join(said)).hexdigest()

    @property
    def flags(self) -> int:
        """`ACTS` if it corrects, supersedes, forgets or tags; `BOOKKEEPING` if no more."""
        relations = {link.relation for link in self.links}
        flags = ACTS if relations & {"corrects", "supersedes", "forgets", "tags"} else 0
        if relations & {"forgets", "tags"} or self.source == FORMAT_SOURCE:
            flags |= BOOKKEEPING
        return flags


@dataclass(frozen=True, kw_only=True)
class Record(Draft):
    """A draft that has been stored.

    ``sequence`` is its number in this network, ``record_time`` when it was first stored;
    ``stored_again`` holds the later times at which the same content was stored here or in networks
    merged into this one, ascending.
    """

    sequence: int
    record_time: datetime
    stored_again: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, draft: Draft, sequence: int, record_time: datetime) -> Record:
        """``draft`` as stored; it was checked when it was made, and is not checked again."""
        record = object.__new__(cls)
        record.__dict__.update(draft.__dict__)
        record.__dict__.update(sequence=sequence, record_time=record_time, stored_again=())
        return record

    @property
    def times(self) -> tuple[datetime, ...]:
        """Every time at which this content was stored, ascending."""
        return (self.record_time, *self.stored_again)

    def draft(self) -> Draft:
        """The same content without number and times."""
        return Draft(**{f.name: getattr(self, f.name) for f in fields(Draft)})


@dataclass(frozen=True)
class Payload:
    """A record's exact bytes: ``data`` is the text as stored, then the vectors' int8 values."""

    codec: int
    stored: int
    raw: int
    vectors: int
    data: bytes = field(repr=False)


def encode(draft: Draft) -> Payload:
    """The bytes of a draft or record: JSON in UTF-8, deflated if that is shorter, then vectors."""
    described: dict[str, Any] = {"query": draft.query, "answer": draft.answer}
    if draft.tags:
        described["tags"] = draft.tags
    if draft.source:
        described["source"] = draft.source
    if draft.model:
        described["model"] = draft.model
    if draft.event_time is not None:
        described["event_time"] = to_microseconds(draft.event_time)
    if draft.links:
        described["links"] = draft.links
    if draft.vectors:
        described["vectors"] = [
            [v.model, v.probe, len(v.values), float(v.scale)] for v in draft.vectors
        ]
    if isinstance(draft, Record) and draft.stored_again:
        described["stored_before"] = [to_microseconds(moment) for moment in draft.times[:-1]]
    raw = _JSON.encode(described).encode()
    packed, codec = zlib_ng.compress(raw, 6), DEFLATED
    if len(packed) >= len(raw):
        packed, codec = raw, STORED
    vectors = b"".join(v.values.tobytes() for v in draft.vectors)
    return Payload(codec, len(packed), len(raw), len(vectors), packed + vectors)


def _expand(codec: int, stored: bytes, raw: int) -> bytes:
    if codec == STORED:
        return stored
    if codec != DEFLATED:
        raise FormatError(f"unknown codec {codec}: the file is of a newer version of the format")
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(stored, raw + 1)
    except zlib.error as error:
        raise FormatError(f"text does not inflate: {error}") from None
    if len(text) != raw or not inflater.eof:
        raise FormatError(f"text of {len(text)} bytes where the header says {raw}")
    return text


def decode(payload: Payload, *, kind: int, sequence: int, time: int, identity: bytes) -> Record:
    """The record that ``payload`` and its header's fields hold; the opposite of `encode`.

    ``kind`` is a place in `KINDS`, ``time`` the newest storing in microseconds, ``identity`` the 32
    bytes of the id. Raises `FormatError` when the bytes are not a record, or not that one.
    """
    if kind >= len(KINDS):
        raise FormatError(f"record {sequence}: unknown kind {kind}")
    if max(payload.raw, payload.stored) > MAX_RAW or payload.vectors > MAX_VECTORS:
        raise FormatError(
            f"record {sequence}: {max(payload.raw, payload.stored):,} bytes of text and "
            f"{payload.vectors:,} of vectors are over the format's limits of {MAX_RAW:,} and "
            f"{MAX_VECTORS:,}"
        )
    text = _expand(payload.codec, payload.data[: payload.stored], payload.raw)
    try:
        described = json.loads(text.decode())
        vectors, position = [], payload.stored
        for model, probe, dimension, scale in described.get("vectors", ()):
            if type(dimension) is not int or dimension <= 0:
                raise FormatError(f"record {sequence}: a vector of dimension {dimension!r:.40}")
            values = np.frombuffer(payload.data, np.int8, dimension, position)
            vectors.append(Vector(model, probe, values, scale))
            position += dimension
        event = described.get("event_time")
        times = [from_microseconds(t) for t in (*described.get("stored_before", ()), time)]
        record = _everyday(described, text, kind, sequence, times, vectors) or Record(
            query=described["query"],
            answer=described["answer"],
            tags=tuple(described.get("tags", ())),
            kind=KINDS[kind],
            source=described.get("source", ""),
            model=described.get("model", ""),
            event_time=None if event is None else from_microseconds(event),
            links=tuple(Link(*link) for link in described.get("links", ())),
            vectors=tuple(vectors),
            sequence=sequence,
            record_time=times[0],
            stored_again=tuple(times[1:]),
        )
    except FormatError:
        raise
    except RecursionError:
        raise FormatError(f"record {sequence}: its JSON is nested too deeply") from None
    except (RecordError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"record {sequence}: {error!s:.200}") from None
    if record.id != identity.hex():
        raise FormatError(
            f"record {sequence}: content hashes to {record.id[:12]}, header says "
            f"{identity.hex()[:12]}"
        )
    return record


def _everyday(
    described: dict[str, Any],
    text: bytes,
    kind: int,
    sequence: int,
    times: list[datetime],
    vectors: list[Vector],
) -> Record | None:
    """The record, if it is of the form that most have, of which nothing needs to be sorted, and no
    more be looked at than here: the others are made, and checked, as drafts are."""
    texts = [described["query"], described["answer"]]
    texts += [described.get("source", ""), described.get("model", "")]
    event = described.get("event_time")
    usual = described.keys().isdisjoint(("tags", "links", "stored_before")) and len(vectors) <= 1
    # Without escapes there are no half characters, and no text is longer than all of it.
    if not (usual and {str} == set(map(type, texts)) and type(event) in (int, type(None))):
        return None
    if b"\\u" in text or len(text) > MAX_TEXT:
        return None
    record = object.__new__(Record)
    record.__dict__.update(
        query=texts[0],
        answer=texts[1],
        tags=(),
        kind=KINDS[kind],
        source=texts[2],
        model=texts[3],
        event_time=None if event is None else from_microseconds(event),
        links=(),
        vectors=tuple(vectors),
        sequence=sequence,
        record_time=times[0],
        stored_again=(),
    )
    return record


def join(records: Sequence[Record]) -> Record:
    """One record of several of the same id, whatever their order: all times, links and vectors.

    The number is the smallest; a merge renumbers anyway.
    """
    first = min(records, key=lambda r: (r.record_time, r.sequence))
    times = sorted({moment for r in records for moment in r.times})
    values = {f.name: getattr(first, f.name) for f in fields(Draft)} | {
        "model": max(r.model for r in records),
        "links": tuple(link for r in records for link in r.links),
        "vectors": tuple(vector for r in records for vector in r.vectors),
    }
    return Record(
        **values,
        sequence=min(r.sequence for r in records),
        record_time=times[0],
        stored_again=tuple(times[1:]),
    )
