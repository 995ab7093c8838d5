import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from pxvm.core.errors import PxvmError
from pxvm.core.machine import Machine
from pxvm.core.program import load_program
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block
from pxvm.visual.pixelmap import PixelMap, _spread
from pxvm.visual.pixels import rectangles
from pxvm.visual.view import map_dots, render_view
from tests.strategies import hostile_pictures, programs, to_array
from tests.visual.samples import SAMPLES, layers, product

LOOSE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # drawing is slow, not random


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_drawn_and_left_as_it_was(name):
    image = SAMPLES[name]()
    Machine(image).run()
    before = image.copy()
    picture = render_view(image)
    assert picture.mode == "RGB" and max(picture.size) <= 4096
    assert (image == before).all()


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("scale", [2, 5, 24])
def test_each_pixel_of_a_region_next_to_its_border_is_outlined(name, scale):
    """Against a plain rule: a pixel whose neighbour is outside the region shows its colour."""
    image = SAMPLES[name]()
    program = load_program(image)
    placed = PixelMap(image.shape[:2], scale, (4000, 4000))
    assert placed.zoom == scale
    colors = theme.region_colors(program)
    for region in program.regions:
        dots = np.zeros((placed.height, placed.width, 3), np.uint8)
        placed.outline(dots, placed.border(rectangles(region.spans)), (255, 255, 255))
        inside = np.zeros(image.shape[:2], bool)
        for y, start, stop in region.spans:
            inside[y, start:stop] = True
        padded = np.pad(inside, 1)
        cells = dots.any(axis=2).reshape(image.shape[0], scale, image.shape[1], scale)
        sides = [
            (padded[:-2, 1:-1], cells[:, 0].all(axis=2)),
            (padded[2:, 1:-1], cells[:, -1].all(axis=2)),
            (padded[1:-1, :-2], cells[..., 0].all(axis=1)),
            (padded[1:-1, 2:], cells[..., -1].all(axis=1)),
        ]
        for neighbour, drawn in sides:
            assert drawn[inside & ~neighbour].all()
        assert not cells.any(axis=(1, 3))[~inside].any(), "nothing outside the region"
        assert region.name in colors


def test_map_shows_the_pixels_between_the_outlines():
    image = layers()
    placed = PixelMap(image.shape[:2], 24)
    dots = map_dots(placed, placed.cells(image), load_program(image))
    middle = dots[12 + 24 : -12 : 24, 12:-12:24]
    assert (middle == image[1 : 1 + len(middle), : middle.shape[1], :3]).all()


def test_a_large_image_is_reduced_to_means():
    image = np.zeros((5000, 2304, 4), np.uint8)
    image[:16, :16, 0] = 160
    placed = PixelMap(image.shape[:2])
    assert placed.zoom == 1 and placed.width <= 1104 and placed.height <= 640
    assert placed.step == 8 and "8 x 8" in placed.caption
    cells = placed.cells(image)
    assert cells[0, 0, 0] == 160 and cells[2, 2, 0] == 0
    image[:8, :4] = 0
    placed.refresh(cells, image, [0])
    assert cells[0, 0, 0] == 80


def test_a_high_program_makes_no_giant_picture():
    image = np.zeros((3000, 2304, 4), np.uint8)
    image[0, 0] = 72, 0, 0, 0
    assert max(render_view(image).size) < 1300


def test_what_has_no_room_is_counted():
    small = render_view(layers(), max_size=700)
    assert max(small.size) <= 1100 and small.height < render_view(layers()).height


@LOOSE
@given(programs())
def test_whatever_runs_can_be_drawn(drawn):
    image = to_array(drawn)
    render_view(image)
    try:
        Machine(image).run()
    except PxvmError:
        return
    render_view(image)


@LOOSE
@given(hostile_pictures())
def test_hostile_images_are_drawn_or_refused(drawn):
    with contextlib.suppress(PxvmError):
        render_view(to_array(drawn))


def test_region_colours_are_distinct_and_readable():
    program = load_program(SAMPLES["network"]())
    colors = theme.region_colors(program)
    tensors = [colors[r.name] for r in program.regions if r.role == "tensor"]
    assert len(set(tensors)) == len(tensors)
    assert all(0.3 * r + 0.59 * g + 0.11 * b > 100 for r, g, b in tensors)


def test_heat_is_dark_at_zero_when_both_signs_occur():
    low, high = theme.limits(np.array([-1.0, 3.0]))
    assert (low, high) == (-3.0, 3.0)
    colors = theme.heat(np.array([-3.0, 0.0, 3.0, np.nan]), low, high)
    assert colors[1].sum() < colors[0].sum() and colors[1].sum() < colors[2].sum()
    assert tuple(colors[3]) == theme.PANEL


def test_labels_keep_their_distance_and_their_order():
    places = _spread([5, 6, 7, 90, 199], 14, 200)
    assert places == sorted(places)
    assert all(b - a >= 14 for a, b in itertools.pairwise(places))
    assert places[-1] <= 193 and abs(places[3] - 90) <= 1


def test_blocks_do_not_overlap_when_packed():
    rng = np.random.default_rng(3)
    seen = []

    def block(width, height):
        return Block(width, height, lambda page, x, y: seen.append((x, y, width, height)))

    packed = blocks.packed([block(*rng.integers(20, 200, 2).tolist()) for _ in range(30)], 500, 7)
    blocks.render(packed)
    assert len(seen) == 30
    for i, (x, y, w, h) in enumerate(seen):
        assert x >= 0 and x + w <= 500 and y + h <= packed.height
        for left, top, width, height in seen[i + 1 :]:
            assert x + w <= left or left + width <= x or y + h <= top or top + height <= y


def test_no_program_no_picture():
    with pytest.raises(PxvmError, match="unknown opcode"):
        render_view(np.full((4, 4, 4), 9, np.uint8))


def test_numbers_stand_in_the_cells_of_small_matrices():
    """The picture changes when a value does, and only in the panel and the map."""
    image = product()
    other = product()
    other[1, 2, 0] = 99
    one, two = (np.asarray(render_view(i)) for i in (image, other))
    assert one.shape == two.shape
    ys, _ = np.nonzero((one != two).any(axis=2))
    assert len(ys) and ys.min() > 150
