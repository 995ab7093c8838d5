"""The page with programs: told what a file is; run, stepped, changed, compared, saved."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from pxvm.core.container import decode_image, open_image, save_image
from pxvm.core.errors import PxvmError
from pxvm.core.fontcode import assemble
from pxvm.core.interpreter import execute_pxi, run_program
from pxvm.core.program import load_program
from tests.conformance.make import digest
from tests.studio.conftest import watched
from tests.studio.page_views import open_files, show

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CONFORMANCE = Path(__file__).resolve().parents[1] / "conformance"
MATMUL = """
.image 16x9
.matrix A@1 2x3 = 1 2 3 4 5 6
.matrix B@4 3x2 = 7 8 9 10 11 12
.result C@8
M@A@B@C
H
"""


@pytest.fixture
def matmul(tmp_path: Path) -> Path:
    path = tmp_path / "matmul.pxi"
    save_image(assemble(MATMUL), path)
    return path


def stop(page: Page, status: str) -> None:
    """Wait until the machine has stopped so, and its digest is there."""
    page.locator(".status", has_text=status).wait_for()
    page.locator(".sha dd span").wait_for()


def sha(page: Page) -> str:
    return page.inner_text(".sha dd span")


@pytest.fixture
def below(browser: Browser, subfolder: str) -> Iterator[Page]:
    for tab in watched(browser, subfolder):
        tab.goto(subfolder)
        yield tab


@pytest.mark.short
def test_the_start_page_offers_samples_which_run_in_a_subfolder(below: Page) -> None:
    tab = below
    assert tab.locator("main p.line").count() == 3
    samples = tab.locator("main li strong").all_inner_texts()
    assert len(samples) == 4
    for name in samples:
        tab.get_by_role("button", name=name).click()
        tab.locator("header li button[aria-current]").wait_for()
        tab.click(".brand")
    assert tab.locator("header .kind").all_inner_texts() == ["program"] * 3 + ["memory"]
    tab.click("header .file >> nth=1")
    tab.click("button:has-text('Run') >> nth=0")
    stop(tab, "Halted")
    folder = Path(__file__).resolve().parents[2] / "pxvm/studio/page/samples"
    assert sha(tab) == digest(execute_pxi(folder / "matmul_test.pxi"))


@pytest.mark.short
def test_stepping_there_and_back_and_saving(tab: Page, site: str, matmul: Path) -> None:
    tab.goto(site)
    open_files(tab, matmul)
    tab.click("button:text-is('Step')")
    stop(tab, "Halted")
    assert sha(tab) == digest(execute_pxi(matmul))
    assert tab.locator(".line.next").inner_text().split()[1:3] == ["H", "Halt"]
    tab.click("button:text-is('Back')")
    stop(tab, "Ready")
    assert sha(tab) == digest(open_image(matmul))
    tab.click("button:text-is('Run')")
    stop(tab, "Halted")
    with tab.expect_download() as download:
        tab.click("text=Save the picture")
    assert download.value.suggested_filename == "matmul.out.pxi"
    saved = decode_image(Path(download.value.path()).read_bytes())
    assert np.array_equal(saved, execute_pxi(matmul))


def test_the_word_at_the_cursor(tab: Page, site: str, matmul: Path) -> None:
    tab.goto(site)
    open_files(tab, matmul)
    tab.focus("[role=application]")
    for _ in range(5):
        tab.keyboard.press("ArrowDown")
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    line = tab.inner_text("p.line.mono")
    image = open_image(matmul)
    word = int(image[4, 2].view("<u4")[0])
    assert line.split("\n")[0] == "(2, 4)"
    assert f"0x{word:08X}" in line
    assert "row 0" in line and "column 1" in line and line.split()[-1] == str(image[4, 2, 0])
    tab.keyboard.press("Enter")
    tab.locator("aside section .values", has_text="12").wait_for()
    values = tab.inner_text("aside section .values").split()
    assert values == ["7", "8", "9", "10", "11", "12"]


def test_keys_that_come_while_a_step_is_made_are_steps_too(
    tab: Page, site: str, tmp_path: Path
) -> None:
    path = CONFORMANCE / "dialect1/loops_eight_deep.pxi"
    tab.goto(site)
    open_files(tab, path)
    tab.evaluate(
        """() => { for (const key of ["s", "s", "s", "s", "s", "b"])
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })) }"""
    )
    tab.locator("dl div", has_text="Steps").locator("dd", has_text="4").wait_for()
    stop(tab, "Paused")
    assert tab.locator("dl div", has_text="Steps").locator("dd").inner_text() == "4"


def test_a_run_that_ends_shows_its_result_and_can_be_run_again(
    tab: Page, site: str, matmul: Path
) -> None:
    tab.goto(site)
    open_files(tab, matmul)
    tab.click("text=Heat")
    tab.click("button:text-is('Run')")
    stop(tab, "Halted")
    assert tab.inner_text("aside section .values").split() == ["58", "64", "139", "154"]
    # The scale is of what stands there now, not of the zeros before.
    assert tab.inner_text(".legend .ends").split() == ["0", "154"]
    tab.click("[aria-label='Close the tensor']")
    tab.click("text=Run again")
    tab.locator("aside section .values", has_text="154").wait_for()
    stop(tab, "Halted")
    assert sha(tab) == digest(execute_pxi(matmul))
    assert tab.locator(".progress").count() == 0


def test_other_values_give_another_result(tab: Page, site: str, matmul: Path) -> None:
    tab.goto(site)
    open_files(tab, matmul)
    tab.click("text=Tensors")
    tab.click(".tensor >> nth=0")
    tab.click("button:has-text('Change')")
    tab.fill("aside textarea", "1 2 3")
    tab.click("text=Apply")
    assert "6 numbers are wanted, 3 stand here" in tab.inner_text("[role=alert]")
    tab.fill("aside textarea", "2 2 3 4 5 6")
    tab.click("text=Apply")
    tab.locator("aside section .values", has_text="2").wait_for()
    tab.click("button:text-is('Run')")
    stop(tab, "Halted")
    wanted = assemble(MATMUL.replace("= 1 2", "= 2 2"))
    run_program(wanted)
    assert sha(tab) == digest(wanted)


def test_breakpoints_run_to_watches_and_folded_loops(tab: Page, site: str) -> None:
    path = CONFORMANCE / "dialect1/loops_eight_deep.pxi"
    tab.goto(site)
    open_files(tab, path)
    names = [i.op.name for i in load_program(open_image(path)).instructions]
    lines = tab.locator(".list .line")
    assert [line.split()[2] for line in lines.all_inner_texts()] == names
    tab.click("[aria-label='Fold the loop at 1']")
    assert lines.count() == 4
    tab.click("[aria-label='Unfold the loop at 1']")
    tab.click("[aria-label='Set a breakpoint at 8']")
    for steps in (8, 10):  # the innermost loop runs twice
        tab.click("button:text-is('Run')")
        tab.locator("dl div", has_text="Steps").locator("dd", has_text=str(steps)).wait_for()
        assert "8A@1@1" in tab.inner_text("dl").replace("\n", " ")
    tab.click("[aria-label='Remove the breakpoint at 8']")
    tab.click("text=Tensors")
    tab.click("[aria-label='Stop when x changes']")
    tab.click("button:text-is('Run')")
    tab.locator("dl div", has_text="Steps").locator("dd", has_text="11").wait_for()
    tab.click("[aria-label='Stop when x changes']")
    tab.click("aside button:text-is('Program')")
    tab.locator("[aria-label='Run to here: 17']").click(force=True)
    stop(tab, "Paused")
    tab.click("button:text-is('Run')")
    stop(tab, "Halted")
    assert sha(tab) == digest(execute_pxi(path))


def test_compared_with_what_it_was_and_with_another(tab: Page, site: str, matmul: Path) -> None:
    other = matmul.with_name("other.pxi")
    save_image(assemble(MATMUL.replace("11 12", "11 13")), other)
    tab.goto(site)
    open_files(tab, matmul)
    open_files(tab, other)
    show(tab, "Compare")
    tab.locator("text=The pictures are the same").wait_for()
    tab.select_option("label:has-text('Compare with') select", label="matmul.pxi")
    tab.locator("text=The first difference is at (6, 4), in @4. 1 pixel of 144").wait_for()
    show(tab, "Picture")
    tab.click("button:text-is('Run')")
    stop(tab, "Halted")
    show(tab, "Compare")
    tab.locator("text=The first difference is at (0, 8), in @8.").wait_for()


@pytest.mark.parametrize(
    "name", ["b1_end_without_a_loop", "u2_operand_beyond_the_descriptors_in_the_last_round"]
)
def test_what_is_refused_is_shown_with_the_command_lines_sentence(
    tab: Page, site: str, name: str
) -> None:
    path = CONFORMANCE / f"dialect1/refused_{name}.pxi"
    with pytest.raises(PxvmError) as refused:
        load_program(open_image(path))
        run_program(open_image(path))
    tab.goto(site)
    open_files(tab, path)
    said = tab.inner_text(".refused")
    assert str(refused.value) in said
    assert tab.locator("button:text-is('Run')").count() == 0


def test_what_is_no_picture_is_said_and_a_plain_one_shown(
    tab: Page, site: str, tmp_path: Path
) -> None:
    tab.goto(site)
    text = tmp_path / "<b>text.txt"
    text.write_text("hello")
    tab.set_input_files("#files", str(text))
    tab.locator("[role=alert]", has_text="<b>text.txt").wait_for()
    plain = tmp_path / "plain.png"
    PIL.Image.new("RGB", (300, 200), (9, 200, 30)).save(plain)
    open_files(tab, plain)
    assert tab.inner_text("header .kind") == "picture"
    tab.locator("text=300 × 200").wait_for()
    assert "this picture is no pxVM program" in tab.inner_text(".refused")
    assert tab.locator(".refused.bad").count() == 0


def test_a_run_as_a_film_and_where_its_time_goes(tab: Page, site: str, matmul: Path) -> None:
    tab.goto(site)
    open_files(tab, matmul)
    show(tab, "Film")
    tab.click("button:has-text('Film it')")
    tab.locator(".screen img").wait_for()
    with tab.expect_download() as download:
        tab.click("text=Save the film")
    film = PIL.Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert (film.format, film.n_frames, film.size) == ("PNG", 2, (256, 144))
    # What has ended is filmed from the start.
    tab.click("form button:has-text('From the start')")
    tab.click("button:has-text('Film it')")
    tab.locator("text=The program has ended").wait_for()
    show(tab, "Picture")
    tab.click("[aria-label='From the start']")
    stop(tab, "Ready")
    show(tab, "Profile")
    tab.click("button:has-text('Measure')")
    tab.locator("text=1 step in").wait_for()
    assert tab.locator(".flame button").first.inner_text().strip() == "Program"
    assert sorted(tab.locator("tbody td:nth-child(2)").all_inner_texts()) == ["1"]


def test_closed_files_are_gone(tab: Page, site: str, matmul: Path) -> None:
    """Workers and canvases of closed files are given back; the page is as it was."""
    tab.goto(site)
    for _ in range(3):
        open_files(tab, matmul)
        tab.click("button:text-is('Run')")
        stop(tab, "Halted")
        tab.click("[aria-label='Close matmul.pxi']")
        tab.locator("main p.drop").wait_for()
    assert not tab.workers
    assert tab.locator("canvas").count() == 0


@pytest.mark.parametrize("wait", [0, 20])
def test_a_file_that_is_closed_while_its_machine_is_made_leaves_none(
    tab: Page, site: str, matmul: Path, wait: int
) -> None:
    tab.goto(site)
    for _ in range(3):
        open_files(tab, matmul)
        tab.evaluate(
            """async (wait) => {
                const named = (text) => [...document.querySelectorAll("main button")]
                    .find((each) => each.textContent === text);
                named("Run").click();
                if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
                document.querySelector("[aria-label='Close matmul.pxi']").click();
            }""",
            wait,
        )
        tab.locator("main p.drop").wait_for()
    tab.wait_for_timeout(1000)
    assert not tab.workers and not tab.locator("[role=alert]").count()
