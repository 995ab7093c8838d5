"""Handwritten digits as programs: an MLP and a CNN, trained here, run as PNGs.

Each network is trained on scikit-learn's digits (1,797 pictures of 8 x 8), written as a PNG that
holds its weights, its instructions and the test pictures, and executed by pxVM. Exits with 1 when
the accuracy on the test pictures is more than half a point away from that of the float network;
without scikit-learn this example says so and is skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.core.errors import MissingPackageError, PxvmError
from pxvm.core.installation import library
from pxvm.core.interpreter import execute_pxi
from pxvm.examples.common import DEMO, command_line, save_program, save_result
from pxvm.models.families.small import Conv, Pool, cnn_graph, mlp_graph
from pxvm.models.graph import floats
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.graph import Graph
from pxvm.models.graph.lowering import lower

TESTS = 450
POINTS = 0.5
SHADES = " .:-=+*#%@"


def load() -> tuple[Any, Any, Any, Any]:
    """(train pictures, train digits, test pictures, test digits); pictures [n, 64] in 0..1."""
    data = library("sklearn.datasets", "examples").load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16, data.target[order]
    return x[TESTS:], y[TESTS:], x[:TESTS], y[:TESTS]


def patches(x: Any) -> Any:
    """3 x 3 windows of 8 x 8 pictures with a border of zeros: [n, 8, 8, 9]."""
    images = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    return windows.reshape(len(images), 8, 8, 9)


def forward(w: list[Any], x: Any) -> tuple[Any, ...]:
    """The CNN: 3 x 3 convolution, ReLU, 2 x 2 max pooling, hidden layer, ReLU, ten logits."""
    windows = patches(x)
    cells = windows @ w[0].T + w[1]
    cells = (
        cells.reshape(len(x), 4, 2, 4, 2, -1)
        .transpose(0, 1, 3, 5, 2, 4)
        .reshape(len(x), 4, 4, -1, 4)
    )
    best = cells.argmax(axis=-1)[..., None]
    pooled = np.maximum(np.take_along_axis(cells, best, -1)[..., 0], 0).reshape(len(x), -1)
    hidden = np.maximum(pooled @ w[2].T + w[3], 0)
    return windows, best, pooled, hidden, hidden @ w[4].T + w[5]


def gradients(w: list[Any], x: Any, y: Any) -> list[Any]:
    """Of the cross entropy, for each array of weights."""
    windows, best, pooled, hidden, logits = forward(w, x)
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    back = error @ w[4] * (hidden > 0)
    cells = (back @ w[2] * (pooled > 0)).reshape(len(x), 4, 4, -1, 1)
    cells = cells * (np.arange(4) == best)
    n = len(x)
    grid = cells.reshape(n, 4, 4, -1, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 8, 8, -1)
    conv = np.einsum("nhwc,nhwk->ck", grid, windows)
    return [
        conv,
        grid.sum(axis=(0, 1, 2)),
        back.T @ pooled,
        back.sum(0),
        error.T @ hidden,
        error.sum(0),
    ]


def train_cnn(x: Any, y: Any, epochs: int = 30) -> list[Any]:
    """Weights after Adam (Kingma and Ba, 2015) on batches of 64."""
    rng = np.random.default_rng(1)
    shapes = [(8, 9), (8,), (32, 128), (32,), (10, 32), (10,)]
    w = [rng.normal(0, np.sqrt(2 / s[-1]), s) if len(s) == 2 else np.zeros(s) for s in shapes]
    mean, square = ([np.zeros(s) for s in shapes] for _ in range(2))
    step = 0
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // 64):
            step += 1
            for i, g in enumerate(gradients(w, x[batch], y[batch])):
                mean[i] += 0.1 * (g - mean[i])
                square[i] += 0.001 * (g * g - square[i])
                root = np.sqrt(square[i] / (1 - 0.999**step)) + 1e-8
                w[i] = w[i] - 0.003 * mean[i] / (1 - 0.9**step) / root
    return w


def train_mlp(x: Any, y: Any) -> list[tuple[Any, Any]]:
    """Layers (weight, bias) of scikit-learn's classifier with one hidden layer of 48."""
    network = library("sklearn.neural_network", "examples")
    model = network.MLPClassifier((48,), random_state=1, max_iter=400, tol=1e-3).fit(x, y)
    return [(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]


def networks(x: Any, y: Any) -> dict[str, Graph]:
    """Both networks as graphs for all test pictures at once."""
    w = train_cnn(x, y)
    body: list[Conv | Pool] = [Conv(w[0].reshape(8, 3, 3, 1), w[1], pad=1), Pool(2)]
    # Here the hidden layer's columns are row, column, channel: a pooled picture's own order.
    cnn = cnn_graph((8, 8, 1), body, [(w[2], w[3]), (w[4], w[5])], TESTS)
    return {"mlp": mlp_graph(train_mlp(x, y), TESTS), "cnn": cnn}


def recognise(name: str, graph: Graph, train: Any, test: Any, device: str) -> Any:
    """Write the network as a program, execute it, keep the result; classes of the pictures."""
    image = lower(graph, {"input": train[:TESTS]}, keep=True)
    Fields(image).set_real("input", test)
    path = DEMO / f"digits_{name}.pxi"
    save_program(image, path)
    result = execute_pxi(path, device=device)
    save_result(result, f"digits_{name}")
    found = Fields(result)
    found.check()
    return found["class"][:, 0]


def show(pictures: Any, found: Any, wanted: Any) -> None:
    """Print pictures side by side with what was recognised."""
    shades = (pictures.reshape(-1, 8, 8) * (len(SHADES) - 1)).round().astype(int)
    for row in range(8):
        print("   ".join("".join(SHADES[v] * 2 for v in picture[row]) for picture in shades))
    captions = [f"{f} (is {w})" for f, w in zip(found, wanted, strict=True)]
    print("   ".join(caption.center(16) for caption in captions))


def main() -> int:
    """Train, write, run, compare; 0 when every network keeps its accuracy."""
    parser = command_line(__doc__)
    parser.add_argument("--device", default="auto", help="executor to run on; default: %(default)s")
    options = parser.parse_args()
    try:
        x, y, test, wanted = load()
    except MissingPackageError as error:
        print(f"skipped: {error}")
        return 0
    worst = 0.0
    for name, graph in networks(x, y).items():
        found = recognise(name, graph, x, test, options.device)
        plain = floats.outputs(graph, {"input": test})["class"][:, 0]
        exact, real = (100 * float((c == wanted).mean()) for c in (found, plain))
        print(f"{name}: {exact:.2f}% right as a PNG, {real:.2f}% in float64")
        worst = max(worst, abs(exact - real))
    show(test[:5], found[:5], wanted[:5])
    if worst > POINTS:
        print(f"WRONG: {worst:.2f} points between the two; at most {POINTS}", file=sys.stderr)
    return int(worst > POINTS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PxvmError as error:
        sys.exit(str(error))
