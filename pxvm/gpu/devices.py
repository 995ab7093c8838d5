"""GPUs: which there are, what they can do, and one that is open.

Two libraries reach them: ``wgpu`` and Dawn, which is what Chrome runs (the package ``wgpudawn``).
A GPU that both reach is two here, each with a number; results are the same bytes on either.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pxvm.core import installation
from pxvm.core.errors import DeviceError, MissingPackageError
from pxvm.core.resources import size_text

#: Library -> (the package, the extra that brings it), the better first.
LIBRARIES = {"wgpu": ("wgpu", "gpu"), "dawn": ("wgpudawn", "gpu-dawn")}
# What a library goes through, the better first; OpenGL has no compute worth the name.
BACKENDS = ("Vulkan", "Metal", "D3D12")
KINDS = ("DiscreteGPU", "IntegratedGPU", "VirtualGPU", "Other", "CPU")
NONE = "no GPU here: the system offers none through Vulkan, Metal or Direct3D 12"
WINDOWS = 4  # storage bindings that the picture may take
#: Names of the feature, and what a shader says first to use it.
SUBGROUPS = {
    "subgroup": "",
    "subgroups": "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n",
}
LIMITS = {
    "max-buffer-size": 2**28,
    "max-storage-buffer-binding-size": 2**27,
    "max-storage-buffers-per-shader-stage": 8,
    "max-compute-workgroups-per-dimension": 65535,
    "max-compute-workgroup-storage-size": 16384,
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-size-x": 256,
}
CLOCK = "timestamp-query"
#: A feature of Dawn's, and what a shader says first to use it.
UNITS = "chromium-experimental-subgroup-matrix"
WITH_UNITS = (
    "enable chromium_experimental_subgroup_matrix;\nenable subgroups;\n"
    "diagnostic(off, chromium.subgroup_matrix_uniformity);\n"
)
#: What the shaders ask of them: signed bytes, sums of 32 bits, subgroups of one size.
UNIT = {
    "component_type": "i8", "result_component_type": "i32", "m": 16, "n": 16, "k": 32,
    "min_subgroup_size": 32, "max_subgroup_size": 32,
}  # fmt: skip
LIMITS_OF_UNITS = ("max-compute-workgroup-storage-size", 32768)
#: What a program may gain by -> what the libraries call it.
FAMILIAR = {
    "subgroups": {*SUBGROUPS},
    "64-bit integers": {"shader-int64"},
    "matrix units": {UNITS},
    "a clock": {CLOCK},
}
#: Features that are switched on where a device has them.
WANTED = (CLOCK, UNITS, *SUBGROUPS)
_LOG = logging.getLogger(__name__)

PASSES = 512  # that the clock can hold


def library(through: str = "wgpu") -> Any:
    """The package of one that reaches GPUs. Raises MissingPackageError."""
    if not os.environ.get("XDG_RUNTIME_DIR"):  # else the loader complains on stderr
        os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    package, extra = LIBRARIES[through]
    found = installation.library(package, extra)
    logging.getLogger(package).addHandler(logging.NullHandler())  # what fails is raised as well
    return found


def installed() -> list[str]:
    """The libraries that are there. Raises MissingPackageError where none is."""
    found = [
        through for through, (package, _) in LIBRARIES.items() if importlib.util.find_spec(package)
    ]
    if not found:
        raise MissingPackageError(installation.missing(*LIBRARIES["wgpu"]))
    return found


@dataclass(frozen=True)
class Adapter:
    """A GPU as the system offers it; ``number`` is N of the device name gpu:N."""

    number: int
    name: str
    kind: str
    backend: str
    driver: str
    limits: dict[str, int] = field(hash=False)
    features: tuple[str, ...]
    handle: Any = field(repr=False, compare=False)
    through: str = "wgpu"

    @property
    def is_software(self) -> bool:
        """True for a processor that plays a GPU."""
        return self.kind == "CPU"

    @property
    def orders_for_all(self) -> bool:
        """True where what a workgroup wrote before a storage barrier is there for all others.

        WGSL promises that inside a workgroup only, since Metal has no more (gpuweb #2297), and Dawn
        asks for no more. Through Vulkan, wgpu's barrier is one of the whole device.
        """
        return self.through == "wgpu" and self.backend == "Vulkan"

    def __str__(self) -> str:
        return f"GPU {self.number} ({self.name})"


def adapters() -> tuple[Adapter, ...]:
    """Every usable GPU: those of the first library, the best first, then those of the next.

    A library that cannot be loaded is passed over, and that is said. Raises MissingPackageError
    where none is installed.
    """
    return tuple(adapter for through in installed() for adapter in _reached(through))


def _reached(through: str) -> tuple[Adapter, ...]:
    try:
        return _found(through)
    except MissingPackageError as error:
        _say(str(error))
        return ()


@cache
def _say(text: str) -> None:
    """A warning, once."""
    _LOG.warning(text)


@cache
def _found(through: str) -> tuple[Adapter, ...]:
    there = installed()
    first = sum(len(_reached(other)) for other in there[: there.index(through)])
    with _quiet():
        if through == "dawn":
            allow_units()
        handles = library(through).gpu.enumerate_adapters_sync()
    usable = [handle for handle in handles if handle.info["backend_type"] in BACKENDS]
    usable.sort(key=lambda handle: _rank(handle.info["adapter_type"]))
    return tuple(_adapter(number, handle, through) for number, handle in enumerate(usable, first))


@cache
def allow_units() -> None:
    """Dawn shows matrix units only to who asks, first of all, for what is not settled yet."""
    extras = importlib.import_module(f"{library('dawn').__name__}.backends.dawn.extras")
    # Somebody else in this process has begun with Dawn, or it is 0.32.0.0, which cannot be asked.
    with suppress(RuntimeError, AttributeError):
        extras.set_instance_extras(enable_toggles=["allow_unsafe_apis"])


def _has_units(handle: Any) -> bool:
    """True where a device multiplies matrices as the shaders want it."""
    if UNITS not in handle.features or handle.limits[LIMITS_OF_UNITS[0]] < LIMITS_OF_UNITS[1]:
        return False
    extras = importlib.import_module(f"{library('dawn').__name__}.backends.dawn.extras")
    return UNIT in extras.get_adapter_properties(handle)["subgroup_matrix_configs"]


def _rank(kind: str) -> int:
    return KINDS.index(kind if kind in KINDS else "Other")


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error: Dawn and drivers write there why they pass a device over."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _adapter(number: int, handle: Any, through: str) -> Adapter:
    info = handle.info
    limits = {name: int(handle.limits[name]) for name in LIMITS}
    features = {*handle.features}
    if not _has_units(handle):
        features.discard(UNITS)
    return Adapter(
        number, _plain(info["device"]), info["adapter_type"], info["backend_type"],
        _plain(info["description"]), limits, tuple(sorted(features)), handle, through,
    )  # fmt: skip


def _plain(text: str) -> str:
    """A driver's text as one line that does nothing to a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def subgroups_of(adapter: Adapter) -> str | None:
    """What a shader that uses subgroups says first; None where it may not."""
    there = [said for name, said in SUBGROUPS.items() if name in adapter.features]
    return None if adapter.is_software or not there else there[0]


class Gpu:
    """An open device: buffers in, buffers out.

    Attributes:
        adapter: what it was opened from.
        window: words that one storage binding may hold.
        clock: what times the passes, where somebody asked for it.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.library = library(adapter.through)
        self.usage = self.library.BufferUsage
        self.stages = self.library.ShaderStage
        self.features = [name for name in WANTED if name in adapter.features]
        self.clock: Clock | None = None
        try:
            self.device = adapter.handle.request_device_sync(
                required_limits=adapter.limits, required_features=self.features
            )
        except Exception as error:
            raise DeviceError(f"{adapter} does not open: {_plain(str(error))}") from None
        self.window = adapter.limits["max-storage-buffer-binding-size"] // 256 * 64
        self.pipelines: dict[Any, Any] = {}

    def buffer(self, words: int, *, uniform: bool = False) -> Any:
        """A buffer of so many words, all zero. Raises DeviceError when it does not fit."""
        size = max(4 * words, 256)
        most = self.adapter.limits["max-storage-buffer-binding-size"]
        if size > most:
            raise DeviceError(
                f"{self.adapter} takes {most} bytes in one piece; the program needs {size};"
                " --device cpu does without it"
            )
        kind = self.usage.UNIFORM if uniform else self.usage.STORAGE
        with self.told(f"a buffer of {size_text(size)}"):
            return self.device.create_buffer(
                size=size, usage=kind | self.usage.COPY_DST | self.usage.COPY_SRC
            )

    def begin(self, encoder: Any) -> Any:
        """Begin a pass of an encoder, timed where somebody asked for the time."""
        times = self.clock.next() if self.clock else None
        return encoder.begin_compute_pass(timestamp_writes=times)

    @contextmanager
    def told(self, what: str = "the program") -> Iterator[None]:
        """What the library raises inside becomes a DeviceError that says what happened.

        A device that was lost is opened anew by whoever asks for it next.
        """
        try:
            yield
        except (self.library.GPUError, MemoryError) as error:
            text = _plain(str(error))
            if "lost" in text.lower():
                forget()
                reason = "was lost while it worked: its driver reset it, or it went away"
            elif isinstance(error, MemoryError):
                reason = f"has no room for {what}"
            else:
                reason = f"refuses {what}: {text.removeprefix('Validation Error Caused by: ')}"
            raise DeviceError(f"{self.adapter} {reason}; --device cpu does without it") from None


class Clock:
    """Times the passes of a device from now on, with the device's own clock."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.count = gpu, 0
        self.queries = gpu.device.create_query_set(type="timestamp", count=2 * PASSES)
        usage = gpu.library.BufferUsage
        self.times = gpu.device.create_buffer(
            size=16 * PASSES, usage=usage.QUERY_RESOLVE | usage.COPY_SRC
        )
        self.tick = 1e-9  # seconds, says WebGPU; wgpu gives what the driver counts
        if gpu.adapter.through == "wgpu":
            native = importlib.import_module("wgpu.backends.wgpu_native").lib
            self.tick *= native.wgpuQueueGetTimestampPeriod(gpu.device.queue._internal)

    def next(self) -> dict[str, Any] | None:
        """What the next pass writes; None once there are too many."""
        if self.count == PASSES:
            return None
        first = 2 * self.count
        self.count += 1
        return {"query_set": self.queries, "beginning_of_pass_write_index": first,
                "end_of_pass_write_index": first + 1}  # fmt: skip

    def seconds(self) -> float:
        """How long the passes since the last call took."""
        if not self.count:
            return 0.0
        device, count = self.gpu.device, 2 * self.count
        encoder = device.create_command_encoder()
        encoder.resolve_query_set(self.queries, 0, count, self.times, 0)
        device.queue.submit([encoder.finish()])
        times = memoryview(device.queue.read_buffer(self.times, 0, 8 * count)).cast("B").cast("Q")
        self.count = 0
        return self.tick * sum(max(times[i + 1] - times[i], 0) for i in range(0, count, 2))


def open_gpu(number: int | None = None, through: str = "") -> Gpu:
    """Open GPU ``number``, or the best there is, or the best of a library.

    Raises DeviceError where there is none, MissingPackageError without a package for it.
    """
    return opened(adapter_of(number, through))


@cache
def opened(adapter: Adapter) -> Gpu:
    return Gpu(adapter)


def adapter_of(number: int | None = None, through: str = "") -> Adapter:
    """The adapter that ``open_gpu`` opens; errors as there."""
    if through:
        library(through)  # raises where it is missing
    if number is not None and (there := adapters()):
        if number >= len(there):
            raise DeviceError(
                f"expected a GPU of 0 to {len(there) - 1}, as `pxvm gpus` shows; found {number}"
            )
        if through and there[number].through != through:
            raise DeviceError(
                f"expected gpu:{number} or gpu:{through}: GPU {number} is reached through"
                f" {there[number].through}; found both"
            )
        return there[number]
    for name in [through] if through else installed():
        if found := _reached(name):
            return found[0]
    library(through or installed()[0])  # raises where there is none because it cannot be loaded
    raise DeviceError(f"no GPU here that {LIBRARIES[through][0]} takes" if through else NONE)


def hardware() -> bool:
    """False where the system has no GPU at all, so that what Vulkan offers is software.

    Linux shows what it has in ``/dev``; asking the drivers takes up to a second.
    """
    shown = ("dri/renderD*", "nvidia[0-9]*", "dxg", "mali*", "kgsl*")
    return sys.platform != "linux" or any(any(Path("/dev").glob(name)) for name in shown)


def available() -> str:
    """Empty, or why no GPU can be used here."""
    try:
        adapter_of()
    except (DeviceError, MissingPackageError) as error:
        return str(error)
    return ""


def forget() -> None:
    """Look for GPUs, and open them, anew."""
    opened.cache_clear()
    _found.cache_clear()
