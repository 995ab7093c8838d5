"""The registry of golden files of dialect 1 that are laid out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.conformance.sheet import Sheet
from tests.core.big_model import Machine

Fill = Callable[[Sheet], None]


@dataclass(frozen=True)
class Case:
    """A file: the function that lays it out, on a width, and how it is run."""

    fill: Fill
    width: int = 16
    max_steps: int | None = None
    after: int = 0
    """So many steps were made before the program was stored."""
    rule: str | None = None
    """The rule of docs/VERIFIER.md that refuses it."""
    says: str = ""
    """What the verifier's message says then."""

    def built(self) -> np.ndarray:
        """The image, uint8 (height, width, 4)."""
        sheet = Sheet(self.width)
        self.fill(sheet)
        image = sheet.build()
        return after_steps(image, self.after) if self.after else image


CASES: dict[str, Case] = {}


def case(width: int = 16, max_steps: int | None = None) -> Callable[[Fill], Fill]:
    """Register a file, named like the function that lays it out."""

    def register(fill: Fill) -> Fill:
        CASES[fill.__name__] = Case(fill, width, max_steps)
        return fill

    return register


def stopped(name: str, steps: int) -> Callable[[Fill], Fill]:
    """Register two files: a program stopped after some steps, and going on from there."""

    def register(fill: Fill) -> Fill:
        CASES[f"{name}_stopped"] = Case(fill, max_steps=steps)
        CASES[f"{name}_resumed"] = Case(fill, after=steps)
        return fill

    return register


def refused(rule: str, says: str, width: int = 16) -> Callable[[Fill], Fill]:
    """Register a file that the verifier refuses."""

    def register(fill: Fill) -> Fill:
        CASES[f"refused_{rule.lower()}_{fill.__name__}"] = Case(fill, width, None, 0, rule, says)
        return fill

    return register


def after_steps(image: np.ndarray, steps: int) -> np.ndarray:
    """What the plain Python model makes of an image in so many steps."""
    machine = Machine(image.view("<u4").ravel().tolist(), image.shape[1])
    machine.run(steps)
    return np.array(machine.words, "<u4").view(np.uint8).reshape(image.shape)
