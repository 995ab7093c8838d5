"""Which files a folder offers: not what is hidden, ignored, linked, generated or huge."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pxvm.core.errors import FormatError
from pxvm.core.reading import read_bytes

if TYPE_CHECKING:
    import pathspec

#: Patterns, and the folder that they are of: its path, closed.
Rules = list[tuple[str, "pathspec.GitIgnoreSpec"]]

LARGEST = 32 << 20  # bytes; a larger file in a folder is skipped, a larger one named is read
NEVER = {"node_modules", "__pycache__"}  # folders of generated files


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
            yield from _walk(path, closed(str(path.resolve())), _ignored_above(path))
        else:
            path.stat()
            yield path


def closed(folder: str) -> str:
    """A folder's path with a separator at its end."""
    return folder.rstrip(os.sep) + os.sep


def _walk(folder: Path, real: str, above: Rules) -> Iterator[Path | Skipped]:
    """The files of a folder, whose path is ``real`` when resolved and closed: no link is followed
    below it, so that nothing there needs to be resolved again."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(str(folder), error.strerror or str(error))
        return
    rules = [*above, *_rules(real)]
    for entry in entries:
        inside = real + entry.name
        try:
            reason = _left_out(entry, inside, rules)
        except OSError as error:  # gone meanwhile
            reason = error.strerror or str(error)
        if reason:
            yield Skipped(str(folder / entry.name), reason)
        elif entry.is_dir():
            yield from _walk(folder / entry.name, inside + os.sep, rules)
        else:
            yield folder / entry.name


def _left_out(entry: os.DirEntry[str], real: str, rules: Rules) -> str:
    """Why an entry of a folder is not read; "" where it is."""
    is_folder = entry.is_dir(follow_symlinks=False)
    if entry.name.startswith("."):
        return "hidden"
    if entry.name in NEVER or _ignored(real, is_folder, rules):
        return "ignored"
    if entry.is_symlink():
        return "link; name it to learn it"
    if is_folder:
        return ""
    if not entry.is_file():
        return "not a file"
    return (
        f"over {LARGEST >> 20} MiB; name it to learn it" if entry.stat().st_size > LARGEST else ""
    )


def _rules(folder: str) -> Rules:
    """The patterns of a folder's ``.gitignore``, relative to it."""
    try:
        lines = read_bytes(Path(folder, ".gitignore")).decode(errors="replace").splitlines()
    except (OSError, FormatError):
        return []
    import pathspec

    return [(folder, pathspec.GitIgnoreSpec.from_lines(lines))]


def _ignored_above(folder: Path) -> Rules:
    """Patterns of the folders above, up to the root of the repository that it is in, if any."""
    rules: Rules = []
    here = folder.resolve()
    for parent in (here, *here.parents):
        if parent != here:
            rules = [*_rules(closed(str(parent))), *rules]
        if (parent / ".git").exists():
            return rules
    return []


def _ignored(real: str, is_folder: bool, rules: Rules) -> bool:
    ignored = False
    for folder, spec in rules:
        name = real[len(folder) :].replace(os.sep, "/") + ("/" if is_folder else "")
        answer = spec.check_file(name).include
        ignored = ignored if answer is None else answer
    return ignored
