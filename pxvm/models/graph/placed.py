"""Where the values of a graph stand in the program that is being written.

Names, scratch that is used again when nobody needs what it holds, and what is derived from a value
once however many instructions want it: activations, and the value with other fraction bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.models.graph.graph import Graph, Shape, Value


def whole_pixels(cols: int) -> int:
    """Columns that fill whole pixels of int8."""
    return -(-cols // 4) * 4


class Placed:
    """Tensors of a program by the values that they hold.

    Args:
        fracs: fraction bits of each value.
        planes: int8 planes of each value that becomes activations.
        keep: every value is a tensor of the state.
    """

    def __init__(
        self, graph: Graph, fracs: list[int], planes: Mapping[int, int], keep: bool
    ) -> None:
        self.graph, self.fracs, self.planes, self.keep = graph, fracs, planes, keep
        self.b = NetworkBuilder()
        self.tensors: dict[int, str] = {}
        self.derived: dict[tuple[int, str, int], tuple[str, Any]] = {}
        self.kinds: dict[int, Any] = {}
        self.shared: dict[str, str] = {}
        self.free: dict[Any, list[str]] = {}
        self.count = 0
        self.output_names = {v.index: name for name, v in graph.outputs.items()}
        self.theirs = {*graph.outputs, *(v.name for v in graph.values if v.op == "input")}
        self.last_use = {i.index: v.index for v in graph.values for i in v.inputs}

    def _own(self, name: str) -> str:
        """A name for a tensor of the program itself: none that the host uses begins with it."""
        while any(theirs.startswith(name) for theirs in self.theirs):
            name += "'"
        return name

    def _scratch(
        self, dtype: DType, shape: Shape, frac: int = 0, reuse: bool = True
    ) -> tuple[str, Any]:
        """A scratch tensor, one that nobody needs any more where there is one, and its kind."""
        kind = (dtype, shape, frac)
        if reuse and self.free.get(kind):
            return self.free[kind].pop(), kind
        self.count += 1
        name = self.b.tensor(self._own(f"scratch.{self.count}"), dtype, shape, frac=frac)
        return name, kind if reuse else None

    def _result(self, value: Value) -> str:
        """Where the result of a value goes."""
        frac, index = self.fracs[value.index], value.index
        if index in self.output_names or self.keep:
            name = self.output_names.get(index) or self._own(value.name)
            self.b.tensor(name, DType.I32, value.shape, Role.STATE, frac=frac)
        else:
            name, self.kinds[index] = self._scratch(DType.I32, value.shape, frac)
        self.tensors[index] = name
        return name

    def _release(self, value: Value) -> None:
        """Give back the scratch of inputs that were used for the last time."""
        for index in {i.index for i in value.inputs}:
            if self.last_use[index] == value.index:
                found = [(self.tensors[index], self.kinds.pop(index, None))]
                keys = [key for key in self.derived if key[0] == index]
                found += [self.derived.pop(key) for key in keys]
                for name, kind in found:
                    if kind is not None:
                        self.free.setdefault(kind, []).append(name)

    def _of(self, value: Value) -> str:
        return self.tensors[value.index]

    def _at(self, value: Value, frac: int) -> str:
        """The value with so many fraction bits; rounded, halves up, where they are fewer."""
        if self.fracs[value.index] == frac:
            return self._of(value)
        key = value.index, "frac", frac
        if key not in self.derived:
            self.derived[key] = self._scratch(DType.I32, value.shape, frac)
            self.b.emit("Mul", self.derived[key][0], self._of(value), self._number("one", 1))
        return self.derived[key][0]

    def _activation(self, value: Value, cols: int = 0) -> str:
        """The value as activations, each ``cols`` of its columns filled up to whole pixels.

        Quantised once, however many products use it.
        """
        cols = cols or value.cols
        key = value.index, "activation", cols
        if key not in self.derived:
            source = self._wider(self._of(value), self.fracs[value.index], value, cols)
            dtype = {1: DType.ACT1, 2: DType.ACT2}[self.planes[value.index]]
            shape = (value.rows, value.cols // cols * whole_pixels(cols))
            self.derived[key] = self._scratch(dtype, shape)
            self.b.emit("Quantise", self.derived[key][0], source)
        return self.derived[key][0]

    def _wider(self, source: str, frac: int, value: Value, cols: int, full: int = 0) -> str:
        """Each ``cols`` columns filled up with zeros to ``full``, or to whole pixels.

        Such scratch is not used again: its zeros must stay.
        """
        full = full or whole_pixels(cols)
        if full == cols:
            return source
        parts = value.cols // cols
        wide, _ = self._scratch(DType.I32, (value.rows * parts, full), frac, reuse=False)
        if parts == 1:
            self._emit("Concat", wide, source, first=0)
            return wide
        narrow, _ = self._scratch(DType.I32, (value.rows * parts, cols), frac, reuse=False)
        rows, _ = self._scratch(DType.I32, (value.rows, parts * full), frac, reuse=False)
        self.b.emit("Copy", narrow, source)
        self._emit("Concat", wide, narrow, first=0)
        self.b.emit("Copy", rows, wide)
        return rows

    def _narrower(self, out: str, wide: str) -> None:
        """The first columns of a wider result."""
        self._emit("Slice", out, wide, first=0, step=1)

    def _emit(self, op: str, out: str, x: str, **values: Any) -> None:
        """An instruction with a parameter block of its own."""
        self.count += 1
        block = self.b.parameters(self._own(f"parameters.{self.count}"), op, **values)
        self.b.emit(op, out, x, block)

    def _number(self, name: str, number: int, frac: int = 0) -> str:
        """A constant scalar, declared once."""
        if name not in self.shared:
            self.shared[name] = self.b.tensor(
                self._own(name), DType.I32, (1,), Role.CONSTANT, frac=frac, data=[number]
            )
        return self.shared[name]
