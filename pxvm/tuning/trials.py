"""Pictures of a model with some weights stored in another way, and how good they are.

A choice never takes more room than the default, so the words of a weight go where the default's
are, in a copy of the picture that knows it by its descriptor. The machine runs that copy: what it
computes is what an import with the same choices computes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pxvm.core.container import open_image
from pxvm.core.dialect1 import TensorProgram, parse
from pxvm.core.parts import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    Descriptor,
    DType,
    Words,
    decode,
    decode_scales,
    encode_descriptor,
    read_words,
    store_words,
    tensor_words,
    write_words,
)
from pxvm.models.families.bert import BertConfig
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.graph.quantise import Floats, scale_value
from pxvm.models.graph.resize import resize
from pxvm.models.importing.importer import import_model
from pxvm.models.model import Model
from pxvm.tuning.errors import TuneError
from pxvm.tuning.truth import vectors
from pxvm.tuning.weights import CHOICES, DEFAULT, SAMPLE, Weight

TABLE_WORD = 4  # of the header: where the descriptors start
SHORT, LONG = 48, 384  # tokens that show the damage of one weight, and how good a picture is
SENTENCES, FEW = 48, 24  # the same of an encoder
LENGTH = 24  # tokens of a sentence at most
ROWS = 1024
FINE = {"qkv": 2, "o": 2, "up": 2, "down": 2}  # int8 planes of an encoder's activations
SAME = 0.05  # a weight that differs by more in the picture is another one
TRUE = 0.05  # 1 minus the cosine of a picture to what it was made of, at most
Choices = Mapping[str, str]  # by the weights' names; the default where there is none


class Trials:
    """A model, its default picture, and pictures with other choices; ``with`` removes them.

    Args:
        source: a model as ``import_model`` takes it, a language model or a BERT.
        text: what it reads.
        default: its picture as the default import makes it; made where there is none.

    Attributes:
        model: a name for the records.
        fine: whether activations have as many planes as they can; an encoder's choice.
        done: trials so far: runs of the model with other choices.
    """

    def __init__(
        self, source: Path, text: str, *, default: Path | None = None, device: str = "auto",
        threads: int | None = None,
    ) -> None:  # fmt: skip
        self.source, self.device, self.threads = source, device, threads
        self.checkpoint = open_checkpoint(source)
        self.embeds = isinstance(self.checkpoint.config, BertConfig)
        self.model = f"{self.checkpoint.path.stem}, {self.checkpoint.parameters:,} parameters"[:150]
        self._folder = tempfile.TemporaryDirectory(prefix="pxvm-tune-")
        self._pictures: dict[bool, Path] = {False: default} if default else {}
        self._words: dict[tuple[str, str], tuple[Words, Words]] = {}
        self._outputs_known: dict[bool, Floats] = {}
        self.fine, self.done = False, 0
        try:
            with self._opened({}) as model:
                tokenizer = model.tokenizer
                lines = [line.strip() for line in text.splitlines() if line.strip()]
                self.ids: Any = (
                    tokenizer.encode_all(lines[:SENTENCES], LENGTH) if self.embeds
                    else tokenizer.encode(text)[:LONG]
                )  # fmt: skip
            if len(self.ids) < 2:
                raise TuneError("expected a text of several lines and words to measure with")
            self.weights = self._found()
            if self.embeds:
                self.loss()  # the picture is what this computes in float32
        except BaseException:
            self.close()
            raise
        self.done = 0

    def close(self) -> None:
        """Remove the pictures that were made."""
        self._folder.cleanup()

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    @property
    def _picture(self) -> Path:
        if self.fine not in self._pictures:
            made = Path(self._folder.name) / f"planes{int(self.fine)}.pxi"
            import_model(self.source, made, planes=FINE if self.fine else None)
            self._pictures[self.fine] = made
        return self._pictures[self.fine]

    def _found(self) -> tuple[Weight, ...]:
        """The weights that the picture has as they are in the checkpoint."""
        image = open_image(self._picture)
        program = parse(image)
        there = {d.name: d for d in program.descriptors if d.dtype == DType.I8}
        layers = max(self.checkpoint.config.layers - 1, 1)
        found, names = [], self.checkpoint.weights.keys()
        for name, stored in self.checkpoint.weights.items():
            tensor = name if name in there else f"{name}_weight"
            if tensor not in there or tuple(stored.shape) != there[tensor].extents:
                continue
            layer = name.partition(".")[0]
            depth = int(layer) / layers if layer.isdecimal() else 0.5
            tied = name == "embedding" and not self.embeds and "output" not in names
            weight = Weight(name, tensor, stored, min(depth, 1.0), tied)
            if weight.distance(_sampled(image, program, there[tensor], SAMPLE)) < SAME:
                found.append(weight)
        if not found:
            raise TuneError(f"{self.source}: found no weights that can be stored in another way")
        return tuple(found)

    # -- pictures --------------------------------------------------------------------------------

    def _opened(self, choices: Choices) -> Model:
        """The picture with other weights, ready to run."""
        image = open_image(self._picture)
        program = parse(image)
        if choices:
            by_name = {weight.name: weight for weight in self.weights}
            for name, choice in choices.items():
                self._put(image, program, by_name[name], choice)
            program = parse(image)
        if self.embeds:
            opened = resize(image, context=ROWS, prompt=ROWS, network=program)
        else:
            limit = next(d.rows for d in program.descriptors if d.name == "rope")
            opened = resize(image, context=min(LONG, limit), prompt=1, network=program)
        return Model(opened, device=self.device, threads=self.threads)

    def _put(self, image: Image, program: TensorProgram, weight: Weight, choice: str) -> None:
        key = weight.name, choice
        if key not in self._words:
            self._words[key] = weight.words(choice)
        words, scales = self._words[key]
        old = next(d for d in program.descriptors if d.name == weight.tensor)
        new = replace(old, dtype=CHOICES[choice].dtype)
        table = int(read_words(image, TABLE_WORD, 1)[0])
        write_words(image, table + old.index * DESCRIPTOR_WORDS, encode_descriptor(new))
        store_words(image, new, 0, words)
        assert old.scale is not None
        link = program.descriptors[old.scale]
        like = tensor_words(image, link, 0, link.rows)
        store_words(image, link, 0, scales.reshape(like.shape))

    # -- what they compute -----------------------------------------------------------------------

    def _outputs(self, choices: Choices, most: int | None = None) -> tuple[Floats, float]:
        """Vectors [n, d], or log probabilities [tokens, vocab], and the seconds they took."""
        self.done += 1
        with self._opened(choices) as model:
            if self.embeds:
                embedder = model.embedder
                begin = time.perf_counter()
                found: Any = embedder.embed(self.ids[:most])
                seconds = time.perf_counter() - begin
                size = np.linalg.norm(found, axis=1, keepdims=True)
                return np.asarray(found / np.maximum(size, 1e-9), np.float64), seconds
            begin = time.perf_counter()
            logits = model.logits(self.ids[:most])
            return log_softmax(logits), time.perf_counter() - begin

    def damage(self, choices: Choices) -> tuple[float, float]:
        """(how far the outputs are from the default's, the seconds that the model took)."""
        found, seconds = self._outputs(choices, self._short)
        default = self._default
        if self.embeds:
            return max(float(np.mean(1 - (found * default).sum(axis=1))), 0.0), seconds
        far = (np.exp(default) * (default - found)).sum(axis=1)
        return max(float(far.mean()), 0.0), seconds

    def loss(self, choices: Choices | None = None) -> float:
        """How bad a picture is: nats a token, or the mean of 1 minus the cosine to float32."""
        if self.embeds:
            found, _ = self._outputs(choices or {})
            lost = float(np.mean(1 - (found * self._truth).sum(axis=1)))
            if not choices and not self.fine and lost > TRUE:
                raise TuneError(
                    f"{self.source}: the default picture is {lost:.3f} away from what this computes"
                    " in float32: this variant cannot be tuned"
                )
            return lost
        self.done += 1
        total = 0.0
        with self._opened(choices or {}) as model:
            ids = self.ids[: model.generator.context]
            for first in range(0, len(ids) - 1, LONG):
                part = ids[first : first + LONG + 1]
                found = log_softmax(model.logits(part[:-1]))
                total -= float(found[np.arange(len(part) - 1), part[1:]].sum())
        return total / (len(ids) - 1)

    @property
    def _default(self) -> Floats:
        """What the picture computes without any choice."""
        if self.fine not in self._outputs_known:
            self._outputs_known[self.fine] = self._outputs({}, self._short)[0]
            self.done -= 1
        return self._outputs_known[self.fine]

    @property
    def _short(self) -> int:
        return FEW if self.embeds else SHORT

    @cached_property
    def _truth(self) -> Any:
        config = self.checkpoint.config
        assert isinstance(config, BertConfig)
        return vectors(config, self.checkpoint.weights, self.ids)

    # -- the picture that is kept ----------------------------------------------------------------

    def write(self, target: Path, choices: Choices) -> int:
        """Import the model with these choices; the bytes of the file."""
        steps = {w.tensor: CHOICES[choices.get(w.name, DEFAULT)].steps for w in self.weights}
        default = CHOICES[DEFAULT].steps
        report = import_model(
            self.source, target,
            bits={name: CHOICES[choice].bits for name, choice in choices.items()},
            choice=lambda name, rows: steps.get(name, default)(name, rows),
            planes=FINE if self.fine else None,
        )  # fmt: skip
        return report.bytes


def _sampled(image: Image, program: TensorProgram, d: Descriptor, most: int) -> Floats:
    """The first rows of an I8 weight as real numbers."""
    count = min(most, d.rows)
    assert d.scale is not None
    scale = decode_scales(tensor_words(image, program.descriptors[d.scale], 0, 1).reshape(-1))
    rows = decode(tensor_words(image, d, 0, count), d.dtype, d.cols)
    return np.asarray(rows * scale_value(scale)[:count, None])


def log_softmax(logits: Any) -> Floats:
    """Over the last axis, float64."""
    real = np.asarray(logits, np.float64)
    real = real - real.max(axis=1, keepdims=True)
    return np.asarray(real - np.log(np.exp(real).sum(axis=1, keepdims=True)))


def sizes(weights: Sequence[Weight], choices: Choices) -> int:
    """Bytes of the weights' integers with these choices."""
    return sum(weight.bytes(choices.get(weight.name, DEFAULT)) for weight in weights)
