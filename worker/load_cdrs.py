"""Loads a batch of CDRs in one transaction: copy, insert what is new, merge what is known, note what follows.

Running a batch twice changes nothing: a delivery has an id of its own and counts once. A CDR that cannot be loaded is
found by halving the batch, so that its neighbours are loaded. Whether it or the database is to blame for a failure that
may be either's, such as a time-out, a control CDR tells: loaded and merged in the same way, and taken back.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from common.delivery import Delivery
from common.errors import CdrError, Permanent, Rejected
from common.postgres import IN_DOUBT, Cursor, Database, statement
from worker.bisection import Bisection, Failed, is_doubtful, raise_first
from worker.gather import Record, gather
from worker.known_cdrs import keep_deliveries, merge_known
from worker.learn_extensions import learn, try_learning
from worker.note_recordings import note_recordings
from worker.pipeline import Knowledge, NotLoadable
from worker.rows import make_row


class NotLoaded(NamedTuple):
    """What was not loaded: `refused` are the deliveries of one CDR each, `held` those of CDRs to be tried again later."""

    refused: list[Failed]
    held: list[Failed]


def load(database: Database, records: list[Record], knowledge: Knowledge) -> NotLoaded:
    """Load all records that can be loaded and return the others.

    One transaction when there are none; each CDR that is refused costs about 2 log2(n) more, of n. Raises
    DatabaseUnavailable or DatabaseNotReady, when some of the batch may have been loaded: run it again.
    """

    def act(part: list[Record], in_doubt: bool) -> None:
        _load_all(database, part, knowledge, in_doubt=in_doubt)

    bisection = Bisection(act, lambda part: check_database(database, knowledge, part[0].cdr.time_raw))
    bisection.run(records)
    held = [part for each in bisection.held for part in _parts_of(each)]
    return NotLoaded([_deliveries_of(each) for each in bisection.refused], held)


def _parts_of(held: Failed) -> list[Failed]:
    """Return what is to be tried again together: of one CDR each delivery alone, because only what is alone is ever given up."""
    everything = _deliveries_of(held)
    if len(held.items) > 1:
        return [everything]
    return [Failed([delivery], held.error) for delivery in everything.items]


def _deliveries_of(failed: Failed) -> Failed:
    return Failed([delivery for record in failed.items for delivery in record.deliveries], failed.error)


def load_all(database: Database, records: list[Record], knowledge: Knowledge) -> None:
    """Load all records in one transaction, or none.

    Raises Permanent or Rejected when one of them cannot be loaded or is in doubt, DatabaseUnavailable or DatabaseNotReady
    when none can.
    """
    try:
        _load_all(database, records, knowledge)
    except CdrError as error:
        if not records or isinstance(error, Permanent | Rejected) or not is_doubtful(error):
            raise
        check_database(database, knowledge, records[0].cdr.time_raw)
        raise NotLoadable(str(error), error.sqlstate) from error


def check_database(database: Database, knowledge: Knowledge, time_raw: int | None) -> None:
    """Load a harmless CDR of the same time as one that failed, into the same partition, and take it back.

    Its second and third delivery are merged into it, because what failed may have been the merge; the third makes the second
    needless. Raises DatabaseUnavailable or DatabaseNotReady when any of it cannot be done, and so the one that failed may be
    as good.
    """
    first, second, third = _control_deliveries(time_raw)
    # A refusal is an answer too: of a rule of the user's that a CDR of no account of theirs breaks.
    with suppress(Permanent, Rejected), database.transaction(IN_DOUBT, keep=False) as cursor:
        for delivery in (first, second, third):
            records, not_enriched = gather([delivery], knowledge)
            raise_first(not_enriched)
            _load_together(cursor, records, knowledge)
            cursor.execute(statement("worker", "clear_incoming"))
        try_learning(database, records[0].cdr, knowledge.directory)


def _control_deliveries(time_raw: int | None) -> list[Delivery]:
    """Make deliveries of one CDR that say all the same; every table is written to for it, because it names all there is."""
    call_id = uuid4().hex
    fields: dict[str, Any] = {
        "ivruniqueid": call_id,
        "record": f"https://control.invalid/{call_id}",
        "callerextension": call_id,
        "callerextension_name": "control",
    }
    if time_raw is not None:
        fields["time"] = time_raw
    now = time.time_ns() // 1000
    return [Delivery(uuid4().hex, 0, now + later, "control", "json", fields) for later in range(3)]


def _load_all(database: Database, records: list[Record], knowledge: Knowledge, *, in_doubt: bool = False) -> None:
    try:
        with database.transaction(IN_DOUBT if in_doubt else None) as cursor:
            _load_together(cursor, records, knowledge)
            # The last step: who holds its lock waits for nothing more, and so it is in no deadlock.
            shown = (record.cdr for record in records)
            learned = learn(database, shown, knowledge.directory, in_doubt=in_doubt)
        knowledge.directory.take(learned)
    except CdrError:
        raise
    except Exception as error:
        # An error of ours in one of the rows costs that one.
        raise NotLoadable(f"{type(error).__name__}: {error}") from error


def _load_together(cursor: Cursor, records: list[Record], knowledge: Knowledge) -> None:
    """Insert each CDR that is new, then merge what further deliveries say into the others."""
    loaded_at = datetime.now(UTC).isoformat()
    cursor.execute(statement("worker", "create_incoming"))
    with cursor.copy(statement("worker", "copy_incoming")) as copy:
        for record in records:
            copy.write_row(make_row(record.cdr, record.key, record.deliveries, loaded_at))
    cursor.execute(statement("worker", "insert_new_cdrs"), {"hooks": list(knowledge.hooks) or None})
    not_new = {row[0] for row in cursor}
    new = [record for record in records if record.key[0] not in not_new]
    keep_deliveries(cursor, [record for record in new if len(record.deliveries) > 1])
    note_recordings(cursor, new)
    if not_new:
        _merge_further(cursor, records, not_new, knowledge, loaded_at)


def _merge_further(
    cursor: Cursor, records: list[Record], not_new: set[bytes], knowledge: Knowledge, loaded_at: str
) -> None:
    """Merge all deliveries of CDRs that had a row before, `not_new` by their identities, into these rows."""
    cursor.execute(statement("worker", "look_up_by_key"))
    made_by_it = _find_known(cursor, not_new)
    # Of one delivery, and it made the row itself when the batch ran before, there is nothing to merge. What was not inserted
    # and has no row either, a trigger of the user's leaves out.
    further = [
        record
        for record in records
        if record.key[0] in made_by_it and (len(record.deliveries) > 1 or not made_by_it[record.key[0]])
    ]
    if further:
        merge_known(cursor, further, knowledge, loaded_at)


def _find_known(cursor: Cursor, identities: set[bytes]) -> dict[bytes, bool]:
    """Return those of the incoming rows, by their identities, that stand, and whether their first delivery made what stands."""
    found = cursor.execute(statement("worker", "find_known_cdrs"), {"identities": sorted(identities)})
    return dict(found)
