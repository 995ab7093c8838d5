"""The reference executor beside the compiled one: small programs, then a larger network.

Run: ``python -m benchmarks.conformance_speed``. Each program is run to its end from a fresh copy of
its image; medians of processor time on one thread, verifying left out. Goal: the reference takes at
most 30 times as long.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pxvm.core import executors
from pxvm.core.container import read_image
from pxvm.core.errors import PxvmError
from pxvm.core.program import Image, Program
from pxvm.core.verifier import verify
from pxvm.models.families.llama import LlamaConfig, build_llama, set_tokens, weight_shapes

ROOT = Path(__file__).resolve().parents[1]
GOAL, REPEATS, SEEDS, LIMIT = 30.0, 5, 60, 400


def suites() -> dict[str, list[Image]]:
    """Images by the name of their suite."""
    found: dict[str, list[Image]] = {}
    for folder in sorted((ROOT / "tests" / "conformance").glob("dialect*")):
        found[f"conformance, {folder.name}"] = [read_image(p) for p in sorted(folder.glob("*.pxi"))]
    sys.path.insert(0, str(ROOT))
    from tests.differential.generator import generate

    found[f"{SEEDS} generated programs"] = [generate(seed) for seed in range(SEEDS)]
    for prompt in (1, 32):
        found[f"Llama, 4 layers of 256, {prompt} tokens"] = [small_llama(prompt)]
    return found


def small_llama(prompt: int) -> Image:
    """Random weights, one execution of a prompt."""
    config = LlamaConfig(layers=4, width=256, heads=4, kv_heads=2, ff=768, vocab=4096, context=256)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.05, shape) for name, shape in weight_shapes(config).items()}
    image = build_llama(config, weights, context=64, prompt=prompt)
    set_tokens(image, list(range(prompt)))
    return image


def admitted(images: list[Image]) -> list[tuple[Image, Program]]:
    """The programs that may run, verified; those that fail while running stay."""
    found = []
    for image in images:
        try:
            found.append((image, verify(image)))
        except PxvmError:
            continue
    return found


def processor(action: Callable[[], object]) -> float:
    """Seconds of processor time of this thread."""
    start = time.thread_time()
    action()
    return time.thread_time() - start


def suite_time(programs: list[tuple[Image, Program]], device: str) -> float:
    """Seconds for all programs, on one thread."""
    total = 0.0
    for image, program in programs:
        session = executors.executor(device).session(image.copy(), program, 1)

        def run(session: executors.Session = session) -> None:
            with contextlib.suppress(PxvmError):
                session.run(LIMIT)

        total += processor(run)
    return total


def main() -> None:
    """Print the table."""
    table = Table(title="Reference against compiled, milliseconds of processor time")
    for column in ("programs", "number", "reference", "cpu", "times as long", "goal"):
        table.add_column(column, justify="left" if column == "programs" else "right")
    for name, images in suites().items():
        programs = admitted(images)
        times: dict[str, list[float]] = {"reference": [], "cpu": []}
        for round_ in range(REPEATS + 1):
            for device, taken in times.items():
                seconds = suite_time(programs, device)
                if round_:  # the first one loads compiled code
                    taken.append(seconds)
        slow, fast = (statistics.median(taken) for taken in times.values())
        figures = f"{1e3 * slow:.2f}", f"{1e3 * fast:.2f}", f"{slow / fast:.1f}"
        table.add_row(name, str(len(programs)), *figures, f"{GOAL:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
