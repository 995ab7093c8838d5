"""``pxvm profile``: time, bytes and operations per opcode, as tables, JSON and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pxvm.core.container import open_image
from pxvm.core.saving import check_output, replacing
from pxvm.terminal import counted, echo, echo_json, echo_table, progress
from pxvm.terminal.options import FILE, device_option, larger_files, set_option
from pxvm.visual.profile import Line, Profile, set_scalar
from pxvm.visual.profile import profile as measure


@click.command(short_help="Time, bytes and operations per opcode.")
@click.argument("file", type=FILE)
@device_option("runs it")
@click.option("--threads", type=click.IntRange(1), help="Worker threads (default: all).")
@click.option("--max-steps", type=click.IntRange(0), help="At most so many instructions.")
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True,
              help="Runs, each of which ends at a Yield.")  # fmt: skip
@set_option
@click.option("--instructions", is_flag=True, help="One line for each instruction as well.")
@click.option("-o", "--output", type=FILE, help="Picture to write.")
@larger_files
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def profile(
    file: Path,
    device: str,
    threads: int | None,
    max_steps: int | None,
    runs: int,
    settings: tuple[str, ...],
    instructions: bool,
    output: Path | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Run FILE one instruction at a time and show where the time goes. FILE is never changed.

    "of copy" is the rate of an instruction's bytes as a share of that at which the device copies
    memory. A GPU times its instructions with its own clock where it has one.
    """
    if output:
        check_output(output, file)
    image = open_image(file, max_pixels=max_pixels)
    for setting in settings:
        set_scalar(image, setting)
    with progress("profiling, instructions") as report:
        found = measure(
            image, device=device, threads=threads, max_steps=max_steps, runs=runs, report=report
        )
    if output:
        from pxvm.visual.profile_picture import draw

        picture = draw(found, file.name, summary(found))
        with replacing(output) as stream:
            picture.save(stream, format="PNG")
    if as_json:
        echo_json(as_data(found))
        return
    if instructions:
        _print_table(found, "instruction", found.lines())
    _print_table(found, "opcode", found.opcodes())
    echo(summary(found))
    if output:
        echo(f"wrote {output}, {picture.width} x {picture.height} dots")


def as_data(found: Profile) -> dict[str, Any]:
    """A profile as JSON wants it."""
    total, copy = found.seconds(), found.copy
    return {
        "device": found.device,
        "threads": found.threads,
        "steps": found.steps,
        "measured_ms": 1e3 * found.measured,
        "empty_step_us": 1e6 * found.empty,
        "straight_ms": 1e3 * found.straight,
        "copy_GB/s": copy / 1e9,
        "clock": found.clock,
        "opcodes": [line.figures(total, copy) for line in found.opcodes()],
        "instructions": [
            {"index": index, "operands": found.instructions[index][1], **line.figures(total, copy)}
            for index, line in zip(sorted(found.instructions), found.lines(), strict=True)
        ],
    }


def summary(found: Profile) -> str:
    """How long it took in all, and by which clock."""
    stops, own = found.steps * found.empty, 1e3 * found.seconds()
    share = (
        f"{own:.3f} ms by the device's own clock"
        if found.clock == "device"
        else f"{1e3 * stops:.3f} ms for the stops between them ({1e6 * found.empty:.1f} µs each,"
        " subtracted above)"
    )
    return (
        f"{counted(found.steps, 'instruction')} in {1e3 * found.measured:.3f} ms, of which {share};"
        f" without stops {1e3 * found.straight:.3f} ms; the device copies"
        f" {found.copy / 1e9:.3g} GB/s"
    )


def _rate(value: float | None) -> str:
    """A rate with three digits; nothing where the time was lost in the noise of the stops."""
    return "" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"


def _print_table(found: Profile, what: str, lines: list[Line]) -> None:
    columns = {
        what: "left",
        **dict.fromkeys(("count", "ms", "share", "GB/s", "of copy", "Gop/s"), "right"),
    }
    total = found.seconds()
    rows = []
    for line in [*lines, found.total()]:
        f = line.figures(total, found.copy)
        part = "" if f["of copy"] is None else f"{f['of copy']:.1%}"
        rates = [_rate(f["GB/s"]), part, _rate(f["Gop/s"])]
        share = "" if line.name == "all" else f"{f['share']:.1%}"
        rows.append((line.name, line.count, f"{f['ms']:.3f}", share, *rates))
    echo_table(columns, rows)
