"""``pxvm profile``: time, bytes and operations per opcode."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from pxvm.core.container import open_image
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
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Run FILE one instruction at a time and show where the time goes. FILE is never changed."""
    image = open_image(file, max_pixels=max_pixels)
    for setting in settings:
        set_scalar(image, setting)
    with progress("profiling, instructions") as report:
        found = measure(
            image, device=device, threads=threads, max_steps=max_steps, runs=runs, report=report
        )
    if as_json:
        echo_json(as_data(found))
        return
    if instructions:
        _print_table(found, "instruction", found.lines())
    _print_table(found, "opcode", found.opcodes())
    echo(_summary(found))


def as_data(found: Profile) -> dict[str, Any]:
    """A profile as JSON wants it."""
    total = _seconds(found.lines())
    return {
        "device": found.device,
        "threads": found.threads,
        "steps": found.steps,
        "measured_ms": 1e3 * found.measured,
        "empty_step_us": 1e6 * found.empty,
        "straight_ms": 1e3 * found.straight,
        "opcodes": [line.figures(total) for line in found.opcodes()],
        "instructions": [
            {"index": index, "operands": found.instructions[index][1], **line.figures(total)}
            for index, line in zip(sorted(found.instructions), found.lines(), strict=True)
        ],
    }


def _seconds(lines: Iterable[Line]) -> float:
    return sum(max(line.seconds, 0.0) for line in lines)


def _summary(found: Profile) -> str:
    stops = found.steps * found.empty
    return (
        f"{counted(found.steps, 'instruction')} in {1e3 * found.measured:.3f} ms, of which"
        f" {1e3 * stops:.3f} ms for the stops between them ({1e6 * found.empty:.1f} µs each,"
        f" subtracted above); without stops {1e3 * found.straight:.3f} ms"
    )


def _rate(value: float | None) -> str:
    """A rate with three digits; nothing where the time was lost in the noise of the stops."""
    return "" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"


def _print_table(found: Profile, what: str, lines: list[Line]) -> None:
    columns = {what: "left", **dict.fromkeys(("count", "ms", "share", "GB/s", "Gop/s"), "right")}
    total = _seconds(lines)
    rows = []
    for line in [*lines, found.total()]:
        f = line.figures(total)
        rates = [_rate(f[key]) for key in ("GB/s", "Gop/s")]
        share = "" if line.name == "all" else f"{f['share']:.1%}"
        rows.append((line.name, line.count, f"{f['ms']:.3f}", share, *rates))
    echo_table(columns, rows)
