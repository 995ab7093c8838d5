"""The page's journeys with a model that runs in it: an answer, its tokens, what they attend to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pxvm import Model, Network
from pxvm.learning import Draft
from tests.learning.networks import small
from tests.models.tiny_models import write_llama
from tests.studio.page_views import faults, open_files, show

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("models") / "tiny.pxi")


def test_an_answer_its_likely_tokens_and_its_attention(tab: Page, site: str, tiny: Path) -> None:
    question = "hello world, what is this?"
    with Model.open(tiny, device="reference") as model:
        wanted = model.chat([{"role": "user", "content": question}], max_tokens=12)
    tab.goto(site)
    open_files(tab, tiny)
    assert tab.inner_text("header .kind") == "language model"
    tab.click("main [aria-label=Settings]")
    tab.fill("label:has-text('Tokens at most') input", "12")
    tab.fill("main form textarea", question)
    tab.click("text=Send")
    tab.locator("article footer", has_text="tokens,").wait_for()
    tab.get_by_role("button", name="Tokens", exact=True).click()  # not the count of them
    pieces = tab.locator(".tokens button")
    pieces.first.wait_for()
    assert "".join(pieces.all_inner_texts()).strip() == wanted.strip()
    pieces.first.click()
    shares = tab.locator("aside .share").all_inner_texts()
    assert len(shares) > 1 and float(shares[0].rstrip("%")) == max(
        float(share.rstrip("%")) for share in shares
    )
    assert not faults(tab)
    show(tab, "Picture")
    tab.click("text=Attention >> nth=0")
    tab.click("text=Run to the next one")
    picture = tab.locator("aside svg[role=img]")
    picture.wait_for()
    drawn = [float(width) for width in picture.evaluate(
        "(svg) => [...svg.querySelectorAll('rect')].map((r) => r.getAttribute('width'))"
    )]  # fmt: skip
    assert sum(drawn) == pytest.approx(40, rel=0.05)  # shares of one, each 40 dots wide
    assert not faults(tab)


def test_passages_that_there_is_no_room_for_are_left_out(
    tab: Page, site: str, tmp_path: Path
) -> None:
    model = write_llama(tmp_path / "tiny.pxi", context=1024)  # 768 for what is asked
    with Network.open(tmp_path / "notes.png", draw=small) as network:
        network.append_many(Draft("", f"The keel, part {n}: {'oak ' * 120}") for n in range(3))
    tab.goto(site)
    open_files(tab, tmp_path / "notes.png")
    open_files(tab, model)
    tab.locator("label.pick select").last.select_option("notes.png")
    tab.click("main [aria-label=Settings]")
    tab.fill("label:has-text('Tokens at most') input", "2")
    tab.fill("main form textarea", "What is the keel of?")
    tab.click("text=Send")
    tab.locator("article footer", has_text="tokens,").wait_for()
    tab.locator("article footer", has_text="Evidence: 1").wait_for()
