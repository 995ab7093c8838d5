"""Random small graphs of every operation, operator set, type and axis, beside ONNX Runtime.

Each is right or refused by name; nothing is wrong in silence, and nothing ends in a traceback.
"""

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pxvm.core.errors import PxvmError
from pxvm.models.importing.onnx_ops import OPS
from tests.models.onnx_models import answers

KINDS = [np.float32] * 6 + [np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_]
PRODUCTS = {"Gemm", "MatMul", "Conv", "Gather"}  # of int8 weights
ROUNDED = {
    "AveragePool", "BatchNormalization", "Div", "Gelu", "GlobalAveragePool", "LayerNormalization",
    "RMSNormalization", "ReduceMean", "Sigmoid", "Softmax", "Tanh", *PRODUCTS,
}  # fmt: skip


class Maker:
    """A chain of nodes, each tried in ONNX Runtime as it is added."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice([7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 21, 23]))
        rank = int(self.rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 5]))
        shape = tuple(int(n) for n in self.rng.integers(1, 7, rank))
        kind = np.dtype(KINDS[self.pick(len(KINDS))])
        self.first = self.current = self.numbers(shape, kind)
        self.nodes, self.constants, self.exact, self.largest = [], {}, True, 1.0

    def pick(self, count):
        return int(self.rng.integers(count))

    def numbers(self, shape, kind):
        """Numbers that fixed point holds exactly."""
        if kind.kind == "b":
            return self.rng.integers(0, 2, shape).astype(kind)
        if kind.kind in "iu":
            return self.rng.integers(0 if kind.kind == "u" else -5, 6, shape).astype(kind)
        size = 2.0 ** self.pick(24) / 4096 if self.pick(4) == 0 and kind != np.float16 else 1.0
        return (self.rng.integers(-24, 25, shape) / 8 * size).astype(kind)

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def like(self, shape):
        return self.constant(self.numbers(tuple(shape), self.current.dtype))

    def axis(self):
        rank = self.current.ndim
        return int(self.rng.integers(-rank, rank)) if rank else 0

    def model(self, nodes, first, last=None):
        def entry(title, array, dims):
            return helper.make_tensor_value_info(
                title, helper.np_dtype_to_tensor_dtype(array.dtype), dims
            )

        constants = {n for node in nodes for n in node.input} & set(self.constants)
        result = nodes[-1].output[0]
        graph = helper.make_graph(
            nodes, "g", [entry("x", first, first.shape)],
            [helper.make_empty_tensor_value_info(result) if last is None
             else entry(result, last, last.shape)],
            [numpy_helper.from_array(self.constants[n], n) for n in sorted(constants)],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def add(self):
        """One more node, where ONNX Runtime takes it."""
        op = sorted(OPS)[self.pick(len(OPS))]
        if not self.exact and op in ("ArgMax", "Cast"):
            return
        inputs, attributes = getattr(self, f"_{op}", lambda: ([], {}))()
        source = f"v{len(self.nodes)}" if self.nodes else "x"
        first = [source, *inputs]
        if op in ("Add", "Sub", "Mul", "Div", "Concat") and self.pick(3) == 0:
            first.reverse()
        node = helper.make_node(op, first, [f"v{len(self.nodes) + 1}"], **attributes)
        single = helper.make_node(op, [n if n != source else "x" for n in first], ["y"],
                                  **attributes)  # fmt: skip
        found = self.run(self.model([single], self.current), self.current)
        if found is None or not found.size or not np.isfinite(found).all():
            return
        self.nodes.append(node)
        self.current = found
        self.exact &= op not in ROUNDED
        self.largest = max(self.largest, float(np.abs(found.astype(np.float64)).max()))

    @staticmethod
    def run(model, x):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return np.asarray(session.run(None, {"x": x})[0])
        except Exception:  # of a library whose errors share no base
            return None

    # Inputs and attributes of each operation

    def _Add(self):
        shape = [n if self.pick(3) else 1 for n in self.current.shape]
        return [self.like(shape[self.pick(len(shape) + 1) :] if self.pick(4) else [1, *shape])], {}

    _Sub = _Mul = _Div = _Add

    def _Cast(self):
        kinds = [np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8, np.bool_]
        return [], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(kinds[self.pick(len(kinds))]))}

    def _Softmax(self):
        return [], {} if self.pick(3) == 0 else {"axis": self.axis()}

    def _ArgMax(self):
        return [], self._Softmax()[1] | ({} if self.pick(2) else {"keepdims": 0})

    def _reduce(self, later):
        rank = self.current.ndim
        axes = self.rng.permutation(rank)[: self.pick(rank + 1)] - self.pick(2) * rank
        attributes = {} if self.pick(2) else {"keepdims": 0}
        if not len(axes):
            return [], attributes
        if self.opset >= later:
            return [self.constant(axes.astype(np.int64))], attributes
        return [], attributes | {"axes": axes.tolist()}

    def _ReduceSum(self):
        return self._reduce(13)

    def _ReduceMax(self):
        return self._reduce(18)

    _ReduceMean = _ReduceMax

    def _Squeeze(self):
        axes = [i for i, n in enumerate(self.current.shape) if n == 1][: self.pick(3)]
        if not axes:
            return [], {}
        return ([self.constant(np.array(axes))], {}) if self.opset >= 13 else ([], {"axes": axes})

    def _Unsqueeze(self):
        axes = [self.pick(self.current.ndim + 1)]
        return ([self.constant(np.array(axes))], {}) if self.opset >= 13 else ([], {"axes": axes})

    def _Reshape(self):
        shape = [int(n) for n in self.rng.permutation(self.current.shape)]
        shape = [*shape[:-2], shape[-2] * shape[-1]] if shape[1:] and self.pick(2) else shape
        if shape and self.pick(2):
            shape[self.pick(len(shape))] = -1
        return [self.constant(np.array(shape, np.int64))], {}

    def _Flatten(self):
        return [], {} if self.pick(3) == 0 else {"axis": self.axis()}

    def _Transpose(self):
        perm = self.rng.permutation(self.current.ndim).tolist()
        return [], {"perm": perm} if perm and self.pick(4) else {}

    def _Concat(self):
        axis = self.axis()
        shape = list(self.current.shape)
        if shape:
            shape[axis] = self.pick(3) + 1
        return [self.like(shape)] if self.pick(2) else ["x"], {"axis": axis}

    def _Gather(self):
        return [self.constant(np.array([0]))], {}

    def _Dropout(self):
        return [], {"ratio": 0.5} if self.opset < 12 else {}

    def _Gelu(self):
        return [], {"approximate": ["none", "tanh"][self.pick(2)]}

    def _MatMul(self):
        rows = self.current.shape[-1] if self.current.ndim else 1
        return [self.like([rows, self.pick(6) + 1])], {}

    def _Gemm(self):
        cols, turned = self.pick(6) + 1, self.pick(2)
        k = self.current.shape[-1] if self.current.ndim else 1
        bias = [(), (1,), (cols,), (1, cols), (*self.current.shape[:1], cols),
                (*self.current.shape[:1], 1)][self.pick(6)]  # fmt: skip
        weight = self.like((cols, k) if turned else (k, cols))
        more = [self.like(bias)] if self.pick(3) or self.opset < 11 else []
        return [weight, *more], {"transB": turned, "alpha": 0.5, "beta": 2.0}

    def _LayerNormalization(self):
        axis = self.axis()
        shape = self.current.shape[axis:] if self.current.ndim else ()
        more = [self.like(shape)] if self.pick(2) else []
        return [self.like(shape), *more], {"axis": axis, "epsilon": 0.01}

    def _RMSNormalization(self):
        inputs, attributes = self._LayerNormalization()
        return inputs[:1], attributes

    def _BatchNormalization(self):
        c = self.current.shape[1] if self.current.ndim > 1 else 1
        variance = self.constant(np.abs(self.numbers((c,), self.current.dtype)) + 1)
        return [self.like((c,)), self.like((c,)), self.like((c,)), variance], {}

    def _windows(self):
        size = self.pick(3) + 1
        return size, {"strides": [self.pick(2) + 1] * 2} | (
            {"pads": [self.pick(2)] * 4} if self.pick(2) else {}
        )

    def _MaxPool(self):
        size, attributes = self._windows()
        more = {"ceil_mode": 1} if self.opset >= 10 and self.pick(4) == 0 else {}
        return [], attributes | more | {"kernel_shape": [size, size]}

    _AveragePool = _MaxPool

    def _Conv(self):
        size, attributes = self._windows()
        channels = self.current.shape[1] if self.current.ndim > 1 else 1
        weight = self.like((self.pick(5) + 1, channels, size, size))
        more = [self.like((len(self.constants[weight]),))] if self.pick(2) else []
        return [weight, *more], attributes


def check(seed, folder):
    """Make a graph; "right", "refused" or the ways in which it is wrong."""
    maker = Maker(seed)
    for _ in range(12):
        if len(maker.nodes) < 1 + seed % 4:
            maker.add()
    if not maker.nodes:
        return "none"
    model = maker.model(maker.nodes, maker.first, maker.current)
    wanted = maker.run(model, maker.first)
    if wanted is None:
        return "none"
    path = folder / "random.onnx"
    path.write_bytes(model.SerializeToString())
    try:
        outputs, report = answers(path, {"x": maker.first})
    except PxvmError as error:
        assert "contradict" not in str(error) and "\n" not in str(error), str(error)
        return "refused"
    (found,) = outputs.values()
    assert found.shape == (1,) * (2 - wanted.ndim) + wanted.shape
    ops = {node.op_type for node in maker.nodes}
    part = 0.03 if ops & PRODUCTS else 2e-3
    if maker.exact and all(a.dtype != np.float16 for a in (maker.first, wanted)):
        part = 0.0 if wanted.dtype.kind in "iub" else 1e-6
    limit = part * maker.largest
    if any("differs from float64" in note for note in report.notes):
        return "said"
    error = np.abs(found.reshape(-1) - wanted.astype(np.float64).reshape(-1)).max()
    assert error <= limit, (seed, maker.opset, [str(n) for n in maker.nodes], found, wanted)
    return "right"


@pytest.mark.parametrize("first", range(0, 150, 50))
def test_random_graphs_are_right_or_refused(tmp_path, first):
    found = [check(seed, tmp_path) for seed in range(first, first + 50)]
    assert found.count("right") >= 10
