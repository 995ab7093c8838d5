"""The page's journeys with a memory: read, searched, taught, corrected, forgotten, taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pxvm.coach.coach import Coach
from pxvm.learning import Draft, Network
from tests.coach.making import X, task
from tests.integration.servers import PIECES, cache_with_an_embedder, misbehaving, serving
from tests.learning.networks import MOMENT, small
from tests.studio.conftest import watched
from tests.studio.page_views import faults, open_files, show

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


def written(path: Path) -> Path:
    """A memory of 20 records, of which one corrects another."""
    with Network.open(path, draw=small) as network:
        ids = network.append_many(
            Draft(f"question {n}", f"answer {n} of oak", tags=("odd",) if n % 2 else ("even",),
                  source=f"docs/{n}.md", event_time=MOMENT + timedelta(days=n))
            for n in range(19)
        )  # fmt: skip
        network.correct(ids[7], answer="answer 7 is of pine now")
    return path


def test_a_memory_is_read_and_searched_in_the_page(tab: Page, site: str, tmp_path: Path) -> None:
    path = written(tmp_path / "notes.png")
    tab.goto(site)
    open_files(tab, path)
    assert tab.inner_text("header .kind") == "memory"
    tab.locator("text=19 records that count, 21 stored").wait_for()
    tab.keyboard.press("/")
    tab.keyboard.type("pine")
    tab.keyboard.press("Enter")
    tab.locator("text=1 hit").wait_for()
    panel = tab.locator("main aside")
    assert "answer 7 is of pine now" in panel.inner_text()
    panel.locator("li button", has_text="corrected").click()
    panel.locator("text=answer 7 of oak").first.wait_for()
    tab.locator("text=Reading only").wait_for()
    tab.fill("input[type=search]", "oak")
    tab.click("[aria-label=Filters]")
    tab.fill("label:has-text('Tag') input", "odd")
    tab.fill("label:has-text('Since') input", str((MOMENT + timedelta(days=14)).date()))
    tab.click(".filters >> text=Search")
    tab.locator("text=2 hits").wait_for()
    # Without words: what fits, the newest first; the last day is within.
    tab.fill("input[type=search]", "")
    tab.fill("label:has-text('Tag') input", "")
    tab.fill("label:has-text('Until') input", str((MOMENT + timedelta(days=16)).date()))
    tab.click(".filters >> text=Search")
    tab.locator("text=3 hits").wait_for()
    assert "answer 16" in tab.locator("main .list li").first.inner_text()
    show(tab, "Growth")
    tab.locator("text=21 records").wait_for()
    assert not faults(tab)


def test_the_pages_of_a_network_are_one_memory(tab: Page, site: str, tmp_path: Path) -> None:
    path, other = tmp_path / "notes.v2.png", written(tmp_path / "other.png")
    with Network.open(path, draw=small, page_rows=400) as network:
        network.append_many(Draft(f"question {n}", f"answer {n}") for n in range(200))
        pages = network.pages
    assert len(pages) > 2
    tab.goto(site)
    tab.set_input_files("#files", [str(each) for each in (*reversed(pages), other)])
    tab.locator("header li", has_text="other.png").wait_for()
    assert tab.locator("header li").count() == 2
    tab.click("header li >> text=notes.v2.png")
    tab.locator("text=200 records that count, 201 stored").wait_for()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """``pxvm studio`` with a memory and a model."""
    folder = tmp_path_factory.mktemp("memory")
    cache_with_an_embedder(folder / "cache")
    path = written(folder / "notes.png")
    with Network.open(path, draw=small) as network:
        Coach(network).solve(task(("Add", X, X), words="twice"), 2000)
    words = ["-n", path, "--no-browser", "--model", "good", "--backend"]
    with misbehaving(["good"]) as model:
        found = serving(*words, model.url, command="studio", cache=folder / "cache")
        with found as studio:
            yield SimpleNamespace(url=studio.url, path=path)


@pytest.fixture
def page(browser: Browser, served: SimpleNamespace) -> Iterator[Page]:
    for tab in watched(browser, served.url):
        tab.goto(served.url)
        tab.locator("header .file", has_text="notes").wait_for()
        yield tab


def test_teaching_correcting_forgetting_each_with_an_undo(page: Page) -> None:
    page.click("text=Teach, Import")
    page.fill("label:has-text('Text') textarea", "The blue key hangs behind the door.")
    page.click("aside >> text=Store")
    page.locator("text=/Stored as record/").wait_for()
    page.click("[aria-label=Close]")
    page.locator("aside h2", has_text="Record").wait_for()
    page.click("aside >> text=Correct")
    page.fill("aside textarea", "The blue key hangs in the hall.")
    page.click("aside >> text=Preview")
    assert page.inner_text("del") == "The blue key hangs behind the door."
    assert not faults(page)
    page.click("aside .edit >> text=Correct")
    page.locator("aside .markdown", has_text="in the hall").wait_for()
    page.locator(".note", has_text="corrects it").get_by_text("Undo").click()
    page.locator("aside .markdown", has_text="behind the door").wait_for()
    page.click("aside >> text=Forget")
    page.click("text=/Forget 1 record/")
    page.locator(".note", has_text="Forgot 1 record").get_by_text("Undo").click()
    page.locator("aside .markdown", has_text="behind the door").wait_for()
    assert page.inner_text("aside .tag") == "counts"


def test_documents_are_learned_and_memories_merged_after_a_preview(
    page: Page, tmp_path: Path
) -> None:
    with Network.open(tmp_path / "other.png", draw=small) as network:
        network.append("Who owns the boat?", "Anna does.")
    (tmp_path / "boats.md").write_text("# Boats\n\nThe keel is of oak.\n")
    page.click("text=Teach, Import")
    page.set_input_files("aside input[type=file]", str(tmp_path / "boats.md"))
    page.locator("text=/boats.md: 1 passage stored/").wait_for()
    page.set_input_files("aside input[type=file]", str(tmp_path / "other.png"))
    page.locator("text=/1 are new|1 is new/").wait_for()
    page.locator("aside li", has_text="Who owns the boat?").wait_for()
    page.click("aside >> button:text-is('Merge')")
    page.locator("text=Took in 1 record").wait_for()


def test_a_memory_that_is_left_before_its_rows_arrive_asks_for_nothing_more(page: Page) -> None:
    late: list[Route] = []
    page.route("**/bits?*", lambda route: late.append(route))
    page.reload()
    page.locator("header .file", has_text="notes").click()
    page.locator("canvas").first.wait_for()
    while not late:
        page.wait_for_timeout(20)
    page.click(".brand")
    page.locator("canvas").wait_for(state="detached")
    for route in late:
        route.continue_()
    page.wait_for_timeout(300)  # an error that escapes fails the tab at its end


def test_documents_dropped_anywhere_on_a_memory_are_learned(page: Page) -> None:
    text = "# Boats\n\nThe mast is of elm.\n"
    show(page, "Growth")
    dropped = page.evaluate_handle(
        """(text) => { const files = new DataTransfer();
           files.items.add(new File([text], "elm.md")); return files; }""", text
    )  # fmt: skip
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})
    page.locator("text=/elm.md: 1 passage stored/").wait_for()
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})
    page.locator("text=/elm.md: 0 passages stored, 1 known/").wait_for()  # and once only


def test_an_answer_with_its_evidence_in_branches(page: Page) -> None:
    show(page, "Talk")
    page.fill("form textarea", "question 3?")
    page.keyboard.press("Enter")
    page.locator("article footer", has_text="Evidence").wait_for()
    said = page.locator("article .markdown")
    assert said.inner_text() == "".join(PIECES).strip()
    page.click("article >> text=/Evidence: /")
    page.locator("aside li h3", has_text="question 3").wait_for()
    assert not faults(page)
    page.click("[aria-label=Edit]")
    page.fill("article textarea", "question 5?")
    page.click("text=Ask this instead")
    page.locator("text=2 of 2").wait_for()
    page.locator("aside li h3", has_text="question 5").wait_for()
    page.click("[aria-label='The one before']")
    page.locator("p.said", has_text="question 3?").wait_for()
    page.click("text=Show in the picture >> nth=0")
    page.locator("aside h3", has_text="question 3").wait_for()


def test_what_the_coach_tried_opens_as_a_program(page: Page) -> None:
    show(page, "Experiments")
    page.locator("td", has_text="solved").wait_for()
    assert not faults(page)
    page.get_by_role("button", name="Open the program").click()
    page.locator("header .kind", has_text="program").wait_for()
    page.click("button:text-is('Run')")
    page.locator(".status", has_text="Halted").wait_for()
