"""The registry of executors, found by name and loaded when first used.

An executor is a module with ``run``, ``session`` and ``available`` as ``Executor`` says. Device
``name`` lives in ``pxvm.name.executor``; the reference executor is core's own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Protocol, cast, runtime_checkable

from pxvm.core.errors import DeviceError
from pxvm.core.program import Image, Program

DEVICES = ("auto", "cpu", "gpu", "reference")


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


@runtime_checkable
class Bursts(Protocol):
    """What a session may have that hands over to another processor, and waits for it, to run.

    Attributes:
        burst: Yields that it is worth to run to at once, where nobody looks in between.
    """

    burst: int

    def run_on(self, rounds: int, scalar: str, values: Iterable[int]) -> int:
        """Run past so many Yields but one, and past none where the I32 scalar has a value given."""


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
    if not option:
        return found
    if not hasattr(found, "choose"):
        raise DeviceError(f"device {device!r} is one; found {device}:{option}")
    return cast(Executor, found.choose(option))


def load(device: str) -> Executor:
    """Import the module of an installed device."""
    return cast(Executor, importlib.import_module(_module(device)))
