"""ONNX and calibration files from strangers: checked first, refused in one line that names them."""

import io
import itertools
import os
import tracemalloc
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pxvm.core.errors import FormatError, LimitError, PxvmError
from pxvm.models.importing.onnx_graph import read, read_graph, short_names
from pxvm.models.importing.onnx_import import import_onnx
from tests.models.onnx_models import answers, node, write

RELU = [node("Relu", ["x"], ["y"])]
SQUARE = {"x": [1, 4]}, {"y": [1, 4]}
W = np.arange(16, dtype=np.float32).reshape(4, 4)


def test_an_output_without_a_shape(tmp_path):
    path = write(tmp_path / "a.onnx", RELU, {"x": [1, 4]}, {"y": None}, check=False)
    assert answers(path, {"x": W[:1]})[0]["y"].shape == (1, 4)


def refusal(path, kind=PxvmError, **options):
    """What an import says, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            import_onnx(path, path.with_suffix(".pxi"), **options)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert text.isprintable() and str(path.parent) in text
    assert not path.with_suffix(".pxi").exists()
    return text


def external(path, location, dims=(4, 4), **named):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location} | named).items():
        tensor.external_data.add(key=key, value=str(value))
    write(path, [node("MatMul", ["x", "w"], ["y"])], *SQUARE, check=False)
    model = onnx.load(path)
    model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path):
    """A model's folder, with its data and ways out of it."""
    found = tmp_path / "model"
    (found / "part").mkdir(parents=True)
    for place in (found / "w.bin", found / "part" / "w.bin", tmp_path / "secret.bin"):
        place.write_bytes(W.tobytes())
    (found / "link.bin").symlink_to(tmp_path / "secret.bin")
    (found / "out").symlink_to(tmp_path)
    (found / "zero.bin").symlink_to("/dev/zero")
    return found


@pytest.mark.parametrize("location", ["w.bin", "part/w.bin"])
def test_honest_external_data_from_any_working_directory(folder, monkeypatch, location):
    path = external(folder / "m.onnx", location, offset=0, length=64)
    x = np.array([[1, 2, 3, 4]], np.float32)
    for place in (folder, folder.parent, "/"):
        monkeypatch.chdir(place)
        found, _ = answers(path, {"x": x})
        assert found["y"] == pytest.approx(x @ W, rel=0.01)


