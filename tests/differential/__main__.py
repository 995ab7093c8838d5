"""Compare the first executor with each of the others on random programs, for as long as asked.

python -m tests.differential --seconds 60 --devices reference,cpu [--large] [--seed N]
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from random import Random

from pxvm.core import executors
from tests.differential.generator import generate, generate_large
from tests.differential.harness import admitted, compare, keep, listing, minimal


def main() -> int:
    """Returns 1 when a difference was found, after shrinking and storing it."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--devices", default=",".join(executors.installed()))
    parser.add_argument("--seed", type=int, default=None, help="first seed; drawn when not given")
    parser.add_argument("--large", action="store_true", help="extents near the rules' limits")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many differences")
    given = parser.parse_args()
    devices = given.devices.split(",")
    pairs = [(devices[0], other) for other in devices[1:]] or [(devices[0], devices[0])]
    first = secrets.randbits(32) if given.seed is None else given.seed
    print(f"devices {', '.join(devices)}; seeds from {first} on", flush=True)
    seen: Counter[str] = Counter()
    begin = shown = time.monotonic()
    seed, failures = first, 0
    while time.monotonic() - begin < given.seconds and failures < given.failures:
        image = generate_large(seed) if given.large else generate(seed)
        seen.update(i.op.name for i in admitted(image).instructions)
        for pair in pairs:
            if found := compare(image, pair, Random(seed)):
                failures += 1
                print(f"seed {seed}: {found}\nshrinking", flush=True)
                small = minimal(found, seed)
                print(f"{keep(small)}\n{small}\n{listing(small.image)}", flush=True)
        seed += 1
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"{seed - first} programs, {sum(seen.values())} instructions", flush=True)
    print(f"{seed - first} programs, {sum(seen.values())} instructions, {failures} differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
