"""Arrows point downward: every import of the package against the floors in the architecture page.

The page's table is the rule; a room that it does not name, or an import that it does not allow,
fails here, and so does a circle. Imports inside functions, those for types alone and modules
imported by name count as well.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pxvm"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)
OUTSIDE = {"NumPy": "numpy", "Pillow": "PIL"}
MANNERS = ("PIL", "click", "rich", "textual", "prompt_toolkit", "numba", "wgpu", "wgpudawn")


@dataclass(frozen=True)
class Floor:
    """A row of the table: what one room may import."""

    number: int
    below: frozenset[int]  # floors
    outside: frozenset[str] | None  # packages that are not ours; None: any


def floors() -> dict[str, Floor]:
    """Room -> floor, from the table in docs/ARCHITECTURE.md."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|[^|]+\| ([^|]+) \|$", text, re.MULTILINE)
    numbers = {int(number) for number, _, _ in rows}
    found = {}
    for number, rooms, allowed in rows:
        named = {int(n) for n in re.findall(r"\d+", allowed)}
        if "everything" in allowed:
            named = {n for n in numbers if n < int(number)}
        outside = frozenset(OUTSIDE[word] for word in re.findall(r"[A-Z]\w+", allowed)) or None
        for room in re.findall(r"`pxvm/(\w+)(?:\.py|/)`", rooms):
            found[room] = Floor(int(number), frozenset(named), outside)
    return found


FLOORS = floors()


def room_of(module: str) -> str:
    """The room of a dotted module: "core" of "pxvm.core.isa", "" of "pxvm"."""
    return [*module.split("."), ""][1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(dotted: str) -> bool:
    path = ROOT / dotted.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import in a file, wherever it stands."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if module.split(".")[0] == "pxvm" and is_module(inner):
                    yield node.lineno, inner, ""
                else:
                    yield node.lineno, module, alias.name
        elif isinstance(node, ast.Constant) and isinstance(value := node.value, str):
            # A module's name in a string, for importlib.
            named = re.fullmatch(r"pxvm(\.\w+)+", value)
            if named and is_module(value):
                yield node.lineno, value, ""


def complaint(path: Path, module: str, name: str) -> str:
    """Why a file may not import this, or nothing."""
    here, there = room_of(module_of(path)), room_of(module)
    # The package itself names what users import: execute_pxi of core, Model of models, Network of
    # learning.
    floor = FLOORS.get(here) if here else Floor(7, frozenset({1, 4, 5}), frozenset())
    if floor is None:
        return f"room {here!r} is on no floor of docs/ARCHITECTURE.md"
    top = module.split(".")[0]
    if top != "pxvm":
        known = top in sys.stdlib_module_names or top == "__future__"
        if floor.outside is not None and not known and top not in floor.outside:
            return f"floor {floor.number} may import only {', '.join(sorted(floor.outside))}"
        return ""
    if there in ("", here):
        return ""
    if there not in FLOORS:
        return f"room {there!r} is on no floor of docs/ARCHITECTURE.md"
    if FLOORS[there].number not in floor.below:
        return f"floor {floor.number} may not import floor {FLOORS[there].number}"
    private = [part for part in [*module.split("."), name] if re.match(r"_[^_]", part)]
    return f"{private[0]} is private to {there}" if private else ""


def test_the_page_names_the_rooms_that_there_are():
    assert FLOORS.keys() == {room_of(module_of(path)) for path in FILES} - {"", "__init__"}
    assert FLOORS["core"] == Floor(1, frozenset(), frozenset({"numpy", "PIL"}))
    assert FLOORS["cpu"].below == {1}
    assert FLOORS["learning"].below == {1, 2, 4}
    assert FLOORS["integration"].below == {1, 2, 4, 5}
    assert FLOORS["coach"].below == {1, 2, 3, 4, 5, 6}
    assert FLOORS["studio"].below == {1, 2, 3, 4, 5, 6, 7}
    assert FLOORS["cli"].below == {1, 2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_arrow_runs_up(path: Path):
    wrong = []
    for line, module, name in imports(path):
        if why := complaint(path, module, name):
            wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module} {name}: {why}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "where", "why"),
    [
        ("def f():\n    from pxvm.visual import glyphs", "core/a.py", "may not import floor 4"),
        ("from ..visual import glyphs", "core/a.py", "may not import floor 4"),
        ("import rich", "core/a.py", "may import only PIL, numpy"),
        ("from pxvm.terminal import echo", "cpu/a.py", "may not import floor 2"),
        ("MODULE = 'pxvm.visual'", "core/a.py", "may not import floor 4"),
        ("from pxvm import core, visual", "cpu/a.py", "may not import floor 4"),
        ("from pxvm.core.isa import _color", "visual/a.py", "_color is private to core"),
        ("from pxvm.visual import glyphs", "models/a.py", "may not import floor 4"),
        ("import json", "attic/a.py", "on no floor"),
    ],
)
def test_the_walk_sees_what_it_should(source, where, why, monkeypatch):
    path = PACKAGE / where
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: source)
    found = [complaint(path, module, name) for _, module, name in imports(path)]
    assert any(why in text for text in found), found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(module) for module in error.args[1]][::-1]
    return []


def test_no_imports_in_a_circle():
    graph = {module_of(path): {module for _, module, _ in imports(path)} for path in FILES}
    assert sum(map(len, graph.values())) > len(graph)
    assert not (found := circle(graph)), " imports ".join(found)


def inner_rooms(large: str) -> list[str]:
    """The rooms inside a large one, from the top of its table in docs/ARCHITECTURE.md down."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split(f"## {large}, room by room")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)/` \|", section, re.MULTILINE)


@pytest.mark.parametrize("large", ["models", "learning", "integration"])
def test_inner_rooms_import_only_what_stands_below_them(large: str):
    order = inner_rooms(large)
    folder = PACKAGE / large
    assert {p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != "_"} | {large} == {
        *order
    }

    def floor(module: str) -> int:
        parts = [*module.split("."), "", ""]
        return order.index(parts[2] if parts[2] in order else large)

    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if path.is_relative_to(folder)
        for line, module, _ in imports(path)
        if module.startswith(f"pxvm.{large}.") and module != f"pxvm.{large}.errors"
        if floor(module) < floor(module_of(path))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from pxvm.core import isa", "from pxvm.core import png"),
        ("import pxvm.core.isa", "def f():\n    from pxvm.core.png import read"),
        ("from .isa import OPCODES", "if TYPE_CHECKING:\n    from . import png"),
        ("NAME = 'pxvm.core.isa'", "import pxvm.core.png as p"),
    ],
)
def test_a_circle_is_seen(first, second, monkeypatch):
    sources = {PACKAGE / "core/png.py": first, PACKAGE / "core/isa.py": second}
    monkeypatch.setattr(Path, "read_text", lambda path, **_: sources[path])
    graph = {module_of(path): {module for _, module, _ in imports(path)} for path in sources}
    assert sorted(set(circle(graph))) == ["pxvm.core.isa", "pxvm.core.png"]
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def test_the_front_door_imports_nothing_that_takes_long():
    code = "import sys, pxvm.core.interpreter; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    assert not loaded & set(MANNERS)


def test_the_command_line_imports_numpy_only_when_it_computes():
    code = "import sys, pxvm.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {module.split(".")[0] for module in done.stdout.split()}
    assert not loaded & {"numpy", "PIL", "rich", "textual", "numba", "wgpu"}
