"""The reference executor: named examples first, then random programs against the plain model."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pxvm.core import reference
from pxvm.core.builder import Builder
from pxvm.core.errors import ExecutionError, ProgramError, PxvmError
from pxvm.core.interpreter import run_program
from pxvm.core.machine import Machine
from pxvm.core.matrix import Matrix, quantise, read_matrix, write_matrix
from pxvm.core.program import load_program
from tests.core import plain_model
from tests.strategies import OFFSETS, SCALES, hostile_pictures, programs, to_array

LETTERS = {"H": 72, "D": 68, "A": 65, "R": 82, "M": 77, "B": 66}
NUMBERS = {"H": 0, "D": 1, "A": 2, "R": 3, "M": 4}
ERAS = pytest.mark.parametrize("code", [NUMBERS, LETTERS], ids=["numeric", "ascii"])


def blank(width: int, height: int, *instructions: tuple[int, ...]) -> np.ndarray:
    """An empty image with the instructions on row 0."""
    image = np.zeros((height, width, 4), np.uint8)
    for x, instruction in enumerate(instructions):
        image[0, x, : len(instruction)] = instruction
    return image


def run(image: np.ndarray, max_steps: int | None = None) -> np.ndarray:
    return run_program(image, max_steps, device="reference")


# Named examples


@ERAS
def test_dot_of_headerless_vectors_is_300(code):
    image = blank(16, 16, (code["D"], 1, 2, 3), (code["H"],))
    image[1, :4, 0] = [1, 2, 3, 4]
    image[2, :4, 0] = [10, 20, 30, 40]
    assert run(image)[3, 0].tolist() == [44, 1, 0, 0]


@ERAS
def test_dot_skips_valid_headers(code):
    image = blank(16, 4, (code["D"], 1, 2, 3))
    write_matrix(image, 1, [[1, 2, 3, 4]])
    write_matrix(image, 2, [[10], [20], [30], [40]])
    assert run(image)[3, 0].tolist() == [44, 1, 0, 0]


@ERAS
def test_one_header_alone_is_no_header(code):
    image = blank(16, 4, (code["D"], 1, 2, 3))
    write_matrix(image, 1, [[1, 2]])
    image[2, :3, 0] = [10, 20, 30]
    # Header pixel (2, 0, 1, 0): its R takes part as element 0.
    assert run(image)[3, 0, 0] == 2 * 10 + 1 * 20 + 2 * 30


def test_dot_of_two_empty_rows_is_0():
    image = blank(4, 4, (1, 1, 2, 3))
    image[3, 0] = 9
    assert run(image)[3, 0].tolist() == [0, 0, 9, 9]


def test_headerless_scan_ends_where_all_channels_of_both_are_zero():
    image = blank(8, 4, (1, 1, 2, 3))
    image[1, :6, 0] = [1, 0, 0, 5, 0, 7]
    image[2, :6, 0] = [2, 0, 0, 5, 0, 7]
    image[1, 1, 3] = 255  # opaque black is not zero
    image[2, 2, 1] = 1
    assert run(image)[3, 0].tolist() == [2 + 25, 0, 0, 0]


def test_dot_is_modulo_65536():
    image = blank(16, 4, (68, 1, 2, 3))
    image[1:3, :3, 0] = 255
    assert 3 * 255 * 255 == 195075
    assert run(image)[3, 0, :2].tolist() == [195075 % 65536 % 256, 195075 % 65536 // 256]


@ERAS
def test_matmul_in_the_16_wide_layout(code):
    image = blank(16, 16, (code["M"], 1, 4, 8), (code["H"],))
    image[1, :7, 0] = [3, 1, 2, 3, 4, 5, 6]
    image[1, 0, 2] = 2
    image[4, :7, 0] = [2, 7, 8, 9, 10, 11, 12]
    image[4, 0, 2] = 3
    before = image.copy()
    run(image)
    assert image[8, :5].tolist() == [
        [2, 0, 2, 0],
        [58, 0, 0, 0],
        [64, 0, 0, 0],
        [139, 0, 0, 0],
        [154, 0, 0, 0],
    ]
    assert read_matrix(image, 8).values.tolist() == [[58, 64], [139, 154]]
    before[8] = image[8]
    assert np.array_equal(image, before), "only row 8 may change"


def test_scale_85_offset_1_means_1_2_3_4():
    image = blank(16, 2)
    image[1, 0] = [4, 0, 1, 0]
    image[1, 1] = list(struct.pack("<f", 85.0))
    image[1, 2] = list(struct.pack("<f", 1.0))
    image[1, 3:7, 0] = [0, 85, 170, 255]
    found = read_matrix(image, 1)
    assert (found.encoding, found.scale, found.offset) == ("quantised", 85.0, 1.0)
    assert found.values.tolist() == [[1, 2, 3, 4]]
    data, scale, offset = quantise([[1.0, 2.0, 3.0, 4.0]])
    assert (data.tolist(), scale, offset) == ([[0, 85, 170, 255]], 85.0, 1.0)


@ERAS
def test_quantised_matmul(code):
    b = Builder(16)
    b.quantised("A", [[1, 2], [3, 4]])
    b.quantised("B", [[1, 0], [0, 1]])
    b.result("C", 2, 2)
    b.emit("MatMul", "A", "B", "C")
    image = b.build()
    image[0, 0, 0] = code["M"]
    run(image)
    found = read_matrix(image, b.rows["C"])
    assert found.encoding == "quantised"
    assert found.values.tolist() == [[1, 2], [3, 4]]


@ERAS
def test_headerless_add_and_relu(code):
    image = blank(8, 4, (code["A"], 1, 2, 3), (code["R"], 3), (code["H"],))
    image[1, :3, 0] = [1, 2, 250]
    image[2, :3, 0] = [10, 20, 30]
    image[3, :5] = [[9, 8, 7, 6]] * 5
    run(image)
    expected = [[11, 8, 7, 6], [22, 8, 7, 6], [255, 8, 7, 6], [9, 8, 7, 6], [9, 8, 7, 6]]
    assert image[3, :5].tolist() == expected, "R only, clamped; ReLU leaves bytes as they are"


def test_plain_results_clamp():
    image = blank(8, 5, (65, 1, 2, 3), (77, 1, 2, 4))
    write_matrix(image, 1, [[200]])
    write_matrix(image, 2, [[100]])
    run(image)
    assert image[3, 1, 0] == image[4, 1, 0] == 255


def test_relu_of_quantised_values():
    image = blank(8, 2, (82, 1))
    write_matrix(image, 1, [[0, 51, 255]], encoding="quantised", scale=51.0, offset=-1.0)
    assert read_matrix(image, 1).values.tolist() == [[-1, 0, 4]]
    run(image)
    found = read_matrix(image, 1)
    assert (found.data.tolist(), found.scale, found.offset) == ([[0, 0, 255]], 63.75, 0.0)


def test_a_constant_result_has_scale_1():
    image = blank(8, 2, (82, 1))
    write_matrix(image, 1, [[0, 51]], encoding="quantised", scale=51.0, offset=-7.0)
    run(image)
    found = read_matrix(image, 1)
    assert (found.data.tolist(), found.scale, found.offset) == ([[0, 0]], 1.0, 0.0)


def test_a_placeholder_takes_the_encoding_of_the_other():
    image = blank(8, 5, (65, 1, 2, 3), (65, 1, 1, 4))
    write_matrix(image, 1, [[0, 0]])
    write_matrix(image, 2, [[0, 255]], encoding="quantised", scale=85.0, offset=1.0)
    run(image)
    assert read_matrix(image, 3).values.tolist() == [[1, 4]]
    assert read_matrix(image, 4).encoding == "placeholder"


def test_elements_wrap_at_the_right_edge():
    image = blank(4, 9, (65, 1, 1, 5))
    write_matrix(image, 1, [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert image[1:4, :, 0].tolist() == [[4, 1, 2, 3], [0, 4, 5, 6], [0, 7, 8, 0]]
    run(image)
    assert image[5:8, :, 0].tolist() == [[4, 2, 4, 6], [0, 8, 10, 12], [0, 14, 16, 0]]


def test_a_result_over_its_own_input():
    image = blank(8, 3, (77, 1, 2, 1))
    write_matrix(image, 1, [[1, 2], [3, 4]])
    write_matrix(image, 2, [[0, 1], [1, 0]])
    assert read_matrix(run(image), 1).values.tolist() == [[2, 1], [4, 3]]


def test_blit_breaks_lines_and_copies_all_channels():
    image = blank(5, 9, (66, 1, 3, 5))
    write_matrix(image, 1, [[65, 10, 66, 65, 66]])  # 2 glyphs of width 2 on a line of 5
    image[3:5] = np.arange(40).reshape(2, 5, 4)
    image[3, 0] = [2, 2, 65, 2]
    a, b = image[3:5, 1:3].copy(), image[3:5, 3:5].copy()
    canvas = np.zeros((6, 5, 4), np.uint8)
    for line, column, glyph in [(0, 0, a), (1, 0, b), (1, 1, a), (2, 0, b)]:
        canvas[2 * line : 2 * line + 2, 2 * column : 2 * column + 2] = glyph
    image = np.concatenate([image, np.zeros((2, 5, 4), np.uint8)])
    assert np.array_equal(run(image)[5:], canvas)


def test_a_program_without_halt_ends_with_the_row():
    image = blank(2, 4, (1, 1, 2, 3), (1, 1, 2, 3))
    image[1:3, 0, 0] = 3
    assert run(image)[3, 0, 0] == 9


# Steps


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 99])
def test_max_steps_is_honoured(limit):
    image = blank(8, 3, *[(65, 1, 2, 2)] * 3, (72,))
    image[1, 0, 0] = 1
    assert run(image, limit)[2, 0, 0] == min(limit, 3)


def test_at_most_1024_steps_unless_told_otherwise():
    image = blank(2000, 3, *[(65, 1, 2, 2)] * 2000)
    write_matrix(image, 1, [[1, 0]], encoding="quantised", scale=1.0, offset=0.0)
    write_matrix(image, 2, [[0, 0]], encoding="quantised", scale=1.0, offset=0.0)
    full = run(image.copy(), 2000)
    run(image)
    assert read_matrix(image, 2).values.round().tolist() == [[1024, 0]]
    assert read_matrix(full, 2).values.round().tolist() == [[2000, 0]]


def test_negative_max_steps_is_refused():
    with pytest.raises(ProgramError, match="at least 0; found -1"):
        run(blank(1, 1), -1)


# Errors


def broken(*instructions: tuple[int, ...]) -> np.ndarray:
    """A first instruction that works, then those given; the image is 16 x 9.

    Row 1: plain 2x3, row 2: plain 3x2, row 3: quantised 1x2, row 4: subnormal scale,
    row 5: too large for its place, row 6: empty, row 7: text, row 8: font of nothing.
    """
    image = blank(16, 9, (65, 1, 1, 1), *instructions)
    write_matrix(image, 1, [[1, 2, 3], [4, 5, 6]])
    write_matrix(image, 2, [[7, 8], [9, 10], [11, 12]])
    write_matrix(image, 3, [[0, 255]], encoding="quantised", scale=85.0, offset=1.0)
    write_matrix(image, 4, [[0, 255]], encoding="quantised", scale=1e-40, offset=1.0)
    image[5, 0] = [0, 1, 0, 1]
    write_matrix(image, 7, [[65, 66]])
    return image


BROKEN = {
    "no header": ((77, 1, 6, 6), "row 6 has no valid matrix header: found (0, 0, 0, 0)"),
    "header too large": ((77, 5, 2, 6), "row 5 has no valid matrix header"),
    "inner extents": ((77, 1, 1, 6), "found 2 x 3 at row 1 and 2 x 3 at row 1"),
    "add shapes": ((65, 1, 2, 6), "found 2 x 3 at row 1 and 3 x 2 at row 2"),
    "dot counts": ((68, 1, 7, 6), "found 2 x 3 at row 1 and 1 x 2 at row 7"),
    "dot quantised": ((68, 3, 3, 6), "row 3 is quantised"),
    "subnormal scale": ((82, 4), "row 4 has scale"),
    "text quantised": ((66, 3, 8, 6), "row 3 is quantised"),
    "no font": ((66, 7, 8, 6), "row 8 has no valid font header: found (0, 0, 0, 0)"),
    "result too tall": ((77, 2, 1, 8), None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_failing_instruction_is_named_and_changes_nothing(name):
    instruction, message = BROKEN[name]
    image = broken(instruction, (65, 7, 7, 7))
    if name == "result too tall":
        image = np.ascontiguousarray(image[:, :8])  # 9 elements behind 8 pixels need two rows
        message = "needs 2 rows of 8 pixels"
    after_first = image.copy()
    reference.execute(after_first, load_program(image).instructions[0])
    with pytest.raises(ExecutionError) as raised:
        run(image)
    assert str(raised.value).startswith("instruction 1 at x=1, y=0 (")
    assert message in str(raised.value)
    assert np.array_equal(image, after_first)


@pytest.mark.parametrize("scale", [1e-40, -1.0, float("inf"), float("nan"), -float("inf")])
@pytest.mark.parametrize("offset", [0.0, float("nan")])
def test_scales_that_are_none(scale, offset):
    image = blank(8, 2, (82, 1))
    write_matrix(image, 1, [[1, 2]], encoding="quantised", scale=scale, offset=offset)
    with pytest.raises(ExecutionError, match="expected a positive normal"):
        run(image)


def test_values_beyond_float32_are_an_error():
    image = blank(8, 3, (65, 1, 1, 2))
    write_matrix(image, 1, [[0, 1]], encoding="quantised", scale=1.0, offset=3e38)
    with pytest.raises(ExecutionError, match="do not fit into float32"):
        run(image)


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("row", [0, 4, 255])
def test_rows_outside_the_image_are_refused_before_anything_runs(at, row):
    bad = [77, 1, 2, 3]
    bad[at + 1] = row
    image = blank(8, 4, (65, 1, 1, 1), tuple(bad))
    write_matrix(image, 1, [[1]])
    before = image.copy()
    with pytest.raises(ProgramError, match=f"instruction 1 at x=1, y=0 .*row {row} .*1..3"):
        run(image)
    assert np.array_equal(image, before)


def test_an_unknown_opcode_is_refused_even_when_out_of_reach():
    image = blank(8, 2, (82, 1), (90, 1, 2, 3))
    with pytest.raises(ProgramError, match="instruction 1 at x=1, y=0: unknown opcode 90"):
        run(image, 1)


def test_what_follows_halt_is_not_read():
    assert run(blank(3, 2, (72, 99, 99, 99), (200, 1, 2, 3)))[0, 1, 0] == 200


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((2, 2, 3), np.uint8), r"\(2, 2, 3\)"),
        (np.zeros((2, 2), np.uint8), r"\(2, 2\)"),
        (np.zeros((0, 2, 4), np.uint8), r"\(0, 2, 4\)"),
        (np.zeros((2, 2, 4), np.float32), "float32"),
        ([[1]], "list"),
    ],
)
def test_arrays_that_are_no_image(image, found):
    with pytest.raises(ProgramError, match=found):
        run(image)


def test_a_read_only_image_is_refused():
    image = blank(2, 2)
    image.flags.writeable = False
    with pytest.raises(ProgramError, match="read-only"):
        run(image)


def test_nothing_outside_a_view_is_written():
    whole = np.full((12, 24, 4), 77, np.uint8)
    view = whole[2:10, 3:19]
    view[...] = blank(16, 8, (77, 1, 2, 7), (65, 1, 1, 4))
    write_matrix(view, 1, [[1, 2, 3]])
    write_matrix(view, 2, [[1], [2], [3]])
    run(view)
    assert view[7, 1, 0] == 14
    whole[2:10, 3:19] = 77
    assert (whole == 77).all()


# Regressions


def test_a_plain_result_over_a_quantised_one_reads_as_plain():
    """The scale's upper bytes used to stay, so that the result read as quantised."""
    image = blank(8, 4, (65, 1, 1, 2), (65, 2, 1, 3))
    write_matrix(image, 1, [[1, 2]])
    write_matrix(image, 2, [[0, 255]], encoding="quantised", scale=85.0, offset=1.0)
    run(image)
    assert read_matrix(image, 2).encoding == "plain"
    assert read_matrix(image, 3).values.tolist() == [[3, 6]]


