"""The registry of executors, found by name and loaded when first used.

An executor is a module with ``run``, ``session`` and ``available`` as ``Executor`` says. Device
``name`` lives in ``pxvm.name.executor``; the reference executor is core's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pxvm.core import choices
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError
from pxvm.core.program import Image, Program

_LOG = logging.getLogger(__name__)

LEAST = 1 << 20  # pixels of a program that may gain by a GPU
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


def executor(
    device: str = "auto", dialect: int = 0, chosen: Mapping[str, Any] | None = None
) -> Executor:
    """The executor for ``device``.

    "auto" takes the reference for dialect 0, which is done before a compiler's runtime is loaded,
    and for dialect 1 what ``Automatic`` says.

    Args:
        chosen: settings for "auto" where they are known already; see ``choices.plan``.

    A colon says which of several: "gpu:1". Raises DeviceError naming the devices that can be used.
    """
    names = installed()
    name, colon, option = device.partition(":")
    if device == "auto":
        return Automatic(plain(), chosen) if dialect else load("reference")
    if name not in names:
        raise DeviceError(f"no executor for device {device!r}; there are auto, {', '.join(names)}")
    found = load(name)
    if reason := found.available():
        raise DeviceError(f"device {name!r} cannot be used: {reason}")
    if not colon:
        return found
    if not hasattr(found, "choose"):
        raise DeviceError(f"device {name!r} is one; found {device}")
    return cast(Executor, found.choose(option))


def plain() -> Executor:
    """The fastest executor of dialect 1 on the processor."""
    fast = "cpu" in installed() and not load("cpu").available()
    return load("cpu" if fast else "reference")


def load(device: str) -> Executor:
    """Import the module of an installed device."""
    return cast(Executor, importlib.import_module(_module(device)))


@dataclass(frozen=True)
class Automatic:
    """Device "auto" of dialect 1: the processor, or a GPU that is known to be done sooner.

    Where it was measured how programs like this one run best (``choices``), that counts. Else the
    GPU's room says which (``gaining``), of programs of ``LEAST`` pixels and more. Where a GPU fails
    while the image has all that it had, the processor takes over, and that is said.
    """

    processor: Executor
    chosen: Mapping[str, Any] | None = None

    def available(self) -> str:
        """Empty: there is always the reference."""
        return ""

    def run(
        self, image: Image, program: Program, max_steps: int | None, threads: int | None = None
    ) -> int:
        """As every executor's."""
        return self._session(image, program, threads, once=True).run(max_steps)

    def session(self, image: Image, program: Program, threads: int | None = None) -> Session:
        """As every executor's."""
        return self._session(image, program, threads, once=False)

    def _session(
        self, image: Image, program: Program, threads: int | None, *, once: bool
    ) -> Session:
        chosen = self.chosen
        if chosen is None and isinstance(program, TensorProgram):
            chosen = choices.best(program)
        if chosen:
            threads = chosen.get("threads") if threads is None else threads
            if (device := chosen.get("device", "auto")) != "auto":
                with suppress(DeviceError):  # what was best once may be gone
                    return executor(device, 1).session(image, program, threads)
        if image.size >= 4 * LEAST and "gpu" in installed():
            gpu: Executor | None = importlib.import_module(_module("gpu")).gaining(program, once)
            if gpu is not None:
                return _Retreating(gpu, self.processor, image, program, threads)
        return self.processor.session(image, program, threads)


class _Retreating:
    """A session on a GPU that goes on on the processor where the GPU fails."""

    def __init__(
        self,
        gpu: Executor,
        processor: Executor,
        image: Image,
        program: Program,
        threads: int | None,
    ) -> None:
        self.processor, self.arguments = processor, (image, program, threads)
        self.retreated = False
        try:
            self.inner = gpu.session(*self.arguments)
        except DeviceError as error:
            self._retreat(error)

    def _retreat(self, error: DeviceError) -> None:
        _LOG.warning("%s: the processor goes on", error)
        self.inner, self.retreated = self.processor.session(*self.arguments), True

    @property
    def burst(self) -> int:
        return 1 if self.retreated else cast(Bursts, self.inner).burst

    def run(self, *arguments: Any, **named: Any) -> int:
        return self._tried(lambda inner: inner.run(*arguments, **named))

    def run_on(self, rounds: int, scalar: str, values: Iterable[int]) -> int:
        """As ``Bursts`` says; the processor, taking over, goes to the next Yield."""
        return self._tried(
            lambda inner: inner.run() if self.retreated else inner.run_on(rounds, scalar, values)
        )

    def _tried(self, action: Callable[[Any], int]) -> int:
        whole = not (self.retreated or cast(Any, self.inner).behind)
        try:
            return action(self.inner)
        except DeviceError as error:
            if not whole:
                raise
            self._retreat(error)
            return action(self.inner)

    def host(self, names: Iterable[str] | None) -> None:
        self.inner.host(names)

    def sync(self) -> None:
        self.inner.sync()
