"""How much of the evidence for questions about long conversations is found (LoCoMo).

The file is a list of conversations: ``sessions`` of ``turns`` (dia_id, speaker, text, sometimes
blip_caption) with a ``date``, and ``qa`` (question, category, evidence: dia_ids). A turn is a
record, a session its source. Questions without evidence are left out.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from pxvm.learning import Draft, Network, Record
from pxvm.learning.search.context import build_context, estimate_tokens
from pxvm.learning.search.embedding import Embedder
from pxvm.learning.search.search import Hit, Why, search

CUTS = (5, 10, 25)
DEPTH = 50
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}


class Turn(NamedTuple):
    """A turn and where it is from."""

    name: str
    session: str
    draft: Draft


class Answer(NamedTuple):
    """What was found for a question."""

    category: int
    recall: tuple[float, ...]
    all_turns: bool
    all_sessions: bool
    tokens: int


def turns_of(conversation: dict[str, Any]) -> list[Turn]:
    """The turns of a conversation as drafts."""
    found = []
    for session in conversation["sessions"]:
        moment = datetime.strptime(session["date"], "%I:%M %p on %d %B, %Y")
        for turn in session["turns"]:
            text = f"{turn['speaker']}: {turn['text']}"
            if caption := turn.get("blip_caption"):
                text += f" [shares {caption}]"
            draft = Draft(
                "", text, source=session["session"], event_time=moment.replace(tzinfo=timezone.utc)
            )
            found.append(Turn(turn["dia_id"], session["session"], draft))
    return found


def answers_of(
    conversation: dict[str, Any], turns: list[Turn], find: Callable[[str], list[Record]]
) -> list[Answer]:
    """Every question of a conversation, answered by ``find``."""
    by_id = {turn.draft.id: turn for turn in turns}
    answers = []
    for asked in conversation["qa"]:
        evidence = {name for text in asked["evidence"] for name in re.findall(r"D\d+:\d+", text)}
        if not evidence:
            continue
        records = find(asked["question"])
        found = [by_id[record.id].name for record in records]
        sessions = list(dict.fromkeys(record.source for record in records))
        wanted = {turn.session for turn in turns if turn.name in evidence}
        hits = [Hit(record, 0.0, Why()) for record in records[:10]]
        answers.append(
            Answer(
                asked["category"],
                tuple(len(evidence & set(found[:k])) / len(evidence) for k in CUTS),
                evidence <= set(found[:10]),
                wanted <= set(sessions[:10]),
                build_context(hits, 1 << 20).tokens,
            )
        )
    return answers


def plain_words(records: list[Record]) -> Callable[[str], list[Record]]:
    """FTS5's BM25 over single turns, as it comes."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE text USING fts5 (words, tokenize='porter unicode61')")
    rows = [(number, record.answer) for number, record in enumerate(records)]
    db.executemany("INSERT INTO text (rowid, words) VALUES (?, ?)", rows)

    def find(question: str) -> list[Record]:
        terms = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question.lower()))
        asked = "SELECT rowid FROM text WHERE text MATCH ? ORDER BY rank LIMIT ?"
        return [records[number] for (number,) in db.execute(asked, (terms, DEPTH))]

    return find


def plain_vectors(records: list[Record], embedder: Embedder) -> Callable[[str], list[Record]]:
    """Cosine of single turns."""
    values = np.stack([r.vectors[0].values * np.float32(r.vectors[0].scale) for r in records])

    def find(question: str) -> list[Record]:
        order = np.argsort(-(values @ embedder.real([question])[0]), kind="stable")
        return [records[number] for number in order[:DEPTH]]

    return find


def locomo(path: Path, folder: Path) -> Table:
    """The table: recall of evidence turns, with both scores and with words alone."""
    conversations = json.loads(path.read_text(encoding="utf-8"))
    embedder = Embedder.present()
    answers: dict[str, list[Answer]] = defaultdict(list)
    whole = []
    for number, conversation in enumerate(conversations):
        turns = turns_of(conversation)
        drafts = [turn.draft for turn in turns]
        whole.append(sum(estimate_tokens(draft.answer) for draft in drafts))
        with Network.open(folder / f"locomo{number}.png") as network:
            network.append_many(embedder.with_vectors(drafts) if embedder else drafts)
            records = list(network.records())

            def ours(
                with_it: Embedder | None, network: Network = network, last: Draft = drafts[-1]
            ) -> Callable[[str], list[Record]]:
                return lambda question: [
                    hit.record
                    for hit in search(
                        network, question, DEPTH, embedder=with_it, now=last.event_time
                    )
                ]

            ways = {"BM25 of single turns": plain_words(records), "words only": ours(None)}
            if embedder is not None:
                ways["cosine of single turns"] = plain_vectors(records, embedder)
                ways["words and meaning"] = ours(embedder)
            for name, find in ways.items():
                answers[name] += answers_of(conversation, turns, find)
    table = Table(title=f"LoCoMo, {len(conversations)} conversations; 10 hits cost tokens of "
                        f"{np.mean(whole):,.0f} in a whole conversation")  # fmt: skip
    columns = [f"turn recall@{k}" for k in CUTS]
    for column in ("search", "questions", *columns, "all turns@10", "all sessions@10", "tokens"):
        table.add_column(column, justify="right")
    for name, found in answers.items():
        table.add_row(f"{name}, all", *_row(found))
        for category, label in CATEGORIES.items():
            some = [answer for answer in found if answer.category == category]
            if some:
                table.add_row(label, *_row(some))
    return table


def _row(answers: Sequence[Answer]) -> list[str]:
    recall = np.array([answer.recall for answer in answers]).mean(axis=0)
    rates = [
        *recall,
        np.mean([answer.all_turns for answer in answers]),
        np.mean([answer.all_sessions for answer in answers]),
    ]
    tokens = np.mean([answer.tokens for answer in answers])
    return [str(len(answers)), *(f"{100 * rate:.1f}" for rate in rates), f"{tokens:,.0f}"]
