"""Exported conversations to exchanges: one question with its answer each.

An export is JSON in which conversations lie at some depth: a list of turns under one of several
names, a tree of turns of which the branch that was seen last counts, a question with its answer, or
single messages. What is none of these is left over for `structured` to read as any other JSON.
Known by their shapes are the exports of ChatGPT, Claude, Open WebUI, LM Studio, ``llm logs``,
ShareGPT, OpenAI's chat format, Alpaca, Telegram, Slack and Discord.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from pxvm.learning.sources.blocks import TARGET, size, weight
from pxvm.learning.sources.saying import FIELDS, TWICE, Saying, first
from pxvm.learning.sources.structured import leaves
from pxvm.learning.sources.turns import (
    ANSWER,
    CHILDREN,
    INSTRUCTIONS,
    KNOWN,
    NUMBER,
    PARENT,
    QUESTION,
    ROLES,
    SESSION,
    SYSTEM,
    TITLE,
    TURNS,
    USER,
    WORDED,
    Message,
    is_pair,
    is_turn,
    label,
    model_of,
    name_of,
    role_of,
    time_of,
)

DEEPEST = 6  # levels of lists and objects around conversations

SYSTEM_PROMPTS = "instructions to the assistant"
VERSIONS = "answers and questions that others took the place of"
RECALLED = "passages recalled from a memory"


@dataclass(frozen=True)
class Exchange:
    """One question and its answer; either may be empty, not both.

    Attributes:
        session: the conversation's title and whatever tells it from others of that title.
        model: the language model that answered, where the export says so.
        time: when the question was asked; None where the export does not say.
    """

    query: str
    answer: str
    session: str = ""
    model: str = ""
    time: datetime | None = None


@dataclass
class Chats:
    """What an export holds.

    Attributes:
        exchanges: in the file's order.
        rest: values that are no conversation.
        left: characters of values that were left out, by what they are.
        things: pictures and other files of which only the name is there.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    rest: list[Any] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    things: Counter[str] = field(default_factory=Counter)


def read_chats(values: Iterable[Any]) -> Chats:
    """Exchanges of JSON values, and what is over."""
    found = Chats()
    reader = _Reader(found)
    total = 0
    for value in values if not isinstance(values, dict) else [values]:
        total += leaves(value)
        rest = reader.pick(value)
        if rest is not None:
            found.rest.append(rest)
    reader.flush()
    over = total - reader.saying.kept - sum(map(leaves, found.rest)) - found.left.total()
    found.left[FIELDS] += over
    return found


def exchanges(items: Iterable[dict[str, Any]]) -> Iterator[Exchange]:
    """Exchanges of a list of conversations, messages or pairs."""
    yield from read_chats(items).exchanges


