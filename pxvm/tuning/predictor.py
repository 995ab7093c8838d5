"""What damage a choice will do, learned from measurements and computed by a pixel program.

For small changes the damage grows with their square; how fast, is what a small network says from
the features of the weight: log2 of damage over change squared, relative to the mean of its model.
NumPy trains it; the machine runs it, as a picture, on any executor with the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pxvm.core import executors
from pxvm.core.container import save_image
from pxvm.core.parts import Image
from pxvm.core.verifier import verify
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.graph import Graph
from pxvm.models.graph.lowering import lower
from pxvm.models.graph.quantise import Floats
from pxvm.tuning.records import Damage
from pxvm.tuning.weights import FEATURES

BATCH, HIDDEN = 64, 12
STEPS, RATE, DECAY = 600, 0.02, 3e-3
FEW = 4  # measurements of a model without which they say nothing about its mean
CLEAR = 0.03  # changes below it do no more than the rounding of activations that they set off
OUTLIER = 2.0  # powers of two from which on a miss counts by its size, no longer by its square
LEAST, MOST = 1e-14, 1e3  # damages that are told apart


class Predictor:
    """A network of one hidden layer as a picture.

    Args:
        measured: what it learns from; with too few, every weight is as sensitive as any other.
    """

    def __init__(self, measured: Sequence[Damage]) -> None:
        x, y, weight, levels = _examples(measured)
        self.level = float(np.median(levels)) if levels else 0.0
        self.count = len(x)
        self.image: Image | None = _picture(*_trained(x, y, weight), x) if self.count else None

    def sensitivities(self, features: Sequence[Sequence[float]], device: str = "auto") -> Floats:
        """log2 of damage over change squared, but for a constant of the model, float64 [n]."""
        found = np.zeros(len(features))
        if self.image is None:
            return found
        image = self.image.copy()
        program = verify(image)
        fields = Fields(image, program)  # type: ignore[arg-type]
        session = executors.executor(device, 1).session(image, program)
        for first in range(0, len(features), BATCH):
            part = np.asarray(features[first : first + BATCH], np.float64)
            fields.set_real("features", np.pad(part, ((0, BATCH - len(part)), (0, 0))))
            session.run(None)
            found[first : first + BATCH] = fields.real("sensitivity")[: len(part), 0]
        return found

    def save(self, path: Path) -> None:
        """Write the picture; features go in, sensitivities come out."""
        assert self.image is not None
        save_image(self.image, path)


def _examples(measured: Sequence[Damage]) -> tuple[Floats, Floats, Floats, list[float]]:
    """Features [n, f], targets [n], weights [n]: every model counts for as much as another; and the
    median of each model, which its targets are relative to."""
    models: dict[str, list[Damage]] = {}
    for m in measured:
        models.setdefault(m.model, []).append(m)
    x: list[tuple[float, ...]] = []
    y: list[float] = []
    weight: list[float] = []
    levels: list[float] = []
    for group in models.values():
        group = [m for m in group if m.change >= CLEAR]
        if len(group) < FEW:
            continue
        target = np.log2([np.clip(m.damage, LEAST, MOST) / m.change**2 for m in group])
        x += [m.features for m in group]
        levels.append(float(np.median(target)))
        y += list(np.clip(target - levels[-1], -20, 20))
        weight += [1 / len(group)] * len(group)
    return np.array(x).reshape(-1, len(FEATURES)), np.array(y), np.array(weight), levels


Layers = list[tuple[Floats, Floats]]


def _trained(x: Floats, y: Floats, weight: Floats) -> tuple[Layers]:
    """Adam on the Huber loss with weight decay, everything at once, the same numbers every time."""
    rng = np.random.default_rng(0)
    count = x.shape[1]
    parts = [
        rng.normal(0, 1 / np.sqrt(count), (HIDDEN, count)), np.zeros(HIDDEN),
        rng.normal(0, 1 / np.sqrt(HIDDEN), (1, HIDDEN)), np.zeros(1),
    ]  # fmt: skip
    first, second = [np.zeros_like(p) for p in parts], [np.zeros_like(p) for p in parts]
    share = weight / weight.sum()
    for step in range(1, STEPS + 1):
        a, b, c, d = parts
        hidden = np.maximum(x @ a.T + b, 0)
        miss = (hidden @ c.T + d)[:, 0] - y
        slope = (np.clip(miss, -OUTLIER, OUTLIER) * share)[:, None]
        back = (slope @ c) * (hidden > 0)
        slopes = [back.T @ x, back.sum(axis=0), slope.T @ hidden, slope.sum(axis=0)]
        for i, each in enumerate(slopes):
            wanted = each + (DECAY * parts[i] if i % 2 == 0 else 0)
            first[i] = 0.9 * first[i] + 0.1 * wanted
            second[i] = 0.99 * second[i] + 0.01 * wanted**2
            parts[i] = parts[i] - RATE * (first[i] / (1 - 0.9**step)) / (
                np.sqrt(second[i] / (1 - 0.99**step)) + 1e-9
            )
    return ([(parts[0], parts[1]), (parts[2], parts[3])],)


def _picture(layers: Layers, x: Floats) -> Image:
    """The network as a program of ``BATCH`` rows."""
    graph = Graph()
    value = graph.input("features", (BATCH, len(FEATURES)))
    value = value.linear(*layers[0]).relu()
    graph.output("sensitivity", value.linear(*layers[1]))
    # Ranges: those of the examples, and features of 0 and 4, in which any weight has its place.
    typical = np.resize(x, (BATCH - 2, len(FEATURES)))
    typical = np.vstack([typical, np.zeros_like(typical[:1]), np.full_like(typical[:1], 4.0)])
    return lower(graph, {"features": typical})
