"""No sum of a kernel overflows, no kernel leaves its scratch memory: by the rules' own limits."""

from __future__ import annotations

import ast
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pxvm.core import reference, reference1, resources
from pxvm.core.errors import DeviceError
from pxvm.core.interpreter import run_program
from pxvm.core.isa import OPCODES, Flow
from pxvm.core.layout import NetworkBuilder
from pxvm.core.ops import BLOCK
from pxvm.core.program import Image
from pxvm.core.rules import MAX_CONTEXT, MAX_INNER
from pxvm.core.tensor import GROUP, DType, Role, encode_groups
from pxvm.cpu import bounds, context, executor
from pxvm.cpu.scratch import SCRATCH, needed
from tests.differential.generator import CASES, generate, generate_large, generate_one
from tests.differential.harness import admitted
from tests.differential.maker import Maker

needs_numba = pytest.mark.skipif(bool(executor.available()), reason=executor.available() or "-")
KERNELS = (
    "attention", "dots", "finishing", "fourbit", "loop", "memory", "moving", "products", "rowwise",
    "tiles", "wide",
)  # fmt: skip
# What grows in a loop and is no sum of values: positions, and how many of something there were.
COUNTED = {
    "best", "bits", "child", "computed", "done", "epoch", "kept", "made", "number", "over",
    "pending", "pick", "s",
}  # fmt: skip


@pytest.mark.parametrize("name", bounds.SUMS)
def test_every_sum_fits(name: str):
    found = bounds.SUMS[name]
    assert found.term * found.count <= np.iinfo(found.dtype).max


def accumulators(source: str) -> set[str]:
    """function.variable of everything that a loop adds to or subtracts from."""
    found = set()
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for loop in ast.walk(function):
            if isinstance(loop, (ast.For, ast.While)):
                names = {name for node in ast.walk(loop) for name in grown(node)}
                found |= {f"{function.name}.{name}" for name in names}
    return found


