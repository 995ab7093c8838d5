"""GPUs: which there are, what they can do, and one that is open."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pxvm.core import installation
from pxvm.core.errors import DeviceError

# Ways to a GPU, the better first; OpenGL has no compute worth the name.
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


def library() -> Any:
    """The wgpu package. Raises MissingPackageError."""
    if not os.environ.get("XDG_RUNTIME_DIR"):  # else the loader complains on stderr
        os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    return installation.library("wgpu", "gpu")


@dataclass(frozen=True)
class Adapter:
    """A GPU as the system offers it; ``number`` is N of the device name gpu:N."""

    number: int
    name: str
    kind: str
    backend: str
    driver: str
    limits: dict[str, int]
    features: tuple[str, ...]
    handle: Any = field(repr=False, compare=False)

    @property
    def is_software(self) -> bool:
        """True for a processor that plays a GPU."""
        return self.kind == "CPU"


@cache
def adapters() -> tuple[Adapter, ...]:
    """Every usable GPU, the best first. Raises MissingPackageError."""
    found = []
    for handle in library().gpu.enumerate_adapters_sync():
        info = handle.info
        if info["backend_type"] in BACKENDS:
            found.append((KINDS.index(info["adapter_type"]) if info["adapter_type"] in KINDS else 3,
                          handle))  # fmt: skip
    found.sort(key=lambda pair: pair[0])
    return tuple(_adapter(number, handle) for number, (_, handle) in enumerate(found))


def _adapter(number: int, handle: Any) -> Adapter:
    info = handle.info
    limits = {name: int(handle.limits[name]) for name in LIMITS}
    return Adapter(
        number, info["device"], info["adapter_type"], info["backend_type"], info["description"],
        limits, tuple(sorted(handle.features)), handle,
    )  # fmt: skip


class Gpu:
    """An open device: buffers in, buffers out.

    Attributes:
        adapter: what it was opened from.
        window: words that one storage binding may hold.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        wgpu = library()
        self.usage = wgpu.BufferUsage
        self.stages = wgpu.ShaderStage
        self.lost = ""
        try:
            self.device = adapter.handle.request_device_sync(
                required_features=[f for f in SUBGROUPS if f in adapter.features],
                required_limits=adapter.limits,
            )
        except Exception as error:
            where = f"GPU {adapter.number} ({adapter.name})"
            raise DeviceError(f"{where} does not open: {error}") from None
        self.window = adapter.limits["max-storage-buffer-binding-size"] // 256 * 64
        self.pipelines: dict[Any, Any] = {}

    def buffer(self, words: int, *, uniform: bool = False) -> Any:
        """A buffer of so many words, all zero. Raises DeviceError when it does not fit."""
        size = max(4 * words, 256)
        most = self.adapter.limits["max-storage-buffer-binding-size"]
        if size > most:
            raise DeviceError(
                f"GPU {self.adapter.number} ({self.adapter.name}) takes {most} bytes in one piece;"
                f" the program needs {size}"
            )
        kind = self.usage.UNIFORM if uniform else self.usage.STORAGE
        try:
            return self.device.create_buffer(
                size=size, usage=kind | self.usage.COPY_DST | self.usage.COPY_SRC
            )
        except Exception as error:
            where = f"GPU {self.adapter.number}"
            raise DeviceError(f"{where}: no room for {size} bytes: {error}") from None


@cache
def open_gpu(number: int | None = None) -> Gpu:
    """Open GPU ``number``, or the best that is no software.

    Raises DeviceError where there is none, MissingPackageError without wgpu.
    """
    there = adapters()
    if not there:
        raise DeviceError(NONE)
    if number is not None and number >= len(there):
        raise DeviceError(f"expected a GPU of 0 to {len(there) - 1}; found {number}")
    return Gpu(there[number or 0])
