"""The fields of exported conversations: who spoke, when, which model, what it is all called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pxvm.learning.sources.saying import CONTENT, first

USER = {"user", "human", "prompter"}
ASSISTANT = {"assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard", "claude"}
TOOL = {"tool", "function", "ipython", "environment", "observation"}
SYSTEM = {"system", "developer"}
ROLES = USER | ASSISTANT | TOOL | SYSTEM

TURNS = (
    "messages",
    "chat_messages",
    "conversations",
    "conversation",
    "turns",
    "dialogue",
    "dialog",
)
ROLE = ("role", "from", "sender", "author", "speaker", "user")
TIME = ("create_time", "created_at", "createdAt", "timestamp", "datetime_utc", "datetime",
        "date_unixtime", "ts", "time", "date", "event_time", "inserted_at")  # fmt: skip
TITLE = ("title", "conversation_name", "name")
SESSION = ("session", "session_id", "conversation_id", "thread_id", "chat_id")
NUMBER = ("uuid", "id", "conversation_id")
QUESTION = ("query", "question", "prompt", "instruction", "user", "human")
ANSWER = ("answer", "response", "output", "completion", "assistant", "gpt", "chosen")
PARENT = ("parent", "parentId")
CHILDREN = ("children", "childrenIds")
INSTRUCTIONS = ("system", "system_prompt", "systemPrompt")
KNOWN = {
    *TIME, *SESSION, *NUMBER, "model", "role", "from", "from_id", "sender", "author", "speaker",
    "username", "user_id", "index", "type", "status", "metadata", "parent", "parentId", "children",
    "childrenIds", "parent_message_uuid", "updated_at", "update_time", "edited", "edited_unixtime",
    "content_type", "weight", "recipient", "channel", "end_turn", "currentlySelected", "models",
    "content", "value", "text", "message", "parts", "body", "title", "name", "language", "lang",
    "attachments", "files", "tags", "conversation_name", "conversation_model", "pinned",
    "current_node", "currentId", "default_model_slug", "modelName",
}  # fmt: skip

#: Of these the fields that may hold words wherever they do not stand with a turn.
WORDED = {*CONTENT, "title", "name", "language", "tags", "channel"}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is in lower case, ``name`` as it is written."""

    role: str
    text: str
    name: str = ""
    model: str = ""
    time: datetime | None = None


def is_turn(value: Any) -> bool:
    """Does this look like what somebody said?"""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("versions"), list):
        return bool(value["versions"])
    return bool(role_of(value)) and any(key in value for key in CONTENT)


def is_pair(item: dict[str, Any]) -> bool:
    """Is this a question with its answer?"""
    question = next((key for key in QUESTION if item.get(key)), "")
    answer = next((key for key in ANSWER if item.get(key)), "")
    return all(key and isinstance(item[key], str) for key in (question, answer))


def role_of(turn: dict[str, Any]) -> str:
    """Who speaks, in lower case; "" where the turn does not say."""
    found = next((turn[key] for key in ROLE if turn.get(key)), "")
    if isinstance(found, dict):
        found = first(found, ("role", "nickname", "name", "username", "id"))
    return found.strip().lower() if isinstance(found, str) else ""


def name_of(turn: dict[str, Any]) -> str:
    """The name of who speaks, as it is written; "" where there is only a role."""
    places = (turn.get("user_profile"), turn.get("author"), turn)
    for place in places:
        if isinstance(place, dict):
            name = first(place, ("real_name", "nickname", "name", "username"))
            name = name or first(place, ROLE[1:])
            if name and name.lower() not in ROLES:
                return " ".join(name.split())
    return ""


def model_of(item: dict[str, Any]) -> str:
    """The language model that is named in an item, or ""."""
    metadata, sender = item.get("metadata"), item.get("senderInfo")
    models = item.get("models")
    return (
        first(item, ("model", "modelName", "model_slug", "conversation_model"))
        or first(metadata if isinstance(metadata, dict) else {}, ("model_slug", "model"))
        or first(sender if isinstance(sender, dict) else {}, ("senderName",))
        or (models[0] if isinstance(models, list) and models and isinstance(models[0], str) else "")
    )


def label(title: str, number: str, time: datetime | None) -> str:
    """What a conversation is called, apart from others of its title."""
    title = " ".join(title.split())
    if title and number and number != title:
        return f"{title} ({number[-8:]})"
    if title and time:
        return f"{title} ({time:%Y-%m-%d %H:%M})"
    return title or number


def time_of(turn: dict[str, Any]) -> datetime | None:
    """The time of a turn: seconds or milliseconds since 1970, or ISO 8601, UTC unless it says."""
    found: Any = next((turn[key] for key in TIME if turn.get(key)), None)
    try:
        if isinstance(found, str) and not found.replace(".", "", 1).isdigit():
            time = datetime.fromisoformat(found.strip().replace("Z", "+00:00"))
            return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
        seconds = float(found or "nan") or float("nan")
        if seconds > 1e11:
            seconds /= 1_000
        return datetime.fromtimestamp(round(seconds, 6), timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
