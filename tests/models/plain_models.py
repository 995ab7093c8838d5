"""Float64 Llama and BERT in plain NumPy, and random weights for both."""

import math

import numpy as np

from pxvm.models.families.llama import LlamaConfig
from pxvm.models.graph.floats import ERF


def random_weights(shapes, seed, spread=1.0):
    """Weights that keep activations near 1: matrices of variance 1 / columns, norms near 1."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        last = name.split(".")[-1]
        if len(shape) == 2:
            size = 1.0 if last in ("embedding", "positions") else spread / math.sqrt(shape[1])
            found[name] = rng.normal(0, size, shape)
        elif last.endswith("norm"):
            found[name] = rng.normal(1, 0.1, shape)
        else:
            found[name] = rng.normal(0, 0.1, shape)
    return found


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def llama_logits(c: LlamaConfig, w, ids):
    """Logits [tokens, vocab] of a text from its start."""
    t, hd = len(ids), c.head
    x = w["embedding"][ids]
    angle = np.arange(t)[:, None] * c.rope_base ** (-np.arange(0, hd, 2) / hd)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def norm(v, weight):
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + c.epsilon) * weight

    def rope(v):
        v = v.reshape(t, -1, hd)
        out = np.empty_like(v)
        if c.interleaved:
            first, second = slice(0, None, 2), slice(1, None, 2)
        else:
            first, second = slice(0, hd // 2), slice(hd // 2, None)
        out[..., first] = v[..., first] * cos - v[..., second] * sin
        out[..., second] = v[..., first] * sin + v[..., second] * cos
        return out

    for i in range(c.layers):
        p = f"{i}."
        h = norm(x, w[p + "attention_norm"])
        q, k, v = (h @ w[p + n].T + w.get(f"{p}{n}_bias", 0) for n in "qkv")
        q, k, v = rope(q), rope(k), v.reshape(t, -1, hd)
        k, v = (np.repeat(a, c.heads // c.kv_heads, axis=1) for a in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / math.sqrt(hd)
        scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
        mixed = np.einsum("hts,shd->thd", softmax(scores), v).reshape(t, -1)
        x = x + mixed @ w[p + "o"].T
        h = norm(x, w[p + "ff_norm"])
        gate = h @ w[p + "gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[p + "up"].T)) @ w[p + "down"].T
    return norm(x, w["norm"]) @ w["embedding" if c.tied else "output"].T


def bert_vectors(c, w, sentences):
    """Vectors [sentences, width]: of all rows or the first, of length 1 or as they are."""

    def norm(v, name):
        v = v - v.mean(-1, keepdims=True)
        v = v / np.sqrt((v * v).mean(-1, keepdims=True) + c.epsilon)
        return v * w[name] + w[name + "_bias"]

    rows = []
    for ids in sentences:
        t = len(ids)
        x = norm(w["embedding"][list(ids)] + w["positions"][:t] + w["type"], "norm")
        for i in range(c.layers):
            p = f"{i}."
            q, k, v = (
                (x @ w[p + n].T + w[f"{p}{n}_bias"]).reshape(t, c.heads, c.head) for n in "qkv"
            )
            weights = softmax(np.einsum("thd,shd->hts", q, k) / math.sqrt(c.head))
            mixed = np.einsum("hts,shd->thd", weights, v).reshape(t, -1)
            x = norm(x + mixed @ w[p + "o"].T + w[p + "o_bias"], p + "attention_norm")
            h = x @ w[p + "up"].T + w[p + "up_bias"]
            h = h * (1 + ERF(h / math.sqrt(2))) / 2
            x = norm(x + h @ w[p + "down"].T + w[p + "down_bias"], p + "ff_norm")
        pooled = x[0] if c.pooling == "cls" else x.mean(0)
        rows.append(pooled / np.linalg.norm(pooled) if c.unit else pooled)
    return np.array(rows)
