"""Measurements as records of the knowledge network: written, and read as what anyone may have said.

A record of kind ``measurement`` holds one in a line of JSON. What is not of the form that this
version writes, or not a number in its range, is no measurement; a false one that is of that form
makes a later choice worse, never a result wrong, for what comes out is measured before it is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any, TypeVar

from pxvm.core.choices import WORK
from pxvm.core.errors import FormatError
from pxvm.learning import Network
from pxvm.learning.store.record import KINDS, Draft
from pxvm.tuning.weights import CHOICES, FEATURES

TAG, SOURCE = "tuning", "pxvm:tune"
LARGEST, LONGEST, MOST = 1e15, 200, 1e6
_FACTS = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Damage:
    """What one weight stored in another way did to a model.

    Attributes:
        model: names the checkpoint; damages are compared within one.
        change: how far the weight is from the default's; see ``Weight.change``.
        damage: how far the model's outputs are from the default's: for a language model nats
            (Kullback-Leibler), for an embedder 1 minus the cosine.
        bytes: of the weight, so stored.
        seconds: that the model took.
    """

    model: str
    tensor: str
    choice: str
    features: tuple[float, ...]
    change: float
    damage: float
    bytes: int
    seconds: float

    def __post_init__(self) -> None:
        if self.choice not in CHOICES or len(self.features) != len(FEATURES):
            raise ValueError("another choice, or other features")
        if not (0 < self.change < 1e3 and all(-1e3 < f < 1e3 for f in self.features)):
            raise ValueError("a number out of range")

    @property
    def said(self) -> str:
        """In words."""
        return (
            f"{self.tensor} of {self.model} as {self.choice}: damage {self.damage:.3g},"
            f" {self.bytes:,} bytes, the model took {self.seconds:.3g} s"
        )


@dataclass(frozen=True)
class Pace:
    """What one way of running a program took.

    Attributes:
        program: its shape; see ``choices.shape_of``.
        machine: processor and system; see ``choices.machine``.
        work: what was run: one of ``choices.WORK``.
        settings: of ``choices.settings``, as JSON.
        seconds: the median of the rounds.
        ratio: the default's seconds over these, round by round, the median.
        decides: 1 where it is of the rounds that decide, 0 of a first look.
    """

    program: str
    machine: str
    work: str
    settings: str
    seconds: float
    ratio: float
    decides: int

    def __post_init__(self) -> None:
        if self.decides not in (0, 1) or not (0 < self.ratio < MOST and self.seconds > 0):
            raise ValueError("a number out of range")
        if self.work not in WORK:
            raise ValueError("another kind of work")

    @property
    def said(self) -> str:
        """In words."""
        return (
            f"{self.work} of {self.program} on {self.machine} with {self.settings}:"
            f" {self.seconds:.3g} s, {self.ratio:.3f} times as fast as the default"
        )


Measured = TypeVar("Measured", Damage, Pace)


def store(network: Network, measured: Iterable[Damage | Pace]) -> list[str]:
    """Append measurements with one commit; their ids."""
    now = datetime.now(timezone.utc)
    return network.append_many(
        Draft(
            query=f"measured: {type(m).__name__.lower()}",
            answer=f"{m.said}\n```json\n{json.dumps(asdict(m), separators=(',', ':'))}\n```",
            tags=(TAG, type(m).__name__.lower()),
            kind="measurement",
            source=SOURCE,
            event_time=now,
        )
        for m in measured
    )


def read(network: Network, kind: type[Measured]) -> Iterator[Measured]:
    """The measurements of one kind that are in force, in the order of the records."""
    network.refresh()
    entries, live = network.entries(), network.live_ids()
    there = entries[entries["kind"] == KINDS.index("measurement")]
    for identity in dict.fromkeys(i.tobytes().hex() for i in there["id"]):
        if identity in live:
            try:
                found = measured_of(network.record(identity).answer, kind)
            except FormatError:  # damaged: `pxvm network verify` tells
                continue
            if found is not None:
                yield found


def measured_of(answer: str, kind: type[Measured]) -> Measured | None:
    """What a record's text says; None where that is no such measurement."""
    facts = _FACTS.search(answer)
    if facts is None:
        return None
    try:
        data = json.loads(facts[1])
        wanted = {field.name: str(field.type) for field in fields(kind)}
        if not isinstance(data, dict) or data.keys() != wanted.keys():
            return None
        return kind(**{name: _value(data[name], wanted[name]) for name in wanted})
    except (ValueError, TypeError, RecursionError):
        return None


def _value(value: Any, kind: str) -> Any:
    """A value of a field. Raises ValueError."""
    if kind == "str":
        if not isinstance(value, str) or len(value) > LONGEST:
            raise ValueError("expected a short text")
        return value
    if kind.startswith("tuple"):
        return tuple(_value(each, "float") for each in value if not isinstance(value, str))
    exact = type(value) is int or (kind == "float" and type(value) is float)
    if not exact or not abs(value) <= LARGEST:  # which NaN is not
        raise ValueError("expected a number")
    if value < 0 and kind == "int":
        raise ValueError("expected a number of at least 0")
    return value
