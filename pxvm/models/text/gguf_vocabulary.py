"""A GGUF's vocabulary (``tokenizer.ggml.*``) as a tokenizer of the `tokenizers` library.

Three kinds: "gpt2", byte-level BPE, whose pre-tokenizer GGUF gives by name only; "bert",
WordPiece with "▁" where a word begins instead of "##" where it goes on; "llama", SentencePiece
BPE with a score for each piece, whose merges are found again from the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pxvm.core.errors import FormatError
from pxvm.models.text.folder import STOP_TEXTS
from pxvm.models.text.tokenizer import Settings, library

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
PREFIX = "tokenizer.ggml."
BEGIN = "▁"

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3, QWEN2 = WORDS.format(digits="{1,3}"), WORDS.format(digits="")
MARKS = r"[\p{P}\$\+<=>\^~\|]+"
THREE_DIGITS = r"[0-9][0-9][0-9]"
# Pre-tokenizers by GGUF's names: those of one line split alike.
PLAIN = ("gpt-2", "phi-2", "jina-es", "jina-de", "mpt", "olmo", "jais", "roberta-bpe")
DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
LLAMA = ("llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral")
QWEN = ("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan")


def from_gguf(metadata: Mapping[str, Any], vocab: int, where: str) -> tuple[str, Settings] | None:
    """(JSON, settings) of a GGUF's pairs; None where it has no vocabulary.

    Args:
        vocab: rows of the model's embedding.
        where: the file, for messages.

    Raises FormatError for a kind or pre-tokenizer that is unknown, or a damaged vocabulary.
    """
    kind = metadata.get(PREFIX + "model")
    if kind in (None, "none", "no_vocab"):
        return None
    makers = {"gpt2": _bytes_bpe, "bert": _wordpiece, "llama": _sentencepiece}
    if kind not in makers:
        raise FormatError(
            f"{where}: expected a tokenizer of {', '.join(makers)}; found {kind!r:.40}"
        )
    tokens = _strings(metadata, "tokens", where)
    if not 1 <= len(tokens) <= vocab:
        raise FormatError(
            f"{where}: expected 1 to {vocab} tokens, the rows of the embedding; found {len(tokens)}"
        )
    types = [int(t) for t in metadata.get(PREFIX + "token_type", [NORMAL] * len(tokens))]
    if len(types) != len(tokens):
        raise FormatError(f"{where}: expected {len(tokens)} token types; found {len(types)}")
    inner = makers[kind](tokens, types, metadata, where)
    tokenizers = library("tokenizers")
    for special, wanted in ((True, (CONTROL, UNKNOWN)), (False, (USER,))):
        added = [
            tokenizers.AddedToken(token, normalized=False, special=special)
            for token, found in zip(tokens, types, strict=True)
            if found in wanted
        ]
        (inner.add_special_tokens if special else inner.add_tokens)(added)
    return inner.to_str(), _settings(metadata, tokens, types, kind)


def _strings(metadata: Mapping[str, Any], key: str, where: str) -> list[str]:
    found = metadata.get(PREFIX + key)
    if not isinstance(found, Sequence) or not all(isinstance(t, str) for t in found):
        raise FormatError(f"{where}: {PREFIX}{key}: expected an array of strings")
    return list(found)


def _number(metadata: Mapping[str, Any], key: str, tokens: Sequence[str]) -> int | None:
    found = metadata.get(f"{PREFIX}{key}_token_id")
    return int(found) if found is not None and 0 <= int(found) < len(tokens) else None


def _settings(
    metadata: Mapping[str, Any], tokens: list[str], types: list[int], kind: str
) -> Settings:
    stops = [_number(metadata, key, tokens) for key in ("eos", "eot", "eom")]
    stops += [
        number
        for number, (token, found) in enumerate(zip(tokens, types, strict=True))
        if found == CONTROL and token in STOP_TEXTS
    ]
    template = metadata.get("tokenizer.chat_template")
    bos = _number(metadata, "bos", tokens)
    ours = kind == "llama" or metadata.get(PREFIX + "pre") in LLAMA  # llama.cpp's default
    add_bos = metadata.get(PREFIX + "add_bos_token", ours)
    return Settings(
        bos=bos,
        add_bos=bool(add_bos) and kind != "bert",
        stops=tuple(dict.fromkeys(stop for stop in stops if stop is not None)),
        template=template if isinstance(template, str) else None,
    )


def _bytes_bpe(tokens: list[str], types: list[int], metadata: Mapping[str, Any], where: str) -> Any:
    models = library("tokenizers.models")
    merges = []
    for number, merge in enumerate(_strings(metadata, "merges", where)):
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise FormatError(f"{where}: merge {number}: expected two pieces; found {merge!r:.40}")
        merges.append((left, right))
    pre = metadata.get(PREFIX + "pre", "default")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    try:
        model = models.BPE(vocabulary, merges, ignore_merges=pre in LLAMA)
    except Exception as error:  # the library raises nothing narrower
        raise FormatError(f"{where}: the merges do not fit the vocabulary: {error}") from None
    inner = library("tokenizers").Tokenizer(model)
    inner.pre_tokenizer = _pre_tokenizer(pre, where)
    inner.decoder = library("tokenizers.decoders").ByteLevel()
    return inner


def _pre_tokenizer(name: Any, where: str) -> Any:
    """How text is cut before pieces are merged, by GGUF's name of it."""
    pre, regex = library("tokenizers.pre_tokenizers"), library("tokenizers").Regex

    def split(pattern: str) -> Any:
        return pre.Split(regex(pattern), "isolated")

    plain = pre.ByteLevel(add_prefix_space=False, use_regex=True)
    rest = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    if name in PLAIN:
        return plain
    if name in DIGITS:
        return pre.Sequence([pre.Digits(individual_digits=True), plain])
    if name in LLAMA:
        return pre.Sequence([split(LLAMA3), rest])
    if name in QWEN:
        return pre.Sequence([split(QWEN2), rest])
    if name == "default":
        steps = [split(MARKS), split(r"\p{N}+"), split(THREE_DIGITS), plain]
        return pre.Sequence(steps)
    known = ", ".join((*PLAIN, *DIGITS, *LLAMA, *QWEN, "default"))
    raise FormatError(f"{where}: expected a pre-tokenizer of {known}; found {name!r:.40}")


