"""A recording that is pending, long overdue and in no queue is queued again, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from free_ports import free_port
from loading import execute, select
from recording_host import Rows, rows
from structlog.testing import capture_logs

from common.errors import QueueUnavailable
from common.job_queue import RECORDINGS, failed_key, job_key, queue_key, read_call, scheduled_key
from common.postgres import Database
from worker import hourly
from worker.hourly import Hourly
from worker.outbox import queue_waiting_recordings, recording_job
from worker.recordings import stray_recordings
from worker.recordings.stray_recordings import requeue_strays
from worker.scheduled_jobs import Retry, schedule_recordings

__all__ = ["rows"]

LONG_AGO = timedelta(minutes=11)


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url, "test")) as made:
        yield made


@pytest.fixture
def stray(rows: Rows) -> int:
    recording_id = rows.add("http://audio.invalid/1.mp3")
    rows.set(recording_id, "created_at", datetime.now(UTC) - LONG_AGO)
    return recording_id


def outbox(database_url: str) -> list[list[int]]:
    found = select(database_url, "SELECT recording_ids FROM cdr.outbox ORDER BY outbox_id")
    return [row["recording_ids"] for row in found]


def put(connection: redis.Redis, *commands: tuple[Any, ...]) -> None:
    for command in commands:
        connection.execute_command(*command)


def test_a_stray_is_queued_again_once_in_ten_minutes(
    database: Database, connection: redis.Redis, database_url: str, stray: int, rows: Rows
) -> None:
    assert [requeue_strays(database, connection) for _ in range(2)] == [1, 0]
    assert outbox(database_url) == [[stray]]

    rows.set(stray, "requeued_at", datetime.now(UTC) - LONG_AGO)
    assert requeue_strays(database, connection) == 1


def test_all_that_a_redis_has_lost_comes_back(
    database: Database, connection: redis.Redis, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_recordings, "_AT_ONCE", 40)
    ids = [rows.add(f"http://audio.invalid/{number}.mp3") for number in range(100)]
    for each in ids:
        rows.touch(each, datetime.now(UTC) - LONG_AGO)

    assert requeue_strays(database, connection) == 100
    assert queue_waiting_recordings(database, connection) == 100

    data = [connection.hget(job_key(job.decode()), "data") for job in connection.lrange(queue_key(RECORDINGS), 0, -1)]
    assert sorted(each for found in data if found for each in read_call(found)[1][1]) == ids
    assert requeue_strays(database, connection) == 0


def test_a_pass_takes_only_so_long(
    database: Database, connection: redis.Redis, stray: int, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_recordings, "PASS_SECONDS", 0)
    monkeypatch.setattr(stray_recordings, "_AT_ONCE", 1)
    rows.touch(rows.add("http://audio.invalid/2.mp3"), datetime.now(UTC) - LONG_AGO)
    assert [requeue_strays(database, connection) for _ in range(3)] == [1, 1, 0]


@pytest.mark.parametrize("column", ["created_at", "next_attempt_at"])
def test_what_is_not_overdue_for_long_is_left(
    database: Database, connection: redis.Redis, stray: int, rows: Rows, column: str
) -> None:
    rows.set(stray, column, datetime.now(UTC) - timedelta(minutes=9))
    assert requeue_strays(database, connection) == 0


@pytest.mark.parametrize("status", ["stored", "gone", "refused", "failed"])
def test_what_is_not_pending_is_left(
    database: Database, connection: redis.Redis, stray: int, rows: Rows, status: str
) -> None:
    rows.set(stray, "status", status)
    assert requeue_strays(database, connection) == 0


def test_while_recorders_are_behind_nothing_is_queued_twice(
    database: Database, connection: redis.Redis, stray: int
) -> None:
    job = recording_job([stray], "waits")
    put(connection, *job.commands())
    assert requeue_strays(database, connection) == 1
    connection.hset(job_key("waits"), "enqueued_at", "2026-01-01T00:00:00.000000Z")
    execute_again(database, stray)
    assert requeue_strays(database, connection) == 0


def execute_again(database: Database, recording_id: int) -> None:
    with database.transaction() as cursor:
        cursor.execute("UPDATE cdr.recordings SET requeued_at = NULL WHERE recording_id = %s", [recording_id])


def test_while_jobs_that_were_due_are_still_to_be_moved_nothing_is_queued_twice(
    database: Database, connection: redis.Redis, stray: int
) -> None:
    schedule_recordings(connection, [Retry(stray, datetime.now(UTC), -60)])
    assert requeue_strays(database, connection) == 0
    connection.delete(scheduled_key(RECORDINGS))
    schedule_recordings(connection, [Retry(stray, datetime.now(UTC), 3600)])
    assert requeue_strays(database, connection) == 1


def test_what_waits_for_a_person_as_a_failed_job_is_left(
    database: Database, connection: redis.Redis, stray: int, rows: Rows, database_url: str
) -> None:
    other = rows.add("http://audio.invalid/2.mp3")
    rows.set(other, "created_at", datetime.now(UTC) - LONG_AGO)
    put(connection, recording_job([stray], "failed").commands()[0])
    connection.hset(job_key("broken"), "data", b"\x80pickle")
    connection.zadd(failed_key(RECORDINGS), {"failed": -1, "broken": -1, "gone": -1})

    assert requeue_strays(database, connection) == 1
    assert outbox(database_url) == [[other]]


def test_with_more_failed_jobs_than_can_be_looked_through_nothing_is_queued(
    database: Database, connection: redis.Redis, stray: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_recordings, "MOST_FAILED_JOBS", 2)
    connection.zadd(failed_key(RECORDINGS), {"a": -1, "b": -1, "c": -1})
    assert requeue_strays(database, connection) == 0


def test_that_nothing_is_queued_for_too_many_failed_jobs_is_told_once_an_hour(
    database: Database, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_recordings, "MOST_FAILED_JOBS", 2)
    monkeypatch.setattr(stray_recordings, "_too_many_failed", Hourly())
    connection.zadd(failed_key(RECORDINGS), {"a": -1, "b": -1, "c": -1, "d": -1})
    with capture_logs() as lines:
        requeue_strays(database, connection)
        requeue_strays(database, connection)
    assert [(line["log_level"], line["failed"], line["most"]) for line in lines] == [("warning", 4, 2)]

    monkeypatch.setattr(hourly, "SECONDS", 0.0)
    monkeypatch.setattr(stray_recordings, "_too_many_failed", Hourly())
    with capture_logs() as lines:
        requeue_strays(database, connection)
        requeue_strays(database, connection)
    assert len(lines) == 2


@pytest.mark.parametrize("enqueued_at", [None, b"\xff", "yesterday"])
def test_a_job_that_cannot_be_read_hides_no_strays(
    database: Database, connection: redis.Redis, stray: int, enqueued_at: bytes | str | None
) -> None:
    connection.rpush(queue_key(RECORDINGS), "broken")
    if enqueued_at is not None:
        connection.hset(job_key("broken"), "enqueued_at", enqueued_at)
    assert requeue_strays(database, connection) == 1


def test_a_redis_that_is_away_is_no_reason_to_queue(database: Database, stray: int, database_url: str) -> None:
    with closing(redis.Redis(port=free_port())) as away, pytest.raises(QueueUnavailable):
        requeue_strays(database, away)
    assert outbox(database_url) == []


def test_a_walk_reads_no_more_rows_than_are_overdue(database_url: str) -> None:
    execute(
        database_url,
        "INSERT INTO cdr.recordings (identity, provider_time, account, call_id, started_at, source_url, source_key, status)"
        " SELECT sha256(n::text::bytea), '2026-11-23', 'acme', n::text, now(), '', '',"
        " CASE WHEN n %% 10 = 0 THEN 'pending' ELSE 'stored' END FROM generate_series(1, %s) AS n",
        20_000,
    )
    execute(database_url, "ANALYZE cdr.recordings")
    query = (
        "EXPLAIN SELECT recording_id FROM cdr.recordings WHERE status = 'pending'"
        " AND greatest(coalesce(next_attempt_at, created_at), requeued_at) < now() - interval '600 s'"
        " ORDER BY greatest(coalesce(next_attempt_at, created_at), requeued_at) LIMIT 3200"
    )
    plan = "\n".join(row["QUERY PLAN"] for row in select(database_url, query))
    assert "recordings_due" in plan
    assert "Sort" not in plan
