"""Words of any language: written in different ways they are one, and they are found."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxvm.learning import Draft, Network
from pxvm.learning.search.words import (
    asked,
    ends,
    folded,
    indexed,
    looks_like_name,
    names_in,
    terms,
    without_article,
    words,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "Cafe\u0301"),  # composed, decomposed
        ("CAFÉ", "cafe"),
        ("ﬁnance", "finance"),  # a ligature out of a PDF
        ("Straße", "STRASSE"),
        ("１２３ ＡＢＣ", "123 abc"),
        ("ｶﾞ", "ガ"),
        ("Łódź", "lodz"),
        ("İstanbul", "istanbul"),
        ("العَرَبِيَّة", "العربيه"),
        ("שָׁלוֹם", "שלום"),
        ("co\u00adop\u200berate", "cooperate"),  # soft hyphen, zero-width space
        ("отчёт", "отчет"),
    ],
)
def test_ways_of_writing_a_word_are_one(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("мои", "мой"), ("が", "か"), ("कि", "की"), ("ą", "b")])
def test_marks_that_are_letters_stay(one, other):
    assert folded(one) != folded(other)


@given(st.text(max_size=40))
def test_folding_is_settled_and_ignores_composition(text):
    assert folded(folded(text)) == folded(text)
    assert folded(unicodedata.normalize("NFD", text)) == folded(unicodedata.normalize("NFC", text))


@given(st.text(max_size=40))
def test_each_term_of_a_word_stands_in_the_index(text):
    in_index = folded(indexed(text)).split()
    for word in words(text):
        for term in terms(word):
            if term.endswith("*"):
                assert any(token.startswith(term[:-1]) for token in in_index)
            else:
                assert any(term in token for token in in_index)


def test_data_without_spaces_is_no_word_with_ends(network):
    data = "0123456789abcdef" * 2_000
    assert ends(f"{data} boathouses ü{data}") == ends("boathouses")
    network.append("", f"key {data}")
    assert [hit.record.answer for hit in network.search(data, embedder=None)] == [f"key {data}"]
    assert network.search(data[1:], embedder=None) == []


def test_ends_of_long_words():
    assert ends("Fahrradschlüssel").split()[-1] == "ussel"
    assert "schlussel" in ends("Fahrradschlüssel").split() and ends("Schlüssel") == ""


@pytest.mark.parametrize(
    ("word", "bare"),
    [("المفتاح", "مفتاح"), ("والمفتاح", "مفتاح"), ("للمفتاح", "مفتاح"), ("המפתח", "מפתח"),
     ("key", ""), ("ال", "")],
)  # fmt: skip
def test_articles_that_are_written_on_the_word(word, bare):
    assert without_article(word) == bare


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("who works for us", ["works"]),
        ("Who does IT at the US office", ["it", "us", "office"]),
        ("when does Will arrive", ["will", "arrive"]),
        ("what is it", []),
        ("WHERE IS IT KEPT", ["kept"]),
    ],
)
def test_stop_words_unless_they_are_names(question, told):
    assert asked(question) == told


@pytest.mark.parametrize("name", ["Anna", "Anna Maria Lee", "User", "小明", "O'Neil"])
def test_speakers(name):
    assert looks_like_name(name)


@pytest.mark.parametrize("label", ["the", "Note", "Note to the reader", "see also", "I", "TODO"])
def test_no_speakers(label):
    assert not looks_like_name(label)


FACTS = {
    "Der Fahrradschlüssel hängt am Haken.": "wo ist der Schlüssel",
    "Im Garten stehen zwei alte Häuser.": "altes Haus im Garten",
    "Die Kasten für Schlüssel sind grün.": "Schlüsselkasten",
    "Le cheval dort près des fenêtres.": "où sont les chevaux",
    "奶奶去年买的雨伞现在放在书房的抽屉里。": "雨伞放在哪里？",
    "猫は台所の椅子の下で寝ています。": "猫はどこ",
    "กุญแจรถอยู่ในลิ้นชักห้องครัว": "กุญแจอยู่ที่ไหน",
    "किताब अलमारी की तीसरी शेल्फ पर है।": "किताबें कहाँ हैं",
    "المفتاح تحت السجادة في المدخل.": "أين مفتاح البيت",
    "열쇠는 현관 매트 아래에 있습니다.": "열쇠가 어디 있나요",
    "Ключи лежат в верхнем ящике стола.": "где мой ключ",
}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with Network.open(tmp_path_factory.mktemp("words") / "k.png") as network:
        network.append_many([Draft("", fact) for fact in FACTS])
        network.append_many([Draft("", f"Nothing of note happened on day {n}.") for n in range(9)])
        yield network


@pytest.mark.parametrize("fact", FACTS)
def test_facts_are_found_by_their_words_in_every_language(network, fact):
    hits = network.search(FACTS[fact], k=2, embedder=None)
    assert fact in [hit.record.answer for hit in hits]


def test_one_character_is_found(network):
    assert network.search("猫", k=1, embedder=None)[0].record.answer.startswith("猫")
    assert "雨伞" in network.search("伞", k=1, embedder=None)[0].record.answer


def test_nothing_is_found_of_words_that_nobody_said(network):
    assert network.search("flurbog wibblequax", embedder=None) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The market of Ira Jenson is held on Friday.", [("ira", "jenson"), ("friday",)]),
        (
            "Anna's cat met Anne-Marie Lund. Then Bo",
            [("anna",), ("anne", "marie", "lund"), ("bo",)],
        ),
        ("My New York, New\nJersey", [("new", "york"), ("new",), ("jersey",)]),
        ("Élan Ωmega in Malmö", [("elan", "ωmega"), ("malmo",)]),
        ("nobody 4711 日本", []),
    ],
)
def test_names_are_words_with_capitals_that_stand_together(text, names):
    assert list(names_in(text)) == names


@given(
    st.lists(st.sampled_from(["The", "Anna", "lund", "of", "O", "_x", "9", " ", "-", "\n", ". "]))
)
def test_names_are_the_same_where_all_is_ascii(parts):
    text = "".join(parts)
    assert list(names_in(text)) == list(names_in(f"{text} é"))
