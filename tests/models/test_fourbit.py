"""Weights of four bits: codes that files have are kept, others are searched for."""

from dataclasses import replace

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from pxvm.core.container import open_image
from pxvm.core.errors import ProgramError
from pxvm.core.tensor import DType, decode, decode_groups, row_words, tensor_words
from pxvm.models.families.decoders import GGUF_NAMES as GGUF_LLAMA
from pxvm.models.files.formats import BY_NAME
from pxvm.models.files.gguf import open_gguf
from pxvm.models.files.stored import Stored
from pxvm.models.graph import fourbit as four
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.quantise import least_squares, quantise_weight, scale_value
from pxvm.models.importing.importer import import_model
from tests.models.model_files import TINY, gguf_llama, last_logits, llama_weights, names, relative
from tests.models.plain_models import llama_logits

RNG = np.random.default_rng(4)
TEXT = RNG.integers(0, 80, 12).tolist()


def stored(path, name: str, rows: int, cols: int) -> Stored:
    """Random blocks of a format, with steps of either sign that are small and finite."""
    kind = BY_NAME[name]
    blocks = RNG.integers(0, 256, (rows * cols // kind.block, kind.size), np.uint8)
    halves = 1 if name == "Q4_0" else 2
    numbers = RNG.normal(0, 0.01, (len(blocks), halves)).astype("<f2")
    blocks[:, : 2 * halves] = numbers.view(np.uint8)
    path.write_bytes(blocks.tobytes())
    return Stored(path, name, kind, (rows, cols), 0)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q4_K"])
def test_codes_of_files_are_kept_and_their_scales_hardly_move(tmp_path, name):
    weight = stored(tmp_path / "w", name, 24, 768)
    rows, real = slice(3, 20), np.asarray(weight, np.float64)[3:20]
    own, steps, _ = weight.groups(rows)
    codes, sizes, minima = four.groups_of("w", weight, rows)
    falls = np.repeat(steps < 0, 32, axis=1)
    assert falls.any()
    assert np.array_equal(codes, np.where(falls, 15 - own, own)) and (sizes >= 0).all()
    assert np.allclose(four.values(codes, sizes, minima), real, rtol=1e-5, atol=1e-7)
    words, scale = four.FourBits(weight).packed("w", rows)
    assert np.array_equal(decode_groups(words, 768)[0], codes)
    made = decode(words, DType.I4, 768) * scale_value(scale)[:, None]
    # Half a step of the scale for the code farthest from the mean, half a step of the minimum.
    step = scale_value(scale)[:, None]
    assert (np.abs(made - real) <= step * (0.5 * 15 + 0.5) * 1.001).all()
    assert ((made - real) ** 2).sum() < 1e-4 * (real**2).sum()


def test_what_is_searched_for_is_better_than_the_ends_of_each_group():
    weight = RNG.standard_t(5, (40, 256)) * np.logspace(-4, 4, 40)[:, None]
    codes, steps, minima = four.search(weight)
    assert codes.min() == 0 and codes.max() == 15
    groups = weight.reshape(40, -1, 32)
    low, high = groups.min(axis=2), groups.max(axis=2)
    plain = np.rint((groups - low[..., None]) / ((high - low) / 15)[..., None])
    plain = plain * ((high - low) / 15)[..., None] + low[..., None]
    worth = np.abs(groups) + np.sqrt((groups**2).mean(axis=2, keepdims=True))
    found = four.values(codes, steps, minima).reshape(groups.shape)
    errors = [(worth * (x - groups) ** 2).sum(axis=2) for x in (found, plain)]
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()
    lost = [((x - groups) ** 2).sum() / (groups**2).sum() for x in (found, plain)]
    assert lost[0] < 0.9 * lost[1] < 0.9 * 0.12**2


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-30, 7e5])
def test_groups_of_one_value_are_exact(value):
    words, scale = four.FourBits(np.full((2, 64), value)).packed("w", slice(0, 2))
    made = decode(words, DType.I4, 64) * scale_value(scale)[:, None]
    assert np.allclose(made, value, rtol=1e-4, atol=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    weight = RNG.normal(size=(2, 64))
    weight[1, 40] = value
    with pytest.raises(ProgramError, match="w: expected a matrix of finite weights"):
        four.FourBits(weight).packed("w", slice(0, 2))
    kept = stored(tmp_path / "w", "Q4_1", 4, 64)
    data = bytearray(kept.path.read_bytes())
    data[20:22] = np.array(value, "<f2").tobytes()
    kept.path.write_bytes(data)
    with pytest.raises(ProgramError, match="w: expected groups of finite weights"):
        four.FourBits(kept).packed("w", slice(0, 4))


def types(path) -> dict[str, DType]:
    return {d.name: d.dtype for d in Fields(open_image(path)).network.descriptors}


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1"])
def test_a_file_of_four_bits_stays_one(tmp_path, name):
    config = replace(TINY, tied=False)
    path = gguf_llama(tmp_path / "a.gguf", config, None, GGMLQuantizationType[name])
    tensors = open_gguf(path).tensors
    report = import_model(path, tmp_path / "a.pxi", bits="auto")
    assert {t.dtype for t in report.tensors} == {"I4"}
    assert max(t.error for t in report.tensors) < 0.01
    image = open_image(tmp_path / "a.pxi")
    f = Fields(image)
    d = f.descriptor("embedding")
    theirs, steps, _ = tensors["token_embd.weight"].groups(slice(0, d.rows))
    falls = np.repeat(steps < 0, 32, axis=1)
    codes, _, _ = decode_groups(tensor_words(image, d, 0, d.rows), d.cols)
    assert np.array_equal(codes, np.where(falls, 15 - theirs, theirs))
    for tensor in report.tensors:
        assert tensor.bytes == tensor.rows * 4 * (row_words(DType.I4, tensor.cols) + 1)
    again = {n: np.asarray(t, np.float64) for n, t in tensors.items()}
    ours = llama_weights(config)
    real = {n: again[theirs_of(n)] for n in ours}
    assert relative(last_logits(tmp_path / "a.pxi", TEXT), llama_logits(config, real, TEXT)) < 0.02


def theirs_of(name: str) -> str:
    """What GGUF calls one of the builder's weights."""
    return names(GGUF_LLAMA, "blk.{}.", {name: None})[name]


def test_auto_takes_four_bits_only_where_they_lose_no_more(tmp_path):
    path = gguf_llama(tmp_path / "a.gguf")
    matrices = {n for n, w in llama_weights(TINY).items() if w.ndim == 2}
    for bits, dtype in (("auto", DType.I8), ("int8", DType.I8), ("int4", DType.I4)):
        report = import_model(path, tmp_path / f"{bits}.pxi", bits=bits)
        found = types(tmp_path / f"{bits}.pxi")
        kinds = {found[t.name] for t in report.tensors}
        assert kinds == {dtype} and len(report.tensors) == len(matrices)
    sizes = [(tmp_path / f"{bits}.pxi").stat().st_size for bits in ("int4", "int8")]
    assert sizes[0] < sizes[1]
    path = gguf_llama(tmp_path / "b.gguf", TINY, None, GGMLQuantizationType.Q4_1)
    import_model(path, tmp_path / "b.pxi", bits="int8")
    assert DType.I4 not in types(tmp_path / "b.pxi").values()


def test_eight_bits_lose_more_than_the_rounding_of_scales(tmp_path):
    weight = stored(tmp_path / "w", "Q4_1", 16, 256)
    real = np.asarray(weight, np.float64)
    words, scale = four.FourBits(weight).packed("w", slice(0, 16))
    made = decode(words, DType.I4, 256) * scale_value(scale)[:, None]
    q, scale = quantise_weight("w", real, least_squares)
    assert ((made - real) ** 2).sum() < 0.5 * ((q * scale_value(scale)[:, None] - real) ** 2).sum()
