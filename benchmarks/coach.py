"""The coach beside itself without memory: tasks solved, candidates, false successes.

    python -m benchmarks.coach                 both grammars, 300 tasks each, 20,000 candidates each
    python -m benchmarks.coach --silent        the same tasks without their words: examples alone
    python -m benchmarks.coach --tasks F.jsonl tasks of your own, one JSON object a line

Numbers of candidates depend on the seed alone; seconds on the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._coach_tasks import OTHER, OTHER_INPUTS, tasks, tree
from pxvm.coach.coach import Attempt, Coach
from pxvm.coach.memory import SOLVED, UNSOLVED, WRONG
from pxvm.coach.task import Task, task_of
from pxvm.learning import Network

LAST = 100
Arms = dict[str, list[Attempt]]


def compared(title: str, given: Sequence[Task], budget: int) -> None:
    """Every task in turn, with a memory and without; a table after every hundred."""
    print(f"\n{title}: {len(given)} tasks, {budget:,} candidates each", flush=True)
    arms: Arms = {"with memory": [], "without": []}
    seconds = dict.fromkeys(arms, 0.0)
    with TemporaryDirectory() as folder, Network.open(Path(folder) / "coach.png") as network:
        coaches = dict(zip(arms, (Coach(network), Coach()), strict=True))
        for number, task in enumerate(given, 1):
            for name, coach in coaches.items():
                begun = time.process_time()
                arms[name].append(coach.solve(task, budget))
                seconds[name] += time.process_time() - begun
            if number % LAST == 0 or number == len(given):
                print(f"\nafter {number} tasks")
                table(arms, list(seconds.values()))
        if arms["with memory"]:
            print(f"pieces learned: {len(coaches['with memory'].memory.library.learned.pieces)}")


def table(arms: Arms, seconds: Sequence[float]) -> None:
    """What both arms came to."""
    print(f"{'':36}{'with memory':>14}{'without':>14}{'ratio':>8}")

    def row(name: str, values: Sequence[float]) -> None:
        ratio = f"{values[0] / values[1]:8.2f}" if values[1] else ""
        print(f"{name:<36}{values[0]:>14,.6g}{values[1]:>14,.6g}{ratio}")

    row("solved of all", [sum(a.outcome == SOLVED for a in arm) for arm in arms.values()])
    last = [arm[-LAST:] for arm in arms.values()]
    row(f"solved of the last {LAST}", [sum(a.outcome == SOLVED for a in arm) for arm in last])
    costs = [[a.candidates for a in arm if a.outcome == SOLVED] for arm in last]
    row("candidates of a solved one, median", [median(c) if c else 0 for c in costs])
    every = [[a.candidates for a in arm] for arm in last]
    row("candidates of any task, median", [median(c) for c in every])
    both = [
        (a.candidates, b.candidates)
        for a, b in zip(*last, strict=True)
        if a.outcome == b.outcome == SOLVED
    ]
    row(f"the same of the {len(both)} solved by both",
        [median(c) if c else 0 for c in zip(*both, strict=True)] or [0, 0])  # fmt: skip
    false = [
        100 * sum(a.outcome == WRONG for a in arm) / max(1, sum(a.outcome != UNSOLVED for a in arm))
        for arm in arms.values()
    ]
    row("false successes, percent", false)
    spent = [sum(a.candidates for a in arm) for arm in arms.values()]
    row("candidates in all", spent)
    row("candidates a second of processor", [n / s for n, s in zip(spent, seconds, strict=True)])
    by = {name: [sum(a.by == name for a in arm[-LAST:]) for arm in arms.values()]
          for name in ("recall", "phrases", "glance", "retrieval", "search")}  # fmt: skip
    for name, counts in by.items():
        row(f"the last {LAST}: found by {name}", counts)
    for wanted in range(1, 7):
        mark = f"of depth {wanted}"
        row(f"solved {mark}",
            [sum(a.outcome == SOLVED and mark in a.task.name for a in arm)
             for arm in arms.values()])  # fmt: skip
    print(end="", flush=True)


def main(arguments: Sequence[str] = ()) -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--budget", type=int, default=20_000)
    parser.add_argument("--grammar", choices=["development", "other", "both"], default="both")
    parser.add_argument("--tasks", type=Path, help="JSON lines of tasks, instead of the grammars'")
    parser.add_argument("--silent", action="store_true", help="without the words of the tasks")
    options = parser.parse_args(arguments)
    several: dict[str, Iterable[Task]] = {}
    if options.tasks:
        lines = options.tasks.read_text(encoding="utf-8").splitlines()
        several[str(options.tasks)] = [
            task_of(json.loads(line), f"line {n}") for n, line in enumerate(lines, 1) if line
        ]
    else:
        if options.grammar != "other":
            several["grammar of development"] = tasks(options.seed, options.count)
        if options.grammar != "development":
            several["another grammar"] = tasks(
                options.seed, options.count, OTHER, OTHER_INPUTS, tree
            )
    for title, given in several.items():
        silent = [replace(task, words="") for task in given] if options.silent else list(given)
        compared(title, silent, options.budget)


if __name__ == "__main__":
    main(sys.argv[1:])
