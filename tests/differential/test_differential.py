"""Executors agree on random programs, with fixed and fresh seeds, and on every program kept.

With the reference executor alone, a program stopped and resumed at random points, in memory with
padded rows, must still end like one straight run.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pxvm.core import executors, mappable
from pxvm.core.container import open_image, read_image, save_image
from pxvm.core.isa import OPCODES
from pxvm.core.program import Image
from pxvm.core.rules import MAX_INNER
from pxvm.core.tensor import Role
from tests.differential import harness
from tests.differential.generator import (
    CASES,
    generate,
    generate_large,
    generate_one,
    missing,
    write_large,
)
from tests.differential.harness import (
    admitted,
    compare,
    guarded,
    listing,
    minimal,
    shrink,
)

KEPT = sorted(harness.REGRESSIONS.glob("differential-*.png"))
FIXED, FRESH = range(1000, 1060), 25
LARGE = range(1000, 1012)
SECONDS = 10.0


def pairs() -> list[tuple[str, str]]:
    """All pairs of executors that can run here; the reference with itself when it is alone."""
    usable = [name for name in executors.installed() if not executors.load(name).available()]
    found = list(combinations(sorted(usable, reverse=True), 2)) or [("reference", "reference")]
    found = [pair for pair in found if pair != ("gpu", "cpu")]  # each beside the reference
    return [*found, ("reference", "cpu:portable")] if "cpu" in usable else found


def some(seeds: range, pair: tuple[str, str]) -> range:
    """All seeds; an eighth of them on a GPU, which may be a processor that plays one."""
    return seeds[: len(seeds) // 8] if "gpu" in pair else seeds


def check(image: Image, pair: tuple[str, str], seed: int) -> None:
    """Fail with the shrunk program when the executors differ."""
    if found := compare(image, pair, Random(seed)):
        small = minimal(found, seed)
        path = harness.keep(small)
        pytest.fail(f"seed {seed}: {small}\nkept as {path}\n{listing(small.image)}")


def test_every_opcode_is_generated() -> None:
    assert missing() == set()
    seen: set[str] = set()
    for seed in FIXED:
        seen |= {i.op.name for i in admitted(generate(seed)).instructions}
    assert seen == {op.name for op in OPCODES if op.dialect == 1}


def test_generated_places_are_of_every_kind() -> None:
    kinds = set()
    for seed in range(40):
        image = generate(seed)
        for d in admitted(image).descriptors:
            if d.rows > 1:
                kinds.add("wrapped" if not d.per else "one" if d.per == 1 else "several")
                kinds.add("gap" if 1 < d.per < min(d.rows, image.shape[1] // d.row_words) else "")
            kinds.add(d.role)
    assert {"wrapped", "one", "several", "gap", *Role} <= kinds


def test_a_seed_gives_one_program() -> None:
    assert all(np.array_equal(generate(seed), generate(seed)) for seed in range(5))


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
def test_fixed_seeds(pair: tuple[str, str]) -> None:
    for seed in some(FIXED, pair):
        check(generate(seed), pair, seed)


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
@pytest.mark.parametrize("op", sorted(CASES))
def test_each_opcode(op: str, pair: tuple[str, str]) -> None:
    for seed in some(range(8), pair):
        check(generate_one(Random(f"{op}{seed}"), op), pair, seed)


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
def test_fresh_seeds(pair: tuple[str, str]) -> None:
    first = secrets.randbits(32)
    print(f"fresh seeds from {first} on")
    end = time.monotonic() + SECONDS
    for seed in range(first, first + FRESH):
        if time.monotonic() > end:
            break
        check(generate(seed), pair, seed)


def test_large_programs_come_near_the_limits() -> None:
    makers = [write_large(seed) for seed in range(400)]
    weights = [t.extents for m in makers for t in m.tensors if t.name.startswith("weight")]
    assert MAX_INNER in {cols for _, cols in weights}
    assert max(rows for rows, _ in weights) > 1 << 16
    caches = [t.extents for m in makers for t in m.tensors if t.name.startswith("cache")]
    assert max(width for _, _, width in caches) == MAX_INNER
    assert max(context for _, context, _ in caches) > 1 << 18
    assert {len(t.extents) for m in makers for t in m.tensors} == {1, 2, 3, 4}
    seen = {op for m in makers for op, _ in m.code}
    assert seen == set(CASES) | {"Halt"}


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
def test_large_seeds(pair: tuple[str, str]) -> None:
    first = secrets.randbits(32)
    print(f"large seeds from {first} on")
    end = time.monotonic() + SECONDS / 2
    for seed in [*LARGE, *range(first, first + FRESH)]:
        if time.monotonic() > end:
            break
        check(generate_large(seed), pair, seed)


@pytest.mark.parametrize("pair", pairs(), ids="-".join)
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_programs(path: Path, pair: tuple[str, str]) -> None:
    image = read_image(path)
    for seed in some(range(5), pair) or range(1):
        found = compare(image, pair, Random(seed))
        assert found is None, str(found)


@pytest.mark.parametrize(
    "device", sorted({name for pair in pairs() for name in pair if ":" not in name})
)
def test_a_mapped_file_ends_like_an_array(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)  # small files are mapped as large ones are
    for seed in range(2000, 2002 if device == "gpu" else 2008):
        image = generate(seed)
        save_image(image, tmp_path / f"{seed}.pxi", layout="mappable")
        mapped, plain = open_image(tmp_path / f"{seed}.pxi"), image.copy()
        assert mapped.strides[0] > plain.strides[0]
        for steps in (3, 1, 300):
            run = executors.executor(device).run
            assert run(plain, admitted(plain), steps) == run(mapped, admitted(mapped), steps)
            assert np.array_equal(plain, mapped)


def test_a_difference_is_found_shrunk_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong Fill in a random program: what is left is little more than the Fill."""
    from pxvm.core import ops

    right, calls = ops.FUNCTIONS["Fill"], [0]

    def wrong(out: object, value: object) -> None:
        right(out, value)
        calls[0] += 1
        if calls[0] % 2 == 0:
            out.write(out.values + 1)  # type: ignore[attr-defined]

    monkeypatch.setitem(ops.FUNCTIONS, "Fill", wrong)

    def differs(candidate: Image) -> bool:
        calls[0] = 0
        return compare(candidate, ("reference", "reference"), Random(0)) is not None

    image = next(image for image in programs_with("Fill") if differs(image))
    small = shrink(image, differs)
    names = [i.op.name for i in admitted(small).instructions]
    assert "Fill" in names
    assert len(names) <= 4
    found = harness.Difference(small, ("reference", "reference"), "")
    assert np.array_equal(read_image(harness.keep(found, tmp_path)), small)


def programs_with(name: str) -> Iterator[Image]:
    """Generated programs that begin with an instruction called ``name`` and run it."""
    for seed in range(10000):
        image = generate_one(Random(seed), name)
        before, _ = guarded(image)
        executors.executor("reference").run(before, admitted(before), 1)
        network = admitted(image)
        y, x, stop = network.operand_regions(network.instructions[0], 0)[0][1].spans[0]
        if not np.array_equal(before[y, x:stop], image[y, x:stop]):
            yield image
