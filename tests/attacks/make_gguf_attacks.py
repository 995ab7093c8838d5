"""Writes the abusive GGUF files of ``gguf/``: ``python -m tests.attacks.make_gguf_attacks``."""

from __future__ import annotations

import struct
from pathlib import Path

FOLDER = Path(__file__).parent / "gguf"
UINT32, BOOL, STRING, ARRAY = 4, 7, 8, 9


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def tensor(
    name: bytes = b"w", extents: tuple[int, ...] = (32, 2), kind: int = 0, at: int = 0
) -> bytes:
    shape = struct.pack(f"<I{len(extents)}Q", len(extents), *extents)
    return text(name) + shape + struct.pack("<IQ", kind, at)


def file(
    *parts: bytes, tensors: int = 0, pairs: int = 0, version: int = 3, data: int = 256
) -> bytes:
    """Header, parts, and so many bytes of data from a multiple of 32 on."""
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(parts)
    return head + bytes(-len(head) % 32 + data)


ATTACKS = {
    "empty": b"",
    "magic_only": b"GGUF",
    "other_magic": b"GGML" + bytes(60),
    "version_1": file(version=1),
    "version_9": file(version=9),
    "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensors_2_60": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1) + bytes(19),
    "pairs_2_60": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + bytes(19),
    "counts_of_all_ones": b"GGUF" + struct.pack("<I", 3) + b"\xff" * 16,
    "key_of_2_63": file(struct.pack("<Q", 1 << 63), pairs=1),
    "key_twice": file(pair(b"a", UINT32, number(1)) * 2, pairs=2),
    "key_not_text": file(pair(b"\xff\xfe", UINT32, number(1)), pairs=1),
    "value_of_type_99": file(pair(b"a", 99, number(1)), pairs=1),
    "string_past_end": file(pair(b"a", STRING, struct.pack("<Q", 5000)), pairs=1),
    "array_of_2_61_strings": file(pair(b"a", ARRAY, struct.pack("<IQ", STRING, 1 << 61)), pairs=1),
    "array_of_2_62_numbers": file(pair(b"a", ARRAY, struct.pack("<IQ", UINT32, 1 << 62)), pairs=1),
    "array_of_arrays": file(
        pair(b"a", ARRAY, struct.pack("<IQ", ARRAY, 1)) + struct.pack("<IQ", ARRAY, 1), pairs=1
    ),
    "alignment_0": file(pair(b"general.alignment", UINT32, number(0)), pairs=1),
    "alignment_3": file(pair(b"general.alignment", UINT32, number(3)), pairs=1),
    "alignment_2_31": file(pair(b"general.alignment", UINT32, number(1 << 31)), pairs=1),
    "alignment_of_text": file(pair(b"general.alignment", STRING, text(b"32")), pairs=1),
    "alignment_true": file(pair(b"general.alignment", BOOL, b"\x01"), pairs=1),
    "rank_0": file(tensor(extents=()), tensors=1),
    "rank_5": file(tensor(extents=(1,) * 5), tensors=1),
    "rank_2_32": file(text(b"w") + number(2**32 - 1), tensors=1),
    "extent_0": file(tensor(extents=(32, 0)), tensors=1),
    "extents_overflow": file(tensor(extents=(1 << 33, 1 << 33)), tensors=1),
    "extents_wrap_to_64": file(tensor(extents=(1 << 62, 4, 64)), tensors=1),
    "format_99": file(tensor(kind=99), tensors=1),
    "half_a_block": file(tensor(extents=(48, 1), kind=8), tensors=1),
    "data_past_end": file(tensor(at=1 << 20), tensors=1),
    "data_one_byte_short": file(tensor(), tensors=1, data=255),
    "data_at_2_64": file(tensor(at=2**64 - 32), tensors=1),
    "data_misaligned": file(tensor(extents=(2,), at=8), tensors=1),
    "data_shared": file(tensor(b"a"), tensor(b"b", at=32), tensors=2, data=512),
    "data_shared_by_many": file(*(tensor(b"%d" % i) for i in range(40)), tensors=40),
    "name_twice": file(tensor(), tensor(at=256), tensors=2, data=512),
    "name_of_two_lines": file(tensor(b"a\nb"), tensors=1),
    "name_long": file(tensor(b"n" * 65), tensors=1),
}


def main() -> None:
    """Write every file anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in ATTACKS.items():
        (FOLDER / f"{name}.gguf").write_bytes(content)


if __name__ == "__main__":
    main()
