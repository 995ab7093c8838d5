"""What the page shows of the coach's attempts, and where a program's time goes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.coach.coach import Coach
from pxvm.coach.expression import text
from pxvm.coach.memory import Experience
from pxvm.core.container import decode_image, save_image
from pxvm.integration.server.wanted import RefusedError
from pxvm.learning import Network
from pxvm.models.graph.fields import Fields
from pxvm.visual.profile import profile
from pxvm.visual.profile_command import as_data

MOST_STEPS = 100_000  # instructions that a profile measures
MOST_SECONDS = 60  # that it takes: nobody can stop it


def coached(network: Network) -> dict[str, Any]:
    """Every attempt that a network tells of, and the pieces that were learned."""
    coach = Coach(network)
    attempts = [
        {
            "record": e.sequence,
            "task": e.task.name,
            "outcome": e.outcome,
            "by": e.by,
            "spent": dict(e.spent),
            "candidates": e.candidates,
            "doubt": e.doubt,
            "program": text(e.expression, list(e.task.inputs)) if e.expression else "",
            "picture": e.admitted is not None,
        }
        for e in coach.log()
    ]
    pieces = coach.memory.library.learned.pieces
    return {"attempts": attempts, "pieces": {name: text(body) for name, body in pieces.items()}}


def program(network: Network, number: int) -> bytes:
    """The picture of an attempt's program, with the first example's inputs in it."""
    attempts: dict[int, Experience] = {e.sequence: e for e in Coach(network).log()}
    found = attempts.get(number)
    if found is None or found.admitted is None:
        raise RefusedError(f"record {number} holds no program", 404)
    image = np.array(found.admitted.image)
    fields = Fields(image, found.admitted.program)
    for name, values in zip(found.task.inputs, found.task.given, strict=True):
        fields[name] = values[0]
    with tempfile.TemporaryDirectory(prefix="pxvm-studio-") as folder:
        path = Path(folder) / "program.pxi"
        save_image(image, path)
        return path.read_bytes()


def profiled(body: bytes) -> dict[str, Any]:
    """Where the time of a program goes, up to its first Yield."""
    begun = time.monotonic()

    def check(steps: int) -> None:
        if time.monotonic() - begun > MOST_SECONDS:
            raise RefusedError(
                f"the program has not ended after {steps} steps and {MOST_SECONDS} seconds:"
                " `pxvm profile` measures it for as long as it takes"
            )

    return as_data(profile(decode_image(body), max_steps=MOST_STEPS, report=check))
