"""Every abusive GGUF of ``gguf/`` with its verdict: refused, at once, in one line.

A new abuse: add it to ``make_gguf_attacks.py``, run that, and give it a row here.
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from pxvm.core.errors import FormatError
from pxvm.models.files.gguf import open_gguf

FOLDER = Path(__file__).parent / "gguf"
REFUSED = {
    "empty": "byte 0: expected 4 bytes of the magic; found 0",
    "magic_only": "byte 4: expected 4 bytes of the version; found 0",
    "other_magic": "byte 0: expected GGUF; found b'GGML'",
    "version_1": "byte 4: expected version 2 or 3, little-endian; found 1",
    "version_9": "byte 4: expected version 2 or 3, little-endian; found 9",
    "big_endian": "byte 4: expected version 2 or 3, little-endian; found 50331648",
    "tensors_2_60": "byte 8: expected at most 0 tensors in 27 bytes; found 1152921504606846976",
    "pairs_2_60": "byte 16: expected at most 1 key/value pairs in 19 bytes; found 11529215",
    "counts_of_all_ones": "byte 8: expected at most 0 tensors in 8 bytes; found 184467440737",
    "key_of_2_63": "byte 24: expected at most 256 bytes of a key in 256 bytes; found 92233720",
    "key_twice": "expected keys that differ; found 'a' twice",
    "key_not_text": "byte 32: expected a key in UTF-8; found ff fe",
    "value_of_type_99": "expected a value's type, 0 to 12; found 99",
    "string_past_end": "bytes of a string in 275 bytes; found 5000",
    "array_of_2_61_strings": "strings in 271 bytes; found 2305843009213693952",
    "array_of_2_62_numbers": "numbers in 271 bytes; found 4611686018427387904",
    "array_of_arrays": "expected an array of numbers or strings; found type 9",
    "alignment_0": "expected general.alignment, a multiple of 8 up to 1 MiB; found 0",
    "alignment_3": "expected general.alignment, a multiple of 8 up to 1 MiB; found 3",
    "alignment_2_31": "expected general.alignment, a multiple of 8 up to 1 MiB; found 2147483648",
    "alignment_of_text": "expected general.alignment, a multiple of 8 up to 1 MiB; found '32'",
    "alignment_true": "expected general.alignment, a multiple of 8 up to 1 MiB; found True",
    "rank_0": "expected tensor w of rank 1 to 4; found 0",
    "rank_5": "expected tensor w of rank 1 to 4; found 5",
    "rank_2_32": "expected tensor w of rank 1 to 4; found 4294967295",
    "extent_0": "tensor w: expected extents of at least 1",
    "extents_overflow": "expected 295147905179352825856 bytes of F32 inside the file",
    "extents_wrap_to_64": "bytes of F32 inside the file",
    "format_99": "expected tensor w in one of F32, F16",
    "half_a_block": "the last a multiple of 32 for Q8_0; found [1, 48]",
    "data_past_end": "expected 256 bytes of F32 inside the file",
    "data_one_byte_short": "expected 256 bytes of F32 inside the file",
    "data_at_2_64": "expected 256 bytes of F32 inside the file",
    "data_misaligned": "aligned to 32",
    "data_shared": "tensors a and b: expected bytes of their own",
    "data_shared_by_many": "expected bytes of their own",
    "name_twice": "expected names of tensors that differ; found w twice",
    "name_of_two_lines": "expected a tensor's name that can be printed; found 'a\\nb'",
    "name_long": "expected a tensor's name of at most 64 bytes; found 65",
}


def test_every_file_has_a_verdict():
    assert {file.stem for file in FOLDER.iterdir()} == REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_once(name):
    tracemalloc.start()
    before = time.process_time()
    try:
        with pytest.raises(FormatError) as caught:
            open_gguf(FOLDER / f"{name}.gguf")
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 1
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)
