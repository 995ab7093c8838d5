"""The click commands ``view``, ``trace``, ``diff`` and ``debug``; ``pxvm.cli`` adds them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pxvm.core.errors import MissingPackageError, PxvmError
from pxvm.terminal import counted, echo, echo_json, echo_table, echo_text, progress
from pxvm.terminal.options import FILE, larger_files

STOPPED = {
    "halted": "halted after {}",
    "yielded": "yielded after {}; more --runs go on from there",
    "max_steps": "stopped after {}, the most that --max-steps allows",
}


def _output(given: Path | None, kind: str, file: Path, *others: Path) -> Path:
    """Where a picture goes; refused before any work where it cannot go there."""
    from pxvm.core.saving import check_output

    target = given or file.with_name(f"{file.stem}.{kind}.png")
    check_output(target, file, *others)
    return target


@click.command(short_help="Render a labelled picture of a program.")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Picture to write (default: FILE.view.png).")
@click.option("--scale", type=click.IntRange(1, 64), help="Dots for one pixel of the program.")
@larger_files
@click.option("--run", "run_first", is_flag=True, help="Run the program first, show the result.")
@click.option("--json", "as_json", is_flag=True, help="Print what the picture shows as JSON.")
def view(
    file: Path, output: Path | None, scale: int | None, max_pixels: int | None, run_first: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Render a labelled picture of FILE: instructions, pixels, every region's values.

    --json prints {"output": path, "width": dots, "height": dots, "dialect": 0 or 1,
    "instructions": [text], "regions": [{"name", "role", "encoding", "shape", "color": [r, g, b]}]}.
    """
    from pxvm.core.container import open_image
    from pxvm.core.interpreter import run_program
    from pxvm.core.program import load_program
    from pxvm.core.saving import replacing
    from pxvm.visual.theme import region_colors
    from pxvm.visual.view import render_view

    target = _output(output, "view", file)
    image = open_image(file, max_pixels=max_pixels)
    if run_first:
        run_program(image)
    picture = render_view(image, file.name, scale=scale)
    with replacing(target) as stream:
        picture.save(stream, format="PNG")
    if not as_json:
        echo(f"wrote {target}: {picture.width}x{picture.height} dots")
        return
    program = load_program(image)
    colors = region_colors(program)
    regions = [
        {"name": r.name, "role": r.role, "encoding": r.encoding, "shape": r.shape,
         "color": colors[r.name]}
        for r in program.regions
    ]  # fmt: skip
    echo_json(
        {"output": str(target), "width": picture.width, "height": picture.height,
         "dialect": program.dialect, "instructions": [str(i) for i in program.instructions],
         "regions": regions}
    )  # fmt: skip


@click.command(short_help="Table and animation of a run.")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Animated PNG (default: FILE.trace.png).")
@click.option("--no-picture", is_flag=True, help="Only the table.")
@click.option("--max-steps", type=click.IntRange(0), default=1024, show_default=True,
              help="At most so many instructions.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True,
              help="Runs, each of which ends at a Yield.")  # fmt: skip
