"""Markdown on a terminal: the same screen however the pieces came, and nothing that acts on it."""

from __future__ import annotations

import re

import pytest

from tests.terminal.screen import typed

SAY = """
import os, sys
from pxvm.terminal import markdown
os.environ.update({variables!r})
markdown.PAUSE = markdown.SHARE = 0  # draw after every piece
print("READY")
sys.stdin.readline()
answer = markdown.readable_answer()
for piece in {pieces!r}:
    answer.put(piece)
answer.end()
print("END")
"""
TEXT = """# Pixels

Some **bold** text with `code`, long enough to wrap.

- one
- two, which wraps around the end of its line

```python
for x in range(3):
    print(x)
```

| a | b |
|---|---|
| 1 | 2 |

The \x1b[31mend."""
SCREEN = """
                 Pixels

Some bold text with code, long enough to
wrap.

 • one
 • two, which wraps around the end of
   its line

 for x in range(3):
     print(x)

 a  b
 ────
 1  2

The \\x1b[31mend.
"""


def shown(pieces: list[str], **variables: str) -> str:
    """The screen after an answer, of 40 columns."""
    code = SAY.format(pieces=pieces, variables=variables)
    arrived = typed(code, b"\n", columns=40).replace("\r\n", "\n")
    screen, row = [""], 0
    arrived = re.sub(r"\x1b\[[0-9;]*m", "", arrived.split("READY\n\n")[1].split("END")[0])
    for part in re.findall(r"\x1b\[\d+A|\r\x1b\[J|\n|[^\x1b\r\n]+", arrived):
        if re.fullmatch(r"\x1b\[\d+A", part):
            row -= int(part[2:-1])
            assert row >= 0
        elif part == "\r\x1b[J":
            del screen[row + 1 :]
            screen[row] = ""
        elif part == "\n":
            row += 1
            if row == len(screen):
                screen.append("")
        else:
            screen[row] += part
    return "\n".join(line.rstrip() for line in screen)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_blocks_look_like_what_they_are(size: int):
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]
    assert shown(pieces) == SCREEN.lstrip("\n")


@pytest.mark.parametrize("lines", ["5", "3"])
def test_a_block_that_is_longer_than_the_screen(lines: str):
    rows = [f"{number}\n" for number in range(12)]
    assert shown(["```\n", *rows, "```\n"], LINES=lines) == "".join(f" {row}" for row in rows)


def test_a_terminal_that_only_prints_lines():
    assert shown(["# A\n\n", "**b**"], TERM="dumb") == "# A\n\n**b**\n"


def test_no_answer_at_all():
    assert shown([]) == "\n"
