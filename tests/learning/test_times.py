"""Time expressions against a table of dates written by hand."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxvm.learning.search.times import find_times, names_only_times, whole_time

NOW = datetime(2023, 8, 16, 15, 30, tzinfo=timezone.utc)  # a Wednesday

TABLE = [
    ("What did we say yesterday?", "2023-08-15", "2023-08-16"),
    ("the day before yesterday", "2023-08-14", "2023-08-15"),
    ("what is due today", "2023-08-16", "2023-08-17"),
    ("plans for tomorrow", "2023-08-17", "2023-08-18"),
    ("what happened last night", "2023-08-15", "2023-08-16"),
    ("who called this morning", "2023-08-16", "2023-08-17"),
    ("last week", "2023-08-07", "2023-08-14"),
    ("this week", "2023-08-14", "2023-08-21"),
    ("next week", "2023-08-21", "2023-08-28"),
    ("last weekend", "2023-08-12", "2023-08-14"),
    ("last month", "2023-07-01", "2023-08-01"),
    ("last year", "2022-01-01", "2023-01-01"),
    ("what did I read in March?", "2023-03-01", "2023-04-01"),
    ("in October", "2022-10-01", "2022-11-01"),
    ("in August", "2023-08-01", "2023-09-01"),
    ("last August", "2022-08-01", "2022-09-01"),
    ("next May", "2024-05-01", "2024-06-01"),
    ("March 2021", "2021-03-01", "2021-04-01"),
    ("in Sept. 2022", "2022-09-01", "2022-10-01"),
    ("what changed in 2022", "2022-01-01", "2023-01-01"),
    ("on 5 May 2023", "2023-05-05", "2023-05-06"),
    ("on the 5th of May, 2023", "2023-05-05", "2023-05-06"),
    ("on May 5, 2023", "2023-05-05", "2023-05-06"),
    ("May 5th", "2023-05-05", "2023-05-06"),
    ("on 24 December", "2022-12-24", "2022-12-25"),
    ("2023-05-08", "2023-05-08", "2023-05-09"),
    ("in Q1 2023", "2023-01-01", "2023-04-01"),
    ("what happened in 2022-Q4", "2022-10-01", "2023-01-01"),
    ("the second quarter of 2023", "2023-04-01", "2023-07-01"),
    ("im 3. Quartal 2022", "2022-07-01", "2022-10-01"),
    ("au 2e trimestre 2022", "2022-04-01", "2022-07-01"),
    ("week 18 of 2023", "2023-05-01", "2023-05-08"),
    ("was war in KW 1 2021", "2021-01-04", "2021-01-11"),
    ("2020-W53", "2020-12-28", "2021-01-04"),
    ("what happened on May 5, 2023 at 3 pm", "2023-05-05", "2023-05-06"),
    ("was war am 5. Mai 2023 um 15 Uhr", "2023-05-05", "2023-05-06"),
    ("two months ago", "2023-06-01", "2023-07-02"),
    ("3 days ago", "2023-08-13", "2023-08-14"),
    ("a week ago", "2023-08-06", "2023-08-13"),
    ("a couple of weeks ago", "2023-07-30", "2023-08-06"),
    ("in the last three days", "2023-08-13", "2023-08-17"),
    ("over the past 2 weeks", "2023-08-02", "2023-08-17"),
    ("on Monday", "2023-08-14", "2023-08-15"),
    ("on Wednesday", "2023-08-09", "2023-08-10"),
    ("next Friday", "2023-08-18", "2023-08-19"),
    ("31 February 2023", "2023-02-01", "2023-03-01"),
    ("last summer", "2022-06-01", "2022-09-01"),
    ("in the summer", "2023-06-01", "2023-09-01"),
    ("the winter of 2021", "2021-12-01", "2022-03-01"),
    ("next winter", "2023-12-01", "2024-03-01"),
    ("March last year", "2022-03-01", "2022-04-01"),
    ("it ran at 2023-05-08T10:00", "2023-05-08", "2023-05-09"),
    ("was war vor drei Tagen", "2023-08-13", "2023-08-14"),
    ("vor einer Woche", "2023-08-06", "2023-08-13"),
    ("was geschah letzten Sommer", "2022-06-01", "2022-09-01"),
    ("im Sommer 2022", "2022-06-01", "2022-09-01"),
    ("avant-hier", "2023-08-14", "2023-08-15"),
    ("qui a appelé hier soir ?", "2023-08-15", "2023-08-16"),
    ("il y a deux mois", "2023-06-01", "2023-07-02"),
    ("l'été dernier", "2022-06-01", "2022-09-01"),
    ("hiver 2021", "2021-12-01", "2022-03-01"),
    ("¿qué pasó hace tres días?", "2023-08-13", "2023-08-14"),
    ("el verano pasado", "2022-06-01", "2022-09-01"),
    ("due settimane fa", "2023-07-30", "2023-08-06"),
    ("há três dias", "2023-08-13", "2023-08-14"),
    ("drie dagen geleden", "2023-08-13", "2023-08-14"),
    ("три дня назад", "2023-08-13", "2023-08-14"),
    ("三天前我们谈了什么", "2023-08-13", "2023-08-14"),
    ("二〇二二年三月", "2022-03-01", "2022-04-01"),
    ("二〇二二年十一月二十三日", "2022-11-23", "2022-11-24"),
    ("十二月", "2022-12-01", "2023-01-01"),
    ("去年三月", "2022-03-01", "2022-04-01"),
]


@pytest.mark.parametrize(("text", "start", "end"), TABLE)
def test_table(text: str, start: str, end: str) -> None:
    (found,) = find_times(text, NOW)
    assert (found.start.date().isoformat(), found.end.date().isoformat()) == (start, end)
    assert found.text in text
    assert found.contains(found.start) and not found.contains(found.end)


RANGES = [
    ("what was from March to May 2023?", "2023-03-01", "2023-06-01"),
    ("between January and March", "2023-01-01", "2023-04-01"),
    ("between November and January", "2022-11-01", "2023-02-01"),
    ("from June to September", "2023-06-01", "2023-10-01"),
    ("March–May 2022", "2022-03-01", "2022-06-01"),
    ("March 2022 to May", "2022-03-01", "2022-06-01"),
    ("from December 2021 to February", "2021-12-01", "2022-03-01"),
    ("from 3 to 5 May 2023", "2023-05-03", "2023-05-06"),
    ("3-5 May 2023", "2023-05-03", "2023-05-06"),
    ("May 3 to June 7", "2023-05-03", "2023-06-08"),
    ("2023-03-05 to 2023-03-09", "2023-03-05", "2023-03-10"),
    ("2019-2021", "2019-01-01", "2022-01-01"),
    ("from 2019 until 2021", "2019-01-01", "2022-01-01"),
    ("since March until May", "2023-03-01", "2023-06-01"),
    ("from March until now", "2023-03-01", "2023-08-17"),
    ("between Monday and Wednesday", "2023-08-14", "2023-08-17"),
    ("between spring and autumn 2022", "2022-03-01", "2022-12-01"),
    ("von März bis Mai 2023", "2023-03-01", "2023-06-01"),
    ("von April bis August 2022", "2022-04-01", "2022-09-01"),
    ("zwischen Januar und März", "2023-01-01", "2023-04-01"),
    ("vom 28. Februar bis zum 3. März", "2023-02-28", "2023-03-04"),
    ("zwischen 2019 und 2021", "2019-01-01", "2022-01-01"),
    ("de mars à mai 2023", "2023-03-01", "2023-06-01"),
    ("d'avril à juin", "2023-04-01", "2023-07-01"),
    ("du 1er mars au 5 avril", "2023-03-01", "2023-04-06"),
    ("entre janvier et mars", "2023-01-01", "2023-04-01"),
    ("de marzo a mayo de 2023", "2023-03-01", "2023-06-01"),
    ("del 3 al 5 de marzo de 2023", "2023-03-03", "2023-03-06"),
    ("entre enero y marzo", "2023-01-01", "2023-04-01"),
    ("da marzo a maggio 2023", "2023-03-01", "2023-06-01"),
    ("dal 3 al 5 marzo 2023", "2023-03-03", "2023-03-06"),
    ("tra gennaio e marzo", "2023-01-01", "2023-04-01"),
    ("de março a maio de 2023", "2023-03-01", "2023-06-01"),
    ("van maart tot mei 2023", "2023-03-01", "2023-06-01"),
    ("с марта по май 2023", "2023-03-01", "2023-06-01"),
    ("между январём и мартом", "2023-01-01", "2023-04-01"),
    ("2023年3月到5月", "2023-03-01", "2023-06-01"),
    ("从2022年11月到2023年2月", "2022-11-01", "2023-03-01"),
    ("一月和三月之间", "2023-01-01", "2023-04-01"),
    ("2023年3月から5月まで", "2023-03-01", "2023-06-01"),
    ("2023年3月5日至9日", "2023-03-05", "2023-03-10"),
    ("2023년 3월부터 5월까지", "2023-03-01", "2023-06-01"),
]


@pytest.mark.parametrize(("text", "start", "end"), RANGES)
def test_ranges(text: str, start: str, end: str) -> None:
    (found,) = find_times(text, NOW)
    assert (found.start.date().isoformat(), found.end.date().isoformat()) == (start, end)
    assert found.text in text and names_only_times(text, [found])


LISTS = [
    ("in March and May", "2023-03 2023-05"),
    ("in March, April and June 2022", "2022-03 2022-04 2022-06"),
    ("in March 2022 and May", "2022-03 2022-05"),
    ("March and May last year", "2022-03 2022-05"),
    ("next May or June", "2024-05 2024-06"),
    ("March/April 2022", "2022-03 2022-04"),
    ("in 2019 and 2021", "2019-01 2021-01"),
    ("on the 3rd, 5th and 7th of May 2022", "2022-05-03 2022-05-05 2022-05-07"),
    ("on May 3 and 5?", "2023-05-03 2023-05-05"),
    ("on Monday and Wednesday", "2023-08-14 2023-08-09"),
    ("this week and last week", "2023-08-14 2023-08-07"),
    ("2 or 3 weeks ago", "2023-07-30 2023-07-23"),
    ("im März und Mai 2022", "2022-03 2022-05"),
    ("am 3. und am 5. Mai", "2023-05-03 2023-05-05"),
    ("en mars, avril et en juin", "2023-03 2023-04 2023-06"),
    ("le 3 et le 5 mars 2022", "2022-03-03 2022-03-05"),
    ("en marzo y mayo de 2022", "2022-03 2022-05"),
    ("el lunes y el miércoles", "2023-08-14 2023-08-09"),
    ("a marzo e a maggio", "2023-03 2023-05"),
    ("marzo ed aprile 2022", "2022-03 2022-04"),
    ("em março ou maio de 2022", "2022-03 2022-05"),
    ("3 en 5 maart 2022", "2022-03-03 2022-03-05"),
    ("в марте и мае 2022", "2022-03 2022-05"),
    ("в понедельник и среду", "2023-08-14 2023-08-09"),
    ("2022年3月和5月", "2022-03 2022-05"),
    ("2022年3、4月", "2022-03 2022-04"),
    ("3月5日和7日", "2023-03-05 2023-03-07"),
    ("3月と5月に何を話しましたか", "2023-03 2023-05"),
    ("2022년 3월과 5월", "2022-03 2022-05"),
]


@pytest.mark.parametrize(("text", "starts"), LISTS)
def test_lists(text: str, starts: str) -> None:
    found = find_times(text, NOW)
    days = [interval.start.date().isoformat() for interval in found]
    assert days == [(start + "-01")[:10] for start in starts.split()]
    assert all(interval.text in text for interval in found) and names_only_times(text, found)
    assert whole_time(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("in March and may I ask", ["in March"]),
        ("in March and 5 people", ["in March"]),
        ("what did Anna and May do in March", ["in March"]),
        ("between March and May", ["between March and May"]),
        ("before March and May", ["before March"]),
        ("May 3 and 5 people", ["May 3"]),
        ("march and may", []),
    ],
)
def test_what_only_looks_like_a_list(text: str, named: list[str]) -> None:
    assert [interval.text for interval in find_times(text, NOW)] == named


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("everything since March", "2023-08-01", "2023-02-28"),
        ("before 5 May 2023", "2023-05-04", "2023-05-05"),
        ("after 5 May 2023", "2023-05-06", "2023-05-05"),
        ("until last week", "2023-08-13", "2023-08-14"),
        ("since Monday", "2023-08-16", "2023-08-13"),
        ("seit März 2022", "2023-08-01", "2022-02-28"),
        ("vor dem 5. Mai 2023", "2023-05-04", "2023-05-05"),
        ("nach März 2022", "2022-04-01", "2022-03-31"),
        ("depuis mars 2022", "2023-08-01", "2022-02-28"),
        ("avant mars 2022", "2022-02-28", "2022-03-01"),
        ("desde marzo de 2022", "2023-08-01", "2022-02-28"),
        ("antes de marzo de 2022", "2022-02-28", "2022-03-01"),
    ],
)
def test_open_intervals(text: str, inside: str, outside: str) -> None:
    (found,) = find_times(text, NOW)
    for day, expected in ((inside, True), (outside, False)):
        moment = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
        assert found.contains(moment) is expected


@pytest.mark.parametrize(
    "text",
    ["may I march with you", "they march to 5 of us", "from 9 to 5", "10:30-11:00", "3-5",
     "what is 12345 or 1800?", "day 32, 2 of 3", "", "a second opinion",
     "HTTP 404 at 10:30", "the last of them"],
)  # fmt: skip
def test_no_time(text: str) -> None:
    assert find_times(text, NOW) == []


def test_several_in_the_order_of_the_text() -> None:
    found = find_times("between 3 May 2023 and last week, or in 2019", NOW)
    assert [f.text for f in found] == ["between 3 May 2023 and last week", "2019"]


def test_month_ends_keep_the_month() -> None:
    now = datetime(2024, 3, 31, tzinfo=timezone.utc)
    (month,) = find_times("last month", now)
    assert (month.start.date(), month.end.date()) == (date(2024, 2, 1), date(2024, 3, 1))
    (ago,) = find_times("one month ago", now)
    assert ago.contains(datetime(2024, 2, 29, tzinfo=timezone.utc))


def test_days_are_those_of_the_reference_zone() -> None:
    zone = timezone(timedelta(hours=9))
    (found,) = find_times("yesterday", datetime(2023, 8, 16, 1, tzinfo=zone))
    assert found.start == datetime(2023, 8, 15, tzinfo=zone)


WORDS = st.sampled_from(
    ["last", "next", "this", "week", "month", "year", "31", "30", "2", "February", "may", "2023",
     "9999", "in", "since", "from", "between", "to", "and", "-",
     "before", "ago", "days", "a", "5th", ",", "/", "Monday", "winter", "yesterday"]
)  # fmt: skip


@given(
    st.lists(WORDS, max_size=9).map(" ".join),
    st.datetimes(datetime(1, 1, 1), timezones=st.just(timezone.utc)),
)
def test_any_words_at_any_time(text: str, now: datetime) -> None:
    for found in find_times(text, now):
        assert found.start < found.end
        assert found.text in text
