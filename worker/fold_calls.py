"""Folds the CDRs of a call, and of the calls that came from it, into its one row of `cdr.calls`.

Loading notes the touched calls in the outbox; folding reads all their CDRs again, so it may run any number of times.
One folder works at a time, and takes whatever waits.

A call that names an original call belongs to that one, and so on up to the root. `cdr.call_links` holds these steps and
the root under which each call was folded last, so that a new step finds the rows that it joins or parts.

A call whose row is refused stays in the outbox with the reason. Calls whose fold takes too long, or waits for a lock, are
noted again in two halves, and each half is tried by itself, later: so no pass waits for more than one of them, and in the
end one call is held up alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

import structlog

from common.errors import CdrError, DatabaseNotReady, DatabaseUnavailable, Permanent
from common.postgres import FOLDING, Cursor, Database, statement
from worker.bisection import Bisection, is_doubtful
from worker.call_spans import CallKey, CallSpans, Span, as_array, within

ENTRIES_AT_ONCE = 200
CALLS_AT_ONCE = 4000
MAX_STEPS = 32
# How long a call waits whose fold failed alone for the first time; doubled each time, up to the last.
FIRST_DELAY_SECONDS = 10
LAST_DELAY_SECONDS = 300
# After some forty minutes of waiting a person is asked, by the error in the outbox.
MAX_TRIES = 12

# The calls whose CDRs changed, each with the provider_times of the changed ones.
Touched = dict[CallKey, list[datetime]]

_log = structlog.get_logger("worker.fold_calls")


class Link(NamedTuple):
    """That one call came from another."""

    original: CallKey
    call_id: str
    original_call_id: str
    folded_under: CallKey


class NotFoldable(Permanent):
    """The CDRs of a call make the fold fail: an error of ours, not of the database."""

    reason = "not_foldable"


class _Taken(NamedTuple):
    """Calls taken from the outbox, whether more may wait there, and how often the fold of one alone has failed for a time."""

    touched: Touched
    more: bool
    tries: int = 0


def fold_waiting_calls(database: Database, seconds: float = 60.0) -> int:
    """Fold the calls that wait in the outbox and return how many were; 0 when another process is folding.

    Ends when it has taken all that waited, or after so many seconds and the round that is under way: what is noted meanwhile is
    for the next load, or the scheduler. Raises DatabaseUnavailable or DatabaseNotReady when `cdr.calls` cannot be written at
    all; what waits then waits on.
    """
    return _in_rounds(database, _take_waiting, seconds)


def fold_held_calls(database: Database, seconds: float = 60.0) -> int:
    """Fold the calls whose fold failed for a time and is due again, those of one entry at a time; as above otherwise."""
    return _in_rounds(database, _take_held, seconds)


def _in_rounds(database: Database, take: Callable[[Cursor], _Taken], seconds: float) -> int:
    ends_at = time.monotonic() + seconds
    total = 0
    while True:
        with database.transaction(FOLDING) as cursor:
            locked = cursor.execute(statement("worker", "try_fold_lock")).fetchone()
            taken = take(cursor) if locked and locked[0] else _Taken({}, more=False)
            done = _fold_or_hold(database, cursor, taken)
        total += len(taken.touched) if done else 0
        if not (taken.more and done) or time.monotonic() >= ends_at:
            return total


def _take_waiting(cursor: Cursor) -> _Taken:
    """Take what waits, but for the calls that are held up: their new CDRs wait with them."""
    touched: Touched = {}
    entries = calls = 0
    bounds = {"entries": ENTRIES_AT_ONCE, "calls": CALLS_AT_ONCE}
    for call_keys, times in cursor.execute(statement("worker", "take_calls_to_fold"), bounds):
        _add(touched, call_keys, times)
        entries += 1
        calls += len(call_keys)
    held = {row[0] for row in cursor.execute(statement("worker", "read_held_calls"))} if touched else set()
    for call_key in held & touched.keys():
        values = {"call_key": call_key, "provider_times": touched.pop(call_key)}
        cursor.execute(statement("worker", "join_held_calls"), values)
    return _Taken(touched, more=entries >= ENTRIES_AT_ONCE or calls >= CALLS_AT_ONCE)


def _take_held(cursor: Cursor) -> _Taken:
    entry = cursor.execute(statement("worker", "take_held_calls")).fetchone()
    touched: Touched = {}
    if entry is None:
        return _Taken(touched, more=False)
    call_keys, times, tries = entry
    _add(touched, call_keys, times)
    return _Taken(touched, more=True, tries=tries)


def _add(touched: Touched, call_keys: list[CallKey], times: list[datetime]) -> None:
    for call_key, provider_time in zip(call_keys, times, strict=True):
        touched.setdefault(call_key, []).append(provider_time)


def _fold_or_hold(database: Database, cursor: Cursor, taken: _Taken) -> bool:
    """Fold calls, but for those whose row is refused; when it takes too long note them again, and tell so."""
    calls = list(taken.touched.items())
    bisection = Bisection[tuple[CallKey, list[datetime]]](lambda part, _: _fold_together(database, dict(part)))
    try:
        bisection.run(calls)
    except (DatabaseUnavailable, DatabaseNotReady) as error:
        if not is_doubtful(error):
            raise
        _check_calls(database)
        middle = (len(calls) + 1) // 2
        for half in filter(None, (calls[:middle], calls[middle:])):
            _hold(cursor, dict(half), taken.tries + (len(calls) == 1), error)
        return False
    for refused in bisection.refused:
        _note_unfoldable(cursor, dict(refused.items), refused.error)
    return True


def _fold_together(database: Database, touched: Touched) -> None:
    try:
        with database.transaction() as cursor:
            _fold(cursor, touched)
    except CdrError:
        raise
    except Exception as error:
        raise NotFoldable(f"{type(error).__name__}: {error}") from error


def _check_calls(database: Database) -> None:
    """Raise DatabaseUnavailable or DatabaseNotReady unless rows of `cdr.calls` can be written at all."""
    with database.transaction() as cursor:
        cursor.execute(statement("worker", "lock_calls"))


def _hold(cursor: Cursor, touched: Touched, tries: int, error: CdrError) -> None:
    """Note calls again, to be tried by themselves: at once while there are several, one alone after a while."""
    if tries > MAX_TRIES:
        _note_unfoldable(cursor, touched, error)
        return
    delay = min(FIRST_DELAY_SECONDS * 2 ** (tries - 1), LAST_DELAY_SECONDS) if tries else 0
    _log.warning("calls held up", count=len(touched), tries=tries, seconds=delay, error=str(error))
    cursor.execute(statement("worker", "note_held_calls"), {**_flat(touched), "tries": tries, "seconds": delay})


def _note_unfoldable(cursor: Cursor, touched: Touched, error: CdrError) -> None:
    [call_key] = touched
    _log.error("call not folded", call_key=call_key, error=str(error))
    cursor.execute(statement("worker", "note_unfoldable_call"), {**_flat(touched), "error": str(error)})


def _flat(touched: Touched) -> dict[str, list[CallKey] | list[datetime]]:
    """Return calls as an entry of the outbox holds them; of the times the first and the last are enough."""
    pairs = [(call_key, moment) for call_key, times in touched.items() for moment in {min(times), max(times)}]
    return {"call_keys": [call_key for call_key, _ in pairs], "provider_times": [moment for _, moment in pairs]}


def _fold(cursor: Cursor, touched: Touched) -> None:
    """Fold the touched calls, the rows that held them until now, and the rows that hold them from now on."""
    before = _read_links(cursor, touched)
    rows = touched.keys() | {link.folded_under for link in before.values()}
    spans = CallSpans(touched)
    spans.read_rows(cursor, rows)
    links, known = before, set(touched)
    if _link_anew(cursor, touched, before, spans):
        known = set()
    while True:
        members = rows | _read_members(cursor, rows)
        if members != known:
            links, known = _read_links(cursor, members), members
        roots = {member: find_root(member, links) for member in members}
        joined = set(roots.values()) - rows
        if not joined:
            break
        # A row that calls move to has members of its own, which are folded with them.
        rows |= joined
        spans.read_rows(cursor, joined)
    # A step that is gone or new says no more where its call was folded.
    _write(cursor, roots, links, rows, spans.of(_folded_under(roots, {**links, **before})))


def _folded_under(call_keys: Iterable[CallKey], links: dict[CallKey, Link]) -> dict[CallKey, CallKey]:
    return {call_key: links[call_key].folded_under if call_key in links else call_key for call_key in call_keys}


def _link_anew(cursor: Cursor, touched: Touched, before: dict[CallKey, Link], spans: CallSpans) -> bool:
    """Note which original call each touched call names now; tell whether that is another than `before`."""
    changed = within(spans.of(_folded_under(touched, before)))
    new = cursor.execute(statement("worker", "link_calls"), changed).rowcount
    if touched.keys().isdisjoint(before):
        return new > 0
    gone = cursor.execute(statement("worker", "unlink_calls"), changed).rowcount
    return new > 0 or gone > 0


def _write(
    cursor: Cursor,
    roots: dict[CallKey, CallKey],
    links: dict[CallKey, Link],
    rows: set[CallKey],
    spans: dict[CallKey, Span],
) -> None:
    """Write the rows of the roots, and delete those of `rows` that have no CDR any more."""
    ids = {link.original: link.original_call_id for link in links.values()}
    linked = {call_key: root for call_key, root in roots.items() if call_key in links}
    if linked:
        values = {"call_keys": as_array(linked), "root_keys": as_array(linked.values())}
        cursor.execute(statement("worker", "set_call_roots"), values)
    of_spanned = [roots[call_key] for call_key in spans]
    named = {"root_keys": as_array(of_spanned), "root_ids": [ids.get(root) for root in of_spanned]}
    folded = {row[0] for row in cursor.execute(statement("worker", "fold_calls"), {**within(spans), **named})}
    gone = rows - folded
    if gone:
        cursor.execute(statement("worker", "delete_calls"), {"call_keys": as_array(gone)})


def find_root(call_key: CallKey, links: dict[CallKey, Link]) -> CallKey:
    """Follow a call to the one that it came from first.

    A chain longer than 32 steps ends there; a ring ends at the call of the ring with the smallest id.
    """
    path = [call_key]
    while len(path) <= MAX_STEPS and (link := links.get(path[-1])) is not None:
        if link.original in path:
            ring = path[path.index(link.original) :]
            return min(ring, key=lambda key: links[key].call_id)
        path.append(link.original)
    return path[-1]


def _read_links(cursor: Cursor, call_keys: Iterable[CallKey]) -> dict[CallKey, Link]:
    cursor.execute(statement("worker", "read_call_links"), {"call_keys": as_array(call_keys)})
    return {call_key: Link(*columns) for call_key, *columns in cursor}


def _read_members(cursor: Cursor, root_keys: Iterable[CallKey]) -> set[CallKey]:
    cursor.execute(statement("worker", "read_call_members"), {"root_keys": as_array(root_keys)})
    return {row[0] for row in cursor}
