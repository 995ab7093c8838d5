"""The Pixel-LLM's network: trained here in NumPy, run later in the pixels of a ``.pxi`` file.

The last 6 pieces of text choose 6 rows of an embedding table; side by side they are the input of

    hidden = relu(window @ hidden_weights + hidden_bias)        1 x 768 -> 1 x 128
    logits = hidden @ output_weights                            1 x 128 -> 1 x 1,024

which is a MatMul, an Add, a ReLU and a MatMul (Bengio et al. 2003, "A Neural Probabilistic
Language Model", without its direct connections). Everything in this file is float32; it is the
yardstick for the picture.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.examples import pixellm_text
from pxvm.examples.common import NETWORKS, shown
from pxvm.examples.pixellm_text import CORPUS, Vocabulary, corpus, learn_vocabulary
from pxvm.terminal import progress

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

WEIGHTS = NETWORKS / "pixellm.npz"
PADDING = "\n"  # before a text stands the end of a paragraph


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which network comes out, with the corpus.

    A picture keeps 256 levels between the lowest and the highest number of a matrix, so one
    outlier costs precision everywhere. Hence ``largest`` clips the weights, and ``floor``
    penalises logits more than that far below a position's mean, where nothing can be learned:
    their range halves, and with it the chance that two candidates share a level.
    """

    vocabulary: int = 1024
    window: int = 6
    width: int = 128
    hidden: int = 128
    epochs: float = 5.0
    batch: int = 512
    rate: float = 1e-2
    decay: float = 0.15
    largest: float = 2.0
    floor: float = 5.0
    floor_weight: float = 2e-3
    seed: int = 1

    def digest(self) -> str:
        """Names the network that comes out: this recipe, the corpus, and the code that trains."""
        digest = hashlib.sha256(repr(dataclasses.astuple(self)).encode())
        for path in (CORPUS, Path(pixellm_text.__file__), Path(__file__)):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


RECIPE = Recipe()


@dataclass
class Weights:
    """Float32 weights.

    Attributes:
        embedding: (vocabulary, width).
        hidden_weights: (window * width, hidden).
        hidden_bias: (1, hidden).
        output_weights: (hidden, vocabulary).
    """

    embedding: Floats
    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats

    @property
    def window(self) -> int:
        """How many pieces of text the network looks at."""
        return int(self.hidden_weights.shape[0] // self.embedding.shape[1])

    def parameters(self) -> list[Floats]:
        """The arrays themselves, in the order of the attributes."""
        return [self.embedding, self.hidden_weights, self.hidden_bias, self.output_weights]

    def inputs(self, windows: Numbers) -> Floats:
        """Embeddings side by side: (n, window) piece numbers -> (n, window * width)."""
        return self.embedding[windows].reshape(len(windows), -1)

    def logits(self, windows: Numbers) -> Floats:
        """(n, window) piece numbers -> (n, vocabulary) logits."""
        hidden = self.inputs(windows) @ self.hidden_weights + self.hidden_bias
        return np.asarray(np.maximum(hidden, 0) @ self.output_weights)


def initial(recipe: Recipe) -> Weights:
    """Random weights, scaled so that every layer starts with values of about one."""
    rng = np.random.default_rng(recipe.seed)
    inputs = recipe.window * recipe.width

    def normal(spread: float, *shape: int) -> Floats:
        return rng.normal(0, spread, shape).astype(np.float32)

    return Weights(
        normal(0.5, recipe.vocabulary, recipe.width),
        normal(2 / np.sqrt(inputs), inputs, recipe.hidden),
        np.zeros((1, recipe.hidden), np.float32),
        normal(0.5 / np.sqrt(recipe.hidden), recipe.hidden, recipe.vocabulary),
    )


def windows_of(numbers: Numbers, window: int, padding: int) -> Numbers:
    """For each piece the ``window`` pieces before it: (n, window)."""
    padded = np.concatenate([np.full(window, padding), numbers])
    return np.lib.stride_tricks.sliding_window_view(padded, window)[:-1]


def train(
    numbers: Numbers,
    padding: int,
    recipe: Recipe = RECIPE,
    report: Callable[[float, float], None] = lambda share, loss: None,
) -> Weights:
    """Train a network to predict each piece of ``numbers`` from those before it.

    Cross-entropy and the logit floor, Adam (Kingma & Ba 2015) with decoupled weight decay, and a
    learning rate that warms up and then follows half a cosine down to zero.

    Args:
        numbers: the training text as piece numbers.
        padding: the piece that stands before the first one.
        report: told the share done (0..1) and the running loss in nats now and then.
    """
    network = initial(recipe)
    contexts = windows_of(numbers, recipe.window, padding)
    rng = np.random.default_rng(recipe.seed)
    adam = _Adam(network.parameters(), recipe.decay, recipe.largest)
    per_epoch = max(1, len(numbers) // recipe.batch)
    total = max(1, round(recipe.epochs * per_epoch))
    running = float(np.log(recipe.vocabulary))
    for step in range(total):
        if step % per_epoch == 0:
            batches = np.array_split(rng.permutation(len(numbers)), per_epoch)
        chosen = batches[step % per_epoch]
        loss, gradients = _gradients(network, contexts[chosen], numbers[chosen], recipe)
        rate = recipe.rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * step / total))
        adam.step(gradients, rate)
        running += 0.01 * (loss - running)
        if step % 50 == 49 or step == total - 1:
            report((step + 1) / total, running)
    if not all(np.isfinite(p).all() for p in network.parameters()):
        raise ArithmeticError(f"training diverged with {recipe}: lower the rate")
    return network


