"""A task: words, typed inputs and outputs of several examples, some of them hidden.

    {"name": "above the mean", "words": "how many elements are above the mean",
     "inputs": {"x": "vector 6"}, "output": "number",
     "examples": [{"in": {"x": [1, 2, 3, 4, 5, 6]}, "out": 3},
                  {"in": {"x": [0, 0, 0, 0, 0, 9]}, "out": 1, "hidden": true}]}

A type is ``number``, ``vector N``, ``column N`` or ``matrix RxC``; every value is an integer of 32
bits. Hidden examples are never shown to a proposer: they judge what it found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.coach.errors import TaskError
from pxvm.core.integer import Ints
from pxvm.core.reading import read_bytes

Shape = tuple[int, int]
RESULT = "out"
MOST_INPUTS, MOST_EXAMPLES, MOST_ELEMENTS, MOST_BYTES = 4, 256, 1024, 1 << 20
JSON: Mapping[type, str] = {
    str: "a text",
    dict: "an object {...}",
    list: "a list [...]",
}  # what JSON's kinds are
EXAMPLE = {"in", "out", "hidden"}
MOST_TEXT = {"name": 200, "words": 4000}  # characters
LOWEST, HIGHEST = -(2**31), 2**31 - 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,15}")
_TYPE = re.compile(r"number|(vector|column) ([1-9]\d{0,3})|matrix ([1-9]\d{0,3})x([1-9]\d{0,3})")


def parse_type(text: Any, where: str) -> Shape:
    """Rows and columns of a type. Raises TaskError."""
    found = _TYPE.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise TaskError(
            f"{where}: expected number, vector N, column N or matrix RxC; found {text!r:.80}"
        )
    kind, count, rows, columns = found.groups()
    shape = (int(rows), int(columns)) if rows else (1, int(count or 1))
    if shape[0] * shape[1] > MOST_ELEMENTS:
        raise TaskError(f"{where}: expected at most {MOST_ELEMENTS} elements; found {text}")
    return (shape[1], 1) if kind == "column" else shape


def type_text(shape: Shape) -> str:
    """The type of a shape; the inverse of ``parse_type``."""
    rows, columns = shape
    if rows == 1:
        return "number" if columns == 1 else f"vector {columns}"
    return f"column {rows}" if columns == 1 else f"matrix {rows}x{columns}"


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        inputs: shape (rows, columns) of each input by its name, in order.
        output: shape of the result.
        given: int64 [examples, rows, columns] for each input.
        wanted: int64 [examples, rows, columns].
        hidden: bool [examples].
    """

    name: str
    words: str
    inputs: Mapping[str, Shape]
    output: Shape
    given: tuple[Ints, ...]
    wanted: Ints
    hidden: Any

    @cached_property
    def id(self) -> str:
        """SHA-256 of types and examples: the same task under another name has the same."""
        said = {k: v for k, v in self.as_data().items() if k not in ("name", "words")}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def shown(self) -> tuple[tuple[Ints, ...], Ints]:
        """Inputs and results of the examples that a proposer may see."""
        return tuple(given[~self.hidden] for given in self.given), self.wanted[~self.hidden]

    def as_data(self) -> dict[str, Any]:
        """The task for JSON."""
        examples = []
        for number, wanted in enumerate(self.wanted):
            given = {
                name: _plain(values[number])
                for name, values in zip(self.inputs, self.given, strict=True)
            }
            example = {"in": given, "out": _plain(wanted)}
            examples.append(example | ({"hidden": True} if self.hidden[number] else {}))
        return {
            "name": self.name,
            "words": self.words,
            "inputs": {name: type_text(shape) for name, shape in self.inputs.items()},
            "output": type_text(self.output),
            "examples": examples,
        }


def _plain(values: Ints) -> Any:
    """A number, a list, or a list of rows; a column as a list."""
    rows, columns = values.shape
    if rows == columns == 1:
        return int(values[0, 0])
    return (values if rows > 1 and columns > 1 else values.ravel()).tolist()


def _values(found: Any, shape: Shape, where: str) -> Ints:
    rows, columns = shape
    wanted = () if shape == (1, 1) else shape if rows > 1 and columns > 1 else (rows * columns,)
    try:
        values = np.array(found, object)
    except ValueError:
        values = np.zeros(0, object)
    whole = all(type(v) is int and LOWEST <= v <= HIGHEST for v in values.ravel())
    if values.shape != wanted or not whole:
        raise TaskError(
            f"{where}: expected {type_text(shape)}, in integers of 32 bits; found {found!r:.80}"
        )
    return values.astype(np.int64).reshape(shape)


