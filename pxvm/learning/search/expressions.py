"""What an expression of time in English means: "last week", "March 2023", "3 days ago".

`POINTS` are those that may be an end of a range, `RULES` all that stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from pxvm.learning.search.languages import DAYS, MONTHS

Meaning = Callable[[re.Match[str], datetime], "Span"]

#: First month of each season of the northern hemisphere.
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
ORDINALS = ("first", "second", "third", "fourth")
NUMBERS = {
    name: number
    for number, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve")
    )
} | {"a": 1, "an": 1, "couple": 2, "few": 3, "several": 4}  # fmt: skip

_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"  # noqa: E501
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_WEEKDAY = rf"(?P<weekday>{'|'.join(DAYS)})"
_SEASON = rf"(?P<season>{'|'.join(SEASONS)})"
_UNIT = r"(?P<unit>day|week|month|year)"
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(NUMBERS)})(?: of)?"
WHICH = r"(?P<which>last|past|previous|this|next|coming)"


class Span(NamedTuple):
    """From ``start`` up to but not including ``end``."""

    start: datetime
    end: datetime


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def day_of(start: datetime, days: int = 1) -> Span:
    return Span(_midnight(start), _midnight(start) + timedelta(days=days))


def _months_on(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of a shorter month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month + 1)


def _months(first: datetime, count: int) -> Span:
    start = _midnight(first).replace(day=1)
    return Span(start, _months_on(start, count))


def _month_number(name: str) -> int:
    return next(i for i, full in enumerate(MONTHS, 1) if full.startswith(name.lower()[:3]))


def _date(match: re.Match[str], now: datetime) -> Span:
    """A day of a month; without a year the latest one that is not in the future."""
    fields = match.groupdict()
    name = fields["month"]
    month = int(name) if name.isdigit() else _month_number(name)
    day, year = int(fields["day"]), fields.get("year")
    moment = _midnight(now).replace(year=int(year or now.year), month=month, day=day)
    return day_of(moment if year or moment <= now else moment.replace(year=now.year - 1))


def _month(match: re.Match[str], now: datetime) -> Span:
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


def _month_of(match: re.Match[str], now: datetime) -> Span:
    """A month of this year, or of another near it."""
    year = now.year + {"this": 0, "next": 1, "coming": 1}.get(match["which"].lower(), -1)
    return _months(now.replace(year=year, month=_month_number(match["month"]), day=1), 1)


def _season(match: re.Match[str], now: datetime) -> Span:
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


def _year(match: re.Match[str], now: datetime) -> Span:
    return _months(now.replace(year=int(match["year"]), month=1, day=1), 12)


def _named_day(match: re.Match[str], now: datetime) -> Span:
    steps = {"today": 0, "tonight": 0, "yesterday": -1, "tomorrow": 1}
    word = match[0].lower()
    last = word.split()[-1]
    if word.startswith("the day before") or word.startswith("day before"):
        return day_of(now - timedelta(days=2))
    if last in steps:
        return day_of(now + timedelta(days=steps[last]))
    return day_of(now if word.startswith("this") else now - timedelta(days=1))


def _week(now: datetime, offset: int) -> Span:
    monday = _midnight(now) - timedelta(days=now.weekday())
    return day_of(monday + timedelta(days=7 * offset), 7)


def _which_unit(match: re.Match[str], now: datetime) -> Span:
    """Last, this or next calendar week, weekend, month or year."""
    offset = {"this": 0, "next": 1, "coming": 1}.get(match["which"].lower(), -1)
    unit = match["period"].lower()
    if unit == "week":
        return _week(now, offset)
    if unit == "weekend":
        return day_of(_week(now, offset).start + timedelta(days=5), 2)
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


def _ago(match: re.Match[str], now: datetime) -> Span:
    """A count of units ago: within half a unit on each side, since people round."""
    unit = match["unit"].lower()
    moment = _back(now, _count(match), unit)
    half = timedelta(days={"day": 0, "week": 3, "month": 15, "year": 182}[unit])
    return Span(_midnight(moment - half), _midnight(moment + half) + timedelta(days=1))


def _last_units(match: re.Match[str], now: datetime) -> Span:
    return Span(_midnight(_back(now, _count(match), match["unit"].lower())), day_of(now).end)


def _weekday(match: re.Match[str], now: datetime) -> Span:
    """The nearest such day before today, or after it with "next" or "this"."""
    number = DAYS.index(match["weekday"].lower())
    which = (match["which"] or "").lower()
    if which in ("next", "coming", "this"):
        return day_of(now + timedelta(days=(number - now.weekday() - 1) % 7 + 1))
    return day_of(now - timedelta(days=(now.weekday() - number - 1) % 7 + 1))


def _quarter(match: re.Match[str], now: datetime) -> Span:
    named = match["quarter"].lower()
    number = int(named[0]) if named[0].isdigit() else ORDINALS.index(named) + 1
    return _months(now.replace(year=int(match["year"]), month=3 * number - 2, day=1), 3)


def _numbered_week(match: re.Match[str], now: datetime) -> Span:
    """A week of ISO 8601; raises ValueError where its year has no such week."""
    monday = datetime.fromisocalendar(int(match["year"]), int(match["week"]), 1)
    return day_of(monday.replace(tzinfo=now.tzinfo), 7)


_WEEK = r"(?P<week>[0-5]?\d)"
_QUARTER = rf"(?P<quarter>[1-4](?:st|nd|rd|th)|{'|'.join(ORDINALS)}) quarter"
_DATES = (
    (rf"{_YEAR}-?W{_WEEK}\b", _numbered_week),
    (rf"(?:calendar )?week {_WEEK},?(?: of)?[ /]{_YEAR}\b", _numbered_week),
    (rf"Q(?P<quarter>[1-4]),?(?: of)?[ /-]?{_YEAR}\b", _quarter),
    (rf"{_YEAR}[ /-]?Q(?P<quarter>[1-4])\b", _quarter),
    (rf"{_QUARTER},?(?: of)? {_YEAR}\b", _quarter),
    (rf"{_YEAR}[-/](?P<month>[01]?\d)[-/]{_DAY}(?=T\d|\b)", _date),
    (rf"{_DAY}(?: of)? {_MONTH},? {_YEAR}\b", _date),
    (rf"{_MONTH} {_DAY},? {_YEAR}\b", _date),
    (rf"{_YEAR}[-/](?P<month>1[0-2]|0?[1-9])\b", _month),
    (rf"(?P<month>1[0-2]|0?[1-9])/{_YEAR}\b", _month),
    (rf"{_MONTH},?(?: of)? {_YEAR}\b", _month),
    (rf"{_MONTH},?(?: of)? {WHICH} year\b", _month_of),
    (rf"{_DAY}(?: of)? {_MONTH}(?!\w)", _date),
    (rf"{_MONTH} {_DAY}\b(?!:)", _date),
    (rf"{_SEASON},?(?: of)? {_YEAR}\b", _season),
    (rf"{_COUNT} {_UNIT}s? ago\b", _ago),
)
_RELATIVE = (
    (rf"{WHICH} (?P<period>weekend|week|month|year)\b", _which_unit),
    (rf"{WHICH} {_MONTH}(?!\w)", _month),
    (r"(?:the )?day before yesterday\b", _named_day),
    (r"(?:today|tonight|yesterday|tomorrow)\b", _named_day),
)
#: What an end of a range can be; alone in a question some of it only stands after "in" or "on".
POINTS = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        *_DATES,
        *_RELATIVE,
        ("now", lambda match, now: day_of(now)),
        (rf"(?:{WHICH} )?{_WEEKDAY}\b", _weekday),
        (rf"{_MONTH}(?!\w)", _month),
        (rf"(?:{WHICH} )?{_SEASON}\b", _season),
        (rf"{_YEAR}\b", _year),
    )
)


def point(text: str, now: datetime) -> Span:
    """What one end of a range, or one time of a list, is. Raises ValueError where it is none."""
    for pattern, meaning in POINTS:
        if match := pattern.fullmatch(text):
            return meaning(match, now)
    raise ValueError(f"{text!r} is no time")


def bare(pattern: str) -> str:
    """The same pattern without the names of its groups."""
    return re.sub(r"\?P<\w+>", "?:", pattern)


#: A day, a month or a season that every year has, and a day of a month.
YEARLY = re.compile(bare(rf"{_DAY}(?: of)? {_MONTH}|{_MONTH}(?: {_DAY})?|{_SEASON}"), re.IGNORECASE)
DAY = re.compile(bare(_DAY), re.IGNORECASE)


def _rules() -> Iterator[tuple[re.Pattern[str], Meaning]]:
    """Longer expressions first: what a rule has taken, later ones leave alone."""
    # A bare "may" or "march" is a verb more often than a month, so a word in front is wanted; those
    # that open an interval are only looked at, since ``times`` takes them.
    opening = "".join(rf"|(?<=\b{word} )" for word in ("since", "after", "before", "until", "till"))
    for pattern, meaning in (
        *((rf"\b{pattern}", meaning) for pattern, meaning in _DATES),
        (rf"\b(?:last|past|previous) {_COUNT} {_UNIT}s?\b", _last_units),
        *((rf"\b{pattern}", meaning) for pattern, meaning in _RELATIVE),
        (rf"(?:\b{WHICH} |\b(?:in|during|over) (?:the )?{opening}){_SEASON}\b", _season),
        (rf"(?:\b{WHICH} |\bon {opening}){_WEEKDAY}\b", _weekday),
        (r"\bthis (?:morning|afternoon|evening)\b|\blast (?:night|evening)\b", _named_day),
        (rf"(?:\b(?:in|of|during|by|early|late|mid) {opening}){_MONTH}(?!\w)", _month),
        (rf"\b{_YEAR}\b", _year),
    ):
        yield re.compile(pattern, re.IGNORECASE), meaning


RULES = tuple(_rules())