def grown(node: ast.AST) -> set[str]:
    """The variables that a statement adds to: ``x += y`` or ``x = ... x + y``."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, (ast.Add, ast.Sub)):
        return {base(node.target)}
    if not isinstance(node, ast.Assign):
        return set()
    sums = [n for n in ast.walk(node.value) if isinstance(n, ast.BinOp)]
    sides = {ast.unparse(s) for n in sums if isinstance(n.op, ast.Add) for s in (n.left, n.right)}
    targets = [t for target in node.targets for t in getattr(target, "elts", [target])]
    return {base(target) for target in targets if ast.unparse(target) in sides}


def base(target: ast.expr) -> str:
    while isinstance(target, (ast.Subscript, ast.Attribute)):
        target = target.value
    assert isinstance(target, ast.Name)
    return target.id


def test_every_accumulator_of_every_kernel_has_its_bound():
    folder = Path(bounds.__file__).parent
    found = set()
    for module in KERNELS:
        source = (folder / f"{module}.py").read_text(encoding="utf-8")
        found |= {f"{module}.{name}" for name in accumulators(source)}
    sums = {name for name in found if name.split(".")[-1] not in COUNTED}
    vectors = {name for name in bounds.SUMS if name.startswith(("vnni.", "avx2.", "amx."))}
    assert sums == set(bounds.SUMS) - vectors - {"groups._codes", "groups._minima"}
    source = (folder / "vnni.py").read_text(encoding="utf-8")
    intrinsics = {
        f"vnni.{f.name}" for f in ast.parse(source).body
        if isinstance(f, ast.FunctionDef) and "_dot_accumulate" in ast.unparse(f)
        and any("intrinsic" in ast.unparse(d) for d in f.decorator_list)
    }  # fmt: skip
    written = {"vnni._vnni_rows1", "vnni._vnni_rows2"}
    avx2 = {f"avx2.{name}" for name in ("_dots", "_tile8", "_meet", "_weigh")}
    amx = {"amx._one", "amx._many"}
    assert intrinsics | written | avx2 | amx == vectors


def test_every_opcode_says_what_it_takes():
    tensor = {op.name for op in OPCODES if op.dialect == 1 and op.flow is Flow.NEXT}
    assert set(SCRATCH) == tensor
    assert {name for sizes in map(sizes_of, sorted(CASES)) for name in sizes} <= set(
        context.BUFFERS
    )


def sizes_of(op: str) -> dict[str, int]:
    return needed(admitted(generate_one(Random(op), op)))


SENTINEL = 0x5A


def programs() -> list[tuple[str, Image]]:
    small = [(f"seed {seed}", generate(seed)) for seed in range(3000, 3012)]
    large = [(f"large {seed}", generate_large(seed)) for seed in range(3000, 3008)]
    return small + large + [(name, make()) for name, make in WIDE.items()]


@needs_numba
@pytest.mark.parametrize("vnni", [None, False])
def test_no_kernel_writes_behind_its_buffers(vnni: bool | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "processors", lambda: 2)
    for name, image in programs():
        wanted, found = image.copy(), image.copy()
        session = executor.Session(found, admitted(found), 2, vnni=vnni)
        gaps = {
            key: session.context.arrays[key].view(np.uint8)[..., -bytes_of(dtype) :]
            for key, (dtype, _) in context.BUFFERS.items()
        }
        for gap in gaps.values():
            gap[...] = SENTINEL
        session.run(60)
        reference.session(wanted, admitted(wanted)).run(60)
        assert np.array_equal(found, wanted), name
        assert not [key for key, gap in gaps.items() if (gap != SENTINEL).any()], name


def bytes_of(dtype: Any) -> int:
    return context.GAP * np.dtype(dtype).itemsize


def attention(
    tokens: int, width: int, heads: int, rows: int, *, value: int = 100, op: str = "AttentionCausal"
) -> Image:
    """Attention over keys that are all the same, so that all weights are the largest there is."""
    b = NetworkBuilder(4096)
    wide = heads * width
    b.tensor("q", DType.I32, (rows, wide), Role.STATE, frac=16, data=np.zeros((rows, wide), int))
    for name in ("k", "v"):
        scales = np.full(tokens, 65535), np.full(tokens, -16)
        b.tensor(name, DType.ACT1, (1, tokens, width), Role.CONSTANT,
                 data=np.full((1, tokens, width), value), scales=scales)  # fmt: skip
    b.tensor("out", DType.I32, (rows, wide), Role.STATE, frac=16)
    b.scalar("n", tokens if op == "AttentionFull" else tokens - rows)
    named = {"span": "n", "lengths": "n"} if op == "AttentionFull" else {"position": "n"}
    b.parameters("p", op, k="k", v="v", scale=(32768, -15), **named)
    b.emit(op, "out", "q", "p")
    return b.build()


# Heads wider than a batch of queries is long, with few query heads.
WIDE = {
    f"{heads} heads of {width}, {rows} rows": lambda heads=heads, width=width, rows=rows: attention(
        40, width, heads, rows
    )
    for heads, width, rows in ((1, 260, 4), (1, 1000, 9), (2, 65532, 5), (1, MAX_INNER, 4))
}


def agree(image: Image) -> Image:
    """The image after a run, the same on both executors, with VNNI and without."""
    wanted = run_program(image.copy(), device="reference")
    for vnni in (None, False):
        found = image.copy()
        executor.run(found, admitted(found), None, 2, vnni=vnni)
        assert np.array_equal(found, wanted)
    return wanted


@needs_numba
@pytest.mark.parametrize("rows,op", [(1, "AttentionCausal"), (4, "AttentionFull")])
@pytest.mark.parametrize("value", [100, -128])
@pytest.mark.parametrize("tokens", [BLOCK + 1, 1023, 65536, MAX_CONTEXT])
def test_attention_over_many_equal_tokens(tokens: int, value: int, rows: int, op: str):
    image = agree(attention(tokens, 4, 1, rows, value=value, op=op))
    (out,) = [r for r in admitted(image).regions if r.name == "out"]
    assert np.abs(out.values(image) - value).max() < 0.01


@needs_numba
@pytest.mark.parametrize("name", WIDE)
def test_wide_heads_keep_all_rows(name: str):
    image = agree(WIDE[name]())
    (out,) = [r for r in admitted(image).regions if r.name == "out"]
    assert np.abs(out.values(image) - 100).max() < 0.01


@needs_numba
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("minimum", [-32768, 32767])
@pytest.mark.parametrize("x", [16384, -16384, -32896])
def test_products_of_four_bits_as_large_as_they_get(x: int, minimum: int, rows: int):
    """Every code, scale, minimum and activation at an end of its range; the last beyond lanes."""
    b, cols, ones = NetworkBuilder(16380), MAX_INNER, np.ones((2, MAX_INNER // GROUP), np.int64)
    scales = np.full(rows, 65535), np.full(rows, -16)
    data = np.full((rows, cols), x)
    b.tensor("x", DType.ACT2, (rows, cols), Role.STATE, data=data, scales=scales)
    b.tensor("s", DType.SCALE, (2,), Role.CONSTANT, data=np.full(2, 0xFFFF | 0xFFDC << 16))
    words = encode_groups(np.full((2, cols), 15), 255 * ones, minimum * ones)
    b.tensor("w", DType.I4, (2, cols), Role.CONSTANT, scale="s", data=words)
    b.tensor("y", DType.I32, (rows, 2), Role.STATE, frac=0)
    b.emit("Linear", "y", "x", "w")
    image = agree(b.build())
    (out,) = [r for r in admitted(image).regions if r.name == "y"]
    exact = x * (15 * 255 + minimum) * MAX_INNER * 65535**2 / 2**52
    assert np.abs(out.values(image) / exact - 1).max() < 1e-4


@needs_numba
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("op,weight", [("Linear", -128), ("Linear", 127), ("MatMul", -32896)])
def test_products_as_large_as_they_get(op: str, weight: int, rows: int):
    """Every weight and every activation at an end of its range, over as many as the rule allows."""
    b = NetworkBuilder(4096)
    scales = np.full(rows, 65535), np.full(rows, -16)
    data = np.full((rows, MAX_INNER), -32896)
    b.tensor("x", DType.ACT2, (rows, MAX_INNER), Role.STATE, data=data, scales=scales)
    full = np.full((17, MAX_INNER), weight)
    if op == "Linear":
        b.tensor("s", DType.SCALE, (17,), Role.CONSTANT, data=np.full(17, 0xFFFF | 0xFFE0 << 16))
        b.tensor("w", DType.I8, full.shape, Role.CONSTANT, scale="s", data=full)
    else:
        scales = np.full(17, 65535), np.full(17, -32)
        b.tensor("w", DType.ACT2, full.shape, Role.CONSTANT, data=full, scales=scales)
    b.tensor("y", DType.I32, (rows, 17), Role.STATE, frac=0)
    b.emit(op, "y", "x", "w")
    image = agree(b.build())
    (out,) = [r for r in admitted(image).regions if r.name == "y"]
    exact = -32896 * weight * MAX_INNER * 65535**2 / 2**48
    assert np.abs(out.values(image) - exact).max() <= abs(exact) / 2**15


def unused(image_of: str) -> Image:
    """A program that adds one to one, beside tensors that no instruction names."""
    b = NetworkBuilder(4096)
    if image_of == "caches":
        b.tensor("a", DType.ACT1, (1, 1 << 20, 4), Role.CONSTANT)
        b.tensor("b", DType.ACT1, (1, 1, 65536), Role.CONSTANT)
    elif image_of == "row":
        b.tensor("a", DType.I8, (1, 1 << 22), Role.CONSTANT)
    else:
        b.tensor("a", DType.ACT1, (1 << 20, 4), Role.CONSTANT)
    b.tensor("x", DType.I32, (1, 1), Role.STATE, data=[[1]])
    b.emit("Add", "x", "x", "x")
    return b.build()


@pytest.mark.parametrize("name", ["caches", "row", "planes"])
def test_what_no_instruction_names_takes_no_memory(name: str):
    sizes = needed(admitted(unused(name)))
    assert sizes == {"row0": 1, "row1": 1}
    assert context.size_of(sizes, 2) < 20_000


def test_caches_of_two_instructions_do_not_multiply():
    b = NetworkBuilder(4096)
    for name, tokens, width in (("long", 1 << 18, 4), ("wide", 4, 65536)):
        shape = (1, tokens, width)
        b.tensor(f"{name} k", DType.ACT1, shape, Role.STATE)
        b.tensor(f"{name} v", DType.ACT1, shape, Role.STATE)
        b.tensor(f"{name} q", DType.I32, (4, width), Role.STATE)
        b.tensor(f"{name} y", DType.I32, (4, width), Role.STATE)
        b.scalar(f"{name} n", 1)
        b.parameters(f"{name} p", "AttentionCausal", k=f"{name} k", v=f"{name} v",
                     position=f"{name} n", scale=(32768, -15))  # fmt: skip
        b.emit("AttentionCausal", f"{name} y", f"{name} q", f"{name} p")
    assert context.size_of(needed(admitted(b.build())), 1) < 32 << 20


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_memory_is_refused_before_it_is_taken(device: str, monkeypatch: pytest.MonkeyPatch):
    if device == "cpu" and executor.available():
        pytest.skip(executor.available())
    image = attention(1 << 16, 4, 1, 4)
    before = image.copy()
    monkeypatch.setattr(resources, "free_memory", lambda: 100_000)
    monkeypatch.setattr(executor, "allocate", None)
    with pytest.raises(DeviceError, match=r"needs [\d.]+ [kM]B of memory; 100 kB are free$"):
        run_program(image, device=device, threads=1)
    assert np.array_equal(image, before)


def test_memory_that_cannot_be_had_is_one_error():
    with pytest.raises(DeviceError, match=r"does not give the 576 PB of memory needed"):
        context.allocate({"bits": 1 << 58}, 2)


def test_the_reference_takes_no_more_than_it_says(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(reference1, "require_memory", lambda n, what: asked.append(n))
    for op in sorted(CASES):
        maker = Maker(Random(f"{op} 1"), large=True)
        maker.set_rows()
        CASES[op](maker)
        maker.emit("Halt")
        image = maker.build()
        session = reference.session(image, admitted(image))
        tracemalloc.start()
        session.run(1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < asked[-1] + (4 << 20), op


def test_every_thread_s_buffers_begin_cache_lines_of_their_own():
    sizes = dict.fromkeys(context.BUFFERS, 37)
    for name, buffer in context.allocate(sizes, 3).items():
        assert buffer.flags.c_contiguous and not buffer.any()
        for row in buffer if buffer.ndim == 2 else [buffer]:
            assert row.ctypes.data % context.LINE == 0, name
            assert len(row) >= 37 + context.GAP
