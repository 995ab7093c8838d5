"""A GGUF's vocabulary (``tokenizer.ggml.*``) as a tokenizer of the `tokenizers` library.

Four kinds: "gpt2", byte-level BPE, whose pre-tokenizer GGUF gives by name only; "bert",
WordPiece with "▁" where a word begins instead of "##" where it goes on; "llama", SentencePiece
BPE with a score for each piece, whose merges are found again from the scores; "t5", SentencePiece
Unigram, with the table of its normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as brief
from typing import Any

import numpy as np

from pxvm.core.errors import FormatError
from pxvm.models.text.bounds import MAX_PIECE
from pxvm.models.text.guard import guarded
from pxvm.models.text.stops import is_stop, stop_tokens
from pxvm.models.text.template import MAX_SOURCE
from pxvm.models.text.tokenizer import Settings, Tokenizer, library

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
PREFIX = "tokenizer.ggml."
BEGIN = "▁"
BOS, EOS = 1, 2  # of SentencePiece
MAX_SPLITS = 1 << 28  # characters copied to find merges again

ENDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"{ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"
QWEN35 = (
    rf"{ENDS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(ends: str, digits: str) -> str:
    """Words whose capitals come first, as those who trained the models cut them."""
    words = (f"{UPPER}*{LOWER}+", f"{UPPER}+{LOWER}*")
    each = [rf"[^\r\n\p{{L}}\p{{N}}]?{word}{ends}" for word in words]
    rest = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    return "|".join((*each, digits, rest))


MARKS = r"[\p{P}\$\+<=>\^~\|]+"
THREE_DIGITS = r"[0-9][0-9][0-9]"
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHINESE = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# How text is cut before pieces are merged: patterns, one after the other, for GGUF's names.
_CUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gpt-2 phi-2 jina-es jina-de mpt olmo jais roberta-bpe trillion exaone4", (GPT2,)),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b", (r"\p{N}", GPT2)),
    ("llama3 llama-v3 llama-bpe falcon3 pixtral dbrx smaug-bpe", (LLAMA3,)),
    ("qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan", (QWEN2,)),
    ("qwen35", (QWEN35,)),
    ("gpt-4o llama4", (_cased(f"{ENDS}?", r"\p{N}{1,3}"),)),
    ("tekken", (_cased("", r"\p{N}"),)),
    ("falcon", (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, THREE_DIGITS)),
    ("deepseek-coder", (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CHINESE, r"\p{N}")),
    ("deepseek-v3", (r"\p{N}{1,3}", r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK)),
    ("default", (MARKS, GPT2, r"\p{N}+", THREE_DIGITS)),
)
CUTS = {name: patterns for names, patterns in _CUTS for name in names.split()}
# Those whose words are pieces as a whole where the vocabulary has them, and that begin with BOS.
WHOLE = {"llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral", "tekken"}


def from_gguf(metadata: Mapping[str, Any], vocab: int, where: str) -> tuple[str, Settings] | None:
    """(JSON, settings) of a GGUF's pairs; None where it has no vocabulary.

    Args:
        vocab: rows of the model's embedding.
        where: the file, for messages.

    Raises FormatError for a kind or pre-tokenizer that is unknown, or a damaged vocabulary.
    """
    pairs = Pairs(metadata, where)
    kind = pairs.text("model")
    if kind in (None, "none", "no_vocab"):
        return None
    makers = {"gpt2": _bytes_bpe, "bert": _wordpiece, "llama": _sentencepiece, "t5": _unigram}
    if kind not in makers:
        raise pairs.error("model", f"a tokenizer of {', '.join(makers)}")
    tokens = pairs.strings("tokens")
    if not 1 <= len(tokens) <= vocab:
        raise FormatError(
            f"{where}: expected 1 to {vocab} tokens, the rows of the embedding; found {len(tokens)}"
        )
    if len(set(tokens)) < len(tokens):
        raise FormatError(f"{where}: {PREFIX}tokens: expected tokens that differ; found one twice")
    if max(map(len, tokens)) > MAX_PIECE:
        raise FormatError(f"{where}: {PREFIX}tokens: expected at most {MAX_PIECE} characters each")
    types = pairs.numbers("token_type", len(tokens))
    types = [NORMAL] * len(tokens) if types is None else [int(t) for t in types]
    stops = {n for n, t in enumerate(tokens) if is_stop(t, types[n] == CONTROL)}
    types = [CONTROL if n in stops else found for n, found in enumerate(types)]
    with guarded(f"{where}: the vocabulary cannot be used"):
        inner = makers[kind](tokens, types, pairs)
        encodes = kind in ("bert", "t5") or metadata.get("general.architecture") == "bert"
        if encodes:
            inner.post_processor = _surrounded(tokens, pairs)
        tokenizers = library("tokenizers")
        for special, wanted in ((True, (CONTROL, UNKNOWN)), (False, (USER,))):
            added = [
                tokenizers.AddedToken(token, normalized=False, special=special)
                for token, found in zip(tokens, types, strict=True)
                if found in wanted
            ]
            (inner.add_special_tokens if special else inner.add_tokens)(added)
        text = str(inner.to_str())
    Tokenizer(text, Settings(), where, vocab).encode("a")
    return text, _settings(pairs, tokens, types, kind, encodes)


class Pairs:
    """The pairs of a vocabulary, each checked for its type when it is read."""

    def __init__(self, metadata: Mapping[str, Any], where: str) -> None:
        self.metadata, self.where = metadata, where

    def get(self, key: str) -> Any:
        return self.metadata.get(PREFIX + key)

    def error(self, key: str, expected: str) -> FormatError:
        found = self.get(key)
        return FormatError(
            f"{self.where}: {PREFIX}{key}: expected {expected}; found {brief(found)}"
        )

    def text(self, key: str) -> str | None:
        """A string, or None where there is none."""
        found = self.get(key)
        if found is not None and not isinstance(found, str):
            raise self.error(key, "a string")
        return found

    def flag(self, key: str, default: bool) -> bool:
        """True or False."""
        found = self.get(key)
        if found is not None and type(found) is not bool:
            raise self.error(key, "true or false")
        return default if found is None else found

    def token(self, key: str, count: int) -> int | None:
        """The number of a token; None where none is named, or one that the vocabulary lacks.

        Some files say so where they mean none.
        """
        found = self.get(f"{key}_token_id")
        if found is not None and type(found) is not int:
            raise self.error(f"{key}_token_id", "the number of a token")
        return found if found is not None and 0 <= found < count else None

    def strings(self, key: str) -> list[str]:
        """An array of strings."""
        found = self.get(key)
        if not isinstance(found, list) or not all(isinstance(t, str) for t in found):
            raise self.error(key, "an array of strings")
        return list(found)

    def numbers(self, key: str, count: int) -> Any:
        """``count`` finite numbers, or None where there is no array."""
        found = self.get(key)
        if found is None:
            return None
        try:
            array = np.asarray(found)
        except ValueError:
            array = np.empty(0)
        if array.shape != (count,) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise self.error(key, f"{count} finite numbers")
        return array


def _settings(
    pairs: Pairs, tokens: list[str], types: list[int], kind: str, encodes: bool
) -> Settings:
    named = [pairs.token(key, len(tokens)) for key in ("eos", "eot", "eom")]
    first = pairs.token("bos", len(tokens))
    if kind == "llama":  # where none is named, the usual ones
        first, named[0] = (
            usual if found is None and types[usual : usual + 1] == [CONTROL] else found
            for usual, found in ((BOS, first), (EOS, named[0]))
        )
    each = ((n, text, types[n] == CONTROL) for n, text in enumerate(tokens))
    template = pairs.metadata.get("tokenizer.chat_template")
    if template is not None and (not isinstance(template, str) or len(template) > MAX_SOURCE):
        raise FormatError(
            f"{pairs.where}: tokenizer.chat_template: expected a text of at most {MAX_SOURCE}"
            f" characters; found {template!r:.40}"
        )
    ours = kind == "llama" or pairs.text("pre") in WHOLE  # llama.cpp's default
    if first is None and not encodes and pairs.flag("add_bos_token", False):
        raise pairs.error(
            "bos_token_id", f"a token below {len(tokens)}, as add_bos_token wants one"
        )
    return Settings(
        bos=first,
        add_bos=pairs.flag("add_bos_token", ours) and not encodes,
        stops=stop_tokens([stop for stop in named if stop is not None], each, len(tokens)),
        template=template,
    )


def _bytes_bpe(tokens: list[str], types: list[int], pairs: Pairs) -> Any:
    models = library("tokenizers.models")
    merges = []
    for number, merge in enumerate(pairs.strings("merges")):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise FormatError(
                f"{pairs.where}: merge {number}: expected two pieces; found {merge!r:.40}"
            )
        merges.append((left, right))
    pre = pairs.text("pre") or "default"
    vocabulary = {token: number for number, token in enumerate(tokens)}
    with guarded(f"{pairs.where}: the merges do not fit the vocabulary"):
        model = models.BPE(vocabulary, merges, ignore_merges=pre in WHOLE)
    inner = library("tokenizers").Tokenizer(model)
    inner.pre_tokenizer = _pre_tokenizer(pre, pairs)
    inner.decoder = library("tokenizers.decoders").ByteLevel()
    return inner


def _pre_tokenizer(name: str, pairs: Pairs) -> Any:
    """How text is cut before pieces are merged, by GGUF's name of it."""
    pre, regex = library("tokenizers.pre_tokenizers"), library("tokenizers").Regex
    if name not in CUTS:
        raise pairs.error("pre", f"a pre-tokenizer of {', '.join(CUTS)}")
    cuts = [pre.Split(regex(pattern), "isolated") for pattern in CUTS[name]]
    return pre.Sequence([*cuts, pre.ByteLevel(add_prefix_space=False, use_regex=False)])


