"""Prompts with AMX and with VNNI alone: the same bytes, and tokens a second in turns.

Run: ``python -m benchmarks.tiles [--threads N ...]``. Products of odd shapes are held
against the reference first, then a SmolLM2-shaped network of random weights takes prompts. Where
the processor has no AMX, or the system does not let a process use it, that is said. Exit status
1: bytes differ.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks._parts import parser, processor
from benchmarks.decode import CONFIG, RandomWeights, timed, tokens
from pxvm.core import reference
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.resources import processors
from pxvm.core.tensor import DType, Role
from pxvm.core.verifier import verify
from pxvm.cpu import native
from pxvm.cpu.executor import Session
from pxvm.models.families.llama import build_llama, reset, set_tokens
from pxvm.models.graph.fields import Fields

SHAPES = ((4, 4, 1), (5, 64, 17), (9, 68, 48), (16, 132, 64), (17, 576, 200), (65, 1540, 130))
PROMPTS, ROUNDS = (16, 64, 512), 5


def product(rows: int, cols: int, wide: int, dtype: DType) -> Image:
    """Random activations against random weights, the largest and smallest among them."""
    rng, b = np.random.default_rng(cols), NetworkBuilder(4096)
    most = 127 if dtype == DType.ACT1 else 16384
    x, w = rng.integers(-most, most + 1, (rows, cols)), rng.integers(-128, 128, (wide, cols))
    x[0], w[0] = most, -128
    scales = np.full(rows, 40000), np.full(rows, -20)
    b.tensor("x", dtype, (rows, cols), Role.STATE, data=x, scales=scales)
    b.tensor("s", DType.SCALE, (wide,), Role.CONSTANT, data=np.full(wide, 50000 | 0xFFEC << 16))
    b.tensor("w", DType.I8, (wide, cols), Role.CONSTANT, scale="s", data=w)
    b.tensor("y", DType.I32, (rows, wide), Role.STATE, frac=12)
    b.emit("Linear", "y", "x", "w")
    return b.build()


def differing(threads: int) -> list[str]:
    """The products whose bytes are not the reference's."""
    found = []
    for rows, cols, wide in SHAPES:
        for dtype in (DType.ACT1, DType.ACT2):
            image = product(rows, cols, wide, dtype)
            wanted, program = image.copy(), verify(image)
            reference.run(wanted, program, None)
            for amx in (None, False):
                mine = image.copy()
                Session(mine, program, threads, amx=amx).run()
                if not np.array_equal(mine, wanted):
                    found.append(f"{rows} x {cols} x {wide}, {dtype.name}, amx={amx}")
    return found


class Arm:
    """The network in an image of its own, with or without tiles."""

    def __init__(self, image: Image, threads: int, amx: bool | None) -> None:
        self.image = image.copy()
        self.fields = Fields(self.image)
        self.session = Session(self.image, verify(self.image), threads, amx=amx)

    def take(self, count: int) -> None:
        """Take in so many tokens and draw one."""
        reset(self.fields)
        set_tokens(self.fields, tokens(count))
        self.session.run()

    def prompt(self, count: int) -> str:
        """The same; the SHA-256 of the image."""
        self.take(count)
        return hashlib.sha256(self.image.tobytes()).hexdigest()


def main(arguments: Sequence[str] = ()) -> int:
    """Print what differs, or the table; returns the exit status."""
    reads = parser(__doc__)
    reads.add_argument("--threads", nargs="+", type=int, default=[1, 2, processors()])
    given = reads.parse_args(arguments)
    print(f"this processor is {processor()}")
    print(f"AMX: {'used' if native.have_amx() else 'not here, so that both columns are the same'}")
    if wrong := [line for threads in (1, 2) for line in differing(threads)]:
        print("bytes differ:", *wrong, sep="\n  ")
        return 1
    image = build_llama(
        CONFIG, RandomWeights(CONFIG), context=2 * max(PROMPTS), prompt=max(PROMPTS)
    )
    for threads in sorted({min(n, processors()) for n in given.threads}):
        arms = [Arm(image, threads, amx) for amx in (None, False)]
        for count in PROMPTS:
            if len({arm.prompt(count) for arm in arms}) > 1:
                print(f"bytes differ: a prompt of {count} on {threads} threads")
                return 1
            pairs = [[timed(partial(arm.take, count))[0] for arm in arms] for _ in range(ROUNDS)]
            with_tiles, without = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(
                f"prompt of {count}, {threads} threads: AMX {count / with_tiles:.0f} tok/s,"
                f" VNNI {count / without:.0f}, {without / with_tiles:.2f} times as fast",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
