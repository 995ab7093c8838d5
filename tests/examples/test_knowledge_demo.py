"""The demo of the memory as a reader runs it, without an embedding model."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_a_novel_is_learned_once_asked_and_framed(tmp_path):
    leave = shutil.ignore_patterns("__pycache__", "networks", "cpu")
    shutil.copytree(ROOT / "pxvm", tmp_path / "pxvm", ignore=leave)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run():
        return subprocess.run(
            [sys.executable, "pxvm/examples/knowledge_demo.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    first, second = run(), run()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    stored = re.search(r"(\d+) passages stored without vectors, 0 known already", first.stdout)
    assert stored is not None and int(stored[1]) > 40
    assert f"0 passages stored without vectors, {stored[1]} known already" in second.stdout
    assert "of his having ten thousand a year" in first.stdout
    assert "She is tolerable, but not handsome enough to tempt me" in first.stdout
    for name in ("knowledge", "recall"):
        with Image.open(tmp_path / f"demo/{name}.png") as picture:
            picture.load()
            assert picture.width >= 1_024
