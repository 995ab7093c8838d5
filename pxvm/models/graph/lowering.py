"""A graph becomes a dialect 1 program: activations, scratch, instructions.

Inputs of products are quantised on the way, to one plane of 7 bits or two of 14, as the ``Planes``
hook says. Rows that instructions want wider (four int8 are a pixel) are filled up with zeros.
Whole numbers get fraction bits where they meet real ones. Scratch tensors of one kind are used
again when nobody needs what they hold.

The program runs once and yields; the host writes the next inputs and runs it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pxvm.core.errors import ProgramError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from pxvm.models.graph import floats
from pxvm.models.graph.fractions import SAME_FRAC, fractions
from pxvm.models.graph.graph import Graph, Value
from pxvm.models.graph.placed import Placed, whole_pixels
from pxvm.models.graph.quantise import (
    HEADROOM,
    Choice,
    Floats,
    add_norm,
    add_table,
    add_weight,
    attention_scale,
    fixed,
    largest,
)

Planes = Callable[[str, Floats], int]
RUNS = 65535
PRODUCTS = {"linear", "matmul", "conv2d"}
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
    magnitudes: list[float] = []
    quantised: dict[int, int] = {}
    products = {i.index for v in graph.values if v.op in PRODUCTS for i in v.inputs}
    for value, array in floats.walk(graph, calibration):
        magnitudes.append(float(np.abs(array).max()))
        if value.index in products:
            quantised[value.index] = planes(value.name, array)
    fracs = fractions(graph, magnitudes, headroom)
    builder = _Lowering(graph, fracs, choice, quantised, keep).program()
    if width is None:
        builder.fit()
    else:
        builder.width = width
    return builder.build()


class _Lowering(Placed):
    def __init__(
        self, graph: Graph, fracs: list[int], choice: Choice, planes: Mapping[int, int], keep: bool
    ) -> None:
        super().__init__(graph, fracs, planes, keep)
        self.choice = choice

    def program(self) -> NetworkBuilder:
        """Emit everything inside a loop that yields once a run."""
        b = self.b
        b.emit("Loop", self._number("runs", RUNS), 0)
        for value in self.graph.values:
            getattr(self, f"_{value.op}", self._plain)(value)
            self._release(value)
        b.emit("Yield")
        b.emit("EndLoop")
        b.emit("Halt")
        return b

    # Tensors

    # Operations

    def _plain(self, value: Value) -> None:
        if value.op not in NAMES:
            raise ProgramError(f"{value.name}: no instruction for {value.op}")
        inputs = self._inputs(value)
        self.b.emit(NAMES[value.op], self._result(value), *inputs)

    def _inputs(self, value: Value) -> list[str]:
        """Operands, with the result's fraction bits where the instruction wants them equal."""
        if value.op not in SAME_FRAC:
            return [self._of(i) for i in value.inputs]
        return [self._at(i, self.fracs[value.index]) for i in value.inputs]

    def _input(self, value: Value) -> None:
        frac = self.fracs[value.index]
        self.tensors[value.index] = self.b.tensor(
            value.name, DType.I32, value.shape, Role.STATE, frac=frac
        )

    def _constant(self, value: Value) -> None:
        frac, name = self.fracs[value.index], self._own(value.name)
        data = fixed(value.name, value.arrays["data"], frac)
        self.tensors[value.index] = self.b.tensor(
            name, DType.I32, value.shape, Role.CONSTANT, frac=frac, data=data
        )

    def _less(self, value: Value) -> None:
        a, b = value.inputs
        right = self._at(b, self.fracs[a.index])
        self.b.emit("Less", self._result(value), self._of(a), right)

    def _real(self, value: Value) -> None:
        x = self._of(value.inputs[0])
        self.b.emit("Mul", self._result(value), x, self._number("one", 1))

    def _trunc(self, value: Value) -> None:
        """floor(x), and floor(x + 1 - the smallest step) where x is below 0."""
        (x,) = value.inputs
        frac = self.fracs[x.index]
        if frac < 1:  # whole as it is
            self._real(value)
            return
        below, below_kind = self._scratch(DType.I32, x.shape)
        moved, kind = self._scratch(DType.I32, x.shape, frac)
        self.b.emit("Less", below, self._of(x), self._number(f"zero.{frac}", 0, frac))
        step = self._number(f"step.{frac}", (1 << min(frac, 30)) - 1, frac)
        half = self._number(f"half.{frac}", -(1 << (frac - 1)), frac)
        self.b.emit("Mul", moved, below, step)
        self.b.emit("Add", moved, moved, self._of(x))
        self.b.emit("Add", moved, moved, half)
        self.b.emit("Mul", self._result(value), moved, self._number("one", 1))
        self.free.setdefault(below_kind, []).append(below)
        self.free.setdefault(kind, []).append(moved)

    def _embed(self, value: Value) -> None:
        table, ids = value.arrays["weight"], self._of(value.inputs[0])
        full = whole_pixels(table.shape[1])
        table = np.pad(table, ((0, 0), (0, full - table.shape[1])))
        name = add_weight(self.b, self._own(f"{value.name}.table"), table, self.choice)
        if full == value.cols:
            self.b.emit("Embed", self._result(value), ids, name)
            return
        wide, _ = self._scratch(DType.I32, (value.rows, full), self.fracs[value.index], reuse=False)
        self.b.emit("Embed", wide, ids, name)
        self._narrower(self._result(value), wide)

    def _linear(self, value: Value) -> None:
        weight = value.arrays["weight"]
        weight = np.pad(weight, ((0, 0), (0, -weight.shape[1] % 4)))
        name = self._weight(value, weight)
        x = self._activation(value.inputs[0])
        self.b.emit("Linear", self._result(value), x, name)

    def _weight(self, value: Value, weight: Floats) -> str:
        bias, frac = value.arrays.get("bias"), self.fracs[value.index]
        name = self._own(f"{value.name}.weight")
        return add_weight(self.b, name, weight, self.choice, bias=bias, bias_frac=frac)

    def _matmul(self, value: Value) -> None:
        a, b = (self._activation(i) for i in value.inputs)
        self.b.emit("MatMul", self._result(value), a, b)

    def _conv2d(self, value: Value) -> None:
        weight, source = value.arrays["weight"], value.inputs[0]
        height, width, channels = source.picture or (0, 0, 0)
        weight = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, -channels % 4)))
        name = self._weight(value, weight.reshape(len(weight), -1))
        x = self._activation(source, channels)
        self._emit("Conv2D", self._result(value), x, weight=name, height=height, width=width,
                   **value.settings)  # fmt: skip

    def _attention(self, value: Value) -> None:
        s, width = value.settings, value.inputs[1].cols // value.settings["kv_heads"]
        full = whole_pixels(width)
        q, k, v = (self._wider(self._of(i), self.fracs[i.index], i, width) for i in value.inputs)
        shape = (s["kv_heads"], value.inputs[1].rows, full)
        caches = [self._scratch(DType.ACT1, shape) for _ in range(2)]
        zero = self._number("zero", 0)
        for (cache, _), source in zip(caches, (k, v), strict=True):
            self.b.emit("Append", cache, source, zero)
        named: dict[str, Any] = {
            "k": caches[0][0],
            "v": caches[1][0],
            "scale": attention_scale(1 / math.sqrt(width)),
        }
        out, frac = self._result(value), self.fracs[value.index]
        wide = out
        if full > width:
            wide, _ = self._scratch(DType.I32, (value.rows, s["heads"] * full), frac, reuse=False)
        if s["causal"]:
            self._emit("AttentionCausal", wide, q, position=zero, **named)
        else:
            span = self._number(f"span.{s['span']}", s["span"])
            self._emit("AttentionFull", wide, q, span=span, lengths=span, **named)
        if full > width:
            heads, _ = self._scratch(DType.I32, (value.rows * s["heads"], full), frac, reuse=False)
            narrow, _ = self._scratch(
                DType.I32, (value.rows * s["heads"], width), frac, reuse=False
            )
            self.b.emit("Copy", heads, wide)
            self._narrower(narrow, heads)
            self.b.emit("Copy", out, narrow)
        for name, kind in caches:
            self.free.setdefault(kind, []).append(name)

    def _mean_pool(self, value: Value) -> None:
        span = self._number(f"span.{value.settings['span']}", value.settings["span"])
        x, lengths = self._at(value.inputs[0], self.fracs[value.index]), self._of(value.inputs[1])
        self._emit("MeanPool", self._result(value), x, span=span, lengths=lengths)

    def _norm(self, value: Value) -> None:
        weight, bias = value.arrays["weight"], value.arrays.get("bias")
        epsilon, cols, op = value.settings["epsilon"], value.cols, NAMES[value.op]
        # cols * epsilon in the unit of squares has 31 bits: finer steps than that are of no use
        room = math.floor((31 - math.log2(max(cols * epsilon, 1e-30))) / 2)
        source, frac = value.inputs[0], min(self.fracs[value.inputs[0].index], room)
        x = self._at(source, frac)
        if cols % 2:  # over one column more, of zeros, the mean of squares is as much smaller
            part = cols / (cols + 1)
            weight, epsilon = np.append(weight * math.sqrt(part), 0.0), epsilon * part
            bias = None if bias is None else np.append(bias, 0.0)
            x, op = self._centred(source, x, frac) if op == "LayerNorm" else x, "RMSNorm"
            x = self._wider(x, frac, source, cols, cols + 1)
        name = add_norm(self.b, self._own(f"norm.{value.index}"), weight, epsilon, bias=bias,
                        bias_frac=self.fracs[value.index])  # fmt: skip
        out = self._result(value)
        if cols % 2 == 0:
            self.b.emit(op, out, x, name)
            return
        shape = (value.rows, cols + 1)
        wide, _ = self._scratch(DType.I32, shape, self.fracs[value.index], reuse=False)
        self.b.emit(op, wide, x, name)
        self._narrower(out, wide)

    _rms_norm = _layer_norm = _norm

    def _centred(self, value: Value, x: str, frac: int) -> str:
        """A value less the mean of each row."""
        mean, kind = self._scratch(DType.I32, (value.rows, 1), frac)
        out, _ = self._scratch(DType.I32, value.shape, frac, reuse=False)
        self.b.emit("Mean", mean, x)
        self.b.emit("Mul", mean, mean, self._number("minus one", -1))
        self.b.emit("Add", out, x, mean)
        self.free.setdefault(kind, []).append(mean)
        return out

    def _lookup(self, value: Value) -> None:
        op, table = TABLE_OF[value.op]
        if table not in self.shared:
            self.shared[table] = add_table(self.b, table, self._own(table))
        self.b.emit(op, self._result(value), self._of(value.inputs[0]), self.shared[table])

    _sigmoid = _tanh = _silu = _gelu = _gelu_tanh = _lookup

    def _pool(self, value: Value) -> None:
        height, width, _ = value.inputs[0].picture or (0, 0, 0)
        op = {"max_pool": "MaxPool", "avg_pool": "AvgPool"}[value.op]
        self._moving(op, value, height=height, width=width, **value.settings)

    _max_pool = _avg_pool = _pool

    def _moving(self, op: str, value: Value, **settings: Any) -> None:
        (x,) = self._inputs(value)
        self._emit(op, self._result(value), x, **settings)

    def _transpose(self, value: Value) -> None:
        axes = (*value.settings["axes"], *range(len(value.shape), 4))
        self._moving("Transpose", value, **dict(zip("abcd", axes, strict=True)))

    def _slice(self, value: Value) -> None:
        self._moving("Slice", value, **value.settings)

    def _concat(self, value: Value) -> None:
        parts, out, first = self._inputs(value), self._result(value), 0
        for part, source in zip(value.inputs, parts, strict=True):
            self._emit("Concat", out, source, first=first)
            first += part.cols
