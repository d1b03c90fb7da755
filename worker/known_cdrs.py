"""Merges further deliveries into CDRs that have a row: all deliveries are kept, and the row is folded from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from common.delivery import Delivery
from common.errors import DatabaseUnavailable
from common.job_queue import JobSerializer
from common.postgres import Cursor, statement
from worker.merge_deliveries import in_order
from worker.pipeline import Knowledge, enrich
from worker.rows import as_json, make_row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrivals(NamedTuple):
    """Deliveries in the batch that belong to a CDR with a row."""

    identity: bytes
    provider_time: datetime
    deliveries: list[Delivery]


def merge_known(cursor: Cursor, arrivals: list[Arrivals], knowledge: Knowledge, loaded_at: datetime) -> None:
    """Fold the arrivals that were not counted yet into their rows.

    The rows are locked first, in the order of their key, so that what is read next is all there is. Raises NotLoadable
    when a stage fails on the deliveries together.
    """
    standing = _lock_rows(cursor, arrivals)
    kept = _read_deliveries(cursor, arrivals)
    changed = []
    for arrival in arrivals:
        known = kept.get(arrival.identity, [standing[arrival.identity]])
        counted = {_key(delivery): delivery for delivery in known}
        missing = [delivery for delivery in arrival.deliveries if _key(delivery) not in counted]
        if not missing:
            continue
        counted.update((_key(delivery), delivery) for delivery in missing)
        _keep(cursor, arrival, missing if arrival.identity in kept else list(counted.values()))
        ordered = in_order(list(counted.values()))
        changed.append(make_row(enrich(ordered, knowledge), ordered, loaded_at))
    if changed:
        _replace_rows(cursor, changed)


def _lock_rows(cursor: Cursor, arrivals: list[Arrivals]) -> dict[bytes, Delivery]:
    """Lock the rows and return each as the delivery that made it, unless the CDR was received more than once."""
    cursor.execute(
        statement("worker", "lock_known_cdrs"),
        {
            "identities": [arrival.identity for arrival in arrivals],
            "provider_times": [arrival.provider_time for arrival in arrivals],
        },
    )
    standing = {identity: _delivery(*columns) for identity, *columns in cursor}
    if len(standing) < len(arrivals):
        raise DatabaseUnavailable("a row was deleted while a delivery of its CDR was being merged into it")
    return standing


def _read_deliveries(cursor: Cursor, arrivals: list[Arrivals]) -> dict[bytes, list[Delivery]]:
    """Return the kept deliveries of each CDR; none for one that was received once."""
    accounts = {arrival.identity: arrival.deliveries[0].account for arrival in arrivals}
    cursor.execute(statement("worker", "read_deliveries"), {"identities": list(accounts)})
    kept: dict[bytes, list[Delivery]] = {}
    for identity, *columns in cursor:
        kept.setdefault(identity, []).append(_delivery(*columns, accounts[identity]))
    return kept


def _keep(cursor: Cursor, arrival: Arrivals, deliveries: list[Delivery]) -> None:
    cursor.executemany(
        statement("worker", "insert_delivery"),
        [
            {
                "identity": arrival.identity,
                "provider_time": arrival.provider_time,
                "delivery_id": delivery.delivery_id,
                "delivery_place": delivery.place,
                "received_at": delivery.received_at,
                "format": delivery.format,
                "fields": as_json(delivery.fields),
                "notes": list(delivery.notes),
            }
            for delivery in deliveries
        ],
    )


def _replace_rows(cursor: Cursor, rows: list[tuple[Any, ...]]) -> None:
    cursor.execute(statement("worker", "clear_incoming"))
    with cursor.copy(statement("worker", "copy_incoming")) as copy:
        for row in rows:
            copy.write_row(row)
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
