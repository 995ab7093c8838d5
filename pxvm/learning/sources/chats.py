"""Exported conversations to exchanges: one question with its answer each.

Known shapes: ChatGPT's ``conversations.json`` (a tree of messages), ShareGPT (``conversations``
with ``from`` and ``value``), OpenAI's chat format (``messages`` with ``role`` and ``content``),
Claude's export (``chat_messages``), and JSON or JSONL of single messages or of question and answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

USER = {"user", "human", "prompter"}
ASSISTANT = {"assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard"}

ROLE = ("role", "from", "sender", "author", "speaker")
CONTENT = ("content", "value", "text", "message")
TIME = ("create_time", "created_at", "timestamp", "time", "date", "event_time")
SESSION = ("title", "name", "session", "session_id", "conversation_id", "thread_id", "id")
QUESTION = ("query", "question", "prompt", "instruction", "input")
ANSWER = ("answer", "response", "output", "completion")


@dataclass(frozen=True)
class Exchange:
    """One question and its answer; either may be empty, not both.

    Attributes:
        session: the conversation's title, or whatever identifies it.
        model: the language model that answered, where the export says so.
        time: when the question was asked; None where the export does not say.
    """

    query: str
    answer: str
    session: str = ""
    model: str = ""
    time: datetime | None = None


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    text: str
    model: str = ""
    time: datetime | None = None


def read_chat(text: str, lines: bool) -> list[Exchange] | None:
    """Exchanges of an export, or None when the file is JSON of another kind, or not JSON.

    Args:
        lines: one JSON value a line (JSONL) rather than one in all.
    """
    try:
        if lines:
            items = [json.loads(line) for line in text.split("\n") if line.strip()]
        else:
            whole = json.loads(text)
            items = whole if isinstance(whole, list) else [whole]
    except (json.JSONDecodeError, RecursionError):
        return None
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    try:
        return list(exchanges(items)) or None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def exchanges(items: Iterable[dict[str, Any]]) -> Iterator[Exchange]:
    """Exchanges of a list of conversations, messages or pairs."""
    session = ""
    single: list[Message] = []
    for item in items:
        if any(key in item for key in ("mapping", "conversations", "messages", "chat_messages")):
            yield from paired(conversation(item), first(item, SESSION))
        elif role_of(item):
            now = first(item, SESSION[2:-1])
            if now != session:
                yield from paired(single, session)
                session, single = now, []
            single.append(message(item))
        elif any(key in item for key in QUESTION) and any(key in item for key in ANSWER):
            pair = (heard(first(item, QUESTION)), heard(first(item, ANSWER)))
            if any(pair):
                session_name = first(item, SESSION[:-1])
                yield Exchange(*pair, session_name, first(item, ("model",)), time_of(item))
    yield from paired(single, session)


def conversation(item: dict[str, Any]) -> list[Message]:
    """The messages of one conversation, in order."""
    if "mapping" not in item:
        found = item.get("conversations") or item.get("messages") or item.get("chat_messages")
        model = first(item, ("model",))
        return [message(turn, model) for turn in found or []]
    # A tree: the branch that the reader saw last ends at current_node.
    nodes, branch = item["mapping"], []
    key = item.get("current_node") or last_leaf(nodes)
    seen = set()
    while key in nodes and key not in seen:
        seen.add(key)
        if nodes[key].get("message"):
            branch.append(message(nodes[key]["message"]))
        key = nodes[key].get("parent")
    return branch[::-1]


def last_leaf(nodes: dict[str, Any]) -> str | None:
    """The node without children that comes last in the file."""
    return next((key for key in reversed(nodes) if not nodes[key].get("children")), None)


def message(turn: dict[str, Any], model: str = "") -> Message:
    """One turn, whatever its fields are called."""
    metadata = turn.get("metadata") or {}
    model = first(turn, ("model",)) or first(metadata, ("model_slug", "model")) or model
    return Message(role_of(turn), text_of(turn), model, time_of(turn))


def role_of(turn: dict[str, Any]) -> str:
    """Who speaks, in lower case; "" where the turn does not say."""
    found: Any = next((turn[key] for key in ROLE if turn.get(key)), "")
    if isinstance(found, dict):
        found = found.get("role", "")
    return str(found).lower()


def text_of(turn: dict[str, Any]) -> str:
    """The words of a turn; images and other parts are left out."""
    found: Any = next((turn[key] for key in CONTENT if turn.get(key)), "")
    if isinstance(found, dict):
        found = found.get("parts") or found.get("text") or ""
    if isinstance(found, list):
        parts = (part.get("text", "") if isinstance(part, dict) else part for part in found)
        found = "\n\n".join(str(part) for part in parts if part)
    return heard(str(found))


def heard(text: str) -> str:
    """A text without what an assistant had recalled into it: that is remembered already."""
    from pxvm.learning.search.context import without_recalled

    return without_recalled(text).strip()


def time_of(turn: dict[str, Any]) -> datetime | None:
    """The time of a turn: seconds or milliseconds since 1970, or ISO 8601, UTC unless it says."""
    found: Any = next((turn[key] for key in TIME if turn.get(key)), None)
    try:
        if isinstance(found, str) and not found.replace(".", "", 1).isdigit():
            time = datetime.fromisoformat(found.strip().replace("Z", "+00:00"))
            return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
        seconds = float(found or "nan")
        if seconds > 1e11:
            seconds /= 1_000
        return datetime.fromtimestamp(round(seconds, 6), timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def first(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    """The first of these fields that holds something, as text."""
    return str(next((item[key] for key in keys if item.get(key)), ""))


def paired(turns: Iterable[Message], session: str) -> Iterator[Exchange]:
    """Questions with their answers; turns of the same speaker in a row are one."""
    asked: list[Message] = []
    answered: list[Message] = []

    def exchange() -> Iterator[Exchange]:
        if asked or answered:
            turns = [*asked, *answered]
            model = next((turn.model for turn in reversed(answered) if turn.model), "")
            time = next((turn.time for turn in turns if turn.time), None)
            query, answer = ("\n\n".join(t.text for t in side) for side in (asked, answered))
            yield Exchange(query, answer, session, model, time)

    for turn in turns:
        if not turn.text:
            continue
        if turn.role in USER:
            if answered:
                yield from exchange()
                asked, answered = [], []
            asked.append(turn)
        elif turn.role in ASSISTANT:
            answered.append(turn)
    yield from exchange()
