"""What goes wrong on a device: one clear error, the image and the file as they were."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from pxvm.cli import cli
from pxvm.core import executors
from pxvm.core.container import save_image
from pxvm.core.errors import DeviceError, MissingPackageError
from pxvm.core.interpreter import run_program
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.tensor import DType, Role
from pxvm.core.verifier import verify
from pxvm.gpu import devices, guarded, measuring, shaders
from pxvm.gpu import executor as gpu
from pxvm.gpu.measuring import Measured
from pxvm.gpu.planned import Planned
from pxvm.models.graph.fields import Fields
from tests.cpu.test_bounds import attention
from tests.gpu.test_gpu import needs_gpu, sums

FAST = Measured(1e12, 1e10, 0.5, 1e-6, 1e12, 1e-6, 1e10)


@pytest.fixture
def opened():
    """The GPU, open; whatever becomes of it, the next test opens another."""
    devices.forget()
    yield devices.open_gpu()
    devices.forget()


@needs_gpu
def test_a_lost_device_is_one_error_and_the_next_run_opens_another(opened, tmp_path):
    path = tmp_path / "sums.pxi"
    save_image(sums(), path, layout="mappable")
    before = path.read_bytes()
    image = sums()
    session = gpu.session(image, verify(image))
    opened.device.destroy()
    with pytest.raises(DeviceError, match=r"GPU 0 \(.*\) was lost .* --device cpu does without"):
        session.run(None)
    assert np.array_equal(image, sums())
    assert CliRunner().invoke(cli, ["run", str(path), "--device", "gpu"]).exit_code == 0
    assert path.read_bytes() == before
    assert devices.open_gpu() is not opened


@needs_gpu
def test_a_loss_in_the_middle_of_an_answer_leaves_what_the_host_had(opened):
    image = sums()
    session = gpu.session(image, verify(image))
    session.host(["x", "z"])
    session.run()
    between = image.copy()
    opened.device.destroy()
    for go_on in (session.run, session.sync):
        with pytest.raises(DeviceError, match="was lost"):
            go_on()
    assert np.array_equal(image, between)


@needs_gpu
@pytest.mark.parametrize("fails", [(gpu.Picture, "read"), (Planned, "_submit")])
def test_nothing_follows_a_run_that_failed(opened, monkeypatch, fails):
    """The device has more of it than the image: a run would go on from neither."""
    image = sums()
    session = gpu.session(image, verify(image))
    session.run()
    between = image.copy()

    def full(*arguments, **named):
        raise MemoryError

    with monkeypatch.context() as m:
        m.setattr(*fails, full)
        with pytest.raises(DeviceError, match="has no room for the program"):
            session.run()
    for go_on in (session.run, session.sync):
        with pytest.raises(DeviceError, match="has no room for the program"):
            go_on()
    assert np.array_equal(image, between)


@needs_gpu
def test_a_shader_that_does_not_compile_is_one_error(opened, monkeypatch):
    image = sums()
    monkeypatch.setattr(shaders, "planned", lambda *options: "fn broken( {")
    with pytest.raises(DeviceError, match=r"GPU 0 .* refuses the program: .*\S") as caught:
        gpu.session(image, verify(image)).run(None)
    assert "\n" not in str(caught.value)
    assert Fields(image)["y"].tolist() == [[0, 0, 0, 0]]


@needs_gpu
def test_no_room_is_one_error_before_anything_is_uploaded(opened, monkeypatch):
    image = sums()

    def full(**options):
        raise opened.library.GPUOutOfMemoryError("none left")

    monkeypatch.setattr(type(opened.device), "create_buffer", lambda self, **o: full(**o))
    with pytest.raises(DeviceError, match=r"GPU 0 .* has no room for a buffer of \S+ \w+;"):
        gpu.session(image, verify(image))
    assert np.array_equal(image, sums())


def test_a_driver_that_does_not_open_a_device_is_one_error():
    class Closed:
        def request_device_sync(self, **options):
            raise RuntimeError("the driver\x1b[2J says\nno")

    pytest.importorskip("wgpu")
    adapter = devices.Adapter(2, "shut", "DiscreteGPU", "Vulkan", "", {}, (), Closed())
    with pytest.raises(DeviceError) as caught:
        devices.Gpu(adapter)
    assert str(caught.value) == "GPU 2 (shut) does not open: the driver [2J says no"


def test_a_library_that_is_not_there_says_what_installs_it(monkeypatch):
    there = devices.importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "wgpudawn", None)
    with pytest.raises(MissingPackageError, match=r"wgpudawn is not installed \(extra gpu-dawn\)"):
        gpu.choose("dawn").session(sums(), verify(sums()))
    monkeypatch.setattr(
        devices.importlib.util, "find_spec",
        lambda name: None if name.startswith("wgpu") else there(name),
    )  # fmt: skip
    assert gpu.available() == "wgpu is not installed (extra gpu): pip install wgpu"


def test_a_dawn_that_cannot_be_asked_for_matrix_units_has_none(monkeypatch):
    """As wgpudawn 0.32.0.0, which may be there already."""
    monkeypatch.setattr(devices, "library", lambda through: SimpleNamespace(__name__="old"))
    monkeypatch.setitem(sys.modules, "old.backends.dawn.extras", SimpleNamespace())
    devices.allow_units.__wrapped__()


@needs_gpu
def test_a_long_start_is_reported(opened, monkeypatch, caplog):
    gpu.session(sums(), verify(sums()))
    caplog.clear()
    monkeypatch.setattr(guarded, "PATIENCE", 0.0)
    gpu.session(sums(), verify(sums()))
    (said,) = caplog.messages
    played = "; a processor plays it: --device cpu is faster" * opened.adapter.is_software
    assert re.fullmatch(rf"GPU 0 \(.*\) was ready after \d+\.\d s{played}", said)


# Measuring


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measuring.measured.cache_clear()
    yield tmp_path / "pxvm" / "gpus.json"
    measuring.measured.cache_clear()


def made_up(kind: str = "DiscreteGPU", driver: str = "1") -> devices.Adapter:
    pytest.importorskip("wgpu")
    return devices.Adapter(0, "a card", kind, "Vulkan", driver, {}, (), None)


def again(adapter: devices.Adapter) -> Measured:
    measuring.measured.cache_clear()
    return measuring.measured(adapter)


def test_a_device_is_measured_once_and_anew_with_another_driver(cache, monkeypatch, caplog):
    calls = []
    monkeypatch.setattr(measuring, "_in_a_process", lambda a: calls.append(a.driver) or FAST)
    for _ in range(2):
        assert again(made_up()) == FAST
    assert calls == ["1"] and caplog.messages == ["measuring GPU 0 (a card) once"]
    again(made_up(driver="2"))
    assert calls == ["1", "2"] and len(json.loads(cache.read_text())) == 2
    values = ('"x"', "NaN", "-0.5", "Infinity", "true", "[" * 5000)
    damaged = ["{", "[]", '{"a": 1}', *(cache.read_text().replace("0.5", v) for v in values)]
    for text in damaged:
        cache.write_text(text)
        assert again(made_up()) == FAST
    assert calls == ["1", "2"] + len(damaged) * ["1"]


def test_what_cannot_be_kept_is_said(cache, monkeypatch, caplog):
    monkeypatch.setattr(measuring, "_in_a_process", lambda a: FAST)
    cache.parent.write_text("no folder")
    assert again(made_up()) == FAST
    assert str(cache.parent) in caplog.messages[-1] and "measured again" in caplog.messages[-1]
    cache.parent.unlink()
    cache.mkdir(parents=True)
    assert again(made_up()) == FAST and str(cache) in caplog.messages[-1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_a_pipe_in_the_caches_place_is_not_waited_for(cache, monkeypatch):
    monkeypatch.setattr(measuring, "_in_a_process", lambda a: FAST)
    cache.parent.mkdir()
    os.mkfifo(cache)
    assert again(made_up()) == FAST


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import time; time.sleep(60)", "no answer within"),
        ("import os; os.abort()", "exit status -6"),
        ("raise SystemExit('pxvm: no such device')", "pxvm: no such device"),
    ],
)
def test_what_hangs_or_crashes_while_measuring_ends_nothing_else(cache, monkeypatch, code, says):
    run = subprocess.run
    monkeypatch.setattr(measuring, "LIMIT", 0.5 if "sleep" in code else 20)
    monkeypatch.setattr(
        measuring.subprocess, "run", lambda command, **o: run([sys.executable, "-c", code], **o)
    )
    found = again(made_up())
    assert says in found.failed and not found.gains(1, 1 << 40)
    assert again(made_up()) == found, "that it failed is kept"
    assert says in found.use(False)


def test_who_gains():
    instructions, weights = 600, 134 << 20
    assert FAST.gains(instructions, weights)
    assert not FAST.gains(instructions, weights, upload=weights), "the start takes half a second"
    assert FAST.gains(instructions, 100 * weights, upload=weights)
    slow = replace(FAST, instruction=1e-3)
    assert not slow.gains(instructions, weights) and slow.gains(instructions, 100 * weights)
    assert slow.enough == pytest.approx((1e-3 - 0.8e-6) / (0.8e-10 - 1e-12), rel=1e-3)
    assert replace(FAST, rate=1e9).enough is None and Measured().enough is None
    assert not Measured().gains(1, 1 << 50)


# auto


@pytest.fixture
def tempting(monkeypatch):
    """A machine whose only GPU is said to be much faster; returns what ``auto`` is to be asked."""
    monkeypatch.setattr(executors, "LEAST", 1)
    monkeypatch.setattr(devices, "hardware", lambda: True)
    monkeypatch.setattr(measuring, "measured", lambda adapter: replace(FAST, instruction=1e-9))

    def hardware(kind: str) -> None:
        found = tuple(replace(a, kind=kind) for a in devices.adapters())
        monkeypatch.setattr(devices, "adapters", lambda: found)
        monkeypatch.setattr(devices, "adapter_of", lambda *chosen: found[0])

    return hardware


@needs_gpu
def test_auto_takes_a_gpu_that_gains_and_never_software(tempting):
    image = sums()
    tempting("CPU")
    assert gpu.gaining(verify(image), False) is None
    auto = executors.executor("auto", 1)
    assert not isinstance(auto.session(image, verify(image)), executors._Retreating)
    tempting("DiscreteGPU")
    assert gpu.gaining(verify(image), False) == gpu.Chosen(0)
    session = auto.session(image, verify(image))
    assert isinstance(session, executors._Retreating) and not session.retreated


@needs_gpu
def test_auto_goes_on_on_the_processor_and_says_so(tempting, opened, caplog):
    tempting("DiscreteGPU")
    ours, plain = sums(), sums()
    session = executors.executor("auto", 1).session(ours, verify(ours))
    for number in range(2):
        assert session.run(None) == len(run_steps(plain))
        assert np.array_equal(ours, plain)
        said = [text for text in caplog.messages if text.endswith(": the processor goes on")]
        assert len(said) == number and all(text.startswith("GPU 0 ") for text in said)
        if number == 0:
            session.inner.gpu.device.destroy()


def run_steps(image) -> range:
    """The instructions of one run on the reference."""
    return range(executors.load("reference").run(image, verify(image), None))


@needs_gpu
def test_a_library_that_cannot_be_loaded_is_passed_over(monkeypatch, tmp_path, caplog):
    (tmp_path / "wgpudawn.py").write_text("raise OSError('libdawn.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "wgpudawn"]:
        monkeypatch.delitem(sys.modules, name)
    for known in (devices._found, devices._say, devices.allow_units):
        known.cache_clear()
    try:
        assert {adapter.through for adapter in devices.adapters()} == {"wgpu"}
        assert devices.adapters()[0] == devices.adapter_of(0)
        reason = "the package wgpudawn cannot be loaded: libdawn.so: no such file"
        assert caplog.messages == [reason]
        with pytest.raises(MissingPackageError, match=reason):
            devices.adapter_of(through="dawn")
        monkeypatch.setattr(devices, "installed", lambda: ["dawn", "wgpu"])
        assert devices.adapter_of().through == "wgpu"
        monkeypatch.setattr(devices, "installed", lambda: ["dawn"])
        with pytest.raises(MissingPackageError, match=reason):
            devices.adapter_of()
        assert caplog.messages == [reason]
    finally:
        devices._found.cache_clear()


@needs_gpu
def test_auto_says_that_results_are_gone_with_a_device_that_alone_had_them(tempting, opened):
    tempting("DiscreteGPU")
    image = sums()
    session = executors.executor("auto", 1).session(image, verify(image))
    session.host(["x"])
    session.run(None)
    session.inner.gpu.device.destroy()
    with pytest.raises(DeviceError, match="was lost"):
        session.run(None)
        session.sync()  # where the library tells late, what is fetched tells


def test_linux_shows_whether_there_is_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "Path", lambda name: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not devices.hardware()
    (tmp_path / "nvidia0").touch()
    assert devices.hardware()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert devices.hardware()


def topk(count: int) -> Image:
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (1, 20_000), Role.STATE, data=np.arange(20_000)[None] * 7 % 997)
    for name in ("places", "best"):
        b.tensor(name, DType.I32, (1, count), Role.STATE)
    b.emit("TopK", "places", "x", "best")
    b.emit("Halt")
    return b.build()


def mean_pool(rows: int) -> Image:
    b = NetworkBuilder(64)
    b.tensor("x", DType.I32, (rows, 1), Role.STATE, data=np.arange(rows)[:, None] % 991)
    b.scalar("span", rows)
    b.tensor("lengths", DType.I32, (1, 1), Role.STATE, data=[[rows]])
    b.tensor("mean", DType.I32, (1, 1), Role.STATE)
    b.parameters("pooled", "MeanPool", span="span", lengths="lengths")
    b.emit("MeanPool", "mean", "x", "pooled")
    b.emit("Halt")
    return b.build()


LONG = {  # programs with long loops: the first few of each are within llvmpipe's limit
    "attention 65536 x 8": (lambda: attention(65536, 8, 1, 1), True),
    "attention 65536 x 4": (lambda: attention(65536, 4, 1, 1), False),
    "attention 262144 x 64": (lambda: attention(262144, 64, 1, 1), False),
    "TopK 16": (lambda: topk(16), True),
    "TopK 17": (lambda: topk(17), True),
    "TopK 9000": (lambda: topk(9000), True),
    "TopK 20000": (lambda: topk(20_000), True),
    "MeanPool 59000": (lambda: mean_pool(59000), True),
    "MeanPool 65536": (lambda: mean_pool(65536), False),
}


@needs_gpu
@pytest.mark.parametrize("name", LONG)
def test_loops_that_a_software_device_would_end_early_are_refused(name, opened):
    make, fits = LONG[name]
    ours, plain = make(), make()
    if opened.adapter.is_software and not fits:
        with pytest.raises(DeviceError, match="expected at most 60,000 rounds of a loop"):
            gpu.Session(opened, ours, verify(ours))
        return
    gpu.Session(opened, ours, verify(ours)).run()
    run_program(plain, device="reference")
    assert np.array_equal(ours, plain)


@needs_gpu
def test_the_resident_way_is_refused_where_it_may_give_other_bytes(opened, monkeypatch):
    image = sums()
    for through, backend in (("dawn", "Vulkan"), ("wgpu", "Metal"), ("wgpu", "D3D12")):
        other = replace(opened.adapter, through=through, backend=backend, kind="DiscreteGPU")
        monkeypatch.setattr(opened, "adapter", other)
        assert isinstance(gpu.Session(opened, image, verify(image)).worker, Planned)
        with pytest.raises(DeviceError, match=f"gpu:resident by {through} through {backend}"):
            gpu.Session(opened, image, verify(image), gpu.RESIDENT)
    monkeypatch.setattr(devices, "adapter_of", lambda *chosen: replace(other, kind="CPU"))
    with pytest.raises(DeviceError, match="gpu:resident on a device played by a processor"):
        gpu.choose("resident").session(image, verify(image))
