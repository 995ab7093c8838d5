"""Write the golden files of dialect 1: opcodes, control flow, places, and refused programs.

``python -m tests.conformance.make1``. One program for each opcode comes from the differential
generator with a fixed seed; once written these stay as they are, so that a later generator does
not change the suite. The others are laid out word by word in ``control1``, ``opcodes1``,
``refused1`` and ``refused_walk1``, and are written again when they differ.

The digests are the reference executor's, whose opcodes ``tests/core/test_ops.py`` holds against
unbounded integers; the rules are those of docs/VERIFIER.md.
"""

from __future__ import annotations

import json
from random import Random

import numpy as np

from pxvm.core import isa
from pxvm.core.container import read_image, save_image
from pxvm.core.errors import ProgramError
from pxvm.core.interpreter import run_program
from tests.conformance import control1, opcodes1, refused1, refused_walk1  # noqa: F401
from tests.conformance.cases1 import CASES
from tests.conformance.make import FILE_LIMIT, HERE, digest
from tests.core.page_verifier import second_opinion
from tests.differential.generator import generate_one

FOLDER = "dialect1"
NAMES = [op.name for op in isa.OPCODES if op.dialect == 1 and op.flow is isa.Flow.NEXT]


def expected(image: np.ndarray, max_steps: int | None = None) -> dict[str, object]:
    """What the reference executor makes of an image, as golden.json records it."""
    entry: dict[str, object] = {"max_steps": max_steps}
    result = image.copy()
    try:
        run_program(result, max_steps, device="reference")
    except ProgramError:
        entry |= {"refused": "program", "rule": second_opinion(image)}
    return entry | {"sha256": digest(result)}


def main() -> None:
    """Write missing files and every line of golden.json that is this dialect's."""
    golden_file = HERE / "golden.json"
    golden = json.loads(golden_file.read_text())
    golden = {key: value for key, value in golden.items() if not key.startswith(f"{FOLDER}/")}
    (HERE / FOLDER).mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        path = HERE / FOLDER / f"{name.lower()}.pxi"
        if not path.exists():
            save_image(generate_one(Random(number), name), path)
        golden[f"{FOLDER}/{path.name}"] = expected(read_image(path))
    for name, case in CASES.items():
        path, image = HERE / FOLDER / f"{name}.pxi", case.built()
        if not path.exists() or not np.array_equal(read_image(path), image):
            save_image(image, path)
            print(f"wrote {path.relative_to(HERE)}: {path.stat().st_size} bytes")
        golden[f"{FOLDER}/{path.name}"] = expected(image, case.max_steps)
        if path.stat().st_size > FILE_LIMIT:
            raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {FILE_LIMIT}")
    lines = [f"{json.dumps(key)}: {json.dumps(golden[key])}" for key in sorted(golden)]
    golden_file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(golden)} golden files")


if __name__ == "__main__":
    main()
