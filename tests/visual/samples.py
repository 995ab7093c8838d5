"""Small programs for the tests of the viewers, one for each way in which regions stand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pxvm.core.builder import Builder
from pxvm.core.layout import NetworkBuilder
from pxvm.core.program import Image
from pxvm.core.tensor import DType, Role
from pxvm.visual.glyphs import font


def product() -> Image:
    """The product of the handbook: @3 becomes [[58, 64], [139, 154]]."""
    builder = Builder()
    builder.matrix("A", [[1, 2, 3], [4, 5, 6]])
    builder.matrix("B", [[7, 8], [9, 10], [11, 12]])
    builder.result("C", 2, 2)
    builder.emit("MatMul", "A", "B", "C")
    return builder.build()


def layers() -> Image:
    """Quantised matrices on several rows each: product, ReLU, product, sum."""
    random = np.random.default_rng(0)
    builder = Builder(16)
    builder.quantised("x", random.normal(size=(2, 5)))
    builder.quantised("W", random.normal(size=(5, 7)))
    builder.result("h", 2, 7)
    builder.quantised("V", random.normal(size=(7, 3)))
    builder.result("y", 2, 3)
    builder.emit("MatMul", "x", "W", "h")
    builder.emit("ReLU", "h")
    builder.emit("MatMul", "h", "V", "y")
    builder.emit("Add", "y", "y", "y")
    return builder.build()


def hello() -> Image:
    """Draws HELLO into its own picture."""
    builder = Builder(64)
    builder.text("text", "HELLO")
    builder.font("font", font())
    builder.canvas("canvas", "HELLO", 5, 8)
    builder.emit("Blit", "text", "font", "canvas")
    return builder.build()


def oldest() -> Image:
    """A headerless dot product with a numeric opcode: 300."""
    image = np.zeros((4, 16, 4), np.uint8)
    image[0, 0] = 1, 1, 2, 3
    image[1, :4, 0] = 1, 2, 3, 4
    image[2, :4, 0] = 10, 20, 30, 40
    return image


def network(count: int = 4, size: int = 16, width: int = 64) -> Image:
    """Dialect 1: a loop over layers, each instruction executed ``count`` times."""
    random = np.random.default_rng(1)
    builder = NetworkBuilder(width)
    builder.constant("layers", count)
    x = random.integers(-8000, 8000, (1, size))
    builder.tensor("x", DType.I32, (1, size), Role.STATE, frac=12, data=x)
    builder.tensor("act", DType.ACT2, (1, size))
    builder.tensor("h", DType.I32, (1, size), frac=12)
    builder.tensor("best", DType.I32, (1, 1), Role.STATE)
    scale = np.full(size, 20000 - (20 << 16))
    for n in range(count):
        builder.tensor("s", DType.SCALE, (size,), Role.CONSTANT, layer=n, data=scale)
        weight = random.integers(-90, 90, (size, size))
        builder.tensor("w", DType.I8, (size, size), Role.CONSTANT, data=weight, scale="s", layer=n)
    builder.emit("Loop", "layers", builder.layer_size)
    builder.emit("Quantise", "act", "x")
    builder.emit("Linear", "h", "act", "w")
    builder.emit("ReLU", "h", "h")
    builder.emit("Add", "x", "h", "x")
    builder.emit("EndLoop")
    builder.emit("Argmax", "best", "x")
    builder.emit("Halt")
    return builder.build()


def answering(count: int = 3) -> Image:
    """Dialect 1: a loop that yields ``count`` times, each time with x larger by one."""
    builder = NetworkBuilder(32)
    builder.constant("rounds", count)
    builder.scalar("x", 0)
    builder.constant("one", 1)
    builder.emit("Loop", "rounds", 0)
    builder.emit("Add", "x", "x", "one")
    builder.emit("Yield")
    builder.emit("EndLoop")
    builder.emit("Halt")
    return builder.build()


SAMPLES: dict[str, Callable[[], Image]] = {
    "product": product,
    "layers": layers,
    "hello": hello,
    "oldest": oldest,
    "network": network,
}
