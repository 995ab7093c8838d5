"""Learning, shown: a made-up fact is asked, taught, and asked again in other words."""

from __future__ import annotations

import time

from pxvm.integration.conversation import Conversation
from pxvm.integration.memory import Memory
from pxvm.learning import Draft
from pxvm.terminal import Answer, counted, echo

MOST = 60  # tokens of an answer


def demonstrate(
    conversation: Conversation, memory: Memory, question: str, fact: Draft, again: str
) -> str:
    """Print the whole story with what it costs; returns the last answer."""
    network = memory.network
    echo("1. Asked without the memory:", bold=True)
    said(conversation, question, use_context=False)
    memory.embedded(fact)  # so that what is compiled once does not count
    before, began = network.stats(), time.perf_counter()
    identity = memory.append(fact).result()
    took, after = time.perf_counter() - began, network.stats()
    number = network.record(identity).sequence
    echo()
    echo("2. Taught:", bold=True)
    echo(fact.answer)
    rows, size = (after[key] - before[key] for key in ("rows", "bytes"))
    echo(
        f"   record {number} of {memory.path}: {rows} rows of pixels, {size:,} bytes,"
        f" {took * 1e3:.0f} ms",
        dim=True,
    )
    echo()
    echo("3. Asked again, in other words:", bold=True)
    conversation.turns.clear()
    answer = said(conversation, again)
    last = conversation.last
    if last is not None and last.used:
        echo(
            f"   from {memory.named(last.used)}; found in {last.recalling * 1e3:.0f} ms;"
            f" the memory holds {counted(len(network), 'record')}",
            dim=True,
        )
    return answer


def said(conversation: Conversation, question: str, use_context: bool = True) -> str:
    """Ask a question and print it with the answer as it comes."""
    echo(f"> {question}")
    answer, pieces = Answer(), []
    for piece in conversation.stream(question, use_context, max_tokens=MOST):
        answer.put(piece)
        pieces.append(piece)
    answer.end()
    return "".join(pieces)
