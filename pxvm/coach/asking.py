"""What was solved, for people: the program that answers a question, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pxvm.coach.coach import Coach
from pxvm.coach.expression import text
from pxvm.coach.memory import SOLVED
from pxvm.core.parts import Image
from pxvm.models.graph.fields import Fields

FOUND = 24  # records that are looked through


@dataclass(frozen=True)
class Answer:
    """A solved task that is like a question.

    Attributes:
        program: as an expression, or that it is none.
        code: its font-code.
        example: its picture with the first example's inputs in it.
    """

    sequence: int
    name: str
    program: str
    code: str
    example: Image


def answer(coach: Coach, question: str) -> Answer | None:
    """The solved task whose record answers a question best; None where none does."""
    network = coach.memory.network
    if network is None:
        return None
    known = {e.id: e for e in coach.log() if e.outcome == SOLVED and not e.doubt}
    for hit in network.search(question, FOUND, kinds=["program"], embedder=None):
        e = known.get(hit.record.id)
        if e is None or e.admitted is None:
            continue
        image = np.array(e.admitted.image)
        fields = Fields(image, e.admitted.program)
        for name, values in zip(e.task.inputs, e.task.given, strict=True):
            fields[name] = values[0]
        program = text(e.expression, list(e.task.inputs)) if e.expression else "no expression"
        return Answer(e.sequence, e.task.name, program, e.code, image)
    return None
