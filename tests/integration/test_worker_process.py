"""The worker and the scheduler as processes: what is queued becomes rows, whoever dies or goes away on the way."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from free_ports import free_port
from loading import delivery, execute, leg, select
from running import Start, loaded, processes, until

from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import running
from common.job_queue import (
    CDRS,
    COUNTERS_KEY,
    FETCH_RECORDINGS,
    LOAD_CDRS,
    RECORDINGS,
    NewJob,
    failed_key,
    job_key,
    queue_key,
)
from common.queue_format import lease_key
from common.queue_state import read_workers
from migrations.apply import migrate
from worker.holds import holders_key
from worker.outbox import enqueue
from worker.scheduled_jobs import schedule, scheduled_key
from worker.sweep import sweep

INTERMEDIATE = f"{queue_key(CDRS)}:intermediate"


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    with processes(database_url, redis_url) as begin:
        yield begin


def queue_cdrs(connection: Any, *call_ids: str) -> str:
    """Queue one job with a plain CDR for each id; return the job's id."""
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(leg(call_id)) for call_id in call_ids],), "load")
    enqueue(connection, [job])
    return job.job_id


@contextmanager
def nobody_may_load(database_url: str) -> Iterator[None]:
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE cdr.cdrs IN SHARE MODE")
        yield


def waits_for_the_lock(database_url: str) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdr worker' AND wait_event_type = 'Lock'"
    return bool(select(database_url, f"{query} AND datname = current_database()")[0]["count"])


def idle(connection: Any) -> bool:
    """Tell whether a worker is there and nothing waits or runs."""
    return bool(connection.scard("rq:workers")) and not connection.llen(queue_key(CDRS))


def test_a_job_becomes_rows_and_a_call(start: Start, connection: redis.Redis, database_url: str) -> None:
    queue_cdrs(connection, "a", "b")
    start("worker", "cdrs")
    until(lambda: select(database_url, "SELECT FROM cdr.calls") and loaded(database_url) == {"a", "b"})


def test_the_batch_of_a_killed_worker_is_rows_within_30_seconds(
    start: Start, connection: redis.Redis, database_url: str
) -> None:
    start("scheduler")
    queue_cdrs(connection, "a", "b")
    with nobody_may_load(database_url):
        victim = start("worker", "cdrs")
        until(lambda: waits_for_the_lock(database_url))
        victim.kill()
    start("worker", "cdrs")
    until(lambda: loaded(database_url) == {"a", "b"}, seconds=30)


def test_a_job_taken_but_never_started_comes_back(start: Start, connection: redis.Redis, database_url: str) -> None:
    job_id = queue_cdrs(connection, "a")
    assert connection.lmove(queue_key(CDRS), INTERMEDIATE) == job_id.encode()
    start("scheduler")
    start("worker", "cdrs")
    until(lambda: loaded(database_url) == {"a"}, seconds=30)


# Unlike a lock it is waited for until the time of a statement is over.
HOLD_UP = """
CREATE TABLE public.held_up (yes boolean);
INSERT INTO public.held_up VALUES (true);
CREATE FUNCTION public.hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM public.held_up) LOOP PERFORM pg_sleep(0.05); END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_up BEFORE INSERT ON cdr.cdrs FOR EACH STATEMENT EXECUTE FUNCTION public.hold_up();
"""


def heartbeats(connection: redis.Redis) -> set[str]:
    return {f"{worker.name} {worker.last_heartbeat}" for worker in read_workers(connection)}


def test_a_worker_that_stalls_and_wakes_up_disturbs_nobody_who_got_its_job(
    start: Start, connection: redis.Redis, database_url: str
) -> None:
    execute(database_url, HOLD_UP)
    start("scheduler")
    job_id = queue_cdrs(connection, "a")
    stalled = start("worker", "cdrs")
    first = until(lambda: connection.hget(holders_key(CDRS), job_id), seconds=60)
    until(lambda: heartbeats(connection))
    stalled.send_signal(signal.SIGSTOP)
    start("worker", "cdrs")
    until(lambda: connection.hget(holders_key(CDRS), job_id) not in {None, first}, seconds=60)
    second = connection.hget(holders_key(CDRS), job_id)
    beats = heartbeats(connection)
    stalled.send_signal(signal.SIGCONT)
    # By its next heartbeat it has tried to renew what it believes to hold.
    until(lambda: len(beats - heartbeats(connection)) == 2, seconds=60)
    assert (connection.hget(holders_key(CDRS), job_id), connection.exists(queue_key(CDRS))) == (second, 0)
    execute(database_url, "DELETE FROM public.held_up")
    until(lambda: not connection.exists(lease_key(CDRS), queue_key(CDRS)), seconds=60)
    until(lambda: loaded(database_url) == {"a"})
    stalled.terminate()
    assert stalled.wait(60) == 0
    assert connection.zcard(failed_key(CDRS)) == 0


