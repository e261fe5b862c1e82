"""Active hours: nights, days of the week, and days on which the clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.hours import Hours, clock, parse_days, parse_range, parse_time, time_zone

LONDON = ZoneInfo("Europe/London")


def london(month: int, day: int, hour: int, minute: int = 0, *, fold: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=LONDON, fold=fold).astimezone(UTC)


def test_a_night_is_active_on_both_sides_of_midnight() -> None:
    night = Hours(*parse_range("22:00-06:00"), zone=LONDON)
    assert [night.active(london(7, 1, hour)) for hour in (21, 22, 23, 0, 5, 6, 12)] == [0, 1, 1, 1, 1, 0, 0]


def test_a_night_belongs_to_the_day_it_began_on() -> None:
    friday_night = Hours(*parse_range("22:00-06:00"), days=parse_days("fri"), zone=LONDON)
    assert friday_night.active(london(7, 3, 23))
    assert friday_night.active(london(7, 4, 5))
    assert not friday_night.active(london(7, 3, 5))
    assert not friday_night.active(london(7, 4, 23))


def test_hours_until_24_are_a_day_to_its_end() -> None:
    monday = Hours(*parse_range("00:00-24:00"), days=parse_days("mon"))
    assert monday.active(datetime(2026, 7, 6, 23, 59, tzinfo=UTC))
    assert not monday.active(datetime(2026, 7, 7, 0, 0, tzinfo=UTC))


def test_hours_that_begin_in_the_skipped_hour_begin_after_the_jump() -> None:
    hours = Hours(*parse_range("01:30-03:00"), zone=LONDON)
    before = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    assert not hours.active(before)
    assert hours.active(before + timedelta(minutes=1))
    assert not hours.active(london(3, 29, 3))


def test_hours_in_the_hour_that_comes_twice_are_active_twice() -> None:
    hours = Hours(*parse_range("01:15-01:45"), zone=LONDON)
    assert hours.active(london(10, 25, 1, 30))
    assert not hours.active(london(10, 25, 1, 50))
    assert hours.active(london(10, 25, 1, 30, fold=1))


def test_hours_are_shown_with_days_and_zone() -> None:
    hours = Hours(*parse_range("08:00-17:30"), days=parse_days("mon-wed"), zone=LONDON)
    assert str(hours) == "08:00-17:30 on mon, tue, wed (Europe/London)"
    assert str(Hours(0, 60)) == "00:00-01:00 (UTC)"
    assert hours.local(london(7, 1, 9, 5)) == "Wed 09:05 Europe/London"


@pytest.mark.parametrize("text", ["22:00", "22-06", "25:00-06:00", "06:00-06:00", "24:00-06:00", "6:00-7:00", ""])
def test_what_is_no_range_of_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|cannot"):
        parse_range(text)


@pytest.mark.parametrize("text", ["monday", "mon-", "-fri", "8", ""])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a day"):
        parse_days(text)


def test_days_may_run_over_the_weekend() -> None:
    assert parse_days("Sat-Mon") == {5, 6, 0}


@pytest.mark.parametrize("name", ["Nowhere/City", "", "../etc/passwd", "/etc/passwd"])
def test_a_time_zone_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        time_zone(name)


def test_utc_needs_no_zone_database() -> None:
    assert time_zone("UTC") is UTC


@given(
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 365 * 1440).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)),
)
def test_hours_agree_with_walking_back_to_the_minute_they_began(
    start: int, end: int, days: frozenset[int], at: datetime
) -> None:
    if start == end:
        return
    hours = Hours(start, end, days, UTC)
    length = (end - start) % 1440 or 1440
    active = False
    for minutes in range(length):
        began = at - timedelta(minutes=minutes)
        if began.hour * 60 + began.minute == start:
            active = began.weekday() in days
    assert hours.active(at) is active


@given(st.integers(0, 1440))
def test_a_time_of_day_is_read_as_it_is_written(minute: int) -> None:
    assert parse_time(clock(minute)) == minute