OUTSIDE = {
    "up": ({"location": "../secret.bin"}, "expected a file beside the model"),
    "absolute": ({"location": "/etc/passwd"}, "expected a file beside the model"),
    "link": ({"location": "link.bin"}, "expected a file beside the model"),
    "linked folder": ({"location": "out/secret.bin"}, "expected a file beside the model"),
    "device": ({"location": "zero.bin"}, "expected a file beside the model"),
    "folder": ({"location": "part"}, "expected a regular file; 'part' is none"),
    "none": ({"location": "w.bim"}, "expected the file 'w.bim'; there is none"),
    "empty": ({"location": ""}, "expected the name of a file"),
    "nul": ({"location": "w.bin\0x"}, "expected the name of a file"),
    "far": ({"location": "w.bin", "offset": 10**12}, "from 1000000000000 on in the 64"),
    "before": ({"location": "w.bin", "offset": -8}, "from -8 on"),
    "word": ({"location": "w.bin", "offset": "x"}, "a number as its offset"),
    "length": ({"location": "w.bin", "length": 10**12}, "expected 64 bytes"),
    "huge": (
        {"location": "w.bin", "dims": (1 << 40, 1 << 40)},
        "expected 4835703278458516698824704",
    ),
    "negative": ({"location": "w.bin", "dims": (-4, -4)}, "expected 64 bytes"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_external_data_stays_in_the_folder_and_in_its_file(folder, name):
    named, message = OUTSIDE[name]
    assert message in refusal(external(folder / "m.onnx", **named), FormatError)


def test_external_bytes_are_taken_once(folder):
    path = external(folder / "m.onnx", "w.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    model.graph.initializer[1].name = "v"
    path.write_bytes(model.SerializeToString())
    assert "to be used twice" in refusal(path, LimitError)


def doubled(count):
    names = ["a", *(f"c{i}" for i in range(count))]
    return [node("Concat", [n, n], [m], axis=0) for n, m in itertools.pairwise(names)]


GROWING = {
    "zeros": [node("ConstantOfShape", ["huge"], ["y"])],
    "products": [node("Mul", ["row", "column"], ["y"])],
    "doubling": [*doubled(40), node("Identity", ["c39"], ["y"])],
    "look-ups": [node("Gather", ["row", "many"], ["b"]), node("Gather", ["b", "many"], ["y"])],
}


@pytest.mark.parametrize("name", GROWING)
def test_constants_do_not_grow_without_bound(tmp_path, name):
    constants = {
        "huge": np.array([1 << 40]), "row": np.ones((1, 9000)), "column": np.ones((9000, 1)),
        "a": np.ones((1, 4)), "many": np.zeros(9000, np.int64),
    }  # fmt: skip
    path = write(tmp_path / "bomb.onnx", GROWING[name], {"x": [1]}, {"y": [1]}, constants)
    assert "of constants with" in refusal(path)


def window(**named):
    return [node("Conv", ["x", "w"], ["y"], **named)]


WINDOWS = {
    "pads": (window(pads=[60000] * 4), "Conv expected padding of less than the window's 1"),
    "negative pads": (window(pads=[-5] * 4), "Conv expected padding"),
    "no stride": (window(strides=[0, 0]), "a stride of 1 to 255; found 1 and 0"),
    "kernel": (window(kernel_shape=[3, 3]), "or another kernel"),
    "pool": ([node("MaxPool", ["x"], ["y"], kernel_shape=[60000] * 2)], "found 60000 and 1"),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_checked_before_anything_is_allocated(tmp_path, name):
    nodes, message = WINDOWS[name]
    shapes = {"x": [1, 1, 64, 64]}, {"y": [1, 1, 64, 64]}
    path = write(tmp_path / "w.onnx", nodes, *shapes, {"w": np.ones((1, 1, 1, 1))})
    assert message in refusal(path)


DAMAGED = {
    "empty": (b"", "expected one of ONNX's operator sets"),
    "cut": (b"\x08\x07\x12\xff\xff\xff\xff\x0fnothing", "expected an ONNX model"),
    "deep": (b"\x3a\xff\xff\xff\xff\x0f", "expected an ONNX model"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(tmp_path, name):
    raw, message = DAMAGED[name]
    (tmp_path / "a.onnx").write_bytes(raw)
    assert message in refusal(tmp_path / "a.onnx", FormatError)


def test_a_sparse_constant_and_an_output_named_twice_are_refused_by_name(tmp_path):
    path = write(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    model = onnx.load(path)
    model.graph.output.append(model.graph.output[0])
    path.write_bytes(model.SerializeToString())
    assert "a.onnx: expected one output called 'y'; found two" in refusal(path)
    values = numpy_helper.from_array(np.float32([1, 2]), "w")
    places = numpy_helper.from_array(np.array([0, 3]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    path.write_bytes(model.SerializeToString())
    assert "a.onnx: constant 'w': expected all of its numbers" in refusal(path, FormatError)


def test_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(FormatError, match="expected a regular file"):
        read_graph(tmp_path / "pipe.onnx")
    with pytest.raises(FileNotFoundError):
        read_graph(tmp_path / "none.onnx")


def deep(count):
    """If in If in If."""
    inner = helper.make_graph([node("Identity", ["x"], ["y"])], "g", [], [])
    for _ in range(count):
        nodes = [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
        inner = helper.make_graph(nodes, "g", [], [helper.make_empty_tensor_value_info("y")])
    return list(inner.node)


WRONG = {
    "cycle": ([node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]), *RELU], "topologically"),
    "twice": ([*RELU, node("Neg", ["x"], ["y"])], "single static assignment"),
    "missing": ([node("Add", ["x"], ["y"])], "expected an ONNX model"),
    "no such input": ([node("Relu", ["z"], ["y"])], "topologically"),
    "no such attribute": ([node("Relu", ["x"], ["y"], beta=3)], "attribute"),
    "attribute of a wrong type": ([node("Softmax", ["x"], ["y"], axis=1.5)], "attribute"),
    "graphs": (deep(8), "If at 'y'"),
    "unknown, and nothing comes out": ([node("Foo", ["x"], ["y"]), node("Relu", ["x"], [])], "Foo"),
    "escape": ([node("\x1b[31mRed", ["x"], ["y"])], "found [31mRed at 'y'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_graphs_that_contradict_themselves(tmp_path, name):
    nodes, message = WRONG[name]
    path = write(tmp_path / "a.onnx", nodes, *SQUARE, {"c": np.array(True)}, check=False)
    assert message in refusal(path)


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_operator_sets_that_are_not_known(tmp_path, opset):
    path = write(tmp_path / "a.onnx", RELU, *SQUARE, opset=opset, check=False)
    assert f"operator sets 7 to 28; found [{opset}]" in refusal(path, FormatError)


STRANGE = {
    "open": ((TensorProto.FLOAT, [1, "k"]), "expected whole extents after the first; found 'k'"),
    "rank 5": ((TensorProto.FLOAT, [1] * 5), "expected at most 4 extents"),
    "nothing": ((TensorProto.FLOAT, [0, 4]), "extents of at least 1"),
    "huge": ((TensorProto.FLOAT, [1 << 40] * 4), "elements at most"),
    "shapeless": ((TensorProto.FLOAT, None), "after the first; found 'no shape'"),
    "text": ((TensorProto.STRING, [1]), "expected numbers or truth values; found object"),
    "complex": ((TensorProto.COMPLEX64, [1]), "found complex64"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_inputs_do_not_hide_what_else_is_unsupported(tmp_path, name):
    given, message = STRANGE[name]
    nodes = [node("Sin", ["z"], ["a"]), node("Erf", ["x"], ["b"]), node("Relu", ["b"], ["y"])]
    path = write(tmp_path / "a.onnx", nodes, SQUARE[0] | {"z": given}, SQUARE[1], check=False)
    text = refusal(path, FormatError)
    assert message in text and text.endswith("found Sin at 'a'; Erf at 'b'")


def test_a_scalar_input(tmp_path):
    nodes = [node("Sin", ["x"], ["y"])]
    path = write(tmp_path / "a.onnx", nodes, {"x": []}, {"y": []})
    assert refusal(path).endswith("found Sin at 'y'")
    found, _ = answers(write(path, RELU, {"x": []}, {"y": []}), {"x": np.float32(2.5)})
    assert found["y"] == 2.5


def test_reasons_are_counted(tmp_path):
    names = ["x", *(f"a{i}" for i in range(40)), "y"]
    nodes = [node("Sin", [a], [b]) for a, b in itertools.pairwise(names)]
    text = refusal(write(tmp_path / "a.onnx", nodes, *SQUARE))
    assert text.endswith("found Sin at 'a0' and 40 more")


def test_only_what_fits_in_a_descriptor_is_kept_of_a_name():
    first, second = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
    found = short_names(["x", first, second, "a" * 40, "é" * 20, "b" * 24])
    assert found[first] == "StatefulPar~tionedCall:0"
    assert all(len(short.encode()) <= 24 for short in found.values())
    assert len(set(found.values())) == len(found)
    assert found["a" * 40] == "a" * 24 and found["é" * 20] == "é" * 12


def test_names_that_begin_alike(tmp_path):
    first, second = "StatefulPartitionedCall:0", "StatefulPartitionedCall:1"
    path = write(
        tmp_path / "a.onnx", [node("Relu", ["x"], [first]), node("Neg", ["x"], [second])],
        {"x": [1, 4]}, {first: [1, 4], second: [1, 4]},
    )  # fmt: skip
    x = np.array([[1.5, -1.5, 0.25, 2.5]], np.float32)
    found, report = answers(path, {"x": x})
    assert np.array_equal(found[first], np.maximum(x, 0)) and np.array_equal(found[second], -x)
    names = read(path, 1).names
    assert [f"{n!r} is called {names[n]!r}" in " ".join(report.notes) for n in names] == [
        False, True, True,
    ]  # fmt: skip


def npz(path, name, raw):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.npy", raw)


def header(shape, descr="<f8"):
    stream = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


CALIBRATIONS = {
    "missing": ("z", header((1, 4)) + bytes(32), "found none"),
    "shape": ("x", header((1, 5)) + bytes(40), "found (1, 5) of float64"),
    "bomb": ("x", header((1 << 14, 1 << 14)), "found (16384, 16384)"),
    "cut": ("x", header((1, 4)) + bytes(8), "expected an array x"),
    "objects": ("x", header((1, 4), "|O") + bytes(32), "of object"),
    "infinite": ("x", header((1, 4)) + np.full(4, np.inf).tobytes(), "of finite numbers"),
    "garbage": ("x", b"nothing", "expected an array x"),
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations_are_checked_before_they_are_read(tmp_path, name):
    member, raw, message = CALIBRATIONS[name]
    path = write(tmp_path / "a.onnx", RELU, *SQUARE)
    npz(tmp_path / "c.npz", member, raw)
    assert message in refusal(path, FormatError, calibration=tmp_path / "c.npz")
    (tmp_path / "c.npz").write_bytes(b"PK nothing")
    assert "expected arrays in a .npz" in refusal(path, calibration=tmp_path / "c.npz")


def test_constants_of_other_types(tmp_path):
    for values in (np.array(["a", "b"], object), np.array([1 + 2j], np.complex64)):
        path = write(tmp_path / "a.onnx", [node("Add", ["x", "c"], ["y"])], *SQUARE, check=False)
        model = onnx.load(path)
        model.graph.initializer.append(numpy_helper.from_array(values, "c"))
        path.write_bytes(model.SerializeToString())
        assert f"Add of float32 and {values.dtype} at 'y'" in refusal(path)
