"""Chat templates: Jinja sources out of a model file, run in a sandbox.

A template sees what Hugging Face's convention promises: ``messages``, ``add_generation_prompt``,
``bos_token``, ``eos_token``, ``tools``, and the helpers ``raise_exception``, ``strftime_now`` and
the filter ``tojson``. The sandbox lets it change nothing, import nothing and read no attributes
of Python's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from pxvm.core.errors import FormatError, PxvmError

MAX_SOURCE = 1 << 18
MAX_TEXT = 1 << 26


class MessageError(PxvmError, ValueError):
    """A conversation that a model's template refuses."""


def render(source: str, messages: Sequence[Mapping[str, Any]], **values: Any) -> str:
    """The conversation as one text.

    Args:
        messages: each with "role" and "content".
        values: further variables; ``add_generation_prompt`` is True unless given.

    Raises MessageError when the template refuses the messages, FormatError when it is broken.
    """
    import jinja2

    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise MessageError(
                f"message {number}: expected a mapping with role and content; found {message!r:.60}"
            )
    known = {"add_generation_prompt": True, "tools": None, "documents": None} | values
    try:
        parts, length = [], 0
        for part in _compiled(source).generate(messages=[dict(m) for m in messages], **known):
            parts.append(part)
            length += len(part)
            if length > MAX_TEXT:
                raise FormatError(f"the chat template writes more than {MAX_TEXT} characters")
        return "".join(parts)
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, PxvmError):
            raise
        raise FormatError(f"the model's chat template fails: {error}") from None


@lru_cache(maxsize=8)
def _compiled(source: str) -> Any:
    """The template of a source, compiled once."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(source) > MAX_SOURCE:
        raise FormatError(f"expected a chat template of at most {MAX_SOURCE} characters")
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise FormatError(f"the model's chat template cannot be read: {error}") from None


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(reason: str) -> None:
    raise MessageError(f"the model's chat template refuses: {reason}")
