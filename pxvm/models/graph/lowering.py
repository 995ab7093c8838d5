"""A graph becomes a dialect 1 program: fraction bits, activations, scratch, instructions.

Every 32-bit value gets the most fraction bits with which ``headroom`` times its largest magnitude
in the calibration run still fits; values that an operation wants in one unit (the two sides of an
Add) share the smallest of theirs. Inputs of products are quantised on the way, to one plane of 7
bits or two of 14, as the ``Planes`` hook says. Scratch tensors of one kind are used again when
nobody needs what they hold.

The program runs once and yields; the host writes the next inputs and runs it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from pxvm.models.graph import floats
from pxvm.models.graph.graph import Graph, Shape, Value
from pxvm.models.graph.quantise import (
    HEADROOM,
    Choice,
    Floats,
    add_norm,
    add_table,
    add_weight,
    attention_scale,
    best_frac,
    fixed,
    largest,
)

Planes = Callable[[str, Floats], int]
RUNS = 65535
SAME_FRAC = {
    "add", "relu", "mean", "sum", "max", "max_pool", "avg_pool", "reshape", "transpose", "slice",
    "concat",
}  # fmt: skip
NAMES = {
    "add": "Add", "mul": "Mul", "relu": "ReLU", "mean": "Mean", "sum": "Sum", "max": "Max",
    "argmax": "Argmax", "softmax": "Softmax", "l2_normalise": "L2Norm", "reshape": "Copy",
    "rms_norm": "RMSNorm", "layer_norm": "LayerNorm", "matmul": "MatMul",
}  # fmt: skip
TABLE_OF = {
    "sigmoid": ("Table", "sigmoid"), "tanh": ("Table", "tanh"), "silu": ("Gate", "sigmoid"),
    "gelu": ("Gate", "normal"), "gelu_tanh": ("Gate", "normal_tanh"),
}  # fmt: skip


def two_planes(name: str, activations: Floats) -> int:
    """Fourteen bits everywhere."""
    return 2


def measured(limit: float) -> Planes:
    """One plane where 7 bits cost at most ``limit`` of the activations' root mean square."""

    def choose(name: str, activations: Floats) -> int:
        rows = activations.reshape(-1, activations.shape[-1])
        step = np.abs(rows).max(axis=1, keepdims=True) / 127
        error = (
            rows - np.rint(np.divide(rows, step, where=step > 0, out=np.zeros_like(rows))) * step
        )
        return 1 if (error**2).mean() <= limit**2 * (rows**2).mean() else 2

    return choose


def lower(
    graph: Graph,
    calibration: Mapping[str, Any],
    *,
    choice: Choice = largest,
    planes: Planes = two_planes,
    headroom: float = HEADROOM,
    keep: bool = False,
    width: int | None = None,
) -> Image:
    """Write a graph as a program.

    Args:
        calibration: an array for each input, of its shape, with typical values.
        choice: steps of a weight's rows, by name; see ``quantise``.
        planes: how many int8 planes the named value gets as an activation: 1 or 2.
        headroom: how much larger than in the calibration a value may become, at least.
        keep: keep every 32-bit value when the machine stops, so that it can be looked at.
        width: of the image, chosen when None.

    Returns:
        uint8 (height, width, 4). Inputs and outputs are I32 tensors of the state by name.

    Raises ProgramError when the graph cannot be lowered.
    """
    lowering = _Lowering(graph, floats.evaluate(graph, calibration), choice, planes, headroom, keep)
    builder = lowering.program()
    if width is None:
        builder.fit()
    else:
        builder.width = width
    return builder.build()


