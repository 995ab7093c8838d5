"""Commands around models: ``models``, ``chat``, ``generate``, ``embed``, ``eval``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pxvm.terminal import Answer, ask, counted, echo, echo_json, progress
from pxvm.terminal.options import TEXT, Command, device_option, larger_files

if TYPE_CHECKING:
    from pxvm.models.model import Model

FILE = click.Path(path_type=Path, dir_okay=False)


def _together(options: list[Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def add(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return add


opening = _together(
    [
        click.argument("model"),
        device_option("runs it"),
        click.option("--threads", type=click.IntRange(1), help="Worker threads (default: all)."),
        larger_files,
    ]
)
answering = _together(
    [
        click.option("--context", type=click.IntRange(2), help="Tokens (default: the model's)."),
        click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True,
                     help="The answer is cut after so many tokens."),
        click.option("--temperature", type=float, default=0.0, show_default=True,
                     help="0 takes the most likely token."),
        click.option("--top-k", type=int, default=40, show_default=True,
                     help="Draw from so many of the most likely tokens, 1 to 1,024."),
        click.option("--top-p", type=float, default=1.0, show_default=True,
                     help="Of those, as few as together reach this share of the probability."),
        click.option("--penalty", type=float, default=1.0, show_default=True,
                     help="Above 1 the text repeats itself less."),
        click.option("--seed", type=int, default=0, show_default=True,
                     help="Above temperature 0: the same seed draws the same answer."),
        click.option("--stop", multiple=True, help="Text that ends the answer; may be repeated."),
        click.option("--schema", type=TEXT, help="JSON schema that the answer follows."),
        click.option("--regex", help="Regular expression that the answer matches."),
        click.option("--grammar", type=TEXT, help="Lark grammar that it follows."),
        click.option("--save-state", type=FILE, help="Write the picture with its state here."),
    ]
)  # fmt: skip


def file_of(name: str, quant: str | None = None, agreed: bool = False) -> Path:
    """The file of a model by path or name; a name is fetched, and it is shown how far that is.

    In a terminal, who has not agreed to its licence is asked first.
    """
    from pxvm.models.download import get, here, is_name, licence

    if not is_name(name):
        return Path(name)
    if quant is None and (path := here(name)):
        return path
    if not agreed and (terms := licence(name)) and sys.stdin.isatty():
        echo(f"{name} is used under {terms}", err=True)
        agreed = (ask("Do you agree? [y/N] ") or "").strip().lower() in ("y", "yes")
    with progress(f"fetching {name}") as update:
        return get(name, lambda what, done, total: update(done, total, what), quant, agreed=agreed)


def open_model(
    name: str, device: str, threads: int | None, max_pixels: int | None,
    context: int | None = None, output: Path | None = None, *inputs: str,
) -> Model:  # fmt: skip
    """Open a model by path or name, for an output that can be written and is none of the inputs."""
    from pxvm.core.saving import check_output
    from pxvm.models.model import Model

    if output:
        check_output(output, *inputs)
    path = file_of(name)
    if output:
        check_output(output, path)
    return Model.open(str(path), device, threads, context, max_pixels)


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """What the command line says about an answer, as ``Model.chat`` takes it."""
    found = {name: given[name] for name in ("max_tokens", "temperature", "top_k", "top_p",
             "penalty", "seed", "stop", "regex")}  # fmt: skip
    for name in ("schema", "grammar"):
        found[name] = given[name].read() if given[name] else None
    return found


def forms(given: dict[str, Any]) -> list[str]:
    """The files that the command line names for an answer's form, which no output may replace."""
    return [given[name].name for name in ("schema", "grammar") if given[name]]


@click.group(short_help="Models by name: list, get, path.")
def models() -> None:
    """Models that are fetched by name and kept in the user's cache."""


