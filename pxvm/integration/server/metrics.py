"""Counters in Prometheus' text format."""

from __future__ import annotations

import threading
from collections import Counter

HELP = {
    "pxvm_requests_total": "Requests by path and status.",
    "pxvm_request_seconds": "Seconds from request to its answer's end.",
    "pxvm_first_piece_seconds": "Seconds from request to the first piece of its answer.",
    "pxvm_prompt_tokens_total": "Tokens taken in.",
    "pxvm_answer_tokens_total": "Tokens drawn.",
    "pxvm_batch_steps_total": "Executions that drew tokens.",
    "pxvm_batch_rows_total": "Tokens drawn by them.",
    "pxvm_answers_under_way": "Answers under way, and those that wait.",
    "pxvm_learned_total": "Exchanges stored.",
    "pxvm_not_learned_total": "Exchanges that could not be stored.",
}


class Metrics:
    """What has happened since the server started; every thread may count."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, value: float = 1, **labels: object) -> None:
        """Count; labels become part of the name, as Prometheus writes them."""
        shown = ",".join(f'{key}="{label}"' for key, label in labels.items())
        with self._turn:
            self._counts[f"{name}{{{shown}}}" if shown else name] += value  # type: ignore[assignment]

    def took(self, name: str, seconds: float) -> None:
        """A time, as sum and count."""
        self.add(f"{name}_sum", seconds)
        self.add(f"{name}_count")

    def text(self, **now: float) -> str:
        """All of it; ``now`` are gauges."""
        with self._turn:
            rows = {**self._counts, **now}
        lines = []
        for name, what in HELP.items():
            mine = [row for row in sorted(rows) if row.split("{")[0].startswith(name)]
            if mine:
                summary = name.endswith("_seconds")
                kind = "summary" if summary else "counter" if name.endswith("_total") else "gauge"
                lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
                lines += [f"{row} {rows[row]!r}" for row in mine]
        return "\n".join(lines) + "\n"
