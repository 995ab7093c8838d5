"""Small random models as their authors would publish them, with a tokenizer."""

from __future__ import annotations

from pathlib import Path

from pxvm.models.families.bert import BertConfig
from pxvm.models.families.llama import LlamaConfig
from tests.models.model_files import hf_bert, hf_llama
from tests.models.tiny_models import bytes_bpe, corpus, wordpiece

LLAMA = LlamaConfig(2, 64, 4, 2, 128, 640, context=128)
BERT = BertConfig(2, 64, 4, 128, 400, 48)


def llama(folder: Path) -> Path:
    hf_llama(folder, LLAMA)
    (folder / "tokenizer.json").write_text(bytes_bpe())
    return folder


def bert(folder: Path) -> Path:
    hf_bert(folder, BERT)
    (folder / "tokenizer.json").write_text(wordpiece())
    return folder


def text() -> str:
    return corpus()[:1500]