class _Lowering:
    def __init__(
        self, graph: Graph, found: list[Floats], choice: Choice, planes: Planes, headroom: float,
        keep: bool,
    ) -> None:  # fmt: skip
        self.graph, self.found, self.choice, self.planes = graph, found, choice, planes
        self.keep = keep
        self.b = NetworkBuilder()
        self.fracs = _fractions(graph, found, headroom)
        self.tensors: dict[int, str] = {}
        self.activations: dict[tuple[int, int], tuple[str, Any]] = {}
        self.kinds: dict[int, Any] = {}
        self.shared: set[str] = set()
        self.free: dict[Any, list[str]] = {}
        self.count = 0
        self.output_names = {v.index: name for name, v in graph.outputs.items()}
        self.last_use = {i.index: v.index for v in graph.values for i in v.inputs}

    def program(self) -> NetworkBuilder:
        """Emit everything inside a loop that yields once a run."""
        b = self.b
        b.constant("runs", RUNS)
        b.emit("Loop", "runs", 0)
        for value in self.graph.values:
            getattr(self, f"_{value.op}", self._plain)(value)
            self._release(value)
        b.emit("Yield")
        b.emit("EndLoop")
        b.emit("Halt")
        return b

    # Tensors

    def _scratch(
        self, dtype: DType, shape: Shape, frac: int = 0, reuse: bool = True
    ) -> tuple[str, Any]:
        """A scratch tensor, one that nobody needs any more where there is one, and its kind."""
        kind = (dtype, shape, frac)
        if reuse and self.free.get(kind):
            return self.free[kind].pop(), kind
        self.count += 1
        name = self.b.tensor(f"scratch.{self.count}", dtype, shape, frac=frac)
        return name, kind if reuse else None

    def _result(self, value: Value) -> str:
        """Where the result of a value goes."""
        frac, index = self.fracs[value.index], value.index
        if index in self.output_names or self.keep:
            name = self.output_names.get(index, value.name)
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
                keys = [key for key in self.activations if key[0] == index]
                found += [self.activations.pop(key) for key in keys]
                for name, kind in found:
                    if kind is not None:
                        self.free.setdefault(kind, []).append(name)

    def _of(self, value: Value) -> str:
        return self.tensors[value.index]

    def _activation(self, value: Value, padded: str | None = None, cols: int = 0) -> str:
        """The value as activations; quantised once, however many products use it."""
        source, width = padded or self._of(value), cols or value.cols
        key = value.index, width
        if key not in self.activations:
            if width % 4:
                source, width = self._padded(source, value), -(-width // 4) * 4
            number = self.planes(value.name, self.found[value.index])
            dtype = {1: DType.ACT1, 2: DType.ACT2}[number]
            self.activations[key] = self._scratch(dtype, (*value.shape[:-1], width))
            self.b.emit("Quantise", self.activations[key][0], source)
        return self.activations[key][0]

    def _padded(self, source: str, value: Value) -> str:
        """Columns filled up with zeros to a multiple of 4; such scratch is not used again."""
        shape = (*value.shape[:-1], -(-value.cols // 4) * 4)
        wide, _ = self._scratch(DType.I32, shape, self.fracs[value.index], reuse=False)
        self._emit("Concat", wide, source, first=0)
        return wide

    def _emit(self, op: str, out: str, x: str, **values: Any) -> None:
        """An instruction with a parameter block of its own."""
        self.count += 1
        block = self.b.parameters(f"parameters.{self.count}", op, **values)
        self.b.emit(op, out, x, block)

    def _table(self, name: str) -> str:
        if name not in self.shared:
            self.shared.add(add_table(self.b, name))
        return name

    # Operations

    def _plain(self, value: Value) -> None:
        if value.op not in NAMES:
            raise ProgramError(f"{value.name}: no instruction for {value.op}")
        inputs = [self._of(i) for i in value.inputs]
        self.b.emit(NAMES[value.op], self._result(value), *inputs)

    def _input(self, value: Value) -> None:
        frac = self.fracs[value.index]
        self.tensors[value.index] = self.b.tensor(
            value.name, DType.I32, value.shape, Role.STATE, frac=frac
        )

    def _constant(self, value: Value) -> None:
        frac = self.fracs[value.index]
        data = fixed(value.name, value.arrays["data"], frac)
        self.tensors[value.index] = self.b.tensor(
            value.name, DType.I32, value.shape, Role.CONSTANT, frac=frac, data=data
        )

    def _embed(self, value: Value) -> None:
        table = add_weight(self.b, f"{value.name}.table", value.arrays["weight"], self.choice)
        self.b.emit("Embed", self._result(value), self._of(value.inputs[0]), table)

    def _linear(self, value: Value) -> None:
        weight = value.arrays["weight"]
        weight = np.pad(weight, ((0, 0), (0, -weight.shape[1] % 4)))
        name = self._weight(value, weight)
        x = self._activation(value.inputs[0])
        self.b.emit("Linear", self._result(value), x, name)

    def _weight(self, value: Value, weight: Floats) -> str:
        bias, frac = value.arrays.get("bias"), self.fracs[value.index]
        name = f"{value.name}.weight"
        return add_weight(self.b, name, weight, self.choice, bias=bias, bias_frac=frac)

    def _matmul(self, value: Value) -> None:
        a, b = (self._activation(i) for i in value.inputs)
        self.b.emit("MatMul", self._result(value), a, b)

    def _conv2d(self, value: Value) -> None:
        weight, source = value.arrays["weight"], value.inputs[0]
        height, width, channels = source.picture or (0, 0, 0)
        full = -(-channels // 4) * 4
        weight = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, full - channels)))
        name = self._weight(value, weight.reshape(len(weight), -1))
        padded = None
        if full > channels:
            padded = self._wider(source, height * width, channels, full)
        x = self._activation(source, padded, height * width * full)
        self._emit("Conv2D", self._result(value), x, weight=name, height=height, width=width,
                   **value.settings)  # fmt: skip

    def _wider(self, source: Value, pixels: int, channels: int, full: int) -> str:
        """Each pixel's channels filled up with zeros."""
        frac, count = self.fracs[source.index], source.rows * pixels
        narrow, _ = self._scratch(DType.I32, (count, channels), frac, reuse=False)
        wide, _ = self._scratch(DType.I32, (count, full), frac, reuse=False)
        rows, _ = self._scratch(DType.I32, (*source.shape[:-1], pixels * full), frac, reuse=False)
        self.b.emit("Copy", narrow, self._of(source))
        self._emit("Concat", wide, narrow, first=0)
        self.b.emit("Copy", rows, wide)
        return rows

    def _attention(self, value: Value) -> None:
        s, (q, k, v) = value.settings, value.inputs
        width = k.cols // s["kv_heads"]
        shape = (s["kv_heads"], k.rows, width)
        caches = [self._scratch(DType.ACT1, shape) for _ in range(2)]
        zero = self._number("zero", 0)
        for (cache, _), source in zip(caches, (k, v), strict=True):
            self.b.emit("Append", cache, self._of(source), zero)
        named: dict[str, Any] = {
            "k": caches[0][0],
            "v": caches[1][0],
            "scale": attention_scale(width),
        }
        if s["causal"]:
            self._emit("AttentionCausal", self._result(value), self._of(q), position=zero, **named)
        else:
            span = self._number(f"span.{s['span']}", s["span"])
            self._emit("AttentionFull", self._result(value), self._of(q), span=span, lengths=span,
                       **named)  # fmt: skip
        for name, kind in caches:
            self.free.setdefault(kind, []).append(name)

    def _number(self, name: str, number: int) -> str:
        if name not in self.shared:
            self.shared.add(self.b.constant(name, number))
        return name

    def _mean_pool(self, value: Value) -> None:
        span = self._number(f"span.{value.settings['span']}", value.settings["span"])
        x, lengths = value.inputs
        self._emit("MeanPool", self._result(value), self._of(x), span=span,
                   lengths=self._of(lengths))  # fmt: skip

    def _norm(self, value: Value) -> None:
        name = add_norm(self.b, f"norm.{value.index}", value.arrays["weight"],
                        value.settings["epsilon"], bias=value.arrays.get("bias"),
                        bias_frac=self.fracs[value.index])  # fmt: skip
        self.b.emit(NAMES[value.op], self._result(value), self._of(value.inputs[0]), name)

    _rms_norm = _layer_norm = _norm

    def _lookup(self, value: Value) -> None:
        op, table = TABLE_OF[value.op]
        x = self._of(value.inputs[0])
        self.b.emit(op, self._result(value), x, self._table(table))

    _sigmoid = _tanh = _silu = _gelu = _gelu_tanh = _lookup

    def _pool(self, value: Value) -> None:
        height, width, _ = value.inputs[0].picture or (0, 0, 0)
        op = {"max_pool": "MaxPool", "avg_pool": "AvgPool"}[value.op]
        self._emit(op, self._result(value), self._of(value.inputs[0]), height=height, width=width,
                   **value.settings)  # fmt: skip

    _max_pool = _avg_pool = _pool

    def _transpose(self, value: Value) -> None:
        axes = (*value.settings["axes"], *range(len(value.shape), 4))
        named = dict(zip("abcd", axes, strict=True))
        self._emit("Transpose", self._result(value), self._of(value.inputs[0]), **named)

    def _slice(self, value: Value) -> None:
        self._emit("Slice", self._result(value), self._of(value.inputs[0]), **value.settings)

    def _concat(self, value: Value) -> None:
        out, first = self._result(value), 0
        for part in value.inputs:
            self._emit("Concat", out, self._of(part), first=first)
            first += part.cols


def _fractions(graph: Graph, found: list[Floats], headroom: float) -> list[int]:
    """Fraction bits of every value: groups that must agree take their smallest."""
    parent = list(range(len(graph.values)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for value in graph.values:
        tied = value.inputs if value.op in SAME_FRAC else ()
        tied = value.inputs[:1] if value.op == "mean_pool" else tied
        for other in tied:
            parent[root(other.index)] = root(value.index)
    chosen: dict[int, int] = {}
    given: dict[int, int] = {}
    for value, array in zip(graph.values, found, strict=True):
        group = root(value.index)
        if value.frac is not None and given.setdefault(group, value.frac) != value.frac:
            raise ProgramError(
                f"{value.name}: {value.frac} fraction bits were asked for, and"
                f" {given[group]} for a value that must agree with it"
            )
        bits = best_frac(float(np.abs(array).max(initial=0)), headroom)
        chosen[group] = min(bits, chosen.get(group, bits))
    return [given.get(root(v.index), chosen[root(v.index)]) for v in graph.values]