def _wordpiece(tokens: list[str], types: list[int], pairs: Pairs) -> Any:
    tokenizers = library("tokenizers")
    spelled = [
        token if found == CONTROL else _spell(token)
        for token, found in zip(tokens, types, strict=True)
    ]
    vocabulary = {token: number for number, token in enumerate(spelled)}
    if len(vocabulary) < len(tokens):
        raise pairs.error("tokens", "tokens that differ as BERT spells them")
    unknown = pairs.token("unknown", len(tokens))
    name = spelled[unknown] if unknown is not None else "[UNK]"
    tokens[:] = spelled  # special tokens are added by these names
    inner = tokenizers.Tokenizer(library("tokenizers.models").WordPiece(vocabulary, unk_token=name))
    inner.normalizer = library("tokenizers.normalizers").BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    inner.pre_tokenizer = library("tokenizers.pre_tokenizers").BertPreTokenizer()
    inner.decoder = library("tokenizers.decoders").WordPiece(prefix="##")
    return inner


def _surrounded(tokens: list[str], pairs: Pairs) -> Any:
    """The first token and the separating one around a text."""
    first = _one_of(tokens, pairs, ("bos", "cls"), ("[CLS]", "<s>"))
    last = _one_of(tokens, pairs, ("seperator", "eos"), ("[SEP]", "</s>"))
    if first is None or last is None:
        raise pairs.error("seperator_token_id", "the first and the separating token")
    special = [(tokens[first], first), (tokens[last], last)]
    return library("tokenizers.processors").TemplateProcessing(
        single=f"{tokens[first]} $A {tokens[last]}", special_tokens=special
    )


