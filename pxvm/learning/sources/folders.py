"""Which files a folder offers: not what is hidden, ignored, linked, generated or huge."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathspec

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
            yield from _walk(path, _ignored_above(path))
        else:
            path.stat()
            yield path


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
        lines = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
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
