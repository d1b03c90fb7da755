"""Fills in names of extensions in the CDRs that were loaded before their names were known, for `cdr extensions backfill`.

It walks along the starts of the calls, whose index follows the order in which rows were loaded, a few thousand rows at a
time, and commits about a thousand names at once. What was done stands, however it ends: whoever runs it again does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from cdr.audit import audited
from cdr.database import opened_database
from cdr.interrupts import interrupts_held
from cdr.known_accounts import require_account
from cdr.printing import print_count, print_warning
from cdr.progress import is_watched, progress_bar
from common.postgres import Database, Limits, statement
from worker.extension_directory import ExtensionDirectory

WINDOW_ROWS = 5_000
BATCH_ROWS = 1_000
# Nobody waits for the count that the bar is measured by, and it locks nothing.
_COUNTING = Limits(statement_seconds=0, lock_seconds=5)


@dataclass(frozen=True)
class Selection:
    """Which CDRs are meant: of one account, and of calls that began from `since` up to `until`; None: of any."""

    account: str | None
    since: datetime | None
    until: datetime | None


class Named(NamedTuple):
    """A CDR and the names that the directory has for its extensions; None: none, or it has one."""

    identity: bytes
    provider_time: datetime
    caller_name: str | None
    answering_name: str | None


class _Window(NamedTuple):
    """The CDRs of the calls that began after the one moment and up to the other; None: without a bound."""

    after: datetime | None
    until: datetime | None


def run_backfill(selection: Selection, *, dry_run: bool, as_json: bool) -> int:
    """Fill in what can be, or only count it, and print how many CDRs; exit code 1 if it was interrupted."""
    with opened_database("extensions") as database:
        require_account(database, selection.account)
        if not dry_run:
            return _fill_in_all(database, selection, as_json=as_json)
        found = sum(len(named) for named in _find(database, selection))
    print_count(found, "CDR would get a name", "CDRs would get a name", as_json=as_json)
    return 0


def _fill_in_all(database: Database, selection: Selection, *, as_json: bool) -> int:
    done, exit_code = 0, 0
    with audited("extensions backfill", asdict(selection)) as tell:
        try:
            for named in _find(database, selection):
                with interrupts_held():
                    done += fill_in(database, named)
                    tell(done)
        except KeyboardInterrupt:
            exit_code = 1
    print_count(done, "CDR got a name", "CDRs got a name", as_json=as_json)
    if exit_code:
        print_warning("cdr: interrupted: what is done stands, and running it again does the rest")
    return exit_code


def fill_in(database: Database, named: list[Named]) -> int:
    """Write the names where there are still none, in one transaction, and return in how many CDRs."""
    times = [cdr.provider_time for cdr in named]
    values = {
        "identities": [cdr.identity for cdr in named],
        "provider_times": times,
        "caller_names": [cdr.caller_name for cdr in named],
        "answering_names": [cdr.answering_name for cdr in named],
        "first": min(times),
        "last": max(times),
    }
    with database.transaction() as cursor:
        return cursor.execute(statement("cdr", "fill_in_names"), values).rowcount


def _find(database: Database, selection: Selection) -> Iterator[list[Named]]:
    """Yield the CDRs that can be given a name, a batch at a time, and show how far it is."""
    directory = ExtensionDirectory()
    with progress_bar() as bar:
        total = _count(database, selection) if is_watched() else None
        task = bar.add_task("CDRs looked at", total=total)
        for place, window in enumerate(_windows(database, selection)):
            bar.update(task, completed=place * WINDOW_ROWS)
            directory.refresh(database)
            named = _name(_read(database, window, selection.account), directory)
            while batch := list(islice(named, BATCH_ROWS)):
                yield batch
        bar.update(task, completed=total)


def _windows(database: Database, selection: Selection) -> Iterator[_Window]:
    # The bound before the first window is exclusive, as those between windows are.
    after = None if selection.since is None else selection.since - timedelta(microseconds=1)
    while True:
        values = {"after": after, "until": selection.until, "rows": WINDOW_ROWS}
        end = _one(database, "end_of_backfill_window", values)
        yield _Window(after, end or selection.until)
        if end is None:
            return
        after = end


def _read(database: Database, window: _Window, account: str | None) -> list[tuple[Any, ...]]:
    values = {**window._asdict(), "account": account}
    with database.transaction() as cursor:
        return cursor.execute(statement("cdr", "read_unnamed_cdrs"), values).fetchall()


def _name(rows: list[tuple[Any, ...]], directory: ExtensionDirectory) -> Iterator[Named]:
    for identity, provider_time, account, started_at, caller_code, answering_code in rows:
        caller_name = directory.name_at(account, caller_code, started_at)
        answering_name = directory.name_at(account, answering_code, started_at)
        if caller_name is not None or answering_name is not None:
            yield Named(identity, provider_time, caller_name, answering_name)


def _count(database: Database, selection: Selection) -> int:
    values = {"after": selection.since, "until": selection.until}
    return int(_one(database, "count_cdrs_to_backfill", values, _COUNTING))


def _one(database: Database, name: str, values: dict[str, Any], limits: Limits | None = None) -> Any:
    with database.transaction(limits) as cursor:
        row = cursor.execute(statement("cdr", name), values).fetchone()
    return row[0] if row else None
