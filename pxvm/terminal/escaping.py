r"""Foreign text made fit for a terminal: what would act there, or hide, is shown instead.

Names in a picture, records of a memory, a model's answers, file names and messages that quote them
come from anyone. Raw, an escape character moves the cursor or sets the window's title, and a sign
that overrides the direction of writing makes a line read as what it is not. ``\x1b`` and ``\u202e``
do neither. All other characters stay as they are.
"""

from __future__ import annotations

import re

# Controls and their siblings of Latin-1; what has no width (but joiners and marks of direction,
# without which some languages are misspelt); line and paragraph separators; signs that embed or
# override a direction; fillers of annotations, tags; surrogates, which no output can encode.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u180e\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_ACTS = re.compile(f"[{_HIDDEN}]")
_ACTS_OR_ENDS = re.compile(f"[{_HIDDEN}\n]")
_SHORT = {"\n": "\\n", "\r": "\\r"}


def visible(text: object) -> str:
    """A text on one line, with nothing in it that acts or hides."""
    return _ACTS_OR_ENDS.sub(_shown, str(text))


def visible_lines(text: object) -> str:
    """The same for a text of several lines."""
    return _ACTS.sub(_shown, str(text).replace("\r\n", "\n"))


def safe_json(document: str) -> str:
    """A JSON document whose strings, read again, are the same, and that acts on no terminal."""
    return _ACTS.sub(_as_json, document)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
    )


def _as_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
