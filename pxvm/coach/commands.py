"""``pxvm coach``: solve tasks, teach programs, ask what was solved, see how it went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pxvm.integration.backends import NAMES
from pxvm.learning.commands.shared import json_option, network_option
from pxvm.terminal import counted, echo, echo_json, echo_table, echo_text
from pxvm.terminal.options import FILE, device_option, larger_files

if TYPE_CHECKING:
    from pxvm.coach.coach import Attempt
    from pxvm.coach.memory import Experience, Memory

MAKER = "pxvm coach solve"


@click.group(short_help="Write pixel programs for tasks, and remember them.")
def coach() -> None:
    """Find programs for tasks that are given by examples, run them, remember what worked."""


task_option = click.option(
    "--task", "task_path", type=FILE, required=True, help="The task that the program is for."
)


@coach.command(short_help="Find a program for a task.")
@click.argument("task_path", metavar="TASK", type=FILE)
@network_option
@click.option("--budget", type=click.IntRange(1), default=20_000, show_default=True,
              help="Candidates that are tried at most.")  # fmt: skip
@click.option("--backend", type=click.Choice(NAMES), help="A language model that proposes, too.")
@click.option("--url", help="Its server's address.")
@click.option("--model", help="The model, as the back end calls it.")
@device_option("confirms programs")
@click.option("-o", "--output", type=FILE, help="Write the program's picture here.")
@json_option
def solve(
    task_path: Path, path: Path, budget: int, backend: str | None, url: str | None,
    model: str | None, device: str, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Look for a program for TASK, a JSON file of examples, and remember what came of it.

    Exit status 1: no program was found that gives the hidden examples as well.
    """
    from pxvm.coach.coach import Coach
    from pxvm.coach.task import read_task
    from pxvm.core.container import save_image
    from pxvm.core.saving import check_output
    from pxvm.integration.connecting import connect
    from pxvm.learning.commands.shared import output_target, writing

    task = read_task(task_path)
    if output is not None:
        check_output(output_target(output, path), task_path)
    device = "reference" if device == "auto" else device
    with writing(path, make=True) as network:
        speaker = connect(backend, url, model, _tell) if backend else None
        try:
            attempt = Coach(network, backend=speaker, device=device).solve(task, budget)
        finally:
            if speaker is not None:
                speaker.close()
        sequence = network.record(attempt.record).sequence
    if output is not None and attempt.image is not None:
        save_image(attempt.image, output)
    _show(attempt, sequence, output, as_json)
    if attempt.outcome != "solved":
        raise SystemExit(1)


def _tell(line: str) -> None:
    echo(line, err=True)


def _show(attempt: Attempt, sequence: int, output: Path | None, as_json: bool) -> None:
    from pxvm.coach.expression import text

    names = list(attempt.task.inputs)
    program = text(attempt.expression, names) if attempt.expression else ""
    if as_json:
        echo_json(
            {
                "task": attempt.task.name, "outcome": attempt.outcome, "by": attempt.by,
                "spent": dict(attempt.spent), "program": program, "record": sequence,
                "output": str(output) if output and attempt.image is not None else None,
            }
        )  # fmt: skip
        return
    cost = ", ".join(f"{name} {count:,}" for name, count in attempt.spent.items())
    by = f" by {attempt.by}" if attempt.by else ""
    echo(f"{attempt.outcome}{by}: {attempt.task.name}")
    echo(f"candidates: {cost or 'none'}")
    if program:
        echo(f"program: {program}")
    if output is not None and attempt.image is not None:
        echo(f"wrote {output}")
    echo(f"remembered as record {sequence}")


@coach.command(short_help="Remember a program that you wrote.")
@click.argument("file", type=FILE)
@task_option
@network_option
@larger_files
@json_option
def teach(file: Path, task_path: Path, path: Path, max_pixels: int | None, as_json: bool) -> None:
    """Check that the program in FILE gives a task's examples, and remember it.

    It has the task's inputs as I32 tensors of the state by their names, and leaves the result in
    one called out.
    """
    from pxvm.coach.coach import Coach
    from pxvm.coach.errors import TaskError
    from pxvm.coach.task import read_task
    from pxvm.core.container import open_image
    from pxvm.core.errors import ProgramError
    from pxvm.learning.commands.shared import writing

    task = read_task(task_path)
    image = open_image(file, max_pixels=max_pixels)
    with writing(path, make=True) as network:
        try:
            attempt = Coach(network).teach(image, task)
        except (ProgramError, TaskError) as error:
            raise TaskError(f"{file}: {error}") from None
        sequence = network.record(attempt.record).sequence
    _show(attempt, sequence, None, as_json)
    if attempt.outcome != "solved":
        raise SystemExit(1)


