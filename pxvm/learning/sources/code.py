"""Source code to blocks: by definitions, blank lines and indentation, whatever the language.

A definition that fits in a chunk is one block under its own first line; a larger one is split in
the same way one level deeper, so that a method stands under its class. Where there is neither a
definition nor a blank line to cut at, the code stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pxvm.learning.sources.blocks import SLACK, TARGET, Block, Read, mended, size

DEEPEST = 80  # columns of indentation up to which code is split
SMALL = 300  # neighbours below this many bytes share a chunk
LONGEST = 500  # characters of a line that may open a definition: no code of a machine's

C_LIKE = (
    r"(?:[\w.<>\[\],&*:~\"]+\s+)*(?:class|struct|union|enum|interface|namespace|record|trait"
    r"|protocol|extension|object|func|fun|def|function|template)\b"
    r"|(?!(?:if|for|while|switch|return|else|do|case|throw|new|delete|assert)\b)"
    r"[A-Za-z_][\w.<>\[\],&*:~ ]*\([^;]*(?:[{,(]|\)[^;=]*)$"
)
SCRIPT = (
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"(?:function|class|interface|type|enum|namespace)\b"
    r"|(?:export\s+)?(?:const|let|var)\s+[\w$]+[^=]*=\s*(?:async\s*)?(?:\(|function|[\w$]+\s*=>)"
    r"|(?!(?:if|for|while|switch|return|catch)\b)(?:static\s+|async\s+|get\s+|set\s+|#)*[\w$]+"
    r"\([^;]*\)[^;=]*\{$"
)
RUST = (
    r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:async|unsafe|const|extern|default)\s+(?:\"\w+\"\s+)?)*"
    r"(?:fn|struct|enum|union|trait|impl|mod|type|macro_rules!)\b"
)
WORDS = (
    r"(?:local\s+|async\s+|private\s+|public\s+)*(?:def|class|module|function|sub|package|macro)\b"
)
SHELL = r"(?:function\s+)?[\w.-]+\s*\(\)\s*\{?|function\s+\w+"
SQL = r"(?i:create|alter|insert|with|select|drop)\b"
NONE = r"(?!)"

# What opens a definition, and which files it is for; blank lines and indentation do the rest.
LANGUAGES = (
    (r"(?:async\s+)?(?:def|class)\s", "py pyi pyx"),
    (SCRIPT, "js mjs cjs jsx ts tsx mts vue svelte"),
    (RUST, "rs"),
    (r"(?:func|type)\b", "go"),
    (C_LIKE, "c h cc cpp cxx hpp hh cu m mm java cs kt kts swift scala php dart wgsl glsl hlsl"),
    (WORDS, "rb lua jl pl pm ex exs r nim vb groovy"),
    (SHELL, "sh bash zsh fish ps1"),
    (SQL, "sql"),
    (NONE, "json toml yaml yml ini cfg conf xml css scss svg ipynb proto tf cmake mk gradle bat"),
    (NONE, "hs ml clj lisp el erl zig asm s"),
)
DEFINITIONS = {f".{name}": opening for opening, names in LANGUAGES for name in names.split()}
NAMES = {"makefile", "dockerfile", "cmakelists.txt", "justfile", "rakefile", "gemfile"}

LEADING = re.compile(r"\s*(?:#|//|/\*|\*|--|;|@|\[|%|<!--)")  # comments, attributes, decorators
CLOSING = re.compile(r"\s*(?:[})\]]|(?:end|else|elif|except|finally|catch|then|fi|done|esac)\b)")


def read_code(text: str, suffix: str) -> Read:
    """Blocks of a source file; ``suffix`` is the end of its name, such as ".py"."""
    opening = re.compile(rf"\s*(?:{DEFINITIONS.get(suffix, NONE)})")

    def opens(line: str) -> bool:
        return len(line) <= LONGEST and bool(opening.match(line))

    return Read(split(mended(text).rstrip().split("\n"), (), opens, -1))


def split(
    lines: list[str], path: tuple[str, ...], opens: Callable[[str], bool], above: int
) -> list[Block]:
    """Blocks of some lines that stand under ``path``; ``above`` is the indentation of that."""
    level = min((i for i in map(indentation, filter(str.strip, lines)) if i > above), default=None)
    if level is None or level > DEEPEST:
        text = "\n".join(lines).strip("\n").rstrip()
        return [Block(text, path, whole=True)] if text else []
    blocks: list[Block] = []
    starts = cuts(lines, opens, level)
    for first, last in zip(starts, [*starts[1:], len(lines)], strict=True):
        item = lines[first:last]
        text = "\n".join(item).strip("\n").rstrip()
        if not text:
            continue
        head = next((line for line in item if line.strip() and not LEADING.match(line)), "")
        defines = indentation(head) == level and opens(head)
        inner = (*path, title(head)) if defines and size(text) >= SMALL else path
        if size(text) > TARGET + SLACK:
            blocks += split(item, inner, opens, level)
        else:
            blocks.append(Block(text, inner, whole=True))
    return blocks


def cuts(lines: list[str], opens: Callable[[str], bool], level: int) -> list[int]:
    """Where items begin: at definitions, and behind blank lines, that are indented by ``level``."""
    starts = [0]
    seen = False  # the first item also takes what stands before it: a signature, an opening brace
    for number, line in enumerate(lines):
        if not line.strip() or indentation(line) != level or CLOSING.match(line):
            continue
        first = number
        if opens(line):
            while first > starts[-1] and attached(lines[first - 1], level):
                first -= 1
        elif number and lines[number - 1].strip():
            seen = True
            continue
        if seen and first > starts[-1]:
            starts.append(first)
        seen = True
    return starts


def attached(line: str, level: int) -> bool:
    """Does this line belong to the definition below it: a comment or a decorator?"""
    return bool(LEADING.match(line)) and indentation(line) == level


def indentation(line: str) -> int:
    """Columns before the first character; a tab goes on to the next multiple of 4."""
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def title(line: str) -> str:
    """A definition's first line as a heading."""
    return " ".join(line.strip().rstrip("{:").split())[:100]
