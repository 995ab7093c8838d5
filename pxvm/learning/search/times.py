"""Time expressions in a question: which stretch of time "last week" or "in March 2023" means.

The search uses them to prefer records of that time, never to hide others, so an expression that is
read wrongly costs little. Other languages are put into English words first (``languages``);
calendar days are those of the reference time's zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pxvm.learning.search.languages import COMMON, DAYS, MONTHS, English, in_english
from pxvm.learning.search.words import STOP_WORDS, folded, words

#: First month of each season of the northern hemisphere.
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
NUMBERS = {
    name: number
    for number, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve")
    )
} | {"a": 1, "an": 1, "couple": 2, "few": 3, "several": 4}  # fmt: skip

#: Words of a question that ask for whatever there is.
_GENERAL = """
about all anything chat chats conversation conversations day days did discuss discussed discussing
during else ever everything find get give happen happened happening happens learn learned list made
make mention mentioned note noted notes on record recorded remember said say see show speak spoke
start talk talked talking tell thing things think time told topic topics up us week went work worked
worked write written wrote month year since until till before after early late mid beginning end
war waren gewesen los geschah anfang mitte ende seit bis vor nach
besprochen gesagt passiert geredet gesprochen notiert gemacht geschrieben alles etwas gab getan
zeige qu était depuis début fin mi
parle parlé dit passé fait discuté noté tout quelle quelles quels avait-on ce s est
hubo era desde principios mediados finales
hablamos hablado dijo dijimos pasó pasado hicimos todo cuál sido hecho anotado
parlato detto successo fatto tutto scritto discusso falamos dissemos aconteceu feito tudo
gesproken gezegd gebeurd gedaan alles geschreven говорили обсуждали сказали произошло делали все
"""
GENERAL = STOP_WORDS | COMMON | frozenset(map(folded, _GENERAL.split()))
_GENERAL_EAST = re.compile(
    "[我们們你您他她的了吗嗎呢过過什么麼甚谈談讨討论論"
    "说說聊做有哪些事情发發生过在里裡都是记記得録录何をがはにのでした話しましたかたことあったてい"
    "우리무엇을뭐했나요이야기]+"
)

_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"  # noqa: E501
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_WEEKDAY = rf"(?P<weekday>{'|'.join(DAYS)})"
_SEASON = rf"(?P<season>{'|'.join(SEASONS)})"
_UNIT = r"(?P<unit>day|week|month|year)"
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(NUMBERS)})(?: of)?"
_WHICH = r"(?P<which>last|past|previous|this|next|coming)"


@dataclass(frozen=True)
class Interval:
    """From ``start`` up to but not including ``end``, both aware; ``text`` is what named it."""

    start: datetime
    end: datetime
    text: str

    def contains(self, moment: datetime) -> bool:
        """Whether a moment lies inside."""
        return self.start <= moment < self.end


class _Span(NamedTuple):
    start: datetime
    end: datetime


def find_times(text: str, now: datetime) -> list[Interval]:
    """The stretches of time that ``text`` names, in the order of the text.

    ``now`` is the aware time that "yesterday" counts from. "since", "after", "before" and "until"
    open an interval on one side. Of an impossible date, such as 31 February 2023, the
    month is left.
    """
    found = _find(English(text, text, ()), now)
    if all(interval.text.isdecimal() for interval in found):  # bare years, or none
        found = _find(in_english(text), now) or found
    return found


def _find(english: English, now: datetime) -> list[Interval]:
    found: list[tuple[int, Interval]] = []
    taken: list[tuple[int, int]] = []
    text = english.text
    for pattern, meaning in _RULES:
        for match in pattern.finditer(text):
            if any(match.start() < stop and start < match.end() for start, stop in taken):
                continue
            try:
                span = meaning(match, now)
            except (ValueError, OverflowError):
                continue
            taken.append(match.span())
            start, span = _open_side(text, match.start(), span)
            first, last = english.original(start, match.end())
            found.append((start, Interval(span.start, span.end, english.given[first:last])))
    return [interval for _, interval in sorted(found, key=lambda item: item[0])]


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
        found = [i for i in find_times(text, now) if i.text == text]
        return found[0] if found else None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    if len(text) > len("2026-03-31"):
        return Interval(moment, moment, text)
    try:
        return Interval(moment, _day(moment).end, text)
    except OverflowError:  # the last day there is
        return Interval(moment, datetime.max.replace(tzinfo=moment.tzinfo), text)


def names_only_times(text: str, times: Sequence[Interval]) -> bool:
    """Does a question ask for what was at some time, whatever it was?"""
    for interval in times:
        text = text.replace(interval.text, " ")
    return bool(times) and all(
        word in GENERAL or not _GENERAL_EAST.sub("", word) for word in words(text)
    )


def _open_side(text: str, start: int, span: _Span) -> tuple[int, _Span]:
    """Take a "since" or "before" in front of an expression into account."""
    match = re.search(r"\b(since|after|before|until|till)\s+$", text[:start], re.IGNORECASE)
    if match is None:
        return start, span
    zone, word = span.start.tzinfo, match[1].lower()
    if word in ("since", "after"):
        begin = span.start if word == "since" else span.end
        return match.start(), _Span(begin, datetime.max.replace(tzinfo=zone))
    stop = span.start if word == "before" else span.end
    return match.start(), _Span(datetime.min.replace(tzinfo=zone), stop)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _day(start: datetime, days: int = 1) -> _Span:
    return _Span(_midnight(start), _midnight(start) + timedelta(days=days))


def _months_on(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of a shorter month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month + 1)


def _months(first: datetime, count: int) -> _Span:
    start = _midnight(first).replace(day=1)
    return _Span(start, _months_on(start, count))


def _month_number(name: str) -> int:
    return next(i for i, full in enumerate(MONTHS, 1) if full.startswith(name.lower()[:3]))


def _date(match: re.Match[str], now: datetime) -> _Span:
    """A day of a month; without a year the latest one that is not in the future."""
    fields = match.groupdict()
    name = fields["month"]
    month = int(name) if name.isdigit() else _month_number(name)
    day, year = int(fields["day"]), fields.get("year")
    moment = _midnight(now).replace(year=int(year or now.year), month=month, day=day)
    return _day(moment if year or moment <= now else moment.replace(year=now.year - 1))


def _month(match: re.Match[str], now: datetime) -> _Span:
    fields = match.groupdict()
    name, year = fields["month"], fields.get("year")
    month = int(name) if name.isdigit() else _month_number(name)
    which = (fields.get("which") or "").lower()
    if year:
        return _months(now.replace(year=int(year), month=month, day=1), 1)
    back = month > now.month or (which == "last" and month == now.month)
    ahead = which == "next" and month <= now.month
    if which in ("next", "this"):
        back = False
    return _months(now.replace(year=now.year - back + ahead, month=month, day=1), 1)


def _month_of(match: re.Match[str], now: datetime) -> _Span:
    """A month of this year, or of another near it."""
    year = now.year + {"this": 0, "next": 1, "coming": 1}.get(match["which"].lower(), -1)
    return _months(now.replace(year=year, month=_month_number(match["month"]), day=1), 1)


def _season(match: re.Match[str], now: datetime) -> _Span:
    fields = match.groupdict()
    first, year = SEASONS[fields["season"].lower()], fields.get("year")
    which = (fields.get("which") or "").lower()
    start = _months(now.replace(year=int(year or now.year), month=first, day=1), 3)
    begun = start.start <= now
    over = start.end <= now
    step = 0
    if not year:
        if which == "next":
            step = 1 if begun else 0
        elif which in ("last", "past", "previous"):
            step = 0 if over else -1
        elif not begun:
            step = -1
    moment = start.start.replace(year=start.start.year + step)
    return _months(moment, 3)


def _year(match: re.Match[str], now: datetime) -> _Span:
    return _months(now.replace(year=int(match["year"]), month=1, day=1), 12)


def _named_day(match: re.Match[str], now: datetime) -> _Span:
    steps = {"today": 0, "tonight": 0, "yesterday": -1, "tomorrow": 1}
    word = match[0].lower()
    last = word.split()[-1]
    if word.startswith("the day before") or word.startswith("day before"):
        return _day(now - timedelta(days=2))
    if last in steps:
        return _day(now + timedelta(days=steps[last]))
    return _day(now if word.startswith("this") else now - timedelta(days=1))


def _week(now: datetime, offset: int) -> _Span:
    monday = _midnight(now) - timedelta(days=now.weekday())
    return _day(monday + timedelta(days=7 * offset), 7)


def _which_unit(match: re.Match[str], now: datetime) -> _Span:
    """Last, this or next calendar week, weekend, month or year."""
    offset = {"this": 0, "next": 1, "coming": 1}.get(match["which"].lower(), -1)
    unit = match["period"].lower()
    if unit == "week":
        return _week(now, offset)
    if unit == "weekend":
        return _day(_week(now, offset).start + timedelta(days=5), 2)
    if unit == "month":
        return _months(_months_on(now.replace(day=1), offset), 1)
    return _months(now.replace(year=now.year + offset, month=1, day=1), 12)


def _count(match: re.Match[str]) -> int:
    word = match["count"].lower()
    return int(word) if word.isdigit() else NUMBERS[word]


def _back(now: datetime, count: int, unit: str) -> datetime:
    if unit in ("day", "week"):
        return now - timedelta(days=count * (7 if unit == "week" else 1))
    return _months_on(now, -count * (12 if unit == "year" else 1))


def _ago(match: re.Match[str], now: datetime) -> _Span:
    """A count of units ago: within half a unit on each side, since people round."""
    unit = match["unit"].lower()
    moment = _back(now, _count(match), unit)
    half = timedelta(days={"day": 0, "week": 3, "month": 15, "year": 182}[unit])
    return _Span(_midnight(moment - half), _midnight(moment + half) + timedelta(days=1))


def _last_units(match: re.Match[str], now: datetime) -> _Span:
    return _Span(_midnight(_back(now, _count(match), match["unit"].lower())), _day(now).end)


def _weekday(match: re.Match[str], now: datetime) -> _Span:
    """The nearest such day before today, or after it with "next" or "this"."""
    number = DAYS.index(match["weekday"].lower())
    which = (match["which"] or "").lower()
    if which in ("next", "coming", "this"):
        return _day(now + timedelta(days=(number - now.weekday() - 1) % 7 + 1))
    return _day(now - timedelta(days=(now.weekday() - number - 1) % 7 + 1))


def _rules() -> Iterator[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], _Span]]]:
    """Longer expressions first: what a rule has taken, later ones leave alone."""
    # A bare "may" or "march" is a verb more often than a month, so a word in front is wanted; those
    # that open an interval are only looked at, since ``_open_side`` takes them.
    opening = "".join(rf"|(?<=\b{word} )" for word in ("since", "after", "before", "until", "till"))
    for pattern, meaning in (
        (rf"\b{_YEAR}[-/](?P<month>[01]?\d)[-/]{_DAY}(?=T\d|\b)", _date),
        (rf"\b{_DAY}(?: of)? {_MONTH},? {_YEAR}\b", _date),
        (rf"\b{_MONTH} {_DAY},? {_YEAR}\b", _date),
        (rf"\b{_YEAR}[-/](?P<month>1[0-2]|0?[1-9])\b", _month),
        (rf"\b(?P<month>1[0-2]|0?[1-9])/{_YEAR}\b", _month),
        (rf"\b{_MONTH},?(?: of)? {_YEAR}\b", _month),
        (rf"\b{_MONTH},?(?: of)? {_WHICH} year\b", _month_of),
        (rf"\b{_DAY}(?: of)? {_MONTH}(?!\w)", _date),
        (rf"\b{_MONTH} {_DAY}\b(?!:)", _date),
        (rf"\b{_SEASON},?(?: of)? {_YEAR}\b", _season),
        (rf"\b{_COUNT} {_UNIT}s? ago\b", _ago),
        (rf"\b(?:last|past|previous) {_COUNT} {_UNIT}s?\b", _last_units),
        (rf"\b{_WHICH} (?P<period>weekend|week|month|year)\b", _which_unit),
        (rf"\b{_WHICH} {_MONTH}(?!\w)", _month),
        (rf"(?:\b{_WHICH} |\b(?:in|during|over) (?:the )?{opening}){_SEASON}\b", _season),
        (rf"(?:\b{_WHICH} |\bon {opening}){_WEEKDAY}\b", _weekday),
        (r"\b(?:the )?day before yesterday\b", _named_day),
        (r"\b(?:today|tonight|yesterday|tomorrow)\b", _named_day),
        (r"\bthis (?:morning|afternoon|evening)\b|\blast (?:night|evening)\b", _named_day),
        (rf"(?:\b(?:in|of|during|by|early|late|mid) {opening}){_MONTH}(?!\w)", _month),
        (rf"\b{_YEAR}\b", _year),
    ):
        yield re.compile(pattern, re.IGNORECASE), meaning


_RULES = tuple(_rules())
