"""What a GPU gains, measured once and kept: ``auto`` and ``pxvm gpus`` go by it.

Measured are the rates at which the device copies its own memory and takes the host's, and two small
programs, on the GPU and on the processor: one of many instructions on a few words, and one product
with a large matrix of weights. They say what an instruction costs, and at what rate weights are
read, and so about how long a run of a program takes on each.

That happens in a process of its own with a limit of time, so that a driver that hangs or crashes
ends nothing else; that it did is kept as well. The results are in ``gpus.json`` in the cache
folder, under a name of all that they depend on: device, driver, library, processors, and the source
of the executors. A processor that plays a GPU gains nothing, by rule: only its memory is measured.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.core import executors
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import PxvmError
from pxvm.core.installation import cache_folder
from pxvm.core.isa import Flow
from pxvm.core.layout import NetworkBuilder
from pxvm.core.parts import Image
from pxvm.core.reading import read_bytes
from pxvm.core.resources import processors, size_text
from pxvm.core.saving import replacing
from pxvm.core.tensor import DType, Role, encode_scales
from pxvm.core.verifier import verify
from pxvm.gpu.devices import LIBRARIES, Adapter, Gpu, adapters, open_gpu

_LOG = logging.getLogger(__name__)

LIMIT = 120.0  # seconds for everything
MARGIN = 0.8  # of the processor's time: what a GPU must need at most
COPIED = 1 << 26  # bytes of each of two buffers
TIMES = 3
SMALL, LARGE = (64, 64, 100), (16384, 4096, 1)  # weights' rows and columns, products one by one


@dataclass(frozen=True)
class Pace:
    """How fast an executor is: seconds for an instruction, bytes of weights a second."""

    instruction: float
    rate: float

    def seconds(self, instructions: int, weights: int) -> float:
        """About how long a run takes that executes so many and reads so many bytes."""
        return self.instruction * instructions + weights / self.rate


@dataclass(frozen=True)
class Measured:
    """A device's figures; those behind ``upload`` are 0 for software.

    Attributes:
        copy: bytes a second, read and written, inside the device.
        upload: bytes a second from the host.
        start: seconds until a program is ready there, shaders compiled, nothing uploaded.
        instruction, rate: the GPU's pace.
        cpu_instruction, cpu_rate: the processor's.
        failed: why there are no figures; else empty.
    """

    copy: float = 0.0
    upload: float = 0.0
    start: float = 0.0
    instruction: float = 0.0
    rate: float = 0.0
    cpu_instruction: float = 0.0
    cpu_rate: float = 0.0
    failed: str = ""

    def gains(self, instructions: int, weights: int, upload: int = 0) -> bool:
        """Whether a run of so much is done sooner there.

        Args:
            upload: bytes to be brought there first, with all that a start takes; 0: it is there.
        """
        if not (self.rate and self.cpu_rate):
            return False
        here = Pace(self.cpu_instruction, self.cpu_rate).seconds(instructions, weights)
        there = Pace(self.instruction, self.rate).seconds(instructions, weights)
        if upload:
            there += self.start + upload / self.upload
        return there < MARGIN * here

    def use(self, software: bool) -> str:
        """What the device will be used for, in words."""
        if software:
            return "when named; auto takes no software"
        if self.failed:
            return f"when named; measuring it failed: {self.failed}"
        if self.enough is None:
            return "when named; the processor is sooner done"
        return f"auto, from {size_text(self.enough)} of weights an instruction on"

    @property
    def enough(self) -> int | None:
        """Bytes of weights for each instruction from which on a GPU gains; None: never."""
        spared = MARGIN / self.cpu_rate - 1 / self.rate if self.rate and self.cpu_rate else 0.0
        if spared <= 0:
            return None
        return round(max(self.instruction - MARGIN * self.cpu_instruction, 0.0) / spared)


def gain(program: TensorProgram, adapter: Adapter, upload: int = 0) -> bool:
    """Whether ``auto`` gives a program to this GPU; see ``Measured.gains``."""
    return not adapter.is_software and measured(adapter).gains(*work(program), upload)


def work(program: TensorProgram) -> tuple[int, int]:
    """(instructions, bytes of weights) of a run in which every path is taken once."""
    instructions = weights = 0
    for index, base in program.visits:
        instruction = program.instructions[index]
        if instruction.op.flow is Flow.NEXT:
            instructions += 1
            if instruction.op.name == "Linear":
                weight = program.operands(instruction, base)[0][2]
                weights += 4 * weight.rows * weight.row_words
    return instructions, weights


@cache
def measured(adapter: Adapter) -> Measured:
    """A device's figures, from the cache or measured now, which takes seconds and is said."""
    name, kept = _name(adapter), _kept()
    with suppress(KeyError, TypeError):
        return Measured(**kept[name])
    _LOG.warning("measuring %s once", adapter)
    found = _in_a_process(adapter)
    try:
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(json.dumps(_kept() | {name: asdict(found)}, indent=1).encode())
    except (OSError, PxvmError) as error:
        _LOG.warning("what was measured cannot be kept, and will be measured again: %s", error)
    return found


def _file() -> Path:
    return cache_folder() / "gpus.json"


def _kept() -> dict[str, Any]:
    """All figures that are kept; none where the file is no longer whole."""
    with suppress(OSError, ValueError, RecursionError, PxvmError):
        found = json.loads(read_bytes(_file()))
        if isinstance(found, dict):
            return {name: values for name, values in found.items() if _is_whole(values)}
    return {}


