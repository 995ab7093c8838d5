"""The suite that every executor must pass: golden files, byte for byte.

``golden.json`` holds for each file: ``max_steps``, ``sha256`` of the pixels afterwards (over
``b"WxH\\n"`` and the RGBA bytes) and, where the program is refused, ``refused``: "program" when
it must not start, else the index of the instruction that fails, the ones before it having run.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from pxvm.core import executors
from pxvm.core.container import read_image
from pxvm.core.errors import ExecutionError, ProgramError
from pxvm.core.interpreter import execute_pxi, run_program
from tests.conformance.make import CASES, FILE_LIMIT, FOLDER, HERE, built, digest, expected

GOLDEN = json.loads((HERE / "golden.json").read_text())


@pytest.fixture(params=executors.installed())
def device(request: pytest.FixtureRequest) -> str:
    """Each installed executor; skipped, with its own reason, where it cannot run."""
    if reason := executors.load(request.param).available():
        pytest.skip(f"device {request.param!r}: {reason}")
    return request.param


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, device: str):
    golden = GOLDEN[name]
    image = read_image(HERE / name)
    refused = None
    try:
        result = run_program(image, golden["max_steps"], device=device)
        assert result is image
    except ProgramError:
        refused = "program"
    except ExecutionError as error:
        refused = int(str(error).split()[1])
    assert refused == golden.get("refused")
    assert digest(image) == golden["sha256"]


def test_a_file_is_the_same_by_its_path_and_stays_as_it_was(device: str):
    path = HERE / FOLDER / "network.pxi"
    before = path.read_bytes()
    assert digest(execute_pxi(path, device=device)) == GOLDEN[f"{FOLDER}/network.pxi"]["sha256"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", CASES)
def test_files_are_what_their_generator_writes(name: str):
    case, path = built(name), HERE / FOLDER / f"{name}.pxi"
    assert path.stat().st_size <= FILE_LIMIT
    assert np.array_equal(read_image(path), np.array(case.image, np.uint8))
    golden = GOLDEN[f"{FOLDER}/{name}.pxi"]
    assert golden == expected(case.image, case.max_steps)
    assert ("refused" in golden) == name.startswith("refused")


def test_every_file_has_its_line_and_every_line_its_file():
    files = {str(path.relative_to(HERE).as_posix()) for path in HERE.rglob("*.pxi")}
    assert files == GOLDEN.keys()


def test_the_digest_is_what_it_says():
    image = np.zeros((1, 2, 4), np.uint8)
    assert digest(image) == "88532c990d17fd08e9733fc0da897ec37ed5ff34c246db78749224f5bb9afb0b"
