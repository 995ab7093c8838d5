"""Take the picture of the studio that README shows: docs/images/studio.png.

``.venv/bin/python studio/picture.py`` opens the sample network in the built page, runs it and
photographs it; needs Chromium and Python's playwright.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import sync_playwright

from pxvm.studio.built import FOLDER
from tests.studio.conftest import FLAGS, chromium
from tests.studio.serving import serving

TARGET = Path(__file__).resolve().parents[1] / "docs/images/studio.png"


def main() -> None:
    """Open, run, photograph."""
    with serving(FOLDER) as site, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="dark")
        tab.goto(site)
        tab.wait_for_selector("#files", state="attached")
        tab.set_input_files("#files", FOLDER / "samples/network.pxi")
        tab.wait_for_selector("main canvas")
        tab.click("text=Heat")
        tab.keyboard.press("r")
        tab.locator(".status", has_text="Yielded").wait_for()
        tab.locator("aside section .values").wait_for()
        tab.locator(".sha dd span").wait_for()
        tab.wait_for_timeout(1500)  # what has changed glows no more
        tab.screenshot(path=TARGET)
        browser.close()


if __name__ == "__main__":
    main()
