"""Graphs of every operation, lowered and compared with their own float64 values."""

import numpy as np
import pytest

from pxvm import run_program
from pxvm.core.errors import LimitError, ProgramError
from pxvm.models.families.small import Conv, Pool, build_cnn, build_mlp, cnn_graph, mlp_graph
from pxvm.models.graph import floats
from pxvm.models.graph.fields import Fields
from pxvm.models.graph.graph import Graph
from pxvm.models.graph.lowering import lower, measured

RNG = np.random.default_rng(4)


def run(graph, inputs, **options):
    """The outputs of the lowered graph, and those in float64."""
    image = lower(graph, inputs, **options)
    f = Fields(image)
    for name, values in inputs.items():
        f.set_real(name, values)
    run_program(image, device="reference")
    return {name: f.real(name) for name in graph.outputs}, floats.outputs(graph, inputs)


def close(found, wanted, limit):
    assert found.keys() == wanted.keys()
    for name in found:
        error = np.abs(found[name] - wanted[name]).max()
        assert error <= limit * max(np.abs(wanted[name]).max(), 1e-9), name


def one(make, shape=(5, 12), **options):
    graph = Graph()
    x = graph.input("x", shape)
    graph.output("y", make(x))
    return run(graph, {"x": RNG.normal(0, 2, shape)}, **options)


W = RNG.normal(0, 0.3, (7, 12))
EXACT = {  # the argument and the result are rounded once, to 24 bits or so
    "relu": lambda x: x.relu(),
    "add": lambda x: x.add(x.relu()),
    "add row": lambda x: x.add(np.arange(12)),
    "add number": lambda x: x.add(0.25),
    "mul": lambda x: x.mul(x),
    "mul row": lambda x: x.mul(np.linspace(-2, 2, 12)),
    "mean": lambda x: x.mean(),
    "sum": lambda x: x.sum(),
    "max": lambda x: x.max(),
    "argmax": lambda x: x.argmax(),
    "reshape": lambda x: x.reshape(3, 20).relu(),
    "transpose": lambda x: x.transpose(1, 0),
    "slice": lambda x: x.slice(2, 4, 3),
    "concat": lambda x: x.slice(0, 3).concat(x, x.relu()),
    "max pool": lambda x: x.as_picture(2, 3, 2).max_pool(2, 1),
    "avg pool": lambda x: x.as_picture(2, 3, 2).avg_pool(2, 1),
}
CLOSE = {  # tables, 15-bit rows or 14-bit activations; int8 weights where there are any
    "sigmoid": (lambda x: x.sigmoid(), 1e-4),
    "tanh": (lambda x: x.tanh(), 1e-4),
    "silu": (lambda x: x.silu(), 1e-4),
    "gelu": (lambda x: x.gelu(), 1e-4),
    "gelu tanh": (lambda x: x.gelu(tanh=True), 1e-4),
    "softmax": (lambda x: x.softmax(), 1e-4),
    "l2": (lambda x: x.l2_normalise(), 1e-4),
    "rms": (lambda x: x.rms_norm(np.linspace(0.5, 2, 12)), 2e-4),
    "layer": (lambda x: x.layer_norm(np.linspace(0.5, 2, 12), np.arange(12) / 6), 2e-4),
    "linear": (lambda x: x.linear(W, np.arange(7)), 0.01),
    "linear of 7 columns": (lambda x: x.linear(W).relu().linear(W.T), 0.02),
    "matmul": (lambda x: x.matmul(x), 1e-3),
    "conv": (lambda x: x.as_picture(2, 3, 2).conv2d(RNG.normal(size=(3, 2, 2, 2)), pad=1), 0.01),
    "strided": (lambda x: x.as_picture(3, 4, 1).conv2d(np.ones((4, 3, 3, 1)), [1, 2, 3, 4]), 0.01),
    "attention": (lambda x: x.attention(x.slice(4, 4), x.slice(0, 4), 3, 1), 0.03),
    "causal": (lambda x: x.attention(x, x.relu(), 3, causal=True), 0.03),
}


@pytest.mark.parametrize("name", EXACT)
def test_operations_without_quantisation(name):
    close(*one(EXACT[name]), 1e-5)


@pytest.mark.parametrize("name", CLOSE)
def test_operations_with_tables_and_activations(name):
    make, limit = CLOSE[name]
    close(*one(make), limit)


