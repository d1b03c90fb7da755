"""Merges further deliveries into CDRs that have a row: all deliveries are kept, and the row is folded from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from common.delivery import Delivery
from common.errors import DatabaseUnavailable
from common.job_queue import JobSerializer
from common.postgres import Cursor, statement
from worker.gather import Record
from worker.merge_deliveries import in_order, still_counting
from worker.note_recordings import note_recordings
from worker.pipeline import Knowledge, enrich
from worker.rows import as_json, make_row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Standing(NamedTuple):
    """What the row of a CDR says: how many deliveries it was folded from, and the delivery that made it if that is one."""

    delivery_count: int
    only: Delivery


def merge_known(cursor: Cursor, arrivals: list[Record], knowledge: Knowledge, loaded_at: str) -> None:
    """Fold the deliveries of the arrivals, CDRs that have a row, into these rows, but for those that were counted already.

    The rows are locked first, in the order of their key, so that what is read next is all there is. Raises NotLoadable
    when a stage fails on the deliveries together. However often a CDR was received, only the deliveries that still make
    a difference are read.
    """
    rows = _lock_rows(cursor, arrivals)
    kept = _read_deliveries(cursor, arrivals)
    counted = _read_counted(cursor, arrivals)
    changed: list[tuple[Any, ...]] = []
    merged: list[Record] = []
    keeping: list[dict[str, Any]] = []
    for arrival in arrivals:
        row, known = rows[arrival.key[0]], kept.get(arrival.key[0])
        already = counted.get(arrival.key[0], set()) if known else {_key(row.only)}
        new = list({_key(each): each for each in arrival.deliveries if _key(each) not in already}.values())
        if not new:
            continue
        before = known or [row.only]
        counting = still_counting(in_order([*before, *new]))
        keeping += _kept(arrival, new if known else [*before, *new], counting)
        if known:
            _leave_out(cursor, arrival, known, counting)
        folded = arrival._replace(cdr=enrich(counting, knowledge))
        changed.append(make_row(folded.cdr, folded.key, counting, loaded_at, row.delivery_count + len(new)))
        merged.append(folded)
    if changed:
        cursor.execute(statement("worker", "insert_deliveries"), {"deliveries": as_json(keeping)})
        _replace_rows(cursor, changed, knowledge.hooks)
        note_recordings(cursor, merged)


def keep_deliveries(cursor: Cursor, arrivals: list[Record]) -> None:
    """Keep the deliveries, given in order, of CDRs whose rows were just made of them."""
    keeping = [
        each for arrival in arrivals for each in _kept(arrival, arrival.deliveries, still_counting(arrival.deliveries))
    ]
    if keeping:
        cursor.execute(statement("worker", "insert_deliveries"), {"deliveries": as_json(keeping)})


def _lock_rows(cursor: Cursor, arrivals: list[Record]) -> dict[bytes, _Standing]:
    """Lock the rows and return what they say."""
    cursor.execute(
        statement("worker", "lock_known_cdrs"),
        {
            "identities": [arrival.key[0] for arrival in arrivals],
            "provider_times": [arrival.key[1] for arrival in arrivals],
        },
    )
    rows = {identity: _Standing(count, _delivery(*columns)) for identity, count, *columns in cursor}
    if len(rows) < len(arrivals):
        raise DatabaseUnavailable("a row was deleted while a delivery of its CDR was being merged into it")
    return rows


def _read_deliveries(cursor: Cursor, arrivals: list[Record]) -> dict[bytes, list[Delivery]]:
    """Return the kept deliveries of each CDR that still make a difference; none for one that was received once."""
    accounts = {arrival.key[0]: arrival.deliveries[0].account for arrival in arrivals}
    cursor.execute(statement("worker", "read_deliveries"), {"identities": list(accounts)})
    kept: dict[bytes, list[Delivery]] = {}
    for identity, *columns in cursor:
        kept.setdefault(identity, []).append(_delivery(*columns, accounts[identity]))
    return kept


def _read_counted(cursor: Cursor, arrivals: list[Record]) -> dict[bytes, set[tuple[str, int]]]:
    """Return the keys of those arrivals that are kept already."""
    pairs = [(arrival.key[0], delivery) for arrival in arrivals for delivery in arrival.deliveries]
    values = {
        "identities": [identity for identity, _ in pairs],
        "delivery_ids": [delivery.delivery_id for _, delivery in pairs],
        "delivery_places": [delivery.place for _, delivery in pairs],
    }
    counted: dict[bytes, set[tuple[str, int]]] = {}
    for identity, delivery_id, place in cursor.execute(statement("worker", "find_counted_deliveries"), values):
        counted.setdefault(identity, set()).add((delivery_id.replace("-", ""), place))
    return counted


def _kept(arrival: Record, deliveries: list[Delivery], counting: list[Delivery]) -> list[dict[str, Any]]:
    """Return the deliveries as what `insert_deliveries` takes."""
    keys = {_key(delivery) for delivery in counting}
    return [
        {
            "identity": arrival.key[0].hex(),
            "provider_time": arrival.key[1],
            "delivery_id": delivery.delivery_id,
            "delivery_place": delivery.place,
            "received_at": delivery.received_at,
            "format": delivery.format,
            "fields": delivery.fields,
            "notes": delivery.notes,
            "superseded": _key(delivery) not in keys,
        }
        for delivery in deliveries
    ]


def _leave_out(cursor: Cursor, arrival: Record, known: list[Delivery], counting: list[Delivery]) -> None:
    """Mark the kept deliveries that have come to make no difference."""
    gone = {_key(delivery) for delivery in known} - {_key(delivery) for delivery in counting}
    if not gone:
        return
    values = {
        "identity": arrival.key[0],
        "delivery_ids": [delivery_id for delivery_id, _ in gone],
        "delivery_places": [place for _, place in gone],
    }
    cursor.execute(statement("worker", "leave_out_deliveries"), values)


def _replace_rows(cursor: Cursor, rows: list[tuple[Any, ...]], hooks: tuple[str, ...]) -> None:
    cursor.execute(statement("worker", "clear_incoming"))
    with cursor.copy(statement("worker", "copy_incoming")) as copy:
        for row in rows:
            copy.write_row(row)
    if hooks:
        cursor.execute(statement("worker", "note_changed_cdrs"), {"hooks": list(hooks)})
    cursor.execute(statement("worker", "update_merged_cdrs"))


def _delivery(*columns: Any) -> Delivery:
    """Rebuild a delivery from the columns that both statements read."""
    delivery_id, place, received, body_format, fields, notes, account = columns
    return Delivery(
        delivery_id.replace("-", ""),
        place,
        (received - _EPOCH) // _EPOCH.resolution,
        account,
        body_format,
        JobSerializer.loads(fields.encode()),
        tuple(notes),
    )


def _key(delivery: Delivery) -> tuple[str, int]:
    return delivery.delivery_id, delivery.place
