"""``/api/networks``: the memories that the command line named, read and changed by the page.

Every answer is JSON as ``studio/src/memory/server.ts`` says it, or bytes.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pxvm.integration.memory import Memory, changed
from pxvm.integration.server.wanted import RefusedError
from pxvm.learning import Draft
from pxvm.learning.commands.changes import forget_all, same_elsewhere, select
from pxvm.learning.errors import UnreadableError
from pxvm.learning.exchange.exchange import read_png
from pxvm.learning.search.embedding import Embedder, EmbeddingError
from pxvm.learning.search.search import Hit
from pxvm.learning.sources.documents import Document, Skipped, read_content
from pxvm.learning.sources.known import Known
from pxvm.learning.sources.learn import Learned, learn
from pxvm.learning.store.record import BOOKKEEPING, Record
from pxvm.learning.store.store import State
from pxvm.studio import experiments
from pxvm.studio.networks import View, described, moment_of

SHOWN = 50  # records of a preview
SAMPLES = 5  # new records that a merge shows
Answer = Callable[..., Any]


class Memories:
    """The networks, by the names of their files.

    Attributes:
        reading, writing, taking: endpoint -> what answers it: from the query alone, from a JSON
            body as well, from bytes.
    """

    def __init__(self, by_name: Mapping[str, Memory]) -> None:
        self.by_name, self.names = by_name, tuple(by_name)
        self._views: dict[str, tuple[State, View]] = {}
        self._turn = threading.Lock()
        self.reading: Mapping[str, Answer] = {
            "about": self.about,
            "records": self.records,
            "record": self.record,
            "history": self.history,
            "search": self.search,
            "growth": self.growth,
            "bits": self.bits,
            "coach": self.coach,
            "program": self.program,
        }
        self.writing: Mapping[str, Answer] = {
            "teach": self.teach,
            "correct": self.correct,
            "tag": self.tag,
            "forget": self.forget,
            "restore": self.restore,
        }
        self.taking: Mapping[str, Answer] = {"merge": self.merge, "learn": self.learn}

    def _memory(self, network: str) -> Memory:
        if network not in self.by_name:
            raise RefusedError(f"no network is called {network!r:.60}", 404)
        return self.by_name[network]

    def _view(self, network: str) -> View:
        """The network as it is now; made again only where it has changed."""
        memory = self._memory(network)
        memory.settle()
        with self._turn:
            state = memory.network.state
            known = self._views.get(network)
            if known is None or known[0] != state:
                known = self._views[network] = state, View(memory.network)
            return known[1]

    # -- reading -----------------------------------------------------------------------------------

    def about(self, network: str) -> dict[str, Any]:
        """How much there is."""
        view, memory = self._view(network), self._memory(network)
        pages = memory.network.pages
        return {
            "name": network,
            "file": memory.path.name,
            "count": len(view.entries),
            "standing": len(memory.network),
            "rows": view.rows,
            "bytes": sum(page.stat().st_size for page in pages),
            "pages": len(pages),
        }

    def records(self, network: str, first: str, count: str) -> list[dict[str, Any]]:
        """Records by their places."""
        return self._view(network).records(int(first), int(count))

    def record(self, network: str, number: str) -> dict[str, Any]:
        """A record by its number."""
        return self._view(network).numbered(int(number))

    def history(self, network: str, number: str) -> list[dict[str, Any]]:
        """All versions of a record."""
        return self._view(network).history(int(number))

    def search(
        self,
        network: str,
        query: str = "",
        limit: str = "10",
        kind: str = "",
        tag: str = "",
        source: str | None = None,
        since: str = "",
        until: str = "",
    ) -> list[dict[str, Any]]:
        """By words and meaning; by words alone where the vectors are of another model.

        Without a query all that fits, the newest first.
        """
        view = self._view(network)
        begin, end = (moment_of(text) if text else None for text in (since, until))
        most = min(int(limit), 200)
        if not query.strip():
            chosen = select(view.network, (), tag or None, source or None, kind or None, begin, end)
            live = view.network.live_ids()
            numbers = sorted((each.sequence for each in chosen if each.id in live), reverse=True)
            return [{"record": view.numbered(number), "score": 0.0} for number in numbers[:most]]

        def found(**embedder: Any) -> list[Hit]:
            return view.network.search(
                query,
                most,
                kinds=[kind] if kind else [],
                tags=[tag] if tag else [],
                source=source,
                since=begin,
                until=end,
                **embedder,
            )

        try:
            hits = found()
        except EmbeddingError:
            hits = found(embedder=None)
        return [
            {"record": view.numbered(hit.record.sequence), "score": float(hit.score)}
            for hit in hits
        ]

    def growth(self, network: str, parts: str) -> list[dict[str, Any]]:
        """How it grew."""
        return list(self._view(network).growth(int(parts)))

    def bits(self, network: str, first: str, count: str) -> bytes:
        """Rows of the picture."""
        return self._view(network).bits(int(first), int(count)).tobytes()

    def coach(self, network: str) -> dict[str, Any]:
        """What the coach tried."""
        return experiments.coached(self._view(network).network)

    def program(self, network: str, number: str) -> bytes:
        """The picture of a program that the coach found."""
        return experiments.program(self._view(network).network, int(number))

    # -- changing ----------------------------------------------------------------------------------

    def _stored(self, network: str, name: str | int) -> dict[str, Any]:
        """A record that was just stored."""
        memory = self._memory(network)
        return self._view(network).numbered(memory.network.record(name).sequence)

    def teach(self, network: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A note, or an answer to a question."""
        text, question, tags = (_field(body, name, kind) for name, kind in _TEACH.items())
        if not text.strip():
            raise RefusedError("nothing to teach: the text is empty", field="text")
        draft = Draft(
            question.strip(), text.strip(), tags=tuple(tags), kind="note",
            event_time=datetime.now(timezone.utc),
        )  # fmt: skip
        return self._stored(network, self._memory(network).append(draft).result())

    def correct(self, network: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A better text for a record."""
        number, answer = _field(body, "number", int), _field(body, "answer", str)
        new = changed(self._memory(network), number, answer)
        return self._stored(network, new.sequence)

    def tag(self, network: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Other tags for a record."""
        add, remove = _field(body, "add", list), _field(body, "remove", list)
        memory = self._memory(network)
        return self._stored(network, memory.network.tag(_field(body, "number", int), add, remove))

    def forget(self, network: str, body: Mapping[str, Any], preview: str = "") -> dict[str, Any]:
        """Forget what the conditions select; with ``preview`` only say what that is."""
        if unknown := body.keys() - _CHOSEN.keys():
            raise RefusedError(f"unknown conditions: {', '.join(sorted(unknown))}")
        given = {name: _field(body, name, kind) for name, kind in _CHOSEN.items() if name in body}
        # What is empty selects nothing, and never all that there is.
        if not any(given[name] for name in given.keys() - {"limit"}) or given.get("numbers") == []:
            raise RefusedError("nothing to forget: name records or conditions")
        memory = self._memory(network).network
        chosen = select(
            memory,
            given.get("numbers", ()),
            **{name: given.get(name) for name in ("tag", "source", "kind", "text", "query")},
            since=moment_of(given["since"]) if "since" in given else None,
            until=moment_of(given["until"]) if "until" in given else None,
            k=given.get("limit", 10),
        )
        view, live = self._view(network), memory.live_ids()
        told: dict[str, Any] = {
            "count": len(chosen),
            "records": [view.numbered(record.sequence) for record in chosen[:SHOWN]],
            "undo": [],
            "same": [],
        }
        if not preview:
            forget_all(memory, chosen, live)
            told["undo"] = [record.sequence for record in chosen if record.id in live]
            others = same_elsewhere(memory, chosen[:SHOWN])
            told["same"] = [record.sequence for record in others]
        return told

    def restore(self, network: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Store forgotten records again, so that they count."""
        memory = self._memory(network).network
        numbers = _field(body, "numbers", list)
        records = [memory.record_at(_whole(number, "numbers")) for number in numbers]
        memory.append_many(record.draft() for record in records)
        return [self._stored(network, record.id) for record in records]

    def merge(self, network: str, body: bytes, preview: str = "") -> dict[str, Any]:
        """Take in another network's records; with ``preview`` only say what is new of them."""
        memory = self._memory(network).network
        stored = {identity.tobytes().hex() for identity in memory.entries()["id"]}
        notes: list[str] = []
        with _file(body) as path:
            read = [*read_png(path, False, notes)]
        taken = [*Known(memory).unforgotten(read)]
        new = {record.id: record for record in taken if record.id not in stored}
        if not preview:
            memory.append_many(taken)
        shown = [draft for draft in new.values() if not draft.flags & BOOKKEEPING][:SAMPLES]
        return {
            "read": len(read),
            "added": len(new),
            "known": len({record.id for record in read}) - len(new),
            "samples": [_sample(draft) for draft in shown],
        }

    def learn(self, network: str, body: bytes, name: str) -> dict[str, Any]:
        """Learn a document that was dropped into the page."""
        memory = self._memory(network).network
        told: dict[str, Any] = {
            "name": name,
            "added": 0,
            "known": 0,
            "replaced": 0,
            "settled": 0,
            "skipped": "",
        }
        plain = Path(name.replace("\\", "/")).name
        try:
            document: Document | Skipped = read_content(body, plain, f"dropped: {plain}")
        except UnreadableError as error:
            return {**told, "skipped": str(error)}
        for event in learn(memory, [document], embedder=Embedder.present()):
            if isinstance(event, Learned):
                told |= {
                    key: getattr(event, key) for key in ("added", "known", "replaced", "settled")
                }
            elif isinstance(event, Skipped):
                told["skipped"] = event.reason
        return told


_TEACH: Mapping[str, type] = {"text": str, "question": str, "tags": list}
_CHOSEN: Mapping[str, type] = {
    "numbers": list, "kind": str, "tag": str, "source": str, "since": str, "until": str,
    "text": str, "query": str, "limit": int,
}  # fmt: skip


def _field(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field of a body. Raises RefusedError where it is missing or of another kind."""
    found: Any = body.get(name)
    fits = type(found) is kind
    if not fits:
        expected = {str: "a text", int: "a whole number", list: "a list"}[kind]
        raise RefusedError(f"{name}: expected {expected}; found {found!r:.40}", field=name)
    if name == "numbers":
        return [_whole(number, name) for number in found]
    if kind is list and not all(isinstance(each, str) for each in found):
        raise RefusedError(f"{name}: expected texts", field=name)
    return found


def _whole(number: Any, name: str) -> int:
    if type(number) is not int:
        raise RefusedError(f"{name}: expected whole numbers; found {number!r:.40}", field=name)
    return number


def _sample(draft: Draft) -> dict[str, Any]:
    """What a preview shows of a record that is not stored here."""
    if isinstance(draft, Record):
        shown = described(draft)
        return {name: shown[name] for name in ("kind", "time", "title", "text")}
    return {"kind": draft.kind, "time": "", "title": draft.query, "text": draft.answer}


@contextmanager
def _file(data: bytes) -> Iterator[Path]:
    """Bytes as a file, for as long as it is read."""
    with tempfile.TemporaryDirectory(prefix="pxvm-studio-") as folder:
        path = Path(folder) / "dropped.png"
        path.write_bytes(data)
        yield path
