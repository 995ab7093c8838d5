"""What the examples share: options, where files go, how results are shown, how wrong ones fail.

In a checkout pictures go to its ``demo/``, trained weights to ``pxvm/networks/``. An installed
package is not written to: there both go to ``demo/`` in the working directory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core.container import save_image
from pxvm.core.program import Image, load_program
from pxvm.visual.view import render_view

ROOT = Path(__file__).resolve().parents[2]
IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()
DEMO = (ROOT if IN_CHECKOUT else Path.cwd()) / "demo"
NETWORKS = ROOT / "pxvm" / "networks" if IN_CHECKOUT else DEMO


def command_line(about: str | None) -> argparse.ArgumentParser:
    """What reads an example's options: -h shows ``about``, its docstring; unknown ones are refused.

    The refusal is argparse's: its usage and one line on standard error, exit status 2.
    """
    return argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def shown(path: Path) -> str:
    """A path as the reader would type it from the folder that holds ``demo/``."""
    path = path.resolve()
    home = DEMO.parent.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def save_program(image: Image, path: Path) -> None:
    """Write a program to ``path`` and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)
    print(f"wrote {shown(path)}: a program of {image.shape[1]} x {image.shape[0]} pixels")


def tell_program(path: Path, image: Image) -> None:
    """Print the instructions of a program that is about to run."""
    print(f"running {shown(path)}:")
    for instruction in load_program(image).instructions:
        print(f"  {instruction!s:<10} {instruction.op.name}: {instruction.op.semantics}")


def save_result(image: Image, name: str) -> None:
    """Leave two pictures in ``demo/``: the resulting image itself, and a labelled view of it."""
    result, view = DEMO / f"{name}.result.png", DEMO / f"{name}.view.png"
    DEMO.mkdir(parents=True, exist_ok=True)
    save_image(image, result)
    render_view(image, name).save(view)
    print(f"wrote {shown(result)}, the result, and {shown(view)}, the result with labels")


def check(what: str, found: Any, expected: Any, tolerance: float = 0.0) -> None:
    """Print a result and compare it; exits with status 1 and a message when it is wrong.

    Args:
        tolerance: largest difference of an element that is still right.
    """
    values, wanted = np.asarray(found), np.asarray(expected)
    print(f"{what} = {values.round(3).tolist()}")
    if values.shape != wanted.shape or (abs(values - wanted) > tolerance).any():
        sys.exit(f"WRONG: {what} is {values.tolist()}; expected {wanted.tolist()}")
