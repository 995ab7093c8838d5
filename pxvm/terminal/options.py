"""Options that several groups of commands take."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
larger_files = click.option(
    "--max-pixels", type=click.IntRange(1), help="Open files of up to so many pixels."
)
