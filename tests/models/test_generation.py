"""Answers: pieces, stops, what is kept of the last text, the context's end, Ctrl-C."""

from __future__ import annotations

import signal

import pytest

from pxvm import Model
from pxvm.models.generation import ContextError, SettingError
from pxvm.models.model import ModelError
from pxvm.models.streaming import StopFilter
from pxvm.models.text.template import MessageError
from tests.models.tiny_models import compiled, write_llama

ASK = [{"role": "user", "content": "What is a pixel?"}]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny") / "tiny.pxi", stops=())


@pytest.fixture
def model(path):
    return Model.open(path, device=compiled(), threads=1)


def fresh(path, messages, **options):
    return Model.open(path, device=compiled(), threads=1).chat(messages, **options)


def test_pieces_together_are_the_answer(model):
    whole = model.chat(ASK, max_tokens=40)
    assert model.finish == "length"
    pieces = list(model.chat(ASK, max_tokens=40, stream=True))
    assert len(pieces) > 10
    assert "".join(pieces) == whole
    assert len(model.generator.drawn()) == 40


def test_an_answer_is_that_of_the_logits(model):
    model.chat(ASK, max_tokens=6)
    drawn, taken = model.generator.drawn(), model.generator.taken()
    start = len(taken) - len(drawn) + 1
    rows = model.logits(taken)
    assert rows.shape == (len(taken), 640)
    assert rows.argmax(axis=1)[start - 1 :].tolist() == drawn


def test_what_two_texts_have_in_common_is_kept_and_changes_nothing(path, model):
    """Also in a conversation that goes on, goes back, and turns elsewhere."""
    talk = list(ASK)
    for said in ("And a voxel?", "Why?"):
        answer = model.chat(talk, max_tokens=12, temperature=0.9, seed=4, penalty=1.2)
        assert answer == fresh(path, talk, max_tokens=12, temperature=0.9, seed=4, penalty=1.2)
        talk += [{"role": "assistant", "content": answer}, {"role": "user", "content": said}]
        before = model.generator.position
    model.chat(talk, max_tokens=1)
    assert model.generator.reused > before // 2
    for messages in (talk[:3], ASK, [{"role": "user", "content": "What else?"}]):
        assert model.chat(messages, max_tokens=12) == fresh(path, messages, max_tokens=12)
        assert model.generator.reused > 0


def test_the_same_text_again_is_taken_in_by_one_token(model):
    first = model.chat(ASK, max_tokens=5)
    taken = len(model.generator.taken())
    assert model.chat(ASK, max_tokens=5) == first
    assert model.generator.reused == taken - 4 - 1


def test_a_text_longer_than_an_execution_is_fed_in_parts(path, monkeypatch):
    text = "pixels and words " * 8
    whole = Model.open(path, device=compiled()).generate(text, max_tokens=10)
    monkeypatch.setattr("pxvm.core.choices.PROMPT", 7)
    parts = Model.open(path, device=compiled())
    assert parts.generator.part == 7
    assert parts.generate(text, max_tokens=10) == whole


def test_stop_strings_end_an_answer_and_are_never_shown(model):
    whole = model.chat(ASK, max_tokens=60)
    for start in (5, 17, 30):
        stop = whole[start : start + 9]
        for given in (stop, ["no such text", stop]):
            pieces = list(model.chat(ASK, max_tokens=60, stop=given, stream=True))
            assert "".join(pieces) == whole[: whole.index(stop)]
            assert model.finish == "stop"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_string_across_pieces_shows_no_part_of_itself(size):
    text = "one tw two twtwo three"
    for stop in ("two", "twtwo", " three", "x", "o"):
        shown = StopFilter([stop, "never there"])
        out = [shown.put(text[i : i + size]) for i in range(0, len(text), size)]
        out.append(shown.finish())
        expected = text[: text.index(stop)] if stop in text else text
        assert "".join(out) == expected
        assert shown.stopped == (stop in text)


def test_a_token_that_ends_answers_ends_them(path, model, tmp_path):
    options = {"max_tokens": 20, "temperature": 1.5, "seed": 2}
    model.chat(ASK, **options)
    drawn = model.generator.drawn()
    stop = next(t for i, t in enumerate(drawn) if i > 3 and t not in drawn[:i])
    other = Model.open(write_llama(tmp_path / "s.pxi", stops=(stop,)), device=compiled())
    answer = other.chat(ASK, **options)
    assert other.finish == "stop"
    assert other.generator.drawn() == drawn[: drawn.index(stop) + 1]
    assert answer == other.tokenizer.decode(drawn[: drawn.index(stop)])


def test_a_context_that_is_full_ends_an_answer(path):
    model = Model.open(path, device=compiled(), context=64)
    text = model.generate("one two three", max_tokens=None)
    assert model.finish == "length"
    assert model.generator.position == 64
    assert len(text) > 40


