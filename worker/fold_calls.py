"""Folds the CDRs of a call, and of the calls that came from it, into its one row of `cdr.calls`.

Loading notes the touched calls in the outbox; folding reads all their CDRs again, so it may run any number of times.
One folder works at a time, and takes whatever waits.

A call that names an original call belongs to that one, and so on up to the root. `cdr.call_links` holds these steps and
the root under which each call was folded last, so that a new step finds the rows that it joins or parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import chain
from typing import NamedTuple
from uuid import UUID

import structlog

from common.errors import RefusedByDatabase
from common.postgres import Cursor, Database, statement

ENTRIES_AT_ONCE = 200
CALLS_AT_ONCE = 4000
MAX_STEPS = 32
# A worker that folds for all others goes back to loading after so many rounds; whoever comes next goes on.
MAX_ROUNDS = 50

# The calls whose CDRs changed, each with the provider_times of the changed ones.
Touched = dict[UUID, list[datetime]]

_log = structlog.get_logger("worker.fold_calls")


class Link(NamedTuple):
    """That one call came from another."""

    original: UUID
    call_id: str
    original_call_id: str
    folded_under: UUID


def fold_waiting_calls(database: Database) -> int:
    """Fold the calls that wait in the outbox and return how many were touched; 0 when another process is folding.

    A call whose row the database refuses stays in the outbox with the reason, until a person clears `error` or a CDR
    touches the call again. Raises DatabaseUnavailable or DatabaseNotReady.
    """
    total = 0
    for _ in range(MAX_ROUNDS):
        with database.transaction() as cursor:
            touched = _take(cursor)
            _fold_or_bisect(database, touched)
        if not touched:
            break
        total += len(touched)
    return total


def _take(cursor: Cursor) -> Touched:
    locked = cursor.execute(statement("worker", "try_fold_lock")).fetchone()
    touched: Touched = {}
    if locked is None or not locked[0]:
        return touched
    bounds = {"entries": ENTRIES_AT_ONCE, "calls": CALLS_AT_ONCE}
    for call_keys, times in cursor.execute(statement("worker", "take_calls_to_fold"), bounds):
        for call_key, time in zip(call_keys, times, strict=True):
            touched.setdefault(call_key, []).append(time)
    return touched


def _fold_or_bisect(database: Database, touched: Touched) -> None:
    """Fold calls, all that the database takes: one that it refuses must not keep the others waiting."""
    if not touched:
        return
    try:
        with database.transaction() as cursor:
            _fold(cursor, touched)
    except RefusedByDatabase as error:
        if len(touched) == 1:
            _note_unfoldable(database, touched, str(error))
            return
        pairs, middle = list(touched.items()), len(touched) // 2
        _fold_or_bisect(database, dict(pairs[:middle]))
        _fold_or_bisect(database, dict(pairs[middle:]))


def _note_unfoldable(database: Database, touched: Touched, error: str) -> None:
    [(call_key, times)] = touched.items()
    _log.error("call not folded", call_key=str(call_key), error=error)
    with database.transaction() as cursor:
        values = {"call_key": call_key, "provider_times": times, "error": error}
        cursor.execute(statement("worker", "note_unfoldable_call"), values)


def _fold(cursor: Cursor, touched: Touched) -> None:
    """Fold the touched calls, the rows that held them until now, and the rows that hold them from now on."""
    before = _read_links(cursor, touched)
    rows = touched.keys() | {link.folded_under for link in before.values()}
    changed = {"call_keys": list(touched), **_span(cursor, rows, touched)}
    cursor.execute(statement("worker", "link_calls"), changed)
    cursor.execute(statement("worker", "unlink_calls"), changed)
    while True:
        members = rows | _read_members(cursor, rows)
        links = _read_links(cursor, members)
        roots = {member: find_root(member, links) for member in members}
        joined = set(roots.values()) - rows
        if not joined:
            break
        # A row that calls move to has members of its own, which are folded with them.
        rows |= joined
    _write(cursor, roots, links, rows, _span(cursor, rows, touched))


def _span(cursor: Cursor, rows: set[UUID], touched: Touched) -> dict[str, datetime]:
    """Bound the provider_times of all CDRs of these calls, so that only their partitions are read."""
    times = list(chain.from_iterable(touched.values()))
    known = cursor.execute(statement("worker", "read_call_spans"), {"call_keys": list(rows)}).fetchone() or ()
    times.extend(time for time in known if time is not None)
    return {"from": min(times), "to": max(times)}


def _write(
    cursor: Cursor, roots: dict[UUID, UUID], links: dict[UUID, Link], rows: set[UUID], span: dict[str, datetime]
) -> None:
    """Write the rows of the roots, and delete those of `rows` that have no CDR any more."""
    ids = {link.original: link.original_call_id for link in links.values()}
    pairs = {"call_keys": list(roots), "root_keys": list(roots.values())}
    cursor.execute(statement("worker", "set_call_roots"), pairs)
    named = {**pairs, "root_ids": [ids.get(root) for root in roots.values()]}
    folded = {row[0] for row in cursor.execute(statement("worker", "fold_calls"), {**named, **span})}
    gone = rows - folded
    if gone:
        cursor.execute(statement("worker", "delete_calls"), {"call_keys": list(gone)})


def find_root(call_key: UUID, links: dict[UUID, Link]) -> UUID:
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


def _read_links(cursor: Cursor, call_keys: Iterable[UUID]) -> dict[UUID, Link]:
    cursor.execute(statement("worker", "read_call_links"), {"call_keys": list(call_keys)})
    return {call_key: Link(*columns) for call_key, *columns in cursor}


def _read_members(cursor: Cursor, root_keys: Iterable[UUID]) -> set[UUID]:
    cursor.execute(statement("worker", "read_call_members"), {"root_keys": list(root_keys)})
    return {row[0] for row in cursor}
