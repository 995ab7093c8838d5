"""Does Dawn take the shaders? It asks more than wgpu: that barriers stand where all lanes come.

``python -m tests.gpu.shaders`` gives every module to it, the interpreter's in all its forms, and
compiles none. Ends with status 1 and what Dawn says of the first that it refuses.
"""

from __future__ import annotations

import sys
from itertools import product

from pxvm.core import isa
from pxvm.core.errors import DeviceError
from pxvm.gpu import devices, shaders
from pxvm.gpu.resident import LANES

EVERY_OPCODE = tuple(op.code for op in isa.OPCODES if op.dialect == 1)


def main() -> int:
    """Give every module to Dawn; returns the exit status."""
    gpu = devices.open_gpu(None, "dawn")
    modules = ["const WIDTH: u32 = 64u;\n" + shaders.text("row")]
    modules += [shaders.planned(gpu.window, windows) for windows in (1, devices.WINDOWS)]
    forms = product((1, devices.WINDOWS), (shaders.LANES, LANES), (False, True), (False, True))
    for windows, lanes, grouped, subgroups in forms:
        said = devices.SUBGROUPS["subgroups"] if subgroups else None
        modules.append(shaders.interpreter(gpu.window, windows, lanes, EVERY_OPCODE, grouped, said))
    for code in modules:
        try:
            with gpu.told():
                gpu.device.create_shader_module(code=code)
        except DeviceError as error:
            print(error)
            return 1
    print(f"Dawn takes {len(modules)} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
