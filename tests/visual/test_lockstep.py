"""Two runs side by side."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pxvm.core.container import save_image
from pxvm.core.fontcode import assemble
from pxvm.visual.commands import diff
from pxvm.visual.lockstep import first_divergence
from tests.differential.generator import generate

TEXT = """
.image 16x12
.matrix A@1 1x2 = 1 2
.matrix B@3 1x2 = 5 {}
A@1@1@5 {} H
"""


def test_names_the_first_instruction_whose_result_differs():
    a, b = (assemble(TEXT.format(value, "A@5@3@7")) for value in (6, 7))
    found = first_divergence(a, b)
    assert (found.step, found.region, found.at) == (1, "@7", (2, 7))
    assert found.pixels == ((10, 0, 0, 0), (11, 0, 0, 0))
    assert "step 1: A@5@3@7 writes @7 differently" in str(found)


def test_names_where_the_programs_part():
    a, b = (assemble(TEXT.format(6, code)) for code in ("A@5@3@7", ""))
    found = first_divergence(a, b)
    assert (found.step, found.instructions, found.at) == (1, ("A@5@3@7", ""), None)


@pytest.mark.parametrize("seed", range(5))
def test_a_program_does_not_differ_from_itself(seed):
    image = generate(seed)
    before = image.copy()
    assert first_divergence(image, image.copy(), 200) is None
    assert (image == before).all()


def test_a_region_that_has_moved_is_named_in_images_of_any_size():
    images = []
    for width, height in ((16, 12), (4, 9)):
        text = TEXT.replace("16x12", f"{width}x{height}").format(6, "")
        images.append(assemble(text))
    wide = ".image 4x9\n.matrix A@1 2x3 = 1 2 3 4 5 6\nA@1@1@5 H"
    narrow = ".image 5x7\n.matrix A@1 2x3 = 1 2 3 4 5 6\nA@1@1@5 H"
    found = first_divergence(*map(assemble, (wide, narrow)))
    assert (found.step, found.region, found.at) == (0, "@5", (0, 5))
    assert found.pixels == ((3, 0, 2, 0), (3, 0, 2, 0))
    assert first_divergence(*images, 9) is None, "equal results in images of two sizes"


def test_every_step_is_reported():
    told = []
    image = assemble(TEXT.format(6, "A@5@3@7"))
    assert first_divergence(image, image, 9, told.append) is None
    assert told == [1, 2]


def test_command(tmp_path):
    for name, value in (("a.pxi", 6), ("b.pxi", 7)):
        save_image(assemble(TEXT.format(value, "A@5@3@7")), tmp_path / name)
    arguments = [str(tmp_path / name) for name in ("a.pxi", "b.pxi")]
    found = CliRunner().invoke(diff, [*arguments, "--run", "9"])
    assert found.exit_code == 1 and "A@5@3@7 writes @7" in found.output
    same = CliRunner().invoke(diff, [arguments[0], arguments[0], "--run", "9", "--json"])
    assert (same.exit_code, same.output.strip()) == (0, "null")
