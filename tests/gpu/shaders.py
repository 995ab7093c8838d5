"""Does Dawn take the shaders? It asks more than wgpu: that barriers stand where all lanes come.

``python -m tests.gpu.shaders`` gives every module, the interpreter's in all its forms, to Dawn's
null device, which needs no GPU, has every feature and computes nothing; none is compiled. Ends with
status 1 and what Dawn says of the first that it refuses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

from pxvm.core import isa
from pxvm.gpu import devices, shaders
from pxvm.gpu.resident import LANES

EVERY_OPCODE = tuple(op.code for op in isa.OPCODES if op.dialect == 1)
WINDOW = 1 << 25


def modules() -> Iterator[str]:
    """Every module."""
    yield "const WIDTH: u32 = 64u;\n" + shaders.text("row")
    said = devices.SUBGROUPS["subgroups"]
    yield f"{said}const LANES: u32 = {shaders.LANES}u;\n" + shaders.text("trial")
    for windows, subgroups in product((1, devices.WINDOWS), (None, said)):
        for units in (None, devices.WITH_UNITS):
            yield shaders.planned(WINDOW, windows, subgroups, units)
        for lanes, grouped in product((shaders.LANES, LANES), (False, True)):
            yield shaders.interpreter(WINDOW, windows, lanes, EVERY_OPCODE, grouped, subgroups)


def null_device(library: Any) -> Any:
    """A device that takes everything and computes nothing."""
    os.environ["WGPU_BACKEND_TYPE"] = "Null"
    devices.allow_units()
    features = [devices.UNITS, "subgroups"]
    return library.gpu.request_adapter_sync().request_device_sync(required_features=features)


def main() -> int:
    """Give every module to Dawn; returns the exit status."""
    library, count = devices.library("dawn"), 0
    device = null_device(library)
    for code in modules():
        try:
            device.create_shader_module(code=code)
        except library.GPUError as error:
            print(error)
            return 1
        count += 1
    print(f"Dawn takes {count} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
