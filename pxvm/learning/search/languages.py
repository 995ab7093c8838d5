"""Time expressions of other languages in English words, which ``times`` understands.

Names of months and days are those of Unicode's CLDR, with the short forms that people write. Only
expressions are put into English, each where it stands; everything else of a text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from pxvm.learning.search.words import asked, folded, words

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
          "october", "november", "december")  # fmt: skip
SEASONS = ("spring", "summer", "autumn", "winter")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


class _Language(NamedTuple):
    """Names in the calendar's order, alternatives divided by ``|``, and whole expressions.

    ``common``: words that tell the language. ``months``: and after them the seasons.
    ``ranges``: what stands before the first time and before the second.
    ``numbers``: from one on. ``phrases``: an expression (regular, ``#`` a number, ``%`` a unit's
    name, ``@`` a month's or a season's, ``&`` a day's) and what it is in English.
    """

    common: str
    months: str
    days: str
    numbers: str
    units: dict[str, str]
    phrases: dict[str, str]
    ranges: tuple[tuple[str, str], ...]


_GERMAN = _Language(
    "der die das und ist sind wir was wann wer haben hat im am wie wo ich mit über den dem ein "
    "eine zu von für auf nicht es dies dieses denn er sie",
    "januar|jänner|jan februar|feber|feb märz|mär|mrz april|apr mai juni|jun juli|jul august|aug "
    "september|sept|sep oktober|okt november|nov dezember|dez "
    "frühling|frühjahr sommer herbst winter",
    "montag dienstag mittwoch donnerstag freitag samstag|sonnabend sonntag",
    "eine[mnr]? zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    {"tage?n?": "days", "wochen?": "weeks", "monate?n?": "months", "jahre?n?": "years"},
    {
        "vorgestern": "day before yesterday", "gestern(?: abend)?": "yesterday", "heute": "today",
        "morgen": "tomorrow", "vor # %": "# % ago", "(?:in den )?letzten # %": "last # %",
        "(?:letzte[nrsm]?|vorige[nrsm]?|vergangene[nrsm]?) %": "last %",
        "(?:diese[nrsm]?) %": "this %", "(?:nächste[nrsm]?|kommende[nrsm]?) %": "next %",
        "(?:letztes|voriges|diesen|letzten|vergangenen) wochenende": "last weekend",
        "im (?=@)": "in ", "(?:seit|ab)(?: dem)?(?= )": "since", "bis(?: zum)?(?= )": "until",
        "vor(?: dem)?(?= )": "before", "nach(?: dem)?(?= )": "after",
        "am (?=&)": "on ", "(?:letzten|vorigen|vergangenen) (?=@|&)": "last ",
    },
    (("(?:vo[nm] |ab |seit )?(?:dem )?", "bis (?:zum |in den )?"),
     ("zwischen (?:dem )?", "und (?:dem )?")),
)  # fmt: skip
_FRENCH = _Language(
    "le la les des est nous que quoi quand avons du en où je avec sur un une dans au qui avait "
    "il y a de à et entre ce c qu cela ça elle",
    "janvier|janv février|fevrier|févr mars avril|avr mai juin juillet|juil août|aout "
    "septembre|sept octobre|oct novembre|nov décembre|decembre|déc printemps été automne hiver",
    "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "une? deux trois quatre cinq six sept huit neuf dix onze douze",
    {"jours?": "days", "semaines?": "weeks", "mois": "months", "ans?|années?": "years"},
    {
        "avant-hier": "day before yesterday", "hier(?: soir)?": "yesterday", "aujourd.hui": "today",
        "demain": "tomorrow", "il y a # %": "# % ago",
        "(?:les |ces )?# (?:derniers|dernières) %": "last # %",
        "(?:la |le |l.)?% (?:dernière?|passée?)": "last %", "(?:cette|ce|cet) %": "this %",
        "(?:la |le |l.)?% prochaine?": "next %",
        "(?:le |en |au |l.)?(@|&) (?:dernier|passé)": "last \\1", "le (?=&)": "on ",
        "(?:en|au|au mois de|pendant l.) ?(?=@)": "in ", "depuis(?: le)?(?= )": "since",
        "jusqu.(?:à|au|en)": "until", "avant(?: le)?(?= )": "before", "après(?: le)?(?= )": "after",
    },
    (("(?:de |du |d.|depuis )?(?:le |l.)?", "(?:à|au|jusqu.(?:à|au|en)) (?:le |l.)?"),
     ("entre (?:le |l.)?", "et (?:le |l.)?")),
)  # fmt: skip
_SPANISH = _Language(
    "el la los las que qué cuándo hemos de en dónde yo con sobre un una del fue se hablamos es "
    "esto eso quién cómo por y o a",
    "enero|ene febrero|feb marzo|mar abril|abr mayo junio|jun julio|jul agosto|ago "
    "septiembre|setiembre|sept|sep octubre|oct noviembre|nov diciembre|dic "
    "primavera verano otoño|otono invierno",
    "lunes martes miércoles|miercoles jueves viernes sábado|sabado domingo",
    "una? dos tres cuatro cinco seis siete ocho nueve diez once doce",
    {"días?|dias?": "days", "semanas?": "weeks", "mes(?:es)?": "months", "años?": "years"},
    {
        "anteayer|antes de ayer": "day before yesterday", "ayer|anoche": "yesterday",
        "hoy": "today", "mañana": "tomorrow", "hace # %": "# % ago",
        "(?:los |las )?últim[oa]s # %": "last # %", "(?:la |el )?% pasad[oa]": "last %",
        "(?:la |el )?últim[oa] %": "last %", "est[ea] %": "this %",
        "(?:la |el )?(?:próxim[oa] %|% que viene)": "next %",
        "(?:el |la |en )?(@|&) pasad[oa]": "last \\1", "el (?=&)": "on ",
        "en (?:el |la )?(?=@)": "in ", "desde(?: el)?(?= )": "since", "hasta(?: el)?(?= )": "until",
        "antes del?(?= )": "before", "después del?(?= )": "after",
    },
    (("(?:del? |desde )?(?:el |la )?", "(?:al?|hasta) (?:el |la )?"),
     ("entre (?:el )?", "y (?:el )?")),
)  # fmt: skip
_ITALIAN = _Language(
    "il lo gli che cosa quando abbiamo di dove con su una del nel della è per sono da dal al tra "
    "cos questo chi come a e o ed",
    "gennaio|gen febbraio|feb marzo|mar aprile|apr maggio|mag giugno|giu luglio|lug agosto|ago "
    "settembre|set ottobre|ott novembre|nov dicembre|dic primavera estate autunno inverno",
    "lunedì|lunedi martedì|martedi mercoledì|mercoledi giovedì|giovedi venerdì|venerdi sabato "
    "domenica",
    "una?|uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    {"giorn[oi]": "days", "settiman[ae]": "weeks", "mes[ei]": "months", "ann[oi]": "years"},
    {
        "l.altro ieri|avantieri": "day before yesterday", "ieri": "yesterday", "oggi": "today",
        "domani": "tomorrow", "# % fa": "# % ago", "(?:gli |le )?ultim[ie] # %": "last # %",
        "(?:la |il |lo |l.)?% (?:scors[oa]|passat[oa])": "last %", "quest[oa] %": "this %",
        "(?:la |il |lo |l.)?(?:prossim[oa] %|% prossim[oa])": "next %",
        "(?:la |l.|a |in )?(@|&) (?:scors[oa]|passat[oa])": "last \\1",
        "(?:a|in|nel|nell.) ?(?=@)": "in ", "(?:dal?|dall.)(?= )": "since",
        "fino al?(?= )": "until", "prima d(?:i|el)(?= )": "before", "dopo(?: il)?(?= )": "after",
    },
    (("(?:dal? |dall.)?", "(?:al?|fino al?) |all."), ("(?:tra|fra) (?:il |l.)?", "e (?:il |l.)?")),
)  # fmt: skip
_PORTUGUESE = _Language(
    "os as que quando em onde com sobre um uma do da no na nos nas falamos não foi é para de a e "
    "o isto isso quem como",
    "janeiro|jan fevereiro|fev março|marco|mar abril|abr maio|mai junho|jun julho|jul agosto|ago "
    "setembro|set outubro|out novembro|nov dezembro|dez primavera verão|verao outono inverno",
    "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
    "uma? dois|duas três|tres quatro cinco seis sete oito nove dez onze doze",
    {"dias?": "days", "semanas?": "weeks", "mês|mes|meses": "months", "anos?": "years"},
    {
        "anteontem": "day before yesterday", "ontem": "yesterday", "hoje": "today",
        "amanhã": "tomorrow", "há # %|# % atrás": "# % ago",
        "(?:n?os |n?as )?últim[oa]s # %": "last # %", "(?:n?[ao] )?% passad[oa]": "last %",
        "(?:n?est[ea]) %": "this %", "(?:n?[ao] )?(?:próxim[oa] %|% que vem)": "next %",
        "(?:n?[ao] |em )?(@|&) passad[oa]": "last \\1", "(?:em|n[ao]) (?=@)": "in ",
        "desde(?: [ao])?(?= )": "since", "até(?: [ao])?(?= )": "until",
        "antes d[eo](?= )": "before", "depois d[eo](?= )": "after",
    },
    (("(?:d[aeo] |desde )?(?:o |a )?", "(?:à|a|ao|até) (?:o |a )?"),
     ("entre (?:o )?", "e (?:o )?")),
)  # fmt: skip
_DUTCH = _Language(
    "de het een en wat wanneer hebben we waar ik met over was is van op te zijn dat dit er "
    "wie hoe tot tussen",
    "januari|jan februari|feb maart|mrt april|apr mei juni|jun juli|jul augustus|aug "
    "september|sept|sep oktober|okt november|nov december|dec lente|voorjaar zomer herfst|najaar "
    "winter",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    "een|één twee drie vier vijf zes zeven acht negen tien elf twaalf",
    {"dag(?:en)?": "days", "we(?:ek|ken)": "weeks", "maand(?:en)?": "months",
     "ja(?:ar|ren)": "years"},
    {
        "eergisteren": "day before yesterday", "gisteren": "yesterday", "vandaag": "today",
        "morgen": "tomorrow", "# % geleden": "# % ago", "(?:de )?laatste # %": "last # %",
        "(?:vorige?|afgelopen) %": "last %", "deze %|dit %": "this %",
        "(?:volgende?|komende?) %": "next %", "in (?:de )?(?=@)": "in ", "op (?=&)": "on ",
        "(?:vorige|afgelopen) (?=@|&)": "last ", "(?:sinds|vanaf)(?= )": "since",
        "tot(?= )": "until", "voor(?= )": "before", "na(?= )": "after",
    },
    (("(?:van |vanaf |sinds )?", "(?:tot(?: en met)?|t/m) "), ("tussen ", "en ")),
)  # fmt: skip
_RUSSIAN = _Language(
    "и в на что когда мы где с о не это был была было говорили кто как такое по между",
    "январ(?:[ьяе]|[её]м) феврал(?:[ьяе]|[её]м) март(?:[ае]|ом)? апрел(?:[ьяе]|ем) ма(?:[йяе]|ем) "
    "июн(?:[ьяе]|ем) июл(?:[ьяе]|ем) август(?:[ае]|ом)? "
    "сентябр(?:[ьяе]|[её]м) октябр(?:[ьяе]|[её]м) ноябр(?:[ьяе]|[её]м) декабр(?:[ьяе]|[её]м) "
    "весн[аоуы]й? лето|летом|лета "
    "осень|осенью|осени зим[аоуы]й?",
    "понедельник вторник сред[ау] четверг пятниц[ау] суббот[ау] воскресенье",
    "од(?:ин|ну) два|две три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
    {"дн(?:я|ей|и)|день": "days", "недел(?:[юиья]|е)": "weeks", "месяц(?:а|ев|е)?": "months",
     "год(?:а|у)?|лет": "years"},
    {
        "позавчера": "day before yesterday", "вчера": "yesterday", "сегодня": "today",
        "завтра": "tomorrow", "во? (?=&)": "on ",
        "# % назад": "# % ago", "последни[ех] # %": "last # %",
        "(?:на |в )?прошл(?:ой|ом|ую|ый|ая) %": "last %", "(?:на |в )?эт(?:ой|ом|от) %": "this %",
        "(?:на |в )?следующ(?:ей|ем|ую|ий) %": "next %", "в (?=@)": "in ",
        "до(?= )": "before", "после(?= )": "after", "прошл(?:ым|ой) (?=@)": "last ",
    },
    (("(?:с |от )?", "(?:по|до) "), ("между ", "и ")),
)  # fmt: skip
_LANGUAGES = (_GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH, _RUSSIAN)
#: Words that say little in each of them, folded.
COMMON = tuple(frozenset(map(folded, language.common.split())) for language in _LANGUAGES)
#: What stands between two times of a list, in any of the languages: such words, and articles.
JOINT = (
    r"\s*(?:[,;/&、，]|[和与與及跟或]|と|や|または|과|와|하고|이나|또는)\s*(?:{0}\s+)?(?:{1}\s+|l['’])*"
    r"|\s+{0}\s+(?:{1}\s+|l['’])*"
).format(
    "(?:and|or|und|oder|sowie|et|ou|y|e|o|u|ed|en|of|и|или)",
    "(?:also|again|in|on|the|of|auch|am|im|den|dem|der|le|la|les|au|du|de|el|los|del|il|lo|nel|a|"
    "em|no|na|do|da|het|op|во?)",
)
_SAID = "the is what when where did we in of and was i you have about with from"
_ENGLISH = frozenset((*_SAID.split(), *MONTHS, *DAYS))

_EMPTY_EAST = re.compile(
    "[这這那是谁誰哪里裡怎样樣么麼什甚为為何的了吗嗎呢在有没沒这個个它他她您你我们們は何ですかなぜこれそれあれのがをどうして誰]+"
    "|(?:무엇|뭐|이것|그것|저것|누구|왜|이|가|은|는|입니까|인가요|예요|이에요)+"
)

# Chinese, Japanese and Korean say a date alike; relative words differ.
_DIGITS = dict(zip(map(ord, "〇零一二两兩三四五六七八九"), "0012223456789", strict=True))
_YEAR = r"((?:19|20)\d\d|[一二][〇零一二三四五六七八九]{3})\s*[年년]"
_NUMBER, _COUNT = (
    "(?:[0-9]{1,2}|[一二三四五六七八九十]{1,3})",
    r"(?:\d{1,3}|[一二两兩三四五六七八九十]{1,3})",
)
_TO = r"\s*(?:[到至~～〜–-]|から|부터)\s*"
#: Months that share the word for it: "3、4月".
_MORE_MONTHS = rf"(?:\s*[、，,和与與及]\s*{_NUMBER})+\s*[月월]"
_EAST: tuple[tuple[str, str], ...] = (
    (
        rf"{_YEAR}\s*({_NUMBER})\s*[月월]\s*({_NUMBER})\s*[日号號일]{_TO}({_NUMBER})\s*[日号號일]",
        r"from \1-\2-\3 to \1-\2-\4",
    ),
    (
        rf"({_NUMBER})\s*[月월]\s*({_NUMBER})\s*[日号號일]{_TO}({_NUMBER})\s*[日号號일]",
        r"from @\1 \2 to @\1 \3",
    ),
    (rf"{_YEAR}\s*({_NUMBER})\s*[月월]\s*({_NUMBER})\s*[日号號일]", r"\1-\2-\3"),
    (rf"{_YEAR}\s*({_NUMBER})(?={_MORE_MONTHS})", r"@\2 \1"),
    (rf"({_NUMBER})(?={_MORE_MONTHS})", r"in @\1"),
    (rf"{_YEAR}\s*({_NUMBER})\s*[月월]", r"@\2 \1"),
    (rf"(?:今年|올해)?\s*({_NUMBER})\s*[月월]\s*({_NUMBER})\s*[日号號일]", r"@\1 \2"),
    (rf"(?:去年|昨年|작년)\s*的?({_NUMBER})\s*[月월]", r"@\1 last year"),
    (rf"(?:今年|올해)?\s*({_NUMBER})\s*[月월](?!\d)", r"in @\1"),
    (_YEAR, r"\1"),
    ("前天|一昨日|おととい|그저께", "day before yesterday"),
    ("昨天|昨日|きのう|어제", "yesterday"),
    ("今天|今日|きょう|오늘", "today"),
    ("明天|明日|あした|내일", "tomorrow"),
    ("上(?:个|個)?(?:星期|周|週|礼拜)|先週|지난\\s*주", "last week"),
    ("这(?:个)?(?:星期|周)|這(?:個)?(?:星期|週)|本周|今週|이번\\s*주", "this week"),
    ("下(?:个|個)?(?:星期|周|週)|来週|다음\\s*주", "next week"),
    ("上(?:个|個)月|先月|지난\\s*달", "last month"),
    ("这(?:个)?月|這(?:個)?月|本月|今月|이번\\s*달", "this month"),
    ("下(?:个|個)月|来月|다음\\s*달", "next month"),
    ("去年|昨年|작년|지난\\s*해", "last year"),
    ("今年|올해", "this year"),
    ("明年|来年|내년", "next year"),
    (rf"({_COUNT})\s*(?:天|日|일)\s*(?:之?前|전)", r"\1 days ago"),
    (rf"({_COUNT})\s*(?:周|个?星期|週間?|주)\s*(?:之?前|전)", r"\1 weeks ago"),
    (rf"({_COUNT})\s*(?:个月|個月|か月|ヶ月|개월|달)\s*(?:之?前|전)", r"\1 months ago"),
    (rf"({_COUNT})\s*(?:年|년)\s*(?:之?前|전)", r"\1 years ago"),
)
#: What is written alike in several languages.
_NUMERIC = (
    (r"\b([0-3]?\d)\.\s?([01]?\d)\.\s?((?:19|20)\d\d)\b", r"\3-\2-\1"),
    (
        r"\b(?:KW|Kalenderwoche|Woche|semaine|semana|settimana|неделя) ([0-5]?\d),?"
        r"(?: (?:de|del|do|di))?[ /]((?:19|20)\d\d)\b",
        r"week \1 \2",
    ),
    (
        r"\b([1-4])(?:\.|er|e|º|ª|°|-й)? (?:Quartal|trimestre|kwartaal|квартал)"
        r"(?: (?:de|del|do|di|van))? ((?:19|20)\d\d)\b",
        r"Q\1 \2",
    ),
)


def says_nothing(text: str) -> bool:
    """Is a question made of words alone that every question has, such as "what is it?"?

    One word alone may be a word of another language: of it only English is sure.
    """
    found = words(text)
    many = len(found) > 1 and any(common.issuperset(found) for common in COMMON)
    return not asked(text) or many or all(map(_EMPTY_EAST.fullmatch, found))


class English(NamedTuple):
    """A text whose time expressions are English, and where each stretch of it stands as given."""

    given: str
    text: str
    places: tuple[tuple[int, int, int, int], ...]

    def original(self, start: int, stop: int) -> tuple[int, int]:
        """Where ``text[start:stop]`` stands in ``given``."""
        return self._place(start, False), self._place(stop, True)

    def _place(self, place: int, is_end: bool) -> int:
        moved = 0
        for start, stop, first, last in self.places:  # of the English, of the original
            if place < start or (is_end and place == start):
                break
            if place < stop or (is_end and place == stop):
                return last if is_end else first
            moved = last - stop
        return place + moved


def in_english(text: str) -> English:
    """The same text with its expressions of time in English."""
    return _translated(text, [*_compiled(_NUMERIC), *_rules_for(text)])


def _translated(text: str, rules: Iterable[Rule]) -> English:
    found: list[tuple[int, int, str]] = []
    for pattern, english in rules:
        for match in pattern.finditer(text):
            if all(match.end() <= start or stop <= match.start() for start, stop, _ in found):
                found.append((match.start(), match.end(), english(match)))
    pieces, places, last, length = [], [], 0, 0
    for start, stop, english_text in sorted(found):
        pieces += [text[last:start], english_text]
        first = length + start - last
        length = first + len(english_text)
        places.append((first, length, start, stop))
        last = stop
    return English(text, "".join([*pieces, text[last:]]), tuple(places))


def _rules_for(text: str) -> Iterator[Rule]:
    if not text.isascii() and re.search(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]", text):
        yield from _compiled(_EAST)
    words = re.findall(r"\w+", text.lower())
    scores = [sum(bool(is_known(word)) for word in words) for is_known in _known()]
    best = max(*scores, sum(word in _ENGLISH for word in words))
    for number, score in enumerate(scores):
        if score == best:  # of several that are as likely each is tried, English as it is
            yield from _of_language(number)


@cache
def _known() -> list[Callable[[str], object]]:
    """For each language, whether a word is one of the common ones or of the calendar's names."""
    return [
        re.compile("|".join("|".join(some.split()) for some in language[:3])).fullmatch
        for language in _LANGUAGES
    ]


@cache
def _compiled(rules: tuple[tuple[str, str], ...]) -> list[Rule]:
    def made(template: str) -> Callable[[re.Match[str]], str]:
        def english(match: re.Match[str]) -> str:
            plain = re.sub(r"\\(\d)", lambda m: _arabic(match[int(m[1])]), template)
            named = re.sub(r"@(\d+)", lambda m: MONTHS[(int(m[1]) - 1) % 12], plain)
            return f" {named} "  # its neighbours may be letters

        return english

    return [(re.compile(pattern), made(template)) for pattern, template in rules]


def _arabic(number: str) -> str:
    """A number in digits, which may be given in Chinese ones."""
    tens, ten, ones = number.translate(_DIGITS).partition("十")
    return str(int(tens or 1) * 10 + int(ones or 0)) if ten else tens


@cache
def _of_language(number: int) -> list[Rule]:
    """A language's rules, whole expressions first, then its names."""
    language = _LANGUAGES[number]
    units = "|".join(language.units)
    months, days = ("|".join(f"(?:{name})" for name in names.split()) for names in language[1:3])
    rules: list[Rule] = []
    for phrase, english in language.phrases.items():
        pattern = phrase.replace("#", r"(?P<n>\d{1,3}|\w+)", 1).replace("%", f"(?P<u>{units})", 1)
        pattern = pattern.replace("%", f"(?:{units})").replace("#", r"(?:\d{1,3})")
        pattern = pattern.replace("@", f"(?:{months})(?!\\w)").replace("&", f"(?:{days})(?!\\w)")
        rules.append((_whole(pattern), _phrase(language, english)))
    day = r"(?:(?P<d>[0-3]?\d)(?:\.|er|º|°|-е)?\s+(?:de |di |d.)?)?"
    year = r"(?:\s+(?:de |del |van |г\. )?(?P<y>(?:19|20)\d\d))?"
    plain = [re.sub(r"\?P<\w>", "?:", part) for part in (day, year)]
    point = (
        rf"(?:{plain[0]}(?:{months})(?!\w)\.?{plain[1]}|[0-3]?\d(?!\d)|(?:19|20)\d\d|(?:{days}))"
    )
    ranges: list[Rule] = []
    for between, (opening, to) in enumerate(language.ranges):
        pattern = rf"{opening}(?P<first>{point})\.?\s+(?:{to})(?P<last>{point})"
        ranges.append((_whole(pattern), _range(rules, bool(between))))
    for names, english_names in ((language.months, MONTHS + SEASONS), (language.days, DAYS)):
        for name, english in zip(names.split(), english_names, strict=True):
            if english not in DAYS:
                rules.append((_whole(f"{day}(?:{name})\\.?{year}"), _date(english)))
            else:
                rules.append((_whole(name), _same(english)))
    return [*ranges, *rules]


def _whole(pattern: str) -> re.Pattern[str]:
    behind = "" if "(?=" in pattern else r"(?!\w)"
    return re.compile(rf"(?<!\w)(?:{pattern}){behind}", re.IGNORECASE)


def _same(english: str) -> Callable[[re.Match[str]], str]:
    return lambda _: english


def _range(rules: list[Rule], is_between: bool) -> Callable[[re.Match[str]], str]:
    def english(match: re.Match[str]) -> str:
        first, last = (_translated(match[name], rules).text for name in ("first", "last"))
        return f"between {first} and {last}" if is_between else f"from {first} to {last}"

    return english


def _date(month: str) -> Callable[[re.Match[str]], str]:
    def english(match: re.Match[str]) -> str:
        return " ".join(part for part in (match["d"], month, match["y"]) if part)

    return english


def _phrase(language: _Language, template: str) -> Callable[[re.Match[str]], str]:
    def english(match: re.Match[str]) -> str:
        found = template
        groups = match.groupdict()
        if groups.get("n") is not None:
            number = (i for i, name in enumerate(language.numbers.split(), 1)
                      if re.fullmatch(name, groups["n"], re.IGNORECASE))  # fmt: skip
            found = found.replace("#", str(next(number, groups["n"])))
        if groups.get("u") is not None:
            unit = next(e for name, e in language.units.items()
                        if re.fullmatch(name, groups["u"], re.IGNORECASE))  # fmt: skip
            found = found.replace("%", unit if "#" in template else unit[:-1])
        if "\\1" in found:
            names = [*language.days.split(), *language.months.split()]
            named = next(e for name, e in zip(names, DAYS + MONTHS + SEASONS, strict=True)
                         if re.fullmatch(name, match[1], re.IGNORECASE))  # fmt: skip
            found = found.replace("\\1", named)
        return found

    return english
