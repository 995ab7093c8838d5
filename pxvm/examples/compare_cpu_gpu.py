"""One PNG, one answer: a program runs on every executor here, and the results have one SHA-256.

``python3 pxvm/examples/compare_cpu_gpu.py [FILE]``; without a file the example of the matrix
product is compared. Ends with status 1 where two executors differ.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core import executors
from pxvm.core.container import read_image
from pxvm.core.errors import PxvmError
from pxvm.core.interpreter import run_program
from pxvm.core.program import Image
from pxvm.examples import make_matmul_test
from pxvm.examples.common import command_line, shown


def devices() -> list[str]:
    """Every executor that can be used here, each GPU by its number."""
    found = []
    for name in executors.installed():
        module = executors.load(name)
        if reason := module.available():
            print(f"{name:<12} not here: {reason}")
        elif name == "gpu":
            from pxvm.gpu.devices import adapters

            found += [f"gpu:{adapter.number}" for adapter in adapters()]
        else:
            found.append(name)
    return found


def compare(title: str, image: Image, there: list[str]) -> bool:
    """Run the image on each device; True when all give the same bytes."""
    print(f"{title}, {image.shape[1]} x {image.shape[0]} pixels")
    hashes = set()
    for device in there:
        copy = image.copy()
        start = time.perf_counter()
        try:
            run_program(copy, device=device)
        except PxvmError as error:
            print(f"{device:<12} refused: {error}")
            continue
        seconds = time.perf_counter() - start
        digest = hashlib.sha256(copy.tobytes()).hexdigest()
        hashes.add(digest)
        print(f"{device:<12} {digest}  {seconds:.3f} s")
    if not hashes:
        sys.exit("refused everywhere: there is nothing to compare")
    return len(hashes) == 1


def main() -> None:
    """Compare a file, or the example of the matrix product."""
    parser = command_line(__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=make_matmul_test.FILE)
    file = parser.parse_args().file
    if file == make_matmul_test.FILE and not file.exists():
        make_matmul_test.make()
    try:
        image = read_image(file)
    except (PxvmError, OSError) as error:
        sys.exit(f"cannot be compared: {error}")
    if not compare(shown(file), image, devices()):
        sys.exit("DIFFERENT: one PNG must have one answer")
    print("one PNG, one answer")


if __name__ == "__main__":
    main()
