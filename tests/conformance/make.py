"""Write the golden files of dialect 0: small programs, and what they must become.

Run: ``python -m tests.conformance.make``. Each program goes to ``dialect0/NAME.pxi``; its result,
as the plain model computes it, goes to ``golden.json`` as the SHA-256 of its pixels. Entries of
other folders are left alone. An existing file whose pixels are right is not written again.

The digest of an image is the SHA-256 over ``b"WxH\\n"`` (width and height in decimal) and then
its RGBA bytes row by row.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.core import plain_model as model

HERE = Path(__file__).resolve().parent
FOLDER = "dialect0"
FILE_LIMIT = 2048


def digest(image: np.ndarray) -> str:
    """SHA-256 of an image uint8 (height, width, 4): over b"WxH\\n" and its RGBA bytes."""
    height, width = image.shape[:2]
    return hashlib.sha256(f"{width}x{height}\n".encode() + image.tobytes()).hexdigest()


@dataclass
class Case:
    """A program under construction, and how it is to be run."""

    width: int
    height: int
    max_steps: int = 1024
    dice: random.Random = field(default_factory=random.Random)
    image: model.Picture = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        self.image = model.picture(self.width, self.height)

    def code(self, *instructions: tuple[str | int, ...]) -> None:
        """Append instructions: a letter or an old number, and operands."""
        for letter, *operands in instructions:
            code = ord(letter) if isinstance(letter, str) else letter
            padded = [*map(int, operands), *[0] * (3 - len(operands))]
            self.image[0][self.steps] = [code, *padded]
            self.steps += 1

    def plain(self, row: int, rows: int, columns: int, data: list[int] | None = None) -> None:
        """A plain matrix, of random bytes unless given."""
        model.put_header(self.image, row, rows, columns)
        model.put_elements(self.image, row, data or self.bytes(rows * columns), "plain")

    def quantised(
        self,
        row: int,
        rows: int,
        columns: int,
        data: list[int] | None = None,
        scale: float = 32.0,
        offset: float = -4.0,
    ) -> None:
        """A quantised matrix, of random bytes unless given."""
        model.put_header(self.image, row, rows, columns)
        model.put_scale(self.image, row, scale, offset)
        model.put_elements(self.image, row, data or self.bytes(rows * columns), "quantised")

    def vector(self, row: int, *data: int) -> None:
        """A headerless vector."""
        model.put_elements(self.image, row, list(data), "headerless")

    def noise(self, row: int, rows: int = 1) -> None:
        """Pixels of random bytes in all channels."""
        for y in range(row, row + rows):
            self.image[y] = [self.bytes(4) for _ in range(self.width)]

    def font(self, row: int, rows: int, *header: int) -> None:
        """A font of noise with the header (width, height, first code, count)."""
        self.noise(row, rows)
        self.image[row][0] = list(header)

    def bytes(self, count: int) -> list[int]:
        return list(self.dice.randbytes(count))


CASES: dict[str, tuple[Case, Callable[[Case], None]]] = {}


def case(width: int, height: int, max_steps: int = 1024) -> Callable[..., Callable[[Case], None]]:
    """Register a golden file: image size, step limit, and the function that fills it."""

    def register(fill: Callable[[Case], None]) -> Callable[[Case], None]:
        name = fill.__name__
        CASES[name] = (Case(width, height, max_steps, random.Random(name)), fill)
        return fill

    return register


# Dot


@case(16, 16)
def dot_numeric(c: Case) -> None:
    c.code((1, 1, 2, 3), (0,))
    c.vector(1, 1, 2, 3, 4)
    c.vector(2, 10, 20, 30, 40)


@case(16, 16)
def dot_ascii(c: Case) -> None:
    c.code(("D", 1, 2, 3), ("H",))
    c.vector(1, 1, 2, 3, 4)
    c.vector(2, 10, 20, 30, 40)


@case(16, 4)
def dot_with_headers(c: Case) -> None:
    c.code(("D", 1, 2, 3), ("H",))
    c.plain(1, 1, 9)
    c.plain(2, 1, 9)


@case(5, 9)
def dot_row_by_column_wrapping(c: Case) -> None:
    c.code(("D", 1, 4, 7), ("H",))
    c.plain(1, 1, 11)
    c.plain(4, 11, 1)


@case(5, 12)
def dot_of_matrices(c: Case) -> None:
    """All elements of both count, whatever their rows."""
    c.code(("D", 1, 4, 9), ("D", 4, 4, 10), ("D", 6, 1, 11))
    c.plain(1, 11, 1)
    c.plain(4, 11, 1)
    c.plain(6, 1, 11)


@case(16, 4)
def dot_one_header_only(c: Case) -> None:
    c.code((1, 1, 2, 3), (0,))
    c.plain(1, 1, 7)
    c.vector(2, *c.bytes(9))


@case(255, 4)
def dot_modulo_65536(c: Case) -> None:
    c.code((1, 1, 2, 3), (0,))
    c.vector(1, *[255] * 255)
    c.vector(2, *[254, 255, 253] * 85)


@case(8, 4)
def dot_of_nothing(c: Case) -> None:
    c.code((1, 1, 2, 3), (0,))
    c.noise(3)


@case(12, 4)
def dot_zeros_inside(c: Case) -> None:
    """Opaque black and a lone alpha go on; the first pixel that is zero in both ends."""
    c.code((1, 1, 2, 3), (0,))
    c.vector(1, 3, 0, 0, 5, 0, 7)
    c.vector(2, 4, 0, 0, 6, 0, 8)
    c.image[1][1][3] = 255
    c.image[2][2][1] = 1


@case(4, 4)
def dot_to_the_edge(c: Case) -> None:
    c.code((1, 1, 2, 3), (0,))
    c.vector(1, 1, 2, 3, 4)
    c.vector(2, 5, 6, 7, 8)
    c.noise(3)


# Add


@case(16, 4)
def add_headerless(c: Case) -> None:
    c.code((2, 1, 2, 3), (0,))
    c.vector(1, *range(1, 12))
    c.vector(2, *c.bytes(10))


@case(7, 10)
def add_plain_clamps_and_wraps(c: Case) -> None:
    c.code(("A", 1, 4, 7), ("H",))
    c.plain(1, 3, 5)
    c.plain(4, 3, 5)


@case(16, 4)
def add_quantised(c: Case) -> None:
    c.code(("A", 1, 2, 3), ("H",))
    c.quantised(1, 2, 6)
    c.quantised(2, 2, 6, scale=51.0, offset=1.5)


@case(16, 4)
def add_plain_and_quantised(c: Case) -> None:
    c.code((2, 1, 2, 3), (0,))
    c.plain(1, 1, 9)
    c.quantised(2, 1, 9, scale=0.37, offset=-19.25)


@case(16, 4)
def add_placeholder_and_quantised(c: Case) -> None:
    c.code(("A", 1, 2, 3), ("H",))
    c.plain(1, 3, 3, [0] * 9)
    c.quantised(2, 3, 3)


@case(16, 4)
def add_two_placeholders_over_noise(c: Case) -> None:
    c.code(("A", 1, 2, 3), ("H",))
    c.plain(1, 1, 3, [0] * 3)
    c.plain(2, 1, 3, [0] * 3)
    c.noise(3)


@case(16, 3)
def add_plain_over_quantised_then_read(c: Case) -> None:
    c.code(("A", 1, 1, 2), ("A", 2, 2, 2), ("H",))
    c.plain(1, 1, 4, [1, 50, 100, 200])
    c.quantised(2, 1, 4)


@case(16, 3)
def add_constant_result(c: Case) -> None:
    c.code(("A", 1, 2, 1), ("H",))
    c.quantised(1, 1, 4, [0, 10, 20, 30], scale=10.0, offset=0.0)
    c.quantised(2, 1, 4, [30, 20, 10, 0], scale=10.0, offset=0.5)


@case(16, 3)
def add_in_place_many_times(c: Case) -> None:
    c.code(*[("A", 1, 2, 1)] * 15, ("H",))
    c.quantised(1, 1, 9)
    c.quantised(2, 1, 9, scale=300.0, offset=0.01)


# ReLU


@case(8, 2)
def relu_headerless(c: Case) -> None:
    c.code((3, 1), (0,))
    c.vector(1, 0, 5, 200)


@case(8, 3)
def relu_plain(c: Case) -> None:
    c.code(("R", 1, 9, 9), ("H", 9, 9, 9))
    c.plain(1, 2, 5)


@case(9, 4)
def relu_quantised(c: Case) -> None:
    c.code((3, 1), (0,))
    c.quantised(1, 3, 5)


@case(9, 2)
def relu_all_negative_becomes_constant(c: Case) -> None:
    c.code(("R", 1), ("H",))
    c.quantised(1, 1, 5, offset=-100.0)


@case(9, 2)
def relu_all_positive_is_requantised(c: Case) -> None:
    c.code(("R", 1), ("H",))
    c.quantised(1, 1, 5, [40, 50, 90, 200, 41], offset=0.25)


# MatMul


def _named_matmul(c: Case, code: str | int, halt: str | int) -> None:
    c.code((code, 1, 4, 8), (halt,))
    c.plain(1, 2, 3, [1, 2, 3, 4, 5, 6])
    c.plain(4, 3, 2, [7, 8, 9, 10, 11, 12])


@case(16, 16)
def matmul_numeric(c: Case) -> None:
    _named_matmul(c, 4, 0)


@case(16, 16)
def matmul_ascii(c: Case) -> None:
    _named_matmul(c, "M", "H")


@case(5, 14)
def matmul_plain_wraps_and_clamps(c: Case) -> None:
    c.code((4, 1, 5, 9), (0,))
    c.plain(1, 3, 5, [c.dice.randrange(12) for _ in range(15)])
    c.plain(5, 5, 3, [c.dice.randrange(12) for _ in range(15)])


@case(11, 16)
def matmul_quantised(c: Case) -> None:
    c.code(("M", 1, 6, 11), ("H",))
    c.quantised(1, 5, 7)
    c.quantised(6, 7, 5, scale=85.0, offset=1.0)


@case(11, 16)
def matmul_plain_by_quantised(c: Case) -> None:
    c.code((4, 1, 6, 11), (0,))
    c.plain(1, 5, 7)
    c.quantised(6, 7, 5, scale=0.1, offset=-1e6)


@case(11, 16)
def matmul_placeholder_by_quantised_is_constant(c: Case) -> None:
    c.code(("M", 1, 6, 11), ("H",))
    c.plain(1, 5, 7, [0] * 35)
    c.quantised(6, 7, 5)


@case(40, 36)
def matmul_large_k(c: Case) -> None:
    c.code(("M", 1, 17, 33), ("H",))
    c.quantised(1, 1, 540, scale=1e-3, offset=-12345.678)
    c.quantised(17, 540, 1, scale=1e3, offset=0.1)


@case(300, 12)
def matmul_sum_beyond_float32(c: Case) -> None:
    """400 x 255 x 255 lies beyond 2^24, so a float32 sum would round it."""
    c.code(("M", 1, 5, 10), ("H",))
    c.quantised(1, 2, 400, [255] * 799 + [254], scale=1.0, offset=0.0)
    c.quantised(5, 400, 2, [255, 253] * 400, scale=1.0, offset=0.0)


@case(9, 9)
def matmul_over_its_own_input(c: Case) -> None:
    c.code(("M", 1, 4, 1), ("M", 4, 1, 1), ("H",))
    c.quantised(1, 3, 3)
    c.quantised(4, 3, 3)


@case(4, 4)
def matmul_one_by_one(c: Case) -> None:
    c.code(("M", 1, 2, 3), ("H",))
    c.quantised(1, 1, 1, [200])
    c.quantised(2, 1, 1, [17])


@case(11, 8)
def matmul_extreme_scales(c: Case) -> None:
    c.code(("M", 1, 3, 5), ("R", 5), ("H",))
    c.quantised(1, 2, 4, scale=2.0**126, offset=-1e-37)
    c.quantised(3, 4, 2, scale=2.0**120, offset=1e-38)


@case(20, 4)
def rounding_halves(c: Case) -> None:
    """Results 1.5, 2.5, ... over a range of 255, so half-way between two bytes."""
    c.code(("A", 1, 2, 3), ("H",))
    c.quantised(1, 1, 8, [0, 255, 1, 2, 3, 4, 5, 6], scale=1.0, offset=0.0)
    c.quantised(2, 1, 8, [0, 0, 1, 1, 1, 1, 1, 1], scale=2.0, offset=0.0)


# Blit


@case(30, 19)
def blit_text(c: Case) -> None:
    c.code(("B", 1, 2, 13), ("H",))
    c.plain(1, 1, 5, list(b"HELLO"))
    c.font(2, 10, 4, 5, 69, 11)


@case(10, 25)
def blit_bands_and_lines(c: Case) -> None:
    """Three glyphs a line, seven glyphs in three bands, new lines at code 10 and at the edge."""
    c.code(("B", 1, 4, 13), ("H",))
    c.plain(1, 2, 7, [4, 3, 10, 6, 0, 5, 1, 2, 10, 10, 2, 0, 0, 10])
    c.font(4, 6, 3, 2, 0, 7)


@case(10, 8)
def blit_over_its_own_font(c: Case) -> None:
    c.code(("B", 1, 2, 2), ("B", 1, 4, 6), ("H",))
    c.plain(1, 1, 4, [66, 65, 66, 66])
    c.font(2, 2, 2, 2, 65, 4)
    c.font(4, 2, 2, 2, 65, 4)


@case(9, 8)
def blit_codes_of_a_result(c: Case) -> None:
    c.code(("A", 1, 2, 3), ("B", 3, 4, 6), ("H",))
    c.plain(1, 1, 3, [30, 31, 32])
    c.plain(2, 1, 3, [2, 2, 3])
    c.font(4, 2, 2, 2, 32, 4)


# Programs


@case(1, 1)
def one_pixel(c: Case) -> None:
    c.code((0, 1, 2, 3))


@case(3, 2)
def halt_hides_what_follows(c: Case) -> None:
    c.code(("H",), (200, 1, 2, 3))


@case(3, 4)
def no_halt(c: Case) -> None:
    c.code((2, 1, 2, 3), (2, 3, 2, 3), (1, 3, 1, 2))
    c.vector(1, 3, 4)
    c.vector(2, 5, 6)


@case(8, 3, max_steps=2)
def step_limit(c: Case) -> None:
    c.code(*[("A", 1, 2, 2)] * 5, ("H",))
    c.vector(1, 1, 2)
    c.vector(2, 1, 1)


@case(8, 3, max_steps=0)
def no_steps(c: Case) -> None:
    c.code(("A", 1, 2, 2), ("H",))
    c.vector(1, 1, 2)


@case(24, 32)
def network(c: Case) -> None:
    """Two layers with biases, 6 -> 12 -> 9."""
    c.code(("M", 1, 2, 22), ("A", 22, 7, 22), ("R", 22))
    c.code(("M", 22, 9, 25), ("A", 25, 20, 25), ("R", 25), ("H",))
    c.quantised(1, 1, 6)
    c.quantised(2, 6, 12, scale=120.0, offset=-1.0)
    c.quantised(7, 1, 12)
    c.quantised(9, 12, 9, scale=127.5, offset=-1.0)
    c.quantised(20, 1, 9, scale=0.5, offset=-200.0)


# Programs that are refused, before they run or at an instruction


@case(4, 3)
def refused_unknown_opcode(c: Case) -> None:
    c.code(("A", 1, 1, 2), ("Z", 1, 1, 1), ("H",))


@case(4, 3)
def refused_row(c: Case) -> None:
    c.code(("A", 1, 1, 2), ("A", 1, 3, 2), ("H",))
    c.vector(1, 1)


@case(8, 4)
def refused_shapes_at_1(c: Case) -> None:
    c.code(("A", 1, 1, 3), ("M", 1, 3, 2), ("A", 1, 1, 1), ("H",))
    c.plain(1, 2, 3)


@case(8, 3)
def refused_scale_at_0(c: Case) -> None:
    c.code(("R", 1), ("H",))
    c.quantised(1, 1, 3)
    c.image[1][1] = list(struct.pack("<I", 0x00000100))  # subnormal


@case(8, 3)
def refused_beyond_float32_at_3(c: Case) -> None:
    c.code(*[("A", 1, 1, 1)] * 5, ("H",))
    c.quantised(1, 1, 3, [1, 2, 3], scale=2.0**-20, offset=3e37)


@case(6, 4)
def refused_result_too_tall_at_0(c: Case) -> None:
    c.code(("M", 1, 2, 3), ("H",))
    c.plain(1, 3, 1, [1, 2, 3])
    c.plain(2, 1, 3, [1, 2, 3])


@case(8, 6)
def refused_missing_glyph_at_0(c: Case) -> None:
    c.code(("B", 1, 2, 4), ("H",))
    c.plain(1, 1, 3, [65, 66, 64])
    c.font(2, 2, 2, 2, 65, 3)


def _mixture(c: Case) -> None:
    """Random instructions over seven square matrices of both encodings."""
    for row in range(1, 29, 4):
        size = 3
        if c.dice.random() < 0.3:
            c.plain(row, size, size, [c.dice.randrange(9) for _ in range(9)])
        else:
            scale, offset = c.dice.uniform(0.5, 300), c.dice.uniform(-5, 5)
            c.quantised(row, size, size, scale=scale, offset=offset)
    for _ in range(10):
        letter: str | int = c.dice.choice(("A", 2, "M", 4, "R", 3))
        c.code((letter, *(c.dice.randrange(1, 29, 4) for _ in range(3))))
    c.code(("H",))


for _number in range(10):
    _name = f"mixture_{_number}"
    _width = 12 + _number % 3
    CASES[_name] = (Case(_width, 32, 1024, random.Random(_name)), _mixture)


def built(name: str) -> Case:
    """The case with its program filled in."""
    blank, fill = CASES[name]
    fresh = Case(blank.width, blank.height, blank.max_steps, random.Random(name))
    fill(fresh)
    return fresh


def expected(image: model.Picture, max_steps: int) -> dict[str, object]:
    """What the plain model makes of a picture, as golden.json records it.

    ``refused``: absent, "program" (before anything ran) or the index of the failing instruction;
    ``sha256``: the digest of the pixels afterwards, then as well.
    """
    entry: dict[str, object] = {"max_steps": max_steps}
    try:
        model.run(image, max_steps)
    except model.Refused as refused:
        entry["refused"] = "program" if refused.index is None else refused.index
    entry["sha256"] = digest(np.array(image, np.uint8))
    return entry


def main() -> None:
    """Write files that are missing or differ, and golden.json."""
    from pxvm.core.container import read_image, save_image

    golden_file = HERE / "golden.json"
    old = json.loads(golden_file.read_text()) if golden_file.exists() else {}
    golden = {key: value for key, value in old.items() if not key.startswith(f"{FOLDER}/")}
    (HERE / FOLDER).mkdir(exist_ok=True)
    for name in CASES:
        fresh = built(name)
        path = HERE / FOLDER / f"{name}.pxi"
        pixels = np.array(fresh.image, np.uint8)
        if not path.exists() or not np.array_equal(read_image(path), pixels):
            save_image(pixels, path)
            print(f"wrote {path.relative_to(HERE)}: {path.stat().st_size} bytes")
        golden[f"{FOLDER}/{name}.pxi"] = expected(fresh.image, fresh.max_steps)
        if path.stat().st_size > FILE_LIMIT:
            raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {FILE_LIMIT}")
    lines = [f"{json.dumps(key)}: {json.dumps(golden[key])}" for key in sorted(golden)]
    golden_file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(golden)} golden files")


if __name__ == "__main__":
    main()
