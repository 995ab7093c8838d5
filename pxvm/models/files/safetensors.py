"""Safetensors files: a JSON table of tensors, then their data; checked before anything is read.

Layout, little-endian: length of the table (uint64), the table ``{name: {"dtype", "shape",
"data_offsets"}}``, the data. The reader is our own because the library gives NumPy no bfloat16 and
no tensor in parts.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.core.reading import open_binary
from pxvm.models.files.formats import BY_NAME
from pxvm.models.files.stored import Stored, check_apart, check_extents

DTYPES = ("F64", "F32", "F16", "BF16")
OTHERS = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
MAX_TABLE = 1 << 24  # a hundred thousand tensors; as Python's objects they take 20 times as much


def open_safetensors(path: str | os.PathLike[str]) -> Mapping[str, Stored]:
    """The float tensors of a file by name; integers (position numbers) and scalars are left out.

    Raises FormatError; OSError.
    """
    path = Path(path)
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(size - 8, MAX_TABLE):
            raise FormatError(
                f"{path}: byte 0: expected the length of a table of at most"
                f" {min(max(size - 8, 0), MAX_TABLE)} bytes; found {length}"
            )
        table = parse_json(stream.read(length), f"{path}: byte 8")
    found = {}
    for name, entry in table.items():
        if name != "__metadata__" and (tensor := _tensor(path, name, entry, 8 + length, size)):
            found[name] = tensor
    check_apart(path, list(found.values()))
    return found


def _tensor(path: Path, name: str, entry: Any, start: int, size: int) -> Stored | None:
    where = f"{path}: tensor {name[:80]!r}"
    if not name.isprintable():
        raise FormatError(f"{where}: expected a name that can be printed")
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [first, stop]}:
            pass
        case _:
            raise FormatError(f"{where}: expected dtype, shape, two offsets; found {entry!r:.60}")
    if not all(type(extent) is int and extent <= size for extent in shape) or len(shape) > 8:
        raise FormatError(
            f"{where}: expected at most 8 whole extents of a file of {size} bytes; found"
            f" {shape!r:.60}"
        )
    whole = type(first) is int and type(stop) is int
    if not whole or not 0 <= first <= stop <= size - start:
        raise FormatError(
            f"{where}: expected two offsets inside the {size - start} bytes of data; found"
            f" {first!r:.20} and {stop!r:.20}"
        )
    if dtype in OTHERS or not shape:
        return None
    if dtype not in DTYPES:
        raise FormatError(f"{where}: expected one of {', '.join(DTYPES)}; found {dtype[:20]!r}")
    kind = BY_NAME[dtype]
    check_extents(where, kind, tuple(shape))
    wanted = math.prod(shape) * kind.size
    if stop - first != wanted:
        raise FormatError(f"{where}: expected {wanted} bytes; found offsets {first} to {stop}")
    return Stored(path, name, kind, tuple(shape), start + first)


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object without names given twice. Raises FormatError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        value = json.loads(data, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: expected JSON; {error!s:.100}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object; found {type(value).__name__}")
    return value
