"""docs/VERIFIER.md, run as it stands, and pxVM's verifier admit the same programs.

Both must also find the same largest number of steps. What each rule refuses is shown by the
golden files; here come random programs with random damage.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pxvm.core import executors, rules
from pxvm.core.container import read_image
from pxvm.core.errors import ProgramError
from pxvm.core.program import MAGIC, Image
from pxvm.core.tensor import STATE_WORDS, State, read_words, write_words
from tests.conformance.make import HERE
from tests.conformance.sheet import CONSTANT, I32, Sheet
from tests.core.page_verifier import NAMES, PAGE, RULES, second_opinion
from tests.core.test_verifier import mutate
from tests.differential.generator import CASES, generate, generate_one
from tests.differential.harness import admitted

RUN = [path for path in sorted((HERE / "dialect1").glob("*.pxi")) if "refused" not in path.name]


def verdict(image: Image) -> int | None:
    """The largest number of steps by pxVM's verifier, or None when it refuses."""
    try:
        return admitted(image).budget
    except ProgramError:
        return None


def agreed(image: Image) -> str:
    """The rule that the page names, or "" when both admit the image; fails where they differ."""
    page, ours = second_opinion(image), verdict(image)
    assert ours == (None if isinstance(page, str) else page), f"the page says {page}"
    return page if isinstance(page, str) else ""


def test_the_page_takes_its_shape_rules_from_the_reference_page() -> None:
    assert set(NAMES["SHAPES"]) == set(rules.RULES)


def test_every_heading_stands_for_its_rules() -> None:
    named = "".join(re.findall(r"^## .*: (.*)$", PAGE, re.MULTILINE))
    assert {rule[0] for rule in RULES} == {letter for letter in named if letter.isupper()}


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_golden_programs(path: Path) -> None:
    assert agreed(read_image(path)) == ""


def test_programs_with_random_damage() -> None:
    rng, seen = Random("page"), set()
    for seed in range(40):
        name = sorted(CASES)[seed % len(CASES)]
        image = generate(seed) if seed % 2 else generate_one(Random(seed), name)
        assert agreed(image) == ""
        for _ in range(8):
            hurt = mutate(image, rng)
            if hurt[0, 0].tobytes() == MAGIC:
                seen.add(agreed(hurt))
    assert len(seen) > 12


def test_snapshots_with_random_damage() -> None:
    rng, seen = Random("snapshots of the page"), set()
    for seed in range(12):
        image = generate(seed)
        executors.executor("reference").run(image, admitted(image), rng.randrange(40))
        start = admitted(image).state_start
        for _ in range(12):
            hurt = image.copy()
            at = start + rng.choice((rng.randrange(STATE_WORDS), rng.randrange(State.CALLS + 1)))
            word = int(read_words(hurt, at, 1)[0])
            changed = rng.choice((word + 1, word - 1, word + 4, 0, 1, rng.getrandbits(32)))
            write_words(hurt, at, np.array([changed % 2**32], np.uint32))
            seen.add(agreed(hurt))
    assert seen >= {"", "R1", "R2"}


def control(rng: Random) -> Image:
    """Main block and subroutines of a few control instructions at random, mostly well-formed."""
    s = Sheet()
    for value in (0, 1, 2, 3, -1):
        s.tensor(f"{value}", I32, (1, 1), [value], CONSTANT)
    s.scalar("any", 2)
    s.shared()
    for n in range(rng.choice((2, 6))):
        s.scalar(f"x{n}", n)
    for end in "H^^"[: rng.randint(1, 3)]:
        depth = 0
        for _ in range(rng.randint(0, 9)):
            glyph = rng.choice("[[]]C?YA")
            if glyph == "]" and not depth and rng.random() < 0.95:
                continue
            depth += {"[": 1, "]": -1}.get(glyph, 0)
            operands = {
                "[": (rng.randrange(6), 0, rng.choice((0, 0, 1, 2))),
                "?": (rng.randrange(6), 0, rng.randrange(4)),
                "C": (rng.randint(1, 16), 0, rng.choice((0, 0, 1))),
                "A": (rng.choice((6, 128, 129)), 128, 128),
            }
            s.emit(ord(glyph), *operands.get(glyph, ()))
        for _ in range(depth):
            s.emit("]")
        s.emit(end if rng.random() < 0.97 else "Y")
    calls = [n for n, (glyph, _) in enumerate(s.code) if glyph == ord("C")]
    starts = [n + 1 for n, (glyph, _) in enumerate(s.code[:-1]) if glyph in ("H", "^")]
    for n in calls:
        if starts and rng.random() < 0.9:
            s.code[n] = (ord("C"), (rng.choice(starts), *s.code[n][1][1:]))
    return s.build()


def test_random_control_flow() -> None:
    rng = Random("control")
    seen = [agreed(control(rng)) for _ in range(500)]
    assert set(seen) >= {"", "B1", "B2", "B4", "C2", "C3", "C4", "U2", "V1", "V3"}
    assert seen.count("") > 50
