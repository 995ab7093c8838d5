"""Run the two font-code programs: text to pixels and back, and HELLO drawn by a program."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pxvm.core.container import read_image
from pxvm.core.fontcode import assemble, disassemble
from pxvm.core.interpreter import execute_pxi
from pxvm.core.matrix import read_matrix
from pxvm.examples.common import check, command_line, save_result, tell_program
from pxvm.examples.make_font_code_test import FILE, HELLO, HELLO_FILE, TEXT, hello, make
from pxvm.visual.glyphs import FIRST, font


def round_trip() -> None:
    """Text, pixels and text again; then the product that the text asks for."""
    image = read_image(FILE)
    print("the text:")
    print("  " + TEXT.strip().replace("\n", "\n  "))
    red, *operands = image[0, 0].tolist()
    print(f"its first pixel: ({chr(red)!r}, {', '.join(map(str, operands))})")
    text = disassemble(image)
    if "M@1@4@8" not in text.split():
        sys.exit(f"WRONG: the pixels spell\n{text}\nexpected M@1@4@8 among the lines")
    if text.split() != TEXT.split():
        sys.exit(f"WRONG: the pixels spell\n{text}\nexpected the text that they were made from")
    if not np.array_equal(assemble(text), image):
        sys.exit("WRONG: assembling what was disassembled gives other pixels")
    print("pixels -> text -> pixels: the same, byte for byte")
    tell_program(FILE, image)
    result = execute_pxi(FILE)
    check("the matrix at row 8", read_matrix(result, 8).data, [[58, 64], [139, 154]])
    save_result(result, "font_code_test")


def draw_hello() -> None:
    """Run the program that draws, print its canvas, check every pixel."""
    tell_program(HELLO_FILE, read_image(HELLO_FILE))
    result = execute_pxi(HELLO_FILE)
    builder = hello()
    builder.build()
    glyphs = font("small")
    height, width = glyphs.shape[1], glyphs.shape[2] * len(HELLO)
    row = builder.rows["canvas"]
    canvas = result[row : row + height, :width, 0]
    for line in canvas:
        print("  " + "".join("#" if value else "." for value in line.tolist()))
    expected = np.concatenate([glyphs[ord(letter) - FIRST] for letter in HELLO], axis=1)
    if not np.array_equal(canvas, 255 * expected):
        sys.exit(f"WRONG: the canvas at row {row} shows other pixels; expected {HELLO}")
    print(f"the program wrote {HELLO} into its own picture at row {row}")
    save_result(result, "hello")


def main() -> None:
    """Make the programs if they are missing, run both, check the results."""
    if not (FILE.exists() and HELLO_FILE.exists()):
        make()
    round_trip()
    draw_hello()


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
