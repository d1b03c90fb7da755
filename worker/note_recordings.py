"""Notes recordings to be fetched that no row names: each address that a delivery gave is one, whichever the row shows."""

from __future__ import annotations

from common.postgres import Cursor, statement
from worker.gather import Record
from worker.rows import as_json


def note_recordings(cursor: Cursor, records: list[Record]) -> None:
    """Note the addresses of CDRs whose rows stand, but for those in the rows, which were noted with them."""
    noted = [
        {
            "identity": record.key[0].hex(),
            "provider_time": record.key[1],
            "account": record.cdr.account,
            "call_id": record.cdr.call_id,
            "call_type": record.cdr.call_type,
            "started_at": record.cdr.started_at,
            "source_url": address,
        }
        for record in records
        for address in sorted(record.addresses)
        if address != record.cdr.recording_url
    ]
    if noted:
        cursor.execute(statement("worker", "note_recordings"), {"recordings": as_json(noted)})