@click.option("--scale", type=click.IntRange(1, 64), help="Dots for one pixel of the program.")
@larger_files
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
def trace(
    file: Path,
    output: Path | None,
    no_picture: bool,
    max_steps: int,
    runs: int,
    scale: int | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Run FILE step by step: print a table, write an animated PNG. FILE is never changed.

    As with `pxvm run`, a run ends at Halt or Yield.

    --json prints {"steps": [{"step", "index", "text", "name", "reads": [region], "writes":
    [region], "changed": pixels, "low", "high"}], "stopped": "halted", "yielded", "max_steps" or the
    error, "output": path or null}; low and high are the extremes of the first region written, or
    null.
    """
    from pxvm.core.container import open_image
    from pxvm.core.saving import replacing
    from pxvm.visual.trace import trace as run_trace

    target = None if no_picture else _output(output, "trace", file)
    image = open_image(file, max_pixels=max_pixels)
    with progress("tracing, steps") as report:
        found = run_trace(
            image,
            max_steps=max_steps,
            runs=runs,
            frames=not no_picture,
            scale=scale,
            report=report,
        )
    if target:
        with replacing(target) as stream:
            found.save(stream)
    if as_json:
        echo_json({**found.to_dict(), "output": str(target) if target else None})
    else:
        echo_table(*found.table())
        if not found.error:
            echo(STOPPED[found.stopped].format(counted(len(found.rows), "step")))
        if target:
            echo(f"wrote {target}: {counted(len(found.frames), 'frame')}")
    if found.error:
        raise found.error


@click.command(short_help="First differing pixel of two images.")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("-o", "--output", type=FILE, help="Picture of both and their differences.")
@click.option("--run", type=click.IntRange(1), help="Run both, at most so many steps.")
@larger_files
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def diff(
    a: Path, b: Path, output: Path | None, run: int | None, max_pixels: int | None, as_json: bool
) -> None:
    """Compare images A and B; exit status 0 when they are equal, 1 when not, 2 on bad input.

    With --run N both programs are run side by side for at most N steps, beyond a Yield as well, and
    the first instruction whose results differ is named; its --json is {"step", "instructions": [a,
    b], "region", "at": [x, y], "pixels"} or null.

    --json prints {"same", "shapes": [[height, width]] of both, "count": differing pixels, "first":
    [x, y], "pixels": [rgba, rgba], "region", "forms": [text, text] of a region that is laid out in
    two ways, "instruction", "written_by": [text], "element": [index], "values": [a, b], "regions":
    {name: count}, "output": path or null}; what does not apply is null or empty.
    """
    from pxvm.core.container import open_image
    from pxvm.core.saving import replacing
    from pxvm.visual.diff import diff as compare
    from pxvm.visual.lockstep import first_divergence

    if run is not None and output:
        raise click.UsageError("--output is a picture of two images, without --run")
    target = _output(output, "diff", a, b) if output else None
    image_a, image_b = (open_image(file, max_pixels=max_pixels) for file in (a, b))
    if run is not None:
        with progress("comparing, steps") as report:
            parted = first_divergence(image_a, image_b, run, lambda steps: report(steps, run))
        if as_json:
            echo_json(parted.to_dict() if parted else None)
        else:
            echo(parted or f"no difference in {counted(run, 'step')} or to the end")
        raise SystemExit(1 if parted else 0)
    found = compare(image_a, image_b)
    if target:
        with replacing(target) as stream:
            found.picture((a.name, b.name)).save(stream, format="PNG")
    if as_json:
        echo_json({**found.to_dict(), "output": str(target) if target else None})
    else:
        echo_text(found)
        if target:
            echo(f"wrote {target}")
    if not found.same:
        raise SystemExit(1)


@click.command(short_help="Step forward and back in a terminal.")
@click.argument("file", type=FILE)
@click.option("--commands", help='Commands divided by ";", such as "step; print @8; back".')
@larger_files
@click.option("--json", "as_json", is_flag=True, help="With --commands: print outputs as JSON.")
def debug(file: Path, commands: str | None, max_pixels: int | None, as_json: bool) -> None:
    """Debug FILE in the terminal: forward, back, breakpoints, watches. FILE is never changed.

    With --commands nothing is interactive: each command and what it shows is printed. The command
    "help" lists the language. --json prints [{"command", "output"}] instead.
    """
    from pxvm.core.container import open_image
    from pxvm.core.installation import library
    from pxvm.visual.session import Session

    if commands is None and as_json:
        raise click.UsageError("--json needs --commands")
    if commands is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise PxvmError('the debugger needs a terminal; without one: --commands "step; print @8"')
    session = Session(open_image(file, max_pixels=max_pixels), source=file)
    if commands is not None:
        done: list[dict[str, str]] = []
        try:
            for command, shown in session.script(commands):
                done.append({"command": command, "output": shown})
                if not as_json:
                    echo_text(f"> {command}\n{shown}" if shown else f"> {command}")
        finally:
            if as_json:
                echo_json(done)
        return
    try:
        library("textual", "debug")
    except MissingPackageError as error:
        raise MissingPackageError(f'{error}; --commands "step; back" works without it') from None
    from pxvm.visual.debugger import Debugger

    Debugger(session, file.name).run()
