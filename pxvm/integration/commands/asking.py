"""``pxvm ask`` and ``pxvm talk``: a model answers, with what the memory knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pxvm.integration.backends import AUTO, NAMES
from pxvm.learning.commands.shared import json_option, network_option
from pxvm.terminal import echo, echo_json, echo_text, readable_answer
from pxvm.terminal.options import Command, device_option

if TYPE_CHECKING:
    from pxvm.integration.backends import Backend
    from pxvm.integration.conversation import Conversation
    from pxvm.integration.memory import Remembers

FILE = click.Path(path_type=Path)


def _backend_options(command: Command) -> Command:
    options: list[Callable[[Command], Command]] = [
        click.option("--backend", type=click.Choice(NAMES), default=AUTO, show_default=True,
                     help="Which kind of server; or the model in this process."),
        click.option("--url", help="The server's address, such as http://localhost:1234/v1."),
        click.option("--model", help="The model, as the back end calls it."),
        device_option("runs the embedded model"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _connected(backend: str, url: str | None, model: str | None, device: str) -> Backend:
    from pxvm.integration.connecting import connect

    return connect(backend, url, model, lambda line: echo(line, err=True), device)


@click.command(short_help="Ask a model, with what the memory knows.")
@click.argument("question", nargs=-1)
@click.option(
    "-n",
    "--network",
    "paths",
    type=FILE,
    multiple=True,
    envvar="PXVM_NETWORK",
    help="The network's file (default: knowledge.png); repeat it to ask several.",
)
@click.option("--learn-to", type=FILE, help="Of several networks the one that learns.")
@_backend_options
@click.option("--no-context", is_flag=True, help="Answer without the memory.")
@click.option("--no-learn", is_flag=True, help="Do not store the exchange.")
@click.option(
    "--show-context",
    is_flag=True,
    help="Print the evidence, and draw where it lies in the picture.",
)
@click.option("--system", default="", help="What the model is told before the question.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 2), default=0.0, show_default=True)
@json_option
def ask(
    question: tuple[str, ...], paths: tuple[Path, ...], learn_to: Path | None, backend: str,
    url: str | None, model: str | None, device: str, no_context: bool, no_learn: bool,
    show_context: bool, system: str, max_tokens: int, temperature: float, as_json: bool,
) -> None:  # fmt: skip
    """Answer QUESTION (or standard input) by a language model, from what the memory knows.

    The answer is stored with its question, unless several networks are asked and none is named by
    --learn-to. Where no LM Studio answers, the embedded model does.
    """
    from pxvm.integration.conversation import Conversation
    from pxvm.integration.reading import as_text

    said = as_text(" ".join(question) if question else sys.stdin.read())
    if not said.strip():
        raise click.UsageError("expected a question")
    chosen = paths or (Path("knowledge.png"),)
    learns = not no_learn and (len(chosen) == 1 or learn_to is not None)
    with (
        _memory(chosen, learn_to, learns) or nullcontext() as memory,
        closing(_connected(backend, url, model, device)) as answering,
    ):
        conversation = Conversation(answering, memory, learns=learns, system=system)
        _answer(conversation, said.strip(), not no_context, as_json,
                max_tokens=max_tokens, temperature=temperature)  # fmt: skip
        if show_context and memory is not None:
            _show_evidence(conversation, chosen)


def _memory(paths: tuple[Path, ...], learn_to: Path | None, learns: bool) -> Remembers | None:
    from pxvm.integration.memory import Memory
    from pxvm.integration.orchestration import NetworkOrchestrator

    if len(paths) > 1 or learn_to is not None:
        return NetworkOrchestrator(paths, learn_to=learn_to)
    if not learns and not paths[0].exists():
        return None
    return Memory(paths[0], read_only=not learns)


def _answer(
    conversation: Conversation, question: str, use_context: bool, as_json: bool, **options: Any
) -> None:
    answer = None if as_json else readable_answer()
    try:
        for piece in conversation.stream(question, use_context, **options):
            if answer:
                answer.put(piece)
    finally:
        if answer:
            answer.end()
    last, memory = conversation.last, conversation.memory
    if last is None:
        return
    conversation.settle()
    if as_json:
        backend = conversation.backend
        echo_json(
            {
                "question": last.question,
                "answer": last.answer,
                "model": backend.model,
                "backend": backend.name,
                "records": [hit.record.sequence for hit in last.used],
                "stored": last.stored.result() if last.stored else None,
                "recalling": round(last.recalling, 4),
                "answering": round(last.answering, 4),
                "unsearched": conversation.seen.unsearched,
            },
            indent=None,
        )
        return
    if last.used and memory is not None:
        echo(f"(from {memory.named(last.used)})", err=True, dim=True)
    if conversation.seen.warning:
        echo(f"({conversation.seen.warning})", err=True)


def _show_evidence(conversation: Conversation, paths: tuple[Path, ...]) -> None:
    from pxvm.learning.commands.shared import output_target, reading, save_picture
    from pxvm.learning.picture.picture import draw_hits
    from pxvm.learning.search.words import asked

    seen = conversation.seen
    if not seen.hits or conversation.last is None:
        echo("nothing is known of this", err=True)
        return
    echo_text(seen.text, err=True)
    words = asked(conversation.last.question)
    for path in paths:
        with reading(path) as network:
            hits = [
                hit
                for hit in seen.hits
                if network.counts(hit.record.id)
                and network.record(hit.record.id).sequence == hit.record.sequence
            ]
            if hits:
                target = output_target(Path(f"{path.stem}.evidence.png"), path)
                save_picture(draw_hits(network, hits, words), target)
                echo(f"wrote {target}", err=True)


@click.command(short_help="Talk with a model that remembers.")
@network_option
@_backend_options
@click.option("--system", default="", help="What the model is told before the conversation.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)
def talk(
    path: Path, backend: str, url: str | None, model: str | None, device: str, system: str,
    max_tokens: int,
) -> None:  # fmt: skip
    """Talk until the input ends; each finished exchange is learned. /help lists commands.

    Ctrl-C stops an answer, Ctrl-D ends the conversation; a line that ends in a backslash goes on.
    """
    from pxvm.integration.conversation import Conversation
    from pxvm.integration.memory import Memory
    from pxvm.integration.talking import talk as converse

    # The memory before the model, which may have to be fetched.
    with Memory(path) as memory, closing(_connected(backend, url, model, device)) as answering:
        converse(Conversation(answering, memory, system=system), memory, max_tokens)
