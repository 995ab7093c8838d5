"""How an answer is made: what ``Model.chat`` and its equals take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from pxvm.models.generation import Sampling


@dataclass(frozen=True)
class Options(Sampling):
    """How an answer is made: how tokens are drawn (``Sampling``), where it ends, its form.

    Attributes:
        stop: a string, or several, that end the answer and are not part of it.
        schema: a JSON schema that the answer follows, as a dict or text.
        regex: a regular expression that all of the answer matches.
        grammar: a context-free grammar in Lark's notation that the answer follows.
        tools: functions that the chat template tells the model of, as OpenAI's protocol has them.
    """

    stop: str | Sequence[str] = ()
    schema: Any = None
    regex: str | None = None
    grammar: str | None = None
    tools: Sequence[Any] = ()

    @property
    def stops(self) -> list[str]:
        """Stop strings that are not empty."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop
        return [text for text in given if text]

    @property
    def form(self) -> dict[str, Any]:
        """What is given of schema, regex and grammar."""
        every = {"schema": self.schema, "regex": self.regex, "grammar": self.grammar}
        return {name: given for name, given in every.items() if given is not None}


class Keywords(TypedDict, total=False):
    """The attributes of ``Options``, as keywords."""

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    penalty: float
    seed: int
    stop: str | Sequence[str]
    schema: Any
    regex: str | None
    grammar: str | None
    tools: Sequence[Any]
