"""Times that stand in a list: "in March and May 2023", "on 3, 5 and 7 May", "next May and June".

They lend each other what is said once: the month, the year, "next", "weeks ago".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from pxvm.learning.search.expressions import NUMBERS, POINTS, WHICH, YEARLY, Span, bare, point
from pxvm.learning.search.languages import DAYS, JOINT

#: A number that another in the list tells what of: a day of a month, or so many units.
_NUMBER = rf"(?:\d{{1,3}}|{'|'.join(name for name in NUMBERS if name not in ('a', 'an'))})"
_ORDINAL = r"(?:st|nd|rd|th|er|\.|º|°|-?е|\s?[日號号일])?"
_POINTS = "|".join(bare(pattern.pattern) for pattern, _ in POINTS)
_POINT = rf"(?:{_POINTS}|{_NUMBER}{_ORDINAL})(?:(?<=[日號号일])|(?![\w-]))"
_FIRST = re.compile(rf"(?<![\w:./-]){_POINT}", re.IGNORECASE)
_NEXT = re.compile(_POINT, re.IGNORECASE)
_JOINT = re.compile(JOINT, re.IGNORECASE)
_BARE_NUMBER = re.compile(rf"({_NUMBER}){_ORDINAL}", re.IGNORECASE)
_OF_WHAT = re.compile(rf"{_NUMBER}(?:st|nd|rd|th)?( [a-z].*)", re.IGNORECASE)
_DAY_BEHIND = re.compile(r"([a-z]+\.? )\d{1,2}(?:st|nd|rd|th)?(,? \d{4})?", re.IGNORECASE)
_YEAR = re.compile(rf",?(?: of)? (?:(?:19|20)\d\d|{bare(WHICH)} year)$", re.IGNORECASE)
_WHICH = re.compile(rf"{bare(WHICH)} (?!week|month|year)", re.IGNORECASE)
_VERB = re.compile(r"(?:may|mar|march) (?:i|we|you|he|she|they|it|be|have|not|the|this)\b", re.I)


def lists(text: str, now: datetime) -> Iterator[tuple[int, int, list[Span]]]:
    """(start, end, spans) of each list of at least two times in an English text."""
    place = 0
    while found := _FIRST.search(text, place):
        points = [found]
        while (joint := _JOINT.match(text, points[-1].end())) and (
            more := _NEXT.match(text, joint.end())
        ):
            points.append(more)
        place = points[-1].end()
        while points and _is_something_else(text, points):
            points.pop()
        if len(points) > 1:
            try:
                spans = [point(whole, now) for whole in _whole([p[0] for p in points])]
            except (ValueError, OverflowError):
                continue
            yield points[0].start(), points[-1].end(), spans


def _is_something_else(text: str, points: Sequence[re.Match[str]]) -> bool:
    """Is the last no time: "and may I ask", "and 5 people"?"""
    last = points[-1]
    if not _BARE_NUMBER.fullmatch(last[0]):
        return _VERB.match(text, last.start()) is not None
    is_day = len(points) > 1 and _DAY_BEHIND.fullmatch(points[-2][0])
    is_sure = last[0][-1] in "日號号일"
    return not is_day or not (is_sure or re.match(r"\s*\w", text[last.end() :]) is None)


def _whole(points: list[str]) -> list[str]:
    """Each with what it lends from those behind it, else from those before."""
    of_what = year = ""
    for i in reversed(range(len(points))):
        if of_what and (number := _BARE_NUMBER.fullmatch(points[i])):
            points[i] = f"{number[1]}{of_what}"
        elif YEARLY.fullmatch(points[i]):
            points[i] += year
        year = _matched(_YEAR.search(points[i]))
        of_what = _matched(_OF_WHAT.fullmatch(points[i]), 1)
    which = ""
    for i, given in enumerate(points):
        if i and (number := _BARE_NUMBER.fullmatch(given)):
            points[i] = _DAY_BEHIND.sub(rf"\g<1>{number[1]}\2", points[i - 1])
        elif given.lower() in DAYS or YEARLY.fullmatch(given):
            points[i] = f"{which}{given}{year if YEARLY.fullmatch(given) else ''}"
        year, which = _matched(_YEAR.search(points[i])), _matched(_WHICH.match(points[i]))
    return points


def _matched(match: re.Match[str] | None, group: int = 0) -> str:
    return match[group] if match else ""
