"""The verdict on a clock is right for each way of being wrong, names the mend, and keeps silent where nothing is."""

from __future__ import annotations

from collections import Counter

import pytest

from cdr.clock.counts import FAR_MINUTES, ClockCounts
from cdr.clock.verdicts import Verdict, verdicts_on
from worker.accounts import Account

MEND = " && cdr clock recompute --account acme"


def settings(rule: str = "auto", fallback: str = "local") -> Account:
    return Account("Asia/Jerusalem", rule, fallback, "IL", duration_includes_wait=False)


def counts(
    wall_clock: int = 0, epoch: int = 0, both: int = 0, neither: dict[int, int] | None = None, undated: int = 0,
    outdated: int = 0, untimed: int = 0,
) -> ClockCounts:  # fmt: skip
    dated = wall_clock + epoch + both + sum((neither or {}).values())
    examples = {"neither": "c-1"} if neither else {}
    timed = dated + undated
    return ClockCounts(
        timed + untimed, dated, timed, wall_clock, epoch, both, Counter(neither or {}), outdated, examples
    )


def verdicts(counted: ClockCounts, judged_by: Account) -> list[Verdict]:
    return verdicts_on("acme", counted, judged_by)


def lines(counted: ClockCounts, judged_by: Account) -> list[str]:
    return [verdict.line for verdict in verdicts(counted, judged_by)]


def test_epochs_under_a_forced_wall_clock() -> None:
    assert lines(counts(wall_clock=188, epoch=812, outdated=300), settings("local")) == [
        "acme: 812 of 1,000 CDRs whose id has a date are a true epoch, but time_rule is forced to local: "
        "cdr accounts set acme --time-rule auto" + MEND
    ]


def test_wall_clocks_under_a_forced_epoch() -> None:
    assert lines(counts(wall_clock=990, epoch=10), settings("utc")) == [
        "acme: 990 of 1,000 CDRs whose id has a date are wall-clock time, but time_rule is forced to utc: "
        "cdr accounts set acme --time-rule auto" + MEND
    ]


@pytest.mark.parametrize(
    ("counted", "rule"),
    [
        (counts(wall_clock=1000), "local"),
        (counts(epoch=1000), "utc"),
        # Where the zone is UTC both readings are one instant, and neither setting is wrong.
        (counts(both=1000), "local"),
        (counts(both=1000), "utc"),
        (counts(wall_clock=600, epoch=400), "auto"),
        (counts(wall_clock=1000, undated=500), "auto"),
    ],
)
def test_nothing_is_said_of_a_setting_that_the_ids_bear_out(counted: ClockCounts, rule: str) -> None:
    assert lines(counted, settings(rule)) == []


def test_a_few_that_contradict_a_forced_rule_are_no_proof() -> None:
    assert lines(counts(wall_clock=1000, epoch=40), settings("local")) == []
    assert lines(counts(epoch=9), settings("local")) == []
    assert len(lines(counts(epoch=10), settings("local"))) == 1
    assert len(lines(counts(wall_clock=900, epoch=60), settings("local"))) == 1


def test_one_difference_that_is_no_offset_of_the_zone() -> None:
    [line] = lines(counts(wall_clock=50, neither={60: 940, 61: 10}, outdated=7), settings())
    assert line.startswith(
        "acme: 950 of 1,000 CDRs whose id has a date have an id 60 minutes ahead of time, which is no offset of "
        "Asia/Jerusalem then: the zone is probably another"
    )
    assert line.endswith("cdr accounts set acme --time-zone ZONE" + MEND)


def test_a_zone_of_summer_and_winter_is_one_zone_and_may_be_behind() -> None:
    [line] = lines(counts(neither={-240: 600, -300: 400}), settings())
    assert "600 of 1,000 CDRs whose id has a date have an id 240 minutes behind time" in line


def test_differences_by_chance_are_no_zone() -> None:
    [verdict] = verdicts(counts(wall_clock=500, neither=dict.fromkeys(range(200, 2000, 17), 1)), settings())
    assert (verdict.finding, verdict.command) == ("scattered", None)
    assert "compare call c-1" in verdict.line
    [verdict] = verdicts(counts(wall_clock=500, neither={FAR_MINUTES: 500}), settings())
    assert verdict.finding == "scattered"


def test_some_that_fit_nothing_are_usual() -> None:
    assert lines(counts(wall_clock=950, neither={60: 50}), settings()) == []
    assert lines(counts(neither={60: 9}), settings()) == []


@pytest.mark.parametrize(
    ("counted", "fallback", "other", "what"),
    [
        (counts(wall_clock=5, epoch=995, undated=200), "local", "utc", "995 of 1,000 CDRs whose id has a date are a true epoch"),
        (counts(wall_clock=995, epoch=5, undated=200), "utc", "local", "995 of 1,000 CDRs whose id has a date are wall-clock time"),
    ],
)  # fmt: skip
def test_the_fallback_is_not_what_the_dated_ids_say(counted: ClockCounts, fallback: str, other: str, what: str) -> None:
    assert lines(counted, settings(fallback=fallback)) == [
        f"acme: {what}, but 200 whose id has none are read as {fallback}: "
        f"cdr accounts set acme --time-fallback {other}" + MEND
    ]


def test_the_fallback_is_left_alone_where_it_is_not_used_or_the_ids_differ() -> None:
    assert lines(counts(epoch=1000), settings()) == []
    assert lines(counts(epoch=800, wall_clock=200, undated=50), settings()) == []


@pytest.mark.parametrize(("rule", "fallback", "told"), [("auto", "local", "local"), ("auto", "utc", "utc"), ("utc", "local", "utc")])  # fmt: skip
def test_without_dates_nothing_confirms_the_clock(rule: str, fallback: str, told: str) -> None:
    [verdict] = verdicts(counts(undated=1000), settings(rule, fallback))
    assert verdict.line.startswith(f"acme: no id has a date: nothing confirms that the clock is {told};")
    assert verdict.command is None
    assert lines(counts(undated=9, untimed=500), settings(rule, fallback)) == []


def test_what_was_read_by_other_settings_is_to_be_read_anew() -> None:
    [line] = lines(counts(wall_clock=1000, outdated=300), settings())
    said, _, command = line.partition("; if these are the right ones: ")
    assert said == "acme: 300 of 1,000 CDRs were read by other settings than hold now"
    assert command == "cdr clock recompute --account acme"
    assert [each.finding for each in verdicts(counts(undated=50, outdated=1), settings())] == [
        "unconfirmed",
        "outdated",
    ]


def test_the_median_is_of_those_that_fit_neither_and_the_totals_add_up() -> None:
    counted = counts(wall_clock=3, epoch=2, both=1, neither={60: 2, 62: 1, -5: 1}, undated=1, untimed=1)
    assert (counted.compared, counted.disagreed, counted.cdrs, counted.median_minutes) == (10, 4, 12, 60)
    assert counts(neither={-5: 1, 60: 1}).median_minutes == -5
    assert counts(wall_clock=3).median_minutes is None
