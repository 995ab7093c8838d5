"""ONNX's own tests of the operations that are built: each is right, or refused by name.

A case gives all its inputs when the model runs; here it is also tried with each of them alone, the
others being constants of the file. Of several outputs the first is asked for. AveragePool's cases
take seconds to make and are left to ``test_onnx_random``.
"""

import importlib
import warnings

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case import node

from pxvm.core.errors import FormatError
from pxvm.models.importing.onnx_graph import read
from pxvm.models.importing.onnx_ops import OPS
from pxvm.models.importing.onnx_tensor import UnsupportedError
from tests.models.onnx_models import answers

MODULES = {"BatchNormalization": "batch_normalization"}
INT8 = {"Gemm", "MatMul", "Conv", "Gather"}
NONE_RIGHT = {"Cast", "Gather"}  # not finite; no axis of 0


def cases(op):
    """The cases of ONNX's suite for an operation."""
    before = len(node._NodeTestCases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{node.__name__}.{MODULES.get(op, op.lower())}")
    found, node._NodeTestCases[before:] = node._NodeTestCases[before:], []
    return found


def array(value):
    """A case's value as an array; a list of tensors, or nothing, is none."""
    if value is None or isinstance(value, (list, dict)):
        return value
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def variants(model):
    """Names of the inputs that are given at run time; what is no tensor cannot stand in a file."""
    names = [entry.name for entry in model.graph.input]
    tensors = all(entry.type.HasField("tensor_type") for entry in model.graph.input)
    return [set(names), *({name} for name in names if len(names) > 1 and tensors)]


def tried(case, given, folder):
    """Is the picture right (True) or refused (False)?"""
    inputs, outputs = ([array(a) for a in part] for part in case.data_sets[0])
    values = dict(zip((entry.name for entry in case.model.graph.input), inputs, strict=True))
    model = ModelProto()
    model.CopyFrom(case.model)
    del model.graph.output[1:]
    constants = [numpy_helper.from_array(a, n) for n, a in values.items() if n not in given]
    model.graph.initializer.extend(constants)
    path = folder / "case.onnx"
    path.write_bytes(model.SerializeToString())
    try:
        read(path, 1)
    except (FormatError, UnsupportedError) as error:
        assert "\n" not in str(error) and "contradict" not in str(error)
        return False
    data = {name: a for name, a in values.items() if name in given}
    if not all(np.isfinite(a.astype(np.float64)).all() for a in data.values()):
        return False  # no calibration has such numbers
    found, report = answers(path, data)
    assert not report.notes
    ops = {n.op_type for n in model.graph.node}
    (given,), wanted = found.values(), outputs[0].astype(np.float64)
    limit = 0.02 if ops & INT8 else 0.005 if ops & {"LayerNormalization"} else 1e-4
    limit = 0 if outputs[0].dtype.kind in "iu" else limit * np.abs(wanted).max()
    assert given.shape == (1,) * (2 - wanted.ndim) + wanted.shape
    assert np.abs(given.reshape(wanted.shape) - wanted).max() <= limit, case.name
    return True


@pytest.mark.parametrize("op", sorted(set(OPS) - {"AveragePool"}))
def test_cases_are_right_or_refused(tmp_path, op):
    right = 0
    for case in cases(op):
        if not case.name.endswith("_expanded"):
            for given in variants(case.model):
                right += tried(case, given, tmp_path)
    assert right or op in NONE_RIGHT
