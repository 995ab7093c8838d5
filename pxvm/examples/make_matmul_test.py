"""Write demo/matmul_test.pxi: A at row 1 times B at row 4 into row 8, in a picture 16 wide."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.core import opcodes
from pxvm.core.matrix import write_matrix
from pxvm.examples.common import DEMO, command_line, save_program

FILE = DEMO / "matmul_test.pxi"
A = [[1, 2, 3], [4, 5, 6]]
B = [[7, 8], [9, 10], [11, 12]]
A_ROW, B_ROW, C_ROW = 1, 4, 8


def make(path: Path = FILE) -> None:
    """Write the program to ``path``."""
    image = np.zeros((16, 16, 4), np.uint8)
    image[0, 0] = opcodes.NAMES["MATMUL"], A_ROW, B_ROW, C_ROW
    image[0, 1, 0] = opcodes.NAMES["HALT"]
    write_matrix(image, A_ROW, A)
    write_matrix(image, B_ROW, B)
    save_program(image, path)


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    make()
