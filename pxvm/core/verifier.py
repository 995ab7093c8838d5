"""The verifier: decides before anything runs whether a program may."""

from __future__ import annotations

from pxvm.core.parts import MAGIC, Image, Program
from pxvm.core.program import check_image, load_program


def verify(image: Image) -> Program:
    """Admit the program in ``image`` or refuse it.

    Dialect 0: every opcode is in the table and every operand names a data row of the image.
    Shapes there depend on values that instructions write, so each instruction checks them again
    before it writes anything.

    Dialect 1: descriptors, links, operands on every path and with every base, shapes, bounds,
    overlaps, control flow, registers and the step budget; nothing is left to check while running.

    Raises ProgramError that names the instruction, what was expected and what was found.
    """
    check_image(image)
    if image[0, 0].tobytes() != MAGIC:
        return load_program(image)
    from pxvm.core import verifier1  # a dialect 0 program starts without it

    return verifier1.verify(image)