def _field(data: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(data, dict):
        raise TaskError(f"{where}: expected {JSON[dict]}; found {data!r:.80}")
    if not isinstance(data.get(name), kind):
        found = repr(data[name])[:80] if name in data else "none"
        raise TaskError(f"{where}: expected {name!r}, {JSON[kind]}; found {found}")
    return data[name]


def _text(data: Any, name: str, most: int, where: str) -> str:
    text = str(_field(data, name, str, where))
    if len(text) > most or text != text.encode(errors="replace").decode():
        raise TaskError(
            f"{where}: expected {name!r}, Unicode text of at most {most} characters; found"
            f" {len(text)}: {text!a:.80}"
        )
    return text


def _consistent(given: Sequence[Ints], wanted: Ints, where: str) -> None:
    """Raise TaskError where no program can give what two examples show."""
    known: dict[bytes, int] = {}
    for number, result in enumerate(wanted):
        first = known.setdefault(b"".join(g[number].tobytes() for g in given), number)
        if not np.array_equal(wanted[first], result):
            raise TaskError(
                f"{where}: expected one result for the same inputs; found two, in examples {first}"
                f" and {number}"
            )


def task_of(data: Any, where: str = "task") -> Task:
    """A task from what its JSON says. Raises TaskError naming the place."""
    name, words = (_text(data, key, most, where) for key, most in MOST_TEXT.items())
    inputs = {
        key: parse_type(kind, f"{where}: input {key!r:.30}")
        for key, kind in _field(data, "inputs", dict, where).items()
    }
    wrong = [key for key in inputs if not _NAME.fullmatch(key) or key == RESULT]
    if wrong or not 1 <= len(inputs) <= MOST_INPUTS:
        raise TaskError(
            f"{where}: expected 1 to {MOST_INPUTS} inputs, named by letters and digits and not"
            f" {RESULT!r}; found {sorted(inputs)!r:.80}"
        )
    output = parse_type(data.get("output"), f"{where}: output")
    examples = _field(data, "examples", list, where)
    if not 1 <= len(examples) <= MOST_EXAMPLES:
        raise TaskError(f"{where}: expected 1 to {MOST_EXAMPLES} examples; found {len(examples)}")
    given: list[list[Ints]] = [[] for _ in inputs]
    wanted, hidden = [], []
    for number, example in enumerate(examples):
        place = f"{where}: example {number}"
        said = _field(example, "in", dict, place)
        if not example.keys() <= EXAMPLE:
            raise TaskError(
                f"{place}: expected in, out and perhaps hidden; found {sorted(example)!r:.80}"
            )
        if set(said) != set(inputs):
            raise TaskError(f"{place}: expected {sorted(inputs)}; found {sorted(said)!r:.80}")
        for column, (key, shape) in zip(given, inputs.items(), strict=True):
            column.append(_values(said[key], shape, f"{place}: {key}"))
        wanted.append(_values(example.get("out"), output, f"{place}: out"))
        mark = example.get("hidden", False)
        if not isinstance(mark, bool):
            raise TaskError(f"{place}: expected hidden to be true or false; found {mark!r:.80}")
        hidden.append(mark)
    if all(hidden):
        raise TaskError(f"{where}: expected an example that is not hidden; found none")
    stacked, results = tuple(np.stack(column) for column in given), np.stack(wanted)
    _consistent(stacked, results, where)
    return Task(name, words, inputs, output, stacked, results, np.array(hidden))


def read_task(path: str | Path) -> Task:
    """The task in a JSON file. Raises TaskError, FormatError, OSError."""
    data = read_bytes(path, MOST_BYTES)
    try:
        said = json.loads(data, object_pairs_hook=_once)
    except RecursionError:
        raise TaskError(f"{path}: expected JSON of a few levels; found far more") from None
    except ValueError as error:
        reason = str(error).partition(";")[0]
        raise TaskError(f"{path}: expected JSON: {reason:.200}") from None
    return task_of(said, str(path))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice!r:.40} stands twice in one object")
    return found
