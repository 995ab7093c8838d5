"""The GPU executor beside the reference: what stays on the device, what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from pxvm.cli import cli
from pxvm.core import executors
from pxvm.core.errors import DeviceError
from pxvm.core.integer import HIGHEST
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.plan import plan_of
from pxvm.core.program import Image
from pxvm.core.tensor import GROUP, DType, Role, encode_groups
from pxvm.core.verifier import verify
from pxvm.gpu import devices, phases, resident, shaders
from pxvm.gpu import executor as gpu
from pxvm.gpu.planned import Planned
from pxvm.models.families.llama import LlamaConfig, build_llama, weight_shapes
from pxvm.models.graph.fields import Fields

needs_gpu = pytest.mark.skipif(bool(gpu.available()), reason=gpu.available() or "there is one")


def sums() -> Image:
    """A program that doubles x into y and adds x to z, and yields; again and again."""
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (1, 4), Role.STATE, data=[[1, 2, 3, 2**29]])
    b.tensor("y", DType.I32, (1, 4), Role.STATE)
    b.tensor("z", DType.I32, (1, 4), Role.STATE)
    b.label("start")
    b.emit("Add", "y", "x", "x")
    b.emit("Add", "z", "z", "y")
    b.emit("Yield")
    b.emit("Add", "z", "z", "y")
    b.emit("Halt")
    return b.build()


@needs_gpu
def test_what_the_host_does_not_name_stays_on_the_device_until_asked_for():
    ours, plain = sums(), sums()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours))
    session.host(["x", "z"])
    f, g = Fields(ours), Fields(plain)
    session.run()
    run_program(plain, device="reference")
    assert f["z"].tolist() == g["z"].tolist() and not np.array_equal(f["z"], f["y"])
    assert f["y"].tolist() == [[0, 0, 0, 0]]
    f["x"] = g["x"] = [[5, 6, 7, 8]]
    session.run()
    run_program(plain, device="reference")
    assert f["z"].tolist() == g["z"].tolist()
    session.sync()
    assert np.array_equal(ours, plain)


def products(rows: int) -> Image:
    """x of 4-column rows times a weight of 70 rows, then something of each element and each row."""
    rng = np.random.default_rng(rows)
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (rows, 4), Role.STATE, frac=8, data=rng.integers(-999, 999, (rows, 4)))
    b.tensor("scales", DType.SCALE, (70,), Role.CONSTANT, data=[(-14 << 16) | 40000] * 70)
    b.tensor("w", DType.I8, (70, 4), Role.CONSTANT, data=rng.integers(-127, 128, (70, 4)),
             scale="scales")  # fmt: skip
    b.tensor("act", DType.ACT2, (rows, 4), Role.STATE)
    for name in ("y", "z"):
        b.tensor(name, DType.I32, (rows, 70), Role.STATE, frac=8)
    b.emit("Quantise", "act", "x")
    b.emit("Linear", "y", "act", "w")
    b.emit("Linear", "z", "act", "w")
    b.emit("Add", "z", "z", "y")
    b.emit("Quantise", "act", "x")
    b.emit("Halt")
    return b.build()


@needs_gpu
@pytest.mark.parametrize("way", [gpu.PLANNED, gpu.RESIDENT])
@pytest.mark.parametrize("rows", [1, shaders.FEW, shaders.FEW + 1, 70])
def test_both_ways_with_few_rows_and_with_more_tiles_than_workgroups(rows, way):
    ours, plain = products(rows), products(rows)
    gpu.Session(devices.open_gpu(), ours, verify(ours), way).run()
    run_program(plain, device="reference")
    assert np.array_equal(ours, plain)


def products_of_four_bits(rows: int, columns: int, dtype: DType, ends: bool) -> Image:
    """Rows times a weight of 70 rows, and rows of it; ``ends``: all as large as there is."""
    rng = np.random.default_rng(rows + columns)
    codes, groups = rng.integers(0, 16, (70, columns)), (70, columns // GROUP)
    scales = rng.choice([0, 1, 200, 255], groups)
    minima = rng.choice([-32768, -1500, 0, 3, 32767], groups)
    x = rng.integers(-(2**20), 2**20, (rows, columns))
    if ends:
        codes[:], scales[:], minima[:35], minima[35:], x[:] = 15, 255, 32767, -32768, -(2**20)
    b = NetworkBuilder(64)
    b.tensor("scales", DType.SCALE, (70,), Role.CONSTANT, data=[(-56 << 16) | 40000] * 70)
    bias = rng.integers(-999, 999, 70)
    b.tensor("bias", DType.I32, (70,), Role.CONSTANT, frac=24, data=bias)
    b.tensor("w", DType.I4, (70, columns), Role.CONSTANT, scale="scales", bias="bias",
             data=encode_groups(codes, scales, minima))  # fmt: skip
    b.tensor("x", DType.I32, (rows, columns), Role.STATE, frac=8, data=x)
    b.tensor("act", dtype, (rows, columns), Role.STATE)
    b.tensor("y", DType.I32, (rows, 70), Role.STATE, frac=24)
    b.tensor("ids", DType.I32, (3, 1), Role.STATE, data=[[0], [69], [70]])
    b.tensor("e", DType.I32, (3, columns), Role.STATE, frac=46)
    b.emit("Quantise", "act", "x")
    b.emit("Linear", "y", "act", "w")
    b.emit("Embed", "e", "ids", "w")
    b.emit("Halt")
    return b.build()


@needs_gpu
@pytest.mark.parametrize("way", [gpu.PLANNED, gpu.RESIDENT])
@pytest.mark.parametrize("dtype", [DType.ACT1, DType.ACT2])
@pytest.mark.parametrize("columns", [32, 160, 5024])
@pytest.mark.parametrize("rows", [shaders.FEW, 70])
def test_weights_of_four_bits(rows, columns, dtype, way):
    """One group, a row wider than the picture, more groups than a workgroup keeps at hand."""
    for ends in (False, True):
        ours = products_of_four_bits(rows, columns, dtype, ends)
        plain = ours.copy()
        gpu.Session(devices.open_gpu(), ours, verify(ours), way).run()
        run_program(plain, device="reference")
        for name in ("y", "e"):
            largest = np.abs(Fields(plain)[name].astype(np.int64)).max()
            assert 0 < largest < HIGHEST, name
        assert np.array_equal(ours, plain)


def tiles_of_a_product(dtype: DType) -> Image:
    """More rows, columns and words than a tile has at a time, and none of them a multiple of it."""
    rng = np.random.default_rng(3)
    b = NetworkBuilder(64)
    b.tensor("scales", DType.SCALE, (70,), Role.CONSTANT, data=[(-28 << 16) | 40000] * 70)
    bias = rng.integers(-999, 999, 70)
    b.tensor("bias", DType.I32, (70,), Role.CONSTANT, frac=12, data=bias)
    b.tensor("w", DType.I8, (70, 420), Role.CONSTANT, scale="scales", bias="bias",
             data=rng.integers(-127, 128, (70, 420)))  # fmt: skip
    b.scalar("n", 69)
    b.tensor("x", DType.I32, (70, 420), Role.STATE, frac=8, length="n",
             data=rng.integers(-(2**13), 2**13, (70, 420)))  # fmt: skip
    b.tensor("act", dtype, (70, 420), Role.STATE, length="n")
    b.tensor("y", DType.I32, (70, 70), Role.STATE, frac=12, length="n")
    b.emit("Quantise", "act", "x")
    b.emit("Linear", "y", "act", "w")
    b.emit("Halt")
    return b.build()


@needs_gpu
@pytest.mark.parametrize("dtype", [DType.ACT1, DType.ACT2])
def test_a_product_in_tiles_that_its_sides_do_not_fill(dtype):
    ours, plain = tiles_of_a_product(dtype), tiles_of_a_product(dtype)
    gpu.Session(devices.open_gpu(), ours, verify(ours), gpu.PLANNED).run()
    run_program(plain, device="reference")
    assert np.abs(Fields(plain)["y"]).max() > 2**12
    assert np.array_equal(ours, plain)


def queries(kind: str, width: int, position: int, **more: int) -> Image:
    """Two heads' 37 queries, 36 in use, appended to a cache of 300 tokens and looked up there."""
    rng = np.random.default_rng(width)
    b = NetworkBuilder(256)
    for name in ("k", "v"):
        scales = rng.integers(2**15, 2**16, 300), rng.integers(-22, -14, 300)
        b.tensor(name, DType.ACT1, (1, 300, width), Role.STATE, scales=scales,
                 data=rng.integers(-127, 128, (300, width)))  # fmt: skip
    b.scalar("used", 36)
    b.scalar("position", position)
    b.scalar("span", 20)
    b.tensor("lengths", DType.I32, (2, 1), Role.STATE, data=[[20], [13]])
    for name, heads in (("x", 1), ("q", 2), ("y", 2)):
        b.tensor(name, DType.I32, (37, heads * width), Role.STATE, frac=12, length="used",
                 data=rng.integers(-(2**14), 2**14, (37, heads * width)))  # fmt: skip
    where = {"span": "span", "lengths": "lengths"} if kind.endswith("Full") else {
        "position": "position"}  # fmt: skip
    b.parameters("p", kind, k="k", v="v", scale=(40000, -18), **where, **more)
    b.emit("Append", "k", "x", "position")
    b.emit(kind, "y", "q", "p")
    b.emit("Halt")
    return b.build()