def _is_whole(values: Any) -> bool:
    """Whether these are the fields of a ``Measured``."""
    return (
        isinstance(values, dict)
        and values.keys() == {field.name for field in fields(Measured)}
        and all(
            isinstance(value, str)
            if name == "failed"
            else isinstance(value, float) and 0 <= value < math.inf
            for name, value in values.items()
        )
    )


def _name(adapter: Adapter) -> str:
    """A device's name and a hash of all that its figures depend on."""
    sources = hashlib.sha256()
    for room in ("gpu", "cpu"):
        for path in sorted((Path(__file__).parents[1] / room).rglob("*.[pw][yg]*")):
            if path.suffix in (".py", ".wgsl"):
                sources.update(path.read_bytes())
    package = LIBRARIES[adapter.through][0]
    parts = (adapter.name, adapter.kind, adapter.backend, adapter.driver, package,
             importlib.metadata.version(package), str(processors()), platform.processor(),
             sources.hexdigest())  # fmt: skip
    return f"{adapter.name} {hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _in_a_process(adapter: Adapter) -> Measured:
    command = [sys.executable, "-m", __spec__.name, str(adapter.number)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Measured(failed=f"no answer within {LIMIT:.0f} s")
    except OSError as error:
        return Measured(failed=f"cannot be measured: {error.strerror}")
    with suppress(ValueError, TypeError):
        return Measured(**json.loads(done.stdout))
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return Measured(failed=said[-1])


def measure(adapter: Adapter) -> Measured:
    """Measure now, in this process. Raises DeviceError."""
    gpu = open_gpu(adapter.number)
    with gpu.told():
        copy, upload = _copy(gpu)
    rates = Measured() if adapter.is_software else compare(adapter)
    return replace(rates, copy=copy, upload=upload)


def compare(adapter: Adapter) -> Measured:
    """A GPU's pace beside the processor's."""
    there = executors.executor(f"gpu:{adapter.number}", 1)
    images = [_products(*size) for size in (SMALL, LARGE)]
    begin = time.perf_counter()
    there.session(images[0].copy(), verify(images[0])).run(None)
    start = time.perf_counter() - begin
    found = []
    for executor in (there, executors.plain()):
        few, many = (_seconds(executor, image) for image in images)
        each = few / (2 * SMALL[2])
        found.append(Pace(each, 4 * _words(LARGE) / max(many - 2 * each, 1e-9)))
    gpu, cpu = found
    return Measured(
        start=start, instruction=gpu.instruction, rate=gpu.rate,
        cpu_instruction=cpu.instruction, cpu_rate=cpu.rate,
    )  # fmt: skip


def _words(size: tuple[int, int, int]) -> int:
    return size[0] * size[1] // 4


def _products(rows: int, columns: int, times: int) -> Image:
    """A program that multiplies with one matrix, again and again, and yields."""
    b = NetworkBuilder()
    one = encode_scales(np.array([1 << 15]), np.array([-20]))[0]
    b.tensor("x", DType.I32, (1, columns), Role.STATE, data=np.arange(columns)[None] % 251)
    b.tensor("act", DType.ACT1, (1, columns))
    b.tensor("scales", DType.SCALE, (rows,), Role.CONSTANT, data=np.full(rows, one))
    weights = np.arange(rows * columns, dtype=np.int64).astype(np.int8).reshape(rows, columns)
    b.tensor("w", DType.I8, (rows, columns), Role.CONSTANT, scale="scales", data=weights)
    b.tensor("y", DType.I32, (1, rows), Role.STATE)
    b.constant("runs", 2 * TIMES)
    b.emit("Loop", "runs", 0)
    for _ in range(times):
        b.emit("Quantise", "act", "x")
        b.emit("Linear", "y", "act", "w")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")
    b.fit()
    return b.build()


def _seconds(executor: executors.Executor, image: Image) -> float:
    """Seconds of a run of a session that has run before: the least of some."""
    copy = image.copy()
    program = verify(copy)
    assert isinstance(program, TensorProgram)
    session = executor.session(copy, program)
    session.host(["x"])
    session.run(None)
    found = []
    for _ in range(TIMES):
        begin = time.perf_counter()
        session.run(None)
        found.append(time.perf_counter() - begin)
    return min(found)


def _copy(gpu: Gpu) -> tuple[float, float]:
    """Bytes a second of a copy inside the device, read and written, and from the host."""
    size = COPIED >> 2 * gpu.adapter.is_software
    device, one, other = gpu.device, gpu.buffer(size // 4), gpu.buffer(size // 4)
    data = np.ones(size, np.uint8)
    copies: list[float] = []
    uploads: list[float] = []
    for _ in range(TIMES):
        for found, count in ((uploads, 1), (copies, 8)):
            begin = time.perf_counter()
            encoder = device.create_command_encoder()
            if count == 1:
                device.queue.write_buffer(one, 0, data)
            for _ in range(count):
                encoder.copy_buffer_to_buffer(one, 0, other, 0, size)
            device.queue.submit([encoder.finish()])
            device.queue.read_buffer(other, 0, 4)
            found.append(time.perf_counter() - begin)
    copied = min(copies) / 8
    return 2 * size / copied, size / max(min(uploads) - copied, 1e-9)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(adapters()[int(sys.argv[1])]))))