@models.command("list", short_help="What there is, and what is here.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_models(as_json: bool) -> None:
    """List the models that have names, and where those are that were fetched."""
    from pxvm.models.download import facts

    rows = facts()
    if as_json:
        echo_json(rows)
        return
    width = max([10, *(len(row["name"]) for row in rows)])
    for row in rows:
        where = f"not here, {(row['download_bytes'] or 0) / 1e6:.0f} MB to fetch"
        if row["path"]:
            where = f"{row['bytes'] / 1e6:.0f} MB at {row['path']}"
        echo(f"{row['name']:<{width}} {row['about']}: {where}")


@models.command("get", short_help="Fetch a model and make its picture.")
@click.argument("name")
@click.option("--quant", help="Make it again with weights as `pxvm import --quant` says.")
@click.option("--accept-licence", is_flag=True, help="Agree to the model's terms unasked.")
def get_model(name: str, quant: str | None, accept_licence: bool) -> None:
    """Fetch the model NAME, check it, convert it, and print its path.

    NAME is smollm2 (a chat model), minilm (sentences to vectors), gemma3 (asks whether you agree to
    its terms), as `pxvm models list` shows, or of a hub hf:OWNER/NAME or hf:OWNER/NAME/FILE.gguf.
    """
    from pxvm.models.download import cached

    cached(name)  # the name is known
    echo(file_of(name, quant, accept_licence))


@models.command("path", short_help="Where a model that was fetched is.")
@click.argument("name")
def path_of_model(name: str) -> None:
    """Print the path of the model NAME; exit status 1 when it is not here."""
    from pxvm.models.download import cached

    path = cached(name)
    if not path.exists():
        echo(f"{name} is not here: pxvm models get {name}", err=True)
        raise SystemExit(1)
    echo(path)


@click.command(short_help="Talk with a model.")
@opening
@click.argument("message", required=False)
@click.option("--system", help="What the model is told before the conversation.")
@answering
@click.option("--json", "as_json", is_flag=True, help='Print {"text": …, "finish": …}.')
def chat(
    model: str, message: str | None, system: str | None, device: str, threads: int | None,
    max_pixels: int | None, context: int | None, save_state: Path | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Answer MESSAGE with MODEL (a .pxi or a name), or talk until the input ends.

    A MESSAGE of "-" is read from standard input; so is one that is missing, where that is no
    terminal. Ctrl-C ends an answer, Ctrl-D the conversation.
    """
    options = options_of(given)
    if message == "-" or (message is None and not sys.stdin.isatty()):
        message = sys.stdin.read().strip()
        if not message:
            raise click.UsageError("expected a message; standard input is empty")
    opened = open_model(model, device, threads, max_pixels, context, save_state, *forms(given))
    messages = [{"role": "system", "content": system}] if system else []
    if message is not None:
        messages.append({"role": "user", "content": message})
        _show(opened, opened.chat(messages, stream=True, **options), as_json)
    else:
        _converse(opened, messages, options)
    if save_state:
        opened.save_state(save_state)


def _converse(opened: Model, messages: list[dict[str, str]], options: dict[str, Any]) -> None:
    """A conversation in a terminal."""
    from pxvm.models.generation import ContextError
    from pxvm.models.text.template import MessageError

    while (said := ask("> ")) is not None:
        if not said.strip():
            continue
        messages.append({"role": "user", "content": said})
        try:
            text = _show(opened, opened.chat(messages, stream=True, **options), False)
        except (ContextError, MessageError) as error:  # the next message may do
            echo(error, err=True)
            messages.pop()
        else:
            messages.append({"role": "assistant", "content": text})


def _show(opened: Model, pieces: Iterator[str], as_json: bool) -> str:
    """Print an answer as it comes; Ctrl-C ends it. Returns its text."""
    found, answer = [], Answer()
    with suppress(KeyboardInterrupt):
        for piece in pieces:
            found.append(piece)
            if not as_json:
                answer.put(piece)
    text = "".join(found)
    if as_json:
        echo_json({"text": text, "finish": opened.finish}, indent=None)
        return text
    answer.end()
    if opened.finish == "length":
        drawn, context = len(opened.generator.drawn()), opened.generator.context
        why = f"after {counted(drawn, 'token')}; --max-tokens takes more"
        if opened.generator.position >= context:
            why = f"where the context of {counted(context, 'token')} is full"
        echo(f"(cut {why})", err=True, dim=True)
    return text


@click.command(short_help="Continue a text.")
@opening
@click.argument("text")
@answering
@click.option("--json", "as_json", is_flag=True, help='Print {"text": …, "finish": …}.')
def generate(
    model: str, text: str, device: str, threads: int | None, max_pixels: int | None,
    context: int | None, save_state: Path | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Continue TEXT with MODEL (a .pxi or a name); "-" reads it from standard input."""
    options = options_of(given)
    start = sys.stdin.read() if text == "-" else text
    opened = open_model(model, device, threads, max_pixels, context, save_state, *forms(given))
    _show(opened, opened.generate(start, stream=True, **options), as_json)
    if save_state:
        opened.save_state(save_state)


@click.command(short_help="Turn sentences into vectors.")
@opening
@click.argument("texts", nargs=-1)
@click.option(
    "--file",
    "source",
    type=TEXT,
    help='Embed each line of this file; "-" is standard input.',
)
@click.option("-o", "--output", type=FILE, help="Write a .npy instead of JSON.")
def embed(
    model: str, texts: tuple[str, ...], device: str, threads: int | None,
    max_pixels: int | None, source: Any, output: Path | None,
) -> None:  # fmt: skip
    """Print a JSON array of vectors of length 1, one for each of TEXTS, or write them to a file."""
    import numpy as np

    from pxvm.core.saving import replacing

    if not texts and source is None:
        raise click.UsageError("expected texts, or --file with some")
    name = [source.name] if source else []
    opened = open_model(model, device, threads, max_pixels, None, output, *name)
    vectors = opened.embed([*texts, *(line.rstrip("\n") for line in source or [])])
    if output:
        with replacing(output) as stream:
            np.save(stream, vectors)
        sizes = counted(len(vectors), "vector")
        echo(f"wrote {output}: {sizes} of {counted(vectors.shape[1], 'number')}")
    else:
        echo_json([[float(x) for x in row] for row in vectors], indent=None)


@click.command("eval", short_help="Perplexity of a text.")
@opening
@click.option("--text", type=TEXT, required=True, help="The text.")
@click.option("--context", type=click.IntRange(2), help="Tokens of a window (default: model's).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def eval_command(
    model: str, text: Any, device: str, threads: int | None, max_pixels: int | None,
    context: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure how well MODEL predicts a text: exp of the mean loss of its tokens, in nats."""
    opened = open_model(model, device, threads, max_pixels, context)
    with progress("tokens", not as_json) as update:
        loss, count = opened.score(text.read(), update)
    perplexity = math.exp(loss / count)
    if as_json:
        echo_json({"perplexity": perplexity, "tokens": count, "loss": loss / count}, indent=None)
    else:
        echo(f"perplexity {perplexity:.3f} over {counted(count, 'token')}")
