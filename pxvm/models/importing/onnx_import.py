"""ONNX graphs within the op set become a ``Graph``; everything that is not is named at once.

Tensors of rank 4 are pictures, (n, channels, height, width) in ONNX and rows of height * width *
channels here: they are turned where they come in, where they are flattened, and where they go out,
so that the host sees ONNX's order on both sides. Nodes whose inputs are all known are computed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.container import PathLike, save_image
from pxvm.core.errors import FormatError, PxvmError
from pxvm.core.verifier import verify
from pxvm.models.graph.graph import Graph, Shape
from pxvm.models.graph.lowering import lower
from pxvm.models.graph.quantise import Choice, least_squares
from pxvm.models.importing.importer import Progress, Recorder, Report
from pxvm.models.importing.onnx_fold import fold
from pxvm.models.importing.onnx_ops import OPS, Attributes, Tensor, UnsupportedError

MAX_ELEMENTS = 1 << 26
NAME_BYTES = 24


def read_graph(path: PathLike, batch: int = 1) -> tuple[Graph, dict[str, Shape]]:
    """The graph of an ONNX file and the shapes of its inputs.

    Args:
        batch: the extent that stands for a first one which the file leaves open.

    Raises:
        FormatError: no ONNX, or damaged.
        UnsupportedError: naming every operation that cannot be built.
    """
    model = _load(Path(path))
    graph, known = Graph(), dict[str, Any]()
    shapes: dict[str, Shape] = {}
    for tensor in model.graph.initializer:
        known[tensor.name] = _array(path, tensor)
    for entry in model.graph.input:
        if entry.name not in known:
            shape = _input_shape(path, entry, batch)
            shapes[entry.name] = shape
            known[entry.name] = _input(graph, entry, shape)
    with np.errstate(all="ignore"):  # weights that are not finite are refused when quantised
        _walk(graph, model.graph.node, known)
    for entry in model.graph.output:
        found = known.get(entry.name)
        if not isinstance(found, Tensor):
            raise FormatError(f"{path}: expected output {entry.name} to be computed; it is not")
        value = found.plain()
        if value.op == "input" or value in graph.outputs.values():
            value = value.reshape(*value.shape)  # a tensor has one name
        graph.output(_short(entry.name), value)
    return graph, shapes


def import_onnx(
    source: PathLike, target: PathLike, *, calibration: PathLike | None = None, batch: int = 1,
    choice: Choice = least_squares, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Convert an ONNX graph to a mappable ``.pxi``; inputs and outputs keep their names.

    Args:
        calibration: a ``.npz`` with an array for each input, by name, of ``batch`` typical
            samples; random numbers when None, of which fraction bits are a guess.
        batch: see ``read_graph``.

    Raises FormatError, UnsupportedError, ProgramError; OSError.
    """
    graph, shapes = read_graph(source, batch)
    data = _random(graph, shapes) if calibration is None else _read(calibration, shapes)
    weights = [a for v in graph.values for name, a in v.arrays.items() if name == "weight"]
    matrices = [w for w in weights if w.ndim > 1]
    recorder = Recorder(choice, sum(w.size for w in matrices), progress)
    image = lower(graph, data, choice=recorder)
    verify(image)
    save_image(image, target, layout="mappable")
    size = Path(target).stat().st_size
    count = sum(a.size for v in graph.values for a in v.arrays.values())
    return Report(
        source=os.fspath(source), target=os.fspath(target), family="onnx", parameters=count,
        source_bytes=Path(source).stat().st_size, bytes=size, width=image.shape[1],
        height=image.shape[0], fracs={}, tensors=recorder.tensors(),
    )  # fmt: skip


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise PxvmError(f"{path}: ONNX needs the extra: pip install 'pxvm[onnx]'") from None
    data = path.read_bytes()
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # of protobuf and of the library, which share no base
        reason = str(error).strip().split("\n")[0]
        raise FormatError(f"{path}: expected an ONNX model; {reason:.150}") from None
    return model


