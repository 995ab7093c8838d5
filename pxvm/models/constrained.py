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

from pxvm.core.errors import FormatError, ProgramError, PxvmError
from pxvm.models.families.llama import FORBIDDEN
from pxvm.models.text.guard import guarded, reason, timed
from pxvm.models.text.tokenizer import Tokenizer, library

# The library calls itself for every rule and object that leads to another, some 8 kB each: so many
# of them at most, counted by the mark that each needs, and a stack that holds them.
MAX_RULES, STACK = 2000, 1 << 26
FORMS = {"schema": (1 << 20, "{"), "regex": (1 << 12, "("), "grammar": (1 << 17, ":")}
SECONDS = 20  # to understand a form
MAX_LEXER = 200_000  # the library's unit; it takes a second and 100 MB for so many

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
        with guarded(f"{tokenizer.where}: the tokenizer cannot follow a form"):
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
        given = {"schema": schema, "regex": regex, "grammar": grammar}
        chosen = [(form, value) for form, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise GrammarError("expected one of schema, regex and grammar")
        form, value = chosen[0]
        text = _text(form, value)
        what = f"the {form} cannot be followed"
        try:
            found = timed(SECONDS, what, lambda: self._matcher(form, text), stack=STACK)
        except FormatError as error:
            raise GrammarError(str(error)) from None
        if found.is_error():
            raise GrammarError(f"{what}: {reason(found.get_error())}")
        return Constraint(self, found, document=form == "schema")

    def _matcher(self, form: str, text: str) -> Any:
        llguidance = library("llguidance")
        make = llguidance.LLMatcher
        if form == "schema":
            source = make.grammar_from_json_schema(text, {"whitespace_flexible": False})
        else:
            source = (make.grammar_from_regex if form == "regex" else make.grammar_from_lark)(text)
        limits = llguidance.LLParserLimits(initial_lexer_fuel=MAX_LEXER, verbose_errors=False)
        return make(self.inner, source, log_level=0, limits=limits)


def _text(form: str, value: Any) -> str:
    """A form as text, which is not too large. Raises GrammarError."""
    try:
        if form == "schema":
            value = json.dumps(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, TypeError, RecursionError) as error:
        raise GrammarError(f"the {form} cannot be followed: {reason(error)}") from None
    if not isinstance(value, str):
        raise GrammarError(f"{form}: expected a text; found {type(value).__name__}")
    most, mark = FORMS[form]
    if len(value) > most or value.count(mark) > MAX_RULES:
        raise GrammarError(
            f"{form}: expected at most {most} characters and {MAX_RULES} times {mark!r}; found"
            f" {len(value)} and {value.count(mark)}"
        )
    return value


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
                f"the grammar cannot be followed: {reason(self._matcher.get_error())}"
            )