@needs_gpu
@pytest.mark.parametrize(
    ("way", "kind", "width", "position", "more"),
    [
        (gpu.PLANNED, "AttentionCausal", 20, 0, {}),
        (gpu.PLANNED, "AttentionCausal", 68, 280, {}),  # the last ones at the context's end
        (gpu.PLANNED, "AttentionCausal", 260, 150, {}),  # wider than what goes together
        (gpu.PLANNED, "AttentionWindow", 64, 140, {"window": 176}),  # all of them see the first
        (gpu.PLANNED, "AttentionWindow", 64, 140, {"window": 150}),
        (gpu.PLANNED, "AttentionFull", 32, 0, {}),
        (gpu.RESIDENT, "AttentionCausal", 64, 250, {}),
    ],
)
def test_many_queries(way, kind, width, position, more):
    ours = queries(kind, width, position, **more)
    plain = ours.copy()
    gpu.Session(devices.open_gpu(), ours, verify(ours), way).run()
    run_program(plain, device="reference")
    assert len(np.unique(Fields(plain)["y"][:36])) > 500
    assert np.array_equal(ours, plain)


@needs_gpu
@pytest.mark.parametrize("way", [gpu.PLANNED, gpu.RESIDENT])
def test_several_rounds_in_a_run_up_to_a_value(way):
    """Each round adds 1 to n and yields."""

    def counting() -> Image:
        b = NetworkBuilder(64)
        b.constant("one", 1)
        b.constant("rounds", 9)
        b.scalar("n")
        b.emit("Loop", "rounds", 0)
        b.emit("Add", "n", "n", "one")
        b.emit("Yield")
        b.emit("EndLoop")
        b.emit("Halt")
        return b.build()

    ours, plain = counting(), counting()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), way)
    session.run_on(2, "n", ())
    assert Fields(ours)["n"] == [2]
    session.run_on(5, "n", (7, 4))
    assert Fields(ours)["n"] == [4]
    for _ in range(4):
        run_program(plain, device="reference")
    assert np.array_equal(ours, plain)


