"""Names of extensions by their SIP code, for CDRs that carry the code only (XML-RPC has no names)."""

from __future__ import annotations

import time
from datetime import datetime

from common.cdr import Cdr
from common.postgres import Database, statement

REFRESH_SECONDS = 2.0


class ExtensionDirectory:
    """The table `cdr.extensions` in memory, read from the database now and again."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[tuple[float, str]]] = {}
        self._read_at = float("-inf")

    def refresh(self, database: Database) -> None:
        """Read the table again when it was read a while ago."""
        if time.monotonic() - self._read_at < REFRESH_SECONDS:
            return
        names: dict[tuple[str, str], list[tuple[float, str]]] = {}
        with database.transaction() as cursor:
            for account, code, valid_from, name in cursor.execute(statement("worker", "read_extensions")):
                names.setdefault((account, code), []).append((valid_from, name))
        self._names = names
        self._read_at = time.monotonic()

    def fill_in(self, cdr: Cdr) -> None:
        """Set the extension names that the CDR does not carry itself: those that held when its call began."""
        if cdr.caller_extension_name is None:
            cdr.caller_extension_name = self._name(cdr.account, cdr.caller_extension_code, cdr.started_at)
        if cdr.answering_extension_name is None:
            cdr.answering_extension_name = self._name(cdr.account, cdr.answering_extension_code, cdr.started_at)

    def _name(self, account: str, code: str | None, at: datetime | None) -> str | None:
        names = self._names.get((account, code), ()) if code is not None and at is not None else ()
        return next((name for valid_from, name in names if at is not None and valid_from <= at.timestamp()), None)
