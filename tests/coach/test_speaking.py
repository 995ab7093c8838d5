"""A language model as a proposer: what it may say, what goes back to it, when it is given up."""

from __future__ import annotations

import pytest

from pxvm.coach import Coach
from pxvm.coach.errors import TaskError
from pxvm.coach.expression import OPERATIONS
from pxvm.coach.pictures import draw
from pxvm.coach.speaking import BY_GLYPH, ROUNDS, grammar, parse, spell
from pxvm.integration.errors import ContextTooLongError
from pxvm.learning import Network
from tests.coach.making import VECTOR, X, above, neg, task

SHAPES = [(1, 6)]


class Scripted:
    """A back end that says what it was told to, and keeps what it was asked."""

    name, context, passages, model = "scripted", 4096, 8, "parrot"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def stream(self, messages, **options):
        self.asked.append([dict(m) for m in messages])
        yield self.answers.pop(0)

    def count(self, said):
        return len(said)

    def close(self):
        pass


PROGRAM = ("Dot", above(X), ("TopK", X))


def test_instructions_are_spelled_and_parsed():
    assert set(BY_GLYPH) == {op.opcode.glyph for op in OPERATIONS.values()}
    said = spell(PROGRAM, ["v"])
    assert said.splitlines()[0] == "X@t1@v@c-1" and said.splitlines()[-1].startswith("D@out@t")
    assert parse(said, ["v"], SHAPES) == PROGRAM
    assert parse(f"Here it is:\n```\n{said}\n```\n", ["v"], SHAPES) == PROGRAM


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("", "no instruction makes out"),
        ("U@t1@x", "no instruction makes out"),
        ("Z@out@x", "there is no opcode Z"),
        ("U@out@x@x", "Sum takes 1 operands"),
        ("A@out@x", "Add takes 2 operands"),
        ("U@out@t1", "t1 is not made before"),
        ("U@t1@x\nA@out@t1@x", "Add does not take number, vector 6"),
        ("A@out@x@c99999999999", "is not made before"),
    ],
)
def test_what_is_wrong_is_said(said, wrong):
    with pytest.raises(TaskError, match=wrong):
        parse(said, ["x"], SHAPES)


def test_errors_and_wrong_outputs_go_back_to_the_model():
    backend = Scripted("U@out@y", "U@out@x", spell(PROGRAM, ["x"]))
    found = Coach(backend=backend).solve(task(PROGRAM, words="top above the mean"), 4000)
    assert (found.outcome, found.by, found.expression) == ("solved", "model", PROGRAM)
    assert found.spent["model"] == 3
    first, second, third = backend.asked
    assert "top above the mean" in first[0]["content"] and "hidden" not in first[0]["content"]
    assert "y is not made before" in second[-1]["content"]
    assert "out is" in third[-1]["content"] and ", not " in third[-1]["content"]


def test_it_is_asked_a_bounded_number_of_times():
    backend = Scripted(*["U@out@x"] * 9)
    found = Coach(backend=backend).solve(task(PROGRAM), 300)
    assert found.outcome == "unsolved" and len(backend.asked) == ROUNDS


def test_a_model_with_too_little_room_is_left_out():
    class Small(Scripted):
        def stream(self, messages, **options):
            raise ContextTooLongError("too long")
            yield

    found = Coach(backend=Small()).solve(task(PROGRAM), 300)
    assert found.outcome == "unsolved" and found.spent["model"] == 0


def test_remembered_programs_stand_in_the_question(tmp_path):
    known = ("Sum", above(X))
    with Network.open(tmp_path / "k.png") as network:
        words = "how many are above the mean"
        Coach(network).teach(draw(known, VECTOR), task(known, words=words))
        backend = Scripted(spell(PROGRAM, ["x"]))
        Coach(network, backend=backend).solve(task(PROGRAM, words="the mean"), 4000)
    if backend.asked:  # else a cheaper proposer found it
        asked, answered, now = backend.asked[0]
        assert asked["content"].endswith(f"Task: {words}") and asked["role"] == "user"
        assert answered == {"role": "assistant", "content": spell(known, ["x"])}
        assert now["content"].endswith("Task: the mean") and "gives" in now["content"]


def test_the_grammar_admits_programs_and_nothing_else():
    pytest.importorskip("llguidance")
    from pxvm.models.constrained import Constraints
    from pxvm.models.text.tokenizer import Settings, Tokenizer
    from tests.models.tiny_models import bytes_bpe

    tokenizer = Tokenizer(bytes_bpe(), Settings(stops=(0,)), "test")
    constraints = Constraints(tokenizer, 600)

    def admitted(said):
        way = constraints.follow(grammar=grammar(["x", "y"]))
        tokens = tokenizer.encode(said, special=False)
        return way._matcher.validate_tokens(list(tokens)) == len(tokens)

    assert admitted(spell(PROGRAM, ["x"])) and admitted(spell(neg(X), ["y"]))
    for wrong in ("U@t2@x", "U@out@t1", "Z@out@x", "U@out@z", "A@out@x\n", "A@t1@x@c4", "hello"):
        assert not admitted(wrong), wrong
