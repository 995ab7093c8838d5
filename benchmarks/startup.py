"""``pxvm run`` of a 16 x 16 program from the shell, beside what Python itself needs.

Run: ``python -m benchmarks.startup``. Medians of several new processes each; processor time is
what stays the same on a busy machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pxvm.core.container import save_image
from pxvm.core.fontcode import assemble

REPEATS = 11
GOAL = 0.3
PROGRAM = """\
.image 16x16
.matrix @1 2x3 = 1 2 3 4 5 6
.matrix @4 3x2 = 7 8 9 10 11 12
M@1@4@8
H
"""


def medians(*command: str) -> tuple[float, float]:
    """Median (elapsed, processor) seconds of a command, after a run that warms the page cache."""
    times = []
    for _ in range(REPEATS + 1):
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True)
        elapsed, after = time.perf_counter() - start, os.times()
        user = after.children_user - before.children_user
        system = after.children_system - before.children_system
        times.append((elapsed, user + system))
    elapsed_all, processor_all = zip(*times[1:], strict=True)
    return statistics.median(elapsed_all), statistics.median(processor_all)


def main() -> None:
    """Print the table."""
    table = Table(title=f"From the shell, goal {GOAL} s")
    table.add_column("command")
    table.add_column("seconds", justify="right")
    table.add_column("processor", justify="right")
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "matmul.pxi", Path(folder) / "result.png"
        save_image(assemble(PROGRAM), source)
        run = ("-m", "pxvm.cli", "run", str(source), "-o", str(target))
        for name, command in (
            ("python -c pass", ("-c", "pass")),
            ("python -c 'import numpy'", ("-c", "import numpy")),
            ("python -c 'import numpy, click'", ("-c", "import numpy, click")),
            ("pxvm run matmul.pxi", run),
            ("pxvm run --device reference", (*run, "--device", "reference")),
            ("pxvm --help", ("-m", "pxvm.cli", "--help")),
        ):
            elapsed, processor = medians(python, *command)
            table.add_row(name, f"{elapsed:.3f}", f"{processor:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
