"""The events of a stream as servers send them, of which few keep to the letter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a last \r may be half of \r\n


def events(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The data of server-sent events, wherever the network has cut the bytes.

    Comments, names and ids are passed over. What stands after the last empty line counts as well,
    for some servers close without one.
    """
    held, data = b"", list[bytes]()
    for part in parts:
        whole = _LINE.search(held[-1:] + part)
        held += part
        if not whole:  # a long line is not looked through again with each of its parts
            continue
        *lines, held = _LINE.split(held)
        for line in lines:
            yield from _taken(line, data)
    for line in (held.rstrip(b"\r"), b""):
        yield from _taken(line, data)


def _taken(line: bytes, data: list[bytes]) -> Iterator[bytes]:
    """Note a line; after an empty one what was noted is an event."""
    name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
    if name == b"data":
        data.append(value.removeprefix(b" "))
    elif not line and data:
        yield b"\n".join(data)
        data.clear()
