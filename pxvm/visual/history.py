"""A machine that also steps back.

Every step leaves what it changed; recent steps are kept one by one, older ones merged into
*stretches* of many steps. Stepping back undoes the newest entry; inside a stretch it undoes the
whole stretch and replays it up to the step wanted, which the machine's determinism makes exact.
Memory follows the changes, not the size of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

from pxvm.core.machine import Machine, Step
from pxvm.core.program import Image
from pxvm.visual.pixels import Changes, Shadow, merge, no_changes

SPACING = 64
BUDGET = 256 << 20  # bytes of changes kept before stretches are merged further
BYTES_A_CHANGE = 16


@dataclass(frozen=True)
class Entry:
    """What steps ``start`` (exclusive) to ``stop`` (inclusive) changed."""

    start: int
    stop: int
    changes: Changes


class History:
    """A run that can go both ways.

    Args:
        image: mutated in place.
        spacing: steps in a stretch, and how many recent steps are kept one by one at least.
        budget: bytes of changes from which stretches get longer.

    Raises ProgramError when the program is refused.
    """

    def __init__(self, image: Image, *, spacing: int = SPACING, budget: int = BUDGET) -> None:
        self.machine = Machine(image)
        self.shadow = Shadow(image, self.machine.program)
        self.spacing, self.budget = max(1, spacing), budget
        self._stretches: list[Entry] = []
        self._recent: list[Entry] = []

    @property
    def position(self) -> int:
        """Steps made since the start."""
        return self.machine.steps

    def forward(self) -> tuple[Step, Changes] | None:
        """Make one step; None when halted. Raises ExecutionError, and nothing has changed."""
        start = self.machine.steps
        step = self.machine.step()
        if step is None:
            return None
        changes = self.shadow.update(step)
        self._recent.append(Entry(start, self.machine.steps, changes))
        if len(self._recent) >= 2 * self.spacing:
            self._stretches.append(_join(self._recent[: self.spacing]))
            del self._recent[: self.spacing]
            self._shrink()
        return step, changes

    def back(self) -> Changes | None:
        """Undo one step: what it had changed, or None at the start."""
        if not self._recent:
            if not self._stretches:
                return None
            self._unfold(self.position)
        entry = self._recent.pop()
        self.shadow.put_back(entry.changes)
        self.machine.restore((entry.start, self.machine.image))
        return entry.changes

    def _unfold(self, target: int) -> None:
        """Undo the newest stretch and replay it step by step up to ``target``."""
        stretch = self._stretches.pop()
        self.shadow.put_back(stretch.changes)
        self.machine.restore((stretch.start, self.machine.image))
        while self.machine.steps < target:
            start = self.machine.steps
            changes = self.shadow.update(self.machine.step())
            self._recent.append(Entry(start, self.machine.steps, changes))

    def _shrink(self) -> None:
        """Join neighbouring stretches while they hold more than the budget."""
        while len(self._stretches) > 1 and self._bytes() > self.budget:
            pairs = [self._stretches[i : i + 2] for i in range(0, len(self._stretches), 2)]
            self._stretches = [_join(pair) for pair in pairs]

    def _bytes(self) -> int:
        return BYTES_A_CHANGE * sum(len(entry.changes) for entry in self._stretches)


def _join(entries: list[Entry]) -> Entry:
    changes = no_changes(entries[0].changes.width)
    for entry in entries:
        changes = merge(changes, entry.changes)
    return Entry(entries[0].start, entries[-1].stop, changes)
