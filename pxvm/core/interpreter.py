"""The front door: run a program that is a file, or one that is an array.

>>> from pxvm.core.interpreter import execute_pxi, save_image
>>> result = execute_pxi("program.pxi")
>>> save_image(result, "output.png")
"""

from __future__ import annotations

import time
from pathlib import Path

from pxvm.core import choices, executors
from pxvm.core.container import open_image, save_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError, ProgramError
from pxvm.core.mapping import check_unchanged
from pxvm.core.program import Image
from pxvm.core.verifier import verify

__all__ = ["execute_pxi", "run_program", "save_image"]


def run_program(
    image: Image,
    max_steps: int | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
) -> Image:
    """Run the program in ``image`` in place and return the same array.

    Args:
        image: uint8 array (height, width, 4), RGBA, writable.
        max_steps: at most so many instructions are executed; stopping there is no error. None
            means 1,024 in dialect 0, and until Halt or Yield in dialect 1.
        device: "auto", "reference", or another installed executor; all give the same bytes.
        threads: worker threads of the compiled executor, no more than there are processors; None
            takes every one.

    Raises:
        ProgramError: the program was refused before anything ran.
        ExecutionError: an instruction cannot be executed; those before it have been.
        DeviceError: there is no such executor here, or not the memory that it needs.
        FormatError: the image is mapped, and another program has written to its file.
    """
    if max_steps is not None and max_steps < 0:
        raise ProgramError(f"max_steps is at least 0; found {max_steps}")
    check_unchanged(image)
    try:
        program = verify(image)
        plan = choices.Plan()
        if isinstance(program, TensorProgram):
            plan = choices.plan(program, device, threads)
        executor = executors.executor(device, program.dialect, plan.chosen)
        begun = time.perf_counter()
        steps = executor.run(image, program, max_steps, threads)
        plan.watch.took("run", begun, size=steps)
    except MemoryError:
        raise DeviceError("this machine lacks the memory that the program needs") from None
    return image


def execute_pxi(
    path: str | Path,
    max_steps: int | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
) -> Image:
    """Run the program in a ``.pxi`` file (any lossless PNG) and return the resulting image.

    The file itself is never changed. Arguments and errors as for ``open_image`` and
    ``run_program``; also OSError.
    """
    image = open_image(path, max_pixels=max_pixels)
    return run_program(image, max_steps, device=device, threads=threads)
