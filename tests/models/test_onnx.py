"""ONNX graphs as programs, beside ONNX Runtime; what is outside the op set is named at once."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from pxvm.core.container import open_image
from pxvm.core.errors import FormatError, PxvmError
from pxvm.core.verifier import verify
from pxvm.models.graph import floats
from pxvm.models.importing.onnx_graph import read_graph
from pxvm.models.importing.onnx_import import import_onnx
from pxvm.models.importing.onnx_ops import OPS
from tests.models.onnx_models import answers, node, runtime, write

RNG = np.random.default_rng(8)


def compare(path, inputs, limit):
    """The program's outputs, float64's and ONNX Runtime's."""
    found, report = answers(path, inputs)
    wanted = runtime(path, inputs)
    graph, shapes = read_graph(path)
    exact = floats.outputs(graph, {n: _as_rows(graph, n, inputs[n]) for n in shapes})
    for name, values in wanted.items():
        scale = float(np.abs(values).max())
        flat = values.reshape(-1)
        assert exact[name].reshape(-1) == pytest.approx(flat, abs=1e-4 * scale)
        assert np.abs(found[name].reshape(-1) - flat).max() <= limit * scale
        assert report.errors[name] <= limit


def _as_rows(graph, name, values):
    value = next(v for v in graph.values if v.name == name)
    return values.reshape(value.shape)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_a_perceptron(tmp_path):
    """Int8 weights err by 1/127/sqrt(12) of their largest, about 1% of their root mean square;
    two layers in a row by 1.4% of the outputs', of whose largest 2% is a bound."""
    path = write(
        tmp_path / "mlp.onnx",
        [
            node("Gemm", ["x", "w1", "b1"], ["a"], transB=1),
            node("Relu", ["a"], ["b"]),
            node("MatMul", ["b", "w2"], ["c"]),
            node("Add", ["c", "b2"], ["d"]),
            node("Softmax", ["d"], ["probabilities"], axis=-1),
            node("ArgMax", ["d"], ["class"], axis=1, keepdims=1),
            node("Identity", ["d"], ["logits"]),
        ],
        {"x": [4, 20]},
        {"logits": [4, 5], "probabilities": [4, 5]},
        {"w1": normal(16, 20), "b1": normal(16), "w2": normal(16, 5), "b2": normal(5)},
    )
    compare(path, {"x": normal(4, 20)}, 0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolutional_network(tmp_path, channels):
    """Pictures come in and go out channel by channel, and are flattened so."""
    path = write(
        tmp_path / "cnn.onnx",
        [
            node("Conv", ["x", "w1", "b1"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
            node("BatchNormalization", ["a", "s", "o", "m", "v"], ["n"]),
            node("Relu", ["n"], ["b"]),
            node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Mul", ["p", "half"], ["q"]),
            node("Shape", ["q"], ["shape"]),
            node("Gather", ["shape", "zero"], ["n0"]),
            node("Concat", ["n0", "rest"], ["target"], axis=0),
            node("Reshape", ["q", "target"], ["flat"]),
            node("Gemm", ["flat", "w2", "b2"], ["logits"], transB=1),
            node("GlobalAveragePool", ["q"], ["g"]),
            node("Flatten", ["g"], ["mean"]),
            node("AveragePool", ["q"], ["small"], kernel_shape=[3, 3], strides=[1, 1]),
        ],
        {"x": [2, channels, 8, 6]},
        {"logits": [2, 5], "mean": [2, 4], "small": [2, 4, 2, 1]},
        {
            "w1": normal(4, channels, 3, 3), "b1": normal(4), "half": normal(1, 4, 1, 1),
            "s": np.abs(normal(4)) + 0.5, "o": normal(4), "m": normal(4),
            "v": np.abs(normal(4)) + 0.5, "zero": np.array([0]), "rest": np.array([-1]),
            "w2": normal(5, 48), "b2": normal(5),
        },
    )  # fmt: skip
    compare(path, {"x": normal(2, channels, 8, 6)}, 0.03)


def test_an_encoder_of_tokens(tmp_path):
    path = write(
        tmp_path / "encoder.onnx",
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("Squeeze", ["e", "zero"], ["t"]),
            node("LayerNormalization", ["t", "w", "b"], ["n"], axis=-1, epsilon=1e-5),
            node("MatMul", ["n", "wq"], ["q"]),
            node("MatMul", ["n", "wk"], ["k"]),
            node("Transpose", ["k"], ["kt"], perm=[1, 0]),
            node("MatMul", ["q", "kt"], ["scores"]),
            node("Div", ["scores", "four"], ["scaled"]),
            node("Softmax", ["scaled"], ["p"], axis=-1),
            node("MatMul", ["p", "n"], ["mixed"]),
            node("Sub", ["mixed", "n"], ["d"]),
            node("Tanh", ["d"], ["h"]),
            node("Concat", ["h", "n"], ["y"], axis=-1),
            node("ReduceMean", ["y", "last"], ["z"], keepdims=0),
        ],
        {"ids": (TensorProto.INT64, [1, 6])},
        {"y": [6, 32], "z": [6]},
        {
            "table": normal(10, 16), "zero": np.array([0]), "w": normal(16), "b": normal(16),
            "wq": normal(16, 16) / 4, "wk": normal(16, 16) / 4, "four": np.array(4.0),
            "last": np.array([-1]),
        },
    )  # fmt: skip
    compare(path, {"ids": RNG.integers(0, 10, (1, 6))}, 0.03)


def test_pictures_by_channel(tmp_path):
    """What is computed of the picture itself scales its channels."""
    path = write(
        tmp_path / "squeeze.onnx",
        [
            node("GlobalAveragePool", ["x"], ["m"]),
            node("Sigmoid", ["m"], ["s"]),
            node("Mul", ["s", "x"], ["y"]),
            node("Concat", ["x", "y"], ["z"], axis=1),
            node("Transpose", ["z"], ["t"], perm=[0, 2, 3, 1]),
        ],
        {"x": [2, 3, 4, 5]},
        {"y": [2, 3, 4, 5], "z": [2, 6, 4, 5], "t": [2, 4, 5, 6]},
    )
    compare(path, {"x": normal(2, 3, 4, 5)}, 1e-3)


def test_every_unsupported_operation_is_named_at_once(tmp_path):
    path = write(
        tmp_path / "odd.onnx",
        [
            node("Sin", ["x"], ["a"]),
            node("Relu", ["a"], ["b"]),
            node("Erf", ["b"], ["c"]),
            node("Add", ["x", "x"], ["d"]),
            node("Softmax", ["d"], ["e"], axis=0),
            node("Add", ["c", "e"], ["y"]),
        ],
        {"x": [4, 6]},
        {"y": [4, 6]},
    )
    with pytest.raises(PxvmError, match=r"found Sin at 'a'; Erf at 'c'$"):
        read_graph(path)


def test_every_operation_stands_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "IMPORT.md").read_text()
    assert set(OPS) <= set(re.findall(r"\b[A-Z]\w+", page))


def test_open_extents(tmp_path):
    nodes, constants = [node("MatMul", ["x", "w"], ["y"])], {"w": normal(6, 3)}
    path = write(tmp_path / "a.onnx", nodes, {"x": ["n", 6]}, {"y": ["n", 3]}, constants)
    assert read_graph(path, batch=7)[1] == {"x": (7, 6)}
    path = write(tmp_path / "b.onnx", nodes, {"x": [2, "k"]}, {"y": [2, 3]}, constants)
    with pytest.raises(FormatError, match="input 'x': expected whole extents after the first"):
        read_graph(path)


ONE = {
    "Sigmoid": {}, "Tanh": {}, "Relu": {}, "Neg": {}, "Identity": {}, "Gelu": {},
    "Flatten": {"axis": 2}, "ReduceMax": {"keepdims": 0}, "ReduceSum": {},
    "Unsqueeze": {"axes": [0]}, "Squeeze": {"axes": [0]}, "Transpose": {"perm": [0, 2, 1]},
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_single_operations(tmp_path, name):
    attributes, inputs, constants = dict(ONE[name]), ["x"], {}
    if name.startswith("Reduce") or name.endswith("queeze"):
        inputs, constants = ["x", "axes"], {"axes": np.array(attributes.pop("axes", [-1]))}
    opset = 20 if name == "Gelu" else 18
    if name == "Sigmoid":
        assert set(ONE) <= set(OPS)
    shape = [1, 5, 12]
    rank = {"Flatten": 2, "ReduceMax": 2, "Squeeze": 2, "Unsqueeze": 4}.get(name, 3)
    path = write(
        tmp_path / "one.onnx", [node(name, inputs, ["y"], **attributes)], {"x": shape},
        {"y": [f"n{i}" for i in range(rank)]}, constants, opset,
    )  # fmt: skip
    compare(path, {"x": normal(*shape)}, 1e-3)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = write(
        tmp_path_factory.mktemp("fuzz") / "a.onnx",
        [
            node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[2, 2], pads=[1] * 4),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[1, 1]),
            node("Shape", ["p"], ["s"], start=0, end=1),
            node("Concat", ["s", "rest"], ["t"], axis=0),
            node("Reshape", ["p", "t"], ["f"]),
            node("Gemm", ["f", "v"], ["g"], transB=1, alpha=0.5),
            node("LayerNormalization", ["g", "n"], ["l"], axis=-1),
            node("Transpose", ["l"], ["u"], perm=[1, 0]),
            node("ReduceMax", ["u", "rest"], ["y"], keepdims=1),
        ],
        {"x": [2, 2, 3, 3]},
        {"y": [4, 1]},
        {
            "w": normal(2, 2, 2, 2), "b": normal(2), "rest": np.array([-1]), "v": normal(4, 18),
            "n": normal(4),
        },
    )  # fmt: skip
    import_onnx(path, path.with_suffix(".pxi"))
    return path.read_bytes()


@settings(max_examples=300, deadline=5000)
@given(data=st.data())
def test_mutations_are_imported_or_refused(sample, tmp_path_factory, data):
    raw = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    (folder / "mutated.onnx").write_bytes(raw)
    try:
        import_onnx(folder / "mutated.onnx", folder / "mutated.pxi")
    except PxvmError as error:
        assert "\n" not in str(error)
    else:
        verify(open_image(folder / "mutated.pxi"))
