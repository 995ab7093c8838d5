"""Run every benchmark of this folder, or those named: ``python -m benchmarks [NAME ...]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Run ``main()`` of each module that has one; returns the exit status."""
    present = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))
    if unknown := [name for name in names if name not in present]:
        print(f"no benchmark called {unknown[0]!r}; there are {', '.join(present)}")
        return 2
    for name in names or present:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "main", None)
        if run is not None:
            print(f"== {name}", flush=True)
            run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
