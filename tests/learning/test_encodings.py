"""Bytes to text."""

import random

import pytest

from pxvm.learning.errors import UnreadableError
from pxvm.learning.sources.encoding import decode, decoded, spoken

FRENCH = (
    "La réunion de l'école aura lieu mardi à huit heures près de la fenêtre, où Noël prit le thé."
)
SPANISH = "El niño comió piña en España. ¿Dónde está la llave del cajón pequeño?"
PORTUGUESE = "A reunião é amanhã às nove no salão de São João. Não há preço para o coração."
SWEDISH = "Nyckeln ligger på hyllan i köket och båten är från Ängelholm."
GERMAN = "Der Schlüssel liegt unter der Fußmatte. Müller fährt morgen früh nach Köln."
NAMES = "id;name;city\n1;Muñoz;Málaga\n2;Peña;A Coruña\n3;Müller;Köln\n4;Gonçalves;São Paulo\n"
QUOTED = "She said \u201cdon\u2019t\u201d \u2013 and paid £40 at 20 °C \u2026"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy. Dveře jsou zavřené a klíč leží pod rohožkou."
POLISH = "Zażółć gęślą jaźń. Klucz leży pod wycieraczką, a łódź jest już przy brzegu."
HUNGARIAN = "Árvíztűrő tükörfúrógép. A kulcs a lábtörlő alatt van, a hajó már kikötött."
RUSSIAN = "Ключ лежит под ковриком у двери. Лодка стоит у берега с прошлой недели."
GREEK = "Το κλειδί βρίσκεται κάτω από το χαλάκι. Το πλοίο φεύγει αύριο το πρωί."
TURKISH = "Anahtar paspasın altında duruyor. Gemi yarın sabah İstanbul'dan ayrılıyor, değil mi?"
HEBREW = "המפתח נמצא מתחת לשטיח ליד הדלת. הספינה יוצאת מחר בבוקר."
ARABIC = "المفتاح تحت السجادة قرب الباب. تغادر السفينة غدا صباحا من الميناء."
JAPANESE = "鍵は玄関のマットの下にあります。船は明日の朝に港を出ます。"
CHINESE = "钥匙在门口的垫子下面。船明天早上离开港口，请不要迟到。"
TAIWANESE = "鑰匙在門口的墊子下面。船明天早上離開港口，請不要遲到。"
KOREAN = "열쇠는 현관 매트 아래에 있습니다. 배는 내일 아침에 항구를 떠납니다."


