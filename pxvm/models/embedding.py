"""Sentences to vectors by a BERT program: batches of like lengths, so that little is padding."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pxvm.core.executors import Session
from pxvm.core.interrupt import Uninterrupted
from pxvm.core.notes import Unwatched, Watch
from pxvm.core.tensor import Role
from pxvm.models.families.bert import set_sentences
from pxvm.models.graph.fields import Fields

LEAST = 0.8  # a batch's shortest sentence, as a part of its longest, once it has FEW
FEW = 4


class Embedder:
    """A BERT program bound to an executor.

    Args:
        fields: of a verified image.
        session: of the same image.
        most: tokens of a batch, padding included; None: as many as there is room for.
        watch: takes the time of executions.
    """

    def __init__(
        self, fields: Fields, session: Session, most: int | None = None,
        watch: Watch | Unwatched | None = None,
    ) -> None:  # fmt: skip
        self.fields, self.session, self.watch = fields, session, watch or Unwatched()
        self.rows = fields.descriptor("ids").rows
        self.most = min(most or self.rows, self.rows)
        self.batch = fields.descriptor("lengths").rows
        self.limit = min(self.rows, fields.descriptor("positions").rows)
        self.width = fields.descriptor("vectors").cols
        state = (d.name for d in fields.network.descriptors if d.role == Role.STATE)
        session.host(state)  # what a GPU works in stays there

    def embed(self, sentences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors [n, width] of sentences that are lists of 1 to ``limit`` tokens.

        The integers of the program over 2 to the power of its fraction bits, exactly: a sentence
        has the same vector in every batch and on every executor.
        """
        found = np.zeros((len(sentences), self.width), np.float32)
        scale = np.float32(2.0 ** -self.fields.descriptor("vectors").frac)
        kind = "one sentence" if len(sentences) == 1 else "many sentences"
        for group in self._groups([len(s) for s in sentences]):
            set_sentences(self.fields, [sentences[i] for i in group])
            begun = time.perf_counter()
            with Uninterrupted():
                self.session.run(None)
            count = sum(len(sentences[i]) for i in group)
            self.watch.took(kind, begun, units=count, size=count)
            found[group] = self.fields.rows("vectors", len(group)).astype(np.float32) * scale
        return found

    def _groups(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Batches of sentence numbers, longest first."""
        group: list[int] = []
        span = 0
        for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            full = len(group) == self.batch or (len(group) + 1) * span > self.most
            if group and (full or (len(group) >= FEW and lengths[number] < LEAST * span)):
                yield group
                group = []
            if not group:
                span = lengths[number]
            group.append(number)
        if group:
            yield group
