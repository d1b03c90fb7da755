"""Reads the clock of CDRs that are loaded anew, by the settings that hold now, and changes the rows that come out otherwise.

Harmless beside workers, recorders and beside itself: a row is changed only under its lock, by what it says then. CDRs are locked
in the order in which workers lock them, then their recordings in the order of their ids. Each page is a transaction of its own, so
that it may end anywhere and begin again; one that met a deadlock all the same, or waited too long for a lock, is done again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from cdr.clock.counts import Chosen
from common.errors import DatabaseUnavailable
from common.identity import MAX_TIME_RAW, call_key, provider_time
from common.postgres import Cursor, Database, Limits, statement
from worker.accounts import Accounts
from worker.clock import Clock, read_clock

CDRS_AT_ONCE = 1000
# Finding the few CDRs of an account among many takes its time, and holds no lock that anybody waits for.
READING = Limits(statement_seconds=0, lock_seconds=10)

_FIRST_TIME = provider_time(None)
# A deadlock, and a lock that was not free in time.
_MET_OTHERS = frozenset({"40P01", "55P03"})
_MOST_TRIES = 5
_PAUSE_SECONDS = 0.5
_Result = TypeVar("_Result")

# After the last provider_time that there is.
_LAST_TIME = provider_time(MAX_TIME_RAW) + timedelta(days=1)


class Range(NamedTuple):
    """A range of provider_time that lies in one partition when it is made."""

    begins: datetime
    ends: datetime


@dataclass
class Outcome:
    """How many CDRs were read, and of those that changed which rule found their start before and which does now."""

    read: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Row(NamedTuple):
    identity: bytes
    provider_time: datetime
    account: str
    call_id: str
    time_raw: int | None
    first_received_at: datetime
    started_at: datetime
    time_rule: str

    @property
    def clock(self) -> Clock:
        return Clock(self.started_at, self.time_rule)


class Rereading:
    """Reads the chosen CDRs anew; `outcome` tells how far it is, also after it was interrupted."""

    def __init__(self, database: Database, accounts: Accounts, chosen: Chosen, call_id: str | None) -> None:
        self.outcome = Outcome()
        self._database = database
        self._accounts = accounts
        key = None if chosen.account is None or call_id is None else call_key(chosen.account, call_id).hex()
        self._filter = {**chosen._asdict(), "call_id": call_id, "call_key": key, "limit": CDRS_AT_ONCE}

    def ranges(self) -> list[Range]:
        """Return all ranges of provider_time, so that each is read from one partition only."""
        with self._database.transaction() as cursor:
            months = [row[0] for row in cursor.execute(statement("cdr", "list_cdr_months"))]
        following = [(month + timedelta(days=31)).replace(day=1) for month in months]
        return [Range(*pair) for pair in pairwise(sorted({_FIRST_TIME, *months, *following, _LAST_TIME}))]

    def run(self, part: Range, *, change: bool, progress: Callable[[], None]) -> None:
        """Read the CDRs of one range and, with `change`, change those that come out otherwise; else only count them.

        Raises DatabaseUnavailable or DatabaseNotReady; what was changed before stands.
        """
        for page in self._pages(part):
            due = [row for row in page if self._read(row) != row.clock]
            if change and due:
                changed = _patiently(partial(self._change, part, due))
            else:
                changed = [(row.time_rule, self._read(row).rule) for row in due]
            self.outcome.read += len(page)
            self.outcome.changed.update(changed)
            progress()

    def _pages(self, part: Range) -> Iterator[list[_Row]]:
        after = {"after_identity": b"", "after_time": part.begins}
        while True:
            self._accounts.refresh(self._database)
            page = _patiently(partial(self._page, part, after))
            if page:
                yield page
            if len(page) < CDRS_AT_ONCE:
                return
            after = {"after_identity": page[-1].identity, "after_time": page[-1].provider_time}

    def _page(self, part: Range, after: dict[str, Any]) -> list[_Row]:
        with self._database.transaction(READING) as cursor:
            return _rows(cursor, "read_clocks", {**self._filter, **part._asdict(), **after})

    def _change(self, part: Range, due: list[_Row]) -> list[tuple[str, str]]:
        """Change rows by what they say once they are locked; return the rules before and after of those that were."""
        with self._database.transaction() as cursor:
            changes = [(row, clock) for row in lock(cursor, part, due) if (clock := self._read(row)) != row.clock]
            update(cursor, part, changes)
        return [(row.time_rule, clock.rule) for row, clock in changes]

    def _read(self, row: _Row) -> Clock:
        account = self._accounts.of(row.account)
        return read_clock(
            row.time_raw,
            row.call_id,
            row.first_received_at,
            account.time_zone,
            account.time_rule,
            account.time_fallback,
        )


def _patiently(do: Callable[[], _Result]) -> _Result:
    """Run a transaction, a few times when it meets others that hold what it needs."""
    for tries in range(1, _MOST_TRIES):
        try:
            return do()
        except DatabaseUnavailable as error:
            if error.sqlstate not in _MET_OTHERS:
                raise
            time.sleep(tries * _PAUSE_SECONDS)
    return do()


def lock(cursor: Cursor, part: Range, rows: list[_Row]) -> list[_Row]:
    """Lock rows of one range in the order of their key, and return them as they stand then."""
    cursor.execute(statement("cdr", "lock_cdrs_table"))
    return _rows(cursor, "lock_clocks", {**part._asdict(), **_keys(rows)})


def update(cursor: Cursor, part: Range, changes: list[tuple[_Row, Clock]]) -> None:
    """Give rows that are locked another clock, and note their calls to be folded."""
    values = {
        **part._asdict(),
        **_keys([row for row, _ in changes]),
        "starts": [clock.started_at for _, clock in changes],
        "rules": [clock.rule for _, clock in changes],
    }
    # A statement of its own, because an update locks what it changes in whatever order it finds that.
    cursor.execute(statement("cdr", "lock_recordings"), values)
    cursor.execute(statement("cdr", "update_clocks"), values)


def _keys(rows: list[_Row]) -> dict[str, list[Any]]:
    return {"identities": [row.identity for row in rows], "provider_times": [row.provider_time for row in rows]}


def _rows(cursor: Cursor, name: str, values: dict[str, Any]) -> list[_Row]:
    return [_Row(*columns) for columns in cursor.execute(statement("cdr", name), values)]
