"""The instruction set: one table from which every other part is derived.

An instruction is one RGBA pixel:

      R        G        B        A
    +--------+--------+--------+--------+
    | opcode | operand| operand| operand|      opcode: a printable ASCII letter
    +--------+--------+--------+--------+

One row of ``OPCODES`` says everything about an opcode. The assembler, the disassembler, the
verifier, the executors, the reference page, the viewer's legend and the test strategies read it
from here; adding an opcode is one row here and one function in each executor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """What an operand byte means. The value is the word used in the reference page."""

    NONE = "unused"
    VECTOR_IN = "row of a matrix or headerless vector, read"
    VECTOR_OUT = "row of a matrix or headerless vector, written"
    VECTOR_UPDATE = "row of a matrix or headerless vector, read and written"
    MATRIX_IN = "row of a matrix, read"
    MATRIX_OUT = "row of a matrix, written"
    SCALAR_OUT = "row whose first pixel is written"
    TEXT_IN = "row of a plain matrix of character codes, read"
    FONT_IN = "row of a font, read"
    CANVAS_OUT = "first row of the pixels drawn on, written"

    @property
    def writes(self) -> bool:
        """True when the operand names pixels that the instruction may change."""
        return self.name.endswith(("OUT", "UPDATE"))

    @property
    def reads(self) -> bool:
        """True when the operand names pixels that the instruction depends on."""
        return self.name.endswith(("IN", "UPDATE"))


@dataclass(frozen=True, slots=True)
class Opcode:
    """One row of the table.

    Attributes:
        code: the R byte, a printable ASCII letter.
        name: the field's standard term.
        dialect: 0 (row-addressed programs) or 1 (descriptor-addressed networks).
        legacy: the R byte of the oldest files for the same operation, or None.
        operands: modes of G, B and A.
        shape: the shape rule in words.
        semantics: the exact meaning in one line.
        operations: integer operations as a formula of the shape's letters.
        bytes: bytes of pixels read and written, likewise.
        color: (R, G, B) with which viewers draw it.
    """

    code: int
    name: str
    dialect: int
    legacy: int | None
    operands: tuple[Mode, Mode, Mode]
    shape: str
    semantics: str
    operations: str
    bytes: str
    color: tuple[int, int, int]

    @property
    def glyph(self) -> str:
        """The character that the opcode byte spells."""
        return chr(self.code)


# fmt: off
OPCODES: tuple[Opcode, ...] = (
    Opcode(
        ord("H"), "Halt", 0, 0, (Mode.NONE, Mode.NONE, Mode.NONE),
        "none",
        "stop; the image is the result",
        "0", "4", (150, 150, 150),
    ),
    Opcode(
        ord("D"), "Dot", 0, 1, (Mode.VECTOR_IN, Mode.VECTOR_IN, Mode.SCALAR_OUT),
        "G and B hold n elements each",
        "sum of G[i] * B[i] modulo 65536; low byte to R, high byte to G of row A's first pixel",
        "2*n", "8*n + 2", (86, 156, 214),
    ),
    Opcode(
        ord("A"), "Add", 0, 2, (Mode.VECTOR_IN, Mode.VECTOR_IN, Mode.VECTOR_OUT),
        "G, B and A have one shape of n elements",
        "A[i] = G[i] + B[i]; plain results clamp to 0..255, quantised ones are requantised",
        "n", "12*n", (78, 201, 176),
    ),
    Opcode(
        ord("R"), "ReLU", 0, 3, (Mode.VECTOR_UPDATE, Mode.NONE, Mode.NONE),
        "G holds n elements",
        "G[i] = max(G[i], 0) in place; quantised results are requantised",
        "n", "8*n", (220, 120, 80),
    ),
    Opcode(
        ord("M"), "MatMul", 0, 4, (Mode.MATRIX_IN, Mode.MATRIX_IN, Mode.MATRIX_OUT),
        "G is m x k, B is k x n, A becomes m x n",
        "A[i,j] = sum over t of G[i,t] * B[t,j]; plain clamps to 0..255, quantised requantises",
        "2*m*k*n", "4*(m*k + k*n + m*n)", (197, 134, 192),
    ),
    Opcode(
        ord("B"), "Blit", 0, None, (Mode.TEXT_IN, Mode.FONT_IN, Mode.CANVAS_OUT),
        "G holds n codes; each glyph of the font B is w x h pixels",
        "copy the glyph of each code onto the rows from A on, left to right, a new line at code 10",
        "0", "8*n*w*h + 4*n", (220, 200, 90),
    ),
)
# fmt: on


def table(dialect: int) -> dict[int, Opcode]:
    """Opcode rows of one dialect by R byte, the oldest files' numeric codes included."""
    rows = {op.code: op for op in OPCODES if op.dialect == dialect}
    rows |= {op.legacy: op for op in OPCODES if op.dialect == dialect and op.legacy is not None}
    return rows


def by_name(name: str, dialect: int = 0) -> Opcode:
    """The row called ``name`` ("MatMul", any case) in a dialect. Raises KeyError."""
    for op in OPCODES:
        if op.dialect == dialect and op.name.lower() == name.lower():
            return op
    known = ", ".join(op.name for op in OPCODES if op.dialect == dialect)
    raise KeyError(f"no opcode named {name!r} in dialect {dialect}; there are {known}")
