"""Write demo/dot_test.pxi: the dot product of two vectors, as the oldest programs did it.

Vectors stand in the R channel from column 0 on, without headers; the opcode is the number 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core import opcodes
from pxvm.core.builder import Builder
from pxvm.examples.common import DEMO, command_line, save_program

FILE = DEMO / "dot_test.pxi"
LEFT = [1, 2, 3, 4]
RIGHT = [10, 20, 30, 40]
RESULT_ROW = 3


def make(path: Path = FILE) -> None:
    """Write the program to ``path``."""
    builder = Builder(16)
    builder.vector("left", LEFT)
    builder.vector("right", RIGHT)
    builder.result("sum", 1, 1)
    builder.emit("Dot", "left", "right", "sum")
    image = builder.build()
    image[0, 0, 0] = opcodes.NAMES["DOT_NUMERIC"]
    assert builder.rows["sum"] == RESULT_ROW
    save_program(image, path)


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    make()
