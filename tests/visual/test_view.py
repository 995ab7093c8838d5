import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from pxvm.core.errors import PxvmError
from pxvm.core.layout import NetworkBuilder
from pxvm.core.machine import Machine
from pxvm.core.program import load_program
from pxvm.core.tensor import DType, Role
from pxvm.visual import blocks, theme
from pxvm.visual.blocks import Block, Page
from pxvm.visual.glyphs import text_mask
from pxvm.visual.heatmap import single_value
from pxvm.visual.pixelmap import PixelMap, _spread
from pxvm.visual.pixels import rectangles
from pxvm.visual.view import MOST_CARDS, map_dots, render_view
from tests.strategies import hostile_pictures, programs, to_array
from tests.visual.samples import SAMPLES, layers, product


@contextlib.contextmanager
def written():
    """The texts that are painted, in order."""
    words = []
    paint = Page.text

    def text(self, x, y, value, *style, **more):
        words.append(value)
        paint(self, x, y, value, *style, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Page, "text", text)
        yield words


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
    dots = map_dots(placed, placed.cells(image), image, load_program(image))
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


def drawn_whole(image):
    """The picture of a program shows each of its instructions and leaves it as it was."""
    before = image.copy()
    with written() as words:
        picture = render_view(image, "a name")
    assert (image == before).all()
    assert picture.mode == "RGB" and max(picture.size) <= 4096 and words[0] == "a name"
    for instruction in load_program(image).instructions[:MOST_CARDS]:
        assert str(instruction) in words and instruction.op.name in words


@LOOSE
@given(programs())
def test_whatever_runs_can_be_drawn(drawn):
    image = to_array(drawn)
    drawn_whole(image)
    with contextlib.suppress(PxvmError):
        Machine(image).run()
    drawn_whole(image)


@LOOSE
@given(hostile_pictures())
def test_hostile_images_are_drawn_or_refused(drawn):
    image = to_array(drawn)
    try:
        load_program(image)
    except PxvmError as error:
        with pytest.raises(type(error)):
            render_view(image)
    else:
        drawn_whole(image)


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


def test_the_picture_is_titled_by_name_and_size():
    with written() as words:
        render_view(product(), "weather.pxi")
    assert words[:2] == ["weather.pxi", "16 x 4 pixels, dialect 0, 2 instructions, 4 regions"]
    with written() as words:
        render_view(product())
    assert words[:2] == ["16 x 4 pixels", "dialect 0, 2 instructions, 4 regions"]
    with written() as words:
        render_view(product(), "x" * 500)
    assert words[0].endswith("x..") and len(words[0]) < 80


def test_bytes_are_written_on_large_pixels_each_in_its_own_way():
    """Values of 0 to 255 look different, and not only by a shade."""
    placed = PixelMap((16, 16), 32, (512, 512))
    image = np.zeros((16, 16, 4), np.uint8)
    image[..., 0] = np.arange(256).reshape(16, 16)
    plain = placed.dots(placed.cells(image))
    dots = plain.copy()
    placed.write_bytes(dots, image, [(y, 0, 16) for y in range(16)])
    cells = (dots != plain).any(axis=2).reshape(16, 32, 16, 32).swapaxes(1, 2).reshape(256, -1)
    assert len({cell.tobytes() for cell in cells}) == 256
    contrast = abs(dots.astype(int) - plain).max(axis=2).reshape(16, 32, 16, 32).max(axis=(1, 3))
    assert contrast.reshape(-1)[1:].min() > 100 and contrast[0, 0] > 60


@pytest.mark.parametrize("pixel", [(3, 0, 2, 0), (0, 0, 170, 66), (255, 255, 255, 255)])
def test_all_four_bytes_are_written_where_there_is_more_than_red(pixel):
    placed = PixelMap((1, 1), 32, (32, 32))
    image = np.array([[pixel]], np.uint8)
    dots = placed.dots(placed.cells(image))
    plain = dots.copy()
    placed.write_bytes(dots, image, [(0, 0, 1)])
    inked = (dots != plain).any(axis=2)
    quarters = [inked[:16, :16], inked[:16, 16:], inked[16:, :16], inked[16:, 16:]]
    assert [bool(part.any()) for part in quarters] == [True] * 4
    one = [np.count_nonzero(text_mask(str(value), "small")) for value in pixel]
    assert inked.sum() == sum(one), "no number hides another"


