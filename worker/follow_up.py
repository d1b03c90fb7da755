"""Does what follows a worker's loads, in a thread of its own: PostgreSQL folds calls while the worker enriches the next CDRs."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress

import structlog

from common.postgres import Database
from common.redis_client import RedisClient
from worker.outbox import work_off

# One pass after another would fold a call anew for each of its CDRs.
FOLLOW_UP_SECONDS = 0.1
# What follows a load takes no longer than this at a time. When it cannot be done, or takes longer all the same, this worker
# leaves it to the scheduler for a while: loading comes first.
FOLLOW_UP_AT_MOST_SECONDS = 1.0
LEAVE_TO_SCHEDULER_SECONDS = 30.0
# Queueing the hooks of many CDRs takes about as long as loading them, so the scheduler does that meanwhile.
FOLLOW_UP_HOOKS = 100
# What an ending worker leaves to what follows its last load, which takes that long only when a table is locked.
GRACE_SECONDS = 8.0

_log = structlog.get_logger("worker.follow_up")


class FollowUp:
    """The thread, which waits until it is told of a load, and its connections, which nobody else uses.

    The rows stand, so a failure here is only logged, and what is left is for the scheduler.
    """

    def __init__(self, database: Database, redis: RedisClient, *, has_hooks: bool) -> None:
        self._database = database
        self._redis = redis
        self._most_hooks = FOLLOW_UP_HOOKS if has_hooks else 0
        self._told = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loaded = False
        self._ends = False
        # Until when the scheduler does it instead, on the monotonic clock.
        self._left_until = 0.0

    @property
    def is_left_to_scheduler(self) -> bool:
        """Whether the scheduler does it for now."""
        return time.monotonic() < self._left_until

    def tell(self) -> None:
        """Have done what follows a load that was committed; does not wait for it."""
        if self.is_left_to_scheduler:
            return
        with self._told:
            self._loaded = True
            self._told.notify()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="follow-up", daemon=True)
            # Where the system allows no further thread, the scheduler does it.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def end(self, seconds: float = GRACE_SECONDS) -> None:
        """End the thread once it has done what follows the last load; after so many seconds leave that to the scheduler."""
        if self._thread is None:
            return
        with self._told:
            self._ends = True
            self._told.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning("left to the scheduler", reason="worker_ends")
            return
        self._thread, self._ends = None, False

    def _run(self) -> None:
        with closing(self._database), closing(self._redis):
            while self._wait_for_load():
                self._work_off()
                with self._told:
                    self._told.wait_for(lambda: self._ends, FOLLOW_UP_SECONDS)

    def _wait_for_load(self) -> bool:
        """Tell whether anything was loaded, once that is so, or the thread is to end."""
        with self._told:
            self._told.wait_for(lambda: self._loaded or self._ends)
            loaded, self._loaded = self._loaded, False
            return loaded

    def _work_off(self) -> None:
        began = time.monotonic()
        try:
            work_off(self._database, self._redis, FOLLOW_UP_AT_MOST_SECONDS, self._most_hooks)
        except Exception as error:  # noqa: BLE001 - the rows stand, and the next load is to be followed too
            _log.warning("left to the scheduler", reason=getattr(error, "reason", "error"), error=str(error))
            self._leave()
        else:
            if time.monotonic() - began > 2 * FOLLOW_UP_AT_MOST_SECONDS:
                self._leave()

    def _leave(self) -> None:
        self._left_until = time.monotonic() + LEAVE_TO_SCHEDULER_SECONDS
        with self._told:
            self._loaded = False