def _array(path: PathLike, tensor: Any) -> Any:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: constant {tensor.name}: {error!s:.100}") from None


def _input_shape(path: PathLike, entry: Any, batch: int) -> Shape:
    shape = []
    for place, dim in enumerate(entry.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value") and place:
            raise FormatError(
                f"{path}: input {entry.name}: expected whole extents after the first; found"
                f" {dim.dim_param or '?'!r}; export it with fixed shapes"
            )
        shape.append(dim.dim_value if dim.HasField("dim_value") else batch)
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise FormatError(
            f"{path}: input {entry.name}: expected 1 to 4 extents of at least 1, {MAX_ELEMENTS}"
            f" elements at most; found {shape}"
        )
    return tuple(shape)


def _input(graph: Graph, entry: Any, shape: Shape) -> Tensor:
    from onnx import TensorProto

    whole = entry.type.tensor_type.elem_type in (TensorProto.INT64, TensorProto.INT32)
    name = _short(entry.name)
    if len(shape) < 4:
        return Tensor(graph.input(name, _rows(shape, whole), frac=0 if whole else None), shape)
    n, c, h, w = shape
    value = graph.input(name, (n, c * h * w))
    if c > 1:
        value = value.reshape(n, c, h * w).transpose(0, 2, 1).reshape(n, c * h * w)
    return Tensor(value.as_picture(h, w, c), shape, picture=True)


def _rows(shape: Shape, whole: bool) -> Shape:
    """Indices stand one a row; a vector is a row."""
    return (math.prod(shape), 1) if whole else (1, *shape) if len(shape) == 1 else shape


def _short(name: str) -> str:
    """As much of a name as a descriptor holds."""
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def _walk(graph: Graph, nodes: Sequence[Any], known: dict[str, Any]) -> None:
    """Compute or build every node; raise UnsupportedError with all that cannot be."""
    from onnx import helper

    refused: dict[str, None] = {}
    for node in nodes:
        inputs = [known.get(name) for name in node.input]
        if any(name and name not in known for name in node.input):
            # A name is missing behind a refused node only: the checker wants them in order.
            if node.op_type not in OPS:
                refused[node.op_type] = None
            continue
        attributes = Attributes({a.name: helper.get_attribute_value(a) for a in node.attribute})
        try:
            found = fold(node, attributes, inputs)
            if found is None:
                if node.op_type not in OPS or node.domain not in ("", "ai.onnx"):
                    raise UnsupportedError("")
                found = OPS[node.op_type](graph, attributes, *inputs)
        except PxvmError as error:
            refused[f"{node.op_type} {error}".strip()] = None
            continue
        except (ArithmeticError, LookupError, TypeError, ValueError):
            refused[f"{node.op_type} whose attributes or inputs contradict each other"] = None
            continue
        known[node.output[0]] = found
    if refused:
        raise UnsupportedError(f"expected operations of the op set; found {'; '.join(refused)}")


def _random(graph: Graph, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """A normal distribution; for indices, places of the smallest table that they look up."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for value in graph.values:
        if value.op != "input":
            continue
        if value.frac == 0:
            tables = [len(v.arrays["weight"]) for v in graph.values
                      if v.op == "embed" and v.inputs[0] is value]  # fmt: skip
            found[value.name] = rng.integers(0, min(tables, default=2), value.shape)
        else:
            found[value.name] = rng.normal(size=value.shape)
    return found


def _read(path: PathLike, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.float64) for name in file.files}
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise FormatError(f"{path}: expected arrays in a .npz; {error!s:.100}") from None
    for name, shape in shapes.items():
        if name not in found or found[name].shape != shape:
            shown = found[name].shape if name in found else "none"
            raise FormatError(f"{path}: expected an array {name} of {shape}; found {shown}")
    return {_short(name): found[name] for name in shapes}