@pytest.mark.parametrize("zoom", [1, 2, 32])
def test_only_data_is_numbered_and_only_when_large(zoom):
    image = SAMPLES["hello"]()
    placed = PixelMap(image.shape[:2], zoom, (4000, 4000))
    dots = placed.dots(placed.cells(image))
    plain = dots.copy()
    placed.write_bytes(dots, image, load_program(image).region("@1").spans)
    assert (dots != plain).any() == (zoom == 32)


def stacked(heights, width=600):
    """A program of dialect 1 whose weights lie below each other, each as high as asked for."""
    builder = NetworkBuilder(width)
    random = np.random.default_rng(0)
    builder.tensor("x", DType.ACT2, (1, 4 * width))
    builder.tensor("scale", DType.SCALE, (max(heights),), Role.CONSTANT)
    for n, height in enumerate(heights):
        data = random.integers(-127, 128, (height, 4 * width))
        builder.tensor(f"w{n}", DType.I8, data.shape, Role.CONSTANT, data=data, scale="scale")
        builder.tensor(f"y{n}", DType.I32, (1, height), frac=8)
        builder.emit("Linear", f"y{n}", "x", f"w{n}")
    return builder.build()


def test_thin_regions_are_not_hidden_by_outlines():
    image = stacked([1, 2, 5, 9, 100, 300])
    program = load_program(image)
    placed = PixelMap(image.shape[:2], 1)
    cells = placed.cells(image)
    dots = map_dots(placed, cells, image, program)
    hidden = (dots != cells).any(axis=2)
    for region in program.regions:
        inside = np.zeros(image.shape[:2], bool)
        for y, start, stop in region.spans:
            inside[y, start:stop] = True
        assert hidden[inside].mean() <= 1 / 8, region.name
    assert hidden.any(), "large ones are outlined"


def test_the_strip_beside_the_map_tells_every_region_of_whole_rows():
    image = stacked([1, 2, 5, 9, 100, 300])
    program = load_program(image)
    colors = theme.region_colors(program)
    spine = PixelMap(image.shape[:2], 1).spine(program)
    for region in program.regions:
        for y, start, stop in region.spans:
            if stop - start == image.shape[1]:
                assert tuple(spine[y]) == colors[region.name]
    reduced = PixelMap((4 * image.shape[0], image.shape[1]), None, (300, 200))
    assert reduced.step > 1 and len(reduced.spine(program)) == reduced.height


def test_single_values_are_gathered_in_one_card():
    builder = NetworkBuilder(64)
    for n in range(12):
        builder.scalar(f"s{n}", 100 + n)
    builder.tensor("same", DType.I32, (3, 4), Role.STATE, data=np.full((3, 4), 7))
    builder.tensor("many", DType.I32, (3, 4), Role.STATE, data=np.arange(12).reshape(3, 4))
    builder.emit("Copy", "same", "many")
    image = builder.build()
    program = load_program(image)
    assert single_value(image, program.region("s3")) == 103
    assert single_value(image, program.region("same")) == 7
    assert single_value(image, program.region("many")) is None
    with written() as words:
        render_view(image)
    start = words.index("one value each")
    card = words[start : start + 1 + 3 * 13]
    for n in range(12):
        assert card[card.index(f"s{n}") + 1] == str(100 + n)
    assert card[card.index("same") + 1 :][:2] == ["7", "3 x 4 I32 state"]
    assert words.count("one value each") == 1 and "many" not in card


def test_numbers_stand_in_the_cells_of_small_matrices():
    """The picture changes when a value does, and only in the panel and the map."""
    image = product()
    other = product()
    other[1, 2, 0] = 99
    one, two = (np.asarray(render_view(i)) for i in (image, other))
    assert one.shape == two.shape
    ys, _ = np.nonzero((one != two).any(axis=2))
    assert len(ys) and ys.min() > 150
