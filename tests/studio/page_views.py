"""The page, for tests: opening files in it, and what axe-core finds wrong in what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).resolve().parents[2] / "studio/node_modules/axe-core/axe.min.js"
FAULTS = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html.slice(0, 200))]);
}"""


def open_files(page: Page, *paths: Path) -> None:
    """Choose files; they are open when this returns."""
    before = page.locator("header li").count()
    page.set_input_files("#files", [str(path) for path in paths])
    page.locator("header li").nth(before + len(paths) - 1).wait_for()
    page.locator(".progress").wait_for(state="detached")


def show(page: Page, view: str) -> None:
    """Go to a view of the file."""
    page.get_by_role("navigation", name="Views of this file").get_by_text(view).click()


def faults(page: Page) -> list[object]:
    """What axe-core finds wrong in the page as it is."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci in studio/")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[object] = page.evaluate(FAULTS)
    return found
