"""Folds the CDRs of a call, and of the calls that came from it, into its one row of `cdr.calls`.

Loading notes the touched calls in the outbox; folding reads all their CDRs again, so it may run any number of times.
One folder works at a time, and takes whatever waits.

A call that names an original call belongs to that one, and so on up to the root. `cdr.call_links` holds these steps and
the root under which each call was folded last, so that a new step finds the rows that it joins or parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.postgres import Cursor, Database, statement

BATCHES_AT_ONCE = 4
MAX_STEPS = 32


class Link(NamedTuple):
    """That one call came from another."""

    original: UUID
    account: str
    call_id: str
    original_call_id: str
    folded_under: UUID


class Touched(NamedTuple):
    """Calls whose CDRs changed, and between which provider_times the changed ones lie."""

    call_keys: set[UUID]
    first: datetime
    last: datetime


def fold_waiting_calls(database: Database) -> int:
    """Fold all calls that wait in the outbox and return how many were touched; 0 when another process is folding."""
    total = 0
    while True:
        with database.transaction() as cursor:
            touched = _take(cursor)
            if touched is None:
                return total
            _fold(cursor, touched)
        total += len(touched.call_keys)


def _take(cursor: Cursor) -> Touched | None:
    locked = cursor.execute(statement("worker", "try_fold_lock")).fetchone()
    if locked is None or not locked[0]:
        return None
    rows = cursor.execute(statement("worker", "take_calls_to_fold"), {"limit": BATCHES_AT_ONCE}).fetchall()
    if not rows:
        return None
    times = [time for _, provider_times in rows for time in provider_times]
    return Touched({key for keys, _ in rows for key in keys}, min(times), max(times))


def _fold(cursor: Cursor, touched: Touched) -> None:
    """Fold the touched calls, the rows that held them until now, and the rows that hold them from now on."""
    before = _read_links(cursor, touched.call_keys)
    rows = touched.call_keys | {link.folded_under for link in before.values()}
    span = _span(cursor, rows, touched)
    cursor.execute(statement("worker", "link_calls"), {"call_keys": list(touched.call_keys), **span})
    members = rows | _read_members(cursor, rows)
    links = _read_links(cursor, members)
    roots = {member: find_root(member, links) for member in members}
    joined = set(roots.values()) - rows
    if joined:
        # A row that members move to has members of its own, which stay.
        rows |= joined
        roots.update((root, root) for root in joined)
        roots.update((member, find_root(member, links)) for member in _read_members(cursor, joined) - members)
        span = _span(cursor, rows, touched)
    _write(cursor, roots, rows, span)


def _span(cursor: Cursor, rows: set[UUID], touched: Touched) -> dict[str, datetime]:
    """Bound the provider_times of all CDRs of these calls, so that only their partitions are read."""
    known = cursor.execute(statement("worker", "read_call_spans"), {"call_keys": list(rows)}).fetchone() or (None, None)
    return {"from": min(touched.first, known[0] or touched.first), "to": max(touched.last, known[1] or touched.last)}


def _write(cursor: Cursor, roots: dict[UUID, UUID], rows: set[UUID], span: dict[str, datetime]) -> None:
    pairs = {"call_keys": list(roots), "root_keys": list(roots.values())}
    cursor.execute(statement("worker", "set_call_roots"), pairs)
    folded = {row[0] for row in cursor.execute(statement("worker", "fold_calls"), {**pairs, **span})}
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
    return {
        call_key: Link(original, account, call_id, original_call_id, root)
        for call_key, original, account, call_id, original_call_id, root in cursor
    }


def _read_members(cursor: Cursor, root_keys: Iterable[UUID]) -> set[UUID]:
    cursor.execute(statement("worker", "read_call_members"), {"root_keys": list(root_keys)})
    return {row[0] for row in cursor}
