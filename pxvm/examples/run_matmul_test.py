"""Run demo/matmul_test.pxi and check the matrix product: C = [[58, 64], [139, 154]]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.container import read_image
from pxvm.core.interpreter import execute_pxi
from pxvm.core.matrix import read_matrix
from pxvm.examples.common import check, command_line, save_result, tell_program
from pxvm.examples.make_matmul_test import A_ROW, B_ROW, C_ROW, FILE, make


def main() -> None:
    """Make the program if it is missing, run it, check the result."""
    if not FILE.exists():
        make()
    tell_program(FILE, read_image(FILE))
    result = execute_pxi(FILE)
    for name, row in (("A", A_ROW), ("B", B_ROW)):
        print(f"{name} = {read_matrix(result, row).data.tolist()}")
    check("C = A x B", read_matrix(result, C_ROW).data, [[58, 64], [139, 154]])
    save_result(result, "matmul_test")


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
