"""Mutated programs: refused with ProgramError, or admitted and then harmless.

Admitted ones run inside a larger buffer of sentinels: nothing outside the image may change, nor
what is read-only, nor may anything be raised or the budget be passed.
"""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from pxvm.core import executors
from pxvm.core.errors import ProgramError
from pxvm.core.isa import OPCODES
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HEADER_WORDS,
    STATE_WORDS,
    VERSION,
    DType,
    Role,
    State,
    encode_descriptor,
    read_words,
    write_words,
)
from pxvm.core.verifier import verify
from tests.differential.generator import CASES, generate, generate_one
from tests.differential.harness import admitted, guarded, trespassed

WORDS = (0, 1, 2, 3, 4, 8, 127, 128, 129, 255, 256, 257, 65535, 65536, 1 << 20, 1 << 24, 1 << 28,
         (1 << 28) + 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 2,
         (1 << 32) - 1)  # fmt: skip
CODES = [op.code for op in OPCODES if op.dialect == 1]
MAX_STEPS = 60
DEVICES = [name for name in executors.installed() if not executors.load(name).available()]


def mutate(image: Image, rng: Random) -> Image:
    """A copy with one to three changes where they hurt."""
    hurt = image.copy()
    header = [int(w) for w in read_words(image, 0, HEADER_WORDS)]
    _, _, code, count, table, tensors, state = header
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        descriptor = table + DESCRIPTOR_WORDS * rng.randrange(tensors)
        if kind < 0.08:
            at = rng.randrange(1, HEADER_WORDS)
        elif kind < 0.25:
            at = code + rng.randrange(count)
        elif kind < 0.35:
            at = state + rng.randrange(STATE_WORDS)
        elif kind < 0.92:
            at = descriptor + rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 9, 9, 10))
        else:
            at = rng.randrange(1, hurt.shape[0] * hurt.shape[1])
        word = int(read_words(hurt, at, 1)[0])
        write_words(hurt, at, np.array([_change(word, rng, kind)], np.uint32))
    return hurt


def _change(word: int, rng: Random, kind: float) -> int:
    choice = rng.random()
    if 0.08 <= kind < 0.25 and choice < 0.3:
        return word & 0xFFFFFF00 | rng.choice(CODES)
    if choice < 0.25:
        return word ^ 1 << rng.randrange(32)
    if choice < 0.45:
        shift = 8 * rng.randrange(4)
        return word & ~(255 << shift) | rng.randrange(256) << shift
    if choice < 0.75:
        return (word + rng.choice((-4, -2, -1, 1, 2, 4, 16, 64))) % 2**32
    return rng.choice(WORDS)


def read_only(image: Image) -> list[np.ndarray]:
    """Copies of everything that a run must leave as it is."""
    network = admitted(image)
    flat = np.ascontiguousarray(image).view("<u4").ravel()
    kept = [
        flat[start : start + n].copy() for name, start, n in network.reserved if name != "state"
    ]
    for d in network.descriptors:
        if d.role == Role.CONSTANT and d.dtype != DType.PARAMS:
            region = network.tensor_region(d.index) if not d.name else None
            spans = region.spans if region else ()
            kept += [
                flat[y * network.width + a : y * network.width + b].copy() for y, a, b in spans
            ]
            rows = range(d.rows)
            starts = [d.row_start(row, network.width) for row in rows]
            kept += [flat[at : at + d.row_words].copy() for at in starts]
    return kept


def check(image: Image, device: str = "reference", seconds: float = 2.0) -> bool:
    """True when the image was admitted; it has then run and done no harm."""
    begin = time.process_time()
    try:
        program = admitted(image)
    except ProgramError as error:
        assert str(error)
        return False
    finally:
        assert time.process_time() - begin < seconds, "the verifier took too long"
    inside, buffer = guarded(image)
    kept = read_only(image)
    made = 0
    for steps in (7, MAX_STEPS):
        made += executors.executor(device).run(inside, program, steps, 1)
    assert made <= min(program.budget, 7 + MAX_STEPS)
    assert not trespassed(buffer), "a byte outside the image was changed"
    assert all(np.array_equal(a, b) for a, b in zip(kept, read_only(inside), strict=True))
    return True


def bounded(image: Image) -> bool:
    """True unless a mutated size makes one run of it long: such a program is merely slow."""
    return image.shape[0] * image.shape[1] < 1 << 15


@pytest.mark.parametrize("device", DEVICES)
def test_mutated_programs(device: str) -> None:
    rng = Random(f"programs {device}")
    passed = 0
    for seed in range(60):
        image = generate(seed)
        if bounded(image):
            passed += sum(check(mutate(image, rng), device) for _ in range(12))
    assert 50 < passed < 650


@pytest.mark.parametrize("device", DEVICES)
def test_mutated_opcodes(device: str) -> None:
    rng = Random(f"opcodes {device}")
    for op in sorted(CASES):
        passed = 0
        for seed in range(10):
            image = generate_one(Random(f"{op}{seed}"), op)
            passed += sum(check(mutate(image, rng), device) for _ in range(15))
        assert 0 < passed < 150


