"""Run the Pixel-LLM's picture once on a prompt and print the most likely next pieces."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.core.program import load_program
from pxvm.examples.common import command_line
from pxvm.examples.pixellm_picture import (
    PICTURE,
    PixelLLM,
    ensure_picture,
    leave_pictures,
    probabilities,
)

PROMPT = "You will be happy to hear that my dear"


def main() -> None:
    """Predict what follows the prompt."""
    parser = command_line(__doc__)
    parser.add_argument("prompt", nargs="?", default=PROMPT, help="default: %(default)s")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="default: %(default)s")
    parser.add_argument("--top", type=int, default=10, help="predictions to print")
    given = parser.parse_args()
    model = PixelLLM.open(ensure_picture(given.picture))
    numbers = model.vocabulary.encode(given.prompt)
    seen = [model.vocabulary.pieces[i] for i in numbers[-model.window :]]
    print(f"prompt: {given.prompt!r}; the network sees its last {len(seen)} pieces: {seen}")
    print("program:", " ".join(str(i) for i in load_program(model.image).instructions))
    logits = model.logits(numbers)
    chances = probabilities(logits)
    for i in np.argsort(-logits, kind="stable")[: given.top]:
        print(f"  {chances[i]:6.1%}  {model.vocabulary.pieces[i]!r}")
    if not np.isfinite(logits).all() or logits.max() == logits.min():
        sys.exit("WRONG: the logits in the picture carry no information")
    leave_pictures(model, "pixellm_forward")


if __name__ == "__main__":
    main()
