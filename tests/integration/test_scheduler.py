"""The scheduler: each task has a thread of its own, and neither a failing nor a hanging one stops the others."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from common.errors import DatabaseUnavailable
from common.postgres import Database
from worker import scheduler
from worker.scheduler import Scheduler, Task


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run_scheduler(redis_url: str, *tasks: Task) -> None:
    """Run a scheduler with these tasks only, until one of them tells the process to stop."""
    made = Scheduler(lambda: Database("postgresql://127.0.0.1/unused", "test"), lambda: redis.Redis.from_url(redis_url))
    made._tasks = list(tasks)
    made.run()


class Turns:
    """Counts its turns, and tells the process to stop at the last one."""

    def __init__(self, last: int) -> None:
        self.times: list[float] = []
        self._last = last

    def __call__(self) -> None:
        self.times.append(time.monotonic())
        if len(self.times) == self._last:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_task_has_its_turn_every_so_many_seconds(redis_url: str) -> None:
    turns = Turns(3)
    run_scheduler(redis_url, Task("a", 0.1, turns))
    assert turns.times[2] - turns.times[0] >= 0.2


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), ZeroDivisionError("a bug of ours")])
def test_a_task_that_fails_is_tried_again_and_does_not_stop_the_others(redis_url: str, error: Exception) -> None:
    failures = Turns(2)

    def fail() -> None:
        failures()
        raise error

    turns = Turns(-1)
    run_scheduler(redis_url, Task("broken", 0.0, fail), Task("a", 0.02, turns))
    assert len(failures.times) == 2
    assert len(turns.times) > 5


def test_a_task_that_hangs_neither_stops_the_others_nor_the_end(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "GRACE_SECONDS", 0.2)
    for_ever = threading.Event()
    turns = Turns(5)
    run_scheduler(redis_url, Task("hangs", 0.0, for_ever.wait), Task("a", 0.02, turns))
    for_ever.set()
    assert len(turns.times) == 5


def until_stopped(do: Callable[[], None]) -> list[float]:
    """Run a task in this thread and return how long it waited before each turn."""
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 2

    Task("partitions", 3600.0, do).run(Stop())
    return waits


def test_a_task_for_each_hour_is_tried_again_within_a_minute() -> None:
    def fail() -> None:
        raise DatabaseUnavailable("away")

    assert until_stopped(fail) == [0.0, 60.0, 60.0]
    assert until_stopped(lambda: None) == [0.0, 3600.0, 3600.0]
