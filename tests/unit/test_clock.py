"""The start of a call is found from `time` and the call id, in every zone and on every day of its calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import Clock, read_clock

JERUSALEM = "Asia/Jerusalem"
NO_DATE = "a-call-without-a-date"
RECEIVED = datetime(2024, 6, 10, 9, 6, 0, tzinfo=UTC)
ZONES = [
    JERUSALEM,
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "UTC",
]


def wall(text: str) -> int:
    """The `time` that the provider sends for a wall clock: written as if it were UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def read(
    time_raw: int | None, call_id: str = NO_DATE, zone: str = JERUSALEM, rule: str = "auto", fallback: str = "local"
) -> Clock:
    return read_clock(time_raw, call_id, RECEIVED, zone, rule, fallback)


def start(time_raw: int | None, **keywords: str) -> str:
    return read(time_raw, **keywords).started_at.isoformat()


@pytest.mark.parametrize(
    ("time_raw", "call_id", "started_at", "rule"),
    [
        # The first four are pairs that the provider published.
        (1536855354, "201809131615530APIAPI-APIAac40c3d53", "2018-09-13T13:15:54+00:00", "local"),
        (1580846139, "20200204195539abcdef", "2020-02-04T17:55:39+00:00", "local"),
        (1595333610, "20200721121327abcdef", "2020-07-21T09:13:30+00:00", "local"),
        (1718010298, "20240610120455abcdef", "2024-06-10T09:04:58+00:00", "utc"),
        # In winter the offset is two hours, so a difference of three fits nothing.
        (wall("2024-01-10T10:04:55"), "20240110120455abcdef", "2024-01-10T10:04:55+00:00", "utc"),
        (wall("2024-01-10T09:04:55"), "20240110120455abcdef", "2024-01-10T07:04:55+00:00", "assumed_local"),
    ],
)
def test_the_date_in_the_id_tells_a_wall_clock_from_an_epoch(
    time_raw: int, call_id: str, started_at: str, rule: str
) -> None:
    assert read(time_raw, call_id) == Clock(datetime.fromisoformat(started_at), rule)


@pytest.mark.parametrize(
    ("seconds", "rule"),
    [
        (0, "local"),
        (599, "local"),
        (-599, "local"),
        (600, "assumed_local"),
        (-600, "assumed_local"),
        (3 * 3600, "utc"),
        (3 * 3600 + 600, "utc"),
        (3 * 3600 - 600, "utc"),
        (3 * 3600 + 601, "assumed_local"),
        (3 * 3600 - 601, "assumed_local"),
        (-3 * 3600, "assumed_local"),
        (86400, "assumed_local"),
    ],
)
def test_the_id_may_be_off_by_ten_minutes(seconds: int, rule: str) -> None:
    of_the_id = datetime(2024, 6, 10, 12, 0, 0, tzinfo=UTC)
    time_raw = int(of_the_id.timestamp()) - seconds
    assert read(time_raw, f"{of_the_id:%Y%m%d%H%M%S}abc").rule == rule


def test_west_of_greenwich_an_epoch_is_ahead_of_the_id() -> None:
    clock = read(wall("2024-06-10T16:04:58"), "20240610120455abc", "America/New_York")
    assert clock == Clock(datetime(2024, 6, 10, 16, 4, 58, tzinfo=UTC), "utc")


def test_where_the_zone_is_utc_both_readings_are_one_instant() -> None:
    clock = read(wall("2024-06-10T12:04:58"), "20240610120455abc", "UTC")
    assert clock == Clock(datetime(2024, 6, 10, 12, 4, 58, tzinfo=UTC), "local")


@pytest.mark.parametrize(
    "call_id",
    [
        NO_DATE,
        "",
        "2024061012045",
        "x20240610120455",
        "20240610-120455",
        "20241310120455",
        "20240231120455",
        "20240610240000",
        "20240610126055",
        "20240610120460",
        "19990610120455",
        "21000610120455",
        "٢٠٢٤٠٦١٠١٢٠٤٥٥",
    ],
)
def test_an_id_that_does_not_begin_with_a_date_tells_nothing(call_id: str) -> None:
    assert read(1718010298, call_id).rule == "assumed_local"


@pytest.mark.parametrize("year", [2000, 2099])
def test_a_date_in_the_id_counts_from_2000_to_2099(year: int) -> None:
    assert read(None, f"{year}0610120455").rule == "id"


@pytest.mark.parametrize(
    ("fallback", "started_at", "rule"),
    [
        ("local", "2018-09-13T13:15:54+00:00", "assumed_local"),
        ("utc", "2018-09-13T16:15:54+00:00", "assumed_utc"),
    ],
)
def test_without_a_date_in_the_id_the_fallback_decides(fallback: str, started_at: str, rule: str) -> None:
    assert read(1536855354, fallback=fallback) == Clock(datetime.fromisoformat(started_at), rule)


@pytest.mark.parametrize(
    ("forced", "started_at", "rule"),
    [("local", "2018-09-13T13:15:54+00:00", "forced_local"), ("utc", "2018-09-13T16:15:54+00:00", "forced_utc")],
)
@pytest.mark.parametrize("call_id", [NO_DATE, "201809131615530APIAPI", "20180913191554xxx"])
def test_the_accounts_setting_overrules_the_id(forced: str, started_at: str, rule: str, call_id: str) -> None:
    assert read(1536855354, call_id, rule=forced) == Clock(datetime.fromisoformat(started_at), rule)


