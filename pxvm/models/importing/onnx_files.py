"""ONNX files and calibration files, checked before memory is taken for what they name."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.container import PathLike
from pxvm.core.errors import FormatError, LimitError, PxvmError
from pxvm.core.installation import library
from pxvm.core.reading import check_regular, open_binary, read_bytes
from pxvm.models.graph.graph import Shape

OPSETS = range(7, 29)  # before, sums did not broadcast as NumPy's do; later ones are not known
DOMAINS = ("", "ai.onnx")
MAX_BYTES = (1 << 31) - 1  # of a serialised message, and so of a model with its external data


def load(path: Path) -> tuple[Any, int]:
    """The model of a file, with the external data that it names, and its operator set.

    The model is checked, unless it names operations that the operator set does not have.

    Raises FormatError; OSError.
    """
    onnx = library("onnx", "onnx")
    _size(path, path)
    data = read_bytes(path)
    try:
        model = onnx.load_from_string(data)
        opset = _opset(path, model)
        if any(isinstance(e.name, bytes) for e in (*model.graph.input, *model.graph.output)):
            raise FormatError(f"{path}: expected names of inputs and outputs in UTF-8")
        _dense(path, model.graph)
        _external(path, model)
        _complete(model)
        if all(registered(node, opset) for node in model.graph.node):
            onnx.checker.check_model(model)
    except PxvmError:
        raise
    except Exception as error:  # of protobuf and of the library, which share no base
        raise FormatError(f"{path}: expected an ONNX model; {readable(error)}") from None
    return model, opset


def readable(text: object, count: int = 150) -> str:
    """What a library or a file says, on one line and without what cannot be printed."""
    printed = "".join(c if c.isprintable() else " " for c in str(text))
    return " ".join(printed.split())[:count]


def registered(node: Any, opset: int) -> bool:
    """Whether ONNX has the operation of a node in an operator set."""
    from onnx import defs

    named = isinstance(node.op_type, str)  # bytes where it is no UTF-8
    return named and node.domain in DOMAINS and defs.has(node.op_type, opset)


def _opset(path: PathLike, model: Any) -> int:
    versions = {o.version for o in model.opset_import if o.domain in DOMAINS}
    if len(versions) != 1 or not versions <= set(OPSETS):
        raise FormatError(
            f"{path}: expected one of ONNX's operator sets {OPSETS[0]} to {OPSETS[-1]}; found"
            f" {sorted(versions) or 'none'}"
        )
    return int(versions.pop())


def _size(path: Path, file: Path) -> int:
    """Bytes of a regular file that is not too large."""
    size = check_regular(file).st_size
    if size > MAX_BYTES:
        raise LimitError(
            f"{path}: expected at most {MAX_BYTES} bytes; {file.name!r:.80} has {size}"
        )
    return size


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor of a graph, and of the graphs in its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _dense(path: Path, graph: Any) -> None:
    for sparse in graph.sparse_initializer:
        raise FormatError(
            f"{path}: constant {readable(sparse.values.name, 80)!r}: expected all of its numbers;"
            " found a sparse tensor: store it as an ordinary one"
        )


def _complete(model: Any) -> None:
    """Say of what has no shape that it is open, where the checker wants one."""
    for entry in model.graph.output:
        if entry.type.HasField("tensor_type"):
            entry.type.tensor_type.shape.SetInParent()
    for entry in model.graph.input:
        tensor = entry.type.tensor_type
        if entry.type.HasField("tensor_type") and not tensor.HasField("shape"):
            tensor.shape.dim.add()
            tensor.shape.dim.add(dim_param="no shape")


def _external(path: Path, model: Any) -> None:
    """Take what stands in other files into the model; their bytes are taken once, no more."""
    from onnx import TensorProto, helper

    sizes: dict[Path, int] = {}
    total = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        where = f"{path}: constant {tensor.name[:80]!r}"
        named = {entry.key: entry.value for entry in tensor.external_data}
        file = _beside(path, where, named.get("location", ""))
        if file not in sizes:
            sizes[file] = _size(path, file)
        try:
            kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            offset, length = int(named.get("offset", 0)), named.get("length")
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"{where}: expected a type and a number as its offset") from None
        packed = re.search(r"(?:int|float)([1-7])(?!\d)", kind.name)
        bits = int(packed[1]) if packed else 8 * kind.itemsize
        size = (math.prod(tensor.dims) * bits + 7) // 8
        fits = min(tensor.dims, default=1) >= 0 <= offset <= sizes[file] - size
        if not fits or length not in (None, str(size)):
            raise FormatError(
                f"{where}: expected {size} bytes from {offset} on in the {sizes[file]} of"
                f" {file.name!r:.80}"
            )
        total += size
        if total > min(MAX_BYTES, sum(sizes.values())):
            raise LimitError(f"{where}: expected no bytes of {file.name!r:.80} to be used twice")
        with open_binary(file) as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(size)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _beside(path: Path, where: str, location: str) -> Path:
    """A file in the model's folder or below; FormatError for any other, also through a link."""
    if not location or "\0" in location:
        raise FormatError(f"{where}: expected the name of a file; found {location!r:.80}")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise FormatError(f"{where}: expected a file beside the model; found {location!r:.80}")
    if not file.exists():
        raise FormatError(f"{where}: expected the file {location!r:.80}; there is none")
    if not file.is_file():
        raise FormatError(f"{where}: expected a regular file; {location!r:.80} is none")
    return file


def read_calibration(path: PathLike, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """An array of each input's shape, by its name, float64, from a ``.npz``.

    Raises FormatError; OSError.
    """
    found = {}
    try:
        with open_binary(path) as stream, zipfile.ZipFile(stream) as file:
            for name, shape in shapes.items():
                found[name] = _read_array(file, f"{path}: expected an array {name}", name, shape)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{path}: expected arrays in a .npz; {error!s:.100}") from None
    return found


def _read_array(file: zipfile.ZipFile, where: str, name: str, shape: Shape) -> Any:
    member = f"{name}.npy"
    if member not in file.namelist():
        raise FormatError(f"{where} of {shape}; found none")
    readers = {(1, 0): np.lib.format.read_array_header_1_0,
               (2, 0): np.lib.format.read_array_header_2_0}  # fmt: skip
    try:
        with file.open(member) as stream:
            header = readers[np.lib.format.read_magic(stream)](stream)
        if header[0] != shape or header[2].kind not in "biuf":
            raise FormatError(f"{where} of {shape}; found {header[0]} of {header[2]}")
        with file.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError, EOFError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{where}; {error!s:.100}") from None
    if not np.isfinite(array).all():
        raise FormatError(f"{where} of finite numbers")
    return array.astype(np.float64)
