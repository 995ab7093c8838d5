"""Files to chunks: how each is read, what was left out of it, and what they are called.

A document's ``source`` is its path from the folder of the network, so that learning it again from
another place finds its old chunks, and a network that is given away tells little of its home.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pxvm.core.errors import MissingPackageError, PxvmError
from pxvm.core.reading import read_bytes
from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.blocks import Block, mended, pack, weight
from pxvm.learning.sources.chats import Exchange
from pxvm.learning.sources.folders import Skipped as Skipped
from pxvm.learning.sources.folders import closed, find_files
from pxvm.learning.sources.kinds import read_kind
from pxvm.learning.store.record import Draft

AGAIN = "passages that stand there again, under the same headings"
#: How files are read; another number makes every file be read again.
READERS = 4
#: A file that changed so few seconds before it was looked at may change once more unseen.
SETTLED = 2.0


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
        left: characters that were left out, by what they are.
        things: what was left out and has no characters, by its name in the singular.
        encoding: as what it was read where that was guessed; else "".
    """

    path: str
    source: str
    chunks: tuple[Draft, ...]
    replaces: bool
    stamp: Stamp | None = None
    unchanged: int = 0
    left: Counter[str] = field(default_factory=Counter)
    things: Counter[str] = field(default_factory=Counter)
    encoding: str = ""


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
    folders: dict[str, str] = {}
    tags = Draft("", "", tags=tuple(tags)).tags
    for found in find_files(named):
        if isinstance(found, Skipped):
            yield found
            continue
        try:
            source = _source(_real(found, folders), str(home))
            if _is_beside(source, network.name):
                continue
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


def _is_beside(source: str, name: str) -> bool:
    """Is this the network, one of its pages, or what is kept beside it under its name?"""
    top = source.partition("/")[0]
    stem, _, suffix = name.rpartition(".")
    page = re.fullmatch(rf"{re.escape(stem)}(\.g\d+)?\.p\d+\.{re.escape(suffix)}.*", top)
    return top.startswith(name) or page is not None


def read_document(path: Path, source: str, tags: Iterable[str] = ()) -> Document:
    """Read one file.

    Raises:
        UnreadableError: it is binary, damaged or needs a parser that is not installed.
    """
    return read_content(read_bytes(path), str(path), source, tags)


def read_content(content: bytes, path: str, source: str, tags: Iterable[str] = ()) -> Document:
    """Read a file's bytes; the end of ``path`` says what they are, Markdown if it has none.

    Raises:
        UnreadableError: they are binary, damaged or need a parser that is not installed.
    """
    try:
        contents = read_kind(content, Path(path).name)
    except MissingPackageError as error:
        raise UnreadableError(str(error)) from error
    except RecursionError:
        raise UnreadableError("nested too deeply") from None
    chunks = [
        *_turns(contents.exchanges, Path(path).name, tuple(tags)),
        *_passages(contents.read.blocks, source, tuple(tags)),
    ]
    unique = {chunk.id: chunk for chunk in chunks}
    if again := Counter(chunk.id for chunk in chunks) - Counter(unique.keys()):
        contents.read.left[AGAIN] += sum(weight(unique[i].answer) * n for i, n in again.items())
    talk = bool(contents.exchanges) and not contents.read.blocks
    return Document(
        path,
        chunks[0].source if talk else source,
        tuple(unique.values()),
        replaces=not talk,
        left=+contents.read.left,
        things=+contents.read.things,
        encoding=contents.encoding,
    )


def source_of(path: Path, base: Path) -> str:
    """A file's name in the records: its path from the folder ``base``.

    Bytes that are no UTF-8 are spelled, ``caf\\xe9.md``: a record holds text.
    """
    return _source(str(path.resolve()), str(base.resolve()))


def _source(real: str, base: str) -> str:
    """`source_of` what is resolved already."""
    inside = base if base.endswith(os.sep) else base + os.sep
    if real.startswith(inside):
        name = real[len(inside) :]
    else:
        try:
            name = os.path.relpath(real, base)
        except ValueError:  # on another drive
            name = real
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")


def _real(path: Path, folders: dict[str, str]) -> str:
    """A path resolved; ``folders`` keeps what each folder is resolved to."""
    folder, name = os.path.split(path)
    if not name or path.is_symlink():
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = closed(os.path.realpath(folder))
    return folders[folder] + name


def is_there(source: str, base: Path, folders: dict[str, str]) -> bool:
    """Is there a file that has this source, or might there be one where nobody may look?

    Args:
        folders: keeps what each folder is resolved to: behind a link a file has another source.
    """
    spelled = re.sub(r"\\x([89a-f][0-9a-f])", lambda byte: chr(0xDC00 + int(byte[1], 16)), source)
    return any(
        _is_there(Path(os.path.normpath(base / name)), folders) for name in {source, spelled}
    )


def _is_there(path: Path, folders: dict[str, str]) -> bool:
    try:
        return not stat.S_ISDIR(path.lstat().st_mode) and _real(path, folders) == str(path)
    except OSError as error:
        return not isinstance(error, (FileNotFoundError, NotADirectoryError))
    except ValueError:  # no name that a file can have
        return False


def stamp_of(path: Path, source: str) -> Stamp | None:
    """The state of a file; None while it is so new that it might change unseen."""
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return None
    state = (READERS, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return Stamp(source, " ".join(map(str, state)))


def _passages(blocks: list[Block], source: str, tags: tuple[str, ...]) -> Iterator[Draft]:
    name = source.rpartition("/")[2]  # of the file itself, where the path is a link
    for chunk in pack(blocks):
        yield Draft(
            query=mended(" > ".join((name, *chunk.path))),
            answer=chunk.text,
            tags=tags,
            kind="document",
            source=source,
            event_time=chunk.time,
        )


def _turns(exchanges: list[Exchange], name: str, tags: tuple[str, ...]) -> Iterator[Draft]:
    for turn in exchanges:
        yield Draft(
            query=mended(turn.query),
            answer=mended(turn.answer),
            tags=tags,
            source=f"chat: {mended(turn.session or name)}",
            model=mended(turn.model),
            event_time=turn.time,
        )
