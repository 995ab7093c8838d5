"""JSON to blocks: records and lines whole, with their keys, and the words without their escapes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pxvm.learning.sources.blocks import TARGET, Outline, Read, mended, size, weight
from pxvm.learning.sources.code import read_code

DEEPEST = 30  # levels that become headings
INLINE = 80  # characters of a list that stands in one line


def parse(text: str) -> Any:
    """A JSON value; numbers as they stand, and a key that comes again in one object by its number.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(
        text, object_pairs_hook=_members, parse_int=str, parse_float=str, parse_constant=str
    )


def parse_lines(text: str) -> Iterator[Any]:
    """The values of JSON Lines; a line that is none stands for itself."""
    for line in text.split("\n"):
        if line.strip():
            try:
                yield parse(line)
            except (ValueError, RecursionError):
                yield line


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = {}
        times: dict[str, int] = {}
        for key, value in pairs:
            times[key] = times.get(key, 0) + 1
            found[key if times[key] == 1 else f"{key} ({times[key]})"] = value
    return found


def read_json(text: str) -> Read:
    """Blocks of a JSON file; of one that is none, with comments say, its text as it stands."""
    try:
        return read_values([parse(text)])
    except (ValueError, RecursionError):
        return read_code(text, ".json")


def read_values(values: Iterable[Any]) -> Read:
    """Blocks of JSON values, of which each stands for itself.

    Raises:
        RecursionError: a value is nested too deeply.
    """
    outline = Outline()
    for value in values:
        _add(value, outline, 0)
    return Read(outline.close())


def _add(value: Any, outline: Outline, depth: int) -> None:
    """Add a value that stands for itself: whole if it is small, else by its parts."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, dict) and not _fits(value):
        entries = [(key, {key: inner}, inner) for key, inner in value.items()]
    elif isinstance(value, list) and not _fits(value):
        entries = [(str(number), inner, inner) for number, inner in enumerate(value, 1)]
    else:
        lines = rendered(value)
        row = len(lines) == 1 and _fits(value)
        outline.add("\n".join(lines), whole=not (row or isinstance(value, str)), row=row)
        return
    small: list[str] = []
    for key, entry, inner in entries:
        if _fits(entry):
            lines = rendered(entry)
            if isinstance(value, dict) or len(lines) == 1:
                small.append("\n".join(lines))
                continue
        outline.rows(small)
        small.clear()
        if _fits(entry):
            outline.add("\n".join(lines), whole=True)
        else:
            outline.heading(depth, key)
            _add(inner, outline, depth + 1)
            outline.close(depth)
    outline.rows(small)


def _fits(value: Any) -> bool:
    """Is this small enough for one chunk?"""
    total, open_ = 0, [value]
    while open_ and total <= TARGET:
        inner = open_.pop()
        if isinstance(inner, dict):
            total += sum(size(mended(key)) + 4 for key in inner)
            open_ += inner.values()
        elif isinstance(inner, list):
            total += 2 * len(inner)
            open_ += inner
        else:
            total += size(mended(inner)) if isinstance(inner, str) else 5
    return total <= TARGET


def rendered(value: Any) -> list[str]:
    """The lines of a value: keys before a colon, what is inside indented."""
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            lines += _labelled(f"{key}:", rendered(inner), _is_scalar(inner))
        return lines or ["{}"]
    if isinstance(value, list):
        items = [rendered(inner) for inner in value]
        if all(len(item) == 1 and "," not in item[0] for item in items) and (
            sum(len(item[0]) + 2 for item in items) <= INLINE
        ):
            return [", ".join(item[0] for item in items) or "[]"]
        lines = []
        for inner, item in zip(value, items, strict=True):
            lines += _labelled("-", item, True) if _is_scalar(inner) else _item(item)
        return lines
    if isinstance(value, str):
        return value.split("\n")
    return [json.dumps(value)]


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list)) or not value


def _labelled(label: str, lines: list[str], scalar: bool) -> list[str]:
    if len(lines) == 1 and (scalar or ": " not in lines[0]):
        return [f"{label} {lines[0]}"]
    return [label, *(f"  {line}" for line in lines)]


def _item(lines: list[str]) -> list[str]:
    return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]


def leaves(value: Any) -> int:
    """Characters of all values inside a value, without its keys and marks."""
    total, open_ = 0, [value]
    while open_:
        inner = open_.pop()
        if isinstance(inner, dict):
            open_ += inner.values()
        elif isinstance(inner, list):
            open_ += inner
        else:
            total += weight(inner if isinstance(inner, str) else json.dumps(inner))
    return total
