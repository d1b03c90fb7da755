"""Writes bodies that could not be taken as CDRs into `cdr.quarantine`; the same body again counts up."""

from __future__ import annotations

from hashlib import sha256

from common.delivery import QuarantinedBody
from common.postgres import Database, statement
from common.wire.hygiene import storable
from worker.rows import as_json


def keep(database: Database, bodies: list[QuarantinedBody]) -> None:
    """Keep the bodies, in the order of their key so that two workers do not block each other."""
    rows = sorted(
        ({"sha256": sha256(body.body).digest(), "body": body.body, **_columns(body)} for body in bodies),
        key=lambda row: (row["account"], row["sha256"]),
    )
    with database.transaction() as cursor:
        cursor.executemany(statement("worker", "keep_body"), rows)


def _columns(body: QuarantinedBody) -> dict[str, object]:
    # A parser's message may quote what it could not read, and no database holds every text.
    return {
        "received_at": body.received_at,
        "account": body.account,
        "format": body.format,
        "reason": body.reason,
        "error": storable(body.error, set()),
        "headers": as_json(storable(body.headers, set())),
    }
