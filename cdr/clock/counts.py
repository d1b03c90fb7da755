"""Counts what the dates in call ids say of `time`: by account and rule, in one pass of PostgreSQL over the CDRs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from cdr.clock.zone_periods import periods_of
from common.postgres import Cursor, statement
from worker.accounts import Account, Accounts

# What the SQL calls every difference of more than two days, which no zone can make.
FAR_MINUTES = 2881


class Chosen(NamedTuple):
    """Which CDRs are meant; None is no bound. The times are those of `started_at` as it stands."""

    account: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass
class ClockCounts:
    """What is known of some CDRs of one account.

    `wall_clock` are those whose `time` is within 10 minutes of the date in the id, `epoch` those that differ by the zone's
    offset, `both` those of which both is true, `neither` those of which none is, by how many minutes the id is ahead.
    The rest has no date in its id, or no time. `outdated` would be read otherwise by the settings that hold now.
    """

    cdrs: int = 0
    dated: int = 0
    timed: int = 0
    wall_clock: int = 0
    epoch: int = 0
    both: int = 0
    neither: Counter[int] = field(default_factory=Counter)
    outdated: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """How many have a time and a date in the id."""
        return self.wall_clock + self.epoch + self.both + self.disagreed

    @property
    def disagreed(self) -> int:
        """How many fit neither reading."""
        return self.neither.total()

    @property
    def median_minutes(self) -> int | None:
        """By how many minutes the id is ahead of `time`, in the middle one of those that fit neither."""
        middle = (self.disagreed + 1) // 2
        for minutes in sorted(self.neither):
            middle -= self.neither[minutes]
            if middle <= 0:
                return minutes
        return None

    def add(self, other: ClockCounts) -> None:
        """Count the CDRs of `other` too."""
        for name in ("cdrs", "dated", "timed", "wall_clock", "epoch", "both", "outdated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.neither.update(other.neither)
        for reading, call_id in other.examples.items():
            self.examples.setdefault(reading, call_id)


def count_clocks(
    cursor: Cursor, accounts: Accounts, chosen: Chosen, at_most: int | None = None
) -> dict[str, dict[str, ClockCounts]]:
    """Count CDRs by account and `time_rule`, both in order; with `at_most` of no more than so many of them.

    Takes time in proportion to the CDRs, and holds no lock that anybody waits for.
    """
    values = {
        "accounts": _as_json([{"account": name, **_as_sql(account)} for name, account in accounts.own.items()]),
        "defaults": _as_json(_as_sql(accounts.default)),
        "at_most": at_most,
        **chosen._asdict(),
    }
    counts: dict[str, dict[str, ClockCounts]] = {}
    for account, rule, *columns in sorted(cursor.execute(statement("cdr", "count_clocks"), values)):
        counts.setdefault(account, {}).setdefault(rule, ClockCounts()).add(_counts(*columns))
    return counts


def total(counts: Iterable[ClockCounts]) -> ClockCounts:
    """Return all of it together."""
    together = ClockCounts()
    for each in counts:
        together.add(each)
    return together


def _counts(reading: str, minutes: int | None, cdrs: int, dated: int, outdated: int, example: str) -> ClockCounts:
    timed = 0 if reading == "no_time" else cdrs
    made = ClockCounts(cdrs, dated, timed, outdated=outdated, examples={reading: example})
    if minutes is not None:
        made.neither[minutes] = cdrs
    elif reading in {"wall_clock", "epoch", "both"}:
        setattr(made, reading, cdrs)
    return made


def _as_sql(account: Account) -> dict[str, object]:
    rule, fallback = account.time_rule, account.time_fallback
    return {"time_rule": rule, "time_fallback": fallback, **periods_of(account.time_zone)._asdict()}


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
