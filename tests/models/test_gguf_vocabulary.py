"""Vocabularies of GGUF: their tokens are the original's, and llama.cpp's for every kind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pxvm.core.errors import FormatError
from pxvm.models.text.gguf_vocabulary import CUTS, PREFIX, from_gguf
from pxvm.models.text.tokenizer import Settings, Tokenizer, load_tokenizer
from tests.models.tiny_models import (
    SPECIAL,
    TEXTS,
    PeerTokenizer,
    bytes_bpe,
    corpus,
    llama_settings,
    random_texts,
    real,
    wordpiece,
    write_vocabulary,
)

CORPUS = [*TEXTS, *random_texts(400)]


def pieces(text: str) -> dict[str, object]:
    """A byte-level BPE's JSON as a GGUF's pairs."""
    raw = json.loads(text)
    vocabulary = dict(raw["model"]["vocab"])
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    return {
        PREFIX + "model": "gpt2",
        PREFIX + "tokens": tokens,
        PREFIX + "token_type": [3 if t in SPECIAL else 1 for t in tokens],
        PREFIX + "merges": [" ".join(m) for m in raw["model"]["merges"]],
        PREFIX + "eos_token_id": tokens.index("<|im_end|>"),
        PREFIX + "add_bos_token": False,
    }


def converted(pairs: dict[str, object]) -> Tokenizer:
    found = from_gguf(pairs, len(pairs[PREFIX + "tokens"]), "test.gguf")  # type: ignore[arg-type]
    assert found is not None
    return Tokenizer(*found)


def test_a_gguf_vocabulary_gives_the_tokens_of_the_original():
    original = Tokenizer(bytes_bpe(), llama_settings())
    found = converted(pieces(bytes_bpe()) | {PREFIX + "pre": "gpt-2"})
    assert [found.encode(t) for t in CORPUS] == [original.encode(t) for t in CORPUS]
    assert found.settings.stops == (2, 0)  # the end of a message, then the end of text


@pytest.mark.parametrize("patterns", sorted(set(CUTS.values())))
def test_every_way_to_cut_leaves_the_text_as_it_was(patterns):
    pre = next(name for name, found in CUTS.items() if found == patterns)
    found = converted(pieces(bytes_bpe()) | {PREFIX + "pre": pre})
    for text in TEXTS:
        assert found.inner.decode(found.encode(text), skip_special_tokens=False) == text


@pytest.mark.parametrize(
    "pre,cut",
    [
        ("gpt-2", "HelloWorld|'s| 1234|,| don|'t"),
        ("smollm", "HelloWorld|'s| |1|2|3|4|,| don|'t"),
        ("llama-bpe", "HelloWorld|'s| |123|4|,| don|'t"),
        ("qwen2", "HelloWorld|'s| |1|2|3|4|,| don|'t"),
        ("gpt-4o", "Hello|World's| |123|4|,| don't"),
        ("tekken", "Hello|World|'s| |1|2|3|4|,| don|'t"),
        ("falcon", "HelloWorld|'|s| |123|4|,| don|'|t"),
        ("deepseek-coder", "HelloWorld|'|s| |1|2|3|4|,| don|'|t"),
        ("deepseek-v3", "HelloWorld|'s| |123|4|,| don|'t"),
    ],
)
def test_text_is_cut_as_those_who_trained_the_model_cut_it(pre, cut):
    found = converted(pieces(bytes_bpe()) | {PREFIX + "pre": pre})
    cuts = found.inner.pre_tokenizer.pre_tokenize_str("HelloWorld's 1234, don't")
    assert "|".join(piece for piece, _ in cuts).replace("Ġ", " ") == cut


@pytest.mark.parametrize("pre", sorted({v: k for k, v in CUTS.items()}.values()))
def test_byte_level_tokens_are_those_of_llama_cpp(pre, tmp_path):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    write_vocabulary(tmp_path / "v.gguf", bytes_bpe(), pre)
    peer = PeerTokenizer(tmp_path / "v.gguf")
    ours = converted(pieces(bytes_bpe()) | {PREFIX + "pre": pre})
    for text in [*CORPUS, corpus()[:4000]]:
        assert ours.encode(text) == peer.encode(text), text


def test_the_real_vocabulary_gives_the_tokens_of_llama_cpp(tmp_path):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    from pxvm.core.container import open_image

    ours = load_tokenizer(open_image(real("smollm2")))
    write_vocabulary(tmp_path / "v.gguf", ours.text, "smollm")
    peer = PeerTokenizer(tmp_path / "v.gguf")
    for text in [*TEXTS, *random_texts(2000), corpus()]:
        assert ours.encode(text) == peer.encode(text), text[:80]


def test_wordpieces_of_a_gguf_are_those_of_the_original():
    original = Tokenizer(wordpiece(), Settings())
    vocabulary = original.inner.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)

    def phantom(token: str) -> str:
        if token.startswith("["):
            return token
        return token[2:] if token.startswith("##") else "▁" + token

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pairs = {
        PREFIX + "model": "bert",
        PREFIX + "tokens": [t if t in special else phantom(t) for t in tokens],
        PREFIX + "token_type": [3 if t in special else 1 for t in tokens],
        PREFIX + "unknown_token_id": vocabulary["[UNK]"],
        PREFIX + "bos_token_id": vocabulary["[CLS]"],
        PREFIX + "seperator_token_id": vocabulary["[SEP]"],
    }
    found = converted(pairs)
    texts = [t for t in CORPUS if "[" not in t]
    assert [found.encode(t) for t in texts] == [original.encode(t) for t in texts]


SCORED = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "he", "ll", "llo", "or",
          "ld", "hello", "▁hello", "▁w", "▁wor", "▁world", "lo", "▁h", "▁▁", "▁", "h", "e", "l",
          "o", "w", "r", "d"]  # fmt: skip


def scored() -> dict[str, object]:
    """A SentencePiece vocabulary as a GGUF's pairs: earlier pieces score better."""
    types = [2, 3, 3] + [6] * 256 + [1] * (len(SCORED) - 259)
    scores = [0.0] * 259 + [-float(i) for i in range(len(SCORED) - 259)]
    return {PREFIX + "model": "llama", PREFIX + "tokens": SCORED, PREFIX + "scores": scores,
            PREFIX + "token_type": types, PREFIX + "bos_token_id": 1, PREFIX + "eos_token_id": 2,
            PREFIX + "unknown_token_id": 0}  # fmt: skip


