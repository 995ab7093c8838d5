import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Pillow

from pxvm.core.errors import ExecutionError
from pxvm.core.interpreter import run_program
from pxvm.core.machine import Machine
from pxvm.visual import theme
from pxvm.visual.pixelmap import PixelMap
from pxvm.visual.pixels import Changes, Shadow, merge, no_changes, rectangles, words
from pxvm.visual.trace import trace
from tests.strategies import programs, to_array
from tests.visual.samples import SAMPLES, answering, layers, network, product


@pytest.mark.parametrize("name", SAMPLES)
def test_changed_counts_are_those_of_a_plain_comparison(name):
    rows = trace(SAMPLES[name](), frames=False).rows
    machine = Machine(SAMPLES[name]())
    for row in rows:
        before = machine.image.copy()
        step = machine.step()
        assert (row.step, row.text) == (machine.steps, str(step.instruction))
        assert row.changed == (machine.image != before).any(axis=2).sum()
        assert row.writes == tuple(r.name for r in step.writes)
    assert machine.halted


def test_rows_say_what_was_written():
    (row,) = trace(product(), frames=False).rows
    assert (row.name, row.reads, row.writes) == ("MatMul", ("@1", "@2"), ("@3",))
    assert (row.low, row.high, row.changed) == (58, 154, 5)


def test_instructions_in_a_loop_are_traced_as_often_as_they_run():
    found = trace(network(count=3), frames=False)
    assert found.stopped == "halted"
    assert [row.name for row in found.rows].count("Linear") == 3
    assert [row.step for row in found.rows] == list(range(1, 1 + len(found.rows)))
    json.dumps(found.to_dict())


def test_max_steps_is_honoured():
    found = trace(layers(), max_steps=2)
    assert len(found.rows) == 2 and found.stopped == "max_steps" and len(found.frames) == 3


def test_a_trace_ends_at_yield_as_a_run_does():
    ran, traced = answering(), answering()
    run_program(ran)
    found = trace(traced)
    assert [row.name for row in found.rows] == ["Loop", "Add", "Yield"]
    assert found.stopped == "yielded" and (traced == ran).all()
    again = trace(traced, frames=False)
    assert [row.name for row in again.rows] == ["EndLoop", "Add", "Yield"]


@pytest.mark.parametrize(("runs", "steps", "stopped"), [(2, 6, "yielded"), (9, 11, "halted")])
def test_more_runs_go_on_behind_a_yield(runs, steps, stopped):
    told = []
    found = trace(answering(), frames=False, runs=runs, report=told.append)
    assert (len(found.rows), found.stopped) == (steps, stopped)
    assert told == list(range(1, steps + 1)), "every step is reported"


def test_an_instruction_that_fails_ends_the_trace_with_its_reason():
    image = layers()
    image[0, 2, 2] = image[0, 2, 1]  # a product of shapes that do not fit
    found = trace(image)
    assert len(found.rows) == 2 and isinstance(found.error, ExecutionError)
    assert "instruction 2" in found.stopped and len(found.frames) == 3


def test_animated_png_has_a_frame_for_the_start_and_each_step(tmp_path):
    found = trace(layers())
    found.save(tmp_path / "run.png")
    with Pillow.open(tmp_path / "run.png") as picture:
        assert picture.n_frames == 1 + len(found.rows) == 5
        assert picture.size == found.frames[0].size
    assert len({frame.size for frame in found.frames}) == 1


def test_one_frame_is_an_ordinary_png(tmp_path):
    image = np.zeros((4, 4, 4), np.uint8)
    found = trace(image)
    found.save(tmp_path / "run.png")
    with Pillow.open(tmp_path / "run.png") as picture:
        assert picture.size == found.frames[0].size


def test_long_runs_keep_a_bounded_number_of_frames_and_the_last():
    found = trace(network(count=8, size=4, width=16), max_frames=7)
    assert len(found.rows) > 40 and 3 < len(found.frames) <= 8
    last = trace(network(count=8, size=4, width=16), max_frames=1000).frames[-1]
    foot = [np.asarray(frame)[-24 - 13 :] for frame in (found.frames[-1], last)]
    assert (foot[0] == foot[1]).all(), "both end with the same words"


