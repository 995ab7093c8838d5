"""Write two programs: demo/font_code_test.pxi from text that its pixels spell, demo/hello.pxi.

Font-code is text and pixels at once: the text ``M@1@4@8`` is the pixel ('M', 1, 4, 8). The second
program draws HELLO into its own picture with a font that it carries as pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pxvm.core.builder import Builder
from pxvm.core.fontcode import assemble
from pxvm.examples.common import DEMO, command_line, save_program
from pxvm.visual.glyphs import FIRST, font

FILE = DEMO / "font_code_test.pxi"
HELLO_FILE = DEMO / "hello.pxi"
TEXT = """\
.image 16x16
.matrix @1 2x3 = 1 2 3 4 5 6
.matrix @4 3x2 = 7 8 9 10 11 12
M@1@4@8
H
"""
HELLO = "HELLO"


def hello() -> Builder:
    """The program that draws HELLO, by name."""
    glyphs = font("small")
    builder = Builder(64)
    builder.text("text", HELLO)
    builder.font("font", glyphs, FIRST)
    builder.canvas("canvas", HELLO, glyphs.shape[2], glyphs.shape[1])
    builder.emit("Blit", "text", "font", "canvas")
    return builder


def make(path: Path = FILE, hello_path: Path = HELLO_FILE) -> None:
    """Write both programs."""
    save_program(assemble(TEXT), path)
    save_program(hello().build(), hello_path)


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    make()