WIDE = RNG.normal(0, 0.3, (6, 7))
ODD = {  # extents that instructions want in whole pixels or pairs
    "embed 6": (lambda x: x.graph.embed(x.argmax(), RNG.normal(size=(12, 6))), 0.01),
    "embed 1": (lambda x: x.graph.embed(x.argmax(), RNG.normal(size=(12, 1))), 0.01),
    "linear 7": (lambda x: x.linear(WIDE), 0.01),
    "matmul 7": (lambda x: x.matmul(x), 1e-3),
    "layer 7": (lambda x: x.layer_norm(np.arange(1, 8), np.arange(7) / 6), 2e-4),
    "layer 1": (lambda x: x.slice(3, 1).layer_norm([2.0], [0.5], 0.1), 2e-4),
    "rms 7": (lambda x: x.rms_norm(np.linspace(0.5, 2, 7)), 2e-4),
    "attention 7": (lambda x: x.attention(x, x.relu(), 1), 0.03),
    "attention 6 in 2": (lambda x: x.slice(0, 6).attention(x.slice(1, 6), x.slice(0, 6), 2), 0.03),
    "pool 7": (lambda x: x.as_picture(7, 1, 1).max_pool(1, 3), 1e-5),
}


@pytest.mark.parametrize("name", ODD)
def test_extents_of_any_number(name):
    make, limit = ODD[name]
    close(*one(make, (5, 7)), limit)


@pytest.mark.parametrize("shape", [(2, 3, 12), (2, 3, 2, 12)])
def test_products_of_higher_rank(shape):
    close(*one(lambda x: x.linear(W, np.arange(7)), shape), 0.01)