def test_two_schedulers_do_no_more_than_one(start: Start, connection: redis.Redis, database_url: str) -> None:
    queue_cdrs(connection, "taken")
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    schedule(connection, NewJob(CDRS, LOAD_CDRS, ([delivery(leg("due"))],), "load"), datetime.now(UTC))
    lost = queue_cdrs(connection, "nowhere")
    connection.lrem(queue_key(CDRS), 0, lost)
    for _ in range(2):
        start("scheduler")
    until(lambda: connection.llen(queue_key(CDRS)) == 3, seconds=60)
    start("worker", "cdrs")
    until(lambda: loaded(database_url) == {"taken", "due", "nowhere"}, seconds=60)
    assert connection.hget(COUNTERS_KEY, "loaded") == b"3"


def put_back(connection: redis.Redis) -> int:
    """Count how often a job went back to the head of its queue, which nothing else pushes to."""
    return int(connection.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"])


def test_postgresql_may_go_and_come_back(redis_url: str, connection: redis.Redis, tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", free_port(), "only-for-tests", {"fsync": "off"})
    with processes(server.url(), redis_url) as start:
        with running(server) as url:
            migrate(url)
            start("worker", "cdrs")
            queue_cdrs(connection, "before")
            until(lambda: loaded(url) == {"before"})
        queue_cdrs(connection, "a", "b")
        until(lambda: put_back(connection))
        with running(server) as url:
            until(lambda: loaded(url) == {"before", "a", "b"}, seconds=60)
    assert connection.zcard(failed_key(CDRS)) == 0


def test_sigterm_finishes_the_job_at_hand(start: Start, connection: redis.Redis, database_url: str) -> None:
    queue_cdrs(connection, "a")
    with nobody_may_load(database_url):
        worker = start("worker", "cdrs")
        until(lambda: waits_for_the_lock(database_url))
        worker.terminate()
        queue_cdrs(connection, "left")
    assert worker.wait(60) == 0
    assert (loaded(database_url), connection.llen(queue_key(CDRS))) == ({"a"}, 1)


def test_an_idle_worker_stops_at_once(start: Start, connection: redis.Redis, database_url: str) -> None:
    queue_cdrs(connection, "a")
    worker = start("worker", "cdrs")
    until(lambda: loaded(database_url) and idle(connection))
    worker.send_signal(signal.SIGINT)
    assert worker.wait(60) == 0


def test_a_second_sigterm_puts_the_job_back(start: Start, connection: redis.Redis, database_url: str) -> None:
    job_id = queue_cdrs(connection, "a")
    with nobody_may_load(database_url):
        worker = start("worker", "cdrs")
        until(lambda: waits_for_the_lock(database_url))
        asked = time.monotonic()
        worker.terminate()
        # RQ takes a second signal within a second for a copy of the first.
        until(lambda: time.monotonic() - asked > 1.2)
        worker.terminate()
        worker.wait(60)
    assert connection.lrange(queue_key(CDRS), 0, -1) == [job_id.encode()]
    assert connection.zcard(failed_key(CDRS)) == 0


def queue_raw(connection: Any, version: int, payload: Any) -> str:
    """Queue a job whose payload another release, or nobody, has written."""
    job = NewJob(CDRS, LOAD_CDRS, (payload,), "raw")
    commands = job.commands()
    fields = list(commands[0])
    place = fields.index("data") + 1
    fields[place] = fields[place].replace(b"[1,", b"[%d," % version, 1)
    for command in (fields, *commands[1:]):
        connection.execute_command(*command)
    return job.job_id


def test_a_newer_payload_stays_queued_and_holds_up_nobody(
    start: Start, connection: redis.Redis, database_url: str
) -> None:
    newer = queue_raw(connection, 2, [])
    queue_cdrs(connection, "a")
    start("worker", "cdrs")
    until(lambda: loaded(database_url) == {"a"})
    until(lambda: connection.lrange(queue_key(CDRS), 0, -1) == [newer.encode()])
    assert connection.zcard(failed_key(CDRS)) == 0


@pytest.mark.parametrize("payload", [[["not", "a", "delivery"]], "text", None, [1]])
def test_a_payload_that_is_none_of_ours_is_a_failed_job(
    start: Start, connection: redis.Redis, database_url: str, payload: Any
) -> None:
    job_id = queue_raw(connection, 1, payload)
    start("worker", "cdrs")
    until(lambda: connection.zrange(failed_key(CDRS), 0, -1) == [job_id.encode()])


def test_a_refused_cdr_is_a_failed_job_of_its_own(start: Start, connection: redis.Redis, database_url: str) -> None:
    with psycopg.connect(database_url) as user:
        user.execute("ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    queue_cdrs(connection, "a", "bad", "b")
    start("worker", "cdrs")
    [job_id] = until(lambda: connection.zrange(failed_key(CDRS), 0, -1))
    assert loaded(database_url) == {"a", "b"}
    assert b"23514" in (connection.hget(job_key(job_id.decode()), "meta") or b"")


def test_a_scheduled_job_is_moved_when_it_is_due(start: Start, connection: redis.Redis) -> None:
    now = datetime.now(UTC)
    due, later = (NewJob(RECORDINGS, FETCH_RECORDINGS, ([number],), "fetch") for number in (1, 2))
    schedule(connection, due, now + timedelta(seconds=1))
    schedule(connection, later, now + timedelta(hours=1))
    start("scheduler")
    until(lambda: connection.lrange(queue_key(RECORDINGS), 0, -1) == [due.job_id.encode()])
    assert datetime.now(UTC) >= now + timedelta(seconds=1)
    assert connection.zrange(scheduled_key(RECORDINGS), 0, -1) == [later.job_id.encode()]


def test_the_scheduler_works_off_what_a_dead_worker_left_in_the_outbox(
    start: Start, connection: redis.Redis, database_url: str
) -> None:
    with psycopg.connect(database_url) as dead:
        dead.execute("INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', '{1,2}')")
    start("scheduler")
    until(lambda: connection.llen(queue_key(RECORDINGS)) == 1)


def test_a_broken_task_does_not_stop_the_scheduler(start: Start, connection: redis.Redis, database_url: str) -> None:
    with psycopg.connect(database_url) as user:
        # Not a value that is refused, but a row that makes the scheduler's own code fail.
        user.execute(
            "INSERT INTO cdr.outbox (kind, call_keys) VALUES ('calls', '{00000000-0000-0000-0000-000000000000}')"
        )
    job_id = queue_cdrs(connection, "a")
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    scheduler = start("scheduler")
    until(lambda: connection.lrange(queue_key(CDRS), 0, -1) == [job_id.encode()], seconds=30)
    assert scheduler.poll() is None


def test_a_locked_table_holds_up_neither_the_sweep_nor_the_end(
    start: Start, connection: redis.Redis, database_url: str
) -> None:
    job_id = queue_cdrs(connection, "a")
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    with psycopg.connect(database_url) as user:
        user.execute("LOCK TABLE cdr.outbox IN ACCESS EXCLUSIVE MODE")
        scheduler = start("scheduler")
        waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'cdr scheduler' AND wait_event_type = 'Lock'"
        until(lambda: select(database_url, waiting), seconds=60)
        until(lambda: connection.lrange(queue_key(CDRS), 0, -1) == [job_id.encode()], seconds=60)
        scheduler.terminate()
        assert scheduler.wait(30) == 0


def test_the_scheduler_stops_when_told_to(start: Start, connection: redis.Redis, database_url: str) -> None:
    scheduler = start("scheduler")
    until(lambda: select(database_url, "SELECT FROM pg_stat_activity WHERE application_name = 'cdr scheduler'"))
    scheduler.terminate()
    assert scheduler.wait(60) == 0


def test_a_job_whose_lease_is_renewed_is_left_alone(connection: redis.Redis) -> None:
    job_id = queue_cdrs(connection, "a")
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    connection.zadd(lease_key(CDRS), {job_id: time.time() + 5})
    assert sweep(connection) == 0


def test_a_lease_that_outlived_its_job_goes_alone(connection: redis.Redis) -> None:
    job_id = queue_cdrs(connection, "a")
    connection.zadd(lease_key(CDRS), {job_id: time.time() - 1, "gone": time.time() - 1})
    assert sweep(connection) == 0
    assert (connection.zcard(lease_key(CDRS)), connection.llen(queue_key(CDRS))) == (0, 1)
