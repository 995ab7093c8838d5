"""The studio in a real Chromium: skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.studio.serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
#: The page that is tested: another build than the committed one where the variable names it.
BUILT = Path(os.environ.get("PXVM_STUDIO_PAGE", ROOT / "pxvm/studio/page"))

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: WebGPU played by the processor.
WEBGPU = (
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a browser ``make test`` runs the short journey alone; whoever names these tests all but
    those of minutes; continuous integration all."""
    if os.environ.get("PXVM_FETCH"):
        return
    named = any("studio" in argument for argument in config.args)
    for item in items:
        in_browser = "driver" in getattr(item, "fixturenames", ())
        if item.get_closest_marker("journey"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: set PXVM_FETCH=1, as in CI"))
        elif in_browser and not named and not item.get_closest_marker("short"):
            item.add_marker(pytest.mark.skip(reason="`pytest tests/studio` runs it, and CI"))


def chromium() -> str | None:
    """The browser that Debian, Ubuntu or Google's own package installs."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """Playwright, for one file of tests.

    Not for a whole run: it leaves its event loop running in the thread, and tests of other folders
    start their own.
    """
    reason = "Python's playwright is not installed"
    playwright: Any = pytest.importorskip("playwright.sync_api", reason=reason)
    with playwright.sync_playwright() as running:
        yield running


def launched(driver: Any, *more: str) -> Iterator[Browser]:
    """The machine's Chromium."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed")
    browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, *more])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def browser(driver: Any) -> Iterator[Browser]:
    """Chromium without WebGPU."""
    yield from launched(driver)


@pytest.fixture(scope="module")
def webgpu_browser(driver: Any) -> Iterator[Browser]:
    """Chromium with WebGPU, which the processor plays."""
    yield from launched(driver, *WEBGPU)


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The built page's address, served as plain files."""
    with serving(BUILT) as address:
        yield address


@pytest.fixture(scope="session")
def subfolder() -> Iterator[str]:
    """The same in a folder of a larger site."""
    with serving(BUILT, "/some/where") as address:
        yield address


def watched(browser: Browser, address: str, **settings: Any) -> Iterator[Page]:
    """A tab of its own; fails at its end where the page asked elsewhere or an error escaped it."""
    context = browser.new_context(**settings)
    page = context.new_page()
    origin = "/".join(address.split("/")[:3])
    elsewhere: list[str] = []
    errors: list[str] = []
    page.on(
        "request",
        lambda r: r.url.startswith((origin, "blob:", "data:")) or elsewhere.append(r.url),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    yield page
    context.close()
    assert not elsewhere, f"the page asked {elsewhere}"
    assert not errors, errors


@pytest.fixture
def tab(browser: Browser, site: str) -> Iterator[Page]:
    """A tab that has gone nowhere yet, watched as ``watched`` says."""
    yield from watched(browser, site)


@pytest.fixture
def webgpu_tab(webgpu_browser: Browser, site: str) -> Iterator[Page]:
    """The same with WebGPU."""
    yield from watched(webgpu_browser, site)


@pytest.fixture(scope="module")
def rooms(browser: Browser, site: str) -> Iterator[Page]:
    """A tab with the studio's rooms as ``rooms.machine``, ``rooms.gpu``, ``rooms.memory``."""
    for page in watched(browser, site):
        with_rooms(page, site)
        yield page


def with_rooms(page: Page, site: str) -> None:
    """Load the rooms without the page around them."""
    empty = "<!doctype html><link rel=icon href=data:,>"
    page.route(f"{site}empty", lambda r: r.fulfill(body=empty, content_type="text/html"))
    page.goto(f"{site}empty")
    page.evaluate("async () => { window.rooms = await import('./rooms.js') }")
