"""The page for everybody: the keyboard alone, screen readers, dark and light, narrow, still."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pxvm.core.container import save_image
from pxvm.core.fontcode import assemble
from tests.studio.conftest import BUILT, watched
from tests.studio.page_views import faults, open_files, show
from tests.studio.test_page import MATMUL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark, narrow, still": {
        "color_scheme": "dark",
        "viewport": {"width": 360, "height": 740},
        "reduced_motion": "reduce",
    },
}


@pytest.fixture(params=LOOKS)
def page(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Page]:
    for tab in watched(browser, site, **LOOKS[request.param]):
        tab.goto(site)
        yield tab


def test_no_view_has_a_fault(page: Page, tmp_path: Path) -> None:
    save_image(assemble(MATMUL), tmp_path / "matmul.pxi")
    page.locator("main h1").wait_for()
    assert not faults(page)
    open_files(page, tmp_path / "matmul.pxi")
    page.click("button:text-is('Step')")
    page.locator(".sha dd span").wait_for()
    assert not faults(page)
    page.click("text=Tensors")
    page.click(".tensor >> nth=0")
    page.click("text=Heat")
    page.locator(".values").wait_for()
    assert not faults(page)
    for view in ("Profile", "Compare", "Film"):
        show(page, view)
        page.locator(".content > *").first.wait_for()
        assert not faults(page)
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    assert not faults(page)
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]


def test_the_keyboard_is_enough(tab: Page, site: str, tmp_path: Path) -> None:
    tab.goto(site)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    for _ in range(9):
        tab.keyboard.press("Tab")
        if "A matrix product" in tab.evaluate("document.activeElement.textContent"):
            break
    tab.keyboard.press("Enter")
    tab.locator("[role=application]").wait_for()
    save_image(assemble(MATMUL), tmp_path / "second.pxi")
    open_files(tab, tmp_path / "second.pxi")
    tab.locator("button[aria-current]", has_text="second.pxi").wait_for()
    tab.keyboard.press("s")
    tab.locator(".status", has_text="Halted").wait_for()
    tab.locator(".sha dd span").wait_for()
    tab.keyboard.press("b")
    tab.locator(".status", has_text="Ready").wait_for()
    tab.locator(".sha dd span").wait_for()
    tab.keyboard.press("r")
    tab.locator(".status", has_text="Halted").wait_for()
    tab.keyboard.press("3")
    tab.locator("text=The first difference is at (0, 8)").wait_for()
    tab.keyboard.press("[")
    tab.locator("button[aria-current]", has_text="matmul_test.pxi").wait_for()
    tab.keyboard.press("?")
    tab.keyboard.press("Space")  # the first thing in the list of keys switches them off
    tab.keyboard.press("Escape")
    tab.keyboard.press("]")
    assert tab.locator("button[aria-current]", has_text="matmul_test.pxi").count() == 1


def test_the_theme_and_the_settings_stay(tab: Page, site: str) -> None:
    tab.goto(site)
    for theme in ("light", "dark"):
        tab.click("header [aria-label^=Theme]")
        assert tab.evaluate("document.documentElement.dataset.theme") == theme
    tab.reload()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


def test_nothing_of_a_page_is_read_as_markup() -> None:
    """Foreign text is only ever text, and the page's policy admits no other script."""
    source = BUILT.parents[2] / "studio/src/page"
    if source.exists():
        for path in source.rglob("*.svelte"):
            assert not re.search(r"\{@html|innerHTML|insertAdjacent", path.read_text()), path
    policy = re.search(r'content="(default-src[^"]*)"', (BUILT / "index.html").read_text())
    assert policy is not None
    assert "unsafe-inline" not in policy[1] and "'unsafe-eval'" not in policy[1]
    assert "http" not in policy[1]
