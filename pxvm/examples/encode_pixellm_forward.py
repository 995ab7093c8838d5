"""Write the Pixel-LLM into a .pxi file, training it first if there are no weights yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# A second thread saves a third of the time, but costs four times as much where cores are busy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.container import read_image, save_image
from pxvm.examples.common import command_line, shown
from pxvm.examples.pixellm import WEIGHTS, Weights, trained
from pxvm.examples.pixellm_picture import PICTURE, PixelLLM, encode, leave_pictures
from pxvm.examples.run_pixellm_forward import PROMPT


def main() -> None:
    """Train if needed, encode, read the file back and check it."""
    parser = command_line(__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE, help="default: %(default)s")
    path: Path = parser.parse_args().output
    network, vocabulary = trained()
    print(f"weights: {shown(WEIGHTS)}")
    image = encode(network, vocabulary)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)
    describe(network, path, image.shape[1], image.shape[0])

    model = PixelLLM(read_image(path))
    if not model.holds(network, vocabulary):
        sys.exit(f"WRONG: {path} does not hold the network that was encoded")
    print("read back: the same vocabulary, every embedding within half a quantisation step")
    model.logits(vocabulary.encode(PROMPT))
    leave_pictures(model, "pixellm")


def describe(network: Weights, path: Path, width: int, height: int) -> None:
    """Print what the picture holds and how large it is."""
    inputs, hidden = network.hidden_weights.shape
    size, embedding = network.embedding.shape
    count = sum(parameter.size for parameter in network.parameters())
    print(
        f"network: {network.window} pieces x {embedding} = {inputs} inputs"
        f" -> {hidden} hidden -> {size:,} logits; {count:,} weights, one pixel each"
    )
    print(f"wrote {shown(path)}: {width} x {height} pixels, {path.stat().st_size:,} bytes as a PNG")


if __name__ == "__main__":
    main()
