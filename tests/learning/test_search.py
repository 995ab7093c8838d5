"""Search over small real networks: what is found, why, and that every executor agrees."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxvm.core.container import open_image
from pxvm.core.integer import multiply_scales, rescale
from pxvm.gpu import executor as gpu
from pxvm.gpu.picture import Picture
from pxvm.learning import Draft, Network
from pxvm.learning.search import ranking
from pxvm.learning.search import vectors as vectors_module
from pxvm.learning.search.embedding import Embedder, EmbeddingError, embedded_text
from pxvm.learning.search.ranking import to_unit
from pxvm.learning.search.search import _largest, search
from pxvm.learning.search.vectors import FRAC, Vectors, build_vectors, save_vectors
from tests.learning.hashed_words import HashedWords

NOW = datetime(2023, 8, 16, 15, 30, tzinfo=timezone.utc)
EMBEDDER = HashedWords(64)


def blank(record: Any) -> Any:
    return np.full((1, 128), 255, np.uint8)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Network.open(tmp_path / "k.png", draw=blank) as network:
        yield network


def told(network: Network, *drafts: Draft) -> None:
    network.append_many(EMBEDDER.with_vectors(drafts))


def ask(network: Network, text: str, **options: Any) -> list[str]:
    options = {"embedder": EMBEDDER, "device": "reference", "now": NOW} | options
    return [hit.record.answer for hit in search(network, text, **options)]


# -- the scan ------------------------------------------------------------------------------------


def random_vectors(count: int, dimension: int, seed: int = 0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    records = np.sort(random.choice(10 * count, count, replace=False)).astype(np.int64)
    scales = random.uniform(0.0005, 0.01, count)
    return records, scales, random.integers(-127, 128, (count, dimension), dtype=np.int8)


@pytest.mark.skipif(bool(gpu.available()), reason=gpu.available() or "there is one")
def test_a_gpu_finds_the_same_and_keeps_the_vectors_between_questions(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[Any] = []
    upload = Picture._upload
    monkeypatch.setattr(Picture, "_upload", lambda self: uploads.append(self) or upload(self))
    monkeypatch.setattr(vectors_module, "RUNS", 2)  # and then the program begins anew
    told(network, *(Draft(query=f"word{i} thing", answer=str(i)) for i in range(40)))

    def found(device: str) -> list[Any]:
        texts = ("word3", "thing word7", "word39 word1")
        hits = [search(network, text, embedder=EMBEDDER, device=device) for text in texts]
        return [[(hit.record.sequence, hit.score) for hit in few] for few in hits]

    assert found("gpu") == found("reference")
    assert len(uploads) == 2, "once, and once more behind the program's last run"


@pytest.mark.parametrize(("count", "dimension"), [(1, 4), (3, 30), (257, 384), (2000, 96)])
def test_reference_compiled_and_numpy_give_the_same_integers(count: int, dimension: int) -> None:
    records, scales, values = random_vectors(count, dimension)
    image = build_vectors(records, scales, values)
    query = np.random.default_rng(1).normal(size=dimension) / dimension**0.5
    answers = [Vectors(image.copy(), device).scores(query) for device in ("reference", "cpu")]
    assert (answers[0] == answers[1]).all()
    # The query's own step as Quantise finds it; then sums, scales and one rounding in NumPy.
    vectors = Vectors(image.copy(), "reference")
    vectors.scores(query)
    fixed = np.rint(query * 2**FRAC)
    step = np.abs(fixed).max() / 127
    q = np.rint(fixed / step).astype(np.int64)
    totals = values.astype(np.int64) @ q
    expected = totals * step / 2**FRAC * scales
    assert np.abs(answers[0] / 2**FRAC - expected).max() < 0.02 * np.abs(expected).max() + 1e-6
    exact = vectors.fields["scales"]
    mantissa, exponent = multiply_scales(_quantised(query)[1], (exact & 0xFFFF, exact >> 16))
    totals = values.astype(np.int64) @ _quantised(query)[0]
    assert (answers[0] == rescale(totals, mantissa, exponent + FRAC)).all()


def _quantised(query: Any) -> tuple[Any, Any]:
    from pxvm.core.integer import quantise_rows

    fixed = np.rint(query * 2**FRAC).astype(np.int64)
    values, (mantissa, exponent) = quantise_rows(fixed[None], 7, FRAC)
    return values[0], (mantissa[0], exponent[0])


def test_a_picture_of_vectors_is_read_back_and_can_be_asked_again(tmp_path: Path) -> None:
    records, scales, values = random_vectors(300, 30)
    save_vectors(build_vectors(records, scales, values), tmp_path / "v.pxi")
    before = (tmp_path / "v.pxi").read_bytes()
    vectors = Vectors.open(tmp_path / "v.pxi", "reference")
    assert (vectors.records == records).all()
    found_scales, found = vectors.rows()
    assert (found[:, :30] == values).all() and not found[:, 30:].any()
    assert np.abs(found_scales / scales - 1).max() < 2**-15
    first = [vectors.scores(values[i] * scales[i]) for i in (5, 9)]
    assert (first[0] == vectors.scores(values[5] * scales[5])).all()
    assert (first[0] != first[1]).any()
    assert (tmp_path / "v.pxi").read_bytes() == before
    assert open_image(tmp_path / "v.pxi").dtype == np.uint8


def test_it_is_asked_on_when_the_program_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "RUNS", 2)
    image = build_vectors(*random_vectors(20, 8))
    for device in ("reference", "cpu"):
        vectors = Vectors(image.copy(), device)
        queries = np.random.default_rng(2).normal(size=(7, 8))
        first = [vectors.scores(query) for query in queries]
        fresh = [Vectors(image.copy(), device).scores(query) for query in queries]
        assert (np.array(first) == np.array(fresh)).all()
        assert len({found.tobytes() for found in first}) == 7


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3000), st.integers(1, 8))
def test_largest_is_a_stable_sort(scores: list[int], count: int) -> None:
    array = np.array(scores, np.int32)
    expected = np.argsort(-array.astype(np.int64), kind="stable")[:count]
    assert _largest(array, count).tolist() == expected.tolist()


# -- what is found -------------------------------------------------------------------------------


def test_words_and_meaning_are_found_and_explained(network: Network) -> None:
    told(network, Draft("", "the ferry leaves the harbour"), Draft("", "tulips in the north bed"),
         Draft("", "registers of the compiler"))  # fmt: skip
    hit = search(network, "harbour ferries", embedder=EMBEDDER, device="reference", now=NOW)[0]
    assert hit.record.answer == "the ferry leaves the harbour"
    assert (hit.why.lexical, hit.why.lexical_rank, hit.why.dense_rank) == (1.0, 1, 1)
    assert hit.why.cosine is not None and 0 < hit.why.cosine <= 1.001
    assert "words 1.00 (number 1)" in str(hit.why) and "meaning" in str(hit.why)
    assert hit.why.dense is not None and hit.why.dense_near is not None
    fused = 0.5 * hit.why.lexical + 0.25 * (hit.why.dense + hit.why.dense_near)  # type: ignore[operator]
    assert hit.score == pytest.approx(fused + sum(hit.why.boosts.values()), abs=1e-3)


def test_without_an_embedder_words_are_searched_and_it_is_said(network: Network) -> None:
    told(network, Draft("", "the ferry leaves the harbour"))
    (hit,) = search(network, "ferry", embedder=None)
    assert hit.why.dense is None and hit.why.note == "by words only"
    network.append("", "a harbour without vectors")
    assert len(ask(network, "harbour")) == 2


def test_a_network_without_vectors_says_so(network: Network) -> None:
    network.append("", "the ferry leaves the harbour")
    (hit,) = search(network, "ferry", embedder=EMBEDDER)
    assert "no vectors" in hit.why.note
    (hit,) = search(network, "ferry")
    assert "no vectors" in hit.why.note


@pytest.mark.parametrize(
    "other", [HashedWords(64, seed=1), HashedWords(32), HashedWords(64, 0, "x")]
)
def test_vectors_of_another_model_are_refused(network: Network, other: HashedWords) -> None:
    told(network, Draft("", "the ferry leaves the harbour"))
    with pytest.raises(EmbeddingError, match="pxvm network reembed"):
        search(network, "ferry", embedder=other, device="reference")


def test_each_model_finds_its_own_vectors(network: Network) -> None:
    other = HashedWords(64, seed=1)
    network.append_many(other.with_vectors([Draft("", "ferry one")]))
    told(network, Draft("", "ferry two"))
    for embedder in (EMBEDDER, other):
        hits = search(network, "ferry", embedder=embedder, device="reference")
        with_vector = [hit.record.answer for hit in hits if hit.why.cosine is not None]
        assert with_vector == ["ferry two" if embedder is EMBEDDER else "ferry one"]


def test_filters_remove_what_boosts_only_move(network: Network) -> None:
    day = datetime(2023, 5, 8, tzinfo=timezone.utc)
    told(network,
         Draft("", "ferry a", tags=("boats",), source="docs/a.md", event_time=day),
         Draft("", "ferry b", source="docs/b.md", kind="note", event_time=day + timedelta(days=9)),
         Draft("", "ferry c", tags=("boats", "red"), source="docsx.md"))  # fmt: skip
    assert sorted(ask(network, "ferry")) == ["ferry a", "ferry b", "ferry c"]
    assert ask(network, "ferry", tags=["boats", "red"]) == ["ferry c"]
    assert sorted(ask(network, "ferry", source="docs")) == ["ferry a", "ferry b"]
    assert ask(network, "ferry", source="docs/a.md") == ["ferry a"]
    assert ask(network, "ferry", kinds=["note"]) == ["ferry b"]
    assert sorted(ask(network, "ferry", since=day + timedelta(days=1))) == ["ferry b", "ferry c"]
    assert ask(network, "ferry", until=day + timedelta(days=1)) == ["ferry a"]
    assert ask(network, "ferry", tags=["none"]) == []


def test_forgotten_and_corrected_records_are_not_found_and_later_tags_are(network: Network) -> None:
    told(network, Draft("", "the ferry costs 3"), Draft("", "the ferry costs 4"))
    first, second = [record.id for record in network.records()]
    network.forget(first)
    network.correct(second, answer="the ferry costs 5")
    assert ask(network, "what does the ferry cost") == ["the ferry costs 5"]
    network.tag(network.search("ferry", embedder=None)[0].record.id, ["fares"])
    (hit,) = search(network, "fares", embedder=None)
    assert hit.record.tags == ("fares",)
    assert hit.why.boosts["named fares"] > 0


def test_neighbours_lend_their_words_and_their_meaning(network: Network) -> None:
    told(network,
         Draft("", "Ann: which pet did you adopt?", source="s1"),
         Draft("", "Bob: a tortoise", source="s1"),
         Draft("", "Ann: lovely weather", source="s2"),
         Draft("", "Bob: a parrot", source="s3"))  # fmt: skip
    found = ask(network, "what pet was adopted")
    assert found[:2] == ["Ann: which pet did you adopt?", "Bob: a tortoise"]
    assert ask(network, "what pet was adopted", embedder=None) == found[:2]


def test_a_time_that_is_named_moves_its_records_up(network: Network) -> None:
    for day in (3, 9, 15):
        moment = datetime(2023, 8, day, tzinfo=timezone.utc)
        told(network, Draft("", f"walked by the harbour, day {day}", event_time=moment))
    assert ask(network, "the harbour walk last week")[0].endswith("day 9")
    assert ask(network, "the harbour walk yesterday")[0].endswith("day 15")
    assert len(ask(network, "the harbour walk last week")) == 3
    hits = search(network, "walk last week", embedder=None, now=NOW)
    assert hits[0].why.boosts["time 'last week'"] > 0


def test_the_newest_is_first_where_the_present_is_asked(network: Network) -> None:
    for year, city in ((2021, "Oslo"), (2023, "Rome"), (2022, "Bern")):
        moment = datetime(year, 1, 1, tzinfo=timezone.utc)
        told(network, Draft("", f"my home is in {city}", event_time=moment))
    assert ask(network, "where is home now")[0] == "my home is in Rome"


def test_speakers_and_tags_that_are_named_come_first(network: Network) -> None:
    told(network, Draft("", "Ann: the ferry was late"), Draft("", "Bob: the ferry was late "))
    assert ask(network, "what did Bob say of the ferry")[0].startswith("Bob")
    assert ask(network, "what did Ann say of the ferry")[0].startswith("Ann")


def test_questions_for_several_things_look_into_several_conversations(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, more in (("s1", ""), ("s2", " as I remember it from that rainy week of May")):
        for turn in range(4):
            network.append("", f"the ferry trip, part {turn}{more}", source=source)

    def sources(text: str) -> list[str]:
        return [hit.record.source for hit in search(network, text, k=4, embedder=None)]

    assert sources("the ferry trip") == sources("what are the ferry trips") == ["s1"] * 4
    monkeypatch.setattr(ranking, "REPEATED", 0.5)
    assert sources("the ferry trip") == ["s1"] * 4
    assert sources("what are the ferry trips") == ["s1", "s2", "s1", "s2"]


@pytest.mark.parametrize(
    ("text", "is_found"),
    [("", False), (" ", False), ("ferry*", True), ("the", False), ('"ferry', True), ("-ferry", 1),
     ("source:ferry", True), ('NEAR("a" AND', False), ("?!", False), ('"', False), ("a:b", False),
     ("-x", False), ("東京", False), ("\0", False), ("x" * 9999, False)],
)  # fmt: skip
def test_any_question_is_answered(network: Network, text: str, is_found: bool) -> None:
    """Signs of the index's own language are signs, and what is of nothing known finds nothing."""
    told(network, Draft("", "the ferry leaves the harbour"))
    found = ["the ferry leaves the harbour"]
    assert ask(network, text, embedder=None) == found * is_found
    assert ask(network, text) == found * is_found