@pytest.mark.parametrize("size", [1e-9, 1e-4, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("name", ["relu", "mul row", "mean", "linear", "l2", "sigmoid"])
def test_numbers_of_any_size(name, size):
    """What counts is how large they are beside the largest."""
    makers = EXACT | {n: make for n, (make, _) in CLOSE.items()}
    graph, values = Graph(), RNG.normal(0, size, (5, 12))
    graph.output("y", makers[name](graph.input("x", (5, 12))))
    close(*run(graph, {"x": values}), 0.01)


@pytest.mark.parametrize("size", [1e-5, 1e-3, 1.0, 1e3])
def test_a_norm_of_numbers_as_small_as_its_epsilon(size):
    """Epsilon has 33 bits in the unit of squares: steps are 2^-16 of its root, times sqrt(64)."""
    graph, values = Graph(), RNG.normal(0, size, (4, 64))
    graph.output("y", graph.input("x", (4, 64)).layer_norm(np.ones(64)))
    found, wanted = run(graph, {"x": values})
    assert found["y"] == pytest.approx(wanted["y"], abs=2e-4)


def test_whole_numbers_stay_whole_until_they_meet_real_ones():
    graph = Graph()
    ids = graph.input("ids", (1, 6), frac=0)
    graph.output("sum", ids.add(ids).relu().sum())
    graph.output("less", ids.less(3))
    graph.output("half", ids.add(0.5))
    graph.output("third", ids.real().mul(1 / 3))
    graph.output("mean", ids.mean())
    values = np.array([[1, -2, 3, 400, 5, 6]])
    found, wanted = run(graph, {"ids": values})
    assert {n for n, v in graph.outputs.items() if v.frac == 0} == {"sum", "less"}
    close(found, wanted, 1e-6)


def test_numbers_are_cut_towards_zero():
    graph = Graph()
    graph.output("y", graph.input("x", (1, 8)).trunc())
    values = np.array([[1.7, -1.7, 0.3, -0.3, 2.0, -2.0, 0.999999, -0.999999]])
    found, wanted = run(graph, {"x": values})
    assert np.array_equal(found["y"], wanted["y"])
    with pytest.raises(ProgramError, match="need more than 32 bits"):
        lower(graph, {"x": values * 1e12})


def test_what_is_bounded_keeps_its_range_whatever_was_measured():
    graph = Graph()
    graph.output("y", graph.input("x", (1, 4)).sigmoid())
    image = lower(graph, {"x": np.full((1, 4), -14.0)})
    f = Fields(image)
    f.set_real("x", [[14.0, 0.0, -1.0, 2.0]])
    run_program(image, device="reference")
    assert f.real("y") == pytest.approx(1 / (1 + np.exp(-f.real("x"))), abs=1e-4)
    assert not f.saturated


def test_memory_is_known_before_it_is_taken():
    graph = Graph()
    x = graph.input("x", (1, 1 << 12))
    with pytest.raises(LimitError, match="at most 33554432 elements"):
        x.reshape(1 << 12, 1).matmul(x.reshape(1 << 12, 1)).reshape(1, 1 << 24).concat(
            *[graph.input(f"x{i}", (1, 1 << 24)) for i in range(2)]
        )
    graph = Graph()
    parts = [graph.input(f"x{i}", (1, 1 << 24)) for i in range(5)]
    graph.output("y", parts[0].add(parts[1]).add(parts[2]).add(parts[3]).add(parts[4]))
    with pytest.raises(LimitError, match="at most 67108864 numbers at one time"):
        floats.outputs(graph, {})


def test_embedding_and_mean_pool():
    graph = Graph()
    ids = graph.input("ids", (6, 1), frac=0)
    lengths = graph.input("lengths", (2, 1), frac=0)
    graph.output("y", graph.embed(ids, RNG.normal(size=(10, 8))).mean_pool(3, lengths))
    inputs = {"ids": np.array([[1], [9], [3], [4], [5], [6]]), "lengths": np.array([[2], [3]])}
    close(*run(graph, inputs), 0.01)


def test_scratch_is_used_again_and_can_be_kept():
    def deep(x):
        for _ in range(12):
            x = x.linear(np.eye(12)).relu()
        return x

    graph = Graph()
    x = graph.input("x", (64, 12))
    graph.output("y", deep(x))
    inputs = {"x": RNG.normal(0, 2, (64, 12))}
    lean, kept = lower(graph, inputs), lower(graph, inputs, keep=True)
    assert lean.size < kept.size / 2
    f = Fields(kept)
    f.set_real("x", inputs["x"])
    run_program(kept, device="reference")
    assert f.real("relu.2") == pytest.approx(np.maximum(inputs["x"], 0), abs=0.05)


def test_one_plane_is_taken_where_it_costs_little():
    found, wanted = one(lambda x: x.linear(W), planes=measured(0.02))
    close(found, wanted, 0.03)
    assert measured(0.02)("x", RNG.normal(size=(4, 64))) == 1
    assert measured(0.001)("x", RNG.normal(size=(4, 64))) == 2


def test_a_program_runs_again_with_other_inputs():
    layers = [(W, np.zeros(7)), (RNG.normal(size=(3, 7)), np.ones(3))]
    x = RNG.normal(size=(4, 12))
    image = build_mlp(layers, x)
    f = Fields(image)
    for scale in (1.0, -0.5):
        f.set_real("input", x * scale)
        run_program(image, device="reference")
        wanted = floats.outputs(mlp_graph(layers, 4), {"input": x * scale})
        assert f.real("logits") == pytest.approx(wanted["logits"], abs=0.1)


def test_a_small_cnn():
    body = [Conv(RNG.normal(size=(4, 3, 3, 1)), np.zeros(4), pad=1), Pool(2)]
    layers = [(RNG.normal(size=(5, 36)), np.zeros(5))]
    x = RNG.normal(size=(3, 36))
    image = build_cnn((6, 6, 1), body, layers, x)
    f = Fields(image)
    f.set_real("input", x)
    run_program(image, device="reference")
    wanted = floats.outputs(cnn_graph((6, 6, 1), body, layers, 3), {"input": x})
    close({"logits": f.real("logits")}, {"logits": wanted["logits"]}, 0.02)
    assert np.array_equal(f["class"], wanted["class"])


def test_shapes_that_do_not_fit_are_refused():
    x = Graph().input("x", (2, 8))
    with pytest.raises(ProgramError, match=r"expected a weight \[n, 8\]"):
        x.linear(np.ones((3, 7)))
    with pytest.raises(ProgramError, match="expected a picture"):
        x.max_pool()
    with pytest.raises(ProgramError, match="heads"):
        x.attention(x, x, 3)
    with pytest.raises(ProgramError, match="does not fit"):
        x.as_picture(2, 4, 1).max_pool(3)


REFUSED = {
    "elements of": lambda x: x.reshape(3, 5),
    "each axis": lambda x: x.transpose(0, 0),
    "columns of": lambda x: x.slice(4, 5),
    "rows of": lambda x: x.concat(x.transpose(1, 0)),
    r"\[n, 8\] to multiply": lambda x: x.matmul(x.transpose(1, 0)),
    "a row or a column": lambda x: x.add(np.ones((3, 8))),
    "1 to 4 extents": lambda x: x.reshape(1, 1, 1, 2, 8),
    "whole ids": lambda x: x.graph.embed(x, W),
    "groups of 3": lambda x: x.mean_pool(3, x),
    "an epsilon": lambda x: x.rms_norm(np.ones(8), float("nan")),
    "less than the window": lambda x: x.as_picture(2, 4, 1).conv2d(np.ones((1, 2, 2, 1)), pad=2),
    "a stride of 1": lambda x: x.as_picture(2, 4, 1).max_pool(1, 256),
    "pictures of 9": lambda x: x.as_picture(3, 3, 1),
    "one output called": lambda x: [x.graph.output("y", x) for _ in range(2)],
}


@pytest.mark.parametrize("message", REFUSED)
def test_graphs_are_checked_as_they_are_made(message):
    with pytest.raises(ProgramError, match=message):
        REFUSED[message](Graph().input("x", (2, 8)))


@pytest.mark.parametrize("values", [np.inf, np.nan, 1e30])
def test_what_no_fraction_bits_hold_is_refused(values):
    graph = Graph()
    graph.output("y", graph.input("x", (1, 4)).relu())
    with pytest.raises(ProgramError, match=r"finite numbers|need more than 32 bits"):
        lower(graph, {"x": np.full((1, 4), values)})
