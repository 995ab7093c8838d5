"""The Pixel-LLM as a picture: a dialect 0 program of five instructions around its weights.

Rows from the top: the program; window, hidden and logits, which a run writes; the bias; the
vocabulary as character codes; the output weights, the hidden weights and the embedding table. The
picture is 1,027 pixels wide, so that a row of the output weights (all that one hidden unit says
about 1,024 pieces) is a row of pixels. To ask what follows a text, copy the embedding pixels of
its last pieces into the window and run the program.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pxvm.core.builder import Builder
from pxvm.core.container import read_image
from pxvm.core.errors import ProgramError
from pxvm.core.interpreter import run_program
from pxvm.core.matrix import FIRST_COLUMN, read_matrix, rows_needed, write_matrix
from pxvm.core.program import Image, load_program
from pxvm.examples.common import NETWORKS, save_result, shown
from pxvm.examples.pixellm import PADDING, Weights
from pxvm.examples.pixellm_text import Vocabulary

PICTURE = NETWORKS / "pixellm.pxi"
PROGRAM = ["MatMul", "Add", "ReLU", "MatMul", "Halt"]
VOCABULARY_ROW = 5


def encode(network: Weights, vocabulary: Vocabulary) -> Image:
    """The picture of a network: weights quantised, window, hidden and logits still empty."""
    size = len(vocabulary)
    inputs, hidden = network.hidden_weights.shape
    builder = Builder(width=size + FIRST_COLUMN["quantised"])
    builder.result("window", 1, inputs)
    builder.result("hidden", 1, hidden)
    builder.result("logits", 1, size)
    builder.quantised("hidden bias", network.hidden_bias)
    builder.text("vocabulary", "\0".join(vocabulary.pieces))
    builder.quantised("output weights", network.output_weights)
    builder.quantised("hidden weights", network.hidden_weights)
    builder.quantised("embedding", network.embedding)
    builder.emit("MatMul", "window", "hidden weights", "hidden")
    builder.emit("Add", "hidden", "hidden bias", "hidden")
    builder.emit("ReLU", "hidden")
    builder.emit("MatMul", "hidden", "output weights", "logits")
    image = builder.build()
    if builder.rows["vocabulary"] != VOCABULARY_ROW:
        raise ProgramError(f"the vocabulary stands at row {builder.rows['vocabulary']}")
    return image


def ensure_picture(path: Path = PICTURE) -> Path:
    """``path``; if it is missing, the encoding script makes it, and trains before if needed."""
    if not path.exists():
        script = Path(__file__).with_name("encode_pixellm_forward.py")
        print(f"{shown(path)} is missing: running {script.name}", flush=True)
        subprocess.run([sys.executable, str(script), "--output", str(path)], check=True)
    return path


def leave_pictures(model: PixelLLM, name: str) -> None:
    """Leave the picture as it now is, and a labelled view of it, in ``demo/``."""
    save_result(model.image, name)


class PixelLLM:
    """Runs the network of a picture; everything it knows is read from the pixels.

    Args:
        image: what ``encode`` made; window, hidden and logits are written into it.

    Raises ProgramError when the picture holds another program.
    """

    def __init__(self, image: Image) -> None:
        instructions = load_program(image).instructions
        if [i.op.name for i in instructions] != PROGRAM:
            found = " ".join(str(i) for i in instructions[:8])
            raise ProgramError(f"this picture is no Pixel-LLM: expected {PROGRAM}; found {found}")
        self.image = image
        self._window_row, weights_row, _ = instructions[0].operands
        self._logits_row = instructions[3].operands[2]
        weights = read_matrix(image, weights_row)
        count, width = weights.data.size, image.shape[1]
        self.embedding = read_matrix(image, weights_row + rows_needed(count, width, "quantised"))
        codes = read_matrix(image, VOCABULARY_ROW).data
        self.vocabulary = Vocabulary(codes.tobytes().decode("ascii").split("\0"))
        self.window = weights.shape[0] // self.embedding.shape[1]

    @classmethod
    def open(cls, path: Path) -> PixelLLM:
        """The network in a file."""
        return cls(read_image(path))

    def holds(self, network: Weights, vocabulary: Vocabulary) -> bool:
        """Whether the picture was made of this network: every embedding within half a step."""
        if self.vocabulary.pieces != vocabulary.pieces:
            return False
        error = np.abs(self.embedding.values - network.embedding).max()
        return bool(error * self.embedding.scale <= 0.501)

    def logits(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """Run the program after the pieces ``numbers``: what the pixels say of every next piece."""
        padding = [self.vocabulary.number[PADDING]] * self.window
        window = [*padding, *numbers][-self.window :]
        write_matrix(
            self.image,
            self._window_row,
            self.embedding.data[window].reshape(1, -1),
            encoding="quantised",
            scale=self.embedding.scale,
            offset=self.embedding.offset,
        )
        run_program(self.image)
        return np.asarray(read_matrix(self.image, self._logits_row).values[0])


def probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of ``logits / temperature``."""
    chance = np.exp((logits - logits.max()) / temperature)
    return np.asarray(chance / chance.sum())