def test_an_empty_network_and_no_hits_wanted(network: Network) -> None:
    assert ask(network, "ferry") == []
    told(network, Draft("", "the ferry leaves the harbour"))
    assert ask(network, "ferry", k=0) == []


def test_devices_agree_to_the_last_digit(network: Network) -> None:
    told(network, *(Draft("", f"ferry number {i} to the harbour", source=f"s{i % 3}")
                    for i in range(30)))  # fmt: skip
    found = [
        [(hit.record.sequence, hit.score) for hit in
         search(network, "which ferry", embedder=EMBEDDER, device=device, now=NOW)]
        for device in ("reference", "cpu", "reference")
    ]  # fmt: skip
    assert found[0] == found[1] == found[2]


# -- the fusion ----------------------------------------------------------------------------------

scores = st.lists(st.floats(-5, 5), min_size=1, max_size=20)


@given(scores, st.floats(-1, 1))
def test_normalising_keeps_the_order_and_the_range(values: list[float], zero: float) -> None:
    array = np.array(values)
    unit = to_unit(array, zero)
    assert (unit >= 0).all() and (array.max() <= zero + 1e-6 or unit.max() == pytest.approx(1))
    order = np.argsort(array)
    assert (np.diff(unit[order]) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["ferry", "harbour", "tulip", "late"]), min_size=1, max_size=4))
