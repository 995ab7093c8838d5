"""An ONNX file becomes a ``Graph``; everything in it that cannot be built is named at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pxvm.core.container import PathLike
from pxvm.core.errors import FormatError, PxvmError
from pxvm.models.graph.graph import MAX_ELEMENTS, Graph, Shape
from pxvm.models.importing.onnx_files import load, readable, registered
from pxvm.models.importing.onnx_fold import Folding
from pxvm.models.importing.onnx_ops import OPS
from pxvm.models.importing.onnx_tensor import (
    OTHERS,
    REAL,
    WHOLE,
    Node,
    Tensor,
    UnsupportedError,
    rows_of,
)

NAME_BYTES = 24
UNROUNDED = "nothing is rounded to its few digits, or becomes infinite where it ends"
SHOWN = 100  # reasons in one error


class Read(NamedTuple):
    """What a file holds.

    Attributes:
        shapes: of the inputs, by ONNX's names.
        names: ONNX's names of inputs and outputs to those in the graph.
        notes: where the program does more than the file asks for.
    """

    graph: Graph
    shapes: dict[str, Shape]
    names: dict[str, str]
    notes: tuple[str, ...] = ()


def read_graph(path: PathLike, batch: int = 1) -> tuple[Graph, dict[str, Shape]]:
    """The graph of an ONNX file and the shapes of its inputs.

    Args:
        batch: the extent that stands for a first one which the file leaves open.

    Raises:
        FormatError: no ONNX, damaged, or with inputs that have no fixed shape.
        UnsupportedError: naming every operation that cannot be built.
    """
    return read(path, batch)[:2]


def read(path: PathLike, batch: int) -> Read:
    """``read_graph``, and how the names were cut."""
    model, opset = load(Path(path))
    graph, known = Graph(), dict[str, Any]()
    for tensor in model.graph.initializer:
        known[tensor.name] = _array(path, tensor)
    entries = [e for e in model.graph.input if e.name not in known]
    outputs = [e.name for e in model.graph.output]
    names = short_names([*(e.name for e in entries), *outputs])
    shapes: dict[str, Shape] = {}
    strange = []
    for entry in entries:
        try:
            shapes[entry.name] = shape = _input_shape(entry, batch)
            known[entry.name] = _input(graph, names[entry.name], entry, shape)
        except PxvmError as error:
            strange.append(f"input {entry.name[:80]!r}: {error}")
    with np.errstate(all="ignore"):  # weights that are not finite are refused when quantised
        refused = _walk(graph, model, opset, known)
    for name in outputs:
        if isinstance(known.get(name), np.ndarray):
            refused.append(f"output {name[:80]!r}, which is known without a run")
    if strange or refused:
        raise _refusal(path, strange, refused)
    try:
        for name in outputs:
            graph.output(names[name], known[name].plain().value)
    except PxvmError as error:
        raise type(error)(f"{path}: {error}") from None
    short = {t.kind for t in known.values() if isinstance(t, Tensor)} & {"float16", "bfloat16"}
    notes = tuple(f"{kind} is computed in fixed point: {UNROUNDED}" for kind in sorted(short))
    return Read(graph, shapes, names, notes)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names of at most 24 bytes, those that fit as they are, none twice.

    A longer one is cut at its end, or in its middle where others begin in the same way.
    """
    names = list(dict.fromkeys(names))
    cut = {name: _cut(name, NAME_BYTES) for name in names}
    found: dict[str, str] = {}
    taken = {name for name in names if cut[name] == name}
    for name in names:
        short = cut[name]
        if short != name and sum(c == short for c in cut.values()) > 1:
            short = _cut(name, 11) + "~" + _cut(name[::-1], 12)[::-1]
        number = 2
        while short != name and short in taken:
            short = f"{_cut(cut[name], NAME_BYTES - 1 - len(str(number)))}~{number}"
            number += 1
        taken.add(short)
        found[name] = short
    return found


def _cut(name: str, count: int) -> str:
    return name.encode(errors="replace")[:count].decode(errors="ignore")


def _array(path: PathLike, tensor: Any) -> Any:
    from onnx import numpy_helper

    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # whatever the library does with nonsense
        raise FormatError(f"{path}: constant {tensor.name[:80]!r}: {readable(error)}") from None


