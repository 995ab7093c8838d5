"""Experience as records of the knowledge network, and what is made of them.

A record of kind ``program`` holds a program that an attempt ended with, in font-code, which is the
picture pixel by pixel, and is drawn as that picture; a record of kind ``measurement`` holds an
attempt that found none. Both say task, outcome and cost in a line of JSON. Nothing a record claims
is believed: its program is verified, and computes the record's own examples, before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from pxvm.coach.errors import TaskError
from pxvm.coach.expression import Expression, evaluate, text
from pxvm.coach.phrases import Phrases
from pxvm.coach.pictures import MOST_PIXELS, Admitted, admit, read, right
from pxvm.coach.pieces import Library
from pxvm.coach.task import Task, task_of
from pxvm.core.errors import FormatError, PxvmError
from pxvm.core.fontcode import assemble, disassemble
from pxvm.learning import Link, Network
from pxvm.learning.store.record import KINDS, Record

TAG = "coach"
SOLVED, WRONG, UNSOLVED = "solved", "wrong", "unsolved"
RECALLED = "recalled"  # the link from an attempt to the record whose program it used
OUTCOMES = (SOLVED, WRONG, UNSOLVED)
MOST_CODE = 1 << 16  # characters of a program in a record
MOST_SPENT = 10**9  # candidates of a proposer
_PROGRAM = re.compile(r"^```pxi\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FACTS = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"^\.image (\d{1,5})x(\d{1,5})$", re.MULTILINE)


@dataclass(frozen=True)
class Experience:
    """An attempt that a record tells of.

    Attributes:
        by: the proposer of the program, "" where there is none.
        spent: candidates of each proposer.
        code: font-code of the program, "" where there is none.
        admitted: the program, verified.
        expression: what it computes, None where it is more than an expression.
        doubt: why the record is not used, "" where it is.
        origin: id of the record that the program was recalled from, "" where it was found anew.
    """

    id: str
    sequence: int
    task: Task
    outcome: str
    by: str
    spent: Mapping[str, int]
    code: str = ""
    admitted: Admitted | None = None
    expression: Expression | None = None
    doubt: str = ""
    origin: str = ""

    @property
    def candidates(self) -> int:
        """Candidates in all."""
        return sum(self.spent.values())


def from_code(code: str) -> Any:
    """The picture that font-code of a stranger spells. Raises TaskError, AssemblyError."""
    size = _IMAGE.search(code)
    if size is None or len(code) > MOST_CODE or int(size[1]) * int(size[2]) > MOST_PIXELS:
        raise TaskError(
            f"expected font-code of at most {MOST_CODE} characters with .image of at most"
            f" {MOST_PIXELS} pixels"
        )
    return assemble(code)


def experience_of(record: Record) -> Experience | None:
    """What a record tells; None of a record that is not the coach's."""
    facts = _FACTS.search(record.answer)
    if facts is None or record.kind not in ("program", "measurement"):
        return None
    try:
        data = json.loads(facts[1])
        task = task_of(data.get("task"), f"record {record.sequence}")
        outcome, by, spent = data["outcome"], data["by"], data["spent"]
        if (
            outcome not in OUTCOMES
            or not isinstance(by, str)
            or not all(type(v) is int and 0 <= v <= MOST_SPENT for v in spent.values())
        ):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    origin = next((link.id for link in record.links if link.relation == RECALLED), "")
    base = Experience(record.id, record.sequence, task, outcome, by, spent, origin=origin)
    found = _PROGRAM.search(record.answer)
    if found is None:
        doubt = "" if outcome == UNSOLVED else "it holds no program"
        return replace(base, doubt=doubt)
    return replace(base, **_judged(found[1], task, outcome))


