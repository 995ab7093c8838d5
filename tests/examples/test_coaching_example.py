"""The demo's chapter of the coach: what was remembered solves what nothing else does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_the_harder_tasks_are_solved_with_what_was_learned():
    done = subprocess.run(
        [sys.executable, "pxvm/examples/coaching.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the harder ones solved: 10 with memory, 0 without" in done.stdout
    curve = np.asarray(Image.open(ROOT / "demo/coach.curve.png"))
    assert curve.shape == (760, 1200, 3)
