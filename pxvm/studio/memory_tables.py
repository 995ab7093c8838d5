"""What the page knows of knowledge pictures: ``studio/src/generated/memory.json``.

>>> python -m pxvm.studio.memory_tables        # writes it anew

Kinds, limits and the rules by which words are folded and cut are those of ``pxvm.learning``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from pxvm.learning.search import lexical, words
from pxvm.learning.store import layout, pages, record

FILE = Path(__file__).resolve().parents[2] / "studio/src/generated/memory.json"
_LETTER = r"\p{L}\p{N}_"  # Python's \w


def tables() -> dict[str, Any]:
    """Everything that the page needs to read a network, and to search it by words."""
    return {
        "kinds": record.KINDS,
        "relations": record.RELATIONS,
        "flags": {"acts": record.ACTS, "bookkeeping": record.BOOKKEEPING},
        "formatSource": record.FORMAT_SOURCE,
        "page": pages.PAGE,
        "limits": {
            "text": record.MAX_TEXT,
            "raw": record.MAX_RAW,
            "vectors": record.MAX_VECTORS,
            "rows": layout.MOST_ROWS,
        },
        "layout": {
            "width": layout.WIDTH,
            "version": layout.VERSION,
            "magic": list(layout.MAGIC),
            "sector": layout.SECTOR,
            "firstSlot": layout.FIRST_SLOT,
            "slot": layout.SLOT,
            "headerAt": layout.HEADER_AT,
            "blockRows": layout.BLOCK_ROWS,
            "shortPads": sorted(layout.SHORT_PADS),
            "link": list(layout.LINK),
            "end": list(layout.IEND),
        },
        "words": _words(),
        "search": {
            "mostTerms": lexical.MOST_TERMS,
            "rare": lexical.RARE,
            "word": lexical.WORD,
            "stem": lexical.STEM,
            "ending": lexical.ENDING,
        },
    }


def _words() -> dict[str, Any]:
    rules = words.rules()
    for name in ("dropped", "word", "run", "unit", "long", "article"):
        rules[name] = pattern(rules[name])
    return {**rules, "casefold": casefold()}


def pattern(python: str) -> str:
    r"""A pattern of Python's ``re`` as JavaScript has it under the flags ``u`` and ``s``."""
    wide = re.sub(r"\\U([0-9a-f]{8})", lambda m: rf"\u{{{int(m[1], 16):x}}}", python)
    within, found = False, []
    for piece in re.findall(r"\\.|\[|\]|[^\\\[\]]+", wide, re.DOTALL):
        within = piece == "[" or (within and piece != "]")
        if piece == r"\w":
            piece = _LETTER if within else f"[{_LETTER}]"
        found.append(piece)
    return "".join(found)


def casefold() -> dict[str, str]:
    """What lower case and case folding differ in, after NFKC: JavaScript has the former alone."""
    found = {}
    for code in range(0x110000):
        character = chr(code)
        if 0xD800 <= code < 0xE000 or unicodedata.normalize("NFKC", character) != character:
            continue
        lower, folded = character.lower(), character.casefold()
        if lower != folded and unicodedata.normalize("NFD", lower) != unicodedata.normalize(
            "NFD", folded
        ):
            found[lower] = folded
    return found


def text() -> str:
    """The file's content."""
    return json.dumps(tables(), indent=1) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
