"""Decoding beside other work: threads that adapt (see ``pxvm.cpu.crew``), as many as there are
processors, and one, in turns; nobody else at work, and each processor but one, and all, kept busy.

Run: ``python -m benchmarks.busy [--llama FOLDER]``. Tokens a second of SmolLM2, and of llama.cpp
(see ``_llama``) with the same weights and as many threads as there are processors.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._llama import Peer, PeerError, missing, peers
from benchmarks._parts import parser
from pxvm import Model
from pxvm.core.resources import processors
from pxvm.cpu.crew import Crew
from pxvm.models.download import fetch
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


def theirs(peer: Peer) -> float:
    """The same of a build of llama.cpp; 0 where it has ended."""
    try:
        peer.call("decode", 0, 1, FIRST)
        return TOKENS / peer.timed("decode", FIRST, 1, TOKENS)[0]
    except PeerError:
        return 0.0


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table."""
    reads = parser(__doc__)
    reads.add_argument("--llama", action="append", default=[], type=Path, metavar="FOLDER")
    given, here, others = reads.parse_args(arguments), processors(), []
    if lacking := missing():
        print(lacking)
    with tempfile.TemporaryDirectory() as folder:
        if not lacking:
            gguf = fetch("smollm2", Path(folder), lambda *_: None)
            others = peers(gguf, 512, given.llama, print)
        for peer in others:
            peer.call("threads", here)
        try:
            Console(width=120).print(table(here, others))
        finally:
            for peer in others:
                peer.close()


def table(here: int, others: Sequence[Peer]) -> Table:
    """Tokens a second of everybody, round by round."""
    arms: dict[str, Callable[[], float]] = {
        "adapting": lambda: speed(here, ADAPTING),
        f"{here} threads": lambda: speed(here, steady),
        "one": lambda: speed(1, steady),
        **{peer.name: lambda peer=peer: theirs(peer) for peer in others},
    }  # fmt: skip
    found = Table("busy neighbours", *arms, title="SmolLM2, tokens a second, each round")
    for neighbours in (0, here - 1, here):
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in range(neighbours)]
        try:
            rounds = [[arm() for arm in arms.values()] for _ in range(ROUNDS)]
        finally:
            for process in busy:
                process.kill()
                process.wait()
        cells = (", ".join(f"{value:.1f}" for value in arm) for arm in zip(*rounds, strict=True))
        found.add_row(str(neighbours), *cells)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
