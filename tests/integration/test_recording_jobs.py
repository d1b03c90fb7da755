"""A recorder's job from its queue to its end: no crash loses or doubles a retry, and nothing tells a recording's signature."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from free_ports import free_port
from loading import execute, select
from recording_host import Host, Page, Rows, host, rows, wav

from common.errors import QueueUnavailable
from common.job_queue import RECORDINGS, job_key, queue_key, scheduled_key
from common.log_setup import set_up_logging
from common.postgres import Database
from worker import context, jobs
from worker.outbox import enqueue, recording_job
from worker.queue_worker import CdrWorker
from worker.recordings import fetch_recording
from worker.recordings.fetch_batch import MAX_SIDE_BY_SIDE
from worker.scheduled_jobs import move_due_jobs
from worker.scheduler import Scheduler

__all__ = ["host", "rows"]

SECRET = "dont-tell"


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def settings(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the job functions the test's own servers, and signals back to whoever had them."""
    monkeypatch.setenv("CDR_DATABASE_URL", database_url)
    monkeypatch.setenv("CDR_REDIS_URL", redis_url)
    monkeypatch.setenv("CDR_RECORDINGS_URL", (tmp_path / "recordings").as_uri())
    monkeypatch.setenv("CDR_RECORDING_ALLOW_NETWORKS", "127.0.0.1/32")
    monkeypatch.setenv("CDR_RECORDING_RETRY_SECONDS", "20,40")
    monkeypatch.setattr(context._Kept, "context", None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if context._Kept.context is not None:
        context._Kept.context.database.close()
        context._Kept.context.redis.close()


def run(connection: Any, *recording_ids: int) -> None:
    if recording_ids:
        enqueue(connection, [recording_job(list(recording_ids), f"job-{recording_ids[0]}")])
    CdrWorker([RECORDINGS], connection=connection).work(burst=True, max_jobs=1, logging_level="CRITICAL")


def waiting(connection: Any) -> list[tuple[bytes, float]]:
    return list(connection.zrange(scheduled_key(RECORDINGS), 0, -1, withscores=True))


def test_a_recording_that_is_not_there_waits_as_long_as_the_setting_says(
    connection: redis.Redis, host: Host, rows: Rows
) -> None:
    host.pages["/late"] = lambda page: page.answer(404)
    recording_id = rows.add(host.url("/late"))
    seconds, _ = connection.time()

    run(connection, recording_id)

    ((_, due),) = waiting(connection)
    assert 20 <= due - seconds < 40
    for attempts in (2, 3):
        rows.make_due(recording_id)
        connection.delete(scheduled_key(RECORDINGS), *connection.keys("rq:job:*"))
        run(connection, recording_id)
        assert rows.get(recording_id)["attempts"] == attempts
    assert (rows.get(recording_id)["status"], waiting(connection)) == ("gone", [])


@pytest.mark.parametrize(("hosts", "status"), [("provider", "refused"), ("localhost", "stored"), ("open", "stored")])
def test_a_name_that_leads_to_an_allowed_network_has_to_be_listed(
    connection: redis.Redis, host: Host, rows: Rows, monkeypatch: pytest.MonkeyPatch, hosts: str, status: str
) -> None:
    monkeypatch.setenv("CDR_RECORDING_HOSTS", hosts)
    monkeypatch.setenv("CDR_RECORDING_ALLOW_NETWORKS", "127.0.0.1/32,::1/128")
    recording_id = rows.add(f"http://localhost:{host.server_port}/audio")
    run(connection, recording_id)
    assert rows.get(recording_id)["status"] == status


def test_all_recorders_keep_to_the_setting_of_places_at_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECORDING_PER_HOST", "1")
    gate = context.current().recordings.gate
    with gate.visit() as visit, visit.place("audio.invalid") as first:
        assert first is None
        visit._place_wait_seconds = 0
        with visit.place("audio.invalid") as second:
            assert second is not None


def test_a_crash_between_the_row_and_redis_neither_loses_nor_doubles_a_retry(
    connection: redis.Redis, host: Host, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise QueueUnavailable("away")

    asked: list[object] = []
    host.pages["/late"] = lambda page: (asked.append(page), page.answer(404))[1]
    recording_id = rows.add(host.url("/late"))
    with monkeypatch.context() as broken:
        broken.setattr(jobs, "schedule_recordings", away)
        run(connection, recording_id)
    assert waiting(connection) == []
    assert connection.llen(queue_key(RECORDINGS)) == 1

    run(connection)
    enqueue(connection, [recording_job([recording_id], "the same again")])
    run(connection)

    assert len(waiting(connection)) == 1
    assert (len(asked), rows.get(recording_id)["attempts"]) == (1, 1)


def test_two_jobs_for_a_recording_become_one(connection: redis.Redis, host: Host, rows: Rows) -> None:
    host.pages["/late"] = lambda page: page.answer(404)
    recording_id = rows.add(host.url("/late"))
    run(connection, recording_id)
    rows.make_due(recording_id)
    enqueue(connection, [recording_job([recording_id], name) for name in ("one", "two")])

    run(connection)
    run(connection)

    assert rows.get(recording_id)["attempts"] == 2
    due_later = [job for job, _ in waiting(connection)]
    # That of the first attempt, which will find that it comes too early, and that of the second.
    assert len(due_later) == 2
    for job in due_later[:1]:
        connection.zadd(scheduled_key(RECORDINGS), {job: 0})
    assert move_due_jobs(connection) == 1
    run(connection)
    assert rows.get(recording_id)["attempts"] == 2
    assert [job for job, _ in waiting(connection)] == due_later[1:]


@pytest.mark.parametrize("field", ["recordings", "cdrs"], ids=["as written now", "as another release wrote them"])
def test_recordings_of_many_jobs_are_fetched_side_by_side(
    connection: redis.Redis, host: Host, rows: Rows, field: str
) -> None:
    # As a quiet line makes them: a call ends, and its recording has a job to itself.
    together = threading.Barrier(MAX_SIDE_BY_SIDE)

    def page_of_all(page: Page) -> None:
        together.wait(timeout=60)
        page.answer(200, wav())

    recording_ids = []
    for number in range(MAX_SIDE_BY_SIDE + 1):
        host.pages[f"/{number}"] = page_of_all if number < MAX_SIDE_BY_SIDE else host.pages["/audio"]
        recording_ids.append(rows.add(host.url(f"/{number}"), call_id=f"call-{number}"))
        enqueue(connection, [recording_job([recording_ids[-1]], f"job-{number}")])
        assert connection.hdel(job_key(f"job-{number}"), "recordings") == 1
        connection.hset(job_key(f"job-{number}"), field, 1)

    run(connection)

    assert [rows.get(each)["status"] for each in recording_ids] == ["stored"] * MAX_SIDE_BY_SIDE + ["pending"]
    assert connection.lrange(queue_key(RECORDINGS), 0, -1) == [f"job-{MAX_SIDE_BY_SIDE}".encode()]


def test_the_scheduler_looks_for_strays(redis_url: str, database_url: str, rows: Rows) -> None:
    recording_id = rows.add("http://audio.invalid/1.mp3")
    execute(database_url, "UPDATE cdr.recordings SET created_at = now() - interval '1 hour'")
    clients: list[redis.Redis] = []
    databases: list[Database] = []

    def connect() -> redis.Redis:
        clients.append(redis.Redis.from_url(redis_url))
        return clients[-1]

    def open_database() -> Database:
        databases.append(Database(database_url, "test"))
        return databases[-1]

    (task,) = (each for each in Scheduler(open_database, connect)._tasks if each.name == "stray recordings")
    task.do()
    for each in (*clients, *databases):
        each.close()

    assert task.every_seconds <= 60
    assert [row["recording_ids"] for row in select(database_url, "SELECT recording_ids FROM cdr.outbox")] == [
        [recording_id]
    ]


def everything_in(connection: redis.Redis) -> str:
    """All keys and values of Redis, jobs unpacked."""
    read = {
        b"string": connection.get,
        b"hash": connection.hgetall,
        b"list": lambda key: connection.lrange(key, 0, -1),
        b"set": connection.smembers,
        b"zset": lambda key: connection.zrange(key, 0, -1),
        b"stream": connection.xrange,
    }
    return "\n".join(f"{key!r} {read[connection.type(key)](key)!r}" for key in connection.keys("*"))


def test_nothing_tells_the_query_of_an_address_or_its_signature(
    connection: redis.Redis,
    host: Host,
    rows: Rows,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CDR_LOG_LEVEL", "debug")
    set_up_logging()
    caplog.set_level(logging.DEBUG)
    query = f"X-Amz-Signature={SECRET}"

    def broken(_head: bytes) -> object:
        raise ZeroDivisionError(f"http://127.0.0.1/?{query}")

    def odd_head(page: Any) -> None:
        page.wfile.write(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 3\r\n\r\nabc")

    base = f"http://127.0.0.1:{host.server_port}"
    host.pages |= {
        "/404": lambda page: page.answer(404),
        "/429": lambda page: page.answer(429),
        "/there": lambda page: page.answer(302, Location=f"/404?{query}"),
        "/evil": lambda page: page.answer(302, Location=f"http://evil.invalid/?{query}"),
        "/user": lambda page: page.answer(302, Location=f"http://a:{SECRET}@127.0.0.1/"),
        "/loop": lambda page: page.answer(302, Location=f"/loop?{query}"),
        "/odd": odd_head,
        "/bad": lambda page: page.answer(200, b"ID3" + bytes(100)),
    }
    urls = [f"{base}{path}?{query}" for path in host.pages if path != "/429"]
    urls += [
        f"http://127.0.0.1:{free_port()}/?{query}",
        f"http://127.0.0.2/?{query}",
        f"http://audio.invalid/?{query}",
        f"http://user:{SECRET}@127.0.0.1/",
        f"http://[bad/?{query}",
        f"ftp://127.0.0.1/?{query}",
        f"http://{'a' * 300}.invalid/?{query}",
    ]
    ids = [rows.add(url, call_id=str(number)) for number, url in enumerate(urls)]
    with monkeypatch.context() as patched:
        run(connection, *ids)
        patched.setattr(fetch_recording, "audio_kind", broken)
        run(connection, rows.add(f"{base}/bad?{query}&2"))
    run(connection, rows.add(f"{base}/429?{query}"))
    # PostgreSQL quotes the row that it refuses.
    execute(database_url, "ALTER TABLE cdr.recordings ADD CONSTRAINT odd CHECK (attempts < 7)")
    short = rows.add(f"http://audio.invalid/?{SECRET}", attempts=6)
    run(connection, short)

    told = [everything_in(connection), *capfd.readouterr(), caplog.text]
    told += [str(row) for row in select(database_url, "SELECT last_error, problem, storage_key FROM cdr.recordings")]
    told += [str(row) for row in select(database_url, "SELECT * FROM cdr.outbox")]
    assert connection.exists(job_key(f"job-{short}"))
    assert len([row for row in told if "audio.invalid" in row or "127.0.0.1" in row]) > 3
    assert [text for text in told if SECRET in text] == []
