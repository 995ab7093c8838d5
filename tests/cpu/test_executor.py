"""Device ``cpu`` gives the reference's bytes: any number of threads, VNNI or not, any memory."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pxvm.core import executors, mappable, reference, resources
from pxvm.core.container import open_image, read_image, save_image
from pxvm.core.dialect1 import TensorProgram, parse, read_state
from pxvm.core.errors import DeviceError, ExecutionError, ProgramError
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import GROUP, HALTED, DType, Role, State, encode_groups
from pxvm.core.verifier import verify
from pxvm.cpu import executor, native
from pxvm.models.families.llama import LlamaConfig, build_llama, set_sampler, set_tokens, tokens
from pxvm.models.families.llama import weight_shapes as llama_shapes
from tests.differential.generator import generate
from tests.differential.harness import guarded, trespassed

NETWORKS = sorted((Path(__file__).parents[1] / "conformance" / "dialect0").glob("*.pxi"))
needs_numba = pytest.mark.skipif(bool(executor.available()), reason=executor.available() or "-")
THREADS = (1, 2, 3, 5)


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch):
    """As many threads as a test asks for, on machines of any size."""
    monkeypatch.setattr(resources, "processors", lambda: 8)


def products(rng: np.random.Generator, rows: int, n: int, k: int, per: int) -> Image:
    """Linear of ``rows`` tokens with bias, for one token and for all, both planes and one."""
    b = NetworkBuilder(width=64 * per)
    b.tensor("n", DType.I32, (1,), Role.STATE, data=[rows])
    x = rng.integers(-(2**20), 2**20, (rows, k))
    b.tensor("x", DType.I32, (rows, k), Role.STATE, frac=12, length="n", data=x)
    b.tensor("two", DType.ACT2, (rows, k), length="n")
    b.tensor("one", DType.ACT1, (rows, k), length="n")
    scale = rng.integers(32768, 65536, n) | (rng.integers(-30, -15, n) & 0xFFFF) << 16
    b.tensor("scale", DType.SCALE, (n,), Role.CONSTANT, data=scale)
    bias = rng.integers(-999, 999, n)
    b.tensor("bias", DType.I32, (n,), Role.CONSTANT, frac=12, data=bias)
    b.tensor("w", DType.I8, (n, k), Role.CONSTANT, scale="scale", bias="bias",
             data=rng.integers(-128, 128, (n, k)))  # fmt: skip
    for name in ("y", "z"):
        b.tensor(name, DType.I32, (rows, n), Role.STATE, frac=12, length="n")
    for name, activation in (("y", "two"), ("z", "one")):
        b.emit("Quantise", activation, "x")
        b.emit("Linear", name, activation, "w")
    return b.build()


def four_bits(rng: np.random.Generator, rows: int, n: int, k: int, per: int) -> Image:
    """The same with weights of four bits, and activations that do not fit 16-bit lanes."""
    b = NetworkBuilder(width=64 * per)
    b.tensor("n", DType.I32, (1,), Role.STATE, data=[rows])
    x = rng.integers(-(2**20), 2**20, (rows, k))
    b.tensor("x", DType.I32, (rows, k), Role.STATE, frac=12, length="n", data=x)
    b.tensor("two", DType.ACT2, (rows, k), length="n")
    b.tensor("one", DType.ACT1, (rows, k), length="n")
    large = rng.integers(-32896, 32640, (rows, k))
    large[rows // 2 :] = np.clip(large[rows // 2 :], -16384, 16384)
    scales = np.full(rows, 40000), np.full(rows, -20)
    b.tensor("large", DType.ACT2, (rows, k), Role.STATE, data=large, scales=scales)
    scale = rng.integers(32768, 65536, n) | (rng.integers(-34, -19, n) & 0xFFFF) << 16
    b.tensor("scale", DType.SCALE, (n,), Role.CONSTANT, data=scale)
    bias = rng.integers(-999, 999, n)
    b.tensor("bias", DType.I32, (n,), Role.CONSTANT, frac=12, data=bias)
    groups = (n, k // GROUP)
    words = encode_groups(
        rng.integers(0, 16, (n, k)), rng.integers(0, 256, groups), rng.integers(-4096, 4096, groups)
    )
    b.tensor("w", DType.I4, (n, k), Role.CONSTANT, scale="scale", bias="bias", data=words)
    for activation in ("two", "one", "large"):
        length = None if activation == "large" else "n"
        name = f"{activation} y"
        b.tensor(name, DType.I32, (rows, n), Role.STATE, frac=12, length=length)
        if length:
            b.emit("Quantise", activation, "x")
        b.emit("Linear", name, activation, "w")
    return b.build()


def attention(rng: np.random.Generator, rows: int, width: int, position: int, per: int) -> Image:
    """Causal attention of tokens behind ``position`` others, whose scales differ widely."""
    context, heads = position + rows + 3, 2
    b = NetworkBuilder(width=64 * per)
    b.tensor("q", DType.I32, (rows, 2 * heads * width), Role.STATE, frac=12,
             data=rng.integers(-(2**17), 2**17, (rows, 2 * heads * width)))  # fmt: skip
    b.tensor("position", DType.I32, (1,), Role.STATE, data=[position])
    for name, least in (("k", -17), ("v", -24)):
        count = heads * context
        scales = rng.integers(32768, 65536, count), rng.integers(least, -14, count)
        b.tensor(name, DType.ACT1, (heads, context, width), Role.STATE, scales=scales,
                 data=rng.integers(-128, 128, (heads, context, width)))  # fmt: skip
    b.tensor("y", DType.I32, (rows, 2 * heads * width), Role.STATE, frac=16)
    b.parameters("a", "AttentionCausal", k="k", v="v", position="position",
                 scale=(47274, -18))  # fmt: skip
    b.emit("AttentionCausal", "y", "q", "a")
    b.emit("Halt")
    return b.build()


def llama(context: int = 24) -> Image:
    """A small model with a prompt of 5 tokens, and a sampler that draws."""
    config = LlamaConfig(
        layers=3, width=32, heads=4, kv_heads=2, ff=48, vocab=200, context=64, qkv_bias=True
    )
    rng = np.random.default_rng(5)
    weights = {name: rng.normal(0, 0.3, shape) for name, shape in llama_shapes(config).items()}
    image = build_llama(config, weights, context=context, prompt=5)
    set_sampler(image, temperature=1.2, top_k=50, top_p=0.9, penalty=1.1, seed=7)
    set_tokens(image, [3, 1, 4, 1, 5])
    return image


SHAPES = {"few": (3, 700, 128, 1), "many": (19, 150, 64, 1), "side by side": (9, 70, 64, 8),
          "wrapped": (6, 20, 300, 1), "one row": (1, 1, 4, 1),
          "long": (7, 40, 2060, 9)}  # fmt: skip
ATTENTION = {"one": (1, 64, 300, 1), "narrow": (2, 20, 130, 1), "first": (1, 16, 0, 1),
             "wrapped": (1, 260, 9, 1), "many": (21, 32, 110, 1)}  # fmt: skip
FOUR = {"few": (3, 700, 576, 2), "many": (19, 150, 160, 1), "side by side": (9, 70, 128, 8),
        "wrapped": (6, 20, 480, 1), "short": (5, 33, 64, 2), "one row": (1, 1, 32, 1),
        "spans": (2, 40, 1600, 4)}  # fmt: skip
PROGRAMS: dict[str, Callable[[], Image]] = {
    **{f"seed {seed}": lambda seed=seed: generate(seed) for seed in range(2000, 2016)},
    **{
        f"linear, {name}": lambda shape=shape: products(np.random.default_rng(1), *shape)
        for name, shape in SHAPES.items()
    },
    **{
        f"four bits, {name}": lambda shape=shape: four_bits(np.random.default_rng(1), *shape)
        for name, shape in FOUR.items()
    },
    **{
        f"attention, {name}": lambda shape=shape: attention(np.random.default_rng(1), *shape)
        for name, shape in ATTENTION.items()
    },
    "llama": llama,
}
STEPS = 400


def expected(image: Image) -> tuple[Image, int]:
    """The image after a run on the reference executor, and the steps made."""
    result = image.copy()
    return result, reference.run(result, verify(result), STEPS)


@needs_numba
@pytest.mark.parametrize("name", PROGRAMS)
def test_threads_and_instructions_change_no_byte(name: str, monkeypatch: pytest.MonkeyPatch):
    image = PROGRAMS[name]()
    wanted, steps = expected(image)
    assert name.startswith("seed") or not np.array_equal(image, wanted)
    for threads, vnni in [(1, None), (2, False), (2, True), (3, None), (5, False), (2, "avx2")]:
        found = image.copy()
        if vnni == "avx2":  # where this processor has it
            monkeypatch.setattr(native, "have_vnni", lambda: False)
        made = executor.run(found, verify(found), STEPS, threads, vnni=vnni is not False)
        assert made == steps
        assert np.array_equal(found, wanted), f"{threads} threads, vnni {vnni}"


def given(rows: int, k: int, value: int) -> Image:
    """A product of activations that somebody wrote, all of one value, with the largest weights."""
    b = NetworkBuilder(1024)
    one = (np.full(rows, 65535), np.full(rows, -40))
    b.tensor("x", DType.ACT2, (rows, k), Role.STATE, data=np.full((rows, k), value), scales=one)
    scale = np.full(37, 40000 | (-12 & 0xFFFF) << 16)
    b.tensor("scale", DType.SCALE, (37,), Role.CONSTANT, data=scale)
    b.tensor("w", DType.I8, (37, k), Role.CONSTANT, scale="scale", data=np.full((37, k), 127))
    b.tensor("out", DType.I32, (rows, 37), Role.STATE)
    b.emit("Linear", "out", "x", "w")
    b.emit("Halt")
    return b.build()


@needs_numba
@pytest.mark.parametrize("value", [-32896, -32768, -16385, 16384, 16385, 32639])
@pytest.mark.parametrize("k", [12, 100, 2060, 4096])
def test_activations_larger_than_any_that_is_quantised(
    value: int, k: int, monkeypatch: pytest.MonkeyPatch
):
    first = given(1, k, value)  # compiled for what this processor has
    executor.run(first, verify(first), STEPS, 1)
    monkeypatch.setattr(native, "have_vnni", lambda: False)  # AVX2, where this processor has it
    for rows in (1, 6):
        image = given(rows, k, value)
        wanted, steps = expected(image)
        for threads in (1, 3):
            found = image.copy()
            assert executor.run(found, verify(found), STEPS, threads) == steps
            assert np.array_equal(found, wanted), f"{rows} rows, {threads} threads"


@needs_numba
@pytest.mark.parametrize("name", ["linear, many", "linear, wrapped", "llama", "seed 2003"])
def test_padded_and_mapped_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mappable, "READ_WHOLE_BYTES", 0)  # small files are mapped as large ones are
    image = PROGRAMS[name]()
    wanted, steps = expected(image)
    padded, frame = guarded(image)
    save_image(image, tmp_path / "program.pxi", layout="mappable")
    mapped = open_image(tmp_path / "program.pxi")
    for found in (padded, mapped):
        assert not found.flags.c_contiguous
        assert executor.run(found, verify(found), STEPS, 2) == steps
        assert np.array_equal(found, wanted)
    assert not trespassed(frame)
    assert np.array_equal(read_image(tmp_path / "program.pxi"), image), "the file is not written"


@needs_numba
def test_a_run_goes_on_on_another_device_after_any_instruction():
    straight, left = llama(), 500
    while left:
        left -= reference.run(straight, verify(straight), left)
    for seed in range(3):
        rng, image, left, device = Random(seed), llama(), 500, 0
        while left:
            steps = min(left, rng.choice((0, 1, 1, 2, 3, 17, 60)))
            left -= executors.executor(("cpu", "reference")[device % 2]).run(
                image, verify(image), steps
            )
            device += 1
        assert np.array_equal(image, straight)


def verified(image: Image) -> TensorProgram:
    program = verify(image)
    assert isinstance(program, TensorProgram)
    return program


@needs_numba
def test_a_session_generates_token_after_token():
    one, other = llama(), llama()
    for device, image in (("cpu", one), ("reference", other)):
        session = executors.executor(device).session(image, verify(image), 2)
        for number in range(6):
            assert session.run(None) > 0
            assert len(tokens(image)) == number + 1
    assert tokens(one) == tokens(other) and np.array_equal(one, other)
    assert len(set(tokens(one))) > 1


@needs_numba
def test_nothing_runs_after_halt_and_in_no_steps():
    image = products(np.random.default_rng(2), 2, 8, 16, 1)
    before = image.copy()
    session = executor.Session(image, verified(image), 3)
    assert session.run(0) == 0
    assert np.array_equal(image, before)
    assert session.run() == 5
    assert read_state(image, verified(image).state_start)[State.STATUS] == HALTED
    after = image.copy()
    assert session.run() == 0 and np.array_equal(image, after)


@needs_numba
@pytest.mark.parametrize(
    "given,processors,used",
    [(1, 8, 1), (4, 8, 4), (8, 2, 2), (None, 3, 3), (1000, 1000, executor.MAX_THREADS)],
)
def test_threads_have_bounds(
    given: int | None, processors: int, used: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(resources, "processors", lambda: processors)
    image = products(np.random.default_rng(2), 2, 8, 16, 1)
    assert executor.Session(image, verified(image), given).crew.most == used


@needs_numba
def test_a_program_that_nobody_verified_does_not_run():
    image = products(np.random.default_rng(2), 2, 8, 16, 1)
    with pytest.raises(ProgramError, match="the verifier has admitted"):
        executor.run(image, parse(image), None)


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_dialect_0_is_the_references(path: Path):
    if executor.available():
        pytest.skip(executor.available())
    results: list[Any] = []
    for device in ("cpu", "reference"):
        image, refusal = read_image(path), ""
        try:
            run_program(image, 40, device=device)
        except (ExecutionError, ValueError) as error:
            refusal = str(error)
        results.append((image, refusal))
    assert np.array_equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_a_session_of_dialect_0_stops_and_goes_on(device: str):
    if reason := executors.load(device).available():
        pytest.skip(reason)
    path = next(p for p in NETWORKS if p.stem == "network")
    image, straight = read_image(path), read_image(path)
    run_program(straight, device="reference")
    session = executors.executor(device).session(image, verify(image))
    assert session.run(0) == 0
    made = 0
    while step := session.run(1):
        made += step
    assert made == len([i for i in verify(image).instructions if i.op.name != "Halt"])
    assert np.array_equal(image, straight)


def test_without_numba_the_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name, found=importlib.util.find_spec: (
                            None if name == "numba" else found(name)))  # fmt: skip
    with pytest.raises(DeviceError, match=r"'cpu' cannot be used: .*pip install numba"):
        executors.executor("cpu")
    assert executors.executor("auto") is reference


@needs_numba
def test_kept_kernels_run_without_numba_and_damaged_ones_are_compiled_anew(tmp_path: Path):
    b = NetworkBuilder()
    b.tensor("x", DType.I32, (1, 4), Role.STATE, data=[[1, 2, 3, 4]])
    b.tensor("y", DType.I32, (1, 4), Role.STATE)
    b.emit("Fill", "y", "x")
    save_image(b.build(), tmp_path / "fill.pxi")
    code = """
import sys
from pxvm.core.container import open_image
from pxvm.core.interpreter import run_program
image = run_program(open_image(sys.argv[1]), device="cpu")
print("numba" in sys.modules, image.tobytes().hex())
"""

    def start(folder: Path) -> tuple[str, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "fill.pxi")],
            env=os.environ | {"XDG_CACHE_HOME": str(folder)}, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        compiled, pixels = done.stdout.split()
        return compiled, pixels, done.stderr

    wanted = run_program(open_image(tmp_path / "fill.pxi"), device="reference").tobytes().hex()
    assert start(tmp_path) == ("True", wanted, "pxvm: compiling once for the CPU, 1 of 1: Fill\n")
    assert start(tmp_path) == ("False", wanted, "")
    (kept,) = tmp_path.glob("pxvm/kernels-*/Fill.o")
    whole = kept.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        kept.write_bytes(damaged)
        assert start(tmp_path)[:2] == ("True", wanted)
        assert start(tmp_path) == ("False", wanted, "")
    nowhere = tmp_path / "file"
    nowhere.write_text("no folder can be made below")
    assert start(nowhere)[:2] == ("True", wanted)
