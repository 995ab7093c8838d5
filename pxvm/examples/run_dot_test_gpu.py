"""Run demo/dot_test.pxi on a GPU and check it: [1, 2, 3, 4] . [10, 20, 30, 40] = 300."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.container import read_image
from pxvm.core.errors import DeviceError, MissingPackageError
from pxvm.core.interpreter import execute_pxi
from pxvm.examples.common import check, command_line, save_result, tell_program
from pxvm.examples.make_dot_test import FILE, LEFT, RESULT_ROW, RIGHT, make
from pxvm.gpu.devices import open_gpu


def main() -> None:
    """Make the program if it is missing, run it on the best GPU, check the result."""
    command_line(__doc__).parse_args()
    if not FILE.exists():
        make()
    tell_program(FILE, read_image(FILE))
    try:
        adapter = open_gpu().adapter
        result = execute_pxi(FILE, device="gpu")
    except (DeviceError, MissingPackageError) as error:
        sys.exit(f"no GPU to run on: {error}")
    software = ", a processor that plays a GPU" if adapter.is_software else ""
    print(f"on {adapter.name} through {adapter.backend}{software}")
    pixel = result[RESULT_ROW, 0].tolist()
    print(f"pixel (0, {RESULT_ROW}) became {tuple(pixel)}: R + 256 * G is the sum")
    check(f"{LEFT} . {RIGHT}", pixel[0] + 256 * pixel[1], 300)
    save_result(result, "dot_test_gpu")


if __name__ == "__main__":
    main()
