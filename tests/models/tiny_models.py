"""Small random models that carry a small tokenizer, and where the real ones are."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pxvm.core import executors
from pxvm.core.container import save_image
from pxvm.models.families.bert import BertConfig, build_bert
from pxvm.models.families.bert import weight_shapes as bert_shapes
from pxvm.models.families.llama import LlamaConfig, build_llama
from pxvm.models.families.llama import weight_shapes as llama_shapes
from pxvm.models.text.tokenizer import Settings, store_tokenizer
from tests.models.plain_models import random_weights

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = LlamaConfig(2, 64, 4, 2, 128, 640, context=256)
BERT = BertConfig(2, 64, 4, 128, 400, 48)
TEXTS = [
    "hello world",
    "  two  spaces \t\ttabs\n\n\nlines \n x ",
    "def f(x):\n    return x ** 2 + 12345.678\n",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and 👍🏽",
    "中文字符 日本語テキスト 한국어 ไทย العربية",
    "<|im_start|>user\nhi<|im_end|>\n",
    "don't I'LL we've ¼ ½ Ⅷ ² ١٢٣ ǅ naïve e\u0301",
    "a\u00a0b\u3000c\u200bd\r\n\r\n x\r",
    "!!!???...,,,   " + " " * 40 + "\n" * 7 + " ",
    "",
]


@cache
def corpus() -> str:
    """A text of made-up words, the same every time: 12 kB, some words far more frequent."""
    rng = np.random.default_rng(7)
    syllables = [a + b + c for a in "bdfklmprst" for b in "aeiou" for c in ("", "n", "s")]
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(500)]
    order = np.minimum(rng.zipf(1.4, 2000) - 1, 499)
    marks = rng.choice([" ", " ", " ", " ", ", ", ". ", "\n", ": 12 "], 2000)
    return "".join(words[i] + mark for i, mark in zip(order, marks, strict=True))


@cache
def bytes_bpe() -> str:
    """JSON of a byte-level BPE trained on the corpus, of 600 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([corpus()], trainer)
    return str(inner.to_str())


@cache
def wordpiece() -> str:
    """JSON of a BERT tokenizer trained on the corpus, of 400 tokens."""
    from tokenizers import BertWordPieceTokenizer

    inner = BertWordPieceTokenizer(lowercase=True)
    inner.train_from_iterator([corpus()], vocab_size=BERT.vocab, show_progress=False)
    again = BertWordPieceTokenizer(vocab=inner.get_vocab(), lowercase=True)
    return str(again.to_str())


@cache
def llama_settings() -> Settings:
    return Settings(bos=0, stops=(2,), template=CHATML)


def write_llama(
    path: Path, *, stops: tuple[int, ...] = (2,), seed: int = 3, context: int = LLAMA.context,
    template: str = CHATML,
) -> Path:  # fmt: skip
    """A random chat model of two layers as a mappable file."""
    config = replace(LLAMA, context=context)
    weights = random_weights(llama_shapes(config), seed)
    weights["embedding"] *= 0.2
    settings = Settings(bos=0, stops=stops, template=template)
    image = build_llama(config, weights, extend=lambda b: store_tokenizer(b, bytes_bpe(), settings))
    save_image(image, path, layout="mappable")
    return path


def write_bert(path: Path, *, limit: int | None = 32) -> Path:
    """A random embedder of two layers as a mappable file."""
    weights = random_weights(bert_shapes(BERT), 5)
    image = build_bert(
        BERT,
        weights,
        batch=8,
        extend=lambda b: store_tokenizer(b, wordpiece(), Settings(limit=limit)),
    )
    save_image(image, path, layout="mappable")
    return path


def real(name: str) -> Path:
    """The file of a real model; skips where it is not in the cache and may not be fetched.

    PXVM_FETCH=1 fetches it.
    """
    from pxvm.models.download import cached, get

    path = cached(name)
    if os.environ.get("PXVM_FETCH") == "1":
        return get(name)
    if not path.exists():
        pytest.skip(f"{name} is not here: pxvm models get {name}, or PXVM_FETCH=1")
    return path


def compiled() -> str:
    """The name of the compiled executor; skips without it."""
    if "cpu" not in executors.installed() or (reason := executors.load("cpu").available()):
        pytest.skip(f"device 'cpu': {reason}")
    return "cpu"


def write_vocabulary(path: Path, text: str, pre: str) -> None:
    """A GGUF of nothing but a byte-level vocabulary, given as JSON of the `tokenizers` library."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    add_vocabulary(writer, text, pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer: Any, text: str, pre: str) -> None:
    """Give a GGUF that is being written a byte-level vocabulary."""
    from gguf import TokenType

    raw = json.loads(text)
    vocabulary = dict(raw["model"]["vocab"])
    vocabulary |= {t["content"]: t["id"] for t in raw["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {t["content"] for t in raw["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if t in special else TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)


class PeerTokenizer:
    """llama.cpp's tokenizer of a GGUF, special tokens in the text recognised."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.api = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        wanted = llama_cpp.llama_model_default_params()
        wanted.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), wanted)
        assert self.model
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, text: str) -> list[int]:
        data = text.encode()
        room = (self.api.llama_token * (len(data) + 8))()
        count = self.api.llama_tokenize(
            self.vocabulary, data, len(data), room, len(room), True, True
        )
        return list(room[:count])


def random_texts(count: int, seed: int = 1) -> list[str]:
    """Texts of characters from many scripts, whitespace among them."""
    ranges = [(32, 127), (160, 591), (0x370, 0x4FF), (0x600, 0x6FF), (0x900, 0x97F),
              (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0x1F300, 0x1F650),
              (0x2000, 0x206F), (0x2150, 0x218F)]  # fmt: skip
    pool = [chr(c) for low, high in ranges for c in range(low, high)] + list(" \n\t\r ") * 60
    rng = np.random.default_rng(seed)
    return ["".join(pool[i] for i in rng.integers(0, len(pool), 40)) for _ in range(count)]
