"""Write the golden files of dialect 1: for every opcode a small program that executes it.

``python -m tests.conformance.make1``. The programs come from the differential generator with a
fixed seed; once written they stay as they are, so that a later generator does not change the
suite. The digests are the reference executor's, whose opcodes ``tests/core/test_ops.py`` holds
against unbounded integers.
"""

from __future__ import annotations

import json
from random import Random

from pxvm.core import isa
from pxvm.core.container import read_image, save_image
from pxvm.core.interpreter import run_program
from tests.conformance.make import HERE, digest
from tests.differential.generator import generate_one

FOLDER = "dialect1"
NAMES = [op.name for op in isa.OPCODES if op.dialect == 1 and op.flow is isa.Flow.NEXT]


def main() -> None:
    """Write missing files and every line of golden.json that is this dialect's."""
    golden_file = HERE / "golden.json"
    golden = json.loads(golden_file.read_text())
    (HERE / FOLDER).mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        path = HERE / FOLDER / f"{name.lower()}.pxi"
        if not path.exists():
            save_image(generate_one(Random(number), name), path)
        image = read_image(path)
        entry = {"max_steps": None, "sha256": digest(run_program(image, device="reference"))}
        golden[f"{FOLDER}/{path.name}"] = entry
    lines = [f"{json.dumps(key)}: {json.dumps(golden[key])}" for key in sorted(golden)]
    golden_file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(golden)} golden files")


if __name__ == "__main__":
    main()
