"""What others see of a worker that works, hangs, dies, or has no Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from free_ports import free_port
from loading import delivery, leg
from running import loaded, processes, until

from cdr.child_process import LONGEST_PAUSE_SECONDS as SUPERVISOR_PAUSE_SECONDS
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.job_queue import CDRS, LOAD_CDRS, NewJob, failed_key, queue_key
from common.queue_format import lease_key
from common.queue_state import read_workers
from common.redis_client import connect
from worker import leases, queue_worker
from worker.outbox import enqueue
from worker.queue_worker import CdrWorker
from worker.signs_of_life import SILENT_SECONDS
from worker.sweep import sweep

BACK_SECONDS = 5


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def worker(redis_url: str) -> Iterator[CdrWorker]:
    client = connect(redis_url, timeout_seconds=None)
    yield CdrWorker([CDRS], connection=client)
    client.close()


def queue_cdr(connection: Any, call_id: str) -> str:
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(leg(call_id))],), "load")
    enqueue(connection, [job])
    return job.job_id


def locked(database_url: str) -> Any:
    """Return a connection that keeps everybody from loading until it is closed."""
    blocker = psycopg.connect(database_url)
    blocker.execute("LOCK TABLE cdr.cdrs IN SHARE MODE")
    return blocker


# Dead and living workers.


def test_a_dead_worker_leaves_the_lists_of_workers(connection: redis.Redis, worker: CdrWorker) -> None:
    worker.register_birth()
    assert connection.ttl(worker.key) <= SILENT_SECONDS + 60
    worker.heartbeat()
    assert 0 < connection.ttl(worker.key) <= SILENT_SECONDS
    assert len(read_workers(connection)) == 1
    # What its time does to the hash of a worker that says nothing more.
    connection.delete(worker.key)
    sweep(connection)
    assert (connection.exists("rq:workers", f"rq:workers:{CDRS}"), read_workers(connection)) == (0, [])


def test_a_worker_that_would_never_be_forgotten_is_given_a_time(connection: redis.Redis, worker: CdrWorker) -> None:
    worker.register_birth()
    connection.persist(worker.key)
    sweep(connection)
    assert 0 < connection.ttl(worker.key) <= SILENT_SECONDS


def test_a_worker_that_redis_has_forgotten_registers_again(connection: redis.Redis, worker: CdrWorker) -> None:
    worker.register_birth()
    before = read_workers(connection)
    connection.flushall()
    worker.heartbeat()
    [again] = read_workers(connection)
    assert (again.name, again.queue, again.host) == (before[0].name, before[0].queue, before[0].host)
    assert connection.ttl(worker.key) > 0
    assert connection.smembers(f"rq:workers:{CDRS}") == {worker.key.encode()}


def test_heartbeats_are_some_time_apart(connection: redis.Redis, worker: CdrWorker) -> None:
    worker.heartbeat()
    connection.delete(worker.key)
    worker.heartbeat()
    assert not connection.exists(worker.key)


def test_a_worker_in_a_long_job_says_that_it_is_busy(
    connection: redis.Redis, redis_url: str, database_url: str
) -> None:
    queue_cdr(connection, "a")
    with processes(database_url, redis_url) as start:
        with locked(database_url):
            start("worker", CDRS)
            until(lambda: [each.state for each in read_workers(connection)] == ["busy"], seconds=60)
            [key] = connection.smembers("rq:workers")
            assert connection.ttl(key) <= SILENT_SECONDS
        until(lambda: [each.state for each in read_workers(connection)] == ["idle"], seconds=60)


def test_finished_jobs_that_redis_has_forgotten_leave_their_list(connection: redis.Redis) -> None:
    connection.zadd(f"rq:finished:{CDRS}", {"long ago": 1, "just now": time.time() + 60})
    sweep(connection)
    assert connection.zrange(f"rq:finished:{CDRS}", 0, -1) == [b"just now"]


# A worker whose job never ends.

HANGING = f"""
from worker import leases, queue_worker
leases.RENEW_SECONDS, leases.LONGEST_HOLD_SECONDS = 0.05, 0.2
import threading
queue_worker.load_batches = lambda _: threading.Event().wait()
from common.redis_client import connect
import os
queue_worker.work({CDRS!r}, connect(os.environ["CDR_REDIS_URL"], timeout_seconds=None))
"""


def test_a_worker_whose_job_never_ends_is_ended_and_its_job_is_run_elsewhere(
    connection: redis.Redis, redis_url: str, database_url: str
) -> None:
    job_id = queue_cdr(connection, "a")
    environment = {**os.environ, "CDR_REDIS_URL": redis_url, "CDR_DATABASE_URL": database_url}
    hung = subprocess.run([sys.executable, "-c", HANGING], env=environment, timeout=120, check=False)
    assert hung.returncode == leases.EXIT_HUNG
    assert connection.zrange(lease_key(CDRS), 0, -1) == [job_id.encode()]
    connection.zadd(lease_key(CDRS), {job_id: 1})
    assert sweep(connection) == 1
    assert connection.lrange(queue_key(CDRS), 0, -1) == [job_id.encode()]


# Redis away.


def test_everybody_is_back_within_5_seconds_of_redis() -> None:
    assert queue_worker.LONGEST_PAUSE_SECONDS < BACK_SECONDS
    assert SUPERVISOR_PAUSE_SECONDS <= BACK_SECONDS


def test_an_idle_worker_waits_for_redis_and_goes_on(database_url: str, open_path: Path) -> None:
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests")
    with processes(database_url, server.url()) as start:
        with running(server) as url, redis.Redis.from_url(url) as connection:
            waiting = start("worker", CDRS)
            queue_cdr(connection, "before")
            until(lambda: loaded(database_url) == {"before"} and not connection.exists(lease_key(CDRS)), seconds=60)
            # Whatever it does after a job is done by its next heartbeat.
            beat = read_workers(connection)[0].last_heartbeat
            until(lambda: read_workers(connection)[0].last_heartbeat > beat, seconds=60)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
        with running(server) as url, redis.Redis.from_url(url) as connection:
            queue_cdr(connection, "after")
            until(lambda: loaded(database_url) == {"before", "after"}, seconds=60)
            until(lambda: len(read_workers(connection)) == 1, seconds=60)
            waiting.terminate()
            assert waiting.wait(60) == 0


def test_an_idle_worker_that_waits_for_redis_stops_when_told_to(database_url: str, open_path: Path) -> None:
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests")
    with processes(database_url, server.url()) as start:
        with running(server) as url, redis.Redis.from_url(url) as connection:
            waiting = start("worker", CDRS)
            until(lambda: [each.state for each in read_workers(connection)] == ["idle"], seconds=60)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
        waiting.terminate()
        # It cannot say good-bye to a Redis that is away, and has done its work all the same.
        assert waiting.wait(60) in {0, 1}


def test_a_worker_that_cannot_end_its_job_waits_for_redis_and_runs_it_again(database_url: str, open_path: Path) -> None:
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests")
    with processes(database_url, server.url()) as start:
        with running(server) as url, redis.Redis.from_url(url) as connection:
            queue_cdr(connection, "a")
            blocker = locked(database_url)
            busy = start("worker", CDRS)
            until(lambda: connection.zcard(lease_key(CDRS)), seconds=60)
        blocker.close()
        until(lambda: loaded(database_url) == {"a"}, seconds=60)
        with pytest.raises(subprocess.TimeoutExpired):
            busy.wait(4)
        with running(server) as url, redis.Redis.from_url(url) as connection:
            until(lambda: not connection.exists(lease_key(CDRS), queue_key(CDRS)), seconds=60)
            assert connection.zcard(failed_key(CDRS)) == 0
            queue_cdr(connection, "b")
            until(lambda: loaded(database_url) == {"a", "b"}, seconds=60)
            busy.terminate()
            assert busy.wait(60) == 0
