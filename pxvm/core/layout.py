"""Lay out a dialect 1 program: tensors by name, layers, instructions; pixels come out.

>>> b = NetworkBuilder()
>>> b.tensor("x", DType.I32, (1, 4), Role.STATE, data=[[1, 2, 3, 4]])
>>> b.tensor("y", DType.I32, (1, 4), Role.STATE)
>>> b.emit("Add", "y", "x", "x")
>>> image = b.build()

A tensor with ``layer=n`` is one of a row of equal layers: every layer has the same names in the
same order, and inside a loop whose stride is ``b.layer_size`` an instruction names the current
layer's. Names are given without the layer; the picture calls them "3.name".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pxvm.core import isa
from pxvm.core.dialect1 import RELATIVE
from pxvm.core.errors import ProgramError
from pxvm.core.integer import ints
from pxvm.core.isa import Flow, Mode, Names, Parameter
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    STATE_WORDS,
    Descriptor,
    DType,
    Role,
    State,
    check_columns,
    encode,
    encode_descriptor,
    header_words,
    row_words,
    store_words,
    write_words,
)

DEFAULT_WIDTH = 64


@dataclass
class _Tensor:
    name: str
    dtype: DType
    role: Role
    frac: int
    extents: tuple[int, ...]
    links: dict[str, str | None]
    data: Any
    scales: Any
    layer: int | None
    last: bool = False
    op: isa.Opcode | None = None
    parameters: dict[str, Any] | None = None


class NetworkBuilder:
    """Collects tensors and instructions of a dialect 1 program.

    Args:
        width: image width in pixels, a multiple of 4; a divisor-friendly width saves space.
    """

    def __init__(self, width: int = DEFAULT_WIDTH) -> None:
        if width % 4 or not 16 <= width <= 16380:
            raise ProgramError(f"width is a multiple of 4 in 16..16380; found {width}")
        self.width = width
        self._tensors: list[_Tensor] = []
        self._names: dict[tuple[str, int | None], int] = {}
        self._code: list[tuple[isa.Opcode, tuple[Any, ...]]] = []
        self._labels: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        dtype: DType,
        extents: tuple[int, ...],
        role: Role = Role.SCRATCH,
        *,
        frac: int = 0,
        data: Any = None,
        scales: Any = None,
        scale: str | None = None,
        bias: str | None = None,
        length: str | None = None,
        layer: int | None = None,
        last: bool = False,
    ) -> str:
        """Declare a tensor; returns its name.

        Args:
            data: integers of ``extents``, of I4 the words of ``encode_groups``, or a function that
                gives them when they are laid out, whole or as an iterator of bands of rows; such
                functions are called in the order of the descriptors.
            scales: for ACT data, (mantissas, exponents) of each row.
            scale, bias, length: names of linked tensors, of the same layer or of none.
            last: stand on rows of their own behind all other tensors, in the order of the
                descriptors, so that rows can be appended when the image is opened.

        Raises ProgramError for extents that no tensor has.
        """
        if not 1 <= len(extents) <= 4 or min(extents) < 1:
            expected = "has 1 to 4 extents, each 1 or more"
            raise ProgramError(f"tensor {name!r} {expected}; found {extents}")
        check_columns(f"tensor {name!r}", dtype, extents[-1])
        links = {"scale": scale, "bias": bias, "length": length}
        self._declare(_Tensor(name, dtype, role, frac, extents, links, data, scales, layer, last))
        return name

    def constant(self, name: str, value: int, layer: int | None = None) -> str:
        """A constant I32 scalar."""
        return self.tensor(name, DType.I32, (1,), Role.CONSTANT, data=[value], layer=layer)

    def scalar(self, name: str, value: int = 0) -> str:
        """An I32 scalar of the state."""
        return self.tensor(name, DType.I32, (1,), Role.STATE, data=[value])

    def parameters(self, name: str, op: str, layer: int | None = None, **values: Any) -> str:
        """A parameter block for the opcode ``op``: tensor names, numbers, (mantissa, exponent)."""
        row = isa.by_name(op, 1)
        if set(values) != (known := {parameter.name for parameter in row.parameters}):
            raise ProgramError(f"{op} has parameters {sorted(known)}; found {sorted(values)}")
        self._declare(
            _Tensor(
                name,
                DType.PARAMS,
                Role.CONSTANT,
                0,
                (0,),
                {},
                None,
                None,
                layer,
                False,
                row,
                values,
            )
        )
        return name

    def _declare(self, tensor: _Tensor) -> None:
        key = (tensor.name, tensor.layer)
        if key in self._names:
            raise ProgramError(f"there is a tensor {tensor.name!r} already; names are unique")
        self._names[key] = len(self._tensors)
        self._tensors.append(tensor)

    def emit(self, name: str, *operands: Any) -> None:
        """Append an instruction: tensor names, numbers, or a label for Call."""
        self._code.append((isa.by_name(name, 1), operands))

    def label(self, name: str) -> None:
        """Name the next instruction, the start of a subroutine."""
        self._labels[name] = len(self._code)

    def _order(self) -> tuple[dict[tuple[str, int | None], int], int]:
        """Descriptor index of every tensor, globals first; and descriptors in a layer."""
        shared = [t for t in self._tensors if t.layer is None]
        layers = sorted({t.layer for t in self._tensors if t.layer is not None})
        index: dict[tuple[str, int | None], int] = {}
        index |= {(t.name, None): i for i, t in enumerate(shared)}
        names: list[str] | None = None
        for layer in layers:
            here = [t.name for t in self._tensors if t.layer == layer]
            if names is not None and here != names:
                raise ProgramError(f"layer {layer} has tensors {here}; the first has {names}")
            names = here
            for name in here:
                index[(name, layer)] = len(index)
        self._layer_names = names or []
        if len(shared) > RELATIVE or len(self._layer_names) > RELATIVE:
            raise ProgramError(
                f"at most {RELATIVE} shared tensors and {RELATIVE} a layer; found {len(shared)} and"
                f" {len(self._layer_names)}"
            )
        return index, len(shared)

    @property
    def layer_size(self) -> int:
        """Descriptors in a layer: the stride of a loop over layers."""
        first = min((t.layer for t in self._tensors if t.layer is not None), default=None)
        return sum(t.layer == first for t in self._tensors) if first is not None else 0

    def fit(self) -> int:
        """Take the width that wastes the fewest pixels on weights; returns it.

        Candidates lie around a square picture, at most 4,608 wide by preference.
        """
        rows = [(t.extents, t.dtype) for t in self._tensors if t.dtype != DType.PARAMS]
        words = [(int(np.prod(e[:-1])), row_words(kind, e[-1]), kind) for e, kind in rows]
        total = sum(count * size for count, size, _ in words)
        target = int(np.clip(np.sqrt(total), 64, 4608)) // 4 * 4
        weights: dict[tuple[int, int], int] = {}
        for count, size, kind in words:
            if kind in (DType.I8, DType.I4) and count * size > target // 2:
                weights[count, size] = weights.get((count, size), 0) + 1

        def waste(width: int) -> tuple[int, int]:
            lost = 0
            for (count, size), times in weights.items():
                used = -(-count // (width // size)) if size <= width else count * -(-size // width)
                lost += times * (used * width - count * size)
            return lost, abs(width - target)

        self.width = min(range(max(64, target // 8 * 4), min(2 * target, 16380), 4), key=waste)
        return self.width

    def build(self) -> Image:
        """Lay everything out: uint8 array (height, width, 4). Raises ProgramError."""
        index, shared = self._order()
        ordered = sorted(self._tensors, key=lambda t: index[(t.name, t.layer)])
        code = self._encode_code(index)
        code_start = -(-HEADER_WORDS // 4) * 4
        state_start = -(-(code_start + len(code)) // self.width) * self.width
        table_start = -(-(state_start + STATE_WORDS) // self.width) * self.width
        place = Shelves(self.width, table_start + len(ordered) * DESCRIPTOR_WORDS)
        descriptors: list[Any] = [None] * len(ordered)
        for last in (False, True):
            place.close()
            for i, t in enumerate(ordered):
                if t.last == last:
                    descriptors[i] = self._descriptor(t, i, index, place)
        image = np.zeros((place.height, self.width, 4), np.uint8)
        header = header_words(code_start, state_start, table_start, len(code), len(ordered))
        write_words(image, 0, header)
        write_words(image, code_start, code.view("<u4").reshape(-1))
        state = np.zeros(STATE_WORDS, np.uint32)
        state[State.BASE] = shared
        write_words(image, state_start, state)
        for tensor, d in zip(ordered, descriptors, strict=True):
            write_words(image, table_start + d.index * DESCRIPTOR_WORDS, encode_descriptor(d))
            if tensor.data is not None:
                self._store(image, tensor, d)
            elif d.dtype == DType.I8:
                zero = np.full((d.rows, d.row_words), 0x80808080, np.uint32)
                store_words(image, d, 0, zero)
        return image

    def _store(self, image: Image, tensor: _Tensor, d: Descriptor) -> None:
        data = tensor.data() if callable(tensor.data) else tensor.data
        row = 0
        cols = d.row_words if d.dtype == DType.I4 else d.cols
        for band in data if isinstance(data, Iterator) else [data]:
            # Integers of 8 bits are stored as they are: many millions need not become 64 first.
            band = np.asarray(band)
            values = band if d.dtype == DType.I8 and band.dtype == np.int8 else ints(band)
            count = values.size // cols
            if values.size != count * cols or count > d.rows - row:
                raise ProgramError(f"{tensor.name} holds {d.extents}; found data {values.shape}")
            rows = values.reshape(count, cols)
            packed = d.dtype == DType.I4
            words = rows.astype(np.uint32) if packed else encode(rows, d.dtype, tensor.scales)
            store_words(image, d, row, words)
            row += count
        if row < d.rows:
            raise ProgramError(f"{tensor.name} holds {d.extents}; found data of {row} rows")

    def _descriptor(
        self, t: _Tensor, number: int, index: dict[tuple[str, int | None], int], place: Shelves
    ) -> Descriptor:
        def link(name: str | None) -> int | None:
            return None if name is None else self._find(index, name, t.layer)

        name = t.name if t.layer is None else f"{t.layer}.{t.name}"
        d = Descriptor(number, name, t.dtype, t.role, t.frac, t.extents, 0, 1, None, None, None)
        if t.parameters is not None and t.op is not None:
            words = tuple(
                self._word(index, t, parameter, t.parameters[parameter.name])
                for parameter in t.op.parameters
            )
            return replace(d, parameters=words)
        start, per = place.put(d.rows, row_words(t.dtype, d.cols))
        scale, bias, length = (link(t.links[key]) for key in ("scale", "bias", "length"))
        return replace(d, start=start, per=per, scale=scale, bias=bias, length=length)

    def _word(
        self,
        index: dict[tuple[str, int | None], int],
        t: _Tensor,
        parameter: Parameter,
        value: Any,
    ) -> int:
        if parameter.mode.names is Names.TENSOR:
            return self._find(index, value, t.layer)
        if parameter.mode is Mode.SCALE:
            return int(value[0]) | (int(value[1]) & 0xFFFF) << 16
        return int(value)

    def _find(self, index: dict[tuple[str, int | None], int], name: str, layer: int | None) -> int:
        for key in ((name, layer), (name, None)):
            if key in index:
                return index[key]
        raise ProgramError(f"no tensor is called {name!r}")

    def _encode_code(self, index: dict[tuple[str, int | None], int]) -> Any:
        if not any(op.flow is Flow.HALT for op, _ in self._code):
            self.emit("Halt")
        code = np.zeros((len(self._code), 4), np.uint8)
        for row, (op, operands) in zip(code, self._code, strict=True):
            if op.flow is Flow.CALL:
                target = self._labels.get(operands[0])
                if target is None:
                    raise ProgramError(f"no label is called {operands[0]!r}")
                row[:] = op.code, target & 255, target >> 8, operands[1] if operands[1:] else 0
                continue
            given = list(operands)
            row[0] = op.code
            for position, mode in enumerate(op.operands):
                if mode is not Mode.NONE and given:
                    row[1 + position] = self._operand(index, given.pop(0))
            if given:
                raise ProgramError(f"{op.name} takes fewer operands; found {operands}")
        return code

    def _operand(self, index: dict[tuple[str, int | None], int], value: Any) -> int:
        if not isinstance(value, str):
            return int(value)
        if (value, None) in index:
            return index[(value, None)]
        if value in self._layer_names:
            return RELATIVE + self._layer_names.index(value)
        raise ProgramError(f"no tensor is called {value!r}")


class Shelves:
    """Places tensors: those of less than an image row side by side, others on rows of their own."""

    def __init__(self, width: int, used: int) -> None:
        self.width = width
        self.height = -(-used // width)
        self.close()

    def close(self) -> None:
        """Begin a new image row for whatever comes next."""
        self.shelf, self.column = -1, self.width

    def put(self, rows: int, words: int) -> tuple[int, int]:
        """(start word, tensor rows in an image row) for a tensor."""
        if words > self.width:
            start = self.height * self.width
            self.height += rows * -(-words // self.width)
            return start, 0
        per = self.width // words
        if rows * words > self.width // 2 or rows > per:
            start = self.height * self.width
            self.height += -(-rows // per)
            return start, min(per, rows)
        if self.column + rows * words > self.width:
            self.shelf, self.column = self.height, 0
            self.height += 1
        start = self.shelf * self.width + self.column
        self.column += rows * words
        return start, rows
