"""The scheduler process: moves due jobs, sweeps up after dead workers, works off the outbox, makes partitions.

Each task has a thread and connections of its own, because one that waits for a locked table must not hold up those that
bring back jobs. Every task may be killed at any point, and may run in two schedulers at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from common.errors import Transient
from common.partitions import make_partitions
from common.postgres import Database
from common.redis_client import RedisClient
from worker.orphans import OrphanFinder
from worker.outbox import work_off
from worker.recordings.stray_recordings import requeue_strays
from worker.scheduled_jobs import move_due_jobs
from worker.sweep import sweep

LONGEST_WAIT_SECONDS = 60.0
# What a stop leaves to the tasks at hand: less than any supervisor leaves to the process.
GRACE_SECONDS = 8.0

_log = structlog.get_logger("worker.scheduler")


@dataclass(frozen=True)
class Task:
    """Something to be done every so many seconds."""

    name: str
    every_seconds: float
    do: Callable[[], Any]

    def run(self, stop: threading.Event) -> None:
        """Do it again and again until told to stop; after a failure again soon, whatever it raised."""
        wait_seconds = 0.0
        while not stop.wait(wait_seconds):
            try:
                self.do()
                wait_seconds = self.every_seconds
                continue
            except Transient as error:
                _log.warning("task put off", task=self.name, reason=error.reason, error=str(error))
            except Exception:  # noqa: BLE001 - a task that had died would be missed by nobody
                _log.exception("task failed", task=self.name)
            wait_seconds = min(max(self.every_seconds, 1.0), LONGEST_WAIT_SECONDS)


class Scheduler:
    """Runs its tasks side by side until told to stop."""

    def __init__(self, open_database: Callable[[], Database], connect: Callable[[], RedisClient]) -> None:
        self._stop = threading.Event()
        outbox, strays, partitions = (open_database() for _ in range(3))
        queues, due, jobs, orphans, recordings = (connect() for _ in range(5))
        finder = OrphanFinder(orphans, rest=lambda: self._stop.wait(0.005))
        self._tasks = [
            Task("outbox", 1.0, lambda: work_off(outbox, queues)),
            Task("due jobs", 1.0, lambda: move_due_jobs(due)),
            Task("sweep", 2.0, lambda: sweep(jobs)),
            Task("orphans", 1.0, finder.walk_if_due),
            Task("stray recordings", 60.0, lambda: requeue_strays(strays, recordings)),
            Task("partitions", 3600.0, lambda: make_partitions(partitions)),
        ]

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; what a task does then may take a few seconds more, and is cut off after that."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        threads = [
            threading.Thread(target=task.run, args=[self._stop], name=task.name, daemon=True) for task in self._tasks
        ]
        for thread in threads:
            thread.start()
        self._stop.wait()
        ends_at = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, ends_at - time.monotonic()))
            if thread.is_alive():
                _log.warning("task cut off", task=thread.name)
