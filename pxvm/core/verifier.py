"""The verifier: decides before anything runs whether a program may."""

from __future__ import annotations

from pxvm.core.program import Image, Program, load_program


def verify(image: Image) -> Program:
    """Admit the program in ``image`` or refuse it.

    Dialect 0: every opcode is in the table and every operand names a data row of the image.
    Shapes there depend on values that instructions write, so each instruction checks them again
    before it writes anything.

    Raises ProgramError that names the instruction, what was expected and what was found.
    """
    return load_program(image)