def test_a_conversation_that_is_too_long_loses_its_oldest_turns(path):
    model = Model.open(path, device=compiled(), context=128)
    system = {"role": "system", "content": "Be brief."}
    talk = [system]
    for number in range(12):
        talk += [{"role": "user", "content": f"question {number}"},
                 {"role": "assistant", "content": f"answer {number}"}]  # fmt: skip
    talk.append({"role": "user", "content": "the last one"})
    model.chat(talk, max_tokens=8)
    text = model.tokenizer.inner.decode(model.generator.taken(), skip_special_tokens=False)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert "the last one" in text and "answer 11" in text and "question 0" not in text


def test_texts_that_cannot_fit_are_refused(path):
    model = Model.open(path, device=compiled(), context=32)
    with pytest.raises(ContextError, match="the last message takes"):
        model.chat([{"role": "user", "content": "long " * 60}])
    with pytest.raises(ContextError, match="what is left of a context of 32"):
        model.generate("long " * 60)
    with pytest.raises(ModelError, match="expected a text to continue"):
        model.generate("")
    with pytest.raises(MessageError, match="at least one message"):
        model.chat([])


@pytest.mark.parametrize(
    "setting",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 1.5}, {"top_k": 0},
     {"top_k": 5000}, {"penalty": 0}, {"max_tokens": 0}, {"seed": -1}],
)  # fmt: skip
def test_settings_out_of_range_are_named(model, setting):
    (name,) = setting
    with pytest.raises(SettingError, match=name):
        model.chat(ASK, **setting)


def test_a_seed_decides(model):
    def say(seed):
        return model.chat(ASK, max_tokens=20, temperature=1.5, seed=seed)

    assert say(1) == say(1) != say(2)


class Interrupted:
    """A session that gets a real SIGINT in the middle of a run."""

    def __init__(self, inner, at):
        self.inner, self.left = inner, at

    def run(self, max_steps):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self.inner.run(max_steps)

    def sync(self):
        self.inner.sync()


def test_ctrl_c_leaves_a_state_that_goes_on(model, tmp_path, interruptible):
    whole = model.chat(ASK, max_tokens=20)
    generator = model.generator
    generator.session = Interrupted(generator.session, 8)
    shown = []
    with pytest.raises(KeyboardInterrupt):
        for piece in model.chat(ASK, max_tokens=20, stream=True):
            shown.append(piece)
    assert whole.startswith("".join(shown)) and shown
    assert len(generator.drawn()) == 8  # the run was not cut: its token is there
    model.save_state(tmp_path / "half.pxi")
    rest = Model.resume(tmp_path / "half.pxi", device="reference").proceed(max_tokens=20)
    assert whole.endswith(rest)
    assert model.tokenizer.decode(generator.drawn()) + rest == whole
    assert model.chat(ASK, max_tokens=20) == whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_answer_saved_in_the_middle_goes_on_elsewhere(model, tmp_path):
    """On the other executor, in another context, with the same words; twice."""
    options = {"max_tokens": 30, "stop": ["never there"]}
    settings = {"temperature": 0.8, "seed": 9, "penalty": 1.1}
    whole = model.chat(ASK, **options, **settings)
    pieces = model.chat(ASK, stream=True, **options, **settings)
    begun = "".join(next(pieces) for _ in range(9))
    model.save_state(tmp_path / "a.pxi")
    assert (tmp_path / "a.pxi").stat().st_size < 1.5 * 4 * 64 * 1024
    second = Model.resume(tmp_path / "a.pxi", device="reference", context=100)
    goes_on = second.proceed(stream=True, **options)
    more = "".join(next(goes_on) for _ in range(5))
    second.save_state(tmp_path / "b.pxi")
    third = Model.resume(tmp_path / "b.pxi", device=compiled())
    assert begun + more + third.proceed(**options) == whole
    assert third.finish == "length"
    assert begun + "".join(pieces) == whole  # the first was not disturbed
    assert third.proceed(**options) == ""


def test_a_conversation_goes_on_after_its_file_was_saved(path, model, tmp_path):
    answer = model.chat(ASK, max_tokens=8)
    model.save_state(tmp_path / "talk.pxi")
    talk = [*ASK, {"role": "assistant", "content": answer}, {"role": "user", "content": "And?"}]
    resumed = Model.resume(tmp_path / "talk.pxi", device=compiled())
    assert resumed.chat(talk, max_tokens=8) == fresh(path, talk, max_tokens=8)
    assert resumed.generator.reused > 20


def test_nothing_under_way_cannot_proceed(path, model):
    with pytest.raises(ModelError, match="expected a conversation under way"):
        Model.resume(path)
    with pytest.raises(ModelError, match="expected an answer under way"):
        model.proceed()
