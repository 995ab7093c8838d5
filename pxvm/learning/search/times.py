"""Time expressions in a question: which stretch of time "last week" or "in March 2023" means.

The search uses them to prefer records of that time, never to hide others, so an expression that is
read wrongly costs little. Other languages are put into English words first (``languages``);
calendar days are those of the reference time's zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pxvm.learning.search.expressions import (
    DAY,
    POINTS,
    RULES,
    YEARLY,
    Meaning,
    Span,
    bare,
    day_of,
    point,
)
from pxvm.learning.search.languages import COMMON, DAYS, English, in_english
from pxvm.learning.search.lists import lists
from pxvm.learning.search.words import STOP_WORDS, folded, words

#: Words of a question that ask for whatever there is.
_GENERAL = """
about all anything chat chats conversation conversations day days did discuss discussed discussing
during else ever everything find get give happen happened happening happens learn learned list made
make mention mentioned note noted notes on record recorded remember said say see show speak spoke
dia dias or start talk talked talking tell thing things think time told topic topics up us week
went work worked write written wrote month year since until till before after early late mid
beginning end war waren gewesen los geschah anfang mitte ende seit bis vor nach
besprochen gesagt passiert geredet gesprochen notiert gemacht geschrieben alles etwas gab getan
zeige qu était depuis début fin mi
parle parlé dit passé fait discuté noté tout quelle quelles quels avait-on ce s est
hubo era desde principios mediados finales
hablamos hablado dijo dijimos pasó pasado hicimos todo cuál sido hecho anotado
parlato detto successo fatto tutto scritto discusso falamos dissemos aconteceu feito tudo
gesproken gezegd gebeurd gedaan alles geschreven говорили обсуждали сказали произошло делали все
oder sowie ou ed или
down new habe hatte hatten aufgeschrieben geschehen ereignet sich worüber gibt vom aus zeig mir
stand arrivé arriva moi montre montrez noté écrit ocurrió ocurrido sucedió sucedido muéstrame
dime accaduto accadde mostrami scritto ocorreu ocorrido fizemos mostre escrito anotei
gebeurde gebeurt gehad hadden waren besproken opgeschreven toon
года году год чём случилось происходило было были записано записали расскажи покажи
"""
GENERAL = STOP_WORDS.union(*COMMON, map(folded, _GENERAL.split()))
_GENERAL_EAST = re.compile(
    "[我们們你您他她的了吗嗎呢过過什么麼甚谈談讨討论論"
    "说說聊做有哪些事情发發生过在里裡都是记記得録录何をがはにのでした話しましたかたことあったてい"
    "起きまるこ見せ教え書写啥告诉訴"
    "무슨일있었어떤는은의를가기록보여줘주세알려말습니까했던"
    "우리무엇을뭐했나요이야기从從自到至之间間期まで까지부터사이에서和与與及跟或や또는]+"
)


#: A time of day beside a date, which says no more of what is asked for.
_OF_DAY = re.compile(
    r"\b(?:at|around|about|um|gegen|à|vers|a las|alle|às|om|в) \d{1,2}(?:[:.h]\d\d)?"
    r"(?: ?(?:am|pm|o'clock|uhr|h|heures?|horas?|uur|часов|часа))?\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Interval:
    """From ``start`` up to but not including ``end``, both aware; ``text`` is what named it: of a
    time in a list, the list."""

    start: datetime
    end: datetime
    text: str

    def contains(self, moment: datetime) -> bool:
        """Whether a moment lies inside."""
        return self.start <= moment < self.end


def find_times(text: str, now: datetime) -> list[Interval]:
    """The stretches of time that ``text`` names, in the order of the text.

    ``now`` is the aware time that "yesterday" counts from. "since", "after", "before" and "until"
    open an interval on one side. Of an impossible date, such as 31 February 2023, the
    month is left.
    """
    english, translated = _find(English(text, text, ()), now), _find(in_english(text), now)
    return translated if _covered(translated) > _covered(english) else english


def _covered(found: Sequence[Interval]) -> int:
    """How many characters name times."""
    return sum(map(len, {interval.text for interval in found}))


def _find(english: English, now: datetime) -> list[Interval]:
    text = english.text
    found = _expressions(text, now)
    for start, end, spans in lists(text, now):
        inside = [one for one in found if one.start < end and start < one.end]
        # Names may be months, so one of them must be a time by itself; and none a part of more.
        if inside and all(one.is_alone and one.end <= end for one in inside):
            start = min(start, inside[0].start)
            found = [one for one in found if one not in inside]
            found.append(_Expression(start, end, spans, False))
    return [
        Interval(span.start, span.end, english.given[slice(*english.original(*one[:2]))].strip())
        for one in sorted(found)
        for span in one.spans
    ]


class _Expression(NamedTuple):
    """Where a text names times, and which; ``is_alone`` where it could be one of a list."""

    start: int
    end: int
    spans: list[Span]
    is_alone: bool


def _expressions(text: str, now: datetime) -> list[_Expression]:
    """What the rules find, in the order of the text."""
    found: list[_Expression] = []
    taken: list[tuple[int, int]] = []
    for pattern, meaning in (*_RANGES, *RULES):
        for match in pattern.finditer(text):
            if any(match.start() < stop and start < match.end() for start, stop in taken):
                continue
            try:
                span = meaning(match, now)
            except (ValueError, OverflowError):
                continue
            taken.append(match.span())
            start = match.start()
            if meaning is not _range:
                start, span = _open_side(text, start, span)
            is_alone = meaning is not _range and start == match.start()
            found.append(_Expression(start, match.end(), [span], is_alone))
    return sorted(found)


def whole_time(text: str, now: datetime) -> Interval | None:
    """The stretch of time that ``text`` is: a date, a month, a year, a time of day or words such as
    "last week"; None where any of it is not understood.

    ISO 8601 dates and times, of which one with a time of day is a moment: it ends where it starts.
    """
    text = " ".join(text.split())
    try:
        if not re.match(r"\d{4}-\d\d-\d\d", text):
            raise ValueError("a week, or a date without hyphens")
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        found = find_times(text, now)
        return found[0] if len(found) == 1 and found[0].text == text else None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    if len(text) > len("2026-03-31"):
        return Interval(moment, moment, text)
    try:
        return Interval(moment, day_of(moment).end, text)
    except OverflowError:  # the last day there is
        return Interval(moment, datetime.max.replace(tzinfo=moment.tzinfo), text)


def names_only_times(text: str, times: Sequence[Interval]) -> bool:
    """Does a question ask for what was at some time, whatever it was?"""
    for interval in times:
        text = text.replace(interval.text, " ")
    text = _OF_DAY.sub(" ", text)
    return bool(times) and all(
        word in GENERAL or not _GENERAL_EAST.sub("", word) for word in words(text)
    )


def _open_side(text: str, start: int, span: Span) -> tuple[int, Span]:
    """Take a "since" or "before" in front of an expression into account."""
    match = re.search(r"\b(since|after|before|until|till)\s+$", text[:start], re.IGNORECASE)
    if match is None:
        return start, span
    zone, word = span.start.tzinfo, match[1].lower()
    if word in ("since", "after"):
        begin = span.start if word == "since" else span.end
        return match.start(), Span(begin, datetime.max.replace(tzinfo=zone))
    stop = span.start if word == "before" else span.end
    return match.start(), Span(datetime.min.replace(tzinfo=zone), stop)


def _range(match: re.Match[str], now: datetime) -> Span:
    """From the beginning of one time to the end of another, which lend each other their years.

    Raises ValueError where it would end before it begins, and where it may be no time.
    """
    given = {name: " ".join(match[name].split()) for name in ("first", "last")}
    first, last = given["first"], given["last"]
    is_verb = re.fullmatch("may|mar(ch)?", first, re.IGNORECASE)
    if is_verb and match.start("first") == match.start() and not re.search(r"\d", last):
        raise ValueError("they march to")
    if DAY.fullmatch(first):  # 3 to 5 May
        if DAY.search(last) is None or (day := _DAY_OF_MONTH.search(last)) is None:
            raise ValueError("a number")
        first = f"{last[: day.start()]}{first}{last[day.end() :]}"
    start, end = point(first, now), point(last, now)
    if YEARLY.fullmatch(first) and not YEARLY.fullmatch(last):
        start = _of_year(first, end.start.year, now)
        if start.start >= end.end:
            start = _of_year(first, end.start.year - 1, now)
    elif YEARLY.fullmatch(last):
        end = _of_year(last, start.start.year, now)
        if end.end <= start.start:
            end = _of_year(last, start.start.year + 1, now)
    elif last.lower() in DAYS and end.end <= start.start:
        end = day_of(end.start + timedelta(days=7))
    if end.end <= start.start:
        raise ValueError("it ends before it begins")
    return Span(start.start, end.end)


def _of_year(text: str, year: int, now: datetime) -> Span:
    """A day, a month or a season of a year."""
    return point(f"{text} {year}", now)


def _ranges() -> Iterator[tuple[re.Pattern[str], Meaning]]:
    points = "|".join(bare(pattern.pattern) for pattern, _ in POINTS)
    first = rf"(?:(?:in|on|the)\s+)?(?P<first>{points}|{DAY.pattern}(?!\w))"
    last = rf"(?:(?:in|on|the)\s+)?(?P<last>{points})(?!\w)"
    to = r"(?:\s+(?:to|until|till|through|thru|up to)\s+|\s*(?:[-–—~〜～到至]|から|부터)\s*)"
    for pattern in (
        rf"\b(?:from|since)\s+{first}{to}{last}",
        rf"\bbetween\s+{first}\s+and\s+{last}",
        rf"(?<![\w-]){first}\s*(?:[和与與跟と과와]|から|부터)\s*{last}\s*(?=之?[间間]|の間|사이)",
        rf"(?<![\w-]){first}{to}{last}",
    ):
        yield re.compile(pattern, re.IGNORECASE), _range


_RANGES = tuple(_ranges())
#: The day in a day of a month.
_DAY_OF_MONTH = re.compile(rf"(?<![\d-]){DAY.pattern}(?![\w-])", re.IGNORECASE)