def test_a_layer_of_few_rows_needs_six_barriers():
    config = LlamaConfig(layers=2, width=8, heads=2, kv_heads=1, ff=8, vocab=16, context=8)
    weights = {name: np.ones(shape) for name, shape in weight_shapes(config).items()}
    program = verify(build_llama(config, weights))
    needs = phases.phases_of(program).needs
    code = program.instructions
    first = next(i.index for i in code if i.op.name == "RMSNorm")
    end = next(i.index for i in code if i.op.name == "EndLoop")
    names = [code[i].op.name for i in range(first, end) if needs[i] == phases.Need.FULL]
    assert names == ["RMSNorm", "Append", "AttentionCausal", "Quantise", "RMSNorm", "Quantise"]
    every = plan_of(program).barriers
    assert np.array_equal(every, needs != phases.Need.NO)


def test_what_uses_the_one_scratch_is_parted_by_a_barrier():
    """Two draws side by side, each by a workgroup of its own, wrote over each other's logits."""
    b = NetworkBuilder(64)
    for name in ("one", "two"):
        b.tensor(f"logits_{name}", DType.I32, (1, 8), Role.STATE, frac=16)
        b.scalar(f"token_{name}", 0)
        b.tensor(f"random_{name}", DType.I32, (2,), Role.STATE)
    b.tensor("history", DType.I32, (1, 1), Role.STATE)
    for name in ("temperature", "top_k", "top_p", "penalty"):
        b.scalar(name, 1)
    for name in ("one", "two"):
        settings = {n: n for n in ("temperature", "top_k", "top_p", "penalty", "history")}
        b.parameters(f"sampler_{name}", "Sample", **settings, random=f"random_{name}")
        b.emit("Sample", f"token_{name}", f"logits_{name}", f"sampler_{name}")
    b.emit("Halt")
    needs = phases.phases_of(verify(b.build())).needs
    assert needs.tolist() == [phases.Need.FULL] * 3


