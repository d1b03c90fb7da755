"""Loads what a worker took at once in parts, several at a time: PostgreSQL loads some while another is enriched.

Threads take part after part, each with a connection of its own. What they load is several transactions: where one fails,
those before it stand. Whatever keeps several from being loaded at once keeps nobody from loading one after the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock, Thread
from typing import TypeAlias

import structlog

from common.delivery import Delivery
from common.errors import DatabaseUnavailable
from common.field_names import shape_of
from common.postgres import Database
from worker.bisection import raise_first
from worker.gather import Record, gather
from worker.load_cdrs import load_all
from worker.pipeline import Knowledge

# So many CDRs are loaded in one transaction.
PART_CDRS = 500
# How long one part is loaded after the other once several at a time were not possible.
ALONE_SECONDS = 60.0

_Parts: TypeAlias = "deque[list[Delivery]]"

_log = structlog.get_logger("worker.load_parts")


class PartLoader:
    """A worker's connections, the first its own thread's, for loads of which each ends before the next begins."""

    def __init__(self, database: Database, further_databases: Sequence[Database], knowledge: Knowledge) -> None:
        self._database = database
        self._further_databases = further_databases
        self._knowledge = knowledge
        # While all threads enrich, PostgreSQL waits for all.
        self._enriching = Lock()
        # Until when parts are loaded one after the other, on the monotonic clock.
        self._alone_until = float("-inf")

    def load(self, deliveries: list[Delivery]) -> None:
        """Load all deliveries; raises what keeps a part from being loaded, when other parts may have been loaded."""
        # The legs and further deliveries of one call are loaded together, and rows go side by side into the indexes.
        deliveries = sorted(deliveries, key=_call_of)
        parts = deque(deliveries[start : start + PART_CDRS] for start in range(0, len(deliveries), PART_CDRS))
        # Where it fails, or a second signal to stop breaks it off, the other threads have nothing more to begin with.
        with _emptied_at_failure(parts):
            if len(parts) > 1 and time.monotonic() >= self._alone_until:
                with ExitStack() as helpers:
                    for database in self._further_databases[: len(parts) - 1]:
                        helpers.enter_context(beside(partial(self._help, parts, database)))
                    self._load_some(parts, self._database, is_alone=False)
            self._load_some(parts, self._database, is_alone=True)

    def _help(self, parts: _Parts, database: Database) -> None:
        """Load parts by a further connection, if there is one: PostgreSQL may allow one and no more."""
        try:
            with database.transaction() as cursor:
                cursor.execute(b"SELECT 1")
        except DatabaseUnavailable as error:
            self._stay_alone(error)
            return
        self._load_some(parts, database, is_alone=False)

    def _load_some(self, parts: _Parts, database: Database, *, is_alone: bool) -> None:
        """Load part after part until none is left to begin with, or several at a time turn out to be in each other's way."""
        with _emptied_at_failure(parts):
            while (taken := self._take(parts)) is not None:
                part, records = taken
                try:
                    load_all(database, records, self._knowledge)
                except DatabaseUnavailable as error:
                    if is_alone or not _is_conflict(error):
                        raise
                    self._stay_alone(error)
                    parts.appendleft(part)
                    return

    def _take(self, parts: _Parts) -> tuple[list[Delivery], list[Record]] | None:
        """Take the next part and enrich it, while no other thread does; None when there is none."""
        with self._enriching:
            try:
                part = parts.popleft()
            except IndexError:
                return None
            gathered = gather(part, self._knowledge)
            raise_first(gathered.refused)
            return part, gathered.records

    def _stay_alone(self, error: DatabaseUnavailable) -> None:
        self._alone_until = time.monotonic() + ALONE_SECONDS
        _log.warning("loads one part at a time", seconds=ALONE_SECONDS, error=str(error))


def _call_of(delivery: Delivery) -> str:
    """Return what was sent as the call's id, which begins with a date where it is one of the provider's."""
    name = shape_of(delivery.fields).sent_names.get("call_id")
    return str(delivery.fields[name]) if name is not None else ""


def _is_conflict(error: DatabaseUnavailable) -> bool:
    """Tell whether a transaction was taken back for another one, such as in a deadlock of a user's trigger with itself."""
    return error.sqlstate is not None and error.sqlstate.startswith("40")


@contextmanager
def _emptied_at_failure(parts: _Parts) -> Iterator[None]:
    try:
        yield
    except BaseException:
        parts.clear()
        raise


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do a work in a thread of its own beside the block, which ends when both are done.

    What the work raises is raised then, unless the block has failed itself. A block that is broken off, by what is no
    Exception, waits for nothing.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the thread of the block decides
            errors.append(error)

    # A daemon, because a worker that is told to end at once waits for none of it.
    thread = Thread(target=run, name="beside", daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        thread.join()
        raise
    thread.join()
    if errors:
        raise errors[0]