def test_scored_pieces_merge_by_score_and_fall_back_to_bytes():
    found = converted(scored())
    hello, space_world = SCORED.index("▁hello"), SCORED.index("▁world")
    assert found.encode("hello world") == [1, hello, space_world]
    assert found.encode("é", special=False)[1:] == [3 + 0xC3, 3 + 0xA9]
    assert found.decode(found.encode("hello é world")) == "hello é world"
    assert found.settings.add_bos and found.settings.stops == (2,)


def test_scored_pieces_without_scores_merge_in_the_order_of_their_numbers():
    """Converters that know no scores write the same one for all pieces."""
    with_scores, without = (
        converted(scored()),
        converted(scored() | {PREFIX + "scores": [-1000.0] * len(SCORED)}),
    )
    for text in ["hello world", "hello  world", "world hello\nhell", "hellor", "lowerld herdll"]:
        assert without.encode(text) == with_scores.encode(text), text


def test_scored_pieces_are_those_of_llama_cpp(tmp_path):
    pytest.importorskip("llama_cpp")
    gguf = pytest.importorskip("gguf")
    pairs = scored()
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pairs[PREFIX + "tokens"])
    writer.add_token_scores(pairs[PREFIX + "scores"])
    writer.add_token_types(pairs[PREFIX + "token_type"])
    for name in ("bos", "eos"):
        getattr(writer, f"add_{name}_token_id")(pairs[f"{PREFIX}{name}_token_id"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    peer, ours = PeerTokenizer(tmp_path / "v.gguf"), converted(pairs)
    for text in ["hello world", "hello  world", " hello", "world hello\nhell", "é 中 😀", "hellor"]:
        assert ours.encode(text) == peer.encode(text), text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({PREFIX + "model": "rwkv"}, "expected a tokenizer of gpt2, bert, llama"),
        ({PREFIX + "pre": "unheard-of"}, "expected a pre-tokenizer of"),
        ({PREFIX + "merges": ["a"]}, "merge 0: expected two pieces"),
        ({PREFIX + "merges": ["qq zz"]}, "do not fit the vocabulary"),
        ({PREFIX + "merges": 7}, "expected an array of strings"),
        ({PREFIX + "token_type": [1]}, "token_type: expected 600 finite numbers"),
    ],
)
def test_damaged_vocabularies_are_refused_in_one_line(change, message):
    with pytest.raises(FormatError, match=message) as caught:
        converted(pieces(bytes_bpe()) | change)
    assert "\n" not in str(caught.value)


