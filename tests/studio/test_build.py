"""The committed page is what its source builds, and what its source takes from Python's tables."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from pxvm.core.container import read_image
from pxvm.core.interpreter import run_program
from pxvm.learning import Network
from pxvm.models.graph.fields import Fields
from pxvm.studio import generated
from pxvm.studio.built import FOLDER, page

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "studio"
MOST = 350_000  # bytes of script, compressed


def test_generated_files_are_what_the_tables_say():
    for path, text in generated.contents().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.relative_to(ROOT)} has drifted: python -m pxvm.studio.generated, make studio"
        )


@pytest.mark.journey
def test_the_committed_page_is_what_the_source_builds(tmp_path):
    """Where Node is; with the packages of package-lock.json, unless they are there."""
    if shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    here = (SOURCE / "node_modules").is_dir()
    copy = tmp_path / "studio"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules", "*.wasm"))
    if here:
        (copy / "node_modules").symlink_to(SOURCE / "node_modules")
    else:
        run(copy, "npm", "ci", "--no-audit", "--no-fund")
    run(copy, "npm", "run", "build", "--", "--outDir", str(tmp_path / "page"))
    built = {
        path.relative_to(tmp_path / "page").as_posix(): path.read_bytes()
        for path in (tmp_path / "page").rglob("*")
        if path.is_file()
    }
    committed = page()
    assert built.keys() == committed.keys(), "make studio builds it anew"
    assert [name for name in built if built[name] != committed[name]] == []


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_page_is_small_and_asks_for_nothing_elsewhere():
    files = page()
    scripts = [data for name, data in files.items() if name.endswith((".js", ".css", ".wasm"))]
    assert sum(len(zlib.compress(data, 9)) for data in scripts) <= MOST
    for address in re.findall(rb"""(?:src|href)=["']([^"']+)""", files["index.html"]):
        assert address.startswith(b"./"), address
        assert address[2:].decode() in files


def test_what_others_wrote_is_named_with_its_licence():
    """Every package whose code is in the page."""
    text = (FOLDER / "licenses.md").read_text(encoding="utf-8")
    named = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    assert all(name in text for name in [*named, "svelte"])


def test_the_samples_are_what_the_page_says_of_them(tmp_path):
    samples = SOURCE / "public" / "samples"
    results = {}
    for path in samples.glob("*.pxi"):
        results[path.name] = image = read_image(path)
        run_program(image, device="reference")
    assert results.keys() == {"dot_test.pxi", "matmul_test.pxi", "network.pxi"}
    digits = Fields(results["network.pxi"])["class"][:, 0].tolist()
    assert sum(found == wanted for wanted, found in enumerate(digits)) >= 9
    shutil.copy(samples / "knowledge.png", tmp_path)
    with Network.open(tmp_path / "knowledge.png", read_only=True) as network:
        assert network.verify().sound and len(network) > 10
    assert sum(path.stat().st_size for path in samples.iterdir()) < 300_000
