"""Write demo/add_relu_test.pxi: Add and ReLU on bytes, and on real numbers that pixels hold.

Bytes clamp to 0..255. Real numbers are quantised: each matrix keeps its own float32 scale and
offset in two pixels, and a result is quantised anew over its own range.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.builder import Builder
from pxvm.examples.common import DEMO, command_line, save_program

FILE = DEMO / "add_relu_test.pxi"
BYTES = ([100, 200, 30, 4], [100, 100, 3, 0])
REALS = ([[-2.0, -1.0, 0.5], [1.0, 2.5, 3.0]], [[0.5, 0.5, -2.0], [-0.25, 1.0, -4.0]])


def program() -> Builder:
    """The program, by name."""
    builder = Builder(16)
    for name, values in zip(("p", "q"), BYTES, strict=True):
        builder.vector(name, values)
    builder.vector("p + q", [0] * len(BYTES[0]))
    for name, reals in zip(("x", "y"), REALS, strict=True):
        builder.quantised(name, reals)
    builder.result("relu(x + y)", 2, 3)
    builder.emit("Add", "p", "q", "p + q")
    builder.emit("ReLU", "p + q")
    builder.emit("Add", "x", "y", "relu(x + y)")
    builder.emit("ReLU", "relu(x + y)")
    return builder


def make(path: Path = FILE) -> None:
    """Write the program to ``path``."""
    save_program(program().build(), path)


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    make()
