"""Capacity chosen when a program is opened: rows of KV caches and of tokens in one execution.

A file ships with the least capacity. The tensors that grow stand behind all others: caches
(names that end in ``k_cache`` and ``v_cache``, shape [heads, context, w]) and tensors whose
length is the scalar ``n``. Opening appends rows of zeros and rewrites their descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pxvm.core.container import PathLike, open_image
from pxvm.core.dialect1 import TensorProgram, parse, read_state
from pxvm.core.errors import ProgramError
from pxvm.core.layout import Shelves
from pxvm.core.mappable import map_again
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    Descriptor,
    State,
    Words,
    encode_descriptor,
    read_words,
    store_words,
    tensor_words,
    words_of,
    write_words,
)

CACHES = ("k_cache", "v_cache")
TABLE_WORD = 4  # of the header: where the descriptors start


def resize(
    source: Image | PathLike,
    *,
    context: int | None = None,
    prompt: int | None = None,
    network: TensorProgram | None = None,
    fresh: bool = False,
    more: Sequence[Descriptor] = (),
) -> Image:
    """Open a program with other capacities; what its tensors hold is kept.

    Args:
        source: an image, which stays as it is, or a file.
        context: tokens that the caches hold.
        prompt: tokens in one execution. None keeps a capacity.
        network: what ``parse`` said about the source; parsed when missing.
        fresh: the image is as ``open_image`` gave it: where it is mapped, its file is mapped
            again and not copied.
        more: tensors that are to grow as well, with their new extents; with them the program is
            for another text, and what the caches hold is not kept.

    Raises ProgramError when tokens in use would be lost, or when the program cannot grow.
    """
    fresh = fresh or not isinstance(source, np.ndarray)
    image = source if isinstance(source, np.ndarray) else open_image(source)
    network = network or parse(image)
    wanted = _wanted(network, context, prompt)
    if not wanted:
        raise ProgramError("expected a program with caches or with tensors of length n; found none")
    old = {d.index: d for d in network.descriptors}
    first = min(old[d.index].start for d in wanted) // network.width
    if any(d.start >= first * network.width for d in _fixed(network, [*wanted, *more])):
        raise ProgramError("expected the tensors that grow behind all others; found one before")
    shelves = Shelves(network.width, first * network.width)
    placed = []
    for d in [*wanted, *more]:
        start, per = shelves.put(d.rows, d.row_words)
        placed.append(replace(d, start=start, per=per))
    state = read_state(image, network.state_start)
    begun = bool(state[State.STEPS]) and not more
    kept = {d.index: _kept(image, old[d.index], d) for d in placed[: len(wanted)]
            if begun or "cache" not in d.name}  # fmt: skip
    if begun:
        _check_fits(image, network, context, prompt)
    result = _with_height(image, shelves.height, fresh, first)
    table = int(read_words(result, TABLE_WORD, 1)[0])
    for d in placed:
        write_words(result, table + d.index * DESCRIPTOR_WORDS, encode_descriptor(d))
        if d.index in kept:
            _restore(result, d, kept[d.index])
    return result


def _wanted(network: TensorProgram, context: int | None, prompt: int | None) -> list[Descriptor]:
    """The tensors that grow, with their new extents, in the order of their descriptors."""
    wanted = []
    for d in network.descriptors:
        extents = d.extents
        if d.name.endswith(CACHES) and len(extents) == 3:
            extents = (extents[0], context or extents[1], extents[2])
        elif d.length is not None and network.descriptors[d.length].name == "n":
            extents = (prompt or extents[0], *extents[1:])
        else:
            continue
        if min(extents) < 1:
            raise ProgramError(f"expected a capacity of at least 1; found {min(extents)}")
        wanted.append(replace(d, extents=extents))
    return wanted


def _fixed(network: TensorProgram, wanted: list[Descriptor]) -> list[Descriptor]:
    growing = {d.index for d in wanted}
    return [d for d in network.descriptors if d.index not in growing and d.row_words]


def _check_fits(
    image: Image, network: TensorProgram, context: int | None, prompt: int | None
) -> None:
    """Raise ProgramError when a smaller capacity would lose tokens in use."""
    for name, capacity in (("position", context), ("n", prompt)):
        for d in network.descriptors:
            if d.name == name and capacity is not None:
                used = int(read_words(image, d.start, 1).view("<i4")[0])
                if used > capacity:
                    raise ProgramError(
                        f"{used} tokens are in use ({name}); a capacity of {capacity} loses some"
                    )


def _with_height(image: Image, height: int, fresh: bool, first: int) -> Image:
    """The image with another height, its rows from ``first`` on zero."""
    again = map_again(image, height - len(image)) if fresh and height > len(image) else None
    if again is not None:
        words_of(again)[first : len(image)] = 0
        return again
    copy = np.zeros((height, *image.shape[1:]), np.uint8)  # takes pages only where it is used
    copy[:first] = image[:first]
    return copy


def _kept(image: Image, old: Descriptor, new: Descriptor) -> Words:
    """The rows that have a place in both capacities: (heads, rows, words)."""
    heads = old.extents[0] if len(old.extents) == 3 else 1
    both = min(old.rows, new.rows) // heads
    words = tensor_words(image, old, 0, old.rows).reshape(heads, -1, old.row_words)
    kept: Words = words[:, :both].copy()
    return kept


def _restore(image: Image, d: Descriptor, kept: Words) -> None:
    """Put rows back where they stand in the new capacity."""
    for head, rows in enumerate(kept):
        if rows.any():
            store_words(image, d, head * (d.rows // len(kept)), rows)
