"""How far long work is: a bar on a terminal, elsewhere a line now and then, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pxvm.terminal.escaping import visible
from pxvm.terminal.printing import echo

#: Called with what is done and what there is in all (0: unknown); also with another title.
Update = Callable[..., None]

FIRST = 10.0  # seconds before the first line where there is no terminal
LATER = 0.25  # and before the next ones, as a share of the time passed
LONG = 100_000  # counts above it are shown as a share


@contextmanager
def progress(title: str, shown: bool = True) -> Iterator[Update]:
    """Yields ``update(done, total=0, title=None)``, to be called as often as there is news."""
    if not shown:
        yield lambda done, total=0, title=None: None
    elif sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield _Lines(title)


def _bar(title: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(title), total=None, count="")

        def update(done: int, total: int = 0, title: str | None = None) -> None:
            name = None if title is None else visible(title)
            bar.update(
                task,
                description=name,
                completed=done,
                total=total or None,
                count=_count(done, total),
            )

        yield update


class _Lines:
    """A line after ten seconds, and then ever more seldom, with the time left where it is known."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.began = time.monotonic()
        self.next = self.began + FIRST
        self.stage = self.began, 0, 0  # since when this is counted, from what, and to what

    def __call__(self, done: int, total: int = 0, title: str | None = None) -> None:
        self.title = self.title if title is None else title
        now = time.monotonic()
        since, first, last = self.stage
        if total != last or done < first:  # another stage of the work
            self.stage = since, first, last = (now if last else since), (done if last else 0), total
        if now >= self.next:
            left = (now - since) * (total - done) / (done - first) if first < done <= total else 0
            parts = ", ".join(filter(None, (_count(done, total), _left(left))))
            echo(": ".join(filter(None, (self.title, parts))), err=True)
            self.next = now + max(FIRST, LATER * (now - self.began))


def _count(done: int, total: int) -> str:
    if total > LONG:
        return f"{done / total:.0%}"
    return f"{done:,} of {total:,}" if total else f"{done:,}" if done else ""


def _left(seconds: float) -> str:
    """About how long it still takes; nothing where that is not known, or next to nothing."""
    if seconds < 1:
        return ""
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"