def _gradients(
    network: Weights, windows: Numbers, targets: Numbers, recipe: Recipe
) -> tuple[float, list[Floats]]:
    """Mean cross-entropy in nats, and the gradient of the whole loss for each parameter."""
    n, everyone = len(windows), np.arange(len(windows))
    inputs = network.inputs(windows)
    hidden = np.maximum(inputs @ network.hidden_weights + network.hidden_bias, 0)
    logits = hidden @ network.output_weights
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    loss = float(-np.log(chance[everyone, targets] + 1e-9).mean())

    slope = chance
    slope[everyone, targets] -= 1
    logits -= logits.mean(axis=1, keepdims=True) - recipe.floor
    slope += np.float32(recipe.floor_weight) * np.minimum(logits, 0)
    slope /= n
    hidden_slope = slope @ network.output_weights.T
    hidden_slope *= hidden > 0
    rows = (hidden_slope @ network.hidden_weights.T).reshape(-1, network.embedding.shape[1])
    return loss, [
        _summed_by(windows.ravel(), rows, len(network.embedding)),
        inputs.T @ hidden_slope,
        hidden_slope.sum(axis=0, keepdims=True),
        hidden.T @ slope,
    ]


def _summed_by(keys: Numbers, rows: Floats, count: int) -> Floats:
    """Row k of the result is the sum of the ``rows`` whose key is k; much faster than add.at."""
    order = np.argsort(keys, kind="stable")
    present, first = np.unique(keys[order], return_index=True)
    sums = np.zeros((count, rows.shape[1]), np.float32)
    sums[present] = np.add.reduceat(rows[order], first, axis=0)
    return sums


class _Adam:
    """Adam, which changes the parameters in place and keeps them within ``largest``."""

    def __init__(self, parameters: list[Floats], decay: float, largest: float) -> None:
        self.parameters, self.decay, self.largest = parameters, decay, largest
        self.means = [np.zeros_like(p) for p in parameters]
        self.squares = [np.zeros_like(p) for p in parameters]
        self.steps = 0

    def step(self, gradients: list[Floats], rate: float) -> None:
        self.steps += 1
        unbias, unbias_squares = 1 - 0.9**self.steps, 1 - 0.99**self.steps
        for parameter, gradient, mean, square in zip(
            self.parameters, gradients, self.means, self.squares, strict=True
        ):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.01) * (gradient * gradient - square)
            change = mean / (np.sqrt(square / np.float32(unbias_squares)) + np.float32(1e-8))
            change /= np.float32(unbias)
            change += np.float32(self.decay) * parameter
            parameter -= np.float32(rate) * change
            np.clip(parameter, -self.largest, self.largest, out=parameter)


