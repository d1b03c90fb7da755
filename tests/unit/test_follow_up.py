"""When what follows a load is done, how often, and that nothing of it reaches whoever loads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import DatabaseUnavailable
from worker import follow_up
from worker.follow_up import FollowUp

LONGEST_SECONDS = 30.0


class Closed:
    """Stands in for a connection, and tells whether it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Passes:
    """Stands in for what works off the outbox: each pass waits to be let go on."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.count = 0
        self.error: Exception | None = None

    def __call__(self, *_: Any) -> int:
        self.count += 1
        self.begun.release()
        assert self.may_end.acquire(timeout=LONGEST_SECONDS)
        if self.error is not None:
            raise self.error
        return 0


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    made = Passes()
    monkeypatch.setattr(follow_up, "work_off", made)
    yield made
    made.may_end.release(100)


def new_follow_up() -> FollowUp:
    database: Any = Closed()
    redis: Any = Closed()
    return FollowUp(database, redis, has_hooks=False)


def test_whoever_loads_does_not_wait_for_what_follows(passes: Passes) -> None:
    following = new_follow_up()
    following.tell()
    assert passes.begun.acquire(timeout=LONGEST_SECONDS)
    following.tell()
    passes.may_end.release(2)
    following.end(LONGEST_SECONDS)
    assert not following.is_left_to_scheduler


def test_loads_that_come_during_a_pass_are_one_more_pass(passes: Passes) -> None:
    following = new_follow_up()
    following.tell()
    assert passes.begun.acquire(timeout=LONGEST_SECONDS)
    for _ in range(5):
        following.tell()
    passes.may_end.release(2)
    following.end(LONGEST_SECONDS)
    assert passes.count == 2


def test_nothing_is_done_without_a_load(passes: Passes) -> None:
    following = new_follow_up()
    following.end(LONGEST_SECONDS)
    following.tell()
    passes.may_end.release()
    following.end(LONGEST_SECONDS)
    following.end(LONGEST_SECONDS)
    assert passes.count == 1


def test_the_end_closes_the_connections(passes: Passes) -> None:
    database, redis = Closed(), Closed()
    following = FollowUp(database, redis, has_hooks=False)  # type: ignore[arg-type]
    following.tell()
    passes.may_end.release()
    following.end(LONGEST_SECONDS)
    assert (database.is_closed, redis.is_closed) == (True, True)


def test_the_end_leaves_what_takes_long_to_the_scheduler(passes: Passes) -> None:
    following = new_follow_up()
    following.tell()
    assert passes.begun.acquire(timeout=LONGEST_SECONDS)
    with capture_logs() as lines:
        following.end(0.0)
    assert [line["reason"] for line in lines] == ["worker_ends"]


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), ZeroDivisionError("a bug of ours")])
def test_after_a_failure_the_scheduler_does_it_for_a_while(passes: Passes, error: Exception) -> None:
    following = new_follow_up()
    passes.error = error
    following.tell()
    passes.may_end.release()
    following.end(LONGEST_SECONDS)
    assert following.is_left_to_scheduler
    following.tell()
    following.end(LONGEST_SECONDS)
    assert passes.count == 1


def test_loads_that_come_during_a_pass_that_fails_are_the_schedulers(passes: Passes) -> None:
    following = new_follow_up()
    passes.error = DatabaseUnavailable("away")
    following.tell()
    assert passes.begun.acquire(timeout=LONGEST_SECONDS)
    following.tell()
    passes.may_end.release()
    following.end(LONGEST_SECONDS)
    assert passes.count == 1


def test_after_a_slow_pass_the_scheduler_does_it_for_a_while(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_up, "FOLLOW_UP_AT_MOST_SECONDS", -1.0)
    following = new_follow_up()
    following.tell()
    passes.may_end.release()
    following.end(LONGEST_SECONDS)
    assert following.is_left_to_scheduler


def test_a_system_without_room_for_a_thread_takes_no_load_down(passes: Passes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    following = new_follow_up()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        following.tell()
    assert passes.count == 0
    passes.may_end.release()
    following.tell()
    following.end(LONGEST_SECONDS)
    assert passes.count == 1
