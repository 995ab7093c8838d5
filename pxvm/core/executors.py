"""The registry of executors, found by name and loaded when first used.

An executor is a module with ``run``, ``session`` and ``available`` as ``Executor`` says. Device
``name`` lives in ``pxvm.name.executor``; the reference executor is core's own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Protocol, cast

from pxvm.core.errors import DeviceError
from pxvm.core.program import Image, Program

DEVICES = ("auto", "cpu", "gpu", "reference")
LACKING = {"gpu": ("I4",)}  # dtypes that a device does not know yet


class Session(Protocol):
    """A program bound to its image, run in parts; between two parts the pixels hold the state."""

    def run(self, max_steps: int | None) -> int:
        """Go on in place; returns the number of instructions executed."""

    def host(self, names: Iterable[str] | None) -> None:
        """Say which tensors the host reads and writes between runs; None, as at first: all.

        An executor with memory of its own then copies only these; the others are in the image after
        ``sync``.
        """

    def sync(self) -> None:
        """Bring everything that the session has into the image."""


class Executor(Protocol):
    """What every executor offers."""

    def available(self) -> str:
        """Empty, or why this executor cannot run on this machine."""

    def run(
        self, image: Image, program: Program, max_steps: int | None, threads: int | None = None
    ) -> int:
        """Run ``program`` in place; returns the number of instructions executed."""

    def session(self, image: Image, program: Program, threads: int | None = None) -> Session:
        """Bind a verified program to its image, for many short runs; None: every processor."""


def _module(device: str) -> str:
    return "pxvm.core.reference" if device == "reference" else f"pxvm.{device}.executor"


def installed() -> list[str]:
    """Names of the devices whose executor is part of this installation."""
    names = []
    for device in DEVICES[1:]:
        try:
            if importlib.util.find_spec(_module(device)):
                names.append(device)
        except ModuleNotFoundError:
            continue
    return names


def executor(device: str = "auto", dialect: int = 0) -> Executor:
    """The executor for ``device``.

    "auto" takes the compiled executor for dialect 1 where it can run, else the reference: a
    dialect 0 program is done before a compiler's runtime is loaded.

    A colon says which of several: "gpu:1". Raises DeviceError naming the devices that can be used.
    """
    names = installed()
    device, _, option = device.partition(":")
    if device == "auto":
        fast = dialect and "cpu" in names and not load("cpu").available()
        return load("cpu" if fast else "reference")
    if device not in names:
        raise DeviceError(f"no executor for device {device!r}; there are auto, {', '.join(names)}")
    found = load(device)
    if reason := found.available():
        raise DeviceError(f"device {device!r} cannot be used: {reason}")
    if option:
        if not hasattr(found, "choose"):
            raise DeviceError(f"device {device!r} is one; found {device}:{option}")
        found = cast(Executor, found.choose(option))
    return _Limited(found, device) if device in LACKING else found


class _Limited:
    """An executor that refuses programs with a dtype that its device lacks."""

    def __init__(self, executor: Executor, device: str) -> None:
        self.available, self._executor, self._device = executor.available, executor, device

    def run(
        self, image: Image, program: Program, max_steps: int | None, threads: int | None = None
    ) -> int:
        """As the executor's. Raises DeviceError."""
        self._check(program)
        return self._executor.run(image, program, max_steps, threads)

    def session(self, image: Image, program: Program, threads: int | None = None) -> Session:
        """As the executor's. Raises DeviceError."""
        self._check(program)
        return self._executor.session(image, program, threads)

    def _check(self, program: Program) -> None:
        lacking = LACKING[self._device]
        for d in getattr(program, "descriptors", ()):
            if d.dtype.name in lacking:
                raise DeviceError(
                    f"device {self._device!r} has no weights of four bits yet: expected no"
                    f" {d.dtype.name}; found {d.name or d.index}; use the device cpu, or import the"
                    " model with --quant int8"
                )


def load(device: str) -> Executor:
    """Import the module of an installed device."""
    return cast(Executor, importlib.import_module(_module(device)))
