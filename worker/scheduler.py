"""The scheduler process: moves due jobs, sweeps up after dead workers, works off the outbox, makes partitions."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from common.errors import Transient
from common.partitions import make_partitions
from common.postgres import Database
from common.redis_client import RedisClient
from worker.outbox import work_off
from worker.scheduled_jobs import move_due_jobs
from worker.sweep import Sweeper

LONGEST_WAIT_SECONDS = 60.0

_log = structlog.get_logger("worker.scheduler")


@dataclass
class Task:
    """Something to be done every so many seconds."""

    name: str
    every_seconds: float
    do: Callable[[], Any]
    due_at: float = field(default=0.0)


class Scheduler:
    """Runs its tasks one after the other until told to stop; a task that fails is tried again soon, whatever it raised."""

    def __init__(self, database: Database, connection: RedisClient) -> None:
        sweeper = Sweeper(connection)
        self._tasks = [
            Task("outbox", 0.3, lambda: work_off(database, connection)),
            Task("due jobs", 0.5, lambda: move_due_jobs(connection)),
            Task("sweep", 2.0, sweeper.sweep),
            Task("partitions", 3600.0, lambda: make_partitions(database)),
        ]
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        while not self._stop.is_set():
            for task in self._tasks:
                self._run_if_due(task)
            self._stop.wait(max(0.0, min(task.due_at for task in self._tasks) - time.monotonic()))

    def _run_if_due(self, task: Task) -> None:
        if time.monotonic() < task.due_at:
            return
        try:
            task.do()
            task.due_at = time.monotonic() + task.every_seconds
            return
        except Transient as error:
            _log.warning("task put off", task=task.name, reason=error.reason, error=str(error))
        except Exception:  # noqa: BLE001 - see below
            # The other tasks recover the work of dead processes: they must not die of this one.
            _log.exception("task failed", task=task.name)
        task.due_at = time.monotonic() + min(max(task.every_seconds, 1.0), LONGEST_WAIT_SECONDS)
