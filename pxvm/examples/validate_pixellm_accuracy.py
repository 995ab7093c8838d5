"""Compare the Pixel-LLM's picture with its float32 network on held-out text.

Exits with status 1 when the mean correlation of the logits is below 0.99 or the most likely piece
agrees at fewer than 95% of the positions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.examples.common import command_line
from pxvm.examples.pixellm import PADDING, Numbers, Weights, trained, windows_of
from pxvm.examples.pixellm_picture import (
    PICTURE,
    PixelLLM,
    ensure_picture,
    leave_pictures,
    probabilities,
)
from pxvm.examples.pixellm_text import corpus
from pxvm.terminal import progress

LEAST_CORRELATION = 0.99
LEAST_AGREEMENT = 0.95


@dataclass(frozen=True)
class Accuracy:
    """Picture against float32, over the same positions of a text.

    Attributes:
        correlation, worst: mean and lowest Pearson correlation of a position's logits.
        agreement: share of positions where both find the same piece most likely.
        picture_perplexity, float_perplexity: how well each predicts what really follows.
    """

    positions: int
    correlation: float
    worst: float
    agreement: float
    picture_perplexity: float
    float_perplexity: float

    @property
    def passes(self) -> bool:
        """Whether both limits hold."""
        return self.correlation >= LEAST_CORRELATION and self.agreement >= LEAST_AGREEMENT


def compare(model: PixelLLM, network: Weights, numbers: Numbers, positions: int) -> Accuracy:
    """Run both at ``positions`` places, evenly spread over the text ``numbers``."""
    chosen = np.unique(np.linspace(0, len(numbers) - 1, positions).astype(int))
    windows = windows_of(numbers, network.window, model.vocabulary.number[PADDING])[chosen]
    wanted = network.logits(windows).astype(np.float64)
    correlations, nats, same = [], [], 0
    with progress("comparing, positions") as update:
        for window, expected, after in zip(windows, wanted, numbers[chosen], strict=True):
            found = model.logits(window.tolist())
            correlations.append(np.corrcoef(found, expected)[0, 1])
            same += int(found.argmax() == expected.argmax())
            nats.append([-np.log(probabilities(values)[after]) for values in (found, expected)])
            update(len(nats), len(chosen))
    picture, real = np.exp(np.mean(nats, axis=0)).tolist()
    return Accuracy(
        len(chosen),
        float(np.mean(correlations)),
        float(np.min(correlations)),
        same / len(chosen),
        picture,
        real,
    )


def main() -> None:
    """Print the comparison; exit with status 1 when it falls short."""
    parser = command_line(__doc__)
    parser.add_argument("--positions", type=int, default=2000, help="places in the text")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="default: %(default)s")
    given = parser.parse_args()
    model = PixelLLM.open(ensure_picture(given.picture))
    network, vocabulary = trained()
    if not model.holds(network, vocabulary):
        sys.exit(f"WRONG: {given.picture} holds another network; run encode_pixellm_forward.py")
    numbers = np.array(vocabulary.encode(corpus()[1]))
    result = compare(model, network, numbers, given.positions)
    print(f"held-out text: {result.positions:,} of {len(numbers):,} positions")
    print(
        f"correlation of logits: mean {result.correlation:.5f}, lowest {result.worst:.5f}"
        f" (at least {LEAST_CORRELATION})"
    )
    print(f"top-1 agreement: {result.agreement:.2%} (at least {LEAST_AGREEMENT:.0%})")
    print(
        f"perplexity: {result.picture_perplexity:.2f} from the picture,"
        f" {result.float_perplexity:.2f} from float32"
    )
    leave_pictures(model, "pixellm_accuracy")
    if not result.passes:
        sys.exit("WRONG: the picture is not close enough to float32")


if __name__ == "__main__":
    main()
