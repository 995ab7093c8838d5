"""A coach that gets better: ten tasks, then ten harder ones, with what it learned and without.

Tasks are examples made with NumPy; the coach writes pixel programs that give them, and its memory
is a picture. Exits with 1 when remembering did not help.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.coach import Attempt, Coach, Task
from pxvm.coach.curve import draw_curve
from pxvm.coach.expression import text
from pxvm.core.saving import replacing
from pxvm.examples.common import DEMO, command_line, save_program, shown
from pxvm.learning import Network
from pxvm.visual.view import render_view

NETWORK, CURVE = DEMO / "coach.png", DEMO / "coach.curve.png"
BUDGET = 12_000  # candidates for a task

Made = Callable[..., "np.ndarray"]
EASY: dict[str, Made] = {
    "the sum": lambda x: x.sum(),
    "the largest": lambda x: x.max(),
    "the negative": lambda x: -x,
    "the smallest": lambda x: x.min(),
    "the range": lambda x: np.ptp(x),
    "the absolute values": lambda x: abs(x),
    "where it is positive": lambda x: (x > 0) * 1,
    "how many are positive": lambda x: (x > 0).sum(),
    "the difference": lambda x, y: x - y,
    "the larger of the two": lambda x, y: np.maximum(x, y),
}
HARDER: dict[str, Made] = {
    "the largest absolute value": lambda x: abs(x).max(),
    "the sum of the absolute values": lambda x: abs(x).sum(),
    "the smallest absolute value": lambda x: abs(x).min(),
    "the range of the absolute values": lambda x: np.ptp(abs(x)),
    "the squares of the absolute values' range": lambda x: np.ptp(abs(x)) ** 2,
    "the absolute differences": lambda x, y: abs(x - y),
    "the distance, summed": lambda x, y: abs(x - y).sum(),
    "the largest absolute difference": lambda x, y: abs(x - y).max(),
    "the range of the difference": lambda x, y: np.ptp(x - y),
    "the smallest of the larger ones": lambda x, y: np.maximum(x, y).min(),
}


def task(name: str, function: Made) -> Task:
    """Twelve examples that are shown and twelve that judge."""
    inputs = dict.fromkeys(function.__code__.co_varnames, (1, 6))
    rng = np.random.default_rng(len(name))
    given = tuple(rng.integers(-9, 10, (24, *shape)) for shape in inputs.values())
    wanted = np.stack([np.reshape(function(*row), (1, -1)) for row in zip(*given, strict=True)])
    shape = (1, wanted.shape[2])
    return Task(name, name, inputs, shape, given, wanted, np.arange(24) >= 12)


def line(with_memory: Attempt, without: Attempt) -> str:
    """A row of the table."""
    first = f"{with_memory.candidates:>6,} {with_memory.by or 'not solved':<10}"
    second = f"{without.candidates:>6,} {without.by or 'not solved':<10}"
    return f"  {with_memory.task.name:<42}{first}  {second}"


def main() -> int:
    """Solve them all; the exit status."""
    DEMO.mkdir(parents=True, exist_ok=True)
    for old in [NETWORK, *DEMO.glob(f"{NETWORK.stem}.p*.png")]:
        old.unlink(missing_ok=True)
    with Network.open(NETWORK) as network:
        coach, forgetful = Coach(network), Coach()
        pairs: list[tuple[Attempt, Attempt]] = []
        for title, tasks in (("ten tasks", EASY), ("ten harder ones", HARDER)):
            print(f"{title:<44}{'with memory':<19}without")
            for name, function in tasks.items():
                made = task(name, function)
                pairs.append((coach.solve(made, BUDGET), forgetful.solve(made, BUDGET)))
                print(line(*pairs[-1]), flush=True)
        with replacing(CURVE) as stream:
            draw_curve([a for a, _ in pairs], [b for _, b in pairs]).save(stream, format="PNG")
    harder = pairs[len(EASY) :]
    solved = [sum(pair[arm].outcome == "solved" for pair in harder) for arm in (0, 1)]
    costs = [median(pair[arm].candidates for pair in harder) for arm in (0, 1)]
    print(f"of the harder ones solved: {solved[0]} with memory, {solved[1]} without;"
          f" candidates, median: {costs[0]:,.0f} and {costs[1]:,.0f}")  # fmt: skip
    best = max((a for a, _ in pairs if a.image is not None), key=lambda a: len(str(a.expression)))
    assert best.image is not None and best.expression is not None
    print(f"{best.task.name}: {text(best.expression, list(best.task.inputs))}")
    save_program(best.image, DEMO / "coach.program.pxi")
    render_view(best.image, "coach.program").save(DEMO / "coach.program.view.png")
    print(f"wrote {shown(NETWORK)}, the memory, and {shown(CURVE)}, how it went")
    if solved[0] <= solved[1] or costs[0] >= costs[1]:
        print("WRONG: remembering did not help", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    sys.exit(main())
