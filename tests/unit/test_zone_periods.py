"""A zone's periods as lists say the same as the zone, for instants and for wall clocks."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from clock_changes import CHANGES, Change, named, seconds
from hypothesis import given
from hypothesis import strategies as st

from cdr.clock.zone_periods import periods_of
from common.identity import MAX_TIME_RAW

# Those with the oddest histories: clocks changed for Ramadan, days left out, half hours, changes once and never again.
ZONES = [
    "Africa/Casablanca",
    "Africa/Cairo",
    "Africa/Monrovia",
    "America/Argentina/San_Luis",
    "America/Caracas",
    "America/Nuuk",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "CET",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
]
A_DAY = 86400


def offset(zone: str, moment: int) -> int:
    periods = periods_of(zone)
    return periods.offsets[bisect_right(periods.begins, moment) - 1]


def local_offset(zone: str, wall_clock: int) -> int:
    periods = periods_of(zone)
    return periods.offsets[bisect_right(periods.begins_locally, wall_clock) - 1]


@pytest.mark.parametrize("change", CHANGES, ids=named)
def test_the_periods_change_at_the_instant_of_the_change(change: Change) -> None:
    for instant in change.minutes_around():
        minutes = (change.wall_clock(instant) - instant) // timedelta(minutes=1)
        assert offset(change.zone, seconds(instant)) == 60 * minutes
    for wall_clock in change.wall_clocks_around():
        start = wall_clock - timedelta(seconds=local_offset(change.zone, seconds(wall_clock)))
        assert start == change.start(wall_clock)


@given(st.sampled_from(ZONES), st.integers(1, MAX_TIME_RAW))
def test_the_periods_of_a_zone_say_what_the_zone_says(zone: str, moment: int) -> None:
    here = datetime.fromtimestamp(moment, UTC)
    assert timedelta(seconds=offset(zone, moment)) == here.astimezone(ZoneInfo(zone)).utcoffset()
    assert timedelta(seconds=local_offset(zone, moment)) == here.replace(tzinfo=ZoneInfo(zone), fold=0).utcoffset()


@given(st.sampled_from(ZONES), st.integers(0, 400), st.integers(-2 * A_DAY, 2 * A_DAY))
def test_they_are_so_about_each_change(zone: str, place: int, away: int) -> None:
    begins = periods_of(zone).begins
    moment = max(1, min(begins[place % len(begins)] + away, MAX_TIME_RAW))
    here = datetime.fromtimestamp(moment, UTC)
    assert timedelta(seconds=offset(zone, moment)) == here.astimezone(ZoneInfo(zone)).utcoffset()
    assert timedelta(seconds=local_offset(zone, moment)) == here.replace(tzinfo=ZoneInfo(zone), fold=0).utcoffset()


def test_a_zone_that_does_not_exist_has_none() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        periods_of("Mars/Olympus")
