"""The reader of GGUF: every format against gguf's own, every count against the file."""

import struct
import tracemalloc

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core.errors import FormatError, PxvmError
from pxvm.models.files.formats import BY_NUMBER, UNREAD, decode
from pxvm.models.files.gguf import open_gguf
from tests.models.model_files import gguf_llama

RNG = np.random.default_rng(3)
NAMES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
WRITTEN = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]  # gguf quantises these


def test_the_formats_are_those_of_the_library():
    assert {kind.name for kind in BY_NUMBER.values()} == set(NAMES)
    for number, kind in BY_NUMBER.items():
        theirs = gguf.GGMLQuantizationType(number)
        assert theirs.name == kind.name
        assert gguf.GGML_QUANT_SIZES[theirs] == (kind.block, kind.size)


def test_every_other_format_of_the_library_is_known_by_name():
    """Among them those that are no longer written; the newest may be missing."""
    for number, name in UNREAD.items():
        assert gguf.GGMLQuantizationType(number).name == name and number not in BY_NUMBER


@pytest.mark.parametrize("kind", BY_NUMBER.values(), ids=lambda kind: kind.name)
def test_any_bytes_mean_what_they_mean_to_the_library(kind):
    raw = RNG.integers(0, 256, (300, kind.size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = dequantize(raw, gguf.GGMLQuantizationType[kind.name])
    assert np.array_equal(decode(kind, raw.tobytes()), wanted.reshape(-1), equal_nan=True)


@pytest.mark.parametrize("name", WRITTEN)
def test_tensors_of_a_written_file(tmp_path, name):
    kind = gguf.GGMLQuantizationType[name]
    values = {f"t{i}": RNG.normal(size=shape).astype(np.float32)
              for i, shape in enumerate([(7, 64), (1, 32), (3, 2, 96)])}  # fmt: skip
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    packed = {n: quantize(v, kind) for n, v in values.items()}
    for n, raw in packed.items():
        writer.add_tensor(n, raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(path)
    for n, value in values.items():
        wanted = dequantize(packed[n], kind)
        assert file.tensors[n].shape == value.shape
        assert np.array_equal(file.array(n), wanted)
        assert np.array_equal(file.tensors[n][1:3], wanted[1:3])
    with pytest.raises(FormatError, match="expected a tensor t9; found none"):
        file.array("t9")


def test_a_format_that_is_not_read_is_refused_by_its_name(tmp_path):
    kind = gguf.GGMLQuantizationType.IQ4_NL
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("w", np.zeros((2, 18), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(FormatError, match=r"tensor w in one of F32, .* found format 20, IQ4_NL: "):
        open_gguf(tmp_path / "a.gguf")


def test_pairs_of_every_kind(tmp_path):
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {
        "uint8": 200, "int8": -5, "uint16": 60000, "int16": -300, "uint32": 1 << 31,
        "int32": -(1 << 31), "uint64": 1 << 63, "int64": -(1 << 62), "bool": True,
    }  # fmt: skip
    for kind, number in numbers.items():
        getattr(writer, f"add_{kind}")(f"n.{kind}", number)
    writer.add_float32("n.float32", 0.5)
    writer.add_float64("n.float64", 0.1)
    writer.add_string("text", "grün 😀")
    writer.add_array("texts", ["a", "", "ß"])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = open_gguf(path).metadata
    assert {k: found[f"n.{k}"] for k in numbers} == numbers and found["n.bool"] is True
    assert (found["n.float32"], found["n.float64"], found["text"]) == (0.5, 0.1, "grün 😀")
    assert found["texts"] == ["a", "", "ß"] and found["numbers"].tolist() == [1, 2, 3]


def test_a_small_file_that_claims_much_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1) + bytes(19))
    assert path.stat().st_size == 43
    tracemalloc.start()
    try:
        with pytest.raises(
            FormatError, match="at most 0 tensors in 27 bytes; found 1152921504606846976"
        ):
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ((1 << 17, 0), "byte 8: expected at most 65536 tensors"),
        ((0, 1 << 17), "byte 16: expected at most 65536 key/value pairs"),
        ((0, 1, 1 << 30), "byte 24: expected at most 67108832 bytes of a key"),
    ],
)
def test_a_large_file_may_not_have_more_before_its_data_than_memory_is_for(tmp_path, head, message):
    path = tmp_path / "large.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack(f"<I{len(head)}Q", 3, *head))
        file.truncate(1 << 34)  # which no disk has to hold
    with pytest.raises(FormatError, match=message):
        open_gguf(path)


def test_a_file_cut_short_after_it_was_opened(tmp_path):
    path = gguf_llama(tmp_path / "a.gguf")
    tensor = max(open_gguf(path).tensors.values(), key=lambda t: t.offset)
    path.write_bytes(path.read_bytes()[: tensor.offset + 5])
    with pytest.raises(FormatError, match="fetch the file again"):
        np.asarray(tensor)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return gguf_llama(tmp_path_factory.mktemp("fuzz") / "a.gguf").read_bytes()


@settings(max_examples=300, deadline=2000)
@given(data=st.data())
def test_mutations_are_read_or_refused_within_the_files_size(sample, tmp_path_factory, data):
    raw = bytearray(sample)
    head = raw.index(b"output_norm.weight")  # counts, lengths, types and extents stand before
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, head + 200))
        value = data.draw(st.sampled_from([0, 1, 2, 4, 8, 9, 12, 127, 128, 255]))
        raw[at : at + data.draw(st.integers(0, 8))] = bytes([value]) * data.draw(st.integers(0, 8))
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(raw[:cut])
    tracemalloc.start()
    try:
        file = open_gguf(path)
        for name in file.tensors:
            file.array(name)
    except PxvmError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * len(sample) + 500_000
