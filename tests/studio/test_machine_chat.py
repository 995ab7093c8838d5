"""A model in the page says what it says in Python, and its whole picture is the same afterwards."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pxvm import Model
from pxvm.core.container import decode_image, save_image
from tests.conformance.make import digest
from tests.models.tiny_models import TEXTS, compiled, real, write_llama
from tests.studio.machine_pages import bind, chosen

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUESTION = [{"role": "user", "content": "hello world, what is this?"}]
WAKE = """async () => {
    await window.chat?.session.close();
    const opened = await rooms.machine.open("model.pxi", await dropped());
    const session = await rooms.machine.start(opened);
    window.chat = await rooms.machine.chat(session);
    await session.close();
    return { kind: opened.kind, context: chat.context };
}"""
ANSWER = """async ([messages, sampling]) => {
    const tokens = [];
    const told = (token) => tokens.push(token);
    const said = await chat.answer(messages, sampling, told, new AbortController().signal);
    return { ...said, ids: tokens.map((t) => t.id), pieces: tokens.map((t) => t.text),
             likely: tokens.map((t) => t.likely), sha256: await chat.session.sha256() };
}"""
#: The tokens that stand in the caches.
TAKEN = """async (count) => {
    const { tensors } = chat.session.program;
    const history = tensors.find((tensor) => tensor.name === "history");
    return [...(await chat.session.read(history.index))].slice(0, count);
}"""


@pytest.fixture(scope="module")
def machine(rooms: Page) -> Page:
    bind(rooms)
    return rooms


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("models") / "tiny.pxi")


def wake(page: Page, path: Path) -> dict[str, Any]:
    chosen(page, path)
    found: dict[str, Any] = page.evaluate(WAKE)
    return found


def answer(page: Page, messages: list[dict[str, str]], **sampling: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(ANSWER, [messages, sampling])
    return found


def image_of(model: Model) -> str:
    model.generator.session.sync()
    return digest(model.image)


def test_answers_and_pictures_are_those_of_python(machine: Page, tiny: Path) -> None:
    assert wake(machine, tiny) == {"kind": "model", "context": 256}
    with Model.open(tiny, device="reference") as model:
        text = model.chat(QUESTION, max_tokens=24)
        said = answer(machine, QUESTION, maxTokens=24)
        assert (said["text"], said["ids"]) == (text, model.generator.drawn())
        assert said["sha256"] == image_of(model)
        assert "".join(said["pieces"]) == text[: len("".join(said["pieces"]))]
        more = [*QUESTION, {"role": "assistant", "content": text}, *QUESTION]
        text = model.chat(more, max_tokens=16, temperature=0.9, top_p=0.8, seed=12345)
        said = answer(machine, more, maxTokens=16, temperature=0.9, topP=0.8, seed=12345)
        assert said["text"] == text
        assert said["sha256"] == image_of(model)
        assert model.generator.reused > 0
        logits = model.fields.real("logits")[0]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    best = said["likely"][-1]
    assert [each["id"] for each in best] == np.argsort(-logits, kind="stable")[:8].tolist()
    found = [each["probability"] for each in best]
    assert np.allclose(found, shares[[each["id"] for each in best]])


def test_texts_are_cut_as_python_cuts_them(machine: Page, tiny: Path) -> None:
    wake(machine, tiny)
    with Model.open(tiny, device="reference") as model:
        for text in TEXTS:
            messages = [{"role": "user", "content": text}]
            ids = model.tokenizer.encode(model.tokenizer.render(messages), special=False)
            answer(machine, messages, maxTokens=1)
            assert machine.evaluate(TAKEN, len(ids)) == ids, text


def test_a_conversation_goes_on_in_python(machine: Page, tiny: Path, tmp_path: Path) -> None:
    wake(machine, tiny)
    said = answer(machine, QUESTION, maxTokens=8)
    file = base64.b64decode(machine.evaluate("async () => textOf(await chat.session.save())"))
    save_image(decode_image(file), tmp_path / "half.pxi")
    with Model.resume(tmp_path / "half.pxi", device="reference") as model:
        assert model.generator.drawn() == said["ids"]
        model.proceed(max_tokens=24)
        ids = model.generator.drawn()
    with Model.open(tiny, device="reference") as model:
        model.chat(QUESTION, max_tokens=24)
        assert model.generator.drawn() == ids


def test_an_answer_is_stopped(machine: Page, tiny: Path) -> None:
    wake(machine, tiny)
    found = machine.evaluate(
        """async (messages) => {
            const ending = new AbortController();
            const told = () => ending.abort();
            return chat.answer(messages, { maxTokens: 200 }, told, ending.signal);
        }""",
        QUESTION,
    )
    assert found["tokens"] < 200
    assert answer(machine, QUESTION, maxTokens=2)["tokens"] == 2


def test_what_is_too_long_and_what_is_missing(machine: Page, tiny: Path) -> None:
    wake(machine, tiny)
    ask = """async (messages) => chat.answer(messages, {}, () => 0, new AbortController().signal)
        .catch((error) => error.message)"""
    said = machine.evaluate(ask, [{"role": "user", "content": "hello " * 400}])
    assert "the last message takes" in said and "context of 256" in said
    assert "at least one message" in machine.evaluate(ask, [])


def test_32_tokens_of_smollm2(machine: Page) -> None:
    path = real("smollm2")
    wake(machine, path)
    question = [{"role": "user", "content": "Why is the sky blue?"}]
    said = answer(machine, question, maxTokens=32)
    with Model.open(path, device=compiled(), context=2048) as model:
        assert said["text"] == model.chat(question, max_tokens=32)
        assert said["sha256"] == image_of(model)
