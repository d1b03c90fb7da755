"""Notes in `cdr.audit` who replayed or discarded what; a note that cannot be taken is a warning and stops nothing."""

from __future__ import annotations

import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from cdr.printing import print_warning
from common.environment import load
from common.errors import CdrError
from common.postgres import IN_DOUBT, Database, statement
from common.settings import DatabaseSettings

# Of work that is killed the entry tells what had been done not long before.
PROGRESS_SECONDS = 5.0


class _Audit:
    """One entry: begun before the work, and told now and again how far it is, so that work that is killed has left a trace."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._audit_id: int | None = None
        self._progress_due = 0.0
        self._affected = 0

    def begin(self, command: str, selection: dict[str, Any]) -> None:
        values = {"actor": actor(), "command": command, "selection": msgspec.json.encode(selection).decode()}
        try:
            self._database = Database(load(DatabaseSettings).database_url.get_secret_value(), "cdr audit")
            with self._database.transaction(IN_DOUBT) as cursor:
                row = cursor.execute(statement("cdr", "begin_audit"), values).fetchone()
                self._audit_id = row[0] if row else None
        except CdrError as error:
            _warn(error)

    def tell(self, affected: int) -> None:
        self._affected = affected
        if time.monotonic() < self._progress_due:
            return
        self._progress_due = time.monotonic() + PROGRESS_SECONDS
        if not self._write("note_audit_progress"):
            # One warning, and one try at the end.
            self._progress_due = float("inf")

    def finish(self) -> None:
        self._write("finish_audit")
        if self._database is not None:
            self._database.close()

    def _write(self, name: str) -> bool:
        if self._database is None or self._audit_id is None:
            return True
        try:
            with self._database.transaction(IN_DOUBT) as cursor:
                cursor.execute(statement("cdr", name), {"affected": self._affected, "audit_id": self._audit_id})
        except CdrError as error:
            _warn(error)
            return False
        return True


@contextmanager
def audited(command: str, selection: dict[str, Any]) -> Iterator[Callable[[int], None]]:
    """Note the block in `cdr.audit`: who, what, which, when; the block tells by a call how many so far."""
    audit = _Audit()
    audit.begin(command, {name: value for name, value in selection.items() if value not in (None, [])})
    try:
        yield audit.tell
    finally:
        audit.finish()


def actor() -> str:
    """Name who runs this: the user that the operating system knows, not the one that the environment claims."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _warn(error: CdrError) -> None:
    print_warning(f"cdr: not noted in cdr.audit: {' '.join(str(error).split())}")
