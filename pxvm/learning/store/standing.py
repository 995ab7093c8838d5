"""What a record counts for, after all that later records say of it.

Correcting, superseding, forgetting and tagging are records with links. Each link has the time of
its record, so that two networks that are merged agree whatever the order. The newest word wins:
content that is stored again after it was forgotten counts again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from pxvm.learning.store.record import Draft, Record, to_microseconds

#: A passage of fewer characters says what it says only under its headings.
_ALONE = 12
_TEXTS = "Their texts, wherever they stand:"
_ENDING = frozenset({"corrects", "supersedes", "forgets"})


def tag_lines(target: str, add: Iterable[str], remove: Iterable[str]) -> str:
    """The answer of a record that changes tags; `Standing.take` reads it back."""
    changes = [f"+{tag}" for tag in sorted(set(add))] + [f"-{tag}" for tag in sorted(set(remove))]
    return "\n".join([f"Tags of {target}:", *changes])


def text_of(draft: Draft) -> str:
    """The hash of what a draft says, whatever it is from: 64 hexadecimal digits.

    A document's passage is its text alone, so that it is known under another name of its file, in
    another file, under other headings; anything else is all of it but source and tags.
    """
    query = draft.query
    if draft.kind == "document":
        name = draft.source.rpartition("/")[2]
        query = "" if len(draft.answer) >= _ALONE else query.removeprefix(name)
    return replace(draft, query=query, source="", tags=(), links=(), vectors=()).id


def forget_lines(targets: Iterable[str], texts: Iterable[str]) -> str:
    """The answer of a record that forgets ids, and texts (`text_of`); `Standing.take` reads it."""
    known = sorted(set(texts))
    return "\n".join(["Forgotten:", *targets, *([_TEXTS, *known] if known else [])])


class Standing:
    """The links of all acting records, by the id they name.

    ``about`` holds the ids of the records that forget or tag an id, ``tagging`` those that tag it,
    ``corrections`` those that correct it; ``settled`` are the ids that a user corrected or forgot,
    ``texts`` what was said by those that were forgotten (`text_of`).
    """

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}
        self._tags: dict[str, dict[str, tuple[int, bool]]] = defaultdict(dict)
        self._versions: dict[str, set[str]] = defaultdict(set)
        self.about: dict[str, set[str]] = defaultdict(set)
        self.tagging: dict[str, set[str]] = defaultdict(set)
        self.corrections: dict[str, set[str]] = defaultdict(set)
        self.settled: set[str] = set()
        self.texts: set[str] = set()
        self._corrected: dict[str, tuple[int, str]] = {}

    def take(self, record: Record) -> None:
        """Takes in what an acting record says of others."""
        time = to_microseconds(record.times[-1])
        if record.kind == "tombstone" and not record.source:
            self.texts.update(record.answer.partition(f"\n{_TEXTS}\n")[2].split())
        for relation, target in record.links:
            if relation in _ENDING:
                self._ended[target] = max(time, self._ended.get(target, time))
            if relation == "forgets":
                self._forgotten[target] = max(time, self._forgotten.get(target, time))
            # A tombstone with a source was written because its document no longer has the text.
            if relation == "corrects" or (relation == "forgets" and not record.source):
                self.settled.add(target)
            if relation == "corrects":
                self._correct(target, time, record.id)
            if relation in ("corrects", "supersedes"):
                self._versions[target].add(record.id)
                self._versions[record.id].add(target)
            if relation in ("forgets", "tags"):
                self.about[target].add(record.id)
            if relation == "tags":
                self.tagging[target].add(record.id)
                self._change_tags(target, time, record.answer)

    def _correct(self, target: str, time: int, identity: str) -> None:
        """Of several corrections of one record, as a merge may bring, the newest counts."""
        self.corrections[target].add(identity)
        newest = max(self._corrected.get(target, (time, identity)), (time, identity))
        self._corrected[target] = newest
        for other in self.corrections[target] - {newest[1]}:
            self._ended[other] = max(newest[0], self._ended.get(other, newest[0]))

    def _change_tags(self, target: str, time: int, answer: str) -> None:
        tags = self._tags[target]
        for line in answer.split("\n")[1:]:
            sign, tag = line[:1], line[1:]
            if sign in ("+", "-"):
                tags[tag] = max((time, sign == "+"), tags.get(tag, (time, False)))

    def counts(self, identity: str, time: int) -> bool:
        """Whether content last stored at ``time`` (microseconds) is neither replaced nor gone."""
        return self._ended.get(identity, time - 1) < time

    def ended(self) -> Iterable[str]:
        """Every id that some record corrects, supersedes or forgets."""
        return self._ended.keys()

    def is_forgotten(self, identity: str, time: int) -> bool:
        """Whether content last stored at ``time`` was forgotten after that."""
        return self._forgotten.get(identity, time - 1) >= time

    def with_tags(self, record: Record) -> Record:
        """The record with the tags it has by now; its id stays."""
        changes = self._tags.get(record.id)
        if not changes:
            return record
        tags = set(record.tags) | {tag for tag, (_, there) in changes.items() if there}
        tags -= {tag for tag, (_, there) in changes.items() if not there}
        changed = replace(record, tags=tuple(tags))
        changed.__dict__["id"] = record.id
        return changed

    def versions(self, identity: str) -> set[str]:
        """All ids connected with ``identity`` by corrections and supersessions, itself included."""
        found, open_ends = {identity}, [identity]
        while open_ends:
            for other in self._versions.get(open_ends.pop(), ()):
                if other not in found:
                    found.add(other)
                    open_ends.append(other)
        return found
