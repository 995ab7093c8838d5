"""Decoding beside other work: threads that adapt (see ``pxvm.cpu.crew``), as many as there are
processors, and one, in turns; nobody else at work, and each processor but one, and all, kept busy.

Run: ``python -m benchmarks.busy``. Tokens a second of SmolLM2, in one process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice

from rich.console import Console
from rich.table import Table

from pxvm import Model
from pxvm.core.resources import processors
from pxvm.cpu.crew import Crew
from pxvm.models.generation import Sampling

TOKENS, FIRST, ROUNDS = 48, 4, 3
ADAPTING = Crew.worked


def steady(self: Crew, *_: object) -> None:
    """As many threads as there were."""


def speed(threads: int, judge: Callable[..., None]) -> float:
    """Tokens a second, after the first few."""
    Crew.worked = judge  # type: ignore[method-assign]
    with Model.open("smollm2", threads=threads, device="cpu") as model:
        prompt = model.tokenizer.encode("Once upon a time")
        answer = model.generator.answer(prompt, Sampling(temperature=0.0))
        list(islice(answer, FIRST))
        begin = time.perf_counter()
        found = len(list(islice(answer, TOKENS))) / (time.perf_counter() - begin)
    Crew.worked = ADAPTING  # type: ignore[method-assign]
    return found


def main() -> None:
    """Print the table."""
    here = processors()
    arms = {"adapting": (here, ADAPTING), f"{here} threads": (here, steady), "one": (1, steady)}
    table = Table("busy neighbours", *arms, title="SmolLM2, tokens a second, each round")
    for neighbours in (0, here - 1, here):
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(neighbours)]
        try:
            rounds = [[speed(*arm) for arm in arms.values()] for _ in range(ROUNDS)]
        finally:
            for process in busy:
                process.kill()
                process.wait()
        cells = (", ".join(f"{value:.1f}" for value in arm) for arm in zip(*rounds, strict=True))
        table.add_row(str(neighbours), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
