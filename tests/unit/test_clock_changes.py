"""On the nights on which clocks are changed every rule finds the start of a call, minute by minute, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from clock_changes import CHANGES, Change, named, seconds
from hypothesis import example, given
from hypothesis import strategies as st

from worker.clock import Clock, read_clock

NO_DATE = "a-call-without-a-date"
RECEIVED = datetime(2024, 12, 1, 12, 0, tzinfo=UTC)
TOLERANCE = timedelta(minutes=10)

every_change = pytest.mark.parametrize("change", CHANGES, ids=named)
real_changes = [change for change in CHANGES if change.before != change.after]
every_real_change = pytest.mark.parametrize("change", real_changes, ids=named)


def read(
    change: Change, time: datetime | None, call_id: str = NO_DATE, rule: str = "auto", fallback: str = "local"
) -> Clock:
    time_raw = None if time is None else seconds(time)
    return read_clock(time_raw, call_id, RECEIVED, change.zone, rule, fallback)


def dated(wall_clock: datetime) -> str:
    return f"{wall_clock:%Y%m%d%H%M%S}abc"


@every_change
def test_a_wall_clock_with_an_id_of_the_same_is_read_through_the_zone(change: Change) -> None:
    for wall_clock in change.wall_clocks_around():
        assert read(change, wall_clock, dated(wall_clock), fallback="utc") == Clock(change.start(wall_clock), "local")


@every_change
def test_an_epoch_with_an_id_of_its_wall_clock_is_the_instant_itself(change: Change) -> None:
    for instant in change.minutes_around():
        same = change.wall_clock(instant) == instant
        clock = read(change, instant, dated(change.wall_clock(instant)))
        assert clock == Clock(instant, "local" if same else "utc")


@every_change
@pytest.mark.parametrize("rule", ["assumed_local", "forced_local"])
def test_without_help_of_the_id_a_wall_clock_is_read_through_the_zone(change: Change, rule: str) -> None:
    setting = "local" if rule == "forced_local" else "auto"
    for wall_clock in change.wall_clocks_around():
        assert read(change, wall_clock, rule=setting) == Clock(change.start(wall_clock), rule)


@every_change
@pytest.mark.parametrize("rule", ["assumed_utc", "forced_utc"])
def test_without_help_of_the_id_an_epoch_is_the_instant_itself(change: Change, rule: str) -> None:
    setting = "utc" if rule == "forced_utc" else "auto"
    for instant in change.minutes_around():
        assert read(change, instant, rule=setting, fallback="utc") == Clock(instant, rule)


@every_change
def test_the_setting_overrules_ids_of_both_kinds(change: Change) -> None:
    for wall_clock in change.wall_clocks_around():
        for call_id in (dated(wall_clock), dated(change.wall_clock(wall_clock))):
            assert read(change, wall_clock, call_id, "local") == Clock(change.start(wall_clock), "forced_local")
            assert read(change, wall_clock, call_id, "utc") == Clock(wall_clock, "forced_utc")


@every_change
@pytest.mark.parametrize("rule", ["auto", "local", "utc"])
def test_without_a_time_the_date_in_the_id_is_read_through_the_zone(change: Change, rule: str) -> None:
    for wall_clock in change.wall_clocks_around():
        assert read(change, None, dated(wall_clock), rule) == Clock(change.start(wall_clock), "id")


@every_change
@pytest.mark.parametrize("rule", ["auto", "local", "utc"])
def test_without_time_and_date_the_receipt_counts_in_that_night_too(change: Change, rule: str) -> None:
    for instant in change.minutes_around():
        clock = read_clock(None, NO_DATE, instant, change.zone, rule, "local")
        assert clock == Clock(instant, "received")


@every_change
def test_the_start_shows_the_wall_clock_that_was_sent_or_the_gap_later(change: Change) -> None:
    gap = timedelta(minutes=max(0, change.after - change.before))
    never_shown = 0
    for wall_clock in change.wall_clocks_around():
        shown = change.wall_clock(read(change, wall_clock).started_at)
        if change.instants(wall_clock):
            assert shown == wall_clock
        else:
            assert shown == wall_clock + gap
            never_shown += 1
    assert timedelta(minutes=never_shown) == gap


@every_change
def test_of_two_instants_the_first_is_taken_and_the_second_is_no_start_of_a_wall_clock(change: Change) -> None:
    overlap = max(0, change.before - change.after)
    twice = [wall_clock for wall_clock in change.wall_clocks_around() if len(change.instants(wall_clock)) == 2]
    assert len(twice) == overlap
    starts = {read(change, wall_clock).started_at for wall_clock in change.wall_clocks_around()}
    for wall_clock in twice:
        first, second = change.instants(wall_clock)
        assert second - first == timedelta(minutes=overlap)
        assert first in starts
        assert second not in starts


@every_change
def test_later_wall_clocks_start_later_except_that_a_gap_is_counted_twice(change: Change) -> None:
    gap = timedelta(minutes=max(0, change.after - change.before))
    overlap = timedelta(minutes=max(0, change.before - change.after))
    starts = [read(change, wall_clock).started_at for wall_clock in change.wall_clocks_around()]
    steps = [later - earlier for earlier, later in pairwise(starts)]
    minute = timedelta(minutes=1)
    unusual = [step for step in steps if step != minute]
    # The minute after a gap is also the first of the gap; the one after the first passage jumps over the second.
    assert unusual == [minute - gap] * bool(gap) + [minute + overlap] * bool(overlap)


@every_real_change
def test_an_id_just_across_the_change_does_not_tell_so_the_fallback_decides(change: Change) -> None:
    sent = change.instant - timedelta(minutes=1)
    of_the_id = change.wall_clock(change.instant + timedelta(minutes=1))
    wall_clock = change.wall_clock(sent)
    for fallback, start in (("local", change.start(wall_clock)), ("utc", wall_clock)):
        assert read(change, wall_clock, dated(of_the_id), fallback=fallback) == Clock(start, f"assumed_{fallback}")
    for fallback, start in (("utc", sent), ("local", change.start(sent))):
        assert read(change, sent, dated(of_the_id), fallback=fallback) == Clock(start, f"assumed_{fallback}")


@every_real_change
def test_an_id_of_the_other_side_by_the_hour_alone_is_not_taken_for_a_wall_clock_of_this_side(change: Change) -> None:
    shift = timedelta(minutes=change.after - change.before)
    for instant in change.minutes_around():
        # What a clock shows that was not changed, or was changed too early.
        wrong = change.wall_clock(instant) + (-shift if instant >= change.instant else shift)
        for offset in (timedelta(), TOLERANCE - timedelta(seconds=1), timedelta(seconds=1) - TOLERANCE):
            assert read(change, instant, dated(wrong + offset), fallback="utc").rule == "assumed_utc"


@given(st.sampled_from(CHANGES), st.integers(-3 * 3600, 3 * 3600), st.integers(-599, 599))
def test_an_id_within_ten_minutes_confirms_a_wall_clock_on_either_side(change: Change, away: int, off: int) -> None:
    wall_clock = change.instant + timedelta(minutes=change.before, seconds=away)
    clock = read(change, wall_clock, dated(wall_clock + timedelta(seconds=off)), fallback="utc")
    assert clock == Clock(change.start(wall_clock), "local")


# In UTC, whose offset is none, an id ten minutes away is the one that is no wall clock's any more.
@example(next(change for change in CHANGES if change.zone == "UTC"), 0, 600)
@given(st.sampled_from(CHANGES), st.integers(-3 * 3600, 3 * 3600), st.integers(-600, 600))
def test_an_id_within_ten_minutes_of_the_offset_confirms_an_epoch(change: Change, away: int, off: int) -> None:
    instant = change.instant + timedelta(seconds=away)
    of_the_id = change.wall_clock(instant) + timedelta(seconds=off)
    is_wall_clock = abs(of_the_id - instant) < TOLERANCE
    expected = Clock(change.start(instant), "local") if is_wall_clock else Clock(instant, "utc")
    assert read(change, instant, dated(of_the_id), fallback="utc") == expected
