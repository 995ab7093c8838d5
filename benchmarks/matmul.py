"""MatMul of dialect 0, 1 x 128 by 128 x 1,024, beside element-by-element Python.

Run: ``python -m benchmarks.matmul``. The whole run of the program is timed, from pixels to pixels;
the Python side is the tests' plain model, which works on lists and must give the same bytes.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.container_open import best, shown
from pxvm.core import executors
from pxvm.core.builder import Builder
from pxvm.core.interpreter import run_program
from pxvm.core.program import Image
from tests.core import plain_model

INNER, COLUMNS = 128, 1024
GOAL = 100


def program(encoding: str) -> Image:
    """The product in one encoding, values from a fixed seed."""
    random = np.random.default_rng(0)
    builder = Builder()
    for name, shape in (("x", (1, INNER)), ("w", (INNER, COLUMNS))):
        if encoding == "plain":
            builder.matrix(name, random.integers(0, 4, shape))
        else:
            builder.quantised(name, random.normal(0, 1, shape))
    builder.result("y", 1, COLUMNS)
    builder.emit("MatMul", "x", "w", "y")
    return builder.build()


def plain_python(image: Image) -> tuple[float, bytes]:
    """Seconds and the result's bytes of element-by-element Python, conversion not counted."""
    height, width = image.shape[:2]
    picture = plain_model.from_bytes(image.tobytes(), width, height)
    seconds = best(lambda: plain_model.run(picture), 3)
    return seconds, plain_model.to_bytes(picture)


def main() -> None:
    """Print the table."""
    table = Table(title=f"MatMul 1 x {INNER} by {INNER} x {COLUMNS:,}, goal {GOAL}x")
    for column in ("encoding", "executor", "time", "plain Python", "ratio", "same bytes"):
        table.add_column(column, justify="right")
    for encoding in ("plain", "quantised"):
        image = program(encoding)
        slow, expected = plain_python(image.copy())
        for device in executors.installed():
            if executors.load(device).available():
                continue
            mine = image.copy()
            fast = best(lambda device=device, mine=mine: run_program(mine, device=device), 30)
            same = "yes" if mine.tobytes() == expected else "NO"
            times = f"{slow / fast:.0f}x"
            table.add_row(encoding, device, shown(fast), shown(slow), times, same)
    Console().print(table)


if __name__ == "__main__":
    main()
