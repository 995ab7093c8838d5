"""ONNX graphs by kind: numbers of each type and operator set are right, or refused by name."""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto

from pxvm.cli import cli
from pxvm.core.container import open_image, read_image, save_image
from pxvm.core.errors import ProgramError
from pxvm.models.graph.fields import Fields
from pxvm.models.importing.onnx_import import import_onnx
from pxvm.models.importing.onnx_tensor import UnsupportedError
from tests.models.onnx_models import answers, node, runtime, write

RNG = np.random.default_rng(8)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


I32, I64, F, D, B = (
    TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BOOL,
)  # fmt: skip
COUNTS = {"x": np.array([[1, 2, 3, 4]], np.int64)}
REALS = {"x": np.array([[1.7, -1.7, 0.3, 2.6]], np.float32)}
PLACES = {"x": np.array([-1, 1, -3, 5], np.int64)}
ONES, SEVEN = {"x": np.ones((3, 4), np.float32)}, {"x": np.eye(5, 7, dtype=np.float32)}
THREE = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


def cast(source, target, kind):
    return node("Cast", [source], [target], to=kind)


RIGHT = {  # nodes, input, its type, constants, operator set
    "whole, softmax": ([cast("x", "f", F), node("Softmax", ["f"], ["y"])], COUNTS, I64),
    "whole, sum": ([cast("x", "f", F), node("ReduceSum", ["f", "one"], ["y"])], COUNTS, I64),
    "whole, argmax": ([node("ArgMax", ["x"], ["y"], axis=1)], COUNTS, I64),
    "whole, transpose": ([node("Transpose", ["x"], ["y"])], COUNTS, I64),
    "whole, scaled": ([cast("x", "f", F), node("Mul", ["f", "row"], ["y"])], COUNTS, I64),
    "whole, shifted": ([cast("x", "f", F), node("Add", ["f", "row"], ["y"])], COUNTS, I64),
    "whole, product": ([cast("x", "f", F), node("Gemm", ["f", "w"], ["y"])], COUNTS, I64),
    "floor": ([cast("x", "i", I64), cast("i", "y", F)], REALS, F),
    "double": ([cast("x", "i", D), node("Neg", ["i"], ["j"]), cast("j", "y", F)], REALS, F),
    "whole sums": ([node("Add", ["x", "x"], ["a"]), node("Mul", ["a", "x"], ["y"])], COUNTS, I64),
    "flat softmax": ([node("Softmax", ["x"], ["y"])], {"x": THREE}, F, 11),
    "flat softmax from 0": ([node("Softmax", ["x"], ["y"], axis=0)], {"x": THREE}, F, 12),
    "softmax": ([node("Softmax", ["x"], ["y"], axis=1)], {"x": THREE}, F, 13),
    "ids from the end": ([node("Gather", ["six", "x"], ["y"])], PLACES, I64),
    "scalar bias": ([node("Gemm", ["x", "w", "number"], ["y"])], REALS, F),
    "bias of a column": ([node("Gemm", ["x", "w", "column"], ["y"])], ONES, F),
    "no dropout": ([node("Dropout", ["x", "half", "no"], ["y"])], REALS, F),
    "dropout of nothing": ([node("Dropout", ["x", "zero", "yes"], ["y"])], REALS, F),
    "rows of 7": ([node("LayerNormalization", ["x", "seven"], ["y"])], SEVEN, F),
    "sums along others": ([node("ReduceSum", ["x", "ends"], ["y"], keepdims=0)], {"x": THREE}, F),
    "all of it": ([node("ReduceMax", ["x"], ["y"], keepdims=0)], {"x": THREE}, F),
    "tiny": ([node("Mul", ["x", "tiny"], ["a"]), node("Div", ["a", "tiny"], ["y"])], REALS, F),
    "view": (
        [node("Shape", ["x"], ["s"]), node("Gather", ["s", "first"], ["g"]),
         node("Unsqueeze", ["g"], ["u"], axes=[0]), node("Concat", ["u", "rest"], ["k"], axis=0),
         node("Reshape", ["x", "k"], ["y"])], {"x": THREE}, F, 11,
    ),
}  # fmt: skip
CONSTANTS = {
    "one": np.array([1]), "row": np.array([0.1, 0.2, 0.3, 0.4]),
    "w": np.arange(8.0).reshape(4, 2) / 4, "half": np.array(0.5),
    "six": np.arange(36.0).reshape(6, 6), "number": np.array(1.5), "zero": np.array(0.0),
    "column": np.array([[1.0], [2.0], [3.0]]), "no": np.array(False), "yes": np.array(True),
    "seven": np.arange(1.0, 8), "ends": np.array([0, -1]), "tiny": np.array(1e-8),
    "first": np.array(0), "rest": np.array([-1]),
}  # fmt: skip


