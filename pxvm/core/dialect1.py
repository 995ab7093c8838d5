"""Dialect 1: the program of an image whose first pixel spells PXV1.

``parse`` decodes header, descriptors, code and state into a ``TensorProgram``; nothing is admitted
to run before ``verifier1`` has been over it. An operand below 128 is a descriptor's index, one from
128 on is relative to the base register: index = base + operand - 128, so that one body of
instructions can be looped over layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core import isa
from pxvm.core.errors import ProgramError
from pxvm.core.integer import Ints
from pxvm.core.isa import Mode, Names
from pxvm.core.parts import Image, Instruction, Program, Region
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    STATE_WORDS,
    VERSION,
    Descriptor,
    DType,
    check_place,
    decode,
    decode_descriptor,
    decode_scales,
    read_words,
    tensor_words,
)

TABLE = isa.table(1)
RELATIVE = 128
MAX_CODE = 1 << 16
MAX_DESCRIPTORS = 1 << 16


@dataclass(frozen=True)
class TensorProgram(Program):
    """A dialect 1 program: what ``Program`` says, and where everything stands.

    The verifier sets ``budget``, the largest number of steps from start to Halt, and ``visits``:
    (instruction, base) of all that can be reached, the base -1 where no operand is relative to it.
    """

    descriptors: tuple[Descriptor, ...] = ()
    code_start: int = 0
    state_start: int = 0
    width: int = 0
    height: int = 0
    reserved: tuple[tuple[str, int, int], ...] = ()
    code: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 4), np.uint8))
    budget: int = 0
    visits: tuple[tuple[int, int], ...] = ()

    def index(self, operand: int, base: int) -> int:
        """The descriptor index that an operand names."""
        return operand if operand < RELATIVE else base + operand - RELATIVE

    def operands(
        self, instruction: Instruction, base: int
    ) -> tuple[list[Descriptor], dict[str, Any]]:
        """Descriptors of G, B and A; of the parameters by name the descriptor, else the number."""
        tensors: list[Descriptor] = []
        named: dict[str, Any] = {}
        for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
            if mode.names is Names.TENSOR:
                tensors.append(self.descriptors[self.index(operand, base)])
            elif mode.names is Names.BLOCK:
                words = self.descriptors[self.index(operand, base)].parameters
                for parameter, word in zip(instruction.op.parameters, words, strict=False):
                    links = parameter.mode.names is Names.TENSOR
                    named[parameter.name] = self.descriptors[word] if links else word
        return tensors, named

    def operand_regions(self, instruction: Instruction, base: int) -> list[tuple[Mode, Region]]:
        """(mode, region) of each tensor operand, parameters' tensors included."""
        found = []
        for mode, operand in zip(instruction.op.operands, instruction.operands, strict=True):
            if mode.names is Names.TENSOR:
                found.append((mode, self.tensor_region(self.index(operand, base))))
            elif mode.names is Names.BLOCK:
                words = self.descriptors[self.index(operand, base)].parameters
                for parameter, word in zip(instruction.op.parameters, words, strict=False):
                    if parameter.mode.names is Names.TENSOR:
                        found.append((parameter.mode, self.tensor_region(word)))
        return found

    def tensor_region(self, index: int) -> Region:
        """The region of a descriptor."""
        return self._tensor_regions[index]

    @cached_property
    def _tensor_regions(self) -> dict[int, Region]:
        named = [d.index for d in self.descriptors if d.dtype != DType.PARAMS]
        return dict(zip(named, self.regions[-len(named) :], strict=True)) if named else {}


def region_names(descriptors: tuple[Descriptor, ...]) -> list[str]:
    """How tools call tensors: by name; by index where there is none or another has it."""
    taken = {"code", "state"}
    names = []
    for d in descriptors:
        name = d.name if d.name and d.name not in taken else f"{d.name}@{d.index}"
        taken.add(name)
        names.append(name)
    return names


