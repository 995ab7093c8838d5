"""Every family as a tiny random model: against transformers' logits, and on every executor."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from pxvm import Model
from pxvm.core import executors
from pxvm.core.errors import FormatError
from pxvm.core.program import load_program
from pxvm.core.verifier import verify
from pxvm.models.families.batched import batched
from pxvm.models.families.checkpoint import open_checkpoint
from pxvm.models.families.family import half_rotated
from pxvm.models.families.keys import settle
from pxvm.models.families.llama import set_tokens, tokens
from pxvm.models.families.table import FAMILIES, GGUF, HF
from pxvm.models.graph.fields import Fields
from pxvm.models.importing.importer import import_model
from pxvm.models.text.template import render
from tests.models.family_files import (
    ARCHITECTURES,
    CONFIGS,
    TOKENS,
    config_of,
    write_folder,
    write_gguf,
)
from tests.models.model_files import TINY_BERT, bert_weights, hf_bert
from tests.models.plain_models import bert_vectors
from tests.models.tiny_models import compiled, corpus

WANTED = np.load(Path(__file__).with_name("families.npz"))
# Of caches and queries of seven bits and activations of fourteen; a table of the wrong layer, a
# window too many or a norm too few is ten times as far.
NEAR = 0.012


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def imported(source, target):
    import_model(source, target)
    return target


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {name: imported(write_folder(folder / name, name), folder / f"{name}.pxi")
            for name in CONFIGS}  # fmt: skip


@pytest.mark.parametrize("family", CONFIGS)
def test_logits_are_those_of_transformers(pictures, family):
    found = Model.open(pictures[family], compiled()).logits(TOKENS)
    wanted = WANTED[family].astype(np.float64)
    assert relative(found, wanted) < NEAR
    assert (found.argmax(1) == wanted.argmax(1)).mean() >= 0.9


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_gguf_is_the_same_model(tmp_path, family):
    path = imported(write_gguf(tmp_path / "a.gguf", family), tmp_path / "a.pxi")
    found = Model.open(path, compiled()).logits(TOKENS)
    assert relative(found, WANTED[family].astype(np.float64)) < NEAR


@pytest.mark.parametrize("family", CONFIGS)
def test_one_picture_has_one_answer(pictures, family):
    """The whole image after a prompt and tokens, window and slow pairs included."""
    digests = []
    for device in ("reference", compiled()):
        with Model.open(pictures[family], device, threads=2) as model:
            g = model.generator
            set_tokens(model.fields, TOKENS[:12])
            for _ in range(21):
                g.session.run(None)
            assert len(tokens(model.fields)) == 21
            digests.append(hashlib.sha256(np.ascontiguousarray(model.image)).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("family", ["gemma3", "qwen2"])
def test_rows_of_slots_are_those_of_one_alone(pictures, family):
    """Norms of heads, windows, shifted keys and the choice of a table, of the layer and slot."""
    with Model.open(pictures[family], "reference", context=32) as model:
        alone = model.logits(TOKENS[:3])
        image = batched(model.image, load_program(model.image), 2, 32)
        fields = Fields(image, verify(image))
        session = executors.executor("reference", 1).session(image, fields.network, 1)
        fields["active"], fields["count"] = [[1], [1]], 2
        for position, row in enumerate(alone):
            fields["ids"] = [[TOKENS[7 + position]], [TOKENS[position]]]
            fields["positions"] = [[position], [position]]
            session.run(None)
            assert np.array_equal(fields.real("logits")[1].astype(np.float32), row)


def test_a_row_in_the_table_for_each_name():
    assert set(GGUF) == {"llama", "qwen2", "qwen3", "gemma3", "phi3", "smollm3", "bert"}
    assert {"mistral", "gemma3_text", "xlm-roberta"} < set(HF)
    assert len({id(family) for family in FAMILIES}) == len(FAMILIES)


def test_what_families_differ_in(tmp_path):
    found = {name: open_checkpoint(write_folder(tmp_path / name, name)) for name in CONFIGS}
    gemma = found["gemma3"].config
    assert gemma.sliding == {0, 1, 2, 3, 4, 6} and gemma.window == 9 and gemma.scale == 0.25
    assert gemma.embedding_scale == 8 and gemma.local_frequencies is not None
    assert found["smollm3"].config.unrotated == {3}
    assert found["phi3"].config.sliding == {0, 1, 2, 3}
    phi = found["phi4"]
    assert phi.config.context == 64 and "beyond 64 tokens" in phi.notes[0]
    assert phi.config.amplitude == pytest.approx(np.sqrt(1 + np.log(2) / np.log(64)))
    assert (phi.config.frequencies[6:] == 0).all() and (phi.config.frequencies[:6] > 0).all()


def test_rows_of_heads_that_turn_in_part():
    """Columns i and i + 8 turn together, of which 0 to 11 did in halves of six."""
    order = half_rotated(1, 16, 12)
    assert sorted(order) == list(range(16))
    assert [(order[i], order[i + 8]) for i in range(6)] == [(i, i + 6) for i in range(6)]
    assert (half_rotated(2, 16, 12)[16:] == order + 16).all()


def test_fused_weights_of_another_size_are_refused(tmp_path):
    folder = write_folder(tmp_path / "a", "phi3")
    for key, wanted in (("intermediate_size", 92), ("num_key_value_heads", 4)):
        config = config_of("phi3") | {key: wanted}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(FormatError, match=r"tensor model\.layers\.0.*expected"):
            open_checkpoint(folder)


@pytest.mark.parametrize(
    "family,said",
    [
        ("llama", {"final_logit_softcapping": 30.0}),
        ("llama", {"num_local_experts": 8}),
        ("llama", {"residual_multiplier": 0.22}),
        ("llama", {"attention_multiplier": 0.0156}),
        ("qwen2", {"attn_logit_softcapping": 50.0}),
        ("mistral", {"clip_qkv": 8.0}),
        ("llama", {"vocab_size": 50}),
        ("qwen3", {"vocab_size": 200}),
        ("gemma3", {"layer_types": ["full_attention"]}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}),
    ],
)
def test_what_would_change_answers_is_refused_with_its_name(tmp_path, family, said):
    folder = write_folder(tmp_path / "a", family)
    (folder / "config.json").write_text(json.dumps(config_of(family) | said))
    with pytest.raises(FormatError, match=f"{next(iter(said))}: .*expected .*; found "):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "said", [{"residual_multiplier": 1.0}, {"num_experts": 0}, {"clip_qkv": None}]
)
def test_what_is_off_is_read(tmp_path, said):
    folder = write_folder(tmp_path / "a", "llama")
    (folder / "config.json").write_text(json.dumps(config_of("llama") | said))
    assert open_checkpoint(folder).config.layers == 4


def test_an_xlm_r_embeds_as_the_float_model_does(tmp_path):
    """Its pieces are a Unigram's, as multilingual E5 and BGE-M3 have them, its names unprefixed."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [("▁der", -1.0), ("▁Hund", -1.5), ("▁bell", -2.5), ("t", -2.0), ("e", -2.1)]
    inner = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 3, False))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    inner.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    folder = hf_bert(tmp_path / "m", model_type="xlm-roberta", pad_token_id=1)
    inner.save(str(folder / "tokenizer.json"))
    import_model(folder, tmp_path / "m.pxi")
    model, weights = Model.open(tmp_path / "m.pxi", device="reference"), bert_weights(TINY_BERT)
    assert model.tokenizer.encode("der Hund bellte") == [0, 5, 6, 7, 8, 9, 2]
    real = {name: w.astype(np.float64) for name, w in weights.items()}
    real["positions"] = real["positions"][2:]
    wanted = bert_vectors(TINY_BERT, real, [[0, 5, 6, 7, 8, 9, 2], [0, 6, 2]])
    found = model.embed(["der Hund bellte", "Hund"])
    assert (np.sum(found * wanted, axis=1) > 0.999).all()
    assert (np.sum(found[::-1] * wanted, axis=1) < 0.99).all()


