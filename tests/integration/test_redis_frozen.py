"""A Redis that takes every connection and says nothing for longer than a worker waits for an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from free_ports import free_port
from loading import delivery, leg
from recording_host import Host, Page, Rows, host, rows, wav
from running import loaded, until

from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.job_queue import CDRS, FETCH_RECORDINGS, LOAD_CDRS, RECORDINGS, NewJob, failed_key, queue_key
from common.queue_format import lease_key
from common.queue_state import read_workers
from common.redis_client import connect
from worker.outbox import enqueue
from worker.queue_worker import CdrWorker

__all__ = ["host", "rows"]

# A worker gives up an answer after so long; by itself after 11 s.
GIVEN_UP_SECONDS = 4
HASTY = """
import sys
from cdr.main import main
from worker.queue_worker import CdrWorker
CdrWorker.connection_timeout = int(sys.argv.pop(1))
main()
"""


@pytest.fixture
def server(open_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests")
    with running(server):
        yield server


@pytest.fixture
def connection(server: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url()) as client:
        yield client


@contextmanager
def worker(
    queue: str, server: EmbeddedValkey, database_url: str, store: Path, given_up_seconds: int = GIVEN_UP_SECONDS
) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "CDR_REDIS_URL": server.url(),
        "CDR_DATABASE_URL": database_url,
        "CDR_RECORDINGS_URL": store.as_uri(),
        "CDR_RECORDING_ALLOW_NETWORKS": "127.0.0.1/32",
    }
    command = [sys.executable, "-c", HASTY, str(given_up_seconds), "worker", queue]
    with subprocess.Popen(command, env={**os.environ, **settings}) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def frozen(connection: redis.Redis) -> Iterator[None]:
    process_id = connection.info("server")["process_id"]
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def outlasts(process: subprocess.Popen[bytes], seconds: float) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(60) == 0


def fetch(connection: redis.Redis, recording_id: int) -> None:
    enqueue(connection, [NewJob(RECORDINGS, FETCH_RECORDINGS, ([recording_id],), "fetch")])


def nothing_is_left(connection: redis.Redis, queue: str) -> bool:
    return not connection.exists(lease_key(queue), queue_key(queue), failed_key(queue))


def test_a_recorder_in_a_job_waits_for_a_frozen_redis_and_goes_on(
    server: EmbeddedValkey, connection: redis.Redis, database_url: str, rows: Rows, host: Host, tmp_path: Path
) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def slow(page: Page) -> None:
        asked.set()
        may_answer.wait(60)
        page.answer(200, wav())

    host.pages["/slow"] = slow
    first, second = rows.add(host.url("/slow"), call_id="first"), rows.add(host.url("/audio"), call_id="second")
    fetch(connection, first)
    with worker(RECORDINGS, server, database_url, tmp_path) as recorder:
        assert asked.wait(60)
        with frozen(connection):
            may_answer.set()
            until(lambda: rows.get(first)["status"] == "stored")
            # Now it tells Redis that the job is done, and is not answered.
            outlasts(recorder, 2 * GIVEN_UP_SECONDS)
        # No scheduler runs here: the worker itself puts the job back, and finds it done.
        until(lambda: nothing_is_left(connection, RECORDINGS), seconds=60)
        fetch(connection, second)
        until(lambda: rows.get(second)["status"] == "stored", seconds=60)
        until(lambda: nothing_is_left(connection, RECORDINGS), seconds=60)
        assert rows.get(first)["attempts"] == 1
        end(recorder)


@pytest.mark.parametrize("queue", [CDRS, RECORDINGS])
def test_an_idle_worker_waits_for_a_frozen_redis_and_goes_on(
    queue: str,
    server: EmbeddedValkey,
    connection: redis.Redis,
    database_url: str,
    rows: Rows,
    host: Host,
    tmp_path: Path,
) -> None:
    with worker(queue, server, database_url, tmp_path) as waiting:
        until(lambda: [each.state for each in read_workers(connection)] == ["idle"], seconds=60)
        with frozen(connection):
            outlasts(waiting, 2 * GIVEN_UP_SECONDS)
        recording_id = rows.add(host.url("/audio"))
        fetch(connection, recording_id)
        enqueue(connection, [NewJob(CDRS, LOAD_CDRS, ([delivery(leg("a"))],), "load")])
        done = {CDRS: lambda: loaded(database_url), RECORDINGS: lambda: rows.get(recording_id)["status"] == "stored"}
        until(done[queue], seconds=60)
        until(lambda: nothing_is_left(connection, queue), seconds=60)
        end(waiting)


def test_an_idle_worker_that_is_told_to_stop_ends_though_redis_is_frozen(
    server: EmbeddedValkey, connection: redis.Redis, database_url: str, tmp_path: Path
) -> None:
    # Long enough to tell one answer from two on a machine that stands still in between.
    given_up_seconds = 11
    with worker(CDRS, server, database_url, tmp_path, given_up_seconds) as idle:
        until(lambda: [each.state for each in read_workers(connection)] == ["idle"], seconds=60)
        with frozen(connection):
            idle.terminate()
            # It waits for one answer, and neither asks again nor tries to sign off.
            assert idle.wait(2 * given_up_seconds) == 0


def test_between_two_jobs_a_redis_that_is_away_is_waited_for_until_the_stop(
    open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests")
    with running(server) as url:
        idle = CdrWorker([CDRS], connection=connect(url, timeout_seconds=None))
        idle.register_birth()
    pauses: list[float] = []

    def stop_at_the_third(seconds: float) -> None:
        pauses.append(seconds)
        idle._stop_requested = len(pauses) == 3

    monkeypatch.setattr(idle, "_sleep", stop_at_the_third)
    # What RQ does of itself after a job and before the next.
    idle.heartbeat()
    idle.check_for_suspension(burst=False)
    assert len(pauses) == 3
