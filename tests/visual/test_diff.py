import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core.builder import Builder
from pxvm.core.fontcode import assemble
from pxvm.core.machine import Machine
from pxvm.core.program import load_program
from pxvm.visual import theme
from pxvm.visual.diff import diff
from tests.visual.samples import SAMPLES, hello, layers, network, product


@pytest.mark.parametrize("name", SAMPLES)
def test_an_image_does_not_differ_from_itself(name):
    image = SAMPLES[name]()
    found = diff(image, image.copy())
    assert found.same and found.count == 0 and str(found) == "the images are equal"
    assert found.first is None and found.regions == {}


def test_a_result_says_region_element_values_and_writer():
    image = product()
    Machine(image).run()
    other = image.copy()
    other[3, 4, 0] = 155
    found = diff(image, other)
    assert (found.first, found.region, found.element) == ((4, 3), "@3", (1, 1))
    assert found.values == (154, 155) and found.pixels == ((154, 0, 0, 0), (155, 0, 0, 0))
    assert found.written_by == ("0 (M@1@2@3, MatMul)",)
    assert found.regions == {"@3": 1} and found.count == 1
    assert "element [1, 1]: 154 and 155" in str(found)


def test_an_instruction_is_named():
    image, other = product(), product()
    other[0, 0, 3] = 2
    found = diff(image, other)
    assert found.region == "code" and found.instruction == "0 (M@1@2@3, MatMul)"


def test_a_header_names_the_first_element_that_differs():
    image, other = layers(), layers()
    other[1, 2] = [0, 0, 128, 191]  # the offset as float32 -1
    found = diff(image, other)
    assert found.region == "@1" and found.element == (0, 0)
    assert found.values[0] != found.values[1]


TWO_WAYS = [
    ("1x2 = 1 2", "1x3 = 1 2 3", "1 x 2 plain", "1 x 3 plain", 2),
    ("2x2 = 1 2 3 4", "1x3 = 1 2 3", "2 x 2 plain", "1 x 3 plain", 2),
    ("1x3 = 1 2 3", "3x1 = 1 2 3", "1 x 3 plain", "3 x 1 plain", 1),
    ("1x1 = 1", "1x3 = 1 2 5", "one value plain", "1 x 3 plain", 3),
    ("1x9 = 1 2 3 4 5 6 7 8 9", "1x1 = 1", "1 x 9 plain", "one value plain", 9),
]


@pytest.mark.parametrize(("a", "b", "form", "other", "count"), TWO_WAYS)
def test_a_region_laid_out_in_two_ways_is_no_pair_of_values(a, b, form, other, count):
    """Neither a false value of the other image, nor a broadcast, nor a traceback."""
    images = [assemble(f".image 8x5\n.matrix @1 {text}\nR@1\nH\n") for text in (a, b)]
    for pair, forms in ((images, (form, other)), (images[::-1], (other, form))):
        found = diff(*pair)
        assert found.region == "@1" and found.forms == forms
        assert found.element is None and found.values is None
        assert found.regions == {"@1": count} and found.count == count
        assert f"region @1: {forms[0]} and {forms[1]}" in str(found)
        assert found.picture().height < 900


def test_a_region_that_one_image_lacks():
    image, other = product(), product()
    other[3] = 0
    other[2, 0] = 0  # no header: no shape for B, and none for the product
    found = diff(image, other)
    assert found.region == "@2" and found.forms == ("3 x 2 plain", "missing")
    assert found.values is None


def test_values_are_those_of_each_images_own_program():
    """Bytes that are plain in one image and quantised in the other."""
    images = []
    for kind in ("matrix", "quantised"):
        builder = Builder()
        getattr(builder, kind)("A", [[3, 2], [1, 200]])
        builder.emit("ReLU", "A")
        images.append(builder.build())
    found = diff(*images)
    assert found.region == "@1" and found.forms == ("2 x 2 plain", "2 x 2 quantised")
    own = [load_program(image).region("@1").values(image) for image in images]
    assert found.values == tuple(values[found.element] for values in own)
    assert 0 < abs(found.values[0] - found.values[1]) < 0.5


def test_four_weights_in_a_pixel():
    image = network()
    region = next(r for r in Machine(network()).program.regions if r.name == "1.w")
    y, x, _ = region.spans[0]
    other = image.copy()
    other[y, x + 1, 2] ^= 1
    found = diff(image, other)
    assert found.region == "1.w" and found.element == (0, 6)
    assert abs(found.values[0] - found.values[1]) == 1


def test_sizes_that_differ_are_no_equality():
    image = product()
    found = diff(image, np.concatenate([image, np.zeros((2, 16, 4), np.uint8)]))
    assert not found.same and found.count == 0 and "16 x 4 and 16 x 6" in str(found)
    found.picture()


def test_images_without_a_program_are_compared():
    image = np.full((5, 5, 4), 9, np.uint8)
    other = image.copy()
    other[2, 3, 3] = 1
    found = diff(image, other)
    assert found.first == (3, 2) and found.region is None and found.count == 1
    assert found.picture().width > 100


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_counts_and_first_are_those_of_a_plain_comparison(data):
    image = hello()
    other = image.copy()
    height, width = image.shape[:2]
    for _ in range(data.draw(st.integers(1, 5))):
        y = data.draw(st.integers(0, height - 1))
        other[y, data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, 3))] ^= 255
    found = diff(image, other)
    real = np.argwhere((image != other).any(axis=2))
    assert found.count == len(real) and found.same == (not len(real))
    if len(real):
        assert found.first == (real[0][1], real[0][0])
        assert sum(found.regions.values()) >= found.count
    json.dumps(found.to_dict())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_picture_shows_two_images_and_the_difference(name):
    image, other = SAMPLES[name](), SAMPLES[name]()
    Machine(other).run()
    picture = diff(image, other).picture()
    assert picture.height > 200 and max(picture.size) < 1200


@pytest.mark.parametrize("shape", [(4, 16), (16, 16), (300, 40), (40, 700), (2000, 2000)])
def test_a_small_difference_makes_no_giant_picture_and_is_seen_near(shape):
    image = np.zeros((*shape, 4), np.uint8)
    image[0, 0, 0] = 72
    other = image.copy()
    other[shape[0] // 2, shape[1] // 2, 0] = 3
    picture = np.asarray(diff(image, other).picture(("one.png", "two.png")))
    assert picture.shape[0] < 1100 and picture.shape[1] < 1200
    marked = (picture == theme.CHANGED).all(axis=2)
    assert marked.sum() > 2 * 4 * 28, "the pixel is framed at its largest in both"
