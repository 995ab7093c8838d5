"""The reader of safetensors against the library's writer, and against abuse."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from pxvm.core.errors import FormatError, PxvmError
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.files.safetensors import open_safetensors
from tests.models.model_files import hf_bert, hf_llama

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_floats_come_back(tmp_path, dtype):
    values = {
        "a": RNG.normal(size=(5, 6)),
        "b": RNG.normal(size=7),
        "c": RNG.normal(size=(2, 3, 4)),
    }
    values = {n: v.astype(dtype) for n, v in values.items()}
    more = {"ids": np.arange(9), "scalar": np.array(2.5, np.float32)}
    save_file(values | more, tmp_path / "a.safetensors", {"format": "pt"})
    found = open_safetensors(tmp_path / "a.safetensors")
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert np.array_equal(found[name], value.astype(np.float32))
        assert np.array_equal(found[name][1:2], value[1:2].astype(np.float32))


def test_bfloat16(tmp_path):
    values = RNG.normal(size=(4, 6)).astype(np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    raw = write({"w": {"dtype": "BF16", "shape": [4, 6], "data_offsets": [0, 48]}}, upper.tobytes())
    (tmp_path / "a.safetensors").write_bytes(raw)
    found = np.asarray(open_safetensors(tmp_path / "a.safetensors")["w"])
    assert np.array_equal(found, (upper.astype(np.uint32) << 16).view(np.float32))


def write(table, data=b"", length=None):
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


REFUSED = {
    "empty": (b"", "byte 0: expected the length of a table"),
    "long table": (write({}, length=1 << 60), "at most 2 bytes; found 1152921504606846976"),
    "no json": (write(b"{nothing}"), "expected JSON"),
    "deep": (write(b'{"a":' + b"[" * 200_000), "expected JSON"),
    "list": (write(b"[]"), "expected a JSON object"),
    "twice": (write(b'{"a":1,"a":2}'), "a name stands twice"),
    "no entry": (write({"a": 3}), "expected dtype, shape, two offsets"),
    "dtype": (write({"a": entry("F4")}, bytes(8)), "expected one of F64, F32, F16, BF16"),
    "negative": (write({"a": entry(shape=[-2, -1])}, bytes(8)), "extents of at least 1"),
    "fraction": (write({"a": entry(shape=[1.5])}, bytes(8)), "whole extents"),
    "huge": (write({"a": entry(shape=[1 << 40, 1 << 40])}, bytes(8)), "8 whole extents of a file"),
    "digits": (write({"a": entry(shape=[10**4000] * 8)}, bytes(8)), "8 whole extents of a file"),
    "truth": (write({"a": entry(shape=[True, 2])}, bytes(8)), "at most 8 whole extents"),
    "short": (write({"a": entry()}, bytes(7)), "two offsets inside the 7 bytes of data"),
    "before": (write({"a": entry(offsets=[-8, 0])}, bytes(8)), "found -8 and 0"),
    "backwards": (write({"a": entry(offsets=[8, 0])}, bytes(8)), "found 8 and 0"),
    "real offsets": (write({"a": entry(offsets=[0.0, 8.0])}, bytes(8)), "found 0.0 and 8.0"),
    "false offsets": (write({"a": entry(offsets=[False, 8])}, bytes(8)), "found False and 8"),
    "far offsets": (write({"a": entry(offsets=[0, 1 << 64])}, bytes(8)), "inside the 8 bytes"),
    "integers": (write({"a": entry("I64", offsets=[0, 9])}, bytes(8)), "inside the 8 bytes"),
    "integers of no shape": (write({"a": entry("I64", [[]])}, bytes(8)), "whole extents"),
    "size": (write({"a": entry(offsets=[0, 4])}, bytes(8)), "expected 8 bytes"),
    "shared": (write({"a": entry(), "b": entry()}, bytes(8)), "bytes of their own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_abuse_is_refused_in_one_line(tmp_path, name):
    raw, message = REFUSED[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        open_safetensors(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


ODD = [None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, 2**63, "", "4", "\x1b[31m", [],
       [1], {}, {"a": 1}, [[]], {"type": {}}, {"rope_type": []},
       {"rope_type": "linear", "factor": []}, {"rope_theta": {}}]  # fmt: skip
MORE = ["rope_scaling", "rope_parameters", "head_dim", "sliding_window", "use_sliding_window",
        "attention_bias", "mlp_bias", "hidden_act", "position_embedding_type"]  # fmt: skip


@pytest.mark.parametrize("make", [hf_llama, hf_bert])
def test_settings_of_any_type_are_used_or_refused_in_one_line(tmp_path, make):
    make(tmp_path)
    path = tmp_path / "config.json"
    right, refused = json.loads(path.read_text()), 0
    for key in dict.fromkeys([*right, *MORE]):
        for value in ODD:
            path.write_text(json.dumps(right | {key: value}))
            try:
                open_checkpoint(tmp_path)
            except PxvmError as error:
                refused += 1
                assert str(error).isprintable() and str(tmp_path) in str(error)
    assert refused > 150


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"3", b"{" * 100_000, b"[" * 100_000,
                                  b'{"a":' + b"9" * 5000 + b"}", b"\xff\xfe", b"\xef\xbb\xbf{}",
                                  b'{"model_type":"llama"}'])  # fmt: skip
def test_settings_that_are_none(tmp_path, text):
    hf_llama(tmp_path)
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(FormatError) as caught:
        open_checkpoint(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)


@settings(max_examples=300, deadline=2000)
@given(st.data())
def test_mutations_are_read_or_refused_within_the_files_size(tmp_path_factory, data):
    raw = bytearray(save({"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float16)}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"9" * 9, b"-1", b"[", b'"', b"{"])
        )
        raw[at : at + data.draw(st.integers(0, 4))] = patch
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        for tensor in open_safetensors(path).values():
            assert np.asarray(tensor).shape == tensor.shape
    except PxvmError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 500_000
