"""An ONNX graph becomes a picture: its ranges from a calibration, its answers compared with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.container import PathLike, save_image
from pxvm.core.errors import FormatError, LimitError, ProgramError
from pxvm.core.interpreter import run_program
from pxvm.core.program import Image
from pxvm.core.verifier import verify
from pxvm.models.graph import floats
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.graph import Graph, Value
from pxvm.models.graph.lowering import lower
from pxvm.models.graph.quantise import Choice, least_squares
from pxvm.models.importing.importer import Progress, Recorder, Report, check_target
from pxvm.models.importing.onnx_files import read_calibration
from pxvm.models.importing.onnx_graph import Read, read
from pxvm.models.importing.onnx_graph import read_graph as read_graph

WHOLE = 100  # beyond the whole numbers that are tried where nothing is known of them
LARGE_ERROR = 0.1  # of outputs, beyond what int8 weights cost
GUESSED = (
    "no calibration was given: ranges are guessed from random numbers, and inputs far outside them"
    " will be refused; give typical ones (--calibration typical.npz)"
)


def import_onnx(
    source: PathLike, target: PathLike, *, calibration: PathLike | None = None, batch: int = 1,
    choice: Choice = least_squares, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Convert an ONNX graph to a mappable ``.pxi``; inputs and outputs keep their names.

    The program is run once on the calibration and compared with the graph in float64.

    Args:
        calibration: a ``.npz`` with an array for each input, by name, of ``batch`` typical
            samples; random numbers when None, of which fraction bits are a guess.
        batch: see ``read_graph``.

    Raises FormatError, UnsupportedError, ProgramError, OutputError; OSError.
    """
    check_target(target, source)
    found = read(source, batch)
    data = _random(found.graph) if calibration is None else _read(calibration, found)
    weights = [a for v in found.graph.values for name, a in v.arrays.items() if name == "weight"]
    recorder = Recorder(choice, sum(w.size for w in weights if w.ndim > 1), progress)
    try:
        image = lower(found.graph, data, choice=recorder)
        verify(image)
    except (LimitError, ProgramError) as error:
        raise type(error)(f"{source}: {error}") from None
    errors, saturated = _compared(found.graph, image, data)
    save_image(image, target, layout="mappable")
    return Report(
        source=os.fspath(source),
        target=os.fspath(target),
        family="onnx",
        parameters=sum(a.size for v in found.graph.values for a in v.arrays.values()),
        source_bytes=Path(source).stat().st_size,
        bytes=Path(target).stat().st_size,
        width=image.shape[1],
        height=image.shape[0],
        fracs={},
        tensors=recorder.tensors(),
        errors=errors,
        notes=_notes(found, calibration is None, errors, saturated),
    )


def _notes(
    found: Read, guessed: bool, errors: Mapping[str, float], saturated: bool
) -> tuple[str, ...]:
    notes = [GUESSED] if guessed and any(v.op == "input" for v in found.graph.values) else []
    notes += [
        f"{name!r} is called {short!r} in the picture, which holds 24 bytes of a name"
        for name, short in found.names.items()
        if name != short
    ]
    notes += [
        f"output {name!r} differs from float64 by {error:.0%} on the calibration"
        for name, error in errors.items()
        if error > LARGE_ERROR
    ]
    if saturated:
        notes.append("numbers did not fit 32 bits on the calibration")
    return tuple(notes)


def _compared(graph: Graph, image: Image, data: Mapping[str, Any]) -> tuple[dict[str, float], bool]:
    """What each output lost on the calibration, and whether numbers were saturated.

    Of real numbers the root mean square, relative; of whole numbers the share that differs.
    """
    tried = Fields(image.copy())
    for name, values in data.items():
        tried.set_real(name, values)
    run_program(tried.image, device="reference")
    errors = {}
    for name, wanted in floats.outputs(graph, data).items():
        found = tried.real(name)
        if graph.outputs[name].frac == 0:
            errors[name] = float((found != wanted).mean())
        else:
            lost, power = float(((found - wanted) ** 2).mean()), float((wanted**2).mean())
            errors[name] = float(np.sqrt(lost / (power or 1.0)))
    return errors, tried.saturated


def _random(graph: Graph) -> dict[str, Any]:
    """A normal distribution; of whole numbers, places in the smallest table that they look up."""
    rng = np.random.default_rng(0)
    tables: dict[int, int] = {}
    for value in graph.values:
        if value.op == "embed":
            for index in _sources(value.inputs[0]):
                size = len(value.arrays["weight"])
                tables[index] = min(size, tables.get(index, size))
    return {
        v.name: rng.normal(size=v.shape)
        if v.frac is None
        else rng.integers(0, tables.get(v.index, WHOLE), v.shape)
        for v in graph.values
        if v.op == "input"
    }


def _sources(value: Value) -> set[int]:
    """Inputs that a value is made of."""
    found, left = set[int](), [value]
    while left:
        value = left.pop()
        if value.index not in found:
            found.add(value.index)
            left += value.inputs
    return found


def _read(path: PathLike, found: Read) -> dict[str, Any]:
    """The calibration by the graph's names."""
    whole = {v.name for v in found.graph.values if v.op == "input" and v.frac == 0}
    data = {}
    for name, array in read_calibration(path, found.shapes).items():
        if found.names[name] in whole and (array != np.rint(array)).any():
            raise FormatError(f"{path}: expected an array {name} of whole numbers")
        data[found.names[name]] = array
    values = {v.name: v.shape for v in found.graph.values if v.op == "input"}
    return {name: array.reshape(values[name]) for name, array in data.items()}
