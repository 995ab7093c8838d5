"""The instruction set: one table from which every other part is derived.

An instruction is one RGBA pixel:

      R        G        B        A
    +--------+--------+--------+--------+
    | opcode | operand| operand| operand|      opcode: a printable ASCII letter
    +--------+--------+--------+--------+

One row of ``OPCODES`` says everything about an opcode. The assembler, the disassembler, the
verifier, the executors, the reference page, the viewer's legend and the test strategies read it
from here, and ask its fields only; adding an opcode is one row here and one function in each
executor (in dialect 1 also its shape rule and a case of the differential generator).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto


class Names(Enum):
    """What the number in an operand byte or a parameter word stands for."""

    NOTHING = "nothing"
    ROW = "an image row"
    TENSOR = "the descriptor of a tensor"
    BLOCK = "the descriptor of a parameter block"
    NUMBER = "itself"


class Access(Flag):
    """What an instruction does with the pixels that an operand or a parameter names."""

    NONE = 0
    READ = auto()
    WRITE = auto()
    UPDATE = READ | WRITE


class Mode(Enum):
    """What an operand byte or a parameter word means.

    ``value`` is the words of the reference page, ``names`` what the number stands for, ``access``
    what happens to the pixels named.
    """

    NONE = "unused", Names.NOTHING
    VECTOR_IN = "row of a matrix or headerless vector, read", Names.ROW, Access.READ
    VECTOR_OUT = "row of a matrix or headerless vector, written", Names.ROW, Access.WRITE
    VECTOR_UPDATE = (
        "row of a matrix or headerless vector, read and written", Names.ROW, Access.UPDATE
    )  # fmt: skip
    MATRIX_IN = "row of a matrix, read", Names.ROW, Access.READ
    MATRIX_OUT = "row of a matrix, written", Names.ROW, Access.WRITE
    SCALAR_OUT = "row whose first pixel is written", Names.ROW, Access.WRITE
    TEXT_IN = "row of a plain matrix of character codes, read", Names.ROW, Access.READ
    FONT_IN = "row of a font, read", Names.ROW, Access.READ
    CANVAS_OUT = "first row of the pixels drawn on, written", Names.ROW, Access.WRITE
    TENSOR_IN = "tensor, read", Names.TENSOR, Access.READ
    TENSOR_OUT = "tensor, written", Names.TENSOR, Access.WRITE
    TENSOR_UPDATE = "tensor, read and written", Names.TENSOR, Access.UPDATE
    PARAMETERS = "descriptor of named parameters", Names.BLOCK
    NUMBER = "number 0..255", Names.NUMBER
    LOW = "low byte of an instruction number", Names.NUMBER
    HIGH = "high byte of an instruction number", Names.NUMBER
    WORD = "number of 32 bits", Names.NUMBER
    SCALE = "scale: mantissa and exponent in one word", Names.NUMBER

    names: Names
    access: Access

    def __new__(cls, words: str, names: Names, access: Access = Access.NONE) -> Mode:
        mode = object.__new__(cls)
        mode._value_, mode.names, mode.access = words, names, access
        return mode

    @property
    def writes(self) -> bool:
        """True when the instruction may change the pixels named."""
        return Access.WRITE in self.access

    @property
    def reads(self) -> bool:
        """True when the instruction depends on the pixels named."""
        return Access.READ in self.access


class Flow(Enum):
    """Which instruction comes after this one; the value is the words of the reference page."""

    NEXT = "the one behind it"
    HALT = "none: the program has ended"
    YIELD = "none until the next run, then the one behind it"
    LOOP = "the one behind it, or the one behind the matching EndLoop when G is not above 0"
    END_LOOP = "the one behind the matching Loop, or the one behind it after the last round"
    CALL = "the one whose number is G + 256 B"
    RETURN = "the one behind the Call that came here"
    SKIP = "the one behind it, or the one A further when G is 0"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One word of a parameter block.

    Attributes:
        name: the keyword of the specification.
        mode: WORD and SCALE are the number itself, TENSOR_IN and TENSOR_UPDATE name a tensor.
        types: dtypes that the tensor may have.
    """

    name: str
    mode: Mode
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opcode:
    """One row of the table.

    Attributes:
        code: the R byte, a printable ASCII letter.
        name: the field's standard term.
        dialect: 0 (row-addressed programs) or 1 (descriptor-addressed tensors).
        legacy: the R byte of the oldest files for the same operation, or None.
        operands: modes of G, B and A.
        shape: the shape rule in words.
        semantics: the exact meaning in one line.
        operations: integer operations as a formula of the shape's letters.
        bytes: bytes of pixels read and written, likewise.
        color: (R, G, B) with which viewers draw it.
        flow: which instruction comes next; all but NEXT control the program.
        types: dialect 1: the dtypes that each of G, B and A may have, none where it is no tensor.
        parameters: dialect 1: the words of the parameter block in order.
        sums: dialect 1: bits, sign included, of the largest exact sum, and of its parts.
        in_place: dialect 1: the result may be one of the operands that are read.
        adds_bias: dialect 1: the bias of the weight (the parameter of that name, else the last
            tensor) is added, so it has the result's fraction bits.
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
    flow: Flow = Flow.NEXT
    types: tuple[tuple[str, ...], ...] = ((), (), ())
    parameters: tuple[Parameter, ...] = ()
    sums: str = ""
    in_place: bool = False
    adds_bias: bool = False

    @property
    def glyph(self) -> str:
        """The character that the opcode byte spells."""
        return chr(self.code)


_NONE, _IN, _OUT, _PARAMS = Mode.NONE, Mode.TENSOR_IN, Mode.TENSOR_OUT, Mode.PARAMETERS
_BROADCAST = "[t,d], a [t,d], b [t,d], [t,1], [1,d] or [1,1]"
_SCALE = Parameter("scale", Mode.SCALE)
_PLANES, _HALVES = "40; 32 for each plane of x", "48; 32 for each half of the terms"
_PALETTE = (
    (197, 134, 192), (86, 156, 214), (78, 201, 176), (220, 120, 80), (220, 200, 90),
    (150, 190, 110), (210, 110, 140), (120, 140, 230), (200, 160, 120), (110, 200, 220),
)  # fmt: skip


def _color(glyph: str) -> tuple[int, int, int]:
    """A colour for a glyph: ten hues in two strengths, neighbours in ASCII differ."""
    red, green, blue = _PALETTE[ord(glyph) % 10]
    weaker = 40 * (ord(glyph) // 10 % 2)
    return red - weaker, green - weaker, blue - weaker


def _types(*each: str) -> tuple[tuple[str, ...], ...]:
    """Dtypes of G, B and A from texts such as "I32|ACT"; those beyond the ones given have none."""
    groups = {"ACT": ("ACT1", "ACT2")}
    found = [
        tuple(name for kind in kinds.split("|") for name in groups.get(kind, (kind,)))
        for kinds in each
    ]
    return (*found, *[()] * (3 - len(found)))


def _numbers(names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, Mode.WORD) for name in names.split())


def _tensors(kind: str, names: str, mode: Mode = Mode.TENSOR_IN) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, mode, (kind,)) for name in names.split())


def _control(
    glyph: str,
    name: str,
    flow: Flow,
    operands: tuple[Mode, ...],
    semantics: str,
    types: tuple[str, ...] = (),
) -> Opcode:
    """A dialect 1 row that moves the program counter."""
    g, b, a = operands
    return Opcode(
        ord(glyph), name, 1, None, (g, b, a), "none", semantics, "0", "4", (150, 150, 150),
        flow, _types(*types),
    )  # fmt: skip


def _tensor(
    glyph: str,
    name: str,
    operands: tuple[Mode, ...],
    types: tuple[str, ...],
    shape: str,
    semantics: str,
    operations: str,
    bytes: str,
    parameters: tuple[Parameter, ...] = (),
    *,
    sums: str = "",
    in_place: bool = False,
    adds_bias: bool = False,
) -> Opcode:
    """A dialect 1 row that computes on tensors; operands beyond those given are unused."""
    g, b, a = (*operands, *[Mode.NONE] * (3 - len(operands)))
    return Opcode(
        ord(glyph), name, 1, None, (g, b, a), shape, semantics, operations, bytes,
        _color(glyph), Flow.NEXT, _types(*types), parameters, sums, in_place, adds_bias,
    )  # fmt: skip


# fmt: off
OPCODES: tuple[Opcode, ...] = (
    Opcode(
        ord("H"), "Halt", 0, 0, (Mode.NONE, Mode.NONE, Mode.NONE),
        "none",
        "stop; the image is the result",
        "0", "4", (150, 150, 150), Flow.HALT,
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
    # Dialect 1: control
    _control("H", "Halt", Flow.HALT, (_NONE,) * 3,
             "stop for good; the rows in use of scratch tensors become zero"),
    _control("Y", "Yield", Flow.YIELD, (_NONE,) * 3,
             "stop after this instruction, a later run goes on; the rows in use of scratch tensors"
             " become zero"),
    _control("[", "Loop", Flow.LOOP, (_IN, _NONE, Mode.NUMBER),
             "run up to the matching ] as often as the scalar G says (0..65535), adding A to the"
             " base after each round; the base returns to its value before", ("I32",)),
    _control("]", "EndLoop", Flow.END_LOOP, (_NONE,) * 3, "end of the body of a loop"),
    _control("C", "Call", Flow.CALL, (Mode.LOW, Mode.HIGH, Mode.NUMBER),
             "go to instruction G + 256 B with A added to the base, until Return"),
    _control("^", "Return", Flow.RETURN, (_NONE,) * 3,
             "go on after the Call, with the base of then"),
    _control("?", "SkipIfZero", Flow.SKIP, (_IN, _NONE, Mode.NUMBER),
             "skip the next A instructions when the scalar G is 0", ("I32",)),
    # Dialect 1: products
    _tensor("E", "Embed", (_OUT, _IN, _IN), ("I32", "I32", "I8|I4"),
            "[t,d], ids [t,1], table [v,d]",
            "row ids[t] of the table, clamped to 0..v-1, times its scale", "t*d", "t*w + 4*t*d"),
    _tensor("L", "Linear", (_OUT, _IN, _IN), ("I32", "ACT", "I8|I4"),
            "[t,n], x [t,k], weight [n,k]",
            "x times weight transposed, exact sums, times both scales, plus bias",
            "2*t*n*k", "n*w + t*k + 4*t*n",
            sums=f"{_PLANES}; of an I4 weight 48, for each plane 29 for a group", adds_bias=True),
    _tensor("M", "MatMul", (_OUT, _IN, _IN), ("I32", "ACT", "ACT"), "[m,n], a [m,k], b [n,k]",
            "a times b transposed, exact sums, times both scales", "2*m*n*k",
            "2*m*k + 2*n*k + 4*m*n", sums="48; 32 for each two planes"),
    _tensor("V", "Conv2D", (_OUT, _IN, _PARAMS), ("I32", "ACT"), "[t, ho*wo*c], x [t, h*w*ci]",
            "convolution of each row seen as height x width x channels, zero padding",
            "2*t*n*k", "k*n + 4*t*n",
            (*_tensors("I8", "weight"), *_numbers("height width size stride pad")),
            sums=_PLANES, adds_bias=True),
    # Dialect 1: element by element
    _tensor("A", "Add", (_OUT, _IN, _IN), ("I32",) * 3, _BROADCAST,
            "a + b, saturated", "t*d", "12*t*d", in_place=True),
    _tensor("X", "Mul", (_OUT, _IN, _IN), ("I32",) * 3, _BROADCAST,
            "a * b, rounded and saturated", "t*d", "12*t*d", in_place=True),
    _tensor("D", "Dot", (_OUT, _IN, _IN), ("I32",) * 3, "[t,1], a [t,d], b [t,d]",
            "sum over d of a * b, each product rounded and saturated", "2*t*d", "8*t*d",
            sums=_HALVES),
    _tensor("R", "ReLU", (_OUT, _IN), ("I32",) * 2, "[t,d], x [t,d]", "max(x, 0)", "t*d", "8*t*d",
            in_place=True),
    _tensor("T", "Table", (_OUT, _IN, _IN), ("I32",) * 3, "[t,d], x [t,d], table [n+1]",
            "table(x) by linear interpolation over -16..16: sigmoid, tanh", "6*t*d", "8*t*d",
            in_place=True),
    _tensor("G", "Gate", (_OUT, _IN, _IN), ("I32",) * 3, "[t,d], x [t,d], table [n+1]",
            "x * table(x): SiLU with the sigmoid's table, GELU with the normal distribution's",
            "8*t*d", "8*t*d", in_place=True),
    _tensor("<", "Less", (_OUT, _IN, _IN), ("I32",) * 3, _BROADCAST,
            "1 where a < b, else 0", "t*d", "12*t*d", in_place=True),
    _tensor("=", "Equal", (_OUT, _IN, _IN), ("I32",) * 3, _BROADCAST,
            "1 where a = b, else 0", "t*d", "12*t*d", in_place=True),
    _tensor("W", "Select", (Mode.TENSOR_UPDATE, _IN, _IN), ("I32",) * 3,
            "[t,d], condition [t,d], x [t,d]", "x where the condition is not 0, else as it was",
            "t*d", "16*t*d", in_place=True),
    # Dialect 1: rows
    _tensor("N", "RMSNorm", (_OUT, _IN, _IN), ("I32|ACT", "I32", "I16"),
            "[t, heads*w], x [t, heads*w], weight [w]",
            "x * weight / sqrt(mean(x^2) + epsilon) of each head, of which activations have one;"
            " epsilon is the weight's scale", "6*t*d", "8*t*d",
            sums=_HALVES, in_place=True, adds_bias=True),
    _tensor("n", "LayerNorm", (_OUT, _IN, _IN), ("I32", "I32", "I16"), "[t,d], x [t,d], w [d]",
            "(x - mean) * w / sqrt(variance + epsilon) + bias", "8*t*d", "8*t*d",
            sums=_HALVES, in_place=True, adds_bias=True),
    _tensor("l", "L2Norm", (_OUT, _IN), ("I32",) * 2, "[t,d], x [t,d]",
            "x / sqrt(sum of x^2)", "4*t*d", "8*t*d", sums=_HALVES, in_place=True),
    _tensor("S", "Softmax", (_OUT, _IN), ("I32",) * 2, "[t,d], x [t,d]",
            "exp(x) / sum of exp(x), in base 2 from a table", "12*t*d", "8*t*d", sums=_HALVES,
            in_place=True),
    _tensor("Q", "Quantise", (_OUT, _IN), ("ACT", "I32"), "[t,d], x [t,d]",
            "x as activations with one scale for each row", "4*t*d", "6*t*d"),
    _tensor("U", "Sum", (_OUT, _IN), ("I32",) * 2, "[t,1], x [t,d]", "sum over the row",
            "t*d", "4*t*d", sums=_HALVES),
    _tensor("O", "Max", (_OUT, _IN), ("I32",) * 2, "[t,1], x [t,d]", "largest of the row",
            "t*d", "4*t*d"),
    _tensor("m", "Mean", (_OUT, _IN), ("I32",) * 2, "[t,1], x [t,d]", "mean of the row",
            "t*d", "4*t*d", sums=_HALVES),
    _tensor("g", "Argmax", (_OUT, _IN), ("I32",) * 2, "[t,1], x [t,d]",
            "index of the largest, the lowest among equals", "t*d", "4*t*d"),
    _tensor("k", "TopK", (_OUT, _IN, _OUT), ("I32",) * 3, "indices [t,k], x [t,d], values [t,k]",
            "the k largest in order, lower indices first among equals", "t*d*k", "4*t*d"),
    # Dialect 1: attention
    _tensor("P", "RoPEPairs", (Mode.TENSOR_UPDATE, _IN, _IN), ("I32", "I16", "I32"),
            "x [t, heads*w], table [positions, w] of (cosine, sine), position [1]",
            "turn elements 2i and 2i+1 of each head by the angles of position + t", "6*t*d",
            "10*t*d"),
    _tensor("p", "RoPEHalves", (Mode.TENSOR_UPDATE, _IN, _IN), ("I32", "I16", "I32"),
            "x [t, heads*w], table [positions, w] of (cosine, sine), position [1]",
            "turn elements i and i + w/2 of each head by the angles of position + t", "6*t*d",
            "10*t*d"),
    _tensor("K", "Append", (Mode.TENSOR_UPDATE, _IN, _IN), ("ACT1", "I32", "I32"),
            "cache [heads, context, w], x [t, heads*w], position [1]",
            "quantise each head of x to 7 bits into the rows position + t of the cache; of rows"
            " clamped to one place the last stays", "4*t*d",
            "5*t*d"),
    _tensor("a", "AttentionCausal", (_OUT, _IN, _PARAMS), ("I32", "I32"),
            "[t, heads*w], q [t, heads*w], k and v [kv heads, context, w]",
            "softmax(q k) v over the tokens 0..position+t", "4*t*d*context", "2*t*d*context",
            (*_tensors("ACT1", "k v"), *_tensors("I32", "position"), _SCALE), sums="32"),
    _tensor("w", "AttentionWindow", (_OUT, _IN, _PARAMS), ("I32", "I32"),
            "[t, heads*w], q [t, heads*w], k and v [kv heads, context, w]",
            "softmax(q k) v over the last window tokens of 0..position+t", "4*t*d*context",
            "2*t*d*context",
            (*_tensors("ACT1", "k v"), *_tensors("I32", "position"), _SCALE, *_numbers("window")),
            sums="32"),
    _tensor("f", "AttentionFull", (_OUT, _IN, _PARAMS), ("I32", "I32"),
            "[t, heads*w], q [t, heads*w], k and v [kv heads, context, w]",
            "softmax(q k) v inside each group of span rows, of which lengths are in use",
            "4*t*d*context", "2*t*d*context",
            (*_tensors("ACT1", "k v"), *_tensors("I32", "span lengths"), _SCALE), sums="32"),
    _tensor("o", "MeanPool", (_OUT, _IN, _PARAMS), ("I32", "I32"), "[groups,d], x [t,d]",
            "mean over the rows in use of each group of span rows", "t*d", "4*t*d",
            _tensors("I32", "span lengths"), sums=_HALVES),
    # Dialect 1: pictures
    _tensor("x", "MaxPool", (_OUT, _IN, _PARAMS), ("I32", "I32"), "[t, ho*wo*c], x [t, h*w*c]",
            "largest of each window of size x size", "t*d", "8*t*d",
            _numbers("height width size stride")),
    _tensor("v", "AvgPool", (_OUT, _IN, _PARAMS), ("I32", "I32"), "[t, ho*wo*c], x [t, h*w*c]",
            "mean of each window of size x size", "t*d", "8*t*d",
            _numbers("height width size stride"), sums=_HALVES),
    _tensor("B", "Blit", (Mode.TENSOR_UPDATE, _IN, _IN), ("RGBA", "I32", "RGBA"),
            "canvas [h,w], text [n], font [glyphs, gh, gw]",
            "draw each code, 32 being the font's first glyph, left to right and wrapping", "0",
            "8*t*d"),
    # Dialect 1: moving
    _tensor("c", "Copy", (Mode.TENSOR_UPDATE, _IN), ("I32",) * 2, "any, x with no more elements",
            "all elements of x in order (a reshape); what lies beyond stays", "0", "8*t*d"),
    _tensor("t", "Transpose", (_OUT, _IN, _PARAMS), ("I32",) * 2, "the extents of x permuted",
            "the axes of x in the order a, b, c, d", "0", "8*t*d", _numbers("a b c d")),
    _tensor("s", "Slice", (_OUT, _IN, _PARAMS), ("I32",) * 2, "[t,n], x [t,d]",
            "columns first, first + step, ... of x", "0", "8*t*d", _numbers("first step")),
    _tensor("j", "Concat", (Mode.TENSOR_UPDATE, _IN, _PARAMS), ("I32",) * 2, "[t,n], x [t,d]",
            "x in the columns from first on; the others stay", "0", "8*t*d", _numbers("first")),
    _tensor("z", "Tail", (_OUT, _IN), ("I32",) * 2, "[r,d], x [t,d]", "the last rows in use of x",
            "0", "8*t*d"),
    _tensor("u", "Push", (Mode.TENSOR_UPDATE, _IN, Mode.TENSOR_UPDATE), ("I32",) * 3,
            "list [n,d], x [t,d], length [1]",
            "the rows of x behind the first length rows of the list; of rows clamped to one place"
            " the last stays; length grows", "0", "8*t*d"),
    _tensor("F", "Fill", (_OUT, _IN), ("I32",) * 2, "[t,d], value [1]", "the scalar everywhere",
            "0", "4*t*d"),
    _tensor("$", "Sample", (_OUT, _IN, _PARAMS), ("I32", "I32"), "token [1,1], logits [1,v]",
            "a token drawn by temperature, top-p and repetition penalty (16 fraction bits) and"
            " top-k (an integer); the most likely one at temperature 0", "20*d", "4*d",
            (*_tensors("I32", "temperature top_k top_p penalty history"),
             *_tensors("I32", "random", Mode.TENSOR_UPDATE)), sums="27"),
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