def test_a_roberta_embeds_as_the_float_model_does(tmp_path):
    """Its pieces are bytes; positions begin behind the padding."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    inner.train_from_iterator([corpus()], trainer)
    inner.post_processor = tokenizers.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    config = replace(TINY_BERT, vocab=400)
    folder = hf_bert(tmp_path / "m", config, model_type="roberta", pad_token_id=1)
    inner.save(str(folder / "tokenizer.json"))
    import_model(folder, tmp_path / "m.pxi")
    real = {name: w.astype(np.float64) for name, w in bert_weights(config).items()}
    real["positions"] = real["positions"][2:]
    texts = [corpus()[:30], "Grüße", "x"]
    wanted = bert_vectors(config, real, [inner.encode(text).ids for text in texts])
    found = Model.open(tmp_path / "m.pxi", device="reference").embed(texts)
    assert (np.sum(found * wanted, axis=1) > 0.999).all()


def test_gemma_has_a_template_where_its_file_has_none():
    source = next(family.template for family in FAMILIES if "gemma3" in family.gguf)
    said = [("system", "Be brief."), ("user", " Hello "), ("assistant", "Hi"), ("user", "Why?")]
    text = render(source, [{"role": r, "content": c} for r, c in said], bos_token="<bos>")
    assert text == (
        "<bos><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\nHi"
        "<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_roberta_positions_begin_behind_the_padding(tmp_path):
    folder = hf_bert(tmp_path, prefix="roberta.", model_type="xlm-roberta", pad_token_id=1)
    found = open_checkpoint(folder)
    whole = bert_weights(TINY_BERT)["positions"]
    assert found.config.positions == len(whole) - 2
    assert np.array_equal(found.weights["positions"], whole[2:])


def test_keys_with_large_biases_are_told_apart(tmp_path):
    """A constant is taken from them and columns are shared; without that half is lost."""
    checkpoint = open_checkpoint(write_folder(tmp_path / "qwen2", "qwen2"))
    config, weights = settle(checkpoint.config, checkpoint.weights)
    assert config.key_shift and set(weights) - set(checkpoint.weights) == {
        f"{i}.k_shift" for i in range(config.layers)
    }
    again, same = settle(open_checkpoint(write_folder(tmp_path / "llama", "llama")).config, {})
    assert not again.key_shift and same == {}
    k, q = (np.asarray(weights[f"0.{name}"], np.float64) for name in "kq")
    old_k, old_q = (np.asarray(checkpoint.weights[f"0.{name}"], np.float64) for name in "kq")
    heads = np.repeat(k.reshape(2, 16, -1), 2, axis=0) * q.reshape(4, 16, -1)
    assert heads == pytest.approx(
        np.repeat(old_k.reshape(2, 16, -1), 2, axis=0) * old_q.reshape(4, 16, -1), rel=1e-5
    )
