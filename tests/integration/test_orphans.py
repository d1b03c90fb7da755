"""A job that is in no queue, no registry and nobody's hold is brought back; what is somewhere, or somebody else's, stays."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from loading import delivery, leg

from common.job_queue import (
    CDRS,
    COUNTERS_KEY,
    LOAD_CDRS,
    RECORDINGS,
    JobSerializer,
    NewJob,
    failed_key,
    intermediate_key,
    job_key,
    queue_key,
    scheduled_key,
)
from common.queue_format import finished_key, lease_key, started_key
from worker import orphans
from worker.orphans import ORPHANS_FIELD, OrphanFinder
from worker.outbox import enqueue


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def finder(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> OrphanFinder:
    """A finder to which any two walks are a lease's time apart."""
    monkeypatch.setattr(orphans, "LEASE_SECONDS", 0)
    return OrphanFinder(connection)


def queue(connection: Any) -> str:
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(leg("a"))],), "load")
    enqueue(connection, [job])
    return job.job_id


def orphan(connection: Any, **fields: Any) -> str:
    job_id = queue(connection)
    connection.lrem(queue_key(CDRS), 0, job_id)
    connection.hset(job_key(job_id), mapping={"status": "failed", **fields})
    return job_id


def queued(connection: Any) -> list[str]:
    return [job_id.decode() for job_id in connection.lrange(queue_key(CDRS), 0, -1)]


def test_an_orphan_is_brought_back_and_counted(connection: redis.Redis, finder: OrphanFinder) -> None:
    job_id = orphan(connection)
    assert finder.walk() == 1
    assert queued(connection) == [job_id]
    assert connection.hget(job_key(job_id), "status") == b"queued"
    assert connection.hget(COUNTERS_KEY, ORPHANS_FIELD) == b"1"


def test_a_job_that_was_nowhere_is_as_old_as_before(connection: redis.Redis, finder: OrphanFinder) -> None:
    job_id = orphan(connection, enqueued_at="2026-01-01T00:00:00.000000Z")
    assert (finder.walk(), queued(connection)) == (1, [job_id])
    assert connection.hget(job_key(job_id), "enqueued_at") == b"2026-01-01T00:00:00.000000Z"


def test_what_was_nowhere_for_less_than_a_leases_time_is_left_alone(connection: redis.Redis) -> None:
    orphan(connection)
    finder = OrphanFinder(connection)
    assert (finder.walk(), finder.walk(), queued(connection)) == (0, 0, [])


def test_what_was_somewhere_in_between_is_seen_for_the_first_time_again(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = orphan(connection)
    finder = OrphanFinder(connection)
    finder.walk()
    connection.zadd(failed_key(CDRS), {job_id: -1})
    finder.walk()
    connection.zrem(failed_key(CDRS), job_id)
    monkeypatch.setattr(orphans, "LEASE_SECONDS", 0.001)
    assert finder.walk() == 0


Put = Callable[[Any, str], Any]
PLACES: dict[str, Put] = {
    "queue": lambda connection, job_id: connection.rpush(queue_key(CDRS), job_id),
    "another queue": lambda connection, job_id: connection.rpush(queue_key(RECORDINGS), job_id),
    "taken": lambda connection, job_id: connection.rpush(intermediate_key(CDRS), job_id),
    "held": lambda connection, job_id: connection.zadd(lease_key(CDRS), {job_id: 9e9}),
    "started": lambda connection, job_id: connection.zadd(started_key(CDRS), {f"{job_id}:execution": 9e9}),
    "failed": lambda connection, job_id: connection.zadd(failed_key(CDRS), {job_id: -1}),
    "scheduled": lambda connection, job_id: connection.zadd(scheduled_key(CDRS), {job_id: 9e9}),
    "finished": lambda connection, job_id: connection.zadd(finished_key(CDRS), {job_id: 9e9}),
    "deferred": lambda connection, job_id: connection.zadd(f"rq:deferred:{CDRS}", {job_id: 1}),
    "expiring": lambda connection, job_id: connection.expire(job_key(job_id), 60),
}


@pytest.mark.parametrize("put", PLACES.values(), ids=PLACES)
def test_what_is_somewhere_is_no_orphan(connection: redis.Redis, finder: OrphanFinder, put: Put) -> None:
    put(connection, orphan(connection))
    before = queued(connection)
    assert (finder.walk(), queued(connection)) == (0, before)


@pytest.mark.parametrize("put", PLACES.values(), ids=PLACES)
def test_what_has_got_somewhere_since_it_was_looked_for_is_left_alone(
    connection: redis.Redis, finder: OrphanFinder, put: Put
) -> None:
    job_id = orphan(connection)
    put(connection, job_id)
    before = queued(connection)
    assert finder._bring_back(job_key(job_id).encode()) == 0
    assert queued(connection) == before


FOREIGN: dict[str, dict[str, Any]] = {
    "of another queue": {"origin": "somebody-elses"},
    "names no function of ours": {"data": JobSerializer.dumps(["os.system", None, ["true"], {}])},
    "a pickle": {"data": pickle.dumps(("os.system", None, ("true",), {}))},
    "stopped by somebody": {"status": "stopped"},
    "not queued yet": {"status": "created"},
}


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
def test_what_is_none_of_ours_is_left_alone(
    connection: redis.Redis, finder: OrphanFinder, fields: dict[str, Any]
) -> None:
    job_id = orphan(connection, **fields)
    before = connection.hgetall(job_key(job_id))
    assert (finder.walk(), queued(connection), connection.hgetall(job_key(job_id))) == (0, [], before)


def test_what_jobs_left_behind_is_cleared(connection: redis.Redis, finder: OrphanFinder) -> None:
    living = queue(connection)
    for name in (living, "gone"):
        connection.xadd(f"rq:results:{name}", {"type": 2})
        connection.zadd(f"rq:executions:{name}", {"execution": 1})
    connection.hset(job_key("only-a-heartbeat"), "last_heartbeat", "2026-01-01T00:00:00.000000Z")
    finder.walk()
    left = {key.decode() for key in connection.scan_iter("rq:*:*") if b"queue" not in key}
    assert left == {job_key(living), f"rq:results:{living}", f"rq:executions:{living}"}


def test_strange_keys_are_passed_over(connection: redis.Redis, finder: OrphanFinder) -> None:
    connection.set(job_key("of-another-type"), "text")
    connection.hset(b"rq:job:\xff\xfe", "data", "x")
    connection.set("rq:job:x:dependents", "text")
    assert finder.walk() == 0
    assert connection.exists(job_key("of-another-type"), b"rq:job:\xff\xfe", "rq:job:x:dependents") == 3


def test_a_long_queue_is_read_in_small_steps(
    connection: redis.Redis, finder: OrphanFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "STEP", 7)
    waiting = [queue(connection) for _ in range(50)]
    lost = orphan(connection)
    assert (finder.walk(), queued(connection)) == (1, [*waiting, lost])


def test_few_orphans_are_brought_back_at_once(
    connection: redis.Redis, finder: OrphanFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "BROUGHT_BACK_A_WALK", 2)
    for _ in range(5):
        orphan(connection)
    assert [finder.walk() for _ in range(4)] == [2, 2, 1, 0]


def test_walks_are_some_time_apart(connection: redis.Redis, finder: OrphanFinder) -> None:
    finder.walk_if_due()
    orphan(connection)
    assert finder.walk_if_due() == 0
    finder._next_walk = time.monotonic()
    assert finder.walk_if_due() == 1
