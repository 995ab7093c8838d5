"""Logits behind every token of a text: the model's own program with its head over all rows.

A Llama program computes logits of the last token it takes in and draws the next one. Scoring a text
needs those of every token; here the same program, with the instructions behind its layers replaced,
takes a text in by parts, as prompts are, and gives the same numbers as token after token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.executors import Executor
from pxvm.core.program import Image
from pxvm.core.tensor import write_words
from pxvm.core.verifier import verify
from pxvm.models.families.llama import reset, set_tokens
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.resize import resize

PART = 512  # tokens in one execution, fewer where the vocabulary is large:
MOST = 1 << 23  # logits of one execution


class Scorer:
    """A Llama program that computes the logits of every token.

    Args:
        source: the model's image, which stays as it is.
        network: what ``load_program`` said about it.
        context: tokens that its caches hold.
    """

    def __init__(
        self,
        source: Image,
        network: TensorProgram,
        context: int,
        executor: Executor,
        threads: int | None,
    ) -> None:
        vocab = next(d for d in network.descriptors if d.name == "logits").cols
        self.part = max(1, min(PART, context, MOST // vocab))
        image = _with_all_logits(source, network, context, self.part)
        program = verify(image)
        assert isinstance(program, TensorProgram)
        self.fields = Fields(image, program)
        self.session = executor.session(image, program, threads)

    def logits(self, ids: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Logits [vocab] behind each of the tokens, from an empty context on."""
        reset(self.fields)
        frac = self.fields.descriptor("logits").frac
        for first in range(0, len(ids), self.part):
            part = ids[first : first + self.part]
            set_tokens(self.fields, part)
            self.session.run(None)
            found = self.fields.rows("logits", len(part)).astype(np.float64)
            yield from np.ldexp(found, -frac).astype(np.float32)


def _with_all_logits(source: Image, network: TensorProgram, context: int, rows: int) -> Image:
    """The program opened with room for the logits of ``rows`` tokens, its head over all of them."""
    by_name = {d.name: d for d in network.descriptors}
    logits = by_name["logits"]
    every = replace(logits, extents=(rows, logits.cols), length=by_name["n"].index)
    image = resize(source, context=context, prompt=rows, network=network, more=[every])
    tail = next(i for i in network.instructions if i.op.name == "Tail")
    norm, head = network.instructions[tail.index + 1 : tail.index + 3]
    end = next(i for i in network.instructions[tail.index :] if i.op.name == "Yield")
    idle = next(i for i in network.instructions if i.op.name == "Copy")  # n is count already
    x, normed = by_name["x"].index, by_name["normed"].index
    code = [
        (norm.code, normed, x, norm.operands[2]),
        (head.code, logits.index, normed, head.operands[2]),
    ]
    begin = tail.index - 1  # where drawing is skipped when nothing is to be drawn
    code = [(idle.code, *idle.operands)] * (end.index - begin - len(code)) + code
    words = np.array(code, np.uint8).view("<u4").reshape(-1)
    write_words(image, network.code_start + begin, words)
    return image
