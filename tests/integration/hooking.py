"""Hooks as a user might write them, and a product in which they are called: by workers in this process, or in others."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from loading import delivery, leg, select
from worker_context import forget_context

from common.delivery import Delivery
from common.job_queue import CDRS, HOOKS, LOAD_CDRS, NewJob, failed_key, queue_key, scheduled_key
from common.postgres import Database
from worker import context
from worker.hooks import LoadedCdr
from worker.outbox import enqueue, work_off
from worker.queue_worker import CdrWorker
from worker.scheduled_jobs import move_due_jobs

NOTE, OTHER, CHOSEN, WRITE = (f"hooking:{name}" for name in ("note", "other", "chosen", "write"))
LOG = "HOOKING_LOG"
EXIT_CODE_OF_DEADLY = 3

noted: list[LoadedCdr] = []
noted_by_other: list[LoadedCdr] = []
choice: list[Callable[[LoadedCdr], Any]] = []


def note(cdr: LoadedCdr) -> None:
    noted.append(cdr)


def other(cdr: LoadedCdr) -> None:
    noted_by_other.append(cdr)


def chosen(cdr: LoadedCdr) -> None:
    """Note the CDR and do what the test has chosen."""
    noted.append(cdr)
    choice[0](cdr)


def write(cdr: LoadedCdr) -> None:
    """Write a line to the test's file, and then, for some calls, hang or die."""
    with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
        log.write(f"{cdr.call_id} {cdr.event_id} {cdr.attempt}\n")
    if cdr.call_id == "deadly":
        os._exit(EXIT_CODE_OF_DEADLY)
    if cdr.call_id == "endless":
        signal.pause()
    if cdr.call_id == "gone":
        sys.exit("this call ends the process in order")


async def never_awaited(cdr: LoadedCdr) -> None:
    """A hook that would do nothing when it is called."""


def never_iterated(cdr: LoadedCdr) -> Iterator[LoadedCdr]:
    yield cdr


NO_FUNCTION = "text"


class Hooked:
    """A product whose hooks are those above."""

    def __init__(self, connection: Any, database_url: str) -> None:
        self.redis = connection
        self.database_url = database_url

    def load(self, *deliveries: Delivery) -> None:
        """Load deliveries by one job, and queue what follows as the worker does."""
        enqueue(self.redis, [NewJob(CDRS, LOAD_CDRS, (list(deliveries),), "load")])
        self.work(CDRS)

    def work_off(self) -> int:
        """Do what the scheduler does with the outbox."""
        with closing(Database(self.database_url, "test")) as database:
            return work_off(database, self.redis)

    def load_legs(self, *call_ids: str, **fields: Any) -> None:
        self.load(*(delivery(leg(call_id, **fields)) for call_id in call_ids))

    def work(self, queue: str = HOOKS, most: int | None = None) -> CdrWorker:
        worker = CdrWorker([queue], connection=self.redis)
        worker.work(burst=True, max_jobs=most, logging_level="CRITICAL")
        return worker

    def waiting(self, queue: str = HOOKS) -> list[str]:
        return [job_id.decode() for job_id in self.redis.lrange(queue_key(queue), 0, -1)]

    def scheduled(self) -> dict[str, float]:
        """Return the hooks that are tried again later, each with when."""
        return {job_id.decode(): due for job_id, due in self.redis.zrange(scheduled_key(HOOKS), 0, -1, withscores=True)}

    def make_due(self) -> None:
        """Let the time come for all that is tried again later, and move it to its queue."""
        for job_id in self.scheduled():
            self.redis.zadd(scheduled_key(HOOKS), {job_id: 0})
        move_due_jobs(self.redis)

    def failed(self) -> list[str]:
        return [job_id.decode() for job_id in self.redis.zrange(failed_key(HOOKS), 0, -1)]

    def outbox(self) -> list[dict[str, Any]]:
        return select(self.database_url, "SELECT * FROM cdr.outbox WHERE kind = 'hooks' ORDER BY outbox_id")


def choose(what: Callable[[LoadedCdr], Any]) -> None:
    """Say what the hook `chosen` does from now on."""
    choice[:] = [what]


def do_nothing(_cdr: LoadedCdr) -> None:
    """What the hook `chosen` does unless the test chooses."""


@pytest.fixture
def hooked(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Hooked]:
    """Give a product with the hook `chosen`, which does nothing yet, or with those that the test names by a marker."""
    monkeypatch.setenv("CDR_DATABASE_URL", database_url)
    monkeypatch.setenv("CDR_REDIS_URL", redis_url)
    monkeypatch.setattr(context._Kept, "context", None)
    monkeypatch.setenv("CDR_HOOKS", getattr(request, "param", CHOSEN))
    choose(do_nothing)
    noted.clear()
    noted_by_other.clear()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with redis.Redis.from_url(redis_url) as connection:
        yield Hooked(connection, database_url)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    forget_context()
