"""Names of extensions by their SIP code, for CDRs that carry the code only (XML-RPC has no names).

The one rule of which name held when, for loading, for merging and for `cdr extensions backfill`: the CDR's own name; else
the imported name that held when the call began; else the learned one; else, for a call before the first learned name,
that one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from threading import Lock

from common.cdr import Cdr
from common.postgres import Database, statement
from worker.learning_bounds import LearningBounds
from worker.name_timeline import Timeline

# What was changed since is read so often. Now and again everything is, unless it is as it was: that shows deletions.
REFRESH_SECONDS = 2.0
READ_ALL_SECONDS = 60.0
# A row may become visible so long after the time that is written in it; later ones are seen when all is read.
_IN_FLIGHT_SECONDS = 10.0
_LONGEST = 200
_MACHINE = "external ivr"

Key = tuple[str, str]
# A row of the table: account, code, whether it is imported, from when the name holds, and the name.
_Row = tuple[str, str, bool, float, str]


class ExtensionDirectory:
    """The table `cdr.extensions` in memory: names by account and code."""

    def __init__(self) -> None:
        self._imported: dict[Key, Timeline] = {}
        self._learned: dict[Key, Timeline] = {}
        self._bounds = LearningBounds()
        # Two loads of a worker may learn at once.
        self._taking = Lock()
        self._read_at = self._read_all_at = float("-inf")
        # Of the table when all of it was read; None once something was added here since.
        self._fingerprint: tuple[object, ...] | None = None

    def refresh(self, database: Database) -> None:
        """Read what has changed, or the whole table, when that was read a while ago."""
        now = time.monotonic()
        if now - self._read_at < REFRESH_SECONDS:
            return
        if now - self._read_all_at < READ_ALL_SECONDS:
            self._read_changes(database, now - self._read_at)
        else:
            self._read_all(database)
            self._read_all_at = now
        self._read_at = now

    def name_at(self, account: str, code: str | None, at: datetime | None) -> str | None:
        """Return the name that the directory has for an extension in a call that began then."""
        if code is None or at is None:
            return None
        key, moment = (account, code), at.timestamp()
        imported = self._imported.get(key)
        name = imported.name_at(moment) if imported is not None else None
        if name is None and (learned := self._learned.get(key)) is not None:
            name = learned.name_at(moment) or learned.names[0]
        return name

    def fill_in(self, cdr: Cdr) -> None:
        """Set the extension names that the CDR does not carry itself, and note those that it does."""
        if (code := cdr.caller_extension_code) is not None:
            if cdr.caller_extension_name is None:
                cdr.caller_extension_name = self.name_at(cdr.account, code, cdr.started_at)
            else:
                cdr.shown_names = ((code, cdr.caller_extension_name),)
        if (code := cdr.answering_extension_code) is not None:
            if cdr.answering_extension_name is None:
                cdr.answering_extension_name = self.name_at(cdr.account, code, cdr.started_at)
            else:
                cdr.shown_names = (*cdr.shown_names, (code, cdr.answering_extension_name))

    def is_news(self, account: str, code: str, moment: float, name: str) -> bool:
        """Tell whether a call that shows this name is worth learning from; garbage and a machine's name are not."""
        known = self._learned.get((account, code), _NOTHING)
        return (
            not known.says(moment, name)
            and len(code) <= _LONGEST
            and len(name) <= _LONGEST
            and name.casefold() != _MACHINE
            and self._bounds.allow(account, code, known)
            and known.after_call(moment, name) is not known
        )

    def take(self, learned: dict[Key, Timeline]) -> None:
        """Take over what this process has learned, as the table has it now."""
        with self._taking:
            for key, names in learned.items():
                self._bounds.count(key[0], self._learned.get(key, _NOTHING), names)
                self._learned[key] = names
                self._fingerprint = None

    def _read_all(self, database: Database) -> None:
        with database.transaction() as cursor:
            # What is added in between makes the next fingerprint another one.
            fingerprint = cursor.execute(statement("worker", "fingerprint_extensions")).fetchone()
            if fingerprint == self._fingerprint:
                return
            rows = cursor.execute(statement("worker", "read_extensions")).fetchall()
        self._imported, self._learned = {}, {}
        self._bounds.recount(())
        self._put(rows)
        self._fingerprint = fingerprint

    def _read_changes(self, database: Database, seconds: float) -> None:
        values = {"seconds": seconds + _IN_FLIGHT_SECONDS}
        with database.transaction() as cursor:
            rows = cursor.execute(statement("worker", "read_changed_extensions"), values).fetchall()
        if rows:
            self._put(rows)
            self._fingerprint = None

    def _put(self, rows: Iterable[_Row]) -> None:
        """Add rows to what is known, all those of a code at once: one by one, each would copy those before it."""
        imported: defaultdict[Key, list[tuple[float, str]]] = defaultdict(list)
        learned: defaultdict[Key, list[tuple[float, str]]] = defaultdict(list)
        for account, code, is_import, start, name in rows:
            (imported if is_import else learned)[account, code].append((start, name))
        for key, names in imported.items():
            self._imported[key] = self._imported.get(key, _NOTHING).with_names(names)
        self.take({key: self._learned.get(key, _NOTHING).with_names(names) for key, names in learned.items()})


_NOTHING = Timeline()