def _one_of(
    tokens: list[str], pairs: Pairs, keys: tuple[str, ...], texts: tuple[str, ...]
) -> int | None:
    """The token that a file names by one of some keys; else the one of a usual text."""
    named = [pairs.token(key, len(tokens)) for key in keys]
    usual = [tokens.index(text) for text in texts if text in tokens]
    return next((found for found in (*named, *usual) if found is not None), None)


def _spell(token: str) -> str:
    """A WordPiece of GGUF as BERT spells it."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[len(BEGIN) :] if token.startswith(BEGIN) else "##" + token


def _sentencepiece(tokens: list[str], types: list[int], pairs: Pairs) -> Any:
    scores = pairs.numbers("scores", len(tokens))
    if scores is None:
        raise pairs.error("scores", f"{len(tokens)} finite numbers")
    if sum(len(token) ** 2 for token in tokens) > MAX_SPLITS:
        raise FormatError(f"{pairs.where}: {PREFIX}tokens: expected shorter pieces to merge")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = _merges(vocabulary, types, [float(s) for s in scores])
    unknown = pairs.token("unknown", len(tokens)) or 0
    inner = library("tokenizers").Tokenizer(
        library("tokenizers.models").BPE(
            vocabulary, merges, unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True
        )
    )
    normalizers, decoders = library("tokenizers.normalizers"), library("tokenizers.decoders")
    prefix = pairs.flag("add_space_prefix", True)
    steps = [normalizers.Prepend(BEGIN)] * prefix + [normalizers.Replace(" ", BEGIN)]
    inner.normalizer = normalizers.Sequence(steps)
    unstep = [decoders.Replace(BEGIN, " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(unstep + [decoders.Strip(" ", 1, 0)] * prefix)
    return inner


def _unigram(tokens: list[str], types: list[int], pairs: Pairs) -> Any:
    scores = pairs.numbers("scores", len(tokens))
    unknown = _one_of(tokens, pairs, ("unknown",), ("<unk>",))
    if scores is None:
        raise pairs.error("scores", f"{len(tokens)} finite numbers")
    if unknown is None:
        raise pairs.error("unknown_token_id", f"a token below {len(tokens)}")
    tokenizers = library("tokenizers")
    pieces = [(token, float(score)) for token, score in zip(tokens, scores, strict=True)]
    inner = tokenizers.Tokenizer(library("tokenizers.models").Unigram(pieces, unknown, False))
    normalizers, steps = library("tokenizers.normalizers"), []
    if (table := pairs.get("precompiled_charsmap")) is not None:
        with guarded(f"{pairs.where}: {PREFIX}precompiled_charsmap"):
            steps.append(normalizers.Precompiled(bytes(np.asarray(table).astype(np.uint8))))
    if pairs.flag("remove_extra_whitespaces", True):
        steps += [normalizers.Strip(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    inner.normalizer = normalizers.Sequence(steps)
    scheme = "always" if pairs.flag("add_space_prefix", True) else "never"
    space = {"replacement": BEGIN, "prepend_scheme": scheme}
    inner.pre_tokenizer = library("tokenizers.pre_tokenizers").Metaspace(**space)
    inner.decoder = library("tokenizers.decoders").Metaspace(**space)
    return inner


def _merges(
    vocabulary: dict[str, int], types: list[int], scores: list[float]
) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, best score first.

    Where scores are the same, as some converters leave them, the piece that was made first.
    """
    found = []
    for token, number in vocabulary.items():
        if types[number] in (NORMAL, USER):
            for at in range(1, len(token)):
                left, right = token[:at], token[at:]
                if left in vocabulary and right in vocabulary:
                    places = vocabulary[left], vocabulary[right]
                    found.append((-scores[number], number, *places, left, right))
    return [(left, right) for *_, left, right in sorted(found)]