@pytest.mark.parametrize("rule", ["auto", "local", "utc"])
def test_without_a_time_the_ids_date_is_read_as_local(rule: str) -> None:
    expected = Clock(datetime(2024, 6, 10, 9, 4, 55, tzinfo=UTC), "id")
    assert read(None, "20240610120455abc", rule=rule) == expected


@pytest.mark.parametrize("rule", ["auto", "local", "utc"])
def test_without_time_and_date_the_receipt_counts(rule: str) -> None:
    assert read(None, rule=rule) == Clock(RECEIVED, "received")


def test_the_receipt_is_given_in_utc() -> None:
    received = datetime(2024, 6, 10, 12, 6, tzinfo=ZoneInfo(JERUSALEM))
    started_at = read_clock(None, NO_DATE, received, JERUSALEM, "auto", "local").started_at
    assert started_at.isoformat() == "2024-06-10T09:06:00+00:00"


@pytest.mark.parametrize(
    ("zone", "twice", "first", "just_after"),
    [
        # The wall clock that comes twice, the instant of its first, and the first instant that is unambiguous.
        (JERUSALEM, "2024-10-27T01:30:00", "2024-10-26T22:30:00+00:00", ("2024-10-27T02:00:00", "2024-10-27T00:00:00")),
        (
            "America/New_York",
            "2024-11-03T01:30:00",
            "2024-11-03T05:30:00+00:00",
            ("2024-11-03T02:00:00", "2024-11-03T07:00:00"),
        ),
        (
            "Australia/Lord_Howe",
            "2024-04-07T01:45:00",
            "2024-04-06T14:45:00+00:00",
            ("2024-04-07T02:00:00", "2024-04-06T15:30:00"),
        ),
        (
            "America/Sao_Paulo",
            "2018-02-17T23:30:00",
            "2018-02-18T01:30:00+00:00",
            ("2018-02-18T00:00:00", "2018-02-18T03:00:00"),
        ),
    ],
)
def test_an_hour_that_comes_twice_is_its_first(zone: str, twice: str, first: str, just_after: tuple[str, str]) -> None:
    local, instant = just_after
    assert start(wall(twice), zone=zone) == first
    assert start(wall(local), zone=zone) == f"{instant}+00:00"


@pytest.mark.parametrize(
    ("zone", "missing", "started_at"),
    [
        (JERUSALEM, "2024-03-29T02:30:00", "2024-03-29T00:30:00+00:00"),
        ("America/New_York", "2024-03-10T02:30:00", "2024-03-10T07:30:00+00:00"),
        # Half an hour is left out: 02:00 to 02:30, at an offset of 10:30 before the change.
        ("Australia/Lord_Howe", "2024-10-06T02:15:00", "2024-10-05T15:45:00+00:00"),
        # These two leave out the hour after midnight.
        ("America/Sao_Paulo", "2018-11-04T00:30:00", "2018-11-04T03:30:00+00:00"),
        ("Africa/Cairo", "2024-04-26T00:30:00", "2024-04-25T22:30:00+00:00"),
        # Samoa left out the whole of 2011-12-30.
        ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00+00:00"),
    ],
)
def test_a_local_time_that_never_was_is_read_with_the_offset_before_the_change(
    zone: str, missing: str, started_at: str
) -> None:
    assert start(wall(missing), zone=zone) == started_at


def test_on_the_night_of_the_change_the_offset_is_that_of_the_time_read_as_an_epoch() -> None:
    # 23:30 UTC is 01:30 of winter time, the second one: the id says so too, two hours ahead.
    clock = read(wall("2024-10-26T23:30:00"), "20241027013000abc")
    assert clock == Clock(datetime(2024, 10, 26, 23, 30, tzinfo=UTC), "utc")


@given(st.integers(1, 4_102_444_800), st.sampled_from(ZONES))
def test_the_local_rule_gives_back_the_wall_clock_of_every_instant_that_has_one(time_raw: int, zone: str) -> None:
    wall_clock = datetime.fromtimestamp(time_raw, UTC).replace(tzinfo=None)
    seen = read(time_raw, zone=zone, rule="local").started_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    if never_was(wall_clock, zone):
        assert seen > wall_clock
    else:
        assert seen == wall_clock


def never_was(wall_clock: datetime, zone: str) -> bool:
    """In a gap, and only there, the offset of the first reading is smaller than that of the second."""
    first, second = (wall_clock.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    return (first or timedelta()) < (second or timedelta())


@given(
    st.none() | st.integers(1, 4_102_444_800),
    st.text() | st.from_regex(r"20[0-9]{12}[a-f]*", fullmatch=True),
    st.sampled_from(ZONES),
    st.sampled_from(["auto", "local", "utc"]),
    st.sampled_from(["local", "utc"]),
)
def test_the_start_is_always_aware_in_utc_and_its_rule_one_of_eight(
    time_raw: int | None, call_id: str, zone: str, rule: str, fallback: str
) -> None:
    clock = read(time_raw, call_id, zone, rule, fallback)
    assert clock.started_at.utcoffset() == timedelta()
    kinds = {"local", "utc", "assumed_local", "assumed_utc", "forced_local", "forced_utc", "id", "received"}
    assert clock.rule in kinds


@given(st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)), st.sampled_from(ZONES))  # noqa: DTZ001 - a wall clock
def test_an_epoch_beside_the_id_of_its_wall_clock_is_never_moved(wall_clock: datetime, zone: str) -> None:
    instant = wall_clock.replace(microsecond=0, tzinfo=UTC)
    local = instant.astimezone(ZoneInfo(zone))
    clock = read(int(instant.timestamp()), f"{local:%Y%m%d%H%M%S}abc", zone)
    assert clock.started_at == instant
