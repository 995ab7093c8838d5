"""The model in this process: a picture that speaks, nothing else needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.tensor import DType
from pxvm.integration.backends import EMBEDDED, Messages
from pxvm.integration.errors import BackendError, ContextTooLongError
from pxvm.models.generation import ContextError
from pxvm.models.model import Model
from pxvm.models.text.template import MessageError

SMALL = 10**9  # weights; a model with fewer takes any passage for the one that was asked for
PASSAGES, PASSAGES_OF_SMALL = 8, 1


class Embedded:
    """A ``.pxi`` language model as a back end.

    Args:
        model: a file, or a name of ``pxvm models list``, which is fetched with progress shown.
    """

    name = EMBEDDED

    def __init__(self, model: str, device: str = "auto") -> None:
        from pxvm.models.commands import file_of

        path = file_of(model)
        self._model = Model.open(str(path), device)
        self.model = path.stem
        self.context = self._model.generator.context
        self.passages = passages_for(self._model.fields.network)
        self._turn = threading.Lock()

    def stream(self, messages: Messages, **options: Any) -> Iterator[str]:
        """One answer at a time; another that is asked for meanwhile waits."""
        said = False
        with self._turn:
            try:
                for piece in self._model.chat(messages, stream=True, **options):
                    said = said or bool(piece.strip())
                    yield piece
            except ContextError as error:
                raise ContextTooLongError(str(error)) from None
            except MessageError as error:
                raise BackendError(str(error)) from None
        if not said:
            raise BackendError(f"{self.model} ({self.name}) gave an empty answer")

    def count(self, text: str) -> int:
        """Tokens by the model's own tokenizer."""
        return len(self._model.tokenizer.encode(text, special=False))

    def close(self) -> None:
        """Let go of the model."""
        self._model.close()


def passages_for(network: TensorProgram) -> int:
    """How much evidence helps a model, by the number of its weights."""
    weights = sum(d.rows * d.cols for d in network.descriptors if d.dtype in (DType.I8, DType.I4))
    return PASSAGES_OF_SMALL if weights < SMALL else PASSAGES
