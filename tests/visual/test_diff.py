import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core.machine import Machine
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
    assert picture.height > 3 * 60 and max(picture.size) < 4096
