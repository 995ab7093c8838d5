"""A fresh Python environment in which nothing is installed, and a `pip` for it without a network.

What `pip install` would bring comes from the packages that are installed for the tests: the new
environment gets links to just those that were asked for and what they need. So a guide is followed
as on a new machine, and a package that it forgets is not there.

As a program it is that `pip`: ``python fresh.py ENVIRONMENT install [-r FILE] [-e .[EXTRA,...]]
[NAME ...]``, of which nothing else is understood.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def make_environment(folder: Path) -> dict[str, str]:
    """Make an environment that holds Python and `pip`; the variables of a shell that entered it."""
    venv.create(folder, with_pip=False, symlinks=True)
    for name in ("pip", "pip3"):
        _script(folder / "bin" / name, f'exec "{sys.executable}" "{__file__}" "{folder}" "$@"')
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PIP", "PXVM"))}  # fmt: skip
    # Where the tests' own pxvm stands, a forgotten installation would not be noticed.
    found = [part for part in os.environ["PATH"].split(os.pathsep)
             if part and not (Path(part) / "pxvm").exists()]  # fmt: skip
    path = os.pathsep.join([str(folder / "bin"), *found])
    return kept | {"PATH": path, "VIRTUAL_ENV": str(folder), "PYTHONNOUSERSITE": "1"}


def install(folder: Path, words: list[str]) -> None:
    """Do what ``pip install WORDS`` does; ValueError for what it would refuse."""
    wanted: list[Requirement] = []
    rest = iter(words)
    for word in rest:
        if word == "-r":
            lines = Path(next(rest)).read_text(encoding="utf-8").splitlines()
            wanted += [Requirement(line) for line in lines if line.strip() and line[0] != "#"]
        elif word == "-e":
            wanted += _editable(folder, next(rest))
        elif word.startswith("-"):
            raise ValueError(f"{word} is not understood here")
        else:
            wanted.append(Requirement(word))
    for found in _needed(wanted):
        _link(found, _site_packages(folder))


def _editable(folder: Path, target: str) -> list[Requirement]:
    """Put a project's folder on the path of an environment; what it needs."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([\w,-]+)\])?", target)
    if match is None:
        raise ValueError(f"{target}: expected a folder and extras, such as .[cpu]")
    tree = Path(match[1]).resolve()
    project: dict[str, Any] = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    site = _site_packages(folder)
    (site / f"_{project['name']}.pth").write_text(f"{tree}\n")
    about = site / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    for name, entry in project["scripts"].items():
        module, function = entry.split(":")
        _script(
            folder / "bin" / name,
            f"import sys\nfrom {module} import {function}\nsys.exit({function}())",
            f"{folder}/bin/python",
        )
    wanted = [Requirement(line) for line in project["dependencies"]]
    for extra in match[2].split(",") if match[2] else []:
        wanted += [Requirement(line) for line in project["optional-dependencies"][extra]]
    return wanted


def _needed(wanted: Iterable[Requirement]) -> Iterator[Distribution]:
    """The distributions that fulfil requirements, and theirs, each once."""
    waiting, seen = [(requirement, "") for requirement in wanted], set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            raise ValueError(f"no package {requirement.name}") from None
        if not requirement.specifier.contains(found.version, prereleases=True):
            raise ValueError(f"expected {requirement}; found {found.version}")
        for inner in ("", *sorted(requirement.extras)):
            if (key := (canonicalize_name(requirement.name), inner)) in seen:
                continue
            seen.add(key)
            waiting += [(Requirement(line), inner) for line in found.requires or []]
        yield found


def _link(found: Distribution, site: Path) -> None:
    tops = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
    for top in tops:
        if not (site / top).is_symlink():
            (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def _site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def _script(path: Path, text: str, program: str = "/bin/sh") -> None:
    path.write_text(f"#!{program}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def main() -> None:
    folder, command, *words = sys.argv[1:]
    try:
        if command != "install":
            raise ValueError(f"{command} is not understood here")
        install(Path(folder), words)
    except (ValueError, OSError, KeyError) as error:
        sys.exit(f"ERROR: {error}")


if __name__ == "__main__":
    main()