@coach.command("log", short_help="What was tried, by which proposer, at what cost.")
@network_option
@json_option
def log_command(path: Path, as_json: bool) -> None:
    """List every attempt that the memory tells of, and the pieces and phrases that were learned."""
    from pxvm.coach.expression import text

    attempts, known = _read(path)
    pieces, phrases = known.library.learned.pieces, known.phrases.learned
    if as_json:
        echo_json(
            {
                "attempts": [
                    {
                        "record": e.sequence, "task": e.task.name, "outcome": e.outcome,
                        "by": e.by, "spent": dict(e.spent), "doubt": e.doubt,
                    }
                    for e in attempts
                ],
                "pieces": {name: text(body) for name, body in pieces.items()},
                "phrases": [{"words": p.said, "means": text(p.means)} for p in phrases],
            }
        )  # fmt: skip
        return
    echo_table(
        {"record": "right", "outcome": "left", "by": "left", "candidates": "right", "task": "left"},
        [
            (str(e.sequence), "not used" if e.doubt else e.outcome, e.by, f"{e.candidates:,}",
             e.task.name)
            for e in attempts
        ],
    )  # fmt: skip
    for e in attempts:
        if e.doubt:
            echo(f"record {e.sequence} is not used: {e.doubt}", err=True)
    echo(counted(len(pieces), "piece"))
    for name, body in pieces.items():
        echo(f"  {name.lstrip('@')} = {text(body)}")
    echo(counted(len(phrases), "phrase"))
    for phrase in phrases:
        echo(f"  {phrase.said} = {text(phrase.means)}")


def _read(path: Path) -> tuple[list[Experience], Memory]:
    from pxvm.coach.coach import Coach
    from pxvm.learning.commands.shared import reading

    with reading(path, MAKER) as network:
        known = Coach(network)
        return known.log(), known.memory


@coach.command(short_help="Draw how the attempts went.")
@network_option
@click.option("-o", "--output", type=FILE, required=True, help="The PNG to write.")
def curve(path: Path, output: Path) -> None:
    """Draw what each attempt cost, and how many of the last were solved."""
    from pxvm.coach.curve import draw_curve
    from pxvm.learning.commands.shared import output_target, save_picture

    target = output_target(output, path)
    attempts, _ = _read(path)
    save_picture(draw_curve(attempts), target)
    echo(f"wrote {target}: {counted(len(attempts), 'attempt')}")


@coach.command(short_help="Ask what was solved.")
@click.argument("question", nargs=-1, required=True)
@network_option
@click.option("-o", "--output", type=FILE, help="Write the best program's picture here.")
@json_option
def ask(question: tuple[str, ...], path: Path, output: Path | None, as_json: bool) -> None:
    """Answer QUESTION from what was solved: the program, its picture, a command that runs it.

    Exit status 1: nothing that was solved is like it.
    """
    from pxvm.coach.asking import answer
    from pxvm.coach.coach import Coach
    from pxvm.core.container import save_image
    from pxvm.learning.commands.shared import output_target, reading

    target = output_target(output or Path("answer.pxi"), path)
    with reading(path, MAKER) as network:
        found = answer(Coach(network), " ".join(question))
    if found is None:
        echo("nothing that was solved is like this", err=True)
        raise SystemExit(1)
    save_image(found.example, target)
    if as_json:
        echo_json({"record": found.sequence, "task": found.name, "program": found.program,
                   "code": found.code, "output": str(target)})  # fmt: skip
        return
    echo(f"{found.name} (record {found.sequence})")
    echo(f"program: {found.program}")
    echo_text(found.code)
    echo(f"wrote {target}, with the first example in it; run it: pxvm run {target}")