def _judged(code: str, task: Task, outcome: str) -> dict[str, Any]:
    """A stranger's program, and whether it does what its record says."""
    try:
        admitted = admit(from_code(code), task.inputs, task.output)
    except PxvmError as error:
        return {"code": code, "doubt": str(error)}
    expression = read(admitted)
    if expression is not None:
        same = (evaluate(expression, task.given) == task.wanted).all(axis=(1, 2))
        shown, hidden = bool(same[~task.hidden].all()), bool(same[task.hidden].all())
    else:
        shown, hidden = right(admitted, task)
    found = SOLVED if shown and hidden else WRONG if shown else UNSOLVED
    doubt = "" if found == outcome else f"its program is {found}, not {outcome}"
    return {"code": code, "admitted": admitted, "expression": expression, "doubt": doubt}


class Memory:
    """The experience in a network, kept up with what is appended, merged and forgotten.

    Args:
        network: None remembers nothing.
    """

    def __init__(self, network: Network | None) -> None:
        self.network = network
        self.library, self.phrases = Library(), Phrases()
        self._known: dict[str, Experience | None] = {}
        self._state: Any = None

    def refresh(self) -> None:
        """Take in what is new, and let go of what was forgotten."""
        if self.network is None or self.network.state == self._state:
            return
        self._state = self.network.state
        entries, live = self.network.entries(), self.network.live_ids()
        wanted = np.isin(entries["kind"], [KINDS.index("program"), KINDS.index("measurement")])
        there = dict.fromkeys(i.tobytes().hex() for i in entries["id"][wanted])
        now = [identity for identity in there if identity in live]
        for identity in set(self._known) - set(now):
            self._untake(identity)
            del self._known[identity]
        for identity in now:
            if identity not in self._known:
                try:
                    self._take(identity, experience_of(self.network.record(identity)))
                except FormatError:  # damaged: `pxvm network verify` tells
                    self._known[identity] = None
        for identity, e in self._known.items():
            if e is not None and e.origin and e.origin not in live and not e.doubt:
                self._untake(identity)  # who forgets a program does not want its copies either
                self._known[identity] = replace(e, doubt="what it was recalled from is forgotten")

    def _untake(self, identity: str) -> None:
        self.library.forget(identity)
        self.phrases.forget(identity)

    def _take(self, identity: str, found: Experience | None) -> None:
        self._known[identity] = found
        if found and found.outcome == SOLVED and not found.doubt and found.expression:
            shapes = list(found.task.inputs.values())
            self.library.add(identity, found.expression, shapes, found.task.words)
            self.phrases.add(identity, found.task.words, list(found.task.inputs), found.expression)

    def all(self) -> Iterator[Experience]:
        """Every attempt in the order of the records, those in doubt as well."""
        found = [e for e in self._known.values() if e is not None]
        yield from sorted(found, key=lambda e: e.sequence)

    def trusted(self) -> Iterator[Experience]:
        """Attempts whose records are true."""
        return (e for e in self.all() if not e.doubt)

    def store(self, task: Task, outcome: str, by: str, spent: Mapping[str, int], *,
              image: Any = None, expression: Expression | None = None,
              recalled: str | None = None) -> str:  # fmt: skip
        """Append an attempt; the record's id, "" without a network."""
        if self.network is None:
            return ""
        facts = {"outcome": outcome, "by": by, "spent": dict(spent), "task": task.as_data()}
        total = sum(spent.values())
        parts = [f"{outcome}{f' by {by}' if by else ''} after {total:,} candidates"]
        if expression is not None:
            parts.append(text(expression, list(task.inputs)))
        if image is not None:
            parts.append(f"```pxi\n{disassemble(image).rstrip()}\n```")
        parts.append(f"```json\n{json.dumps(facts, separators=(',', ':'))}\n```")
        said = task.name if task.words in ("", task.name) else f"{task.name}: {task.words}"
        return self.network.append(
            said,
            "\n".join(parts),
            tags=[TAG],
            kind="program" if image is not None else "measurement",
            source="pxvm:coach",
            event_time=datetime.now(timezone.utc),
            links=[Link(RECALLED, recalled)] if recalled else [],
        )