def _wordpiece(tokens: list[str], types: list[int], metadata: Mapping[str, Any], where: str) -> Any:
    tokenizers = library("tokenizers")
    spelled = [_spell(token) for token in tokens]
    vocabulary = {token: number for number, token in enumerate(spelled)}
    unknown = _number(metadata, "unknown", tokens)
    name = spelled[unknown] if unknown is not None else "[UNK]"
    tokens[:] = spelled  # special tokens are added by these names
    inner = tokenizers.Tokenizer(library("tokenizers.models").WordPiece(vocabulary, unk_token=name))
    inner.normalizer = library("tokenizers.normalizers").BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    inner.pre_tokenizer = library("tokenizers.pre_tokenizers").BertPreTokenizer()
    inner.decoder = library("tokenizers.decoders").WordPiece(prefix="##")
    first, last = _number(metadata, "bos", tokens), _number(metadata, "seperator", tokens)
    first = _number(metadata, "cls", tokens) if first is None else first
    last = _number(metadata, "eos", tokens) if last is None else last
    if first is None or last is None:
        raise FormatError(f"{where}: expected the numbers of the first and the separating token")
    special = [(spelled[first], first), (spelled[last], last)]
    inner.post_processor = library("tokenizers.processors").TemplateProcessing(
        single=f"{spelled[first]} $A {spelled[last]}", special_tokens=special
    )
    return inner


def _spell(token: str) -> str:
    """A WordPiece of GGUF as BERT spells it."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[len(BEGIN) :] if token.startswith(BEGIN) else "##" + token


def _sentencepiece(
    tokens: list[str], types: list[int], metadata: Mapping[str, Any], where: str
) -> Any:
    scores = metadata.get(PREFIX + "scores")
    if scores is None or len(scores) != len(tokens):
        raise FormatError(f"{where}: expected {len(tokens)} scores; found none or others")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = _merges(vocabulary, types, [float(s) for s in scores])
    unknown = _number(metadata, "unknown", tokens) or 0
    inner = library("tokenizers").Tokenizer(
        library("tokenizers.models").BPE(
            vocabulary, merges, unk_token=tokens[unknown], fuse_unk=True, byte_fallback=True
        )
    )
    normalizers, decoders = library("tokenizers.normalizers"), library("tokenizers.decoders")
    prefix = bool(metadata.get(PREFIX + "add_space_prefix", True))
    steps = [normalizers.Prepend(BEGIN)] * prefix + [normalizers.Replace(" ", BEGIN)]
    inner.normalizer = normalizers.Sequence(steps)
    unstep = [decoders.Replace(BEGIN, " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(unstep + [decoders.Strip(" ", 1, 0)] * prefix)
    return inner


def _merges(
    vocabulary: dict[str, int], types: list[int], scores: list[float]
) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, best score first."""
    found = []
    for token, number in vocabulary.items():
        if types[number] in (NORMAL, USER):
            for at in range(1, len(token)):
                left, right = token[:at], token[at:]
                if left in vocabulary and right in vocabulary:
                    found.append(
                        (-scores[number], vocabulary[left], vocabulary[right], left, right)
                    )
    return [(left, right) for *_, left, right in sorted(found)]