def of_one(tmp_path, nodes, given, kind, opset=17):
    """A file of one input x and one output y, as ONNX Runtime types it."""
    used = {name for n in nodes for name in n.input}
    constants = {name: a for name, a in CONSTANTS.items() if name in used}
    (x,) = given.values()
    shapes = {"x": (kind, list(x.shape))}
    path = write(tmp_path / "one.onnx", nodes, shapes, {}, constants, opset, check=False)
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    model.graph.output.extend(v for v in model.graph.value_info if v.name == "y")
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", RIGHT)
def test_kinds_that_are_right(tmp_path, name):
    nodes, given, *rest = RIGHT[name]
    path = of_one(tmp_path, nodes, given, *rest)
    wanted = runtime(path, given)["y"]
    found, report = answers(path, given)
    limit = 0.02 if {n.op_type for n in nodes} & {"Gemm", "Gather"} else 1e-4
    assert found["y"].shape == (1,) * (2 - wanted.ndim) + wanted.shape
    error = np.abs(found["y"].reshape(wanted.shape) - wanted).max()
    assert error <= limit * np.abs(wanted).max() and not report.notes


REFUSED = {
    "truth of reals": ([cast("x", "y", B)], REALS, F, "Cast of float32 to bool"),
    "bytes of reals": ([cast("x", "y", TensorProto.UINT8)], REALS, F, "Cast of float32 to uint8"),
    "half": ([cast("x", "y", TensorProto.BFLOAT16)], REALS, F, "Cast of float32 to bfloat16"),
    "whole division": ([node("Div", ["x", "x"], ["y"])], COUNTS, I64, "Div of int64"),
    "sums of bytes": ([node("Add", ["x", "x"], ["y"])], {"x": np.ones(4, np.uint8)},
                      TensorProto.UINT8, "Add of uint8"),
    "whole mean": ([node("ReduceMean", ["x"], ["y"])], COUNTS, I64, "ReduceMean of int64"),
    "dropout": ([node("Dropout", ["x", "half", "yes"], ["y"])], REALS, F, "in training mode"),
    "remainder": ([node("Mod", ["x", "x"], ["y"])], COUNTS, I64, "found Mod at 'y'"),
    "mask": ([node("Dropout", ["x"], ["z", "y"])], REALS, F, "Dropout with its output 'y' at 'z'"),
    "by zero": ([node("Div", ["x", "zero"], ["y"])], REALS, F, "Div by zero"),
    "flag": ([node("ReduceMax", ["x"], ["y"], keepdims=2)], REALS, F, "with keepdims 2"),
    "axis": ([node("Flatten", ["x"], ["y"], axis=3)], REALS, F, "along axis 3 of 2"),
    "squeezed": ([node("Squeeze", ["x", "one"], ["y"])], REALS, F, "of axes [1] of [1, 4]"),
    "constant": ([node("Shape", ["x"], ["y"])], REALS, F, "'y', which is known without a run"),
    "new": ([node("Gelu", ["x"], ["y"])], REALS, F, "found Gelu at 'y'"),
    "foreign": ([node("Relu", ["x"], ["y"], domain="com.microsoft")], REALS, F,
                "found com.microsoft.Relu at 'y'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_that_are_refused_by_name(tmp_path, name):
    nodes, given, kind, message = REFUSED[name]
    (x,) = given.values()
    used = {n for one in nodes for n in one.input}
    constants = {n: a for n, a in CONSTANTS.items() if n in used}
    shapes = {"x": (kind, list(x.shape))}
    path = write(tmp_path / "a.onnx", nodes, shapes, {"y": [1]}, constants, 17, check=False)
    with pytest.raises(UnsupportedError) as caught:
        import_onnx(path, tmp_path / "a.pxi")
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_function_of_the_file_is_not_ours(tmp_path):
    path = write(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    model = onnx.load(path)
    body, opsets = [node("Neg", ["a"], ["b"])], [onnx.helper.make_opsetid("", 18)]
    model.functions.append(onnx.helper.make_function("", "Relu", ["a"], ["b"], body, opsets))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedError, match="found Relu at 'y'"):
        import_onnx(path, tmp_path / "a.pxi")


@pytest.mark.parametrize(
    "name", ["sigmoid", "scratch.1", "scratch.12", "parameters.2", "runs", "one"]
)
def test_names_of_the_program_itself_make_way(tmp_path, name):
    nodes = [node("Sigmoid", ["x"], [name]), node("Transpose", [name], ["t"]), cast("t", "y", I64)]
    path = write(tmp_path / "a.onnx", nodes, {"x": [2, 3]}, {name: [2, 3], "y": (I64, [3, 2])})
    found, _ = answers(path, {"x": normal(2, 3)})
    assert found[name].shape == (2, 3) and not found["y"].any()


def test_an_import_without_a_calibration_says_so_and_refuses_what_is_far_outside(tmp_path):
    path = write(tmp_path / "a.onnx", [node("Tanh", ["x"], ["y"])], {"x": [4, 6]}, {"y": [4, 6]})
    report = import_onnx(path, tmp_path / "a.pxi")
    assert "no calibration was given" in report.notes[0]
    f = Fields(open_image(tmp_path / "a.pxi"))
    f.set_real("x", normal(4, 6) * 3)
    for far in (255.0, -1e30, np.nan, np.inf):
        with pytest.raises(ProgramError, match="x: expected numbers below 32"):
            f.set_real("x", np.full((4, 6), far))
    result = CliRunner().invoke(cli, ["import", str(path), "-o", str(tmp_path / "b.pxi")])
    assert result.exit_code == 0 and "no calibration was given" in result.stderr


def test_what_does_not_fit_inside_is_counted_and_said(tmp_path):
    nodes = [node("Mul", ["x", "x"], ["a"]), node("Mul", ["a", "a"], ["y"])]
    path = write(tmp_path / "a.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]})
    np.savez(tmp_path / "typical.npz", x=np.ones((1, 4)))
    import_onnx(path, tmp_path / "a.pxi", calibration=tmp_path / "typical.npz")
    f = Fields(open_image(tmp_path / "a.pxi"))
    f.set_real("x", [[1, 2, 3, 4]])
    save_image(f.image, tmp_path / "b.pxi")
    result = CliRunner().invoke(
        cli,
        ["run", str(tmp_path / "b.pxi"), "-o", str(tmp_path / "c.png"), "--device", "reference"],
    )
    assert "numbers did not fit 32 bits" in result.stderr
    assert Fields(read_image(tmp_path / "c.png")).saturated


def test_what_fixed_point_cannot_hold_is_said(tmp_path):
    """A mask of -1e9 leaves nothing of what it is added to."""
    nodes = [node("Add", ["x", "mask"], ["a"]), node("Softmax", ["a"], ["y"])]
    mask = {"mask": np.array([[0, 0, 0, -1e9]])}
    path = write(tmp_path / "a.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, mask)
    _, report = answers(path, {"x": np.array([[0.1, 2.0, 0.3, 1.0]], np.float32)})
    assert any("output 'y' differs from float64" in note for note in report.notes)