def test_more_of_the_question_never_ranks_lower(words: list[str]) -> None:
    """Among records of equal length, one with all of the words is not behind one with fewer."""
    import tempfile

    with (
        tempfile.TemporaryDirectory() as folder,
        Network.open(Path(folder) / "k.png", draw=blank) as network,
    ):
        asked = list(dict.fromkeys(words))
        filler = ["alpha", "beta", "gamma", "delta"]
        for have in range(len(asked) + 1):
            told(network, Draft("", " ".join(asked[:have] + filler[have:4])))
        for _ in range(8):
            told(network, Draft("", f"other things {_} entirely"))
        found = ask(network, " ".join(asked), k=20)
        counts = [len(set(asked) & set(answer.split())) for answer in found]
        assert counts[0] == len(asked)
        assert found == ask(network, " ".join(asked), k=20)


# -- the embedder --------------------------------------------------------------------------------


def test_text_that_is_embedded() -> None:
    assert embedded_text(Draft("Where?", " there ", tags=("b", "a"))) == "a, b: Where?\nthere"
    assert embedded_text(Draft("", "", tags=("a",))) == ""


def test_long_texts_are_embedded_in_parts() -> None:
    parts: list[str] = []

    class Watched(HashedWords):
        def _embed(self, texts):  # type: ignore[no-untyped-def]
            parts.extend(texts)
            return super()._embed(texts)

    words = [f"w{i}" for i in range(400)]
    (vector,) = Watched(32).real([" ".join(words)])
    assert [len(part.split()) for part in parts] == [134, 134, 132]
    assert " ".join(parts).split() == words
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_vectors_are_made_once_and_only_for_text() -> None:
    drafts = [Draft("", "ferry"), Draft("", "")]
    first = EMBEDDER.with_vectors(drafts)
    assert [len(draft.vectors) for draft in first] == [1, 0]
    assert EMBEDDER.with_vectors(first) == first
    (vector,) = first[0].vectors
    assert (vector.model, vector.probe) == ("hashed", EMBEDDER.probe)
    assert np.abs(vector.values).max() == 127
    assert EMBEDDER.probe != HashedWords(64, seed=1).probe


