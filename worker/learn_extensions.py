"""Learns names of extensions from the CDRs that carry a code and a name, as the last step of the transaction that loads them.

Only what is news to the directory in memory is written, so that loading costs next to nothing more once names are known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import structlog

from common.cdr import Cdr
from common.errors import CdrError, Permanent
from common.postgres import IN_DOUBT, WORK, Cursor, Database, Limits, statement
from common.sqlstates import Decision, decide
from worker.extension_directory import ExtensionDirectory, Key
from worker.name_timeline import MOST_LEARNED_NAMES, Timeline

# Who learns holds the lock from the last step to the commit. One that is held for longer is held by a process that was
# stopped, and a name can be learned from the next call.
_LOCK_SECONDS = 1.0

_log = structlog.get_logger("worker.learn_extensions")


class _Change(NamedTuple):
    """A name that holds from `start` on; one that was known from later on has `moved_from` there."""

    key: Key
    start: float
    name: str
    moved_from: float | None


def learn(
    database: Database, cdrs: Iterable[Cdr], directory: ExtensionDirectory, *, in_doubt: bool = False
) -> dict[Key, Timeline]:
    """Write the names that the CDRs show and the directory does not have, in the transaction that is under way.

    Returns what the table says then of their extensions, for the directory to take once that transaction is committed.
    What PostgreSQL refuses is not learned, and costs no CDR its row; raises DatabaseNotReady, or DatabaseUnavailable when
    the connection is to blame.
    """
    news = _news(cdrs, directory)
    if not news:
        return {}
    limits = Limits((IN_DOUBT if in_doubt else WORK).statement_seconds, _LOCK_SECONDS)
    try:
        with database.transaction(limits) as cursor:
            return _write(cursor, news)
    except CdrError as error:
        if not isinstance(error, Permanent) and decide(error.sqlstate) in {Decision.WAIT, Decision.SCHEMA}:
            raise
        _log.warning("names of extensions not learned", extensions=len(news), error=str(error))
        return {}


def try_learning(database: Database, cdr: Cdr, directory: ExtensionDirectory) -> None:
    """Learn from a CDR that shows a name nobody has, and from one of a second before, so that each statement is tried."""
    moment = cdr.started_at or cdr.received_at
    for earlier in (timedelta(), timedelta(seconds=1)):
        learn(database, [replace(cdr, started_at=moment - earlier)], directory, in_doubt=True)


def _news(cdrs: Iterable[Cdr], directory: ExtensionDirectory) -> dict[Key, list[tuple[float, str]]]:
    news: dict[Key, list[tuple[float, str]]] = {}
    for cdr in cdrs:
        if not cdr.shown_names or cdr.started_at is None:
            continue
        moment = cdr.started_at.timestamp()
        for code, name in cdr.shown_names:
            if directory.is_news(cdr.account, code, moment, name):
                news.setdefault((cdr.account, code), []).append((moment, name))
    return news


def _write(cursor: Cursor, news: dict[Key, list[tuple[float, str]]]) -> dict[Key, Timeline]:
    """Decide by the table as it stands under the lock, so that two workers that learn the same make one row.

    To PostgreSQL the transaction is idle meanwhile, and others wait for the lock. So the work has a bound: each call of the
    batch costs a copy of at most `MOST_LEARNED_NAMES` names, and each code as many rows to read.
    """
    cursor.execute(statement("worker", "lock_learning"))
    learned = _read(cursor, news)
    # Of such a code not all rows may have been read. What the directory has of it is left to its next look at the table.
    full = {key for key, names in learned.items() if names.is_full}
    changes = []
    for key, calls in news.items():
        for moment, name in sorted(calls):
            before = learned.get(key, Timeline())
            after = before.after_call(moment, name)
            if after is not before:
                moved_from = next(iter(set(before.starts).difference(after.starts)), None)
                changes.append(_Change(key, moment, name, moved_from))
                learned[key] = after
    _move(cursor, [change for change in changes if change.moved_from is not None])
    _insert(cursor, [change for change in changes if change.moved_from is None])
    return {key: names for key, names in learned.items() if key not in full}


def _read(cursor: Cursor, keys: Iterable[Key]) -> dict[Key, Timeline]:
    accounts, codes = zip(*keys, strict=True)
    values = {"accounts": list(accounts), "codes": list(codes), "most": MOST_LEARNED_NAMES}
    rows: defaultdict[Key, list[tuple[float, str]]] = defaultdict(list)
    for account, code, start, name in cursor.execute(statement("worker", "read_learned_names"), values):
        rows[account, code].append((start, name))
    return {key: Timeline().with_names(names) for key, names in rows.items()}


def _move(cursor: Cursor, changes: list[_Change]) -> None:
    if changes:
        moved_from = [change.moved_from for change in changes]
        cursor.execute(statement("worker", "move_learned_names"), {**_columns(changes), "moved_from": moved_from})


def _insert(cursor: Cursor, changes: list[_Change]) -> None:
    if changes:
        names = [change.name for change in changes]
        cursor.execute(statement("worker", "insert_learned_names"), {**_columns(changes), "names": names})


def _columns(changes: list[_Change]) -> dict[str, list[object]]:
    return {
        "accounts": [change.key[0] for change in changes],
        "codes": [change.key[1] for change in changes],
        "starts": [change.start for change in changes],
    }
