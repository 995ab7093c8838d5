"""The coach: writes pixel programs for tasks, runs them, remembers what worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pxvm.coach.coach import Attempt, Coach
    from pxvm.coach.task import Task

__all__ = ["Attempt", "Coach", "Task", "read_task", "task_of"]


def __getattr__(name: str) -> Any:
    """Loads what is asked for only then."""
    if name in ("Attempt", "Coach"):
        from pxvm.coach import coach

        return getattr(coach, name)
    if name in ("Task", "read_task", "task_of"):
        from pxvm.coach import task

        return getattr(task, name)
    raise AttributeError(f"module 'pxvm.coach' has no attribute {name!r}")
