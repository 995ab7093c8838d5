"""Write text piece by piece, every logit read from the pixels of the Pixel-LLM's picture."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from pxvm.examples.common import command_line
from pxvm.examples.pixellm_picture import (
    PICTURE,
    PixelLLM,
    ensure_picture,
    leave_pictures,
    probabilities,
)
from pxvm.examples.pixellm_text import Spelling

PROMPT = '"My dear Mr. Bennet," said his lady to him one day,'


def choose(
    logits: NDArray[np.float64], temperature: float, top_p: float, rng: np.random.Generator
) -> int:
    """Draw a piece from the most likely ones that together reach the probability ``top_p``.

    Temperature 0 takes the most likely piece, of equals the one with the lowest number.
    """
    if temperature == 0:
        return int(logits.argmax())
    chances = probabilities(logits, temperature)
    order = np.argsort(-chances, kind="stable")
    kept = order[: int(np.searchsorted(np.cumsum(chances[order]), top_p)) + 1]
    return int(rng.choice(kept, p=chances[kept] / chances[kept].sum()))


def continue_text(
    model: PixelLLM,
    prompt: str,
    length: int,
    *,
    temperature: float = 0.8,
    top_p: float = 0.7,
    seed: int = 1,
    free_spelling: bool = False,
) -> Iterator[str]:
    """Yield ``length`` pieces that continue the prompt."""
    rng = np.random.default_rng(seed)
    numbers = model.vocabulary.encode(prompt)
    spelling = None if free_spelling else Spelling(model.vocabulary, prompt)
    for _ in range(length):
        logits = model.logits(numbers)
        if spelling:
            logits = np.where(spelling.allowed(), logits, -np.inf)
        numbers.append(choose(logits, temperature, top_p, rng))
        if spelling:
            spelling.append(numbers[-1])
        yield model.vocabulary.pieces[numbers[-1]]


def main() -> None:
    """Continue the prompt and print the text as it comes."""
    parser = command_line(__doc__)
    parser.add_argument("prompt", nargs="?", default=PROMPT, help="default: %(default)s")
    parser.add_argument("--length", type=int, default=120, help="pieces to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 is greedy")
    parser.add_argument("--top-p", type=float, default=0.7, help="share of probability kept")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same text")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="default: %(default)s")
    parser.add_argument(
        "--free-spelling", action="store_true", help="allow words that no chapter holds"
    )
    given = parser.parse_args()
    if given.length < 1 or given.temperature < 0 or not 0 < given.top_p <= 1:
        parser.error("length is at least 1, temperature at least 0, top-p above 0 and at most 1")
    model = PixelLLM.open(ensure_picture(given.picture))
    start = time.perf_counter()
    print(f"--- the prompt, then {given.length} pieces from {given.picture.name}")
    print(given.prompt, end="", flush=True)
    for piece in continue_text(
        model,
        given.prompt,
        given.length,
        temperature=given.temperature,
        top_p=given.top_p,
        seed=given.seed,
        free_spelling=given.free_spelling,
    ):
        print(piece, end="", flush=True)
    seconds = time.perf_counter() - start
    print(f"\n--- {given.length / seconds:.0f} pieces a second; seed {given.seed}")
    leave_pictures(model, "generate_text")


if __name__ == "__main__":
    main()