def test_a_plain_result_over_an_opaque_background_reads_as_plain():
    image = blank(8, 3, (65, 1, 1, 2))
    write_matrix(image, 1, [[1, 2]])
    image[2, :, 3] = 255
    assert read_matrix(run(image), 2).values.tolist() == [[2, 4]]


def test_a_product_that_cannot_fit_is_refused_before_it_is_computed():
    """Column times row of 60,000 elements asked for 29 GB; now it is an error at once."""
    image = blank(300, 420, (77, 1, 210, 1))
    write_matrix(image, 1, np.ones((60_000, 1)))
    write_matrix(image, 210, np.ones((1, 60_000)))
    with pytest.raises(ExecutionError, match="60000 x 60000 result"):
        run(image)


def test_dot_of_a_row_and_a_column():
    """The table asks for n elements each, not for one shape."""
    image = blank(8, 4, (68, 1, 2, 3))
    write_matrix(image, 1, [[1, 2]])
    write_matrix(image, 2, [[3], [4]])
    assert run(image)[3, 0, 0] == 11


# Random programs against the plain model

MANY = settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def both(image: plain_model.Picture, max_steps: int = 1024) -> None:
    """Run on both; the same bytes, or the same refusal at the same instruction."""
    array = to_array(image)
    row_0 = array[0].copy()
    try:
        plain_model.run(image, max_steps)
        expected: tuple[str, int | None] = ("ran", None)
    except plain_model.Refused as refused:
        expected = ("refused", refused.index)
    try:
        run(array, max_steps)
        found: tuple[str, int | None] = ("ran", None)
    except ProgramError:
        found = ("refused", None)
    except ExecutionError as error:
        found = ("refused", int(str(error).split()[1]))
    assert found == expected
    assert array.tobytes() == plain_model.to_bytes(image)
    assert np.array_equal(array[0], row_0), "row 0 is never written"


