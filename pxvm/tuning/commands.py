"""``pxvm tune``: bits of weights, and how programs are run, by what was measured."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pxvm.learning.commands.shared import json_option, network_option
from pxvm.terminal import counted, echo, echo_json, echo_table, progress
from pxvm.terminal.options import FILE, TEXT

if TYPE_CHECKING:
    from pxvm.tuning.quantise import Result
    from pxvm.tuning.trials import Trials


@click.group(short_help="Choose by measuring: bits of weights, ways to run.")
def tune() -> None:
    """Choose what is smallest or fastest by measuring, and remember it in a memory."""


@tune.command(short_help="Choose how a model's weights are stored.")
@click.argument("model")
@click.option("-o", "--output", type=FILE, required=True, help="The .pxi to write.")
@click.option(
    "--target",
    type=click.Choice(["bytes", "quality"]),
    default="bytes",
    show_default=True,
    help="As small as possible and as good as the default import, or as good as possible"
    " and as small.",
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Trials: runs of the model with other choices.",
)
@click.option("--text", type=TEXT, help="What the model reads (default: a short text of ours).")
@click.option("--predictor", type=FILE, help="Write the program that predicts damage here.")
@network_option
@json_option
def quantise(
    model: str, output: Path, target: str, budget: int, text: Any, predictor: Path | None,
    path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Store each weight of MODEL in eight bits or four, as its damage is measured or predicted.

    MODEL is what `pxvm import` takes, a language model or a BERT, or smollm2 or minilm. What is
    measured is remembered, and the next model begins with what is known. Exit status 1: the default
    import is at its bound, and OUTPUT is not written.
    """
    from pxvm.core.saving import check_output
    from pxvm.learning.commands.shared import output_target, writing
    from pxvm.models.download import cached, fetch, here, is_name
    from pxvm.models.families.checkpoint import open_checkpoint
    from pxvm.models.importing.importer import check_target
    from pxvm.tuning import quantise as tuning
    from pxvm.tuning.predictor import Predictor
    from pxvm.tuning.records import Damage, read, store
    from pxvm.tuning.text import TEXT as OURS
    from pxvm.tuning.trials import Trials

    words = OURS if text is None else text.read()
    check_target(output_target(output, path), model)
    if predictor is not None:
        check_output(output_target(predictor, path), model, output)
    if not is_name(model):
        open_checkpoint(Path(model))  # what is none makes no memory
    with writing(path, make=True) as network, tempfile.TemporaryDirectory() as folder:
        known = list(read(network, Damage))
        source, default = Path(model), None
        if is_name(model):
            cached(model)
            default = here(model)
            with progress(f"fetching {model}", not as_json) as update:
                source = fetch(model, Path(folder), lambda what, d, a: update(d, a, what))
        with Trials(source, words, default=default) as trials:
            measured: list[Damage] = []
            try:
                with progress("trials", not as_json) as update:
                    found = tuning.tune(
                        trials, known, budget=budget, target=target, measured=measured, told=update
                    )
            finally:
                store(network, measured)
            if predictor is not None:
                learned = Predictor([*known, *measured])
                if learned.image is None:
                    echo("note: too little was measured for a predictor", err=True)
                else:
                    learned.save(predictor)
            changed = bool(found.choices) or found.fine
            size = trials.write(output, found.choices) if changed else 0
            _show(trials, found, output if changed else None, size, as_json)
    if not changed:
        raise SystemExit(1)


