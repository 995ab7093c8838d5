"""Files to chunks: which files a folder offers, how each is read, and what they are called.

A document's ``source`` is its path from the folder of the network, so that learning it again from
another place finds its old chunks, and a network that is given away tells little of its home.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pxvm.core.errors import FormatError, MissingPackageError, PxvmError
from pxvm.core.installation import library, missing
from pxvm.core.reading import check_regular, read_bytes
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Block, pack
from pxvm.learning.sources.chats import Exchange, read_chat
from pxvm.learning.sources.code import DEFINITIONS, NAMES, read_code
from pxvm.learning.sources.html import read_html
from pxvm.learning.sources.markdown import read_markdown, read_text
from pxvm.learning.sources.pdf import read_pdf
from pxvm.learning.store.record import Draft

if TYPE_CHECKING:
    import pathspec

LARGEST = 32 << 20  # bytes; a larger file in a folder is skipped, a larger one named is read
SNIFFED = 8_192  # bytes looked at to tell text from binary
MARKDOWN = {".md", ".markdown", ".mdx", ".qmd", ".rmd"}
HTML = {".html", ".htm", ".xhtml"}
#: How files are read; another number makes every file be read again.
READERS = 2
#: A file that changed so few seconds before it was looked at may change once more unseen.
SETTLED = 2.0
NEVER = {"node_modules", "__pycache__"}  # folders of generated files

EXPORTED = re.compile(r'"id": ?"[0-9a-f]{64}",\s*"sequence": ?\d+')  # what an export begins with


class Stamp(NamedTuple):
    """The state of a file: its source, and a text that differs when the file does."""

    source: str
    state: str


@dataclass(frozen=True)
class Document:
    """The chunks of one file.

    Attributes:
        path: the file, for messages.
        source: what its records have as their source; for a chat, that of its first exchange.
        chunks: in the file's order.
        replaces: what was learned from this source before and is not in it now is out of date;
            false for conversations, which only grow.
        stamp: the state of the file; None where it is so new that it might change unseen.
        unchanged: chunks of a file that was not read, being as it was learned before.
    """

    path: str
    source: str
    chunks: tuple[Draft, ...]
    replaces: bool
    stamp: Stamp | None = None
    unchanged: int = 0


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


def find_files(paths: Iterable[Path]) -> Iterator[Path | Skipped]:
    """The files to read: those named, and those in the folders named, in alphabetical order.

    In a folder, hidden files, those that a ``.gitignore`` names and those over ``LARGEST`` bytes
    are skipped, and links: what they lead to is learned where it stands, or when it is named.

    Raises:
        FileNotFoundError: a path that was named does not exist.
    """
    for path in paths:
        if path.is_dir():
            yield from _walk(path, _ignored_above(path))
        else:
            path.stat()
            yield path


def read_documents(
    paths: Iterable[Path],
    network: Path,
    tags: Iterable[str] = (),
    stamped: Callable[[Stamp], int | None] = lambda stamp: None,
) -> Iterator[Document | Skipped]:
    """Read files and folders.

    Args:
        paths: files and folders; a file that is named and cannot be read is an error, one that is
            found in a folder is skipped.
        network: the network's file: sources are relative to its folder, and neither it nor what
            lies beside it under its name is read.
        tags: given to every chunk.
        stamped: how many chunks are known of a file in some state; then it is not read again.

    Raises:
        UnreadableError: a named file is binary, damaged or needs a parser that is not installed.
        FileNotFoundError: a path does not exist.
        RecordError: a tag cannot be one.
    """
    named, home = list(paths), network.resolve().parent
    tags = Draft("", "", tags=tuple(tags)).tags
    for found in find_files(named):
        if isinstance(found, Skipped):
            yield found
            continue
        if _is_beside(found.resolve(), home, network.name):
            continue
        try:
            source = source_of(found, home)
            stamp = stamp_of(found, source)
            count = stamped(stamp) if stamp else None
            if count is not None:
                yield Document(str(found), source, (), True, stamp, count)
            else:
                yield replace(read_document(found, source, tags), stamp=stamp)
        except (PxvmError, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if found in named:
                raise UnreadableError(f"{found}: {reason}") from error
            yield Skipped(str(found), reason)


def _is_beside(path: Path, home: Path, name: str) -> bool:
    """Is this the network, one of its pages, or what is kept beside it under its name?"""
    if not path.is_relative_to(home):
        return False
    top = path.relative_to(home).parts[0]
    stem, _, suffix = name.rpartition(".")
    page = re.fullmatch(rf"{re.escape(stem)}(\.g\d+)?\.p\d+\.{re.escape(suffix)}.*", top)
    return top.startswith(name) or page is not None


def read_document(path: Path, source: str, tags: Iterable[str] = ()) -> Document:
    """Read one file.

    Raises:
        UnreadableError: it is binary, damaged or needs a parser that is not installed.
    """
    check_regular(path)
    if path.suffix.lower() == ".pdf":
        return _document(str(path), source, _parsed(read_pdf, path), tags)
    return read_content(path.read_bytes(), str(path), source, tags)


def read_content(content: bytes, path: str, source: str, tags: Iterable[str] = ()) -> Document:
    """Read a file's bytes; the end of ``path`` says what they are, Markdown if it has none.

    Raises:
        UnreadableError: they are binary, or need a parser that is not installed.
    """
    suffix = Path(path).suffix.lower()
    text = decode(content)
    if suffix in (".json", ".jsonl", ".ndjson"):
        if EXPORTED.search(text, 0, SNIFFED):
            raise UnreadableError("an exported network: pxvm network import takes it")
        exchanges = read_chat(text, lines=suffix != ".json")
        if exchanges:
            return _chat(path, exchanges, tags)
    reader: Callable[[str], list[Block]]
    if suffix in MARKDOWN or not suffix:
        reader = read_markdown
    elif suffix in HTML:
        reader = read_html
    elif suffix in DEFINITIONS or Path(path).name.lower() in NAMES:
        reader = partial(read_code, suffix=suffix)
    else:
        reader = read_text
    return _document(path, source, _parsed(reader, text), tags)


def decode(content: bytes) -> str:
    """Bytes to text with ``\\n`` at line ends: UTF-8, UTF-16 with its mark, else what is likeliest.

    Raises:
        UnreadableError: they are no text.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    elif b"\0" in content[:SNIFFED]:
        raise UnreadableError("binary")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = _guess(content)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def source_of(path: Path, base: Path) -> str:
    """A file's name in the records: its path from the folder ``base``."""
    try:
        return Path(os.path.relpath(path.resolve(), base.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()


def stamp_of(path: Path, source: str) -> Stamp | None:
    """The state of a file; None while it is so new that it might change unseen."""
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return None
    state = (READERS, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return Stamp(source, " ".join(map(str, state)))


def _guess(content: bytes) -> str:
    try:
        charset_normalizer = library("charset_normalizer", "documents")
    except MissingPackageError as error:
        raise UnreadableError(f"not UTF-8, and to guess its encoding {error}") from None
    best = charset_normalizer.from_bytes(content).best()
    if best is None:
        raise UnreadableError("binary")
    return str(best)


def _parsed(reader: Callable[..., list[Block]], content: object) -> list[Block]:
    try:
        return reader(content)
    except ImportError as error:
        raise UnreadableError(missing(error.name or "a package", "documents")) from error
    except RecursionError:
        raise UnreadableError("nested too deeply") from None


def _document(path: str, source: str, blocks: list[Block], tags: Iterable[str]) -> Document:
    name = source.rpartition("/")[2]  # of the file itself, where the path is a link
    chunks = (
        Draft(
            query=_mended(" > ".join((name, *headings))),
            answer=_mended(text),
            tags=tuple(tags),
            kind="document",
            source=source,
        )
        for headings, text in pack(blocks)
    )
    return Document(path, source, _unique(chunks), replaces=True)


def _chat(path: str, exchanges: list[Exchange], tags: Iterable[str]) -> Document:
    name = Path(path).name
    chunks = (
        Draft(
            query=_mended(turn.query),
            answer=_mended(turn.answer),
            tags=tuple(tags),
            source=f"chat: {_mended(turn.session or name)}",
            model=_mended(turn.model),
            event_time=turn.time,
        )
        for turn in exchanges
    )
    unique = _unique(chunks)
    return Document(path, unique[0].source, unique, replaces=False)


def _unique(chunks: Iterable[Draft]) -> tuple[Draft, ...]:
    return tuple({chunk.id: chunk for chunk in chunks}.values())


def _mended(text: str) -> str:
    """A text without half characters (lone surrogates), which no record can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _walk(
    folder: Path, above: list[tuple[Path, pathspec.GitIgnoreSpec]]
) -> Iterator[Path | Skipped]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(str(folder), error.strerror or str(error))
        return
    rules = [*above, *_rules(folder)]
    for entry in entries:
        path = Path(entry.path)
        is_folder = entry.is_dir()
        reason = ""
        if entry.name.startswith("."):
            reason = "hidden"
        elif entry.name in NEVER or _ignored(path, is_folder, rules):
            reason = "ignored"
        elif entry.is_symlink():
            reason = "link; name it to learn it"
        elif not is_folder and not path.is_file():
            reason = "not a file"
        elif not is_folder and path.stat().st_size > LARGEST:
            reason = f"over {LARGEST >> 20} MiB; name it to learn it"
        if reason:
            yield Skipped(str(path), reason)
        elif is_folder:
            yield from _walk(path, rules)
        else:
            yield path


def _rules(folder: Path) -> list[tuple[Path, pathspec.GitIgnoreSpec]]:
    """The patterns of a folder's ``.gitignore``, relative to it."""
    import pathspec

    try:
        lines = read_bytes(folder / ".gitignore").decode(errors="replace").splitlines()
    except (OSError, FormatError):
        return []
    return [(folder.resolve(), pathspec.GitIgnoreSpec.from_lines(lines))]


def _ignored_above(folder: Path) -> list[tuple[Path, pathspec.GitIgnoreSpec]]:
    """Patterns of the folders above, up to the root of the repository that it is in, if any."""
    rules: list[tuple[Path, pathspec.GitIgnoreSpec]] = []
    here = folder.resolve()
    for parent in (here, *here.parents):
        if parent != here:
            rules = [*_rules(parent), *rules]
        if (parent / ".git").exists():
            return rules
    return []


def _ignored(path: Path, is_folder: bool, rules: list[tuple[Path, pathspec.GitIgnoreSpec]]) -> bool:
    absolute = path.parent.resolve() / path.name
    ignored = False
    for folder, spec in rules:
        name = absolute.relative_to(folder).as_posix() + ("/" if is_folder else "")
        answer = spec.check_file(name).include
        ignored = ignored if answer is None else answer
    return ignored
