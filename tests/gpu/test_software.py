"""SwiftShader, another software device, in its own process; and whether Dawn takes the shaders.

It is Chromium's, which Debian ships; ``tests.gpu.driver`` installs it in continuous integration.
Through Dawn it takes minutes to run programs since there are weights of four bits: ``make
gpu-check`` does that. Dawn reads WGSL more strictly than wgpu, though; that needs no device.
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


def said_by(library: str, *command: str, **variables: str) -> str:
    """What a command prints that needs a library."""
    package, extra = LIBRARIES[library]
    if importlib.util.find_spec(package) is None:
        pytest.skip(missing(package, extra))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_swiftshader_gives_the_same_bytes():
    if not os.environ.get("PXVM_FETCH"):
        pytest.skip(
            "SwiftShader is for continuous integration: it takes half a minute (PXVM_FETCH)"
        )
    if not SWIFTSHADER.exists():
        pytest.skip(f"SwiftShader is not here: no {SWIFTSHADER}")
    drivers = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), str(SWIFTSHADER))
    said = said_by("wgpu", "tests.gpu.check", "--device", "gpu:wgpu", *SHORT, **drivers)
    first, *_, last = said.splitlines()
    assert "SwiftShader" in first and LIBRARIES["wgpu"][0] in first
    assert last == "one PNG, one answer"


def test_dawn_takes_every_shader():
    assert said_by("dawn", "tests.gpu.shaders").startswith("Dawn takes")