TOKENS = [chr(0x100 + i) for i in range(256)]
BYTES = {PREFIX + "model": "gpt2", PREFIX + "tokens": [*TOKENS, "Āā"], PREFIX + "merges": ["Ā ā"]}
PIECES = {PREFIX + "model": "llama", PREFIX + "tokens": ["a", "b", "ab"]}


@pytest.mark.parametrize(
    ("pairs", "change", "message"),
    [
        (BYTES, {"model": 5}, "model: expected a string; found 5"),
        (BYTES, {"model": ["gpt2"]}, "model: expected a string"),
        (BYTES, {"tokens": "abc"}, "tokens: expected an array of strings"),
        (BYTES, {"tokens": [*TOKENS, "Ā"]}, "tokens: expected tokens that differ"),
        (BYTES, {"tokens": np.arange(257)}, "tokens: expected an array of strings"),
        (BYTES, {"merges": "a b"}, "merges: expected an array of strings"),
        (BYTES, {"token_type": 3}, "token_type: expected 257 finite numbers"),
        (BYTES, {"token_type": "x" * 257}, "token_type: expected 257 finite numbers"),
        (BYTES, {"token_type": ["x"] * 257}, "token_type: expected 257 finite numbers"),
        (BYTES, {"token_type": [float("nan")] * 257}, "token_type: expected 257 finite numbers"),
        (BYTES, {"token_type": [[1], [1, 2]]}, "token_type: expected 257 finite numbers"),
        (BYTES, {"pre": 3}, "pre: expected a string; found 3"),
        (BYTES, {"pre": np.arange(3)}, "pre: expected a string"),
        (BYTES, {"eos_token_id": "x"}, "eos_token_id: expected the number of a token"),
        (BYTES, {"eos_token_id": np.arange(2)}, "eos_token_id: expected the number of a token"),
        (BYTES, {"eos_token_id": float("nan")}, "eos_token_id: expected the number of a token"),
        (BYTES, {"bos_token_id": True}, "bos_token_id: expected the number of a token"),
        (BYTES, {"add_bos_token": np.arange(2)}, "add_bos_token: expected true or false"),
        (PIECES, {}, "scores: expected 3 finite numbers; found None"),
        (PIECES, {"scores": 1.0}, "scores: expected 3 finite numbers"),
        (PIECES, {"scores": ["x"] * 3}, "scores: expected 3 finite numbers"),
        (PIECES, {"scores": [float("nan")] * 3}, "scores: expected 3 finite numbers"),
        (PIECES, {"scores": [0.0] * 3, "unknown_token_id": [0.0]}, "unknown_token_id: expected"),
        (PIECES, {"scores": [0.0] * 3, "add_space_prefix": 1}, "add_space_prefix: expected true"),
        (PIECES, {"tokens": ["a", "b", "a" * 100_000], "scores": [0.0] * 3}, "at most 4096"),
        (PIECES, {"tokens": [f"{i:4000}" for i in range(40)], "scores": [0.0] * 40}, "shorter"),
        (BYTES, {"../chat_template": ["a"]}, "tokenizer.chat_template: expected a text"),
        (BYTES, {"../chat_template": "x" * 70_000}, "tokenizer.chat_template: expected a text"),
    ],
)  # fmt: skip
def test_pairs_of_other_types_are_refused_by_name(pairs, change, message):
    named = {PREFIX + key: value for key, value in change.items() if key[0] != "."}
    named |= {"tokenizer." + key[3:]: value for key, value in change.items() if key[0] == "."}
    with pytest.raises(FormatError) as caught:
        from_gguf(pairs | named, 300, "some.gguf")
    found = str(caught.value)
    assert found.startswith("some.gguf: ") and message in found
    assert "\n" not in found and len(found) < 300


