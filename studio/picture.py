"""Take the picture of the studio that README shows: docs/images/studio.png.

``.venv/bin/python studio/picture.py`` opens the sample network in the built page, steps it and
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
STEPS = 5


def main() -> None:
    """Open, step, photograph."""
    with serving(FOLDER) as site, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="dark")
        tab.goto(site)
        tab.wait_for_selector("#files", state="attached")
        tab.set_input_files("#files", FOLDER / "samples/network.pxi")
        tab.wait_for_selector("main canvas")
        for _ in range(STEPS):
            tab.keyboard.press("s")
            tab.wait_for_timeout(500)
        tab.screenshot(path=TARGET)
        browser.close()


if __name__ == "__main__":
    main()