@MANY
@given(programs(), st.sampled_from([1024, 1024, 1024, 1]))
def test_random_programs(image, max_steps):
    both(image, max_steps)


@MANY
@given(hostile_pictures())
@example([[[80, 88, 86, 49]]])
@example([[[0, 0, 0, 0]]])
@example([[[77, 1, 1, 1]], [[1, 0, 1, 0]]])
def test_hostile_programs(image):
    both(image)


@MANY
@given(programs() | hostile_pictures())
def test_stepping_is_running_and_regions_keep_their_word(image):
    stepped, ran = to_array(image), to_array(image)
    try:
        machine = Machine(stepped)
    except PxvmError:
        return
    try:
        machine.run()
    except ExecutionError as error:
        with pytest.raises(ExecutionError) as raised:
            run(ran)
        assert str(raised.value) == str(error)
    else:
        run(ran)
        assert machine.halted or machine.steps == 1024
    assert np.array_equal(stepped, ran)
    for region in machine.program.regions:
        assert region.values(stepped).shape == region.shape
        for y, start, stop in region.spans:
            assert 0 <= y < stepped.shape[0]
            assert 0 <= start <= stop <= stepped.shape[1]


@MANY
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4)),
    st.randoms(use_true_random=False),
    st.tuples(SCALES, OFFSETS, SCALES, OFFSETS),
)
def test_a_product_rounds_like_the_plain_model(extents, dice, numbers):
    """Before quantisation hides it: float64 results, equal to the last bit."""
    m, k, n = extents
    left_bytes, right_bytes = dice.randbytes(m * k), dice.randbytes(k * n)
    left = plain_model.Tensor(m, k, "quantised", list(left_bytes), *numbers[:2])
    right = plain_model.Tensor(k, n, "quantised", list(right_bytes), *numbers[2:])
    arrays = [
        Matrix(1, (t.rows, t.columns), t.kind, as_array(t), t.scale, t.offset)
        for t in (left, right)
    ]
    assert reference.product(*arrays).ravel().tolist() == plain_model.product(left, right)


