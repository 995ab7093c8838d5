"""Markdown to blocks."""

from __future__ import annotations

import itertools
import re

from pxvm.learning.sources.blocks import MARKS, Outline, Read, weight

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
FLOWING = {"paragraph_open", "bullet_list_open", "ordered_list_open"}
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")
WHOLE = {"fence", "code_block", "table_open"}


def read_markdown(text: str) -> Read:
    """Blocks under their headings, in Markdown; prose without its soft line breaks."""
    from markdown_it import MarkdownIt

    read, outline = Read(), Outline()
    lines = text.split("\n")
    front = FRONT_MATTER.match(text)
    skipped = 0
    if front:
        outline.add(front[1], whole=True)
        skipped = front[0].count("\n")
        read.left[MARKS] += weight(front[0]) - weight(front[1])
    # What stands inside a paragraph stays as it is, so that it need not be looked at.
    parser = MarkdownIt("commonmark").enable("table").disable("inline")
    tokens = parser.parse("\n".join(lines[skipped:]))
    done = 0
    for number, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        first, last = token.map
        between = "\n".join(lines[skipped + done : skipped + first])
        outline.add(between, whole=True)  # the targets of links, which are no tokens
        done = last
        piece = "\n".join(lines[skipped + first : skipped + last])
        if token.type == "heading_open":
            title = tokens[number + 1].content
            outline.heading(int(token.tag[1]), title)
            read.left[MARKS] += weight(piece) - weight(title)
        elif token.type == "hr":
            read.left[MARKS] += weight(piece)
        elif token.type == "table_open":
            outline.table(piece.strip("\n").split("\n"), head=2)
        else:
            after = (tokens[n] for n in range(number + 1, len(tokens)))
            inside = itertools.takewhile(lambda t: t.level, after)
            flows = token.type in FLOWING and not any(t.type in WHOLE for t in inside)
            outline.add(unwrapped(piece) if flows else piece, token.type in WHOLE)
    outline.add("\n".join(lines[skipped + done :]), whole=True)
    read.blocks = outline.close()
    return read


def unwrapped(text: str) -> str:
    """Prose with each paragraph and each item of a list on one line, as a viewer shows it."""
    lines: list[list[str]] = []
    flows = False
    for line in text.split("\n"):
        if flows and line.strip() and not ITEM.match(line):
            lines[-1].append(line.strip())
        else:
            lines.append([line.rstrip()])
        flows = bool(line.strip()) and not line.endswith(("  ", "\\"))
    return "\n".join(" ".join(parts) for parts in lines)
