from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cdr.moments import read_moment, show_moment


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        (" 7d ", timedelta(days=7)),
        ("1w", timedelta(days=7)),
    ],
)
def test_an_age_is_counted_back_from_now(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - ago - read_moment(text)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["2026-01-31T10:00:00Z", "2026-01-31T12:00:00+02:00", "20260131T100000+0000"])
def test_an_iso_time_with_an_offset_is_that_moment(text: str) -> None:
    assert read_moment(text) == datetime(2026, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T00:00"])
def test_an_iso_time_without_an_offset_is_local(text: str) -> None:
    assert read_moment(text) == datetime(2026, 1, 31).astimezone()


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "h", "-2h", "1000000000s", "999999w", "2026-13-01", "٢h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither an ISO time nor an age"):
        read_moment(text)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 31, 12, 0, 0, 999, timezone(timedelta(hours=2))),
        "2026-01-31T10:00:00.000000Z",
        "2026-01-31 12:00:00+02",
    ],
)
def test_a_moment_is_shown_in_utc_with_its_offset_and_can_be_given_back(moment: datetime | str) -> None:
    assert show_moment(moment) == "2026-01-31T10:00:00+00:00"
    assert read_moment(show_moment(moment)) == datetime(2026, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["never", "", "0001-01-01T00:00:00+23:59"])
def test_a_text_that_is_no_moment_is_shown_as_it_is(text: str) -> None:
    assert show_moment(text) == text
