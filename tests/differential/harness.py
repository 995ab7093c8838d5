"""Two executors, one image: run, compare pixel by pixel, shrink what differs, keep it.

>>> generate(7) is an image; compare(generate(7), ("reference", "cpu"), Random(7)) is None

A device is an executor's name; "cpu:portable" is the CPU executor without VNNI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from pxvm.core import executors, isa
from pxvm.core.container import save_image
from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import DeviceError, ProgramError
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    HALTED,
    HEADER_WORDS,
    DType,
    State,
    read_words,
    store_words,
    write_words,
)
from pxvm.core.verifier import verify

REGRESSIONS = Path(__file__).parents[1] / "regressions"
MAX_STEPS = 400
GUARD = 3
SENTINEL = 0xA5
SKIP, CALL = (isa.by_name(name, 1).code for name in ("SkipIfZero", "Call"))


@dataclass(frozen=True)
class Difference:
    """What two runs disagree about; ``image`` is the input."""

    image: Image
    devices: tuple[str, str]
    message: str

    def __str__(self) -> str:
        return f"{self.devices[0]} and {self.devices[1]} differ: {self.message}"


def admitted(image: Image) -> TensorProgram:
    """The verified program of a dialect 1 image."""
    program = verify(image)
    assert isinstance(program, TensorProgram)
    return program


def _run(image: Image, device: str, steps: int, threads: int) -> int:
    name, portable = device.removesuffix(":portable"), device.endswith(":portable")
    options = {"vnni": False} if portable else {}
    return executors.executor(name).run(image, admitted(image), steps, threads, **options)


def _halted(image: Image) -> bool:
    start = int(read_words(image, 0, HEADER_WORDS)[6])
    return int(read_words(image, start + State.STATUS, 1)[0]) == HALTED


def describe(a: Image, b: Image) -> str:
    """Where two images differ first: pixel, tensor, values."""
    y, x = (int(v[0]) for v in np.nonzero((a != b).any(axis=2)))
    network = admitted(a)
    region = network.region_at(x, y)
    where = f"{region.name} ({region.encoding})" if region else "no tensor"
    words = [int.from_bytes(image[y, x].tobytes(), "little") for image in (a, b)]
    count = int((a != b).any(axis=2).sum())
    at = network.state_start
    counts = [read_words(image, at, 6).view("<i4").tolist() for image in (a, b)]
    return (
        f"{count} pixels, first x={x}, y={y} in {where}: {words[0]:#010x} against {words[1]:#010x};"
        f" registers {counts[0]} against {counts[1]}"
    )


def guarded(image: Image) -> tuple[Image, Image]:
    """(a copy of the image inside a larger buffer of sentinels, that buffer)."""
    height, width = image.shape[:2]
    buffer = np.full((height + 2 * GUARD, width + 2 * GUARD, 4), SENTINEL, np.uint8)
    inside = buffer[GUARD : GUARD + height, GUARD : GUARD + width]
    inside[...] = image
    return inside, buffer


def trespassed(buffer: Image) -> bool:
    """True when a byte around the guarded image has changed."""
    frame = np.ones(buffer.shape[:2], bool)
    frame[GUARD:-GUARD, GUARD:-GUARD] = False
    return bool((buffer[frame] != SENTINEL).any())


def compare(
    image: Image, devices: tuple[str, str], rng: Random, max_steps: int = MAX_STEPS
) -> Difference | None:
    """Run on both devices: straight, and stopped at random points to go on on the other one.

    The second device's image lies in padded rows with sentinels around it. None also where a device
    says that the program is beyond it.
    """
    try:
        return _compare(image, devices, rng, max_steps)
    except DeviceError as error:
        if "rounds of a loop" in str(error):
            return None
        raise


def _compare(
    image: Image, devices: tuple[str, str], rng: Random, max_steps: int
) -> Difference | None:
    first, second = devices
    threads = rng.choice((1, 1, 1, 2))
    straight, (padded, buffer) = image.copy(), guarded(image)
    crossing, (other, frame) = image.copy(), guarded(image)
    ends, total = list(devices), 0
    while total < max_steps and not _halted(straight):
        made = [
            _run(copy, device, max_steps - total, threads)
            for copy, device in ((straight, first), (padded, second))
        ]
        total += made[0]
        if found := _differs(image, devices, (straight, padded), made, "one run"):
            return found
    total = 0
    while total < max_steps and not _halted(crossing):
        steps = min(rng.choice((0, 1, 1, 2, 3, 7, 50)), max_steps - total)
        made = [
            _run(copy, device, steps, threads)
            for copy, device in zip((crossing, other), ends, strict=True)
        ]
        total += made[0]
        if found := _differs(image, devices, (crossing, other), made, f"stop at {total}"):
            return found
        ends.reverse()
        if steps == 0 and rng.random() < 0.1:
            break
    if _halted(straight) and _halted(crossing) and not np.array_equal(straight, crossing):
        return Difference(image, devices, "stopped and straight: " + describe(straight, crossing))
    if trespassed(buffer) or trespassed(frame):
        return Difference(image, devices, "bytes outside the image were changed")
    return None


def _differs(
    image: Image,
    devices: tuple[str, str],
    images: tuple[Image, Image],
    made: list[int],
    when: str,
) -> Difference | None:
    if not np.array_equal(*images):
        return Difference(image, devices, f"{when}: {describe(*images)}")
    if made[0] != made[1]:
        return Difference(image, devices, f"{when}: {made[0]} steps against {made[1]}")
    return None


# Shrinking


def without(image: Image, first: int, last: int) -> Image | None:
    """The program without instructions first..last - 1; jumps keep their targets."""
    header = read_words(image, 0, HEADER_WORDS)
    start, count = int(header[2]), int(header[3])
    code = read_words(image, start, count).view(np.uint8).reshape(-1, 4)
    kept = [i for i in range(count) if not first <= i < last]
    place = {old: new for new, old in enumerate(kept)}
    place[count] = len(kept)
    rows = code[kept].copy()
    for row, old in zip(rows, kept, strict=True):
        if row[0] == CALL:
            target = int(row[1]) | int(row[2]) << 8
            if target not in place:
                return None
            row[1:3] = place[target] & 255, place[target] >> 8
        elif row[0] == SKIP:
            skipped = range(old + 1, old + 1 + int(row[3]))
            row[3] = sum(i in place for i in skipped)
    smaller = image.copy()
    header[3] = len(kept)
    padded = np.zeros((count, 4), np.uint8)
    padded[: len(kept)] = rows
    write_words(smaller, start, padded.view("<u4").reshape(-1))
    write_words(smaller, 0, header)
    return smaller


def _blocks(image: Image) -> list[tuple[int, int]]:
    """Ranges worth dropping: halves, quarters, ... single instructions, last first."""
    count = int(read_words(image, 0, HEADER_WORDS)[3])
    size, ranges = count // 2, []
    while size:
        ranges += [(i, min(i + size, count)) for i in range(max(count - size, 0), -1, -size)]
        size //= 2
    return ranges


def _unlooped(image: Image) -> list[Image]:
    """The program without one Loop and its EndLoop, for every loop."""
    found = []
    for first, last in _loops(image):
        inside = without(image, last, last + 1)
        found += [smaller] if inside is not None and (
            smaller := without(inside, first, first + 1)) is not None else []  # fmt: skip
    return found


def _loops(image: Image) -> list[tuple[int, int]]:
    pairs, stack = [], []
    for i in admitted(image).instructions:
        if i.op.flow is isa.Flow.LOOP:
            stack.append(i.index)
        elif i.op.flow is isa.Flow.END_LOOP:
            pairs.append((stack.pop(), i.index))
    return pairs


def _resized(image: Image, before: int, after: int) -> Image:
    """Every extent and parameter of one value replaced by a smaller one."""
    smaller = image.copy()
    header = [int(v) for v in read_words(image, 0, HEADER_WORDS)]
    for d in admitted(image).descriptors:
        at = header[4] + d.index * DESCRIPTOR_WORDS
        words = read_words(image, at, DESCRIPTOR_WORDS)
        part = words[1:10] if d.dtype == DType.PARAMS else words[1:5]
        part[part == before] = after
        write_words(smaller, at, words)
    return smaller


def _candidates(image: Image) -> list[Callable[[], Image | None]]:
    """Ways to make the program smaller, the most effective first."""
    network = admitted(image)
    ways: list[Callable[[], Image | None]] = []
    ways += [lambda r=r: without(image, *r) for r in _blocks(image)]  # type: ignore[misc]
    ways += [lambda i=i: i for i in _unlooped(image)]  # type: ignore[misc]
    extents = {e for d in network.descriptors for e in d.extents if e > 1}
    for extent in sorted(extents, reverse=True):
        for after in sorted({1, 4, extent // 8 * 4, extent // 2, extent - 1}):
            if 0 < after < extent:
                ways.append(lambda e=extent, a=after: _resized(image, e, a))  # type: ignore[misc]
    for d in network.descriptors:
        if d.dtype == DType.PARAMS:
            continue
        word = 0x80808080 if d.dtype in (DType.I8,) else 0
        for value in (word, 1) if d.rows * d.cols == 1 else (word,):

            def blank(d=d, value=value):  # type: ignore[no-untyped-def]
                quiet = image.copy()
                store_words(quiet, d, 0, np.full((d.rows, d.row_words), value, np.uint32))
                return None if np.array_equal(quiet, image) else quiet

            ways.append(blank)
    return ways


def shrink(image: Image, differs: Callable[[Image], bool], tries: int = 2000) -> Image:
    """A smaller program for which ``differs`` still holds; refused ones are passed over."""
    progress = True
    while progress and tries > 0:
        progress = False
        for way in _candidates(image):
            tries -= 1
            smaller = way()
            if smaller is None or tries <= 0:
                continue
            try:
                if differs(smaller):
                    image, progress = smaller, True
                    break
            except ProgramError:
                continue
    return image


def minimal(found: Difference, seed: int) -> Difference:
    """Shrink a difference and return that of the smallest image."""

    def differs(image: Image) -> bool:
        return compare(image, found.devices, Random(seed)) is not None

    image = shrink(found.image, differs)
    return compare(image, found.devices, Random(seed)) or found


def keep(found: Difference, folder: Path = REGRESSIONS) -> Path:
    """Store the image of a difference, named by its content; returns the file."""
    name = hashlib.sha256(found.image.tobytes()).hexdigest()[:12]
    path = folder / f"differential-{name}.png"
    save_image(found.image, path)
    return path


def listing(image: Image) -> str:
    """The instructions of a program with the tensors they name, one a line."""
    network = admitted(image)
    lines = []
    for i in network.instructions:
        names = [
            network.descriptors[index].name
            + "["
            + "x".join(map(str, network.descriptors[index].extents))
            + "]"
            for mode, operand in zip(i.op.operands, i.operands, strict=True)
            if mode.name.startswith(("TENSOR", "PARAM"))
            and (index := network.index(operand, 0 if operand < 128 else _base(image, network)))
            < len(network.descriptors)
        ]
        lines.append(f"{i.index:3} {i.op.name} {' '.join(names)}  {i.operands}")
    return "\n".join(lines)


def _base(image: Image, network: TensorProgram) -> int:
    return int(read_words(image, network.state_start + State.BASE, 1)[0])