def perplexity(network: Weights, numbers: Numbers, padding: int) -> float:
    """exp of the mean cross-entropy: among so many pieces the network still hesitates."""
    contexts, nats = windows_of(numbers, network.window, padding), 0.0
    for at in range(0, len(numbers), 4096):
        logits = network.logits(contexts[at : at + 4096]).astype(np.float64)
        wanted = np.take_along_axis(logits, numbers[at : at + 4096, None], axis=1)[:, 0]
        highest = logits.max(axis=1)
        nats += float((highest + np.log(np.exp(logits.T - highest).sum(axis=0)) - wanted).sum())
    return float(np.exp(nats / len(numbers)))


def baselines(train_on: Numbers, test_on: Numbers, size: int) -> tuple[float, float]:
    """Perplexities of counting: (single pieces, pairs of pieces), for comparison.

    Add-one for single pieces; pairs fall back on them by Witten & Bell 1991.
    """
    single = np.bincount(train_on, minlength=size) + 1.0
    single /= single.sum()
    pairs = np.zeros((size, size))
    np.add.at(pairs, (train_on[:-1], train_on[1:]), 1)
    kinds = (pairs > 0).sum(axis=1, keepdims=True) + 1e-9
    pairs = (pairs + kinds * single) / (pairs.sum(axis=1, keepdims=True) + kinds)
    before, after = test_on[:-1], test_on[1:]
    return (
        float(np.exp(-np.log(single[after]).mean())),
        float(np.exp(-np.log(pairs[before, after]).mean())),
    )


def trained(path: Path = WEIGHTS, recipe: Recipe = RECIPE) -> tuple[Weights, Vocabulary]:
    """The trained network and its vocabulary: from ``path``, or trained and stored there.

    Weights that another recipe, corpus or code has made are replaced.
    """
    digest = recipe.digest()
    if path.exists():
        with np.load(path) as stored:
            if str(stored["digest"]) == digest:
                arrays = [stored[field.name] for field in dataclasses.fields(Weights)]
                return Weights(*arrays), Vocabulary(stored["pieces"].tolist())
        print(f"{path.name} is of another recipe, corpus or code: training again")
    network, vocabulary = _train_and_report(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(fresh, digest=digest, pieces=np.array(vocabulary.pieces), **vars(network))
    fresh.replace(path)
    print(f"weights stored in {shown(path)}")
    return network, vocabulary


def _train_and_report(recipe: Recipe) -> tuple[Weights, Vocabulary]:
    start = time.perf_counter()
    training, held_out = corpus()
    print(f"corpus: {len(training):,} characters to train on, {len(held_out):,} held out")
    vocabulary = learn_vocabulary(training, recipe.vocabulary)
    learn, test = (np.array(vocabulary.encode(text)) for text in (training, held_out))
    print(
        f"vocabulary: {len(vocabulary):,} pieces of {len(training) / len(learn):.2f} characters"
        f" on average ({time.perf_counter() - start:.1f} s)"
    )
    padding = vocabulary.number[PADDING]
    with progress(f"training on {len(learn):,} pieces") as update:
        network = train(
            learn,
            padding,
            recipe,
            lambda share, loss: update(
                round(share * len(learn)), len(learn), title=f"training, loss {loss:.2f} nats"
            ),
        )
    print(f"trained in {time.perf_counter() - start:.0f} s")
    single, pair = baselines(learn, test, len(vocabulary))
    print(
        f"perplexity on the held-out text: {perplexity(network, test, padding):.1f}"
        f" (counting pairs {pair:.1f}, counting pieces {single:.1f});"
        f" on the training text {perplexity(network, learn[: len(test)], padding):.1f}"
    )
    return network, vocabulary