def test_mutated_snapshots() -> None:
    """The registers of a program that stands still half-way."""
    rng = Random("snapshots")
    for seed in range(30):
        image = generate(seed)
        executors.executor("reference").run(image, admitted(image), rng.randrange(40))
        network = admitted(image)
        for _ in range(15):
            hurt = image.copy()
            at = network.state_start + rng.randrange(STATE_WORDS)
            word = int(read_words(hurt, at, 1)[0])
            write_words(hurt, at, np.array([_change(word, rng, 1.0)], np.uint32))
            check(hurt)


def test_random_pixels() -> None:
    bulk = np.random.default_rng(5)
    for size in range(1, 60):
        image = bulk.integers(0, 256, (size % 7 + 1, size, 4), np.uint8)
        image[0, 0] = list(b"PXV1")
        if size > 7:
            header = [int.from_bytes(b"PXV1", "little"), VERSION, 7, 1, 8, 1, 24]
            write_words(image, 0, np.array(header[: min(7, image.shape[0] * size)], np.uint32))
        assert not check(image)


def program(*lines: tuple[str, ...], counts: dict[str, int] | None = None) -> Image:
    """Control flow over nothing: lines are emitted, counts are constants."""
    b = NetworkBuilder()
    for name, value in (counts or {"many": 65535}).items():
        b.constant(name, value)
    for line in lines:
        if line[0] == "label":
            b.label(line[1])
        else:
            b.emit(*line)
    return b.build()


def refused(image: Image) -> str:
    begin = time.process_time()
    with pytest.raises(ProgramError) as caught:
        verify(image)
    assert time.process_time() - begin < 2
    return str(caught.value)


def test_loops_that_move_the_base_forever_are_refused_at_once() -> None:
    loops = [("Loop", "many", 1)] * 8
    assert "base becomes" in refused(program(*loops, *[("EndLoop",)] * 8))


def test_many_descriptors_do_not_make_nested_loops_slow() -> None:
    b = NetworkBuilder()
    b.constant("many", 999)
    for layer in range(1000):
        b.tensor("x", DType.I32, (1,), Role.STATE, layer=layer)
    for _ in range(8):
        b.emit("Loop", "many", 1)
    for _ in range(8):
        b.emit("EndLoop")
    assert refused(b.build())


def test_nested_loops_that_stand_still_are_admitted_at_once() -> None:
    image = program(*[("Loop", "many", 0)] * 8, *[("EndLoop",)] * 8)
    network = admitted(image)
    assert network.budget > 65535**8
    assert check(image)


def test_a_subroutine_seen_before_still_counts_its_depth() -> None:
    """Its loops fit where it is called first, not inside more loops."""
    loops, ends = [("Loop", "many", 0)] * 5, [("EndLoop",)] * 5
    body = (("label", "s"), *loops, *ends, ("Return",))
    assert check(program(("Call", "s"), *loops[:3], ("Call", "s"), *ends[:3], ("Halt",), *body))
    deep = program(("Call", "s"), *loops[:4], ("Call", "s"), *ends[:4], ("Halt",), *body)
    assert "nest at most 8" in refused(deep)


def test_calls_seen_before_still_count_their_depth() -> None:
    lines: list[tuple[str, ...]] = [("Call", f"s{n}") for n in range(8, -1, -1)]
    lines.append(("Halt",))
    for n in range(9):
        lines += [("label", f"s{n}"), *([("Call", f"s{n - 1}")] if n else []), ("Return",)]
    assert "deep" in refused(program(*lines))
    assert "deep" in refused(
        program(("Call", "s"), ("Halt",), ("label", "s"), ("Call", "s"), ("Return",))
    )


def test_code_that_wraps_beside_the_header_is_no_overlap() -> None:
    assert check(program(*[("Yield",)] * 300))


@pytest.mark.parametrize("name", ["code", "descriptors", "state"])
def test_reserved_pixels_must_not_overlap(name: str) -> None:
    image = program(*[("Yield",)] * 100)
    header = read_words(image, 0, HEADER_WORDS)
    for start in (0, 3, 6):
        changed = header.copy()
        changed[{"code": 2, "descriptors": 4, "state": 6}[name]] = start
        write_words(image, 0, changed)
        refused(image)


def test_a_table_and_weights_need_scales() -> None:
    for op in ("Embed", "Linear", "Conv2D"):
        for seed in range(10):
            image = generate_one(Random(seed), op)
            network = admitted(image)
            table = int(read_words(image, 0, HEADER_WORDS)[4])
            for d in network.descriptors:
                if d.dtype in (DType.I8, DType.I4):
                    write_words(
                        image, table + d.index * DESCRIPTOR_WORDS + 7, np.zeros(1, np.uint32)
                    )
            assert "scale" in refused(image)


@pytest.mark.parametrize("op", ["Table", "Gate"])
def test_a_table_is_no_result_of_its_own_lookup(op: str) -> None:
    """Each element needs two entries, so that executors would differ; x may be the result."""
    built = {}
    for result in ("x", "table"):
        b = NetworkBuilder()
        for name in ("x", "table"):
            b.tensor(name, DType.I32, (65,), Role.STATE, data=range(65), frac=12)
        b.emit(op, result, "x", "table")
        built[result] = b.build()
    assert check(built["x"])
    assert "not the table" in refused(built["table"])


