"""Loads a batch of CDRs in one transaction: copy, insert what is new, merge what is known, note what follows.

Running a batch twice changes nothing: a delivery has an id of its own and counts once. A CDR that the database
refuses is bisected out, so that its neighbours are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from common.cdr import Cdr
from common.delivery import Delivery
from common.errors import Permanent, Rejected
from common.postgres import Cursor, Database, statement
from worker.known_cdrs import Arrivals, merge_known
from worker.merge_deliveries import in_order
from worker.pipeline import Knowledge
from worker.rows import identify, make_row


class Record(NamedTuple):
    """One CDR of a batch: as its first delivery says it, and all its deliveries in the batch, in order."""

    cdr: Cdr
    deliveries: list[Delivery]


class Refused(NamedTuple):
    """A CDR that could not be loaded, and why."""

    deliveries: list[Delivery]
    error: Exception


def gather(enriched: Iterable[tuple[Cdr, Delivery]]) -> list[Record]:
    """Put the deliveries of one CDR together; `enriched` pairs each delivery with what it says by itself."""
    by_identity: dict[tuple[bytes, datetime], list[tuple[Cdr, Delivery]]] = {}
    for cdr, delivery in enriched:
        by_identity.setdefault(identify(cdr), []).append((cdr, delivery))
    return [_record(pairs) for pairs in by_identity.values()]


def _record(pairs: list[tuple[Cdr, Delivery]]) -> Record:
    ordered = in_order([delivery for _, delivery in pairs])
    first = next(cdr for cdr, delivery in pairs if delivery is ordered[0])
    return Record(first, ordered)


def load(database: Database, records: list[Record], knowledge: Knowledge) -> list[Refused]:
    """Load all records and return those that cannot be: refused by the database, or not to be merged with what stands.

    One transaction when nothing is refused; each refused CDR of n costs about 2 log2(n) more. Raises
    DatabaseUnavailable or DatabaseNotReady, when some of the batch may have been loaded: run it again.
    """
    if not records:
        return []
    try:
        load_all(database, records, knowledge)
    except (Permanent, Rejected) as error:
        if len(records) == 1:
            return [Refused(records[0].deliveries, error)]
        middle = len(records) // 2
        return load(database, records[:middle], knowledge) + load(database, records[middle:], knowledge)
    return []


def load_all(database: Database, records: list[Record], knowledge: Knowledge) -> None:
    """Load all records in one transaction, or none.

    Raises Permanent or Rejected when one of them cannot be loaded, DatabaseUnavailable or DatabaseNotReady.
    """
    with database.transaction() as cursor:
        _load_together(cursor, records, knowledge)


def _load_together(cursor: Cursor, records: list[Record], knowledge: Knowledge) -> None:
    """Insert each CDR by its first delivery, then merge in what is a further delivery of a known one."""
    loaded_at = datetime.now(UTC)
    cursor.execute(statement("worker", "create_incoming"))
    with cursor.copy(statement("worker", "copy_incoming")) as copy:
        for record in records:
            copy.write_row(make_row(record.cdr, record.deliveries[:1], loaded_at))
    new = cursor.execute(statement("worker", "insert_new_cdrs")).fetchone()
    known = _seen_before(cursor) if new is None or new[0] < len(records) else set()
    arrivals = [
        Arrivals(*identify(record.cdr), record.deliveries)
        for record in records
        if len(record.deliveries) > 1 or (known and identify(record.cdr)[0] in known)
    ]
    if arrivals:
        merge_known(cursor, arrivals, knowledge, loaded_at)


def _seen_before(cursor: Cursor) -> set[bytes]:
    """Return the identities among the incoming rows whose CDR another delivery has made."""
    return {row[0] for row in cursor.execute(statement("worker", "find_other_deliveries"))}
