"""Small ONNX models for tests, and what their pictures answer."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pxvm import run_program
from pxvm.core.container import open_image
from pxvm.models.graph.fields import Fields
from pxvm.models.importing.onnx_graph import read
from pxvm.models.importing.onnx_import import import_onnx

node = helper.make_node


def write(path, nodes, inputs, outputs, constants=None, opset=18, check=True):
    """An ONNX file; inputs and outputs are name -> shape or (ONNX's element type, shape)."""

    def entries(shapes):
        return [
            helper.make_tensor_value_info(
                name, *(s if isinstance(s, tuple) else (TensorProto.FLOAT, s))
            )
            for name, s in shapes.items()
        ]

    def array(values):
        given = np.asarray(values)
        return given.astype(np.float32) if given.dtype == np.float64 else given

    initializers = [numpy_helper.from_array(array(a), n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", entries(inputs), entries(outputs), initializers)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if check:
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def answers(path, inputs):
    """Outputs of the picture made with these inputs as its calibration, by ONNX's names."""
    folder = path.parent
    np.savez(folder / "typical.npz", **inputs)
    report = import_onnx(path, folder / "model.pxi", calibration=folder / "typical.npz")
    assert report.bytes == (folder / "model.pxi").stat().st_size
    f, names = Fields(open_image(folder / "model.pxi")), read(path, 1).names
    for name, values in inputs.items():
        f.set_real(names[name], np.asarray(values, np.float64))
    run_program(f.image, device="reference")
    outputs = [o.name for o in onnx.load(path, load_external_data=False).graph.output]
    return {name: f.real(names[name]) for name in outputs}, report


def runtime(path, inputs):
    """ONNX Runtime's outputs by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))
