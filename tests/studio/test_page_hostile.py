"""Foreign text in the page is text: of file names, tensors, records, models and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pxvm.core.container import save_image
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.learning import Draft, Network
from tests.integration.servers import chunk, misbehaving, serving
from tests.learning.networks import small
from tests.studio.conftest import watched
from tests.studio.page_views import open_files, show

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Each sets ``hit``, or asks somebody else, where it is more than text.
TEXTS = (
    "<script>hit=1</script>",
    "<img src=x onerror=hit=1>",
    "<svg onload=hit=1><a href=javascript:hit=1>x</a></svg>",
    '"><iframe srcdoc="<script>parent.hit=1</script>">',
    "<style>@import 'http://evil.example/a.css'; * { display: none }</style>",
    "<a href='javascript:hit=1' onfocus=hit=1 autofocus>x</a>",
    "<form action=http://evil.example><input name=x><button formaction=javascript:hit=1>x",
    "<base href=http://evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
    "[link](javascript:hit=1) ![image](http://evil.example/a.png) <http://evil.example>",
    "{@html '<b>x</b>'} ${hit=1} {{hit=1}} {hit=1}",
    "\u202egnp.exe\u2066 \x1b[31mred\x1b]0;title\x07 раура\u200bl.com",
)
WATCH = """() => {
    window.broken = [];
    addEventListener("securitypolicyviolation", (event) => broken.push(event.violatedDirective));
}"""
#: What a page of text alone never has.
LOOK = """() => ({
    hit: window.hit,
    broken: window.broken,
    made: [...document.querySelectorAll(
        "#app :is(script, iframe, object, embed, style, base, meta, link, form[action], "
        + "a[href]:not(.skip), img:not([src^='blob:']), [onerror], [onload], [onfocus], [srcdoc], "
        + "[style*=url])"
    )].map((each) => each.outerHTML.slice(0, 200)),
    base: document.baseURI === location.href.split("#")[0],
})"""
CALM = {"hit": None, "broken": [], "made": [], "base": True}


def look(page: Page) -> None:
    page.wait_for_timeout(100)
    found = page.evaluate(LOOK)
    assert found == CALM


def program(folder: Path) -> Path:
    b = NetworkBuilder()
    for number, text in enumerate(TEXTS[:4]):
        name = text.encode()[:20].decode() + str(number)
        b.tensor(name, DType.I32, (1, 4), Role.STATE, data=np.arange(4)[None])
    first = TEXTS[0][:20] + "0"
    b.emit("Add", first, first, first)
    path = folder / f"{TEXTS[1]}.pxi"
    save_image(b.build(), path)
    return path


def memory(path: Path) -> Path:
    with Network.open(path, draw=small) as network:
        network.append_many(
            Draft(text, f"{text}\n\n# {text}\n\n- {text}\n\n```{text}\n{text}\n```\n", source=text,
                  tags=(" ".join(text.replace("\x1b", "").replace("\x07", "").split()),),
                  model=text)
            for text in TEXTS
        )  # fmt: skip
    return path


def test_names_of_files_and_tensors_and_what_records_say(
    tab: Page, site: str, tmp_path: Path
) -> None:
    tab.goto(site)
    tab.evaluate(WATCH)
    path = program(tmp_path)
    open_files(tab, path)
    tab.locator("header .file", has_text=TEXTS[1]).wait_for()
    tab.click("text=Tensors")
    assert TEXTS[1][:20] in tab.inner_text("aside")
    tab.click(".tensor >> nth=1")
    look(tab)
    open_files(tab, memory(tmp_path / "<b>notes<b>.png"))
    for number, text in enumerate(TEXTS[:6]):
        tab.fill("input[type=search]", text)
        tab.keyboard.press("Enter")
        tab.locator("text=/\\d+ hits?/").first.wait_for()
        tab.locator("main li button").first.click()
        look(tab)
        if number == 1:
            assert text in tab.inner_text("main aside")
    (tmp_path / f"{TEXTS[0].replace('/', '')}.png").write_bytes(b"\x89PNG<b>")
    tab.set_input_files("#files", str(tmp_path / f"{TEXTS[0].replace('/', '')}.png"))
    tab.locator("[role=alert]", has_text="<script>hit=1").wait_for()
    look(tab)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """``pxvm studio`` with a memory and a model of hostile names and words."""
    folder = tmp_path_factory.mktemp("hostile")
    path = memory(folder / "<img src=x onerror=hit=1>.png")
    name = "<img src=x onerror=hit=1>"
    with misbehaving([name]) as model:
        model.fault = "script"
        pieces = [chunk(f"{text}\n\n") for text in (*TEXTS, "# a" + " " * 2000 + "b")]
        model.script = b"".join([*pieces, chunk(None, "stop"), b"data: [DONE]\n\n"])
        words = ["-n", path, program(folder), "--no-browser", "--model", name, "--backend"]
        with serving(*words, model.url, command="studio", cache=folder / "cache") as studio:
            yield SimpleNamespace(url=studio.url, program=program(folder))


def test_what_the_server_names_and_a_model_answers(
    browser: Browser, served: SimpleNamespace
) -> None:
    for page in watched(browser, served.url):
        page.goto(served.url)
        page.evaluate(WATCH)
        page.locator("header .file").nth(1).wait_for()
        page.locator("header .file", has_text="onerror").first.click()
        look(page)
        show(page, "Talk")
        page.fill("form textarea", TEXTS[0])
        page.keyboard.press("Enter")
        page.locator("article footer", has_text="Evidence").wait_for()
        said = page.inner_text("article .markdown")
        assert TEXTS[1] in said and "a b" in " ".join(said.split())
        look(page)
        page.click("article >> text=/Evidence: /")
        page.locator("aside li h3").first.wait_for()
        look(page)


def test_a_file_that_is_another_one_by_now_or_gone(
    browser: Browser, served: SimpleNamespace
) -> None:
    path = served.program
    for page in watched(browser, served.url):
        page.goto(served.url)
        page.locator("header .file", has_text=path.name).click()
        page.click("button:text-is('Run')")
        page.locator(".status", has_text="Halted").wait_for()
        save_image(np.full((2, 3, 4), 9, np.uint8), path)
        page.click("[aria-label='From the start']")
        page.locator("[role=alert]", has_text="no pxVM program").wait_for()
        path.unlink()
        page.click("[aria-label='From the start']")
        page.locator("[role=alert]", has_text="it was there when pxvm studio began").wait_for()
        page.click("button:text-is('Back')")
        page.locator(".status", has_text="Paused").wait_for()
        page.reload()
        page.locator("[role=alert]", has_text="it was there when").wait_for()
        page.locator("header .file", has_text="onerror").wait_for()
        break
