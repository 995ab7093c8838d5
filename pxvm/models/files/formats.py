"""How model files store real numbers: one small class a format, each registers itself.

A format packs ``block`` elements in ``size`` bytes. GGUF numbers its formats, safetensors names
them; both are found in ``BY_NUMBER`` and ``BY_NAME``. Layouts follow ggml's block structures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[Any]  # unsigned, of 8 bits
Singles = NDArray[np.float32]


class Format(ABC):
    """A way to store numbers; subclasses decode uint8 [n, size] to float32 [n, block]."""

    name: ClassVar[str]
    number: ClassVar[int | None] = None  # in GGUF; None where it has none
    block: ClassVar[int] = 1
    size: ClassVar[int]

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "name"):  # a kind of formats
            return
        BY_NAME[cls.name] = cls
        if cls.number is not None:
            BY_NUMBER[cls.number] = cls

    @staticmethod
    @abstractmethod
    def decode(blocks: Bytes) -> Singles:
        """float32 [n, block] of uint8 [n, size]."""


class FourBit(Format):
    """A format of groups of 32 codes 0..15, each with a step and a minimum."""

    @staticmethod
    @abstractmethod
    def groups(blocks: Bytes) -> tuple[Bytes, Singles, Singles]:
        """Codes [n, block], steps and minima [n, block / 32]: ``step * code + minimum``."""


# GGUF's formats that are not read, so that whoever has one hears its name.
UNREAD = {
    9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16",
    26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    40: "NVFP4",
}  # fmt: skip
BY_NUMBER: dict[int, type[Format]] = {}
BY_NAME: dict[str, type[Format]] = {}


def _half(blocks: Bytes, at: int) -> Singles:
    """The float16 at a byte of each block, as float32 [n, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """Low halves of all bytes, then high halves: [..., n] to [..., 2 n]."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(packed: Bytes) -> Bytes:
    """32 bits of 4 bytes, lowest first, each as 0 or 16: [n, 4] to [n, 32]."""
    return np.unpackbits(packed, axis=1, bitorder="little") << 4


class F64(Format):
    name, size = "F64", 8

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return blocks.view("<f8").astype(np.float32)


class F32(Format):
    name, number, size = "F32", 0, 4

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return blocks.view("<f4").astype(np.float32)


class F16(Format):
    name, number, size = "F16", 1, 2

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return blocks.view("<f2").astype(np.float32)


class BF16(Format):
    """The upper half of a float32."""

    name, number, size = "BF16", 30, 2

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


class Q8_0(Format):
    """Scale, then int8."""

    name, number, block, size = "Q8_0", 8, 32, 34

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return _half(blocks, 0) * blocks[:, 2:].view(np.int8)


class Q4_0(FourBit):
    """Scale, then 4 bits less 8."""

    name, number, block, size = "Q4_0", 2, 32, 18

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return _half(blocks, 0) * (_nibbles(blocks[:, 2:]).view(np.int8) - 8)

    @staticmethod
    def groups(blocks: Bytes) -> tuple[Bytes, Singles, Singles]:
        return _nibbles(blocks[:, 2:]), _half(blocks, 0), -8 * _half(blocks, 0)


class Q4_1(FourBit):
    """Scale, minimum, then 4 bits."""

    name, number, block, size = "Q4_1", 3, 32, 20

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return _half(blocks, 0) * _nibbles(blocks[:, 4:]) + _half(blocks, 2)

    @staticmethod
    def groups(blocks: Bytes) -> tuple[Bytes, Singles, Singles]:
        return _nibbles(blocks[:, 4:]), _half(blocks, 0), _half(blocks, 2)


class Q5_0(Format):
    """Scale, the fifth bits, then 4 bits; less 16."""

    name, number, block, size = "Q5_0", 6, 32, 22

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        q = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
        return _half(blocks, 0) * (q.view(np.int8) - 16)


class Q5_1(Format):
    """Scale, minimum, the fifth bits, then 4 bits."""

    name, number, block, size = "Q5_1", 7, 32, 24

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        q = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
        return _half(blocks, 0) * q + _half(blocks, 2)


def _scales_and_minima(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Eight 6-bit scales and eight 6-bit minima of 12 bytes.

    The first four of each are the low bits of bytes 0..3 and 4..7; the others have their low
    four bits in bytes 8..11 and their high two on top of the first.
    """
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=1)
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=1)
    return scales, minima


def _with_minima(blocks: Bytes, q: Bytes) -> Singles:
    """Elements q [n, 8, 32] of blocks that begin with scale, scale of minima, 6-bit pairs."""
    scales, minima = _scales_and_minima(blocks[:, 4:16])
    step, low = _half(blocks, 0) * scales, _half(blocks, 2) * minima
    return (step[..., None] * q - low[..., None]).reshape(len(blocks), 256)


class Q4_K(FourBit):
    """Eight groups of 32, each with a scale and a minimum of 6 bits; 4 bits an element."""

    name, number, block, size = "Q4_K", 12, 256, 144

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        return _with_minima(blocks, Q4_K.codes(blocks))

    @staticmethod
    def codes(blocks: Bytes) -> Bytes:
        """[n, 8, 32]."""
        return _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32)

    @staticmethod
    def groups(blocks: Bytes) -> tuple[Bytes, Singles, Singles]:
        scales, minima = _scales_and_minima(blocks[:, 4:16])
        codes = Q4_K.codes(blocks).reshape(-1, 256)
        return codes, _half(blocks, 0) * scales, -_half(blocks, 2) * minima


class Q5_K(Format):
    """As Q4_K; bit i of the 32 bytes between is the fifth bit of group i."""

    name, number, block, size = "Q5_K", 13, 256, 176

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        q = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
        fifth = blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & 1
        return _with_minima(blocks, q | fifth << 4)


class Q6_K(Format):
    """Sixteen groups of 16 with int8 scales; 4 low bits, 2 high bits, less 32; scale last."""

    name, number, block, size = "Q6_K", 14, 256, 210

    @staticmethod
    def decode(blocks: Bytes) -> Singles:
        low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 8, 32)
        shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
        high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & 3
        q = (low | high.reshape(-1, 8, 32) << 4).view(np.int8) - np.int8(32)
        step = _half(blocks, 208) * blocks[:, 192:208].view(np.int8)
        return np.asarray((step[..., None] * q.reshape(-1, 16, 16)).reshape(len(blocks), 256))


def decode(kind: type[Format], data: Any) -> Singles:
    """The numbers of whole blocks as float32 [count]; not finite where the file says so."""
    blocks = np.frombuffer(data, np.uint8).reshape(-1, kind.size)
    with np.errstate(all="ignore"):
        return kind.decode(blocks).reshape(-1)
