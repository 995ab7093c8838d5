"""What ``import pxvm`` offers: the names, their types, and nothing that takes time to import."""

from __future__ import annotations

import ast
import importlib.resources
import subprocess
import sys
from pathlib import Path

import pytest

import pxvm

TEXT = Path(pxvm.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", pxvm.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(pxvm) and getattr(pxvm, name) is not None


def test_only_public_names_are_listed():
    assert dir(pxvm) == sorted(pxvm.__all__)
    with pytest.raises(AttributeError, match="module 'pxvm' has no attribute 'Networks'"):
        _ = pxvm.Networks
    with pytest.raises(ImportError, match="cannot import name 'Networks' from 'pxvm'"):
        from pxvm import Networks  # noqa: F401


def test_the_lazy_names_are_the_classes_themselves():
    from pxvm.core import interpreter
    from pxvm.learning import Network
    from pxvm.models.model import Model

    assert pxvm.Network is Network and pxvm.Model is Model
    assert pxvm.run_program is interpreter.run_program


def test_type_checkers_see_every_name():
    assert (importlib.resources.files("pxvm") / "py.typed").is_file()
    guarded = next(node for node in ast.parse(TEXT).body if isinstance(node, ast.If))
    assert ast.unparse(guarded.test) == "TYPE_CHECKING"
    seen = {a.name for n in guarded.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert {*seen, "__version__"} == set(pxvm.__all__)


def test_importing_the_package_imports_nothing_of_it():
    code = "import sys, pxvm; print(*(name for name in sys.modules if name.startswith('pxvm.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
