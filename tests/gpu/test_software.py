"""SwiftShader, another software device, in a process of its own.

Through Dawn it takes minutes since there are weights of four bits: ``make gpu-check`` does that. It
is Chromium's, which Debian ships; ``tests.gpu.driver`` installs it in continuous integration.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pxvm.core.installation import missing
from pxvm.gpu.devices import LIBRARIES
from tests.gpu.driver import SWIFTSHADER

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--short", "--seconds", "5", "--programs", "4", "--tokens", "2"]


def test_swiftshader_gives_the_same_bytes():
    package, extra = LIBRARIES["wgpu"]
    if importlib.util.find_spec(package) is None:
        pytest.skip(missing(package, extra))
    if not os.environ.get("PXVM_FETCH"):
        pytest.skip(
            "SwiftShader is for continuous integration: it takes half a minute (PXVM_FETCH)"
        )
    if not SWIFTSHADER.exists():
        pytest.skip(f"SwiftShader is not here: no {SWIFTSHADER}")
    drivers = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), str(SWIFTSHADER))
    command = [sys.executable, "-m", "tests.gpu.check", "--device", "gpu:wgpu", *SHORT]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | drivers, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert "SwiftShader" in first and package in first
    assert last == "one PNG, one answer"
