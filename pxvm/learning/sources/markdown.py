"""Markdown and plain text to blocks."""

from __future__ import annotations

import itertools
import re

from pxvm.learning.sources.blocks import Block

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
FLOWING = {"paragraph_open", "bullet_list_open", "ordered_list_open"}
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s")
WHOLE = {"fence", "code_block", "table_open"}


def read_markdown(text: str) -> list[Block]:
    """Blocks under their headings, in Markdown; prose without its soft line breaks."""
    from markdown_it import MarkdownIt

    blocks: list[Block] = []
    lines = text.split("\n")
    front = FRONT_MATTER.match(text)
    skipped = 0
    if front:
        blocks.append(Block(front[1].strip("\n"), whole=True))
        skipped = front[0].count("\n")
    body = "\n".join(lines[skipped:])
    path: list[tuple[int, str]] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    for number, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        if token.type == "heading_open":
            depth = int(token.tag[1])
            path = [(d, title) for d, title in path if d < depth]
            path.append((depth, " ".join(tokens[number + 1].content.split())))
            continue
        first, last = token.map
        piece = "\n".join(lines[skipped + first : skipped + last]).strip("\n").rstrip()
        inside = itertools.takewhile(lambda t: t.level, tokens[number + 1 :])
        if token.type in FLOWING and not any(t.type in WHOLE for t in inside):
            piece = unwrapped(piece)
        if piece and token.type != "hr":
            blocks.append(Block(piece, tuple(t for _, t in path if t), token.type in WHOLE))
    return blocks


def unwrapped(text: str) -> str:
    """Prose with each paragraph and each item of a list on one line, as a viewer shows it."""
    lines: list[str] = []
    for line in text.split("\n"):
        flows = lines and lines[-1].strip() and not lines[-1].endswith(("  ", "\\"))
        if flows and line.strip() and not ITEM.match(line):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return "\n".join(line.rstrip() for line in lines)


def read_text(text: str) -> list[Block]:
    """Paragraphs; a line underlined with punctuation, as in reStructuredText, is a heading."""
    blocks: list[Block] = []
    path: list[tuple[int, str]] = []
    levels: list[str] = []  # underlining characters in the order in which they appeared
    for paragraph in re.split(r"\n[ \t]*\n", text):
        lines = paragraph.strip("\n").rstrip().split("\n")
        overlined = len(lines) > 2 and underlines(lines[0], lines[1]) and lines[0] == lines[2]
        if overlined:
            del lines[0]
        if len(lines) > 1 and underlines(lines[1], lines[0]):
            style = lines[1][0] + ("^" if overlined else "")
            if style not in levels:
                levels.append(style)
            depth = levels.index(style)
            path = [*((d, t) for d, t in path if d < depth), (depth, lines[0].strip())]
            del lines[:2]
        if any(line.strip() for line in lines):
            blocks.append(Block("\n".join(lines), tuple(title for _, title in path)))
    return blocks


def underlines(line: str, title: str) -> bool:
    """Is this line one punctuation mark, repeated at least as far as the title above it?"""
    mark = line[:1]
    return (
        bool(re.fullmatch(r"[=\-~^\"'`#*+_:.]", mark))
        and line == mark * len(line)
        and len(line) >= max(3, len(title.strip()))
        and any(c.isalnum() for c in title)
    )
