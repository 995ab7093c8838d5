"""Weights, norms, fixed point and tables against real numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxvm.core.errors import ProgramError
from pxvm.core.integer import interpolate, ints
from pxvm.core.layout import NetworkBuilder
from pxvm.core.tensor import DType, encode_scales
from pxvm.models.graph import quantise as q
from pxvm.models.graph.fields import Fields

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("choice", [q.largest, q.least_squares, q.percentile(99)])
def test_rows_come_back_within_half_a_step(choice):
    weight = RNG.normal(size=(9, 300)) * np.logspace(-6, 6, 9)[:, None]
    integers, scale = q.quantise_weight("w", weight, choice)
    step = q.scale_value(scale)[:, None]
    inside = np.abs(weight) <= 127 * step
    error = np.abs(integers * step - weight)
    assert (error <= 0.5001 * step)[inside].all()
    assert inside.mean() > 0.98 and (np.abs(integers) <= 127).all()


def test_least_squares_never_errs_more_than_the_largest():
    weight = RNG.uniform(-0.75, 0.75, size=(3, 100_000))
    weight[:, 0] = 1  # clipping it costs less than finer steps for all others gain

    def error(choice):
        integers, scale = q.quantise_weight("w", weight, choice)
        return ((integers * q.scale_value(scale)[:, None] - weight) ** 2).sum(axis=1)

    assert (error(q.least_squares) <= error(q.largest) * 1.001).all()
    assert error(q.least_squares).sum() < 0.95 * error(q.largest).sum()


def test_a_choice_sees_the_name_and_zero_rows_stay_zero():
    names = []

    def choose(name, weight):
        names.append(name)
        return q.largest(name, weight)

    integers, scale = q.quantise_weight("3.down", np.zeros((2, 8)), choose)
    assert names == ["3.down"] and not integers.any() and not scale[0].any()


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(ProgramError, match="finite"):
        q.quantise_weight("w", np.array([[1.0, np.nan]]))
    for value in (np.nan, np.inf):
        with pytest.raises(ProgramError, match="n: expected finite weights"):
            q.norm_weight("n", [1.0, value])


@given(st.floats(1e-30, 1e30))
def test_scales_hold_sixteen_bits(value):
    mantissa, exponent = q.scale_of(value)
    assert 32768 <= mantissa <= 65535
    assert q.scale_value((mantissa, exponent)) == pytest.approx(value, rel=2**-16)


@given(st.floats(1e-6, 1e8), st.floats(1, 64))
def test_fraction_bits_leave_headroom(magnitude, headroom):
    frac = q.best_frac(magnitude, headroom)
    assert magnitude * headroom * 2.0**frac <= 2**31
    assert frac == 24 or magnitude * headroom * 2.0 ** (frac + 1) > 2**31


def test_fixed_point_without_headroom_is_refused():
    assert q.fixed("x", [1.5, -2], 4).tolist() == [24, -32]
    with pytest.raises(ProgramError, match="x: values up to 30000"):
        q.fixed("x", [30000.0], 16, headroom=8)


def test_norm_weights_use_their_sixteen_bits():
    values, frac = q.norm_weight("n", [0.9, -3.7, 0.0])
    assert np.ldexp(values.astype(float), -frac) == pytest.approx([0.9, -3.7, 0], abs=2**-13)
    assert 16384 <= np.abs(values).max() <= 32767


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ("tanh", math.tanh),
        ("normal", lambda x: 0.5 * math.erfc(-x / math.sqrt(2))),
        (
            "normal_tanh",
            lambda x: 0.5 + 0.5 * math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
        ),
    ],
)
def test_tables_interpolate_to_three_units(name, function):
    x = RNG.uniform(-18, 18, 2000)
    found = interpolate(q.TABLES[name](), ints(np.rint(x * 65536)))
    wanted = np.array([function(v) for v in x]) * 65536
    assert np.abs(found - wanted).max() < 3


def test_rotary_table_and_attention_scale():
    table = q.rope_table(1100, 8, 1e4)
    assert table.shape == (1100, 8) and table[0].tolist() == [16384, 0] * 4
    for row in (1023, 1024, 1099):  # at the edges of a band
        assert table[row, 1] == round(math.sin(row) * 16384)
    assert table[7, 2] == round(math.cos(7 * 0.1) * 16384)
    assert table[7, 5] == round(math.sin(7 * 0.01) * 16384)
    mantissa, exponent = q.attention_scale(1 / 8)
    assert mantissa * 2.0**exponent == pytest.approx(math.log2(math.e) / 8, rel=1e-5)


@pytest.mark.parametrize("cols", [12, 64, 300])  # five rows in an image row, one, two image rows
def test_a_weight_in_bands_is_the_weight_at_once(monkeypatch, cols):
    weight = RNG.normal(size=(37, cols))

    def image(band):
        monkeypatch.setattr(q, "BAND", band)
        b = NetworkBuilder(width=64 if cols == 300 else 16)
        q.add_weight(b, "w", weight)
        return b.build()

    whole = image(1 << 18)
    f = Fields(whole)
    integers, scale = q.quantise_weight("w", weight)
    assert np.array_equal(f["w"], integers)
    assert f["w.scale"].tolist() == ints(encode_scales(*scale).view("<i4")).tolist()
    for rows in (1, 2, 7):
        assert np.array_equal(image(rows * cols), whole)


def test_too_many_or_too_few_rows_are_refused():
    for bands in ([[[1, 2]], [[3, 4]]], [[[1, 2]] * 4], [[[1, 2, 3]]]):
        b = NetworkBuilder()
        b.tensor("x", DType.I32, (3, 2), data=lambda bands=bands: iter(bands))
        with pytest.raises(ProgramError, match="x holds"):
            b.build()
