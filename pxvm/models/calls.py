"""Calls of functions as models write them: JSON between ``<tool_call>`` and ``</tool_call>``.

That is what the templates of Qwen, Hermes, SmolLM3 and others ask for. ``grammar`` makes an answer
a call, ``Calls`` finds calls in an answer that may be one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pxvm.models.streaming import StopFilter

OPEN, CLOSE = "<tool_call>", "</tool_call>"
#: Of a function that says nothing of parameters: it takes none.
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def knows_tools(template: str | None) -> bool:
    """Does a chat template tell its model of functions, in the form that is read here?"""
    return template is not None and "tools" in template and OPEN in template


def grammar(functions: Sequence[Mapping[str, Any]]) -> str:
    """A grammar in Lark's notation of one call of one of the functions.

    Args:
        functions: each with a name, and perhaps a JSON schema of its ``parameters``.
    """
    rules = [f'start: "{OPEN}\\n" call "\\n{CLOSE}"']
    rules.append("call: " + " | ".join(f"call{n}" for n in range(len(functions))))
    for number, function in enumerate(functions):
        schema = {
            "type": "object",
            "properties": {
                "name": {"const": function["name"]},
                "arguments": function.get("parameters") or NOTHING,
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
            "x-guidance": {"whitespace_flexible": False},  # or a small model goes on with spaces
        }
        rules.append(f"call{number}: %json {json.dumps(schema)}")
    return "\n".join(rules)


def for_template(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose calls have their arguments as objects, which templates expect."""
    found = []
    for message in messages:
        calls = [
            {**call, "function": {**function, "arguments": _read(function.get("arguments"))}}
            for call in message.get("tool_calls") or ()
            for function in (call["function"],)
        ]
        found.append({**message, "tool_calls": calls} if calls else dict(message))
    return found


def _read(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


class Calls:
    """Takes calls out of a text that comes in pieces; what is no call stays text.

    Attributes:
        count: calls that were found.
    """

    def __init__(self) -> None:
        self.count = 0
        self._inside = False
        self._filter, self._call = StopFilter([OPEN]), ""

    def put(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """(text to show, calls as (name, arguments as JSON)) that are certain now."""
        shown, found = "", list[tuple[str, str]]()
        while text:
            if not self._inside:
                before = self._filter.held + text
                shown += self._filter.put(text)
                if not self._filter.stopped:
                    break
                text = before[before.index(OPEN) + len(OPEN) :]
                self._inside, self._call = True, ""
            self._call += text
            end = self._call.find(CLOSE)
            if end < 0:
                break
            inside, text = self._call[:end], self._call[end + len(CLOSE) :]
            self._inside, self._filter = False, StopFilter([OPEN])
            call = _call(inside)
            if call is None:
                shown += OPEN + inside + CLOSE
            else:
                found.append(call)
                self.count += 1
                text = text.lstrip("\n") if text.strip("\n") == "" else text
        return shown, found

    def finish(self) -> tuple[str, list[tuple[str, str]]]:
        """What was held back: a call that was not closed, if it is whole."""
        if not self._inside:
            return self._filter.finish(), []
        call = _call(self._call)
        self.count += call is not None
        return ("", [call]) if call is not None else (OPEN + self._call, [])


def _call(text: str) -> tuple[str, str] | None:
    """(name, arguments) of a call's JSON, None for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    arguments = found.get("arguments", found.get("parameters", {}))
    if not isinstance(arguments, dict):
        return None
    return found["name"], json.dumps(arguments, ensure_ascii=False)
