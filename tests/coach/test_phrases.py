"""Words of solved tasks as phrases: what they teach, how new words are read, and what ends it."""

from __future__ import annotations

import time

import pytest

from pxvm.coach import Coach
from pxvm.coach.phrases import Phrases, fitted, ordered
from pxvm.coach.pictures import draw
from pxvm.learning import Network
from tests.coach.making import VECTOR, X, Y, k, neg, task

SQUARES, SUM, CENTRED = ("Mul", X, X), ("Sum", X), ("Add", X, neg(("Mean", X)))


def taught(*solved, inputs=("x",)):
    phrases = Phrases()
    for number, (words, program) in enumerate(solved):
        phrases.add(str(number), words, inputs, program)
    return phrases


def first(phrases, words, inputs=VECTOR):
    return next(iter(phrases.readings(words, inputs)), None)


def test_phrases_that_were_learned_apart_are_read_in_one_another():
    phrases = taught(("the sum of x", SUM), ("the squares of x", SQUARES))
    assert first(phrases, "the sum of the squares of x") == ("Sum", SQUARES)
    assert first(phrases, "The squares of the squares of X") == ("Mul", SQUARES, SQUARES)
    assert first(phrases, "the mean of x") is None


def test_what_is_understood_teaches_what_stands_around_it_and_inside():
    around = taught(
        ("the squares of x", SQUARES), ("the sum of the squares of x", ("Sum", SQUARES))
    )
    assert first(around, "the sum of x") == SUM
    inside = taught(("the sum of x", SUM), ("the sum of x minus its mean", ("Sum", CENTRED)))
    assert first(inside, "x minus its mean") == CENTRED
    # What comes later explains what came before.
    late = taught(("the sum of the squares of x", ("Sum", SQUARES)), ("the squares of x", SQUARES))
    assert first(late, "the sum of x") == SUM


def test_words_that_may_mean_two_things_have_two_readings():
    phrases = taught(("the sum of x", SUM), ("x and y", ("Add", X, Y)),
                     inputs=("x", "y"))  # fmt: skip
    both = {"x": (1, 6), "y": (1, 6)}
    found = phrases.readings("the sum of x and y", both)[:2]
    # Of a vector of 1 x 6 and a sum of 1 x 1 either may be the first to be added to.
    assert {ordered(e) for e in found} == {
        ordered(("Sum", ("Add", X, Y))), ordered(("Add", ("Sum", X), Y))}  # fmt: skip
    assert all(fitted(e, list(both.values())) == e for e in found)


def test_an_input_that_is_named_twice_is_one_hole_and_another_is_another():
    phrases = taught(("the difference of x and y", ("Add", X, neg(Y))),
                     ("the squares of x", SQUARES), inputs=("x", "y"))  # fmt: skip
    wanted = ("Add", SQUARES, neg(X))
    found = first(phrases, "the difference of the squares of x and x", {"x": (1, 6), "y": (1, 6)})
    assert ordered(found) == ordered(wanted)


def test_operands_that_commute_are_the_same_in_either_order():
    phrases = taught(("x plus seven", ("Add", X, k(7))), ("x plus seven", ("Add", k(7), X)))
    phrases.readings("", VECTOR)
    assert len(phrases._support) == 1 and first(phrases, "x plus seven") == ("Add", X, k(7))


def test_words_without_an_input_are_a_phrase_of_their_own():
    phrases = taught(("the sum of x", SUM), ("what is above zero", ("ReLU", X)))
    assert first(phrases, "the sum of what is above zero") == ("Sum", ("ReLU", X))


def test_a_task_that_is_forgotten_teaches_nothing_and_takes_what_followed_with_it():
    phrases = taught(
        ("the squares of x", SQUARES), ("the sum of the squares of x", ("Sum", SQUARES))
    )
    assert first(phrases, "the sum of x") == SUM
    phrases.forget("0")
    assert first(phrases, "the sum of x") is None
    assert first(phrases, "the sum of the squares of x") == ("Sum", SQUARES)
    phrases.forget("1")
    assert phrases.readings("the sum of the squares of x", VECTOR) == []


@pytest.mark.parametrize("words", ["a " * 5000, "x " * 48, "a x b x " * 12, "", "\x00 \ud83d 中文"])
def test_words_that_are_no_sentence_cost_little(words):
    phrases = taught(*((f"{'a ' * n}x{' b' * n}", ("Add", X, k(n))) for n in range(1, 9)),
                     *((f"x {w} x", ("Mul", X, k(n))) for n, w in enumerate("abx")))  # fmt: skip
    begin = time.process_time()
    phrases.readings(words, VECTOR)
    phrases.add("more", words, ["x"], ("Sum", X))
    phrases.readings(words, VECTOR)
    assert time.process_time() - begin < 5


def test_a_new_task_is_solved_by_what_its_words_say(tmp_path):
    """Deep enough that search finds it late; a part that is understood helps where all is not."""
    with Network.open(tmp_path / "k.png") as network:
        coach = Coach(network)
        for words, program in (("x minus its mean", CENTRED), ("the squares of x", SQUARES)):
            coach.teach(draw(program, VECTOR), task(program, words=words))
        centred = ("Mul", CENTRED, CENTRED)
        found = coach.solve(task(centred, words="the squares of x minus its mean"))
        assert (found.outcome, found.by) == ("solved", "phrases") and found.candidates <= 2
        odd = task(("TopK", ("Add", centred, X)), words="oddly the squares of x minus its mean")
        helped, alone = coach.solve(odd), Coach().solve(odd)
        assert helped.outcome == "solved" and helped.by != "phrases"
        assert alone.outcome != "solved" or alone.candidates > helped.candidates


def test_words_that_lie_cost_a_few_candidates(tmp_path):
    with Network.open(tmp_path / "k.png") as network:
        coach = Coach(network)
        coach.teach(draw(("Max", X), VECTOR), task(("Max", X), words="the sum of x"))
        found = coach.solve(task(("Sum", X), words="the sum of x", seed=1))
        assert found.outcome == "solved" and found.expression == ("Sum", X)
        assert found.spent["phrases"] == 1