def test_padding_beyond_the_window_is_refused() -> None:
    """One small picture with a padding of 255 would be a picture of 511 x 511."""
    b = NetworkBuilder()
    b.tensor("scale", DType.SCALE, (1,), Role.CONSTANT)
    b.tensor("w", DType.I8, (1, 1024), Role.CONSTANT, scale="scale")
    b.tensor("x", DType.ACT1, (1, 1024), Role.STATE)
    b.tensor("y", DType.I32, (1, 9), Role.STATE)
    b.parameters("p", "Conv2D", weight="w", height=1, width=1, size=1, stride=255, pad=255)
    b.emit("Conv2D", "y", "x", "p")
    assert "padding" in refused(b.build())


def test_a_stop_in_a_loop_of_a_subroutine_of_another_layer_resumes() -> None:
    b = NetworkBuilder()
    b.constant("twice", 2)
    for layer in range(2):
        b.tensor("x", DType.I32, (1,), Role.STATE, layer=layer, data=[layer + 1])
    for line in (("Call", "s", 1), ("Halt",)):
        b.emit(*line)
    b.label("s")
    for line in (("Loop", "twice", 0), ("Fill", "x", "twice"), ("EndLoop",), ("Return",)):
        b.emit(*line)
    image = b.build()
    for _ in range(20):
        executors.executor("reference").run(image, admitted(image), 1)
    network = admitted(image)
    assert network.region("0.x").values(image).tolist() == [1]
    assert network.region("1.x").values(image).tolist() == [2]


def test_a_constant_loop_cannot_be_given_more_rounds_by_its_registers() -> None:
    b = NetworkBuilder()
    b.constant("twice", 2)
    for line in (("Loop", "twice", 0), ("Yield",), ("EndLoop",)):
        b.emit(*line)
    image = b.build()
    executors.executor("reference").run(image, admitted(image), 1)
    network = admitted(image)
    left = network.state_start + State.LOOP_STACK + 1
    write_words(image, left, np.array([3], np.uint32))
    assert "registers" in refused(image)


def crowd(size: int, **changes: int) -> Image:
    """Very many tensors of one pixel in a picture, side by side; ``changes``: index to start."""
    width, height = 256, (size * 17 >> 8) + 8
    image = np.zeros((height, width, 4), np.uint8)
    code, state, table = 8, 256, 512
    first = table + size * DESCRIPTOR_WORDS
    header = [int.from_bytes(b"PXV1", "little"), VERSION, code, 1, table, size, state]
    write_words(image, 0, np.array(header, np.uint32))
    write_words(image, code, np.array([ord("H")], np.uint32))
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (1,), Role.STATE)
    one = admitted(b.build()).descriptors[0]
    row = encode_descriptor(one)
    rows = np.tile(row, (size, 1))
    rows[:, 5] = first + np.arange(size)
    for index, start in changes.items():
        rows[int(index[1:]), 5] = start if start < 1 << 20 else first + start - (1 << 20)
    write_words(image, table, rows.reshape(-1))
    return image


@pytest.mark.parametrize("size", [100, 6000])
def test_overlaps_among_very_many_tensors(size: int) -> None:
    assert check(crowd(size), seconds=3)
    assert "overlap" in refused(crowd(size, t3=(1 << 20) + size - 1))
    assert "overlap" in refused(crowd(size, t7=300))


def test_more_descriptors_than_there_may_be_are_refused() -> None:
    image = crowd(100)
    header = read_words(image, 0, HEADER_WORDS)
    header[5] = 1 << 20
    write_words(image, 0, header)
    assert "descriptors" in refused(image)


def test_constants_over_the_whole_picture_again_and_again_are_refused() -> None:
    height, width, size = 3000, 16, 2000
    image = np.zeros((height + 2100, width, 4), np.uint8)
    header = [int.from_bytes(b"PXV1", "little"), VERSION, 8, 1, 128, size, 16]
    write_words(image, 0, np.array(header, np.uint32))
    write_words(image, 8, np.array([ord("H")], np.uint32))
    b = NetworkBuilder(16)
    b.tensor("x", DType.I32, (height, 16), Role.CONSTANT)
    row = encode_descriptor(admitted(b.build()).descriptors[0])
    row[5] = 2100 * width
    write_words(image, 128, np.tile(row, (size, 1)).reshape(-1))
    assert "image rows" in refused(image)


@pytest.mark.parametrize(
    ("dtype", "columns"),
    [(DType.I8, 66), (DType.ACT1, 2), (DType.ACT2, 7), (DType.I16, 3), (DType.I4, 48)],
)
def test_rows_that_end_inside_a_pixel_are_refused_when_they_are_declared(dtype, columns):
    with pytest.raises(ProgramError, match=rf"'w': {dtype.name} rows fill .* found {columns}"):
        NetworkBuilder().tensor("w", dtype, (3, columns))
