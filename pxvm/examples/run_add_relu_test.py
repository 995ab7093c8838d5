"""Run demo/add_relu_test.pxi and check Add and ReLU on bytes and on quantised real numbers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.core.container import read_image
from pxvm.core.interpreter import execute_pxi
from pxvm.core.matrix import read_matrix
from pxvm.examples.common import check, command_line, save_result, tell_program
from pxvm.examples.make_add_relu_test import BYTES, FILE, REALS, make, program


def main() -> None:
    """Make the program if it is missing, run it, check the results."""
    if not FILE.exists():
        make()
    tell_program(FILE, read_image(FILE))
    result = execute_pxi(FILE)
    builder = program()
    builder.build()
    rows = builder.rows

    print(f"p = {BYTES[0]}, q = {BYTES[1]}")
    row = result[rows["p + q"], : len(BYTES[0]), 0]
    check("relu(p + q), clamped to 0..255", row, [200, 255, 33, 4])

    x, y = (np.array(values) for values in REALS)
    print(f"x = {x.tolist()}, y = {y.tolist()}")
    total = read_matrix(result, rows["relu(x + y)"])
    # Two levels of rounding, in x + y and again after ReLU, and the one of x and of y.
    steps = [np.ptp(values) / 255 for values in (x, y, x + y, np.maximum(x + y, 0))]
    check("relu(x + y), quantised", total.values, np.maximum(x + y, 0), sum(steps) / 2)
    print(f"  within {sum(steps) / 2:.4f}, half a level of each of the four matrices")
    save_result(result, "add_relu_test")


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
