"""A learned name holds from the first call that showed it until the first that showed another, in any order of arrival."""

from __future__ import annotations

from typing import Any

import pytest
from copied_names import copied_names
from hypothesis import given
from hypothesis import strategies as st

from worker.name_timeline import MOST_CHANGES, MOST_LEARNED_NAMES, Timeline

DAY = 86_400.0
HOUR = 3_600.0


def learned(*calls: tuple[float, str]) -> Timeline:
    timeline = Timeline()
    for moment, name in calls:
        timeline = timeline.after_call(moment, name)
    return timeline


def test_a_name_holds_from_its_first_call_until_the_first_of_another() -> None:
    timeline = learned((DAY, "Dana"), (2 * DAY, "Dana"), (3 * DAY, "Noa"))
    assert timeline == Timeline((DAY, 3 * DAY), ("Dana", "Noa"))
    assert [timeline.name_at(moment) for moment in (DAY - 1, DAY, 3 * DAY - 1, 3 * DAY)] == [
        None,
        "Dana",
        "Dana",
        "Noa",
    ]


def test_a_name_that_comes_back_holds_again() -> None:
    assert learned((1, "Dana"), (2, "Noa"), (3, "Dana")).names == ("Dana", "Noa", "Dana")


def test_an_earlier_call_moves_the_start_of_its_name_back() -> None:
    assert learned((5, "Dana"), (9, "Noa"), (7, "Noa"), (2, "Dana")) == Timeline((2, 7), ("Dana", "Noa"))


def test_a_call_that_says_nothing_new_changes_nothing() -> None:
    timeline = learned((5, "Dana"), (9, "Noa"))
    for moment, name in ((5.0, "Dana"), (6.0, "Dana"), (9.0, "Noa"), (99.0, "Noa")):
        assert timeline.after_call(moment, name) is timeline


def test_of_two_names_in_one_moment_the_first_that_was_learned_stands() -> None:
    assert learned((5, "Dana"), (5, "Noa")) == Timeline((5,), ("Dana",))


def test_names_that_alternate_make_few_changes_a_day() -> None:
    timeline = learned(*((HOUR * number, "DN"[number % 2]) for number in range(24)))
    assert timeline == Timeline((0, HOUR, 2 * HOUR), ("D", "N", "D"))


def test_names_that_alternate_are_learned_again_a_day_later() -> None:
    timeline = learned(*((HOUR * number, "DN"[number % 2]) for number in range(24 * 10)))
    assert len(timeline.starts) > 2 * MOST_CHANGES
    assert timeline.names[-1] != timeline.names[-2]


def test_a_start_is_not_moved_to_where_there_are_enough() -> None:
    timeline = learned((0, "D"), (HOUR, "N"), (2 * HOUR, "D"), (40 * HOUR, "N"))
    assert timeline.after_call(3 * HOUR, "N") is timeline


def test_a_name_takes_the_place_of_another_from_the_same_moment() -> None:
    assert Timeline((1, 2), ("a", "b")).with_name(2, "c").with_name(1.5, "d") == Timeline((1, 1.5, 2), ("a", "d", "c"))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"))), st.integers(0, 9))
def test_many_names_added_at_once_are_those_added_one_by_one(rows: list[tuple[float, str]], at_once: int) -> None:
    one_by_one = Timeline()
    for start, name in rows:
        one_by_one = one_by_one.with_name(start, name)
    assert Timeline().with_names(rows[:at_once]).with_names(rows[at_once:]) == one_by_one


def test_many_names_are_added_at_the_cost_of_one_copy() -> None:
    rows = [(float(moment), "Dana") for moment in range(100_000)]
    known = Timeline((-1.0,), ("Noa",))
    with copied_names() as copied:
        assert len(known.with_names(rows).starts) == 100_001
    assert 100_001 <= copied.names <= 3 * 100_001


def test_a_timeline_that_has_enough_learned_names_stays_as_it_is() -> None:
    days = [(DAY * number, f"N{number}") for number in range(1, MOST_LEARNED_NAMES + 1)]
    nearly, full = learned(*days[:-1]), learned(*days)
    assert (nearly.is_full, full.is_full) == (False, True)
    last = days[-1][0]
    assert full.after_call(last + DAY, "new") is full.after_call(0, "N1") is full.after_call(last, "N1") is full
    assert nearly.after_call(0, "N1").starts[0] == 0


@st.composite
def stretches(draw: st.DrawFn) -> list[tuple[float, str]]:
    """Draw the calls of an extension whose names follow one another, each for a day or more, in any order of arrival."""
    calls = [
        (DAY * (place + offset), name)
        for place, name in enumerate(("Dana", "Noa", "Tal", "Gil")[: draw(st.integers(1, 4))])
        for offset in draw(st.sets(st.floats(0, 0.9), min_size=1, max_size=6)) | {0}
    ]
    return draw(st.permutations(calls))


@given(stretches())
def test_each_call_gets_its_own_name_in_whatever_order_the_calls_are_learned_from(
    calls: list[tuple[float, str]],
) -> None:
    timeline = learned(*calls)
    assert [timeline.name_at(moment) for moment, _ in calls] == [name for _, name in calls]
    assert timeline == learned(*sorted(calls))


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_each_call_gets_its_own_name_when_names_come_and_go_in_order(names: list[str]) -> None:
    calls = [(DAY * moment, name) for moment, name in enumerate(names)]
    timeline = learned(*calls)
    assert [timeline.name_at(moment) for moment, _ in calls] == names
    assert all(before != after for before, after in zip(timeline.names, timeline.names[1:], strict=False))


MOMENTS: Any = st.integers(0, 100).map(lambda hours: HOUR * hours)


@given(st.lists(st.tuples(MOMENTS, st.sampled_from("abc")), max_size=40))
def test_no_day_gets_more_than_its_changes_and_all_stays_in_order(calls: list[tuple[float, str]]) -> None:
    timeline = learned(*calls)
    assert list(timeline.starts) == sorted(set(timeline.starts))
    assert len(timeline.names) == len(timeline.starts)
    for start in timeline.starts:
        assert sum(start <= other < start + DAY for other in timeline.starts) <= MOST_CHANGES
    assert set(zip(timeline.starts, timeline.names, strict=True)) <= set(calls)


@pytest.mark.parametrize("moment", [float("-inf"), 0.0, float("inf")])
def test_nothing_known_has_no_name(moment: float) -> None:
    assert Timeline().name_at(moment) is None
