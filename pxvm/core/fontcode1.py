"""The lines of font-code that only dialect 1 has.

    .network CODE STATE DESCRIPTORS    where they start, in words (row-major pixels); before them
                                       stands .image, after them the tensors in order
    .tensor [NAME]@INDEX DTYPE ROLE EXTENTS at=WORD per=ROWS [frac=BITS] [scale=T] [bias=T]
            [length=T]                 a descriptor; T is a tensor's name or index
    .parameters [NAME]@INDEX WORD ...  a parameter block of up to nine words

Instructions follow as in dialect 0; operands are names of tensors below 128, or numbers, those
from 128 on relative to the base register.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from pxvm.core.dialect1 import TensorProgram
from pxvm.core.errors import ProgramError
from pxvm.core.program import Image
from pxvm.core.tensor import (
    DESCRIPTOR_WORDS,
    Descriptor,
    DType,
    Role,
    encode_descriptor,
    header_words,
    read_words,
    shape_text,
    write_words,
)

_PLACE = re.compile(r"^(\S*)@(\d+)$")
_PLAIN = re.compile(r"^[^\s;@=.][^\s;@=]*$")


def network_lines(image: Image, program: TensorProgram, drawn: Image) -> Iterator[str]:
    """Header and descriptors as lines, drawn as well."""
    table = int(read_words(image, 4, 1)[0])
    count = len(program.descriptors)
    code, state = program.code_start, program.state_start
    write_words(drawn, 0, header_words(code, state, table, len(program.instructions), count))
    yield f".network {code} {state} {table}"
    for d in program.descriptors:
        # A name that is no word of the text, or that does not print, is left to the pixels.
        d = replace(d, name=d.name if _PLAIN.match(d.name) and d.name.isprintable() else "")
        line = _descriptor_line(d)
        directive, *words = line.split()
        # What the line says, which need not be all that the pixels hold.
        if directive == ".parameters":
            said = parse_parameters(words, d.index)
        else:
            said = parse_tensor(words, d.index, int)
        write_words(drawn, table + d.index * DESCRIPTOR_WORDS, encode_descriptor(said))
        yield line
    write_words(drawn, code, program.code.view("<u4").reshape(-1))


def _descriptor_line(d: Descriptor) -> str:
    if d.dtype == DType.PARAMS:
        words = list(d.parameters)
        while words and words[-1] == 0:
            words.pop()
        return " ".join([f".parameters {d.name}@{d.index}", *map(str, words)])
    parts = [f".tensor {d.name}@{d.index} {d.dtype.name} {d.role.name.lower()}"]
    parts += [shape_text(d.extents), f"at={d.start}", f"per={d.per}"]
    if d.frac:
        parts.append(f"frac={d.frac}")
    links = {"scale": d.scale, "bias": d.bias, "length": d.length}
    parts += [f"{key}={link}" for key, link in links.items() if link is not None]
    return " ".join(parts)


def parse_place(word: str, expected: int) -> tuple[str, int]:
    """NAME@INDEX as (name, index). Raises ProgramError unless the index is the expected one."""
    match = _PLACE.match(word)
    if not match or int(match[2]) != expected:
        raise ProgramError(f"expected [NAME]@{expected}, descriptors in order; found {word!r}")
    return match[1], expected


def parse_tensor(words: list[str], index: int, find: Callable[[str], int]) -> Descriptor:
    """The descriptor of a ``.tensor`` line; ``find`` gives the index of a tensor's name."""
    name, _ = parse_place(words[0], index)
    kind, role, size, *settings = words[1:]
    given = dict(setting.split("=", 1) for setting in settings)
    unknown = set(given) - {"at", "per", "frac", "scale", "bias", "length"}
    if kind not in DType.__members__ or role.upper() not in Role.__members__ or unknown:
        raise ProgramError(
            f"expected a dtype ({', '.join(DType.__members__)}), a role"
            f" ({', '.join(Role.__members__).lower()}) and at, per, frac, scale, bias, length;"
            f" found {kind} {role} {' '.join(sorted(unknown))}".rstrip()
        )
    scale, bias, length = (
        find(given[key]) if key in given else None for key in ("scale", "bias", "length")
    )
    extents = tuple(int(extent) for extent in size.split("x"))
    frac = int(given.get("frac", 0))
    numbers = [*extents, int(given["at"]), int(given["per"])]
    if min(numbers) < 0 or max(numbers) >> 32 or not -128 <= frac <= 127 or len(extents) > 4:
        raise ProgramError(f"extents, at and per are 32 bits, frac -128..127; found {words}")
    return Descriptor(
        index, name, DType[kind], Role[role.upper()], frac, extents, int(given["at"]),
        int(given["per"]), scale, bias, length,
    )  # fmt: skip


def parse_parameters(words: list[str], index: int) -> Descriptor:
    """The descriptor of a ``.parameters`` line."""
    name, _ = parse_place(words[0], index)
    values = tuple(int(word) for word in words[1:])
    if len(values) > 9 or any(not 0 <= value < 1 << 32 for value in values):
        raise ProgramError(f"expected up to nine words of 32 bits; found {values}")
    return Descriptor(
        index, name, DType.PARAMS, Role.CONSTANT, 0, (0,), 0, 1, None, None, None, values
    )