def test_what_steers_a_program_is_waited_for():
    """Of six rows that workgroups share, one jumped by the first before another had made it."""
    b = NetworkBuilder(64)
    for name in ("x", "shares"):
        b.tensor(name, DType.I32, (6, 3), Role.STATE, frac=30)
    b.emit("Softmax", "shares", "x")
    b.emit("SkipIfZero", "shares", 1)
    b.emit("Yield")
    b.emit("Halt")
    assert phases.phases_of(verify(b.build())).needs[1] == phases.Need.FULL


def test_a_length_that_each_workgroup_makes_for_itself_is_waited_for():
    """Lengths are looked at before the first instruction of a phase."""
    b = NetworkBuilder(64)
    for name in ("x", "n"):
        b.tensor(name, DType.I32, (1, 1), Role.STATE)
    b.tensor("y", DType.I32, (4, 1), Role.STATE, length="n")
    b.emit("Softmax", "n", "x")
    b.emit("Add", "y", "y", "x")
    b.emit("Halt")
    assert phases.phases_of(verify(b.build())).needs[1] == phases.Need.FULL


def test_a_fence_of_few_rows_is_none_of_many():
    b = NetworkBuilder(64)
    for rows, name in ((40, "many"), (1, "few")):
        for part in ("x", "y"):
            b.tensor(f"{name} {part}", DType.I32, (rows, 3), Role.STATE)
    for name in ("many", "few", "few", "many", "few"):
        b.emit("Add", f"{name} y", f"{name} y", f"{name} x")
    b.emit("Halt")
    full, no, light = phases.Need.FULL, phases.Need.NO, phases.Need.LIGHT
    needs = phases.phases_of(verify(b.build())).needs
    assert needs.tolist() == [full, no, light, light, light, full]


@needs_gpu
@pytest.mark.parametrize("way", [gpu.PLANNED, gpu.RESIDENT])
def test_a_length_that_changes_right_before_it_counts(way):
    def shortened() -> Image:
        b = NetworkBuilder(64)
        b.tensor("counts", DType.I32, (3, 1), Role.STATE, data=[[1], [4], [2]])
        b.scalar("n", 4)
        b.tensor("x", DType.I32, (4, 4), Role.STATE, data=np.arange(16).reshape(4, 4), length="n")
        b.tensor("last", DType.I32, (1, 4), Role.STATE)
        b.emit("Tail", "n", "counts")
        b.emit("Tail", "last", "x")
        b.emit("Halt")
        return b.build()

    ours, plain = shortened(), shortened()
    gpu.Session(devices.open_gpu(), ours, verify(ours), way).run()
    run_program(plain, device="reference")
    assert np.array_equal(ours, plain) and Fields(ours)["last"].tolist() == [[4, 5, 6, 7]]


@needs_gpu
def test_who_waits_in_vain_leaves_everything_to_the_planned_way(monkeypatch):
    """With one workgroup fewer counted than there are, the first wait is one in vain."""
    monkeypatch.setattr(resident, "SPINS", 100)
    ours, plain = sums(), sums()
    session = gpu.Session(devices.open_gpu(), ours, verify(ours), gpu.RESIDENT)
    session.run()
    run_program(plain, device="reference")
    before = ours.copy()
    encoder, changing = session.worker._encoder, session.picture.changing

    def with_one_missing(*args, **options):
        minus_one = np.array([0xFFFFFFFF], np.uint32)
        session.gpu.device.queue.write_buffer(changing, 4 * shaders.ARRIVED, minus_one)
        return encoder(*args, **options)

    monkeypatch.setattr(session.worker, "_encoder", with_one_missing)
    with pytest.raises(DeviceError, match="waited in vain"):
        session.run()
    assert np.array_equal(ours, before)
    session.way = ""
    session.run()
    run_program(plain, device="reference")
    assert isinstance(session.worker, Planned) and np.array_equal(ours, plain)


