"""Extras and the cache folder: one table, one wording, one place on each system."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pxvm.core.errors import MissingPackageError, PxvmError
from pxvm.core.installation import EXTRAS, cache_folder, library, missing

ROOT = Path(__file__).resolve().parents[2]


def test_the_extras_are_those_of_the_project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = {}
    for extra in EXTRAS:
        (line,) = re.findall(rf"^{extra} = \[(.*)\]$", text, re.MULTILINE)
        found[extra] = tuple(re.findall(r'"([\w-]+)', line))
    assert found == EXTRAS
    listed = text.split("[project.optional-dependencies]\n")[1].split("\n\n")[0].splitlines()
    assert {line.split(" = ")[0] for line in listed} == {*EXTRAS, "bench", "dev"}


def test_no_room_has_a_wording_of_its_own():
    for path in (ROOT / "pxvm").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "installation.py":
            assert not re.search(r"pip install|pxvm\[", text), path


def test_a_missing_package_says_what_installs_it(monkeypatch):
    assert library("json", "models").loads("1") == 1
    for name in [*sys.modules, "tokenizers"]:
        if name.partition(".")[0] == "tokenizers":
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("tokenizers", "tokenizers.models"):
        with pytest.raises(MissingPackageError) as caught:
            library(name, "models")
        assert str(caught.value) == missing("tokenizers", "models")
        assert isinstance(caught.value, (PxvmError, ImportError))
    assert missing("tokenizers", "models") == (
        "tokenizers is not installed (extra models): pip install tokenizers jinja2 llguidance"
        " huggingface_hub"
    )


def test_a_package_that_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import a_part_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match="halfway cannot be loaded: No module named 'a_p"):
        library("halfway", "models")


@pytest.mark.parametrize(
    ("system", "variables", "folder"),
    [
        ("linux", {}, "home/.cache/pxvm"),
        ("darwin", {}, "home/Library/Caches/pxvm"),
        ("win32", {}, "home/AppData/Local/pxvm/Cache"),
        ("win32", {"LOCALAPPDATA": "{}/local"}, "local/pxvm/Cache"),
        ("linux", {"XDG_CACHE_HOME": "{}/other"}, "other/pxvm"),
        ("darwin", {"XDG_CACHE_HOME": "{}/other"}, "other/pxvm"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/pxvm"),
    ],
)
def test_the_cache_folder(system, variables, folder, tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setattr(sys, "platform", system)
    assert cache_folder() == tmp_path / folder


def test_models_and_kernels_are_kept_in_one_folder(tmp_path, monkeypatch):
    kept = pytest.importorskip("pxvm.cpu.kept", reason="needs the extra cpu")
    from pxvm.models import download

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache_folder().parent == cache_folder() == tmp_path / "pxvm"
    assert kept.folder().is_relative_to(cache_folder())
