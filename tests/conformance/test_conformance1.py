"""The golden files of dialect 1 that are laid out by hand, and the rules that refuse some."""

from __future__ import annotations

import numpy as np
import pytest

from pxvm.core.container import read_image
from pxvm.core.errors import ProgramError
from pxvm.core.verifier import verify
from tests.conformance.cases1 import CASES, after_steps
from tests.conformance.make import FILE_LIMIT, HERE, digest
from tests.conformance.make1 import FOLDER, expected
from tests.conformance.test_conformance import GOLDEN
from tests.core.page_verifier import RULES

REFUSED = [name for name, case in CASES.items() if case.rule]
STEPS = 1 << 20


@pytest.mark.parametrize("name", CASES)
def test_files_are_what_their_cases_lay_out(name: str) -> None:
    case, path = CASES[name], HERE / FOLDER / f"{name}.pxi"
    image = case.built()
    assert path.stat().st_size <= FILE_LIMIT
    assert np.array_equal(read_image(path), image)
    golden = GOLDEN[f"{FOLDER}/{name}.pxi"]
    assert golden == expected(image, case.max_steps)
    assert golden.get("rule") == case.rule
    if case.rule is None:
        steps = STEPS if case.max_steps is None else case.max_steps
        assert digest(after_steps(image, steps)) == golden["sha256"], "the plain model differs"


@pytest.mark.parametrize("name", REFUSED)
def test_the_verifier_refuses_for_the_same_reason(name: str) -> None:
    with pytest.raises(ProgramError) as caught:
        verify(CASES[name].built())
    assert CASES[name].says in str(caught.value)


def test_every_rule_has_a_program_that_breaks_it() -> None:
    assert {entry["rule"] for entry in GOLDEN.values() if "rule" in entry} == RULES


def test_what_goes_on_from_a_snapshot_ends_like_one_run() -> None:
    names = [name.removesuffix("_resumed") for name in CASES if name.endswith("_resumed")]
    assert len(names) == 3
    for name in names:
        resumed = CASES[f"{name}_resumed"]
        assert not np.array_equal(resumed.built(), CASES[f"{name}_stopped"].built())
        stopped = GOLDEN[f"{FOLDER}/{name}_stopped.pxi"]["sha256"]
        assert digest(resumed.built()) == stopped
