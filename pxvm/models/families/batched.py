"""Several conversations in one execution: a Llama program turned into one that has slots.

Everything but attention works on each row alone, in integers; so rows of different texts stand side
by side, the weights are read once for all of them, and each row comes out with the bytes that it
has alone. Attention is inside a loop over slots, each of which has caches of its own. The program
takes one token for each slot in use and computes the logits behind it; tensors, by name:

    active [slots, 1]      1: the slot is in use; others stay as they are
    positions [slots, 1]   tokens in its caches
    count [1]              how many are in use
    ids [slots, 1]         their tokens, in the order of the slots
    logits [slots, vocab]  behind each of these

The weights are the source's, in the same pixels; table, code and what grows stand behind them. A
``sampler`` is the other half: a small program that draws a token from one row of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pxvm.core import isa
from pxvm.core.dialect1 import RELATIVE, TensorProgram
from pxvm.core.errors import ProgramError
from pxvm.core.isa import Names
from pxvm.core.layout import NetworkBuilder, Shelves
from pxvm.core.mappable import map_again
from pxvm.core.program import Image, Instruction
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    STATE_WORDS,
    Descriptor,
    DType,
    Role,
    State,
    encode_descriptor,
    header_words,
    write_words,
)
from pxvm.models.families.llama import RUNS

MOST = 255  # that a loop can add to the base
OWN = ("k_cache", "v_cache", "attention")  # what a slot has of its own in each layer
ROWS = ("q", "k", "v", "mixed")  # what attention takes and gives, of which a slot has one row


def batched(source: Image, network: TensorProgram, slots: int, context: int) -> Image:
    """The program with ``slots`` slots of ``context`` tokens each.

    Args:
        source: as ``open_image`` gave it, of a language model; it stays as it is.

    Raises ProgramError when it is no Llama program, or has no room for so many slots.
    """
    return _Batched(source, network, slots, context).image()


class _Batched:
    def __init__(self, source: Image, network: TensorProgram, slots: int, context: int) -> None:
        self.source, self.old, self.slots, self.context = source, network, slots, context
        named = {d.name: d for d in network.descriptors}
        try:
            self.loop = next(
                i for i in network.instructions if i.op.name == "Loop" and i.operands[2]
            )
            self.first = named["0.attention_norm.eps"].index
            self.cache, _ = named["0.k_cache"], named["0.attention"]
        except (StopIteration, KeyError):
            raise ProgramError("expected a program of the Llama family; found another") from None
        self.size = self.loop.operands[2]
        self.begin, self.end = self._attended()
        self.inside = self._inside()
        # Descriptors of a layer with its slots.
        self.stride = self.size + len(self.inside) * slots
        self.layers = (len(network.descriptors) - self.first) // self.size
        self.shared = list(network.descriptors[: self.first])
        self.shelves = Shelves(network.width, len(source) * network.width)
        self.data: list[tuple[Descriptor, list[int]]] = []
        self.named = {d.name: d.index for d in self.shared}

    def _attended(self) -> tuple[int, int]:
        """The instructions from queries, keys and values, which are whole, to attention."""
        code, v = (
            self.old.instructions,
            next(d.index for d in self.old.descriptors if d.name == "v"),
        )
        end = next(i.index for i in code if i.op.name.startswith("Attention"))
        linears = (i.index for i in code[:end] if i.op.name == "Linear" and i.operands[0] == v)
        return max(linears) + 1, end + 1

    def _inside(self) -> list[int]:
        """Places in a layer of what those use: a loop over slots moves the base along copies."""
        layer = self.old.descriptors[self.first : self.first + self.size]
        places = {d.name: d.index - self.first for d in layer}
        found = [places[f"0.{name}"] for name in OWN]
        for i in self.old.instructions[self.begin : self.end]:
            for mode, operand in zip(i.op.operands, i.operands, strict=True):
                if mode.names in (Names.TENSOR, Names.BLOCK) and operand >= RELATIVE:
                    found.append(operand - RELATIVE)
        return list(dict.fromkeys(found))

    # -- tensors ---------------------------------------------------------------------------------

    def image(self) -> Image:
        """Table, code and state behind the source's pixels; the header names them."""
        rows = [self.shared[self.named[name]] for name in ROWS]
        self._grow()
        for like in rows:
            self._add(replace(like, name=f"{like.name}1", extents=(1, like.cols), length=None))
        number = self.shared[self.named["position"]]
        for name in ("row", "slot"):
            self._add(replace(number, name=name))
        for name in ("positions", "active"):
            slot = self.named["slot"]
            self._add(replace(number, name=name, extents=(self.slots, 1), length=slot))
        for name in ("position1", "active1"):
            self._add(replace(number, name=name, extents=(1, 1)))
        for name, value in (("zero", 0), ("slots", self.slots)):
            self._add(replace(number, name=name, role=Role.CONSTANT), [value])
        inside = self.size + len(self.inside)
        if len(self.shared) > RELATIVE or inside > RELATIVE or self.stride > MOST:
            raise ProgramError(f"the program has no room for {self.slots} slots")
        table = [*self.shared, *(d for layer in range(self.layers) for d in self._layer(layer))]
        table = [replace(d, index=i) for i, d in enumerate(table)]
        return self._written(table, self._code())

    def _grow(self) -> None:
        """Rows for as many tokens as there are slots, in place of one."""
        for d in self.shared:
            if d.name == "logits":
                grown = replace(d, extents=(self.slots, d.cols), length=self.named["n"])
            elif d.length == self.named["n"]:
                grown = replace(d, extents=(self.slots, d.cols))
            else:
                continue
            self.shared[d.index] = self._placed(grown)

    def _placed(self, d: Descriptor) -> Descriptor:
        start, per = self.shelves.put(d.rows, d.row_words)
        return replace(d, start=start, per=per)

    def _add(self, d: Descriptor, values: list[int] | None = None) -> None:
        placed = self._placed(replace(d, index=len(self.shared)))
        self.named[d.name] = placed.index
        self.shared.append(placed)
        if values is not None:
            self.data.append((placed, values))

    def _layer(self, layer: int) -> list[Descriptor]:
        """A layer's descriptors, and behind them those of its slots."""
        begin = self.first + layer * self.size
        moved = len(self.shared) + layer * self.stride
        found = [
            self._moved(d, moved - begin) for d in self.old.descriptors[begin : begin + self.size]
        ]
        heads, _, width = self.cache.extents
        for slot in range(self.slots):
            at = moved + self.size + slot * len(self.inside)
            for place in self.inside:
                like = self.old.descriptors[begin + place]
                name = like.name.partition(".")[2]
                if name == "attention":
                    words = (at, at + 1, self.named["position1"], *like.parameters[3:])
                    copy = replace(like, parameters=words)
                elif name in OWN:
                    extents = (heads, self.context, width)
                    copy = self._placed(replace(self.cache, extents=extents))
                else:
                    copy = self._moved(like, moved - begin)
                found.append(replace(copy, name=f"{layer}.{slot}.{name}"))
        return found

    def _moved(self, d: Descriptor, by: int) -> Descriptor:
        """A descriptor of a layer whose links follow those that moved with it."""

        def to(link: int | None) -> int | None:
            return link if link is None or link < self.first else link + by

        if d.dtype == DType.PARAMS:  # the attention without slots, which nothing uses
            words = tuple(w + by if w >= self.first else w for w in d.parameters[:3])
            return replace(d, parameters=(*words, *d.parameters[3:]))
        return replace(d, scale=to(d.scale), bias=to(d.bias), length=to(d.length))

    # -- code ------------------------------------------------------------------------------------

    def _code(self) -> np.ndarray:
        """The source's own instructions, with a loop over slots where attention was."""
        code = self.old.instructions
        at = {i.op.name: i.index for i in reversed(code)}  # the first of each
        end = next(i.index for i in code[self.loop.index :] if i.op.name == "EndLoop")
        norm, head = code[at["Tail"] + 1], code[at["Tail"] + 2]
        emit = _Emitter(self.named)
        emit("Loop", "runs")
        emit("Copy", "n", "count")
        for i in code[at["Embed"] : self.loop.index]:
            emit.same(i)
        emit("Loop", "layers", self.stride)
        for i in code[self.loop.index + 1 : self.begin]:
            emit.same(i)
        emit("Copy", "n", "zero")
        emit("Copy", "slot", "zero")
        emit("Loop", "slots", len(self.inside))
        self._slot(emit, code[self.begin : self.end])
        emit("EndLoop")
        for i in code[self.end : end + 1]:
            emit.same(i)
        emit.word(norm.code, self.named["normed"], self.named["x"], norm.operands[2])
        emit.word(head.code, self.named["logits"], self.named["normed"], head.operands[2])
        emit("Yield")
        emit("EndLoop")
        emit("Halt")
        return np.array(emit.words, np.uint8)

    def _slot(self, emit: _Emitter, code: Sequence[Instruction]) -> None:
        """What attention takes, of one slot: its row out of q, k and v, and back into mixed."""
        one = {self.named[name]: self.named[f"{name}1"] for name in (*ROWS, "position")}
        for number, place in enumerate(self.inside):
            one[RELATIVE + place] = RELATIVE + self.size + number
        emit("Add", "slot", "slot", "one")
        emit("Tail", "active1", "active")
        emit("SkipIfZero", "active1", len(code) + 7)
        emit("Tail", "position1", "positions")
        emit("Copy", "row", "n")
        emit("Add", "n", "n", "one")
        for name in ROWS[:3]:
            emit("Tail", f"{name}1", name)
        for i in code:
            names = zip(i.op.operands, i.operands, strict=True)
            emit.word(i.code, *(one.get(x, x) if mode.names in (Names.TENSOR, Names.BLOCK) else x
                                for mode, x in names))  # fmt: skip
        emit("Push", "mixed", "mixed1", "row")

    # -- pixels ----------------------------------------------------------------------------------

    def _written(self, table: list[Descriptor], code: np.ndarray) -> Image:
        place = self._block
        code_start, state_start = place(len(code)), place(self._state.size)
        table_start = place(len(table) * DESCRIPTOR_WORDS)
        image = _higher(self.source, self.shelves.height)
        write_words(image, 0, header_words(code_start, state_start, table_start, len(code),
                                           len(table)))  # fmt: skip
        write_words(image, code_start, code.view("<u4").reshape(-1))
        write_words(image, state_start, self._state)
        for d in table:
            write_words(image, table_start + d.index * DESCRIPTOR_WORDS, encode_descriptor(d))
        for d, values in self.data:
            write_words(image, d.start, np.array(values, np.uint32))
        return image

    @property
    def _state(self) -> np.ndarray:
        """Registers at the start: the base is the first layer's."""
        state = np.zeros(STATE_WORDS, np.uint32)
        state[State.BASE] = len(self.shared)
        return state

    def _block(self, words: int) -> int:
        """The start of whole image rows for so many words."""
        self.shelves.close()
        start = self.shelves.height * self.shelves.width
        self.shelves.height += -(-words // self.shelves.width)
        return start


class _Emitter:
    """Instructions by name; operands are names of shared tensors, or numbers."""

    def __init__(self, named: dict[str, int]) -> None:
        self.named, self.words = named, list[tuple[int, int, int, int]]()

    def __call__(self, name: str, *operands: str | int) -> None:
        op, given, row = isa.by_name(name, 1), list(operands), [0, 0, 0]
        for position, mode in enumerate(op.operands):
            if mode is not isa.Mode.NONE and given:
                value = given.pop(0)
                row[position] = self.named[value] if isinstance(value, str) else value
        self.word(op.code, *row)

    def word(self, *values: int) -> None:
        g, b, a = values[1:]
        self.words.append((values[0], g, b, a))

    def same(self, i: Instruction) -> None:
        self.word(i.code, *i.operands)


def _higher(image: Image, height: int) -> Image:
    """The image with empty rows behind it; its file is mapped again where it is mapped."""
    again = map_again(image, height - len(image))
    if again is not None:
        again[len(image) :] = 0
        return again
    copy = np.zeros((height, *image.shape[1:]), np.uint8)
    copy[: len(image)] = image
    return copy


def sampler(vocab: int, frac: int, context: int) -> Image:
    """A program that draws a token from logits [1, vocab]; its state is that of a Llama program.

    Args:
        frac: fraction bits of the logits.
        context: tokens of a text at most, for the penalty.
    """
    b = NetworkBuilder(1024)
    for name, number in {"one": 1, "runs": RUNS, "places": context}.items():
        b.constant(name, number)
    for name in ("history_length", "seen", "masked"):
        b.scalar(name)
    for name in ("temperature", "top_p", "penalty"):
        b.tensor(name, DType.I32, (1,), Role.STATE, frac=16, data=[0])
    b.scalar("top_k", 40)
    b.tensor("random", DType.I32, (2,), Role.STATE)
    for name in ("ids", "token"):
        b.tensor(name, DType.I32, (1, 1), Role.STATE)
    b.tensor("history", DType.I32, (context, 1), Role.STATE, length="seen")
    for name in ("logits", "mask"):
        b.tensor(name, DType.I32, (1, vocab), Role.STATE, frac=frac)
    b.parameters("sampler", "Sample", temperature="temperature", top_k="top_k", top_p="top_p",
                 penalty="penalty", history="history", random="random")  # fmt: skip
    b.emit("Loop", "runs", 0)
    b.emit("Copy", "seen", "places")
    b.emit("Push", "history", "ids", "history_length")
    b.emit("Copy", "seen", "history_length")
    b.emit("SkipIfZero", "masked", 1)
    b.emit("Add", "logits", "logits", "mask")
    b.emit("Sample", "token", "logits", "sampler")
    b.emit("Yield")
    b.emit("EndLoop")
    b.emit("Halt")
    return b.build()
