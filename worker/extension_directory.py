"""Names of extensions by their SIP code, for CDRs that carry the code only (XML-RPC has no names)."""

from __future__ import annotations

import time

from common.cdr import Cdr
from common.postgres import Database, statement

REFRESH_SECONDS = 10.0


class ExtensionDirectory:
    """The table `cdr.extensions` in memory, read from the database now and again."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._read_at = float("-inf")

    def refresh(self, database: Database) -> None:
        """Read the table again when it was read a while ago."""
        if time.monotonic() - self._read_at < REFRESH_SECONDS:
            return
        with database.transaction() as cursor:
            rows = cursor.execute(statement("worker", "read_extensions")).fetchall()
        self._names = {(account, code): name for account, code, name in rows}
        self._read_at = time.monotonic()

    def fill_in(self, cdr: Cdr) -> None:
        """Set the extension names that the CDR does not carry itself."""
        if cdr.caller_extension_name is None and cdr.caller_extension_code is not None:
            cdr.caller_extension_name = self._names.get((cdr.account, cdr.caller_extension_code))
        if cdr.answering_extension_name is None and cdr.answering_extension_code is not None:
            cdr.answering_extension_name = self._names.get((cdr.account, cdr.answering_extension_code))
