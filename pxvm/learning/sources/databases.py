"""Databases of programs that talk to language models: their rows as the JSON that these export."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.structured import parse

#: What is attached to the answers of ``llm``: a table, and the one that says to which answers.
ATTACHED = (("fragments", "prompt_fragments", "fragment_id"),
            ("attachments", "prompt_attachments", "attachment_id"))  # fmt: skip


def read_database(content: bytes) -> list[Any]:
    """The conversations of a SQLite file: the log of ``llm``, or the chats of Open WebUI.

    Raises:
        UnreadableError: it is damaged, or no such database.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "database"
        file.write_bytes(content)
        try:
            uri = f"{file.as_uri()}?mode=ro&immutable=1"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.row_factory = sqlite3.Row
                return list(_conversations(connection))
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise UnreadableError(f"the database is damaged: {error}") from None


def _conversations(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    tables = {name for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'")}  # fmt: skip
    if {"responses", "conversations"} <= tables:
        yield from _answers(connection, tables)
    elif "chat" in tables:
        for row in connection.execute("SELECT * FROM chat"):
            item = dict(row)
            yield {**item, "chat": _parsed(item.get("chat"))}
    else:
        raise UnreadableError("a database: export what matters of it as CSV or JSON")


def _answers(connection: sqlite3.Connection, tables: set[str]) -> Iterator[dict[str, Any]]:
    """Questions with their answers, in the order in which they were asked."""
    names = {row["id"]: row["name"] for row in connection.execute("SELECT * FROM conversations")}
    attached: dict[Any, list[dict[str, Any]]] = {}
    for what, links, key in ATTACHED:
        if {what, links} <= tables:
            rows = connection.execute(
                f"SELECT response_id, {what}.* FROM {links} JOIN {what} ON {what}.id = {key}"
            )
            for row in rows:
                inner = {k: v for k, v in dict(row).items() if not isinstance(v, bytes)}
                attached.setdefault(inner.pop("response_id"), []).append(inner)
    for row in connection.execute("SELECT * FROM responses ORDER BY id"):
        item = dict(row)
        yield {
            **item,
            "conversation_name": names.get(item.get("conversation_id")),
            "attachments": attached.get(item.get("id"), []),
        }


def _parsed(text: Any) -> Any:
    try:
        return parse(text)
    except (ValueError, TypeError, RecursionError):
        return text
