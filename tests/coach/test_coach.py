"""The coach and its memory: what is learned helps, what is wrong does not, forgetting ends it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pxvm.coach import Coach, pictures
from pxvm.coach.errors import TaskError
from pxvm.coach.expression import evaluate, text
from pxvm.coach.memory import experience_of
from pxvm.coach.pictures import draw
from pxvm.coach.pieces import Learned, Library, patterns
from pxvm.coach.retrieval import refitted
from pxvm.coach.search import Search, Spent
from pxvm.core.fontcode import assemble, disassemble
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, Role
from pxvm.learning import Network
from tests.coach.making import VECTOR, X, Y, above, k, neg, size, task

#: Opcodes that stand together in no cheaper program.
PLANTED = ("Add", ("Mul", ("TopK", above(X)), ("Add", X, k(3))), neg(("Argmax", ("Mul", X, X))))


@pytest.fixture
def network(tmp_path):
    with Network.open(tmp_path / "coach.png") as opened:
        yield opened


def taught(network, program, inputs=VECTOR, **how):
    return Coach(network).teach(draw(program, inputs), task(program, inputs, **how))


def searched(program, learned=None, budget=20_000, inputs=VECTOR):
    given, wanted = task(program, inputs).shown()
    spent = Spent(budget)
    return Search(given, wanted, learned or Learned(), budget).run(spent), spent.used


def test_the_result_may_be_an_input_as_it_is():
    both = {"x": (1, 1), "y": (2, 3)}
    for wanted in (X, Y):
        attempt = Coach().solve(task(wanted, both), 50)
        assert attempt.outcome == "solved" and attempt.expression == wanted
        assert attempt.candidates == 1


def test_a_task_is_solved_remembered_and_recalled(network):
    coach = Coach(network)
    wanted = task(("Sum", ("ReLU", X)), words="sum what is above zero")
    first, again = coach.solve(wanted), coach.solve(wanted)
    assert (first.outcome, first.by) == ("solved", "glance")
    assert first.expression == ("Sum", ("ReLU", X))
    assert (again.outcome, again.by, again.candidates) == ("solved", "recall", 1)
    np.testing.assert_array_equal(first.image, again.image)
    record = network.record(first.record)
    assert record.kind == "program" and record.query == "sum what is above zero"
    code = record.answer.split("```pxi\n")[1].split("```")[0]
    np.testing.assert_array_equal(assemble(code), first.image)


def test_the_picture_of_the_program_stands_in_the_record(network):
    first = Coach(network).solve(task(("Sum", ("ReLU", X))))
    from pxvm.learning.typeset.programs import program_picture
    from pxvm.learning.typeset.rendering import compose, render_record

    record = network.record(first.record)
    ink = np.unpackbits(program_picture(record.answer), axis=1)
    height, width = first.image.shape[:2]
    inner = ink[1 : 1 + 4 * height, 1 : 1 + 4 * width].reshape(height, 4, width, 4)
    np.testing.assert_array_equal(inner.any(axis=(1, 3)), first.image.any(axis=2))
    page = render_record(record)
    assert len(page) == compose(record).rows
    text_only = compose(replace(record, kind="note")).rows
    assert len(page) > text_only + 4 * height
    shown = np.unpackbits(~page, axis=1)[-len(ink) - 6 : -6, 16 : 16 + ink.shape[1]]
    np.testing.assert_array_equal(shown, ink)


def test_a_program_that_hidden_examples_refute_is_a_failure_and_is_not_found_again(network):
    program = ("Max", X)
    wanted = task(program)
    wanted.wanted[wanted.hidden] += 1
    first = Coach(network).solve(wanted, 200)
    assert (first.outcome, first.expression) == ("wrong", program)
    again = Coach(network).solve(wanted, 200)
    assert again.outcome != "solved" and again.expression != program
    assert Coach(network).memory.library.learned.pieces == {}


def test_only_a_remembered_piece_solves_it_within_its_budget(network):
    deep = ("Dot", PLANTED, X)
    assert Coach().solve(task(deep), 2000).outcome == "unsolved"
    taught(network, PLANTED)
    found = Coach(network).solve(task(deep), 2000)
    assert found.outcome == "solved" and size(found.expression) >= 9
    used = [i for i in disassemble(found.image).splitlines() if i.startswith("C@")]
    assert found.by == "retrieval" or used


def test_search_alone_uses_the_piece_as_a_subroutine():
    library = Library()
    library.add("1", PLANTED, [(1, 6)])
    deep = ("Dot", PLANTED, X)
    assert searched(deep, budget=2000)[0] is None
    found, used = searched(deep, library.learned, budget=2000)
    assert found is not None and "@" in text(found).replace("(", "@") and used < 2000
    (name,) = (n for n, body in library.learned.pieces.items() if n in str(found))
    assert size(library.learned.pieces[name]) > 2


def test_forgetting_a_program_takes_its_piece_out_of_later_search(network):
    deep = ("Dot", PLANTED, X)
    known = taught(network, PLANTED)
    coach = Coach(network)
    coach.log()
    pieces = coach.memory.library.learned.pieces
    assert pieces
    network.forget(known.record)
    assert coach.solve(task(deep), 2000).outcome == "unsolved"
    assert coach.memory.library.learned.pieces == {}


def test_forgetting_a_program_takes_what_was_recalled_from_it_along(network):
    wanted = task(("Sum", ("ReLU", X)), words="the sum of what is above zero")
    coach = Coach(network)
    first = coach.solve(wanted, 500)
    again = [coach.solve(wanted, 500) for _ in range(2)]
    assert [a.by for a in again] == ["recall", "recall"]
    network.forget(first.record)
    found = coach.solve(wanted, 500)
    assert found.by == first.by != "recall"
    for fresh in (coach, Coach(network)):
        log = fresh.log()
        assert [e.doubt for e in log] == ["what it was recalled from is forgotten"] * 2 + [""]
    network.forget(found.record)
    coach.log()
    assert not coach.memory.library.learned.pieces and not coach.memory.phrases.learned


def test_what_is_learned_is_a_function_of_the_programs_alone():
    programs = {"1": above(X), "2": ("Sum", above(X)), "3": ("Max", neg(X))}
    one, other = Library(), Library()
    for name, program in programs.items():
        one.add(name, program, [(1, 6)])
    other.add("9", PLANTED, [(1, 6)])
    for name in reversed(programs):
        other.add(name, programs[name], [(1, 6)])
    other.forget("9")
    assert one.learned.pieces == other.learned.pieces and one.learned.made == other.learned.made


def test_equal_parts_share_a_hole():
    shared = [body for body, holes in patterns(("Sum", above(("ReLU", X)))) if len(holes) == 1]
    assert above(("h", 0)) in shared and ("Sum", above(("h", 0))) in shared


def test_equal_states_are_merged_and_every_candidate_counts():
    found, used = searched(("Sum", ("ReLU", X)))
    assert found == ("Sum", ("ReLU", X))
    given, wanted = task(("Sum", ("ReLU", X))).shown()
    spent, search = Spent(10), Search(given, wanted, Learned(), 20_000)
    for _ in range(20_000):  # ten at a time is the same as at once
        if (again := search.run(spent)) is not None:
            break
        assert spent.used == spent.budget
        spent.budget += 10
    assert (again, spent.used) == (found, used)
    assert searched(("Add", X, k(37)), budget=333) == (None, 333)


def test_constants_are_refitted(network):
    taught(network, ("Sum", ("ReLU", ("Add", X, k(-2)))), words="sum what is above two")
    wanted = task(("Sum", ("ReLU", ("Add", X, k(-7)))), words="sum what is above seven", seed=3)
    found = Coach(network).solve(wanted, 5000)
    assert found.outcome == "solved" and found.by in ("retrieval", "glance")
    assert ("Add", X, k(-7)) in list(refitted(("Add", X, k(-2))))


def poisoned(network, wrong, right):
    """A record that says that a wrong program solves a task."""
    record = network.record(taught(network, right).record)
    lie = disassemble(draw(wrong, VECTOR)).rstrip()
    begin, end = record.answer.index("```pxi\n") + 7, record.answer.index("\n```\n```json")
    answer = record.answer[:begin] + lie + record.answer[end:]
    network.forget(record.id)
    return network.append(record.query, answer, kind="program", tags=record.tags)


def test_a_poisoned_memory_makes_nothing_wrong(network):
    for other in (("Max", X), ("Mean", X), ("Argmax", X), ("Dot", X, X)):
        poisoned(network, ("Sum", X), other)
    coach = Coach(network)
    doubts = [e.doubt for e in coach.log()]
    assert len(doubts) == 4 and all("its program is unsolved, not solved" in d for d in doubts)
    assert coach.memory.library.learned.pieces == {}
    for program in (("Max", X), ("Mean", X)):
        found = coach.solve(task(program), 3000)
        assert found.outcome == "solved"
        np.testing.assert_array_equal(
            evaluate(found.expression, task(program).given), task(program).wanted
        )


def test_true_programs_for_tasks_that_are_none_only_make_it_slower(network):
    rng = np.random.default_rng(1)
    for number in range(6):
        program = ("Add", ("Mul", ("TopK", X), k(int(rng.integers(9)))), ("Argmax", X))
        taught(network, program, words=f"largest {number}")
    wanted = ("Sum", ("Mul", X, ("ReLU", X)))
    found = Coach(network).solve(task(wanted, words="largest"), 20_000)
    alone = Coach().solve(task(wanted, words="largest"), 20_000)
    assert found.outcome == alone.outcome == "solved" and found.candidates > alone.candidates


def stranger(code, wanted):
    facts = {"outcome": "solved", "by": "search", "spent": {"search": 1}, "task": wanted.as_data()}
    return f"solved\n```pxi\n{code}\n```\n```json\n{json.dumps(facts)}\n```"


def looping(rounds):
    b = NetworkBuilder(32)
    b.tensor("x", DType.I32, (1, 1, 6), Role.STATE)
    b.tensor("out", DType.I32, (1, 1, 1), Role.STATE)
    b.constant("often", rounds)
    for line in (("Loop", "often", 0), ("Loop", "often", 0), ("Sum", "out", "x")):
        b.emit(*line)
    for line in ("EndLoop", "EndLoop", "Halt"):
        b.emit(line)
    return disassemble(b.build()).rstrip()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (looping(60_000), "its program is unsolved, not solved"),
        (".image 60000x60000\nH", "at most 65536 pixels"),
        (".image 8x8\nZ@1@2@3", "opcode"),
        ("no program", "expected font-code"),
    ],
)
def test_a_strangers_program_that_loops_or_is_none_is_stopped(code, said, network):
    wanted = task(("Sum", X))
    network.append("q", stranger(code, wanted), kind="program")
    (known,) = Coach(network).log()
    assert said in known.doubt
    assert Coach(network).solve(wanted, 500).outcome == "solved"


def test_a_strangers_program_that_is_dear_in_few_steps_is_stopped(network, monkeypatch):
    b = NetworkBuilder(32)
    b.tensor("x", DType.I32, (1, 1, 6), Role.STATE)
    b.tensor("out", DType.I32, (1, 1, 1), Role.STATE)
    b.tensor("a", DType.I32, (40, 40))
    for name in "bc":
        b.tensor(name, DType.ACT1, (40, 40))
    for line in (("MatMul", "a", "b", "c"), ("Sum", "out", "x"), ("Halt",)):
        b.emit(*line)
    code, wanted = disassemble(b.build()).rstrip(), task(("Sum", X))
    network.append("q", stranger(code, wanted), kind="program")
    assert not Coach(network).log()[0].doubt
    monkeypatch.setattr(pictures, "MOST_WORK", 40**3 * len(wanted.wanted))
    assert "its program is unsolved" in Coach(network).log()[0].doubt


def test_a_program_with_a_loop_is_recalled_as_it_is(network):
    wanted = task(("Sum", X))
    network.append("q", stranger(looping(3), wanted), kind="program")
    found = Coach(network).solve(wanted, 500)
    assert (found.outcome, found.by, found.expression) == ("solved", "recall", None)


def test_a_strangers_program_that_doubles_and_doubles_is_not_taken_apart(network):
    program = X
    b = NetworkBuilder(32)
    for name in ("x", "out"):
        b.tensor(name, DType.I32, (1, 1, 6), Role.STATE)
    b.emit("Add", "out", "x", "x")
    for _ in range(60):  # 2^60 opcodes, were it written out
        b.emit("Add", "out", "out", "out")
    wanted = task(program)
    zero = replace(wanted, given=(0 * wanted.given[0],), wanted=0 * wanted.wanted)
    network.append("q", stranger(disassemble(b.build()).rstrip(), zero), kind="program")
    found = Coach(network).solve(zero, 500)
    assert (found.outcome, found.by, found.expression) == ("solved", "recall", None)


@pytest.mark.parametrize(
    "facts",
    ["[]", "{", '{"outcome": "solved"}', '{"outcome": [], "by": 3, "spent": 0, "task": {}}',
     "[" * 10_000,
     json.dumps({"outcome": "solved", "by": "", "spent": {"search": 10**400},
                 "task": task(("Sum", X)).as_data()})],
)  # fmt: skip
def test_records_of_other_kinds_are_none_of_the_coachs(facts, network):
    network.append("q", f"```json\n{facts}\n```", kind="program")
    assert Coach(network).log() == []


def test_a_conversation_finds_what_was_solved(tmp_path):
    from pxvm.integration.memory import Memory

    path = tmp_path / "k.png"
    with Network.open(path) as network:
        Coach(network).solve(task(("Sum", ("ReLU", X)), words="sum what is above zero"))
    memory = Memory(path, read_only=True)
    try:
        (hit,) = memory.hits("how do I sum what is above zero?")
        assert "Sum(ReLU(x))" in hit.record.answer
    finally:
        memory.close()


def test_a_memory_is_exported_and_imported(tmp_path):
    from pxvm.learning.exchange.exchange import read_records

    with Network.open(tmp_path / "one.png") as one, Network.open(tmp_path / "two.png") as two:
        wanted = task(("Sum", ("ReLU", X)), words="sum what is above zero")
        Coach(one).solve(wanted)
        one.export(tmp_path / "all.jsonl")
        two.append_many(read_records(tmp_path / "all.jsonl"))
        assert Coach(two).solve(wanted).by == "recall"


def test_memories_merge(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in ("one", "two", "both")]
    programs = (("Sum", above(X)), ("Max", above(X)))
    for path, program in zip(paths, programs, strict=False):
        with Network.open(path) as network:
            taught(network, program, words=text(program))
    with Network.open(paths[0]) as one, Network.open(paths[1]) as two:
        Network.merge(one, two, paths[2])
    with Network.open(paths[2]) as both:
        coach = Coach(both)
        assert len(coach.log()) == 2
        assert above(("h", 0)) in coach.memory.library.learned.pieces.values()


def test_the_same_again_gives_the_same_numbers(tmp_path):
    def run(name):
        with Network.open(tmp_path / name) as network:
            coach = Coach(network)
            done = [
                coach.solve(task(p, inputs, words=text(p)), 1500)
                for p, inputs in (
                    (("Sum", above(X)), VECTOR), (("ReLU", neg(X)), VECTOR),
                    (("Dot", X, ("Add", X, Y)), {"a": (1, 4), "b": (1, 4)}),
                    (("Max", ("ReLU", neg(X))), VECTOR),
                )
            ]  # fmt: skip
            return [(a.outcome, dict(a.spent), a.expression) for a in done]

    assert run("one.png") == run("two.png")


def test_a_program_that_does_not_fit_is_not_taught(network):
    with pytest.raises(TaskError, match="does not give what the examples show"):
        Coach(network).teach(draw(("Max", X), VECTOR), task(("Sum", X)))
    assert Coach(network).log() == []


def test_a_record_is_read_back_as_it_was_stored(network):
    wanted = task(("Sum", above(X)), words="how many are above the mean")
    stored = Coach(network).solve(wanted, 20_000)
    known = experience_of(network.record(stored.record))
    assert known.task.id == wanted.id and known.task.as_data() == wanted.as_data()
    assert (known.outcome, known.by, known.spent) == (stored.outcome, stored.by, stored.spent)
    assert known.expression == stored.expression and not known.doubt


def test_the_words_of_a_task_speak_for_what_stood_under_them():
    library = Library()
    programs = {"squares": ("Mul", X, X), "top": ("Max", X), "total": ("Sum", X),
                "top two": ("Add", ("Max", X), k(2))}  # fmt: skip
    for number, (words, program) in enumerate(programs.items()):
        library.add(str(number), program, [(1, 6)], words)
    plain = library.learned
    hinted, strange = plain.hinted("the top"), plain.hinted("nothing known")
    (largest,) = (unit for unit in plain.units if unit.name == "Max")
    (total,) = (unit for unit in plain.units if unit.name == "Sum")
    key = [("x", "vector")]
    assert hinted.bits(largest, key) < plain.bits(largest, key)
    assert hinted.bits(total, key) > plain.bits(total, key)
    assert strange.bits(largest, key) == plain.bits(largest, key)
    assert plain.hinted("two").leaf_bits("2", 7) < plain.leaf_bits("2", 7)