def ending(texts: dict[str, int], **named: int) -> list[str]:
    """Texts of the tokens that end an answer, in a vocabulary with more tokens of given types."""
    tokens = [*TOKENS, "Āā", *texts]
    pairs = BYTES | {
        PREFIX + "tokens": tokens,
        PREFIX + "token_type": [1] * 257 + [*texts.values()],
    }
    pairs |= {f"{PREFIX}{key}_token_id": number for key, number in named.items()}
    found = from_gguf(pairs, len(tokens), "some.gguf")
    assert found is not None
    assert Tokenizer(*found).decode(found[1].stops) == ""  # what ends an answer is not shown
    return [tokens[stop] for stop in found[1].stops]


def test_an_answer_ends_at_what_is_called_so_and_at_what_looks_so():
    """Of whatever type: 4 is USER_DEFINED, as converters typed all added tokens."""
    assert ending({"<|endoftext|>": 3, "<|im_end|>": 4}, eos=257) == ["<|endoftext|>", "<|im_end|>"]
    assert ending({"<end_of_turn>": 4}) == ["<end_of_turn>"]
    assert ending({"<|eot_id|>": 1, "<|eom_id|>": 3}) == ["<|eot_id|>", "<|eom_id|>"]
    assert ending({"<x>": 3, "<y>": 3, "<z>": 3}, eos=257, eot=258, eom=259) == [
        "<x>",
        "<y>",
        "<z>",
    ]
    assert ending({"</s>": 4}) == [] and ending({"</s>": 3}) == ["</s>"]  # it may be a word
    assert ending({"<x>": 3}, eos=4_294_967_295) == []
    assert ending({"<|end|>": 3, "<|return|>": 3, "<|call|>": 3}) == ["<|return|>", "<|call|>"]
    assert ending({"<|end|>": 3}) == ["<|end|>"]


def test_the_default_pre_tokenizer_cuts_in_the_order_of_llama_cpp():
    """Punctuation, then words as GPT-2 cuts them, then digits from the rest, three at a time."""
    found = converted(pieces(bytes_bpe()))
    cut = [piece for piece, _ in found.inner.pre_tokenizer.pre_tokenize_str("x  123 a+b 12345")]
    assert cut == ["x", "Ġ", "Ġ", "123", "Ġa", "+", "b", "Ġ", "123", "45"]


def test_more_tokens_than_embeddings_are_refused():
    with pytest.raises(FormatError, match="rows of the embedding"):
        from_gguf(pieces(bytes_bpe()), 10, "test.gguf")


def test_a_gguf_without_a_vocabulary_carries_none():
    assert from_gguf({}, 10, "test.gguf") is None