SHORT = [
    "Été à Noël: le garçon a mangé des œufs, où ça? Façade naïve.",
    "Déjà vu à l'hôtel Élysée",
    "çà et là, Noël, maïs, œuf, cœur, sœur",
    "liste: pâté, crêpe, bûche, gâteau, dîner, île, où, août",
    "L'università è lì, perché no? Così è più bello, città.",
    "Blåbærsyltetøy på kjøkkenet, æ ø å",
    "Mãe, irmã, pão, limão, coração, lição, amanhã",
]
#: Short ones whose letters also fit other languages, in other encodings.
CENTRAL = [
    "Prázdný dům je u lesa.",
    "Malé kladné celé číslo",
    "Pěkné položky, příliš drahé",
    "Klíč visí vedle dveří.",
    "Zadajte platný čas.",
    "Možno zajtra, ďalší týždeň",
    "Błąd w pokoju obok",
    "Pokaż długość łodzi",
    "Erősítse meg a jelszót!",
    "Az őr a kapu előtt áll.",
    "Mehiška in španska kuhinja",
    "Još jedan čamac za Španjolsku",
]
WESTERN = [
    "Il vincolo è stato violato.",
    "La chiave non è qui",
    "Norvegese Bokmål non è in elenco, né può esserlo.",
    "adreça de correu electrònic",
    "Introduza números separados por vírgulas.",
    "L’objet « clé » a été ajouté avec succès.",
    "Þessi reitur má ekki vera tómur.",
]
BALTIC = ["Šie raktai guli po kilimėliu.", "Kuģis iziet rīt no rīta."]
KANA = [
    "パスワードがセットされました。",
    "ログインしてください",
    "ノルウェーのニーノシュク",
    "こんにちは",
    "メモ: ファイルはUSBメモリにあります。",
    "買い物リスト\n・りんご\n・たまご\n・ぎゅうにゅう\n",
]


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        *((text, ["cp1252"]) for text in (FRENCH, SPANISH, PORTUGUESE, SWEDISH, GERMAN)),
        *((text, ["cp1252"]) for text in SHORT),
        *((text, ["cp1251", "koi8-r"]) for text in ("Москва", "Не забыть: ключи от VW Golf")),
        *((text, ["cp1250", "iso8859-2"]) for text in CENTRAL),
        *((text, ["cp1252"]) for text in WESTERN),
        *((text, ["cp932", "euc_jp", "iso2022_jp"]) for text in KANA),
        *(
            (text, ["cp1257"])
            for text in ("Šie raktai guli po kilimėliu.", "Kuģis iziet rīt no rīta.")
        ),
        (NAMES, ["cp1252"]),
        (NAMES * 50, ["cp1252"]),
        (QUOTED, ["cp1252"]),
        ("No accent for a long time. " * 5_000 + SPANISH, ["cp1252"]),
        (GERMAN, ["cp850"]),
        (FRENCH, ["mac-roman"]),
        *((text, ["cp1250", "iso8859-2"]) for text in (CZECH, POLISH, HUNGARIAN)),
        (RUSSIAN, ["cp1251", "koi8-r", "iso8859-5", "cp866"]),
        (GREEK, ["cp1253", "iso8859-7"]),
        (TURKISH, ["cp1254"]),
        (HEBREW, ["cp1255"]),
        (ARABIC, ["cp1256"]),
        (JAPANESE, ["cp932", "euc_jp", "iso2022_jp"]),
        (CHINESE, ["gbk", "gb18030"]),
        (TAIWANESE, ["big5"]),
        (KOREAN, ["euc_kr"]),
        *((text, ["utf-16", "utf-16-le", "utf-16-be"]) for text in (GERMAN, RUSSIAN, "ab\n")),
        (CHINESE + "\n", ["utf-16-le", "utf-16-be"]),
        (GERMAN, ["utf-8", "utf-8-sig", "utf-32"]),
        ("Le cœur de l'école coûte 5 €.", ["cp1252", "iso8859-15", "utf-8"]),
    ],
)
def test_encodings_are_told_from_their_neighbours(text, encodings):
    for encoding in encodings:
        assert decode(text.encode(encoding)) == text, encoding


def test_a_guess_is_told_and_a_declaration_is_believed():
    found = decoded(SPANISH.encode("cp1252"))
    assert found.guessed and spoken(found.encoding) == "Windows-1252"
    for head in (
        '<?xml version="1.0" encoding="{}"?>',
        "<meta charset={}>",
        "# -*- coding: {} -*-",
    ):
        text = head.format("iso-8859-2") + "\ną"
        assert decoded(text.encode("iso8859-2")) == (text, "iso8859-2", False, 0)
    text = '<meta http-equiv="content-type" content="text/html; charset=windows-1251">да'
    assert decode(text.encode("cp1251")) == text


def test_line_ends_are_one_kind():
    assert decode(b"\xef\xbb\xbfa\r\nb\rc") == "a\nb\nc"


def test_utf8_with_damage_stays_utf8_and_the_damage_is_counted():
    content = (FRENCH * 5).encode() + b" \xff and \xe9 \xef\xbf\xbd"
    found = decoded(content)
    assert found == (FRENCH * 5 + " \ufffd and \ufffd \ufffd", "utf-8", False, 2)
    assert decoded("Straße, cut o\u2026".encode()[:-1])[1:] == ("utf-8", False, 1)


@pytest.mark.parametrize("zeros", [1, 2, 4_096, 4_095])
def test_a_log_with_zero_bytes_after_a_power_cut_is_text(zeros):
    lines = "10:00 the mast is broken\n" * 20
    found = decoded(lines.encode() + b"\0" * zeros + lines.encode())
    assert found == (f"{lines}\ufffd{lines}", "utf-8", False, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"abc\0def",
        b"\0<p>key\0in</p>",
        b"short\0text her\0s",
        b"\x89PNG\r\n\x1a\n\0\0",
        random.Random(1).randbytes(9_000),
    ],
)
def test_binary_is_refused(content):
    with pytest.raises(UnreadableError, match="binary"):
        decode(content)