@needs_gpu
def test_what_the_host_never_names_is_there_from_the_beginning():
    """The caches of a saved answer, say, which is gone on with."""
    ours, plain = sums(), sums()
    for image in (ours, plain):
        Fields(image)["z"] = [[7, 8, 9, 10]]
    session = gpu.Session(devices.open_gpu(), ours, verify(ours))
    session.host(["x"])
    session.run()
    session.sync()
    run_program(plain, device="reference")
    assert np.array_equal(ours, plain)


@needs_gpu
def test_the_mark_of_what_did_not_fit_comes_back():
    image = sums()
    session = gpu.Session(devices.open_gpu(), image, verify(image))
    session.run()
    assert Fields(image).saturated is False
    session.run()
    assert Fields(image).saturated  # 2^30 and 2^30


@needs_gpu
def test_a_run_stops_where_it_is_told_to_and_goes_on_elsewhere():
    whole = sums()
    for _ in range(2):
        run_program(whole, device="reference")
    for first in range(5):
        image = sums()
        assert gpu.run(image, verify(image), first) == min(first, 3)
        run_program(image, device="reference")
        run_program(image, device="gpu")
        assert np.array_equal(image, whole)


@needs_gpu
def test_devices_by_number_and_what_there_is_not():
    image = sums()
    run_program(image, device="gpu:0")
    ways = "expected gpu, gpu:wgpu, gpu:dawn"
    for device, says in {
        "gpu:99": r"expected a GPU of 0 to \d+, as `pxvm gpus` shows; found 99",
        "gpu:" + 5000 * "9": ways, "gpu:fast": ways, "gpu:0:0": ways, "gpu:": ways,
        "reference:1": "'reference' is one", "reference:": "'reference' is one",
        "auto:1": "no executor for device 'auto:1'",
    }.items():  # fmt: skip
        with pytest.raises(DeviceError, match=says):
            run_program(sums(), device=device)
    here = devices.adapters()[0]
    there = next(name for name in devices.LIBRARIES if name != here.through)
    pytest.importorskip(devices.LIBRARIES[there][0])
    with pytest.raises(DeviceError, match=f"GPU 0 is reached through {here.through}; found both"):
        run_program(sums(), device=f"gpu:0:{there}")


@needs_gpu
def test_the_list_of_gpus():
    found = CliRunner().invoke(cli, ["gpus"]).output
    assert "gpu:0" in found and devices.adapters()[0].name in found
    first = json.loads(CliRunner().invoke(cli, ["gpus", "--json"]).output)[0]
    assert first["number"] == 0 and first["limits"]["max-storage-buffer-binding-size"] >= 2**27


def test_every_opcode_has_its_shader_and_its_workgroups():
    text = shaders.planned(1 << 25, 1)
    for operation in (*shaders.OPERATIONS.values(), *shaders.EXTRA):
        assert len(re.findall(rf"fn {operation}\(c: Call", text)) == 1
        assert f"fn run_{operation[3:]}(" in text


def test_what_a_gpu_cannot_hold_is_refused_before_anything_is_uploaded():
    class Small:
        adapter = devices.Adapter(3, "tiny", "DiscreteGPU", "Vulkan", "", {
            "max-storage-buffer-binding-size": 4096}, (), None)  # fmt: skip

    says = r"GPU 3 \(tiny\) takes 4096 bytes in one piece.*8192;.* cpu "
    with pytest.raises(DeviceError, match=says):
        devices.Gpu.buffer(Small(), 2048)


def test_without_a_gpu_or_wgpu_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(devices, "_found", lambda library: ())
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: True)
    assert gpu.available() == devices.NONE
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert gpu.available() == "wgpu is not installed (extra gpu): pip install wgpu"
    with pytest.raises(DeviceError, match=r"cannot be used: wgpu is not installed"):
        monkeypatch.setattr(executors, "installed", lambda: ["gpu"])
        executors.executor("gpu")