def test_the_present_model_understands_other_words(network: Network) -> None:
    embedder = Embedder.present()
    if embedder is None:
        pytest.skip("no embedder on this machine")
    told_by = embedder.with_vectors(
        [Draft("", "Our cat had five kittens."), Draft("", "The interest rate was raised."),
         Draft("", "A new bridge over the river.")]
    )  # fmt: skip
    network.append_many(told_by)
    hits = search(network, "baby animals", k=1)
    assert hits[0].record.answer == "Our cat had five kittens."
    assert hits[0].why.lexical is None


def test_shares_sum_up(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only words, or only meaning, decide when their share is all."""
    told(network, Draft("", "ferry ferry ferry"), Draft("", "ferry tulip"))
    monkeypatch.setattr(ranking, "LEXICAL_SHARE", 1.0)
    hits = search(network, "tulip", embedder=EMBEDDER, device="reference")
    assert hits[0].score == pytest.approx(1.0 + sum(hits[0].why.boosts.values()))


def test_without_the_extra_of_models_the_search_goes_by_words(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "tokenizers" else found(n)
    )
    assert Embedder.present() is None
    network.append("", "A spare key hangs behind the clock.")
    (hit,) = search(network, "where is the key", 1)
    assert hit.why.lexical is not None and "by words only" in hit.why.note
