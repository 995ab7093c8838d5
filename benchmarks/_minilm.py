"""MiniLM as ONNX, written from its weights, and ONNX Runtime running it: the embedder's peer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pxvm.models.families.bert import BertConfig


class Graph:
    """Collects the nodes and weights of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, values: Any, kind: Any = np.float32) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name

    def node(self, op: str, *inputs: str, **settings: Any) -> str:
        from onnx import helper

        out = f"{op}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **settings))
        return out

    def linear(self, x: str, name: str, weights: Mapping[str, Any]) -> str:
        w = self.weight(name, np.asarray(weights[name]).T)
        b = self.weight(f"{name}_bias", weights[f"{name}_bias"])
        return self.node("Add", self.node("MatMul", x, w), b)

    def norm(self, x: str, name: str, weights: Mapping[str, Any], epsilon: float) -> str:
        w, b = (self.weight(n, weights[n]) for n in (name, f"{name}_bias"))
        return self.node("LayerNormalization", x, w, b, axis=-1, epsilon=epsilon)


def write_onnx(path: Path, c: BertConfig, weights: Mapping[str, Any]) -> None:
    """ids, mask int64 [batch, span] to vectors float32 [batch, width] of length 1."""
    from onnx import TensorProto, checker, helper, save

    g = Graph()
    table, places = (g.weight(n, weights[n]) for n in ("embedding", "positions"))
    row = g.weight("type", weights["type"])
    heads = g.weight("heads", [0, 0, c.heads, c.head], np.int64)
    flat = g.weight("flat", [0, 0, c.width], np.int64)
    one, low = g.weight("one", 1.0), g.weight("low", -1e9)
    root = g.weight("root", np.sqrt(c.head))
    half, root2, end = (
        g.weight("half", 0.5),
        g.weight("root2", np.sqrt(2)),
        g.weight("end", [1], np.int64),
    )
    zero, two = g.weight("zero", [0], np.int64), g.weight("two", [2], np.int64)
    span = g.node("Slice", g.node("Shape", "ids"), end, two)
    places = g.node("Slice", places, zero, span, zero)
    x = g.node("Add", g.node("Add", g.node("Gather", table, "ids"), places), row)
    x = g.norm(x, "norm", weights, c.epsilon)
    mask = g.node("Cast", "mask", to=TensorProto.FLOAT)
    axes = g.weight("axes", [1, 2], np.int64)
    hidden = g.node("Mul", g.node("Sub", one, g.node("Unsqueeze", mask, axes)), low)
    for i in range(c.layers):
        q, k, v = (
            g.node("Transpose", g.node("Reshape", g.linear(x, f"{i}.{n}", weights), heads),
                   perm=[0, 2, 3, 1] if n == "k" else [0, 2, 1, 3])
            for n in "qkv"
        )  # fmt: skip
        scores = g.node("Add", g.node("Div", g.node("MatMul", q, k), root), hidden)
        mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
        mixed = g.node("Reshape", g.node("Transpose", mixed, perm=[0, 2, 1, 3]), flat)
        x = g.node("Add", g.linear(mixed, f"{i}.o", weights), x)
        x = g.norm(x, f"{i}.attention_norm", weights, c.epsilon)
        up = g.linear(x, f"{i}.up", weights)
        erf = g.node("Add", g.node("Erf", g.node("Div", up, root2)), one)
        up = g.node("Mul", g.node("Mul", up, erf), half)
        x = g.node("Add", g.linear(up, f"{i}.down", weights), x)
        x = g.norm(x, f"{i}.ff_norm", weights, c.epsilon)
    wide = g.node("Unsqueeze", mask, two)
    total = g.node("ReduceSum", g.node("Mul", x, wide), end, keepdims=0)
    mean = g.node("Div", total, g.node("ReduceSum", mask, end, keepdims=1))
    g.nodes.append(helper.make_node("LpNormalization", [mean], ["unit"], axis=-1, p=2))
    shape = ["batch", "span"]
    graph = helper.make_graph(
        g.nodes, "minilm",
        [helper.make_tensor_value_info(n, TensorProto.INT64, shape) for n in ("ids", "mask")],
        [helper.make_tensor_value_info("unit", TensorProto.FLOAT, ["batch", c.width])],
        g.weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    checker.check_model(model)
    save(model, path)


def quantise_onnx(source: Path, target: Path) -> None:
    """Dynamic int8, a scale for each channel; its advice on other steps is not printed."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)
    logging.disable(logging.NOTSET)


class Runtime:
    """ONNX Runtime with a tokenizer in front, as its users run an embedder.

    Args:
        encode: texts to lists of tokens.
    """

    def __init__(self, path: Path, encode: Any, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.encode = encode

    def embed(self, texts: Sequence[str], batch: int = 32) -> Any:
        """Vectors [n, width]; batches of texts of like lengths, padded to the longest."""
        ids = self.encode(texts)
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        found: dict[int, Any] = {}
        for first in range(0, len(order), batch):
            part = order[first : first + batch]
            padded = np.zeros((len(part), len(ids[part[0]])), np.int64)
            mask = np.zeros_like(padded)
            for row, number in enumerate(part):
                padded[row, : len(ids[number])] = ids[number]
                mask[row, : len(ids[number])] = 1
            (unit,) = self.session.run(None, {"ids": padded, "mask": mask})
            found |= dict(zip(part, unit, strict=True))
        return np.array([found[i] for i in range(len(texts))])
