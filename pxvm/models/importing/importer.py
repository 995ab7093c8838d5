"""A trained model becomes one picture: weights of eight or four bits, its tokenizer, its program.

Weights are read, quantised and laid out a band of rows at a time; what memory holds is the picture
and one band, and while a Llama's fraction bits are measured one weight.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.container import PathLike, save_image
from pxvm.core.errors import FormatError, LimitError, OutputError, ProgramError
from pxvm.core.mappable import MAX_CHUNK_BYTES
from pxvm.core.png import SIGNATURE
from pxvm.core.program import Image
from pxvm.core.reading import open_binary
from pxvm.core.saving import check_output
from pxvm.core.tensor import GROUP, DType, row_words
from pxvm.core.verifier import verify
from pxvm.models.families.checkpoint import Checkpoint, open_checkpoint
from pxvm.models.graph.fourbit import FourBits, groups_of, integers, kept, values
from pxvm.models.graph.quantise import (
    Choice,
    Floats,
    largest,
    least_squares,
    percentile,
    quantise_weight,
    scale_value,
)
from pxvm.models.text import folder, gguf_vocabulary
from pxvm.models.text.template import compiled
from pxvm.models.text.tokenizer import Settings, store_tokenizer

Progress = Callable[[int, int], None]
Bits = str | Mapping[str, str]
Vocabulary = tuple[str, Settings]  # a tokenizer's JSON, and what that does not say
SAMPLE = 64  # rows on which four bits are compared with eight


@dataclass(frozen=True)
class TensorReport:
    """What quantising one weight cost.

    Attributes:
        dtype: I8 or I4.
        bytes: of its integers and scales.
        error: root mean square of what was lost, relative to that of the weight.
    """

    name: str
    dtype: str
    rows: int
    cols: int
    bytes: int
    error: float


@dataclass(frozen=True)
class Report:
    """What an import made.

    Attributes:
        bytes: of the file.
        fracs: measured fraction bits.
        errors: of an ONNX graph's outputs on the calibration: relative root mean square, or the
            share of whole numbers that differ.
        notes: what was assumed, left out or is missing, and the user must know.
    """

    source: str
    target: str
    family: str
    parameters: int
    source_bytes: int
    bytes: int
    width: int
    height: int
    fracs: dict[str, int]
    tensors: tuple[TensorReport, ...]
    errors: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def bytes_per_parameter(self) -> float:
        """Everything in the file, tokenizer and state included, over the parameters."""
        return self.bytes / max(1, self.parameters)


class Recorder:
    """A choice that measures what it does and says how far it is; ``note`` does so for others.

    Args:
        total: elements of all weights that will be quantised.
    """

    def __init__(self, choice: Choice, total: int = 0, progress: Progress | None = None) -> None:
        self.choice, self.total, self.progress = choice, total, progress
        self.done = 0
        self.sums: dict[str, tuple[DType, int, int, float, float]] = {}

    def __call__(self, name: str, weight: Floats) -> Floats:
        """The steps of a band of rows, measured."""
        steps = self.choice(name, weight)
        q, scale = quantise_weight(name, weight, lambda *_: steps)
        self._add(DType.I8, name, weight, q * scale_value(scale)[:, None])
        return steps

    def note(self, name: str, weight: Floats, made: Floats) -> None:
        """Rows of a weight, and what they became with four bits."""
        self._add(DType.I4, name, weight, made)

    def _add(self, dtype: DType, name: str, weight: Floats, made: Floats) -> None:
        lost = made - weight
        _, rows, cols, error, power = self.sums.get(name, (dtype, 0, weight.shape[1], 0.0, 0.0))
        self.sums[name] = (
            dtype, rows + len(weight), cols, error + float((lost**2).sum()),
            power + float((weight**2).sum()),
        )  # fmt: skip
        self.done += weight.size
        if self.progress is not None:
            self.progress(self.done, self.total)

    def tensors(self) -> tuple[TensorReport, ...]:
        """One report for each weight."""
        return tuple(
            TensorReport(
                name, dtype.name, rows, cols, rows * 4 * (row_words(dtype, cols) + 1),
                math.sqrt(error / (power or 1.0)),
            )
            for name, (dtype, rows, cols, error, power) in self.sums.items()
        )  # fmt: skip


def with_four_bits(
    weights: Mapping[str, Any], bits: Bits, record: Callable[[str, Floats, Floats], None]
) -> dict[str, Any]:
    """Weights of which some are to become I4 tensors.

    Args:
        bits: "int8": none of them; "int4": every matrix whose rows are whole groups; "auto": those
            that lose no more with four bits than with eight, measured on their first rows. These
            are the ones whose file has codes of four bits. Or one of these for each name: "int8"
            where there is none.
    """

    def four(name: str, weight: Any) -> bool:
        wanted = bits if isinstance(bits, str) else bits.get(name, "int8")
        if len(weight.shape) != 2 or weight.shape[1] % GROUP or wanted == "int8":
            return False
        return wanted == "int4" or (kept(weight) and _loses_less(weight))

    return {n: FourBits(w, record) if four(n, w) else w for n, w in weights.items()}


def _loses_less(weight: Any) -> bool:
    rows = slice(0, SAMPLE)
    real = np.asarray(weight[rows], np.float64)
    if not np.isfinite(real).all():
        return True  # refused where it is read
    codes, steps, minima = groups_of("", weight, rows)
    scales, lows, scale = integers(codes, steps, minima)
    found = values(codes, scales, lows) * scale_value(scale)[:, None]
    q, scale = quantise_weight("", real, least_squares)
    other = q * scale_value(scale)[:, None]
    return bool(((found - real) ** 2).sum() <= ((other - real) ** 2).sum())


def import_model(
    source: PathLike, target: PathLike, *, bits: Bits = "int8", choice: Choice = least_squares,
    planes: Mapping[str, int] | None = None, progress: Progress | None = None,
) -> Report:  # fmt: skip
    """Convert a model to a mappable ``.pxi``.

    Args:
        source: a GGUF or safetensors file, or a folder; see ``open_checkpoint``.
        bits: "auto", "int8" or "int4", or one for each weight; see ``with_four_bits``.
        choice: steps of an int8 weight's rows; see ``quantise``.
        planes: int8 planes of an encoder's activations; see ``build_bert``.
        progress: called with elements quantised, and all of them.

    Raises:
        FormatError: the model is damaged or of another kind.
        LimitError: it is larger than a picture can be.
        ProgramError: a weight is not finite.
        OutputError: something that is no picture stands at ``target``.
        OSError: a file cannot be read or written; what stood at ``target`` is untouched.
    """
    check_target(target, source)
    checkpoint = open_checkpoint(source)
    if checkpoint.parameters > MAX_CHUNK_BYTES:
        raise LimitError(
            f"{checkpoint.path}: a mappable picture holds at most {MAX_CHUNK_BYTES} bytes; found"
            f" {checkpoint.parameters} parameters; take a smaller model"
        )
    weights = checkpoint.weights.values()
    total = sum(t.count for t in weights if len(t.shape) == 2)
    recorder = Recorder(choice, total, progress)
    tokenizer = read_tokenizer(checkpoint)
    image, fracs = _build(checkpoint, bits, recorder, tokenizer, planes)
    verify(image)
    save_image(image, target, layout="mappable")
    return Report(
        source=os.fspath(source),
        target=os.fspath(target),
        family=checkpoint.family.kind.name,
        parameters=checkpoint.parameters,
        source_bytes=sum(t.bytes for t in weights),
        bytes=Path(target).stat().st_size,
        width=image.shape[1],
        height=image.shape[0],
        fracs=fracs,
        tensors=recorder.tensors(),
        notes=(*checkpoint.notes, *_notes(checkpoint, tokenizer)),
    )


def check_target(target: PathLike, *sources: PathLike) -> None:
    """Refuse a target before anything is read: a picture, or nothing, may stand there.

    A model is often several files, of which one is named; none of them is a picture.

    Raises OutputError; OSError when nothing can be written there.
    """
    check_output(target, *sources)
    path = Path(target)
    if path.exists() and path.stat().st_size:
        with open_binary(path) as stream:
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                raise OutputError(
                    f"{path}: a file that is no picture stands there, and may be part of the"
                    " model; give another name, or remove it"
                )


def _build(
    checkpoint: Checkpoint,
    bits: Bits,
    choice: Recorder,
    tokenizer: Vocabulary | None,
    planes: Mapping[str, int] | None,
) -> tuple[Image, dict[str, int]]:
    kind = checkpoint.family.kind
    config, real = kind.settle(checkpoint.config, checkpoint.weights)
    weights = with_four_bits(real, bits, choice.note)
    more = {"planes": planes} if planes else {}
    return kind.build(
        config, weights, real, choice=choice, **more,
        extend=lambda b: store_tokenizer(b, *tokenizer) if tokenizer else None,
    )  # fmt: skip


def quant_named(text: str) -> tuple[str, Choice]:
    """Bits and steps: ``auto``, ``int4`` or ``int8``, or int8 with other steps than those of least
    squared error: ``largest`` or ``percentile:P`` with P in 0 to 100.

    Raises ProgramError.
    """
    name, _, number = text.partition(":")
    if name == "percentile":
        try:
            percent = float(number)
        except ValueError:
            percent = math.nan
        if 0 < percent <= 100:
            return "int8", percentile(percent)
    elif text == "largest":
        return "int8", largest
    elif text in ("auto", "int8", "int4"):
        return text, least_squares
    raise ProgramError(
        f"quant: expected auto, int8, int4, largest or percentile:99.9 (0 to 100); found {text!r}"
    )


def read_tokenizer(checkpoint: Checkpoint) -> Vocabulary | None:
    """A checkpoint's tokenizer; None where there is none, and token numbers only are understood.

    Raises FormatError when it cannot be converted.
    """
    files, vocab = checkpoint.tokenizer_files, checkpoint.config.vocab
    if isinstance(files, Mapping):
        found = gguf_vocabulary.from_gguf(files, vocab, str(checkpoint.path))
    else:
        found = folder.from_folder(Path(files), vocab)
    usual = checkpoint.family.template
    if found is None or found[1].template is not None or usual is None:
        return found
    return found[0], replace(found[1], template=usual)


def _notes(checkpoint: Checkpoint, tokenizer: Vocabulary | None) -> list[str]:
    """What a tokenizer lacks."""
    if tokenizer is None:
        wanted = "tokenizer.json" if isinstance(checkpoint.tokenizer_files, Path) else "vocabulary"
        return [f"{checkpoint.path}: found no {wanted}: this model takes and gives token numbers"]
    settings = tokenizer[1]
    try:
        if settings.template is not None:
            compiled(settings.template)
    except FormatError as error:
        return [f"{checkpoint.path}: {error}: chat will not work"]
    if checkpoint.family.kind.speaks and not settings.stops:
        return [f"{checkpoint.path}: no token ends an answer: each goes on until max_tokens"]
    return []