def _input_shape(entry: Any, batch: int) -> Shape:
    shape: list[int] = []
    if entry.type.WhichOneof("value") != "tensor_type":
        raise FormatError("expected a tensor; found another type")
    for place, dim in enumerate(entry.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value") and place:
            raise FormatError(
                f"expected whole extents after the first; found {dim.dim_param[:40] or '?'!r};"
                " export it with fixed shapes"
            )
        shape.append(dim.dim_value if dim.HasField("dim_value") else batch)
    count = 1
    for extent in shape:
        count = min(count * max(extent, 0), MAX_ELEMENTS + 1)
    if len(shape) > 4 or not 1 <= count <= MAX_ELEMENTS:
        raise FormatError(
            f"expected at most 4 extents of at least 1, {MAX_ELEMENTS} elements at most; found"
            f" {shape!s:.80}"
        )
    return tuple(shape)


def _input(graph: Graph, name: str, entry: Any, shape: Shape) -> Tensor:
    from onnx import helper

    try:
        kind = str(helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type))
    except KeyError:
        kind = "an unknown type"
    if kind not in REAL | WHOLE | OTHERS:
        raise FormatError(f"expected numbers or truth values; found {kind}")
    return Tensor(graph.input(name, rows_of(shape), frac=None if kind in REAL else 0), shape, kind)


class _Refused:
    """Reasons why nodes cannot be built, with their places."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}

    def add(self, reason: str, node: Any) -> None:
        place = node.name or next(iter(node.output), "")
        self.places.setdefault(readable(reason, 200), []).append(place[:80])

    def lines(self) -> list[str]:
        return [
            f"{reason} at {places[0]!r}" + (f" and {len(places) - 1} more" if places[1:] else "")
            for reason, places in self.places.items()
        ]


def _walk(graph: Graph, model: Any, opset: int, known: dict[str, Any]) -> list[str]:
    """Compute or build every node; returns what cannot be."""
    used = {e.name for e in model.graph.output}
    used.update(name for node in model.graph.node for name in node.input if name)
    theirs = {(f.domain, f.name) for f in model.functions}
    folding = Folding(opset, sum(a.size for a in known.values() if isinstance(a, np.ndarray)))
    refused = _Refused()
    for node in model.graph.node:
        if node.domain == "ai.onnx":
            node.domain = ""
        place = f"{node.domain[:80]}.{node.op_type[:80]}" if node.domain else node.op_type[:80]
        foreign = (node.domain, node.op_type) in theirs or not registered(node, opset)
        try:
            found = _built(graph, node, opset, known, folding, foreign)
            others = [name for name in node.output[1:] if name in used]
            if others and found is not None:
                raise UnsupportedError(f"with its output {others[0]!r:.80}")
        except PxvmError as error:
            refused.add(f"{place} {error}", node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            refused.add(f"{place} whose attributes or inputs contradict each other", node)
        else:
            if found is not None:
                known |= dict.fromkeys(node.output[:1], found)
    return refused.lines()


def _built(
    graph: Graph, node: Any, opset: int, known: Mapping[str, Any], folding: Folding, foreign: bool
) -> Any:
    """What a node gives; None where it stands behind one that was refused."""
    from onnx import helper

    behind = any(name and name not in known for name in node.input)
    attributes = {} if behind else {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = [known.get(name) for name in node.input]
    if not foreign and not behind:
        found = folding(node, attributes, inputs)
        if found is not None:
            return found
    if foreign or node.op_type not in OPS:
        raise UnsupportedError("")
    return None if behind else OPS[node.op_type](Node(graph, opset, attributes), *inputs)


def _refusal(path: PathLike, strange: list[str], refused: list[str]) -> PxvmError:
    """One error that names everything."""
    shown = "; ".join(refused[:SHOWN])
    if len(refused) > SHOWN:
        shown += f"; and {len(refused) - SHOWN} other kinds"
    operations = f"expected operations of the op set; found {shown}" if refused else ""
    if not strange:
        return UnsupportedError(f"{path}: {operations}")
    return FormatError(f"{path}: {'; '.join(filter(None, [*strange[:SHOWN], operations]))}")