def _show(trials: Trials, found: Result, output: Path | None, size: int, as_json: bool) -> None:
    if as_json:
        echo_json(
            {
                "output": str(output) if output else None, "bytes": size,
                "weights": found.bytes, "default_weights": found.default_bytes,
                "loss": found.loss, "default_loss": found.default_loss, "trials": found.trials,
                "measured": len(found.measured), "predicted": found.predicted,
                "choices": dict(found.choices), "fine": found.fine,
            }
        )  # fmt: skip
        return
    measured = counted(len(found.measured), "measurement")
    echo(f"{counted(found.trials, 'trial')}, {measured} remembered, {found.predicted} predicted")
    if output is None:
        echo("the default import is at its bound: no choice that was tried is better")
        return
    if trials.embeds:
        quality = f"cosine {1 - found.loss:.5f}, by default {1 - found.default_loss:.5f}"
    else:
        quality = (
            f"perplexity {math.exp(found.loss):.4f}, by default {math.exp(found.default_loss):.4f}"
        )
    less = 1 - found.bytes / found.default_bytes
    echo(f"{len(found.choices)} of {counted(len(trials.weights), 'weight')} in four bits:"
         f" {less:.1%} fewer bytes of weights; {quality}")  # fmt: skip
    echo(f"wrote {output}: {size:,} bytes")


@tune.command(short_help="Find how a program runs fastest here.")
@click.argument("program")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=9,
    show_default=True,
    help="Runs, in turns with the defaults, that decide.",
)
@network_option
@json_option
def speed(program: str, rounds: int, path: Path, as_json: bool) -> None:
    """Try the ways to run PROGRAM, a .pxi or the name of a model, and remember what they took.

    None of them changes a byte of what comes out. Once `pxvm tune auto on` was said, programs like
    it run the best way on this machine.
    """
    from pxvm.core import choices
    from pxvm.learning.commands.shared import writing
    from pxvm.models.commands import file_of
    from pxvm.tuning import speed as tuning
    from pxvm.tuning.records import Pace, store

    subject = tuning.Subject(file_of(program))
    with writing(path, make=True) as network:
        measured: list[Pace] = []
        try:
            with progress("measuring", not as_json) as update:
                found = tuning.tune(
                    subject, tuning.known(network), rounds=rounds, measured=measured,
                    told=lambda what: update(0, 0, what),
                )  # fmt: skip
        finally:
            store(network, measured)
        if choices.known() is not None:
            choices.switch(tuning.best_of(tuning.known(network)))
    if as_json:
        echo_json({"program": found.shape, "busy": found.busy, "settings": found.settings,
                   "ratios": found.ratios, "measured": len(found.measured)})  # fmt: skip
        return
    said = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    echo(f"best: {said or 'the defaults'}; {counted(found.busy, 'busy neighbour')}")
    for work, ratio in found.ratios.items():
        echo(f"  {work}: {ratio:.2f} times as fast as the default")
    if choices.known() is None:
        echo("`pxvm tune auto on` lets programs run as was measured to be best")


@tune.command(short_help="Let programs run as was measured: on, off, show.")
@click.argument("state", type=click.Choice(["on", "off", "show"]))
@network_option
@json_option
def auto(state: str, path: Path, as_json: bool) -> None:
    """Let `auto` go by what the memory knows of this machine (on), by the defaults (off), or tell.

    While it is on, ordinary runs note what they took, in the cache folder, and that counts as well.
    `on`, said again, takes these notes into the memory, and lets go of what was forgotten there.
    """
    from pxvm.core import choices, notes
    from pxvm.learning.commands.shared import writing
    from pxvm.tuning.speed import best_of, known

    if state == "on":
        with writing(path, maker="pxvm tune speed") as network:
            choices.switch(best_of(known(network)))
    elif state == "off":
        choices.switch(None)
    there = choices.known()
    if as_json:
        table = {name: s.what for name, s in choices.settings().items()}
        echo_json({"on": there is not None, "best": there or {}, "noted": len(notes.read()),
                   "settings": table})  # fmt: skip
        return
    echo("off: every program runs by the defaults" if there is None
         else f"on: {counted(len(there), 'program')} known on this machine")  # fmt: skip
    for name, chosen in (there or {}).items():
        echo(f"  {name}: {', '.join(f'{k} {v}' for k, v in chosen.items())}")
    if state == "show":
        echo(f"noted by ordinary runs: {counted(len(notes.read()), 'line')}")
        echo_table(
            {"setting": "left", "default": "left", "or": "left", "what": "left"},
            [(name, str(s.default or "all"), ", ".join(map(str, s.values)), s.what)
             for name, s in choices.settings().items()],
        )  # fmt: skip
