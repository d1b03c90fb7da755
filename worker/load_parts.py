"""Loads what a worker took at once in parts, two at a time: PostgreSQL loads one while the other is enriched.

Two threads take part after part, each with a connection of its own. What they load together is several transactions: where
a part fails, those that others have loaded stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread

from common.delivery import Delivery
from common.postgres import Database
from worker.load_cdrs import gather_all, load_all
from worker.pipeline import Knowledge

# So many CDRs are loaded in one transaction.
PART_CDRS = 500


class Parts:
    """The parts of what is to be loaded, for two threads to share."""

    def __init__(self, deliveries: list[Delivery], knowledge: Knowledge) -> None:
        self._parts = deque(deliveries[start : start + PART_CDRS] for start in range(0, len(deliveries), PART_CDRS))
        self._knowledge = knowledge
        # While both enrich, PostgreSQL waits for both.
        self._enriching = Lock()

    def load(self, database: Database, second_database: Database) -> None:
        """Load all parts; raises what keeps one from being loaded, when no further one is begun."""
        if len(self._parts) < 2:
            self._load_some(database)
            return
        with beside(lambda: self._load_some(second_database)):
            self._load_some(database)

    def _load_some(self, database: Database) -> None:
        """Load part after part until none is left to begin with."""
        try:
            while True:
                with self._enriching:
                    try:
                        part = self._parts.popleft()
                    except IndexError:
                        return
                    records = gather_all(part, self._knowledge)
                load_all(database, records, self._knowledge)
        except BaseException:
            self._parts.clear()
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
