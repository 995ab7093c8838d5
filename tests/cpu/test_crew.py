"""As many threads work as get a processor each, and what they compute is the same."""

import os

import numpy as np
import pytest

from pxvm.core.verifier import verify
from pxvm.cpu.crew import ENOUGH, FIRST, LAST, Crew, Places
from tests.differential.generator import generate
from tests.models.tiny_models import compiled

WHOLE, HALF = (ENOUGH, ENOUGH), (ENOUGH, ENOUGH / 2)


def test_threads_that_have_their_processors_stay():
    crew = Crew(4)
    for moment in range(9):
        crew.worked([WHOLE] * 4, moment)
        assert crew.active == 4


def test_where_one_is_kept_from_its_processor_fewer_work():
    crew = Crew(4)
    crew.worked([WHOLE, WHOLE, WHOLE, HALF], 0)
    assert crew.active == 3
    crew.worked([WHOLE, WHOLE, HALF], 0)
    assert crew.active == 2
    crew = Crew(8)
    crew.worked([HALF] * 8, 0)
    assert crew.active == 4
    crew = Crew(1)
    crew.worked([HALF], 0)
    assert crew.active == 1


def test_more_are_tried_again_ever_more_seldom():
    crew = Crew(2)
    crew.worked([HALF] * 2, 0)
    moment, pauses = 0.0, []
    for _ in range(8):
        begin = moment
        while crew.active == 1:
            moment += FIRST / 2
            crew.worked([WHOLE], moment)
        pauses.append(moment - begin)
        crew.worked([WHOLE, HALF], moment)
        assert crew.active == 1
    assert pauses == sorted(pauses) and pauses[0] <= 2 * FIRST and pauses[-1] == LAST
    while crew.active == 1:
        moment += 1
        crew.worked([WHOLE], moment)
    crew.worked([WHOLE] * 2, moment)
    crew.worked([HALF] * 2, moment)
    assert crew.active == 1
    crew.worked([WHOLE], moment + FIRST)
    assert crew.active == 2


def test_short_pieces_of_work_are_judged_together():
    crew, short = Crew(2), (ENOUGH / 2, ENOUGH / 20)
    crew.worked([short] * 2, 0)
    assert crew.active == 2
    crew.worked([short] * 2, 0)
    assert crew.active == 1


def test_a_moment_without_a_processor_does_not_count():
    crew = Crew(2)
    crew.worked([(ENOUGH / 4, ENOUGH / 40)] * 2, 0)
    for _ in range(9):
        crew.worked([WHOLE] * 2, 0)
        assert crew.active == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no system that moves threads")
def test_threads_begin_on_processors_of_their_own_and_may_be_moved_as_before():
    allowed, places = os.sched_getaffinity(0), Places()
    for _ in range(len(allowed) + 2):  # one thread after the other, all of them this one
        places.begin()
        assert os.sched_getaffinity(0) == allowed
    assert places.taken == allowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no system that moves threads")
def test_a_process_that_may_not_move_its_threads_leaves_them(monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    places = Places()
    places.begin()
    taken = set(places.taken)
    places.begin()
    assert len(taken) == 1 and places.taken >= taken


@pytest.mark.parametrize("seed", range(40))
def test_a_number_that_changes_changes_nothing_else(seed):
    compiled()
    from pxvm.cpu import executor as cpu

    steady = generate(seed)
    program, changing = verify(steady), steady.copy()
    one, other = cpu.Session(steady, program, 1), cpu.Session(changing, program, 2)
    for active in (2, 1, 2, 2, 1):
        other.crew.active = active
        made = one.run(7)
        assert other.run(7) == made
        assert np.array_equal(steady, changing)
