"""Plain text to blocks: paragraphs, headings as several kinds of notes write them, log lines."""

from __future__ import annotations

import re

from pxvm.learning.sources.blocks import MARKS, Outline, Read, weight

#: A line that begins with a time, a level or an address is one of a log.
LOGGED = re.compile(
    r"[\[(]?(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{2,4}|\d\d?:\d\d|\d{9,}"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:|\d+\.\d+\.\d+\.\d+ "
    r"|(?i:trace|debug|info|notice|warn(?:ing)?|error|fatal)\b)"
)
LONGEST = 1_000  # characters of a heading's line
#: Tables of Org, reStructuredText and people: lines between bars or over rules.
TABLE = re.compile(r"[ \t]*(?:\||\+[-=+]{2,}|={2,} +=)")
RULE = re.compile(r"[ \t]*[|+]?[-=+|: ]{3,}$")

# What begins a section, and what encloses text in which nothing does, by the end of a file's name.
# A heading's marks give its depth: their number, or the word's place.
STARS = re.compile(r"(?P<marks>\*+) +(?P<title>.*)")
EQUALS = re.compile(r"(?P<marks>={1,6}) +(?P<title>.*?)(?: +=+)? *$")
SECTIONS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
COMMAND = re.compile(
    rf"\s*\\(?P<marks>{'|'.join(SECTIONS)})\*?\s*(?:\[[^\]\n]*\])?"
    r"\{(?P<title>(?:[^{}]|\{[^{}]*\})*)\}(?P<rest>.*)"
)
MARKED = {
    ".org": (STARS, r"(?i)\s*#\+begin_(\w+)", r"(?i)\s*#\+end_{}\b"),
    ".adoc": (EQUALS, r"(-{{4,}}|\.{{4,}}|={{4,}})$", r"{}$"),
    ".tex": (
        COMMAND,
        r"\s*\\begin\{(verbatim\*?|lstlisting|minted|tabular[*x]?)\}",
        r"\s*\\end\{{{}\}}",
    ),
}
MARKED[".asciidoc"] = MARKED[".adoc"]
MARKED[".latex"] = MARKED[".ltx"] = MARKED[".tex"]


def read_text(text: str) -> Read:
    """Paragraphs; a line underlined with punctuation, as in reStructuredText, is a heading."""
    read, outline = Read(), Outline()
    levels: list[str] = []  # underlining characters in the order in which they appeared
    for paragraph in re.split(r"\n[ \t]*\n", text):
        lines = paragraph.strip("\n").rstrip().split("\n")
        overlined = len(lines) > 2 and underlines(lines[0], lines[1]) and lines[0] == lines[2]
        if overlined:
            read.left[MARKS] += weight(lines.pop(0))
        if len(lines) > 1 and underlines(lines[1], lines[0]):
            style = lines[1][0] + ("^" if overlined else "")
            if style not in levels:
                levels.append(style)
            outline.heading(levels.index(style), lines[0])
            read.left[MARKS] += weight(lines[1])
            del lines[:2]
        add_lines(outline, lines)
    read.blocks = outline.close()
    return read


def read_marked(text: str, suffix: str) -> Read:
    """Org, AsciiDoc or LaTeX: the text as it stands under its headings."""
    heading, opening, closing = MARKED[suffix]
    opens = re.compile(opening)
    read, outline = Read(), Outline()
    held: list[str] = []
    closes: re.Pattern[str] | None = None

    def flush() -> None:
        for paragraph in re.split(r"\n[ \t]*\n", "\n".join(held)):
            add_lines(outline, paragraph.split("\n"))
        held.clear()

    for line in text.split("\n"):
        if closes:
            held.append(line)
            if closes.match(line):
                closes = None
                outline.add("\n".join(held), whole=True)
                held.clear()
        elif begun := opens.match(line):
            flush()
            held.append(line)
            closes = re.compile(closing.format(re.escape(begun[1])))
        elif len(line) < LONGEST and (found := heading.fullmatch(line)):
            flush()
            marks, rest = found["marks"], found.groupdict().get("rest") or ""
            depth = SECTIONS.index(marks) if marks in SECTIONS else len(marks)
            outline.heading(depth, found["title"])
            read.left[MARKS] += weight(line) - weight(found["title"]) - weight(rest)
            held.append(rest)
        else:
            held.append(line)
    flush()
    read.blocks = outline.close()
    return read


def read_log(text: str) -> Read:
    """Every line whole."""
    outline = Outline()
    outline.rows(filter(str.strip, text.split("\n")))
    return Read(outline.close())


def add_lines(outline: Outline, lines: list[str]) -> None:
    """Add a paragraph; what looks like a table or a log is not torn inside its lines."""
    lines = [line for line in lines if line.strip()]
    logged = sum(bool(LOGGED.match(line)) for line in lines)
    if len(lines) > 1 and 2 * logged > len(lines):
        outline.rows(lines)
    elif len(lines) > 1 and TABLE.match(lines[0]) and (lines[0][0] == "=" or TABLE.match(lines[1])):
        ruled = next((n + 1 for n, line in enumerate(lines[1:4], 1) if RULE.match(line)), 1)
        outline.table(lines, head=ruled)
    else:
        outline.add("\n".join(lines))


def underlines(line: str, title: str) -> bool:
    """Is this line one punctuation mark, repeated at least as far as the title above it?"""
    mark = line[:1]
    return (
        bool(re.fullmatch(r"[=\-~^\"'`#*+_:.]", mark))
        and line == mark * len(line)
        and len(line) >= max(3, len(title.strip()))
        and any(c.isalnum() for c in title)
    )