def parse(image: Image) -> TensorProgram:
    """Decode the program of an image. Raises ProgramError; nothing is verified yet."""
    height, width = image.shape[:2]
    area = height * width
    if area < HEADER_WORDS:
        raise ProgramError(f"a PXV1 header has {HEADER_WORDS} pixels; the image has {area}")
    words = read_words(image, 0, HEADER_WORDS).tolist()
    _, version, code_start, count, table_start, tensors, state_start = words
    if version != VERSION:
        other = (
            "an older pxvm wrote it; make a model's picture again: pxvm import SOURCE -o FILE"
            if version < VERSION
            else "use a newer pxvm"
        )
        raise ProgramError(f"expected format version {VERSION}; found {version}: {other}")
    reserved = [("header", 0, HEADER_WORDS), ("state", state_start, STATE_WORDS)]
    reserved += [("code", code_start, count)]
    reserved += [("descriptors", table_start, tensors * DESCRIPTOR_WORDS)]
    for name, start, length in reserved:
        if start + length > area:
            raise ProgramError(
                f"header: {length} pixels of {name} from pixel {start} on leave the image of {area}"
            )
    if not 1 <= count <= MAX_CODE or not 1 <= tensors <= MAX_DESCRIPTORS:
        raise ProgramError(f"header: found {count} instructions and {tensors} descriptors")
    code = read_words(image, code_start, count).view(np.uint8).reshape(-1, 4)
    table = read_words(image, table_start, tensors * DESCRIPTOR_WORDS).reshape(tensors, -1)
    descriptors = tuple(decode_descriptor(row, i, tensors, area) for i, row in enumerate(table))
    for d in descriptors:
        check_place(d, width, height)
    reach = sum(d.image_rows(width) for d in descriptors if d.dtype != DType.PARAMS)
    if reach > 64 * (height + tensors):
        raise ProgramError(
            f"the tensors reach over {reach} image rows; at most {64 * (height + tensors)} for"
            f" {tensors} descriptors in {height} rows, so that parsing stays short"
        )
    instructions = tuple(_instruction(i, code, code_start, width) for i in range(count))
    lay_out = partial(_regions, descriptors, width, code_start, count, state_start)
    return TensorProgram(
        1, instructions, lay_out, descriptors, code_start, state_start, width, height,
        tuple(reserved), code,
    )  # fmt: skip


def _regions(
    descriptors: tuple[Descriptor, ...], width: int, code_start: int, count: int, state_start: int
) -> tuple[Region, ...]:
    """The code, the state and every tensor that has pixels."""
    regions = [
        Region("code", "code", "instructions", (count,), _runs(code_start, count, width),
               partial(_code_values, code_start, count)),
        Region("state", "state", "words", (STATE_WORDS,), _runs(state_start, STATE_WORDS, width),
               partial(_state_values, state_start)),
    ]  # fmt: skip
    for d, name in zip(descriptors, region_names(descriptors), strict=True):
        if d.dtype != DType.PARAMS:
            regions.append(tensor_region(d, width, name))
    return tuple(regions)


def _instruction(index: int, code: NDArray[np.uint8], start: int, width: int) -> Instruction:
    byte, g, b, a = code[index].tolist()
    y, x = divmod(start + index, width)
    op = TABLE.get(byte)
    if op is None:
        raise ProgramError(
            f"instruction {index} at x={x}, y={y}: unknown opcode {byte} ({chr(byte)!r});"
            f" expected one of {' '.join(o.glyph for o in TABLE.values())}"
        )
    return Instruction(index, x, y, byte, op, (g, b, a))


def _runs(start: int, count: int, width: int) -> tuple[tuple[int, int, int], ...]:
    """Consecutive words as (y, x_start, x_stop) runs."""
    runs = []
    while count > 0:
        y, x = divmod(start, width)
        step = min(width - x, count)
        runs.append((y, x, x + step))
        start, count = start + step, count - step
    return tuple(runs)


def tensor_region(d: Descriptor, width: int, name: str) -> Region:
    """The pixels of a tensor and what they mean as real numbers."""
    x, y, words = d.start % width, d.start // width, d.row_words
    spans, rows, per = [], d.rows, d.per
    if per:
        for number in range(d.image_rows(width)):
            used = min(per, rows - number * per)
            spans.append((y + number, x, x + used * words))
    else:
        for row in range(rows):
            spans += _runs(d.row_start(row, width), words, width)
    encoding = f"{d.dtype.name} {d.role.name.lower()}"
    return Region(name, "tensor", encoding, d.extents, tuple(spans), partial(_real, d))


def _real(d: Descriptor, image: Image) -> NDArray[Any]:
    words = tensor_words(image, d, 0, d.rows)
    values = decode(words, d.dtype, d.cols)
    if d.dtype in (DType.ACT1, DType.ACT2):
        mantissa, exponent = decode_scales(words[:, -1])
        real = values * np.ldexp(mantissa.astype(float), exponent)[:, None]
    elif d.dtype == DType.SCALE:
        mantissa, exponent = decode_scales(words)
        real = np.ldexp(mantissa.astype(float), exponent)
    elif d.dtype in (DType.I32, DType.I16):
        real = np.ldexp(values.astype(float), -d.frac) if d.frac else values
    else:
        real = values
    return np.asarray(real.reshape(d.extents))


def _code_values(start: int, count: int, image: Image) -> NDArray[Any]:
    return read_words(image, start, count).view(np.uint8).reshape(-1, 4)[:, 0].astype(np.int64)


def _state_values(start: int, image: Image) -> NDArray[Any]:
    return read_state(image, start)


def read_state(image: Image, start: int) -> Ints:
    """The state's words as signed integers; see ``tensor.State``."""
    words = read_words(image, start, STATE_WORDS)
    values: Ints = words.view("<i4").astype(np.int64)
    return values