@pytest.mark.parametrize("scale", [1, 3, 8, 16])
def test_highlighted_cells_are_exactly_the_changed_pixels(scale):
    image = layers()
    machine = Machine(image)
    shadow = Shadow(image, machine.program)
    before = image.copy()
    changes = shadow.update(machine.step())
    real = (image != before).any(axis=2)
    placed = PixelMap(image.shape[:2], scale, (4000, 4000))
    dots = placed.dots(placed.cells(image))
    marked = dots.copy()
    placed.mark(marked, changes.xs, changes.ys)
    touched = (dots != marked).any(axis=2).reshape(image.shape[0], scale, image.shape[1], scale)
    assert (touched.any(axis=(1, 3)) == real).all()
    assert (marked == theme.CHANGED).all(axis=2).any()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_changes_and_merged_changes_are_real(drawn):
    image = to_array(drawn)
    start = image.copy()
    found = trace(image.copy(), frames=False)
    machine = Machine(image)
    shadow = Shadow(image, machine.program)
    total = no_changes(image.shape[1])
    for row in found.rows:
        before = image.copy()
        changes = shadow.update(machine.step())
        assert len(changes) == row.changed == (image != before).any(axis=2).sum()
        total = merge(total, changes)
    real = np.flatnonzero((words(start) != words(image)).reshape(-1))
    assert (total.at == real).all()
    shadow.put_back(total)
    assert (image == start).all()


def test_only_what_a_step_names_is_compared_in_a_large_image():
    image = np.zeros((1100, 1000, 4), np.uint8)
    image[:4, :16] = product()
    machine = Machine(image)
    shadow = Shadow(image, machine.program)
    before = image.copy()
    changes = shadow.update(machine.step())
    assert len(changes) == (image != before).any(axis=2).sum() == 5
    image[1000, 3] = 1
    assert shadow.update().at.tolist() == [1000 * 1000 + 3]


def test_rectangles_cover_what_spans_cover():
    spans = ((1, 0, 9), (2, 3, 9), (3, 3, 9), (4, 3, 5), (5, 5, 5))
    assert rectangles(spans) == [(0, 1, 9, 2), (3, 2, 9, 4), (3, 4, 5, 5)]


def test_changes_are_counted_inside_regions():
    program = Machine(product()).program
    at = np.array([16, 16 * 3, 16 * 3 + 15])
    changes = Changes(at, at.astype(np.uint32), at.astype(np.uint32), 16)
    assert [changes.inside(r) for r in program.regions] == [0, 1, 0, 1]


def test_the_table_names_every_step():
    columns, rows = trace(network(count=2), frames=False).table()
    assert list(columns) == [
        "step", "instruction", "name", "reads", "writes", "changed", "min", "max"
    ]  # fmt: skip
    assert [row[2] for row in rows].count("Linear") == 2
    assert any("0.w" in row[3] for row in rows) and rows[0][1].startswith("[@0")


def test_small_values_and_their_changes_can_be_read_in_a_frame():
    frames = [np.asarray(frame) for frame in trace(product()).frames]
    other = product()
    other[1, 2, 0] += 1
    others = [np.asarray(frame) for frame in trace(other).frames]
    ys, xs = np.nonzero((frames[0] != others[0]).any(axis=2))
    contrast = np.ptp(frames[0][ys.min() : ys.max() + 1, xs.min() : xs.max() + 1], axis=(0, 1))
    assert contrast.max() > 120, "2 and 3 differ by more than a shade of black"


def test_a_patch_of_changes_is_framed_and_not_hidden():
    placed = PixelMap((300, 300))
    dots = np.zeros((placed.height, placed.width, 3), np.uint8)
    ys, xs = (part.reshape(-1) for part in np.mgrid[50:250, 50:250])
    placed.mark(dots, xs, ys)
    marked = (dots == theme.CHANGED).all(axis=2)
    assert marked.any() and marked.sum() < 0.1 * len(xs) * placed.zoom**2
