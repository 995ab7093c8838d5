"""Chat templates: Jinja sources out of a model file, run where they can do no harm.

A template sees what Hugging Face's convention promises: ``messages``, ``add_generation_prompt``,
``bos_token``, ``eos_token``, ``tools``, and the helpers ``raise_exception``, ``strftime_now``, the
filter ``tojson``, ``break`` and ``continue``, and ``{% generation %}``. Time, memory and depth are
bounded, and it reaches nothing outside (``sandbox``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pxvm.core.errors import FormatError, PxvmError
from pxvm.models.text.guard import reason

MAX_SOURCE = 1 << 16
PURSE = 1 << 25  # what a rendering may cost, see ``sandbox``: about a second
PER_CHARACTER = 64  # and so much more for each character of what it is given


class MessageError(PxvmError, ValueError):
    """A conversation that a model's template refuses."""


def render(source: str, messages: Sequence[Mapping[str, Any]], **values: Any) -> str:
    """The conversation as one text.

    Args:
        messages: each with "role" and "content".
        values: further variables; ``add_generation_prompt`` is True unless given.

    Raises MessageError when the template refuses the messages, FormatError when it is broken or
    asks for more than it may.
    """
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
            raise MessageError(
                f"message {number}: expected a mapping with role and content; found {message!r:.60}"
            )
    known = {"add_generation_prompt": True, "tools": None, "documents": None} | values
    known["messages"] = [dict(m) for m in messages]
    code = compiled(source)

    from pxvm.models.text.sandbox import Refusal, Sandbox

    sandbox = Sandbox(PURSE + PER_CHARACTER * _characters(list(known.values())))
    try:
        return str(sandbox.run(code, known))
    except Refusal as refusal:
        raise MessageError(f"the model's chat template refuses: {reason(refusal)}") from None
    except Exception as error:  # of a stranger's program anything may come
        raise FormatError(f"the model's chat template fails: {reason(error)}") from None


@lru_cache(maxsize=8)
def compiled(source: str) -> Any:
    """The code of a template, compiled once. Raises FormatError for one that cannot be read."""
    from pxvm.models.text.sandbox import metered

    if len(source) > MAX_SOURCE:
        raise FormatError(
            f"the model's chat template: expected at most {MAX_SOURCE} characters; found"
            f" {len(source)}"
        )
    try:
        return metered(source)
    except Exception as error:
        raise FormatError(f"the model's chat template cannot be read: {reason(error)}") from None


def _characters(values: list[Any]) -> int:
    """Characters in the data that a template is given."""
    found, left = 0, values
    while left:
        value = left.pop()
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, Mapping):
            left.extend(value.values())
        elif isinstance(value, (list, tuple)):
            left.extend(value)
    return found
