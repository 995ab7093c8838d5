"""Answers of a given form: a grammar becomes a mask of tokens, and the mask is part of the state.

The `llguidance` library follows the grammar and says which tokens may come next. What it says is
written into the tensor ``mask`` as 0 (allowed) or ``FORBIDDEN``; the program adds it to the logits
before it draws. So a constrained draw, too, is one program with one answer on every executor, and
an image saved between two tokens holds the mask of the next one.

A model that has used up its tokens in the middle of a document is made to close it: of the tokens
that may come next, those that end strings, arrays and objects go first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pxvm.core.errors import ProgramError, PxvmError
from pxvm.models.families.llama import FORBIDDEN
from pxvm.models.text.tokenizer import Tokenizer, library

MARKS = '}],":'  # what brings a JSON document nearest to its end, best first


class GrammarError(PxvmError, ValueError):
    """A schema, regular expression or grammar that cannot be followed."""


class Constraints:
    """Makes constraints for one tokenizer; costs tenths of a second, once.

    Args:
        vocab: tokens of the network, which may be more than the tokenizer's.
    """

    def __init__(self, tokenizer: Tokenizer, vocab: int) -> None:
        stops = list(tokenizer.settings.stops)
        if not stops:
            raise ProgramError(
                "a constrained answer needs a token that ends it; the model has none"
            )
        self.vocab, self.stops = vocab, stops
        self.inner = library("llguidance").LLTokenizer(tokenizer.text, vocab, stops)
        single = {mark: tokenizer.inner.token_to_id(mark) for mark in MARKS}
        self.marks = {mark: token for mark, token in single.items() if token is not None}

    def follow(
        self, *, schema: Any = None, regex: str | None = None, grammar: str | None = None
    ) -> Constraint:
        """A constraint at its beginning.

        Args:
            schema: a JSON schema, as a dict or as text.
            regex: a regular expression that the whole answer matches.
            grammar: a context-free grammar in Lark's notation, from the rule ``start``.

        Raises GrammarError unless exactly one is given and can be followed.
        """
        if sum(given is not None for given in (schema, regex, grammar)) != 1:
            raise GrammarError("expected one of schema, regex and grammar")
        matcher = library("llguidance").LLMatcher
        try:
            if schema is not None:
                text = schema if isinstance(schema, str) else json.dumps(schema)
                source = matcher.grammar_from_json_schema(text, {"whitespace_flexible": False})
            elif regex is not None:
                source = matcher.grammar_from_regex(regex)
            else:
                source = matcher.grammar_from_lark(grammar)
        except (ValueError, TypeError) as error:
            raise GrammarError(f"the schema cannot be followed: {_line(error)}") from None
        found = matcher(self.inner, source, log_level=0)
        if found.is_error():
            raise GrammarError(f"the grammar cannot be followed: {_line(found.get_error())}")
        return Constraint(self, found, document=schema is not None)


def _line(error: object) -> str:
    """The first line of a message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"


class Constraint:
    """One answer's way through a grammar.

    Attributes:
        closing: True makes the answer end as soon as the grammar lets it.
    """

    def __init__(self, owner: Constraints, matcher: Any, *, document: bool) -> None:
        self.closing = False
        self._owner, self._matcher, self._document = owner, matcher, document
        self._bits = np.zeros((owner.vocab + 31) // 32, np.uint32)
        self._in_string = self._escaped = False

    def mask(self) -> NDArray[np.uint32]:
        """Words for the tensor ``mask`` [vocab]: 0 for tokens that may come next.

        Raises GrammarError when the grammar is too large to follow.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        allowed = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._owner.vocab]
        if self.closing:
            allowed = self._nearest_end(allowed)
        mask: NDArray[np.int32] = (1 - allowed.astype(np.int32)) * np.int32(FORBIDDEN)
        return mask.view(np.uint32)

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by tokens that were drawn."""
        self._matcher.consume_tokens(list(tokens))
        self._check()
        if self._document:
            for mark in self._owner.inner.decode_str(list(tokens)):
                self._in_string ^= mark == '"' and not self._escaped
                self._escaped = mark == "\\" and self._in_string and not self._escaped

    @property
    def finished(self) -> bool:
        """True when nothing may follow."""
        return bool(self._matcher.is_stopped())

    def _nearest_end(self, allowed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Of the tokens allowed only the first kind, in the order of ``MARKS``, that there is."""
        groups = [] if self._in_string else [self._owner.stops]
        if self._document:
            marks = '"' if self._in_string else MARKS
            groups += [[self._owner.marks[m]] for m in marks if m in self._owner.marks]
        for group in groups:
            if allowed[group].any():
                only = np.zeros_like(allowed)
                only[group] = allowed[group]
                return only
        return allowed

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(
                f"the grammar cannot be followed: {_line(self._matcher.get_error())}"
            )