def as_array(tensor: plain_model.Tensor) -> np.ndarray:
    return np.array(tensor.elements, np.uint8).reshape(tensor.rows, tensor.columns)


@MANY
@given(st.lists(st.floats(-3.4e38, 3.4e38) | st.floats(-8, 8), min_size=1, max_size=20))
@example([0.0, 5e-324])
@example([0.0, 255.0, 0.5, 1.5, 2.5, 3.5])  # halves round up
@example([0.0, -0.0])
@example([-1e-60])
@example([1.0, 1.0 + 2**-52])
@example([-3.4028234663852886e38, 3.4028234663852886e38])
def test_quantise_agrees_with_the_plain_model(values):
    image = plain_model.picture(len(values) + 3, 1)
    plain_model.write(image, 0, 1, len(values), values, "quantised")
    data, scale, offset = quantise([values])
    packed = list(struct.pack("<f", scale)), list(struct.pack("<f", offset))
    assert packed == (image[0][1], image[0][2])
    assert data.ravel().tolist() == [pixel[0] for pixel in image[0][3:]]


@pytest.mark.parametrize("view", [np.s_[:, :, ::-1], np.s_[:, ::2], np.s_[:, ::-1], np.s_[::-1]])
def test_a_view_whose_pixels_are_apart_is_refused(view):
    image = np.zeros((4, 8, 4), np.uint8)
    with pytest.raises(ProgramError, match="strides"):
        run_program(image[view])


def test_a_view_whose_rows_overlap_is_refused():
    image = np.lib.stride_tricks.as_strided(np.zeros(64, np.uint8), (4, 8, 4), (8, 4, 1))
    with pytest.raises(ProgramError, match="strides"):
        run_program(image)


def test_an_image_between_two_words_is_refused():
    memory = np.zeros(4 * 8 * 4 + 4, np.uint8)
    first = 1 + -memory.ctypes.data % 4
    image = memory[first : first + 4 * 8 * 4].reshape(4, 8, 4)
    with pytest.raises(ProgramError, match="an address that 4 divides"):
        run_program(image)