def test_an_encoder_puts_its_tokens_around_a_text_of_any_vocabulary():
    """RoBERTa's pieces are byte-level BPE, whose files for other models say nothing of an end."""
    named = {"bos": 0, "eos": 2, "seperator": 2}
    pairs = pieces(bytes_bpe()) | {PREFIX + "pre": "roberta-bpe", "general.architecture": "bert"}
    pairs |= {f"{PREFIX}{key}_token_id": number for key, number in named.items()}
    for added in (True, False):
        found = converted(pairs | {PREFIX + "add_bos_token": added})
        inside = Tokenizer(bytes_bpe(), Settings()).encode("hello world")
        assert found.encode("hello world") == [0, *inside, 2]


def test_a_control_token_of_wordpieces_keeps_its_name():
    tokens = ["<pad>", "[UNK]", "<s>", "</s>", "▁hello", "ing"]
    named = {"unknown": 1, "cls": 2, "seperator": 3}
    pairs = {PREFIX + "model": "bert", PREFIX + "tokens": tokens,
             PREFIX + "token_type": [3, 3, 3, 3, 1, 1]}  # fmt: skip
    found = converted(pairs | {f"{PREFIX}{key}_token_id": n for key, n in named.items()})
    assert found.encode("helloing hello <s>") == [2, 4, 5, 4, 2, 3]


@pytest.mark.parametrize("named", [{}, {"bos": 999}, {"bos": 999, "eos": 999}])
def test_scored_pieces_that_name_no_first_token_have_the_usual_one(named):
    pairs = scored()
    for key in ("bos", "eos"):
        del pairs[f"{PREFIX}{key}_token_id"]
    found = converted(pairs | {f"{PREFIX}{key}_token_id": n for key, n in named.items()})
    assert found.encode("hello")[0] == 1 and found.settings.stops == (2,)


@pytest.mark.parametrize("named", [{}, {"bos_token_id": 257}, {"bos_token_id": 4_294_967_295}])
def test_a_first_token_that_is_wanted_and_missing_is_refused(named):
    given = {PREFIX + key: value for key, value in named.items()}
    with pytest.raises(FormatError, match="bos_token_id: expected a token below 257, as add_bos"):
        from_gguf(BYTES | given | {PREFIX + "add_bos_token": True}, 300, "some.gguf")
    assert converted(BYTES | given).settings.bos is None


def unigram(**named: int) -> dict[str, object]:
    """XLM-R's kind of vocabulary as a GGUF's pairs."""
    pieces = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -2.0, "▁der": -1.0,
              "▁Hund": -1.5, "▁bell": -2.5, "t": -2.0, "e": -2.1}  # fmt: skip
    pairs = {PREFIX + "model": "t5", PREFIX + "tokens": [*pieces],
             PREFIX + "scores": [*pieces.values()],
             PREFIX + "token_type": [3, 3, 3, 2, 1, 1, 1, 1, 1, 1]}  # fmt: skip
    return pairs | {f"{PREFIX}{key}_token_id": number for key, number in named.items()}


@pytest.mark.parametrize(
    "named",
    [{"bos": 0, "eos": 2, "unknown": 3}, {"cls": 0, "seperator": 2}, {}, {"bos": 99, "eos": 99}],
)
def test_pieces_of_a_unigram_are_the_most_likely_ones(named):
    """Its first, last and unknown tokens are those of the usual names where none are named."""
    found = converted(unigram(**named))
    assert found.encode("der  Hund bellte") == [0, 5, 6, 7, 8, 9, 2]
    assert found.encode("der Ωt", special=False) == [5, 4, 3, 8]
    assert found.decode([0, 5, 6, 7, 8, 9, 2]) == "der Hund bellte"


def test_wordpieces_that_name_no_special_tokens_have_those_of_the_usual_names():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁hello", "ing"]
    pairs = {PREFIX + "model": "bert", PREFIX + "tokens": tokens}
    assert converted(pairs).encode("Helloing there") == [2, 4, 5, 1, 3]
    with pytest.raises(FormatError, match="the first and the separating token; found None"):
        from_gguf(pairs | {PREFIX + "tokens": ["[UNK]", *tokens[4:]]}, 10, "some.gguf")