class _Reader:
    """Takes conversations out of values."""

    def __init__(self, found: Chats) -> None:
        self.found = found
        self.saying = Saying(found.left, found.things)
        self.run: list[Message] = []  # single messages of one session
        self.session = ""
        self.sessions: set[str] = set()  # what conversations so far are called

    def pick(self, value: Any, depth: int = 0) -> Any:
        """What is over of a value when its conversations are taken out; None if nothing is."""
        if isinstance(value, dict) and self.take(value):
            return None
        self.flush()
        if isinstance(value, list) and depth < DEEPEST:
            rest = [over for inner in value if (over := self.pick(inner, depth + 1)) is not None]
            self.flush()
            return rest or (value if not value else None)
        if isinstance(value, dict) and depth < DEEPEST:
            left = {}
            for key, inner in value.items():
                over = self.pick(inner, depth + 1) if isinstance(inner, (dict, list)) else inner
                if over is not None or inner is None:
                    left[key] = over
            self.flush()
            return left if left or not value else None
        return value

    def take(self, item: dict[str, Any]) -> bool:
        """Is this a conversation, a message or a pair? Then it is taken."""
        if turns := self.turns(item):
            self.flush()
            self.conversation(item, turns)
        elif is_pair(item):
            self.flush()
            self.pair(item)
        elif is_turn(item) and (role_of(item) in ROLES or self.is_among_people(item)):
            if (session := first(item, SESSION)) != self.session:
                self.flush()
                self.session = session
            self.run.append(self.message(item))
        else:
            return False
        return True

    def flush(self) -> None:
        """End the run of single messages."""
        self.found.exchanges += paired(self.run, self.session)
        self.run, self.session = [], ""

    def is_among_people(self, turn: dict[str, Any]) -> bool:
        """Is this a message of somebody with a name, and no other thing that has an author?"""
        known = turn.get("type") == "message" or KNOWN.issuperset(turn)
        return known and bool(self.run or time_of(turn))

    def turns(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        """The turns of a conversation, in order; none if this is not one."""
        chat = item.get("chat")
        for outer in (chat, item):
            history = outer.get("history") if isinstance(outer, dict) else None
            for inner in (history, outer):
                if isinstance(inner, dict):
                    for key in ("mapping", *TURNS):
                        nodes: Any = inner.get(key)
                        if isinstance(nodes, dict) and (turns := self.branch(nodes, inner)):
                            return turns
                        if isinstance(nodes, list):
                            said = [node for node in nodes if is_turn(node)]
                            if said and 2 * len(said) >= len(nodes):  # others: who came, who called
                                others = (node for node in nodes if not is_turn(node))
                                self.found.rest += filter(None, others)
                                return said
        return []

    def branch(self, nodes: dict[str, Any], tree: dict[str, Any]) -> list[dict[str, Any]]:
        """The turns from the first to the one that was seen last, in a tree of turns."""
        turns: dict[str, dict[str, Any]] = {}
        for key, node in nodes.items():
            if isinstance(node, dict):
                turn: Any = node.get("message") if "message" in node else node
                if is_turn(turn):
                    turns[key] = turn
        key = first(tree, ("current_node", "currentId", "current_leaf_message_uuid"))
        if key not in nodes:
            parents = {first(node, PARENT) for node in nodes.values() if isinstance(node, dict)}
            key = next((k for k in reversed(turns) if k not in parents), "")
        above = {  # whose child a turn is, where the turn between them is missing
            child: parent
            for parent, node in nodes.items()
            if isinstance(node, dict)
            for keys in (node.get(name) for name in CHILDREN)
            for child in (keys if isinstance(keys, list) else ())
            if isinstance(child, str)
        }
        before = dict(itertools.pairwise(reversed(turns)))  # for a turn whose parent is missing
        branch: list[str] = []
        seen: set[str] = set()
        while isinstance(node := nodes.get(key), dict) and key not in seen:
            seen.add(key)
            branch += [key] if key in turns else []
            parent = first(node, PARENT)
            likely = (parent, above.get(parent, ""), above.get(key, ""), before.get(key, ""))
            there = (k for k in likely[: 4 if parent else 3] if isinstance(nodes.get(k), dict))
            key = next(there, "")
        for other in turns.keys() - seen:
            self.saying.leave(turns[other], VERSIONS)
        return [turns[key] for key in reversed(branch)]

    def conversation(self, item: dict[str, Any], turns: list[dict[str, Any]]) -> None:
        """Take the turns of a conversation, and what is said about it."""
        chat = item["chat"] if isinstance(item.get("chat"), dict) else {}
        about = {**chat, **{key: value for key, value in item.items() if value}}
        messages = [self.message(turn, model_of(about)) for turn in turns]
        began = time_of(about)
        time = began or next((m.time for m in messages if m.time), None)
        title, *places = self.titled(item, chat)
        session = self.apart(label(title, first(about, NUMBER), time), messages)
        found = list(paired(messages, session, began))
        used = {"mapping", "chat", "history", *TURNS, *INSTRUCTIONS, *KNOWN - WORDED}
        said = [title, *(message.text for message in messages)]
        for place in places:
            self.instructions(place)
            self.instructions(place["params"] if isinstance(place.get("params"), dict) else {})
            said.append(self.saying.about(place, used, "\n".join(said)))
        if more := "\n".join(filter(None, said[1 + len(messages) :])):
            found.append(Exchange("", more, session, time=time))
        for again in (chat if "history" in chat else {}, item if "history" in item else {}):
            self.saying.leave([again[key] for key in TURNS if key in again], TWICE)
        self.found.exchanges += found

    def titled(self, *places: dict[str, Any]) -> tuple[Any, ...]:
        """The first title in these places, or "", and the places without it."""
        for number, place in enumerate(places):
            for key in TITLE:
                if title := first(place, (key,)):
                    rest = {k: v for k, v in place.items() if k != key}
                    return self.saying.keep(title), *places[:number], rest, *places[number + 1 :]
        return "", *places

    def apart(self, session: str, messages: list[Message]) -> str:
        """A name that no other conversation here has: the same each time that this is read."""
        if session in self.sessions and messages:
            session = f"{session} ({sha256(messages[0].text.encode()).hexdigest()[:8]})"
        self.sessions.update(filter(None, [session]))
        return session

    def instructions(self, item: dict[str, Any]) -> None:
        """Count what the assistant was told beforehand."""
        for key in INSTRUCTIONS:
            self.saying.leave(item.get(key) or "", SYSTEM_PROMPTS)

    def pair(self, item: dict[str, Any]) -> None:
        """Take a question with its answer, and whatever else stands with them."""
        question, answer = (next(k for k in keys if item.get(k)) for keys in (QUESTION, ANSWER))
        used = {question, answer, *INSTRUCTIONS, *KNOWN - WORDED}
        self.instructions(item)
        asked = [self.saying.of(item[question])]
        if question == "instruction" or (question == "prompt" and item.get("input")):
            asked.append(self.saying.of(item.get("input") or ""))
            used.add("input")
        answered = [self.saying.of(item[answer])]
        title, rest = self.titled(item)
        said = "\n".join([title, *asked, *answered])
        answered.append(self.saying.about(rest, used, said, words=True))
        query, reply = ("\n\n".join(filter(None, side)) for side in (asked, answered))
        query, reply = self.heard(query), self.heard(reply)
        if query or reply:
            title = title or first(item, SESSION)
            session = label(title, first(item, ("conversation_id",)), None)
            self.found.exchanges.append(
                Exchange(query, reply, session, model_of(item), time_of(item))
            )

    def message(self, turn: dict[str, Any], model: str = "") -> Message:
        """One turn, whatever its fields are called."""
        turn = self.version(turn)
        role, name = role_of(turn), name_of(turn)
        said = self.saying.turn(turn, KNOWN)
        if role in SYSTEM:
            self.saying.unkeep(said, SYSTEM_PROMPTS)
            said = ""
        return Message(role, self.heard(said), name, model_of(turn) or model, time_of(turn))

    def version(self, turn: dict[str, Any]) -> dict[str, Any]:
        """The version of a turn that is shown, where there are several."""
        versions = turn.get("versions")
        if not isinstance(versions, list) or not all(isinstance(v, dict) for v in versions):
            return turn
        shown = first(turn, ("currentlySelected",)) or "0"
        number = int(shown) if shown.isdecimal() and int(shown) < len(versions) else -1
        for other in versions:
            if other is not versions[number]:
                self.saying.leave(other, VERSIONS)
        return {**versions[number], "role": first(versions[number], ("role",)) or "assistant"}

    def heard(self, text: str) -> str:
        """A text without what an assistant had recalled into it: that is remembered already."""
        from pxvm.learning.search.context import without_recalled

        kept = without_recalled(text).strip()
        if gone := weight(text) - weight(kept):
            self.saying.kept -= gone
            self.found.left[RECALLED] += gone
        return kept


def paired(
    turns: Iterable[Message], session: str, began: datetime | None = None
) -> Iterator[Exchange]:
    """Questions with their answers; turns of the same speaker in a row are one.

    Where people with names talk, each message answers the one before it.
    """
    turns = [turn for turn in turns if turn.text]
    if any(turn.role not in ROLES for turn in turns):
        yield from _among_people(turns, session)
        return
    asked: list[Message] = []
    answered: list[Message] = []

    def exchange() -> Iterator[Exchange]:
        if asked or answered:
            both = [*asked, *answered]
            model = next((turn.model for turn in reversed(answered) if turn.model), "")
            time = next((turn.time for turn in both if turn.time), began)
            query = "\n\n".join(f"{t.name}: {t.text}" if t.name else t.text for t in asked)
            yield Exchange(query, "\n\n".join(t.text for t in answered), session, model, time)

    for turn in turns:
        if turn.role in USER:
            if answered:
                yield from exchange()
                asked, answered = [], []
            asked.append(turn)
        else:
            answered.append(turn)
    yield from exchange()


def _among_people(turns: list[Message], session: str) -> Iterator[Exchange]:
    before = ""
    for turn in turns:
        said = f"{turn.name or turn.role}: {turn.text}"
        yield Exchange(before, said, session, turn.model, turn.time)
        before = said if size(said) <= TARGET else ""
