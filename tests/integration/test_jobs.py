"""Every way in which a job can end, seen from within the process: done, put back, set aside, failed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from free_ports import free_port
from loading import delivery, execute, leg, select
from receiving import configured
from rq.exceptions import StopRequested
from worker_context import forget_context

from cdr.processes import run_scheduler
from common import redis_client
from common.delivery import QuarantinedBody
from common.errors import ConfigurationError, DatabaseUnavailable, QueueUnavailable
from common.failed_jobs import Filter, find_ids, list_failed
from common.job_queue import (
    CDRS,
    COUNTERS_KEY,
    FETCH_RECORDINGS,
    KEEP_BODIES,
    LOAD_CDRS,
    PAYLOAD_VERSION,
    RECORDINGS,
    NewJob,
    failed_key,
    job_key,
    queue_key,
)
from common.postgres import Database
from common.queue_format import finished_key, lease_key
from common.replay_failed import replay
from common.requeue import Moved, move_to_queue
from worker import (
    context,
    follow_up,
    gather,
    hold_size,
    holds,
    jobs,
    leases,
    load_parts,
    queue_worker,
    scheduled_jobs,
    scheduler,
)
from worker import sweep as sweeping
from worker.bisection import Failed
from worker.holds import Hold, holders_key
from worker.leases import Renewal
from worker.outbox import enqueue, enqueue_once, queue_waiting_recordings, recording_jobs, work_off
from worker.queue_worker import CdrWorker
from worker.scheduled_jobs import Retry, move_due_jobs, schedule, schedule_recordings, scheduled_key
from worker.sweep import MOST_DEATHS, seen_key, sweep

INTERMEDIATE = f"{queue_key(CDRS)}:intermediate"


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(autouse=True)
def settings(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the job functions the test's own servers, and signals back to whoever had them."""
    monkeypatch.setenv("CDR_DATABASE_URL", database_url)
    monkeypatch.setenv("CDR_REDIS_URL", redis_url)
    monkeypatch.setenv("CDR_RECORDINGS_URL", tmp_path.as_uri())
    monkeypatch.setattr(context._Kept, "context", None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    forget_context()


def queue(connection: Any, function: str, *arguments: Any) -> str:
    name = RECORDINGS if function == FETCH_RECORDINGS else CDRS
    job = NewJob(name, function, arguments, "a test's")
    enqueue(connection, [job])
    return job.job_id


def run(connection: Any, jobs_to_run: int = 1, name: str = CDRS) -> CdrWorker:
    worker = CdrWorker([name], connection=connection)
    worker.work(burst=True, max_jobs=jobs_to_run, logging_level="CRITICAL")
    return worker


def queued(connection: Any, name: str = CDRS) -> list[str]:
    return [job_id.decode() for job_id in connection.lrange(queue_key(name), 0, -1)]


def failed(connection: Any) -> list[str]:
    return [job_id.decode() for job_id in connection.zrange(failed_key(CDRS), 0, -1)]


def loaded(url: str) -> set[str]:
    return {row["call_id"] for row in select(url, "SELECT call_id FROM cdr.cdrs")}


def meta(connection: Any, job_id: str) -> str:
    return (connection.hget(job_key(job_id), "meta") or b"").decode()


def test_a_job_is_loaded_and_counted(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a")), delivery(leg("b"))])
    run(connection)
    assert (loaded(database_url), connection.hget(COUNTERS_KEY, "loaded")) == ({"a", "b"}, b"2")


def test_a_loaded_job_leaves_no_lease(connection: redis.Redis) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    run(connection)
    assert connection.zcard(lease_key(CDRS)) == 0


def test_a_job_without_a_database_is_put_back(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/cdr")
    job_id = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    queue(connection, LOAD_CDRS, [delivery(leg("b"))])
    run(connection)
    assert (queued(connection)[0], failed(connection)) == (job_id, [])


def test_the_pause_grows_while_a_failure_lasts(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/cdr")
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    worker = run(connection, jobs_to_run=2)
    assert worker._pause_seconds == 4 * queue_worker.FIRST_PAUSE_SECONDS


def test_a_success_ends_the_growing_of_the_pause(connection: redis.Redis) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    worker = CdrWorker([CDRS], connection=connection)
    worker._pause_seconds = 3.0
    worker.work(burst=True, logging_level="CRITICAL")
    assert worker._pause_seconds == queue_worker.FIRST_PAUSE_SECONDS


def test_a_newer_payload_goes_to_the_end_of_the_queue(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = queue(connection, LOAD_CDRS, [])
    older = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    monkeypatch.setattr(jobs, "PAYLOAD_VERSION", PAYLOAD_VERSION - 1)
    run(connection)
    assert queued(connection) == [older, newer]


@pytest.mark.parametrize("stop", [StopRequested, SystemExit, KeyboardInterrupt])
def test_a_job_in_which_the_worker_is_stopped_is_put_back(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def stopped(*_: Any) -> None:
        raise stop

    monkeypatch.setattr(load_parts, "load_all", stopped)
    job_id = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    worker = run(connection, jobs_to_run=2)
    assert (queued(connection), failed(connection)) == ([job_id], [])
    assert worker._stop_requested


def test_a_payload_that_is_none_of_ours_is_a_failed_job(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [{"not": "a delivery"}])
    run(connection)
    assert failed(connection) == [job_id]
    assert "not_loadable" in meta(connection, job_id)


def test_arguments_that_are_none_of_ours_are_a_failed_job(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS)
    run(connection)
    assert "TypeError" in meta(connection, job_id)


def test_many_small_jobs_are_loaded_in_one_transaction(connection: redis.Redis, database_url: str) -> None:
    for name in "abcdef":
        queue(connection, LOAD_CDRS, [delivery(leg(name))])
    run(connection)
    rows = select(database_url, "SELECT call_id, xmin::text AS transaction FROM cdr.cdrs")
    assert {row["call_id"] for row in rows} == set("abcdef")
    assert len({row["transaction"] for row in rows}) == 1


def parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_parts, "PART_CDRS", 2)


def test_many_cdrs_are_loaded_in_parts(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    for names in ("a", "bcd", "e"):
        queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in names])
    run(connection)
    rows = select(
        database_url, "SELECT array_agg(call_id ORDER BY call_id) AS part FROM cdr.cdrs GROUP BY xmin::text ORDER BY 1"
    )
    assert [row["part"] for row in rows] == [["a", "b"], ["c", "d"], ["e"]]
    assert (queued(connection), connection.hget(COUNTERS_KEY, "loaded")) == ([], b"5")


def test_a_part_is_loaded_while_the_next_is_enriched(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    enriched_next = threading.Event()
    beside: list[bool] = []
    enrich, load_all = gather.enrich, load_parts.load_all

    def enrich_and_tell(deliveries: Any, *arguments: Any) -> Any:
        if deliveries[0].fields["ivruniqueid"] == "c":
            enriched_next.set()
        return enrich(deliveries, *arguments)

    def load_when_told(*arguments: Any) -> None:
        beside.append(enriched_next.wait(60))
        load_all(*arguments)

    monkeypatch.setattr(gather, "enrich", enrich_and_tell)
    monkeypatch.setattr(load_parts, "load_all", load_when_told)
    queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in "abc"])
    run(connection)
    assert (loaded(database_url), beside) == ({"a", "b", "c"}, [True, True])


def test_two_parts_are_loaded_at_once(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    both = threading.Barrier(2)
    loaded_at_once: list[int] = []
    load_all = load_parts.load_all

    def load_when_both_would(*arguments: Any) -> None:
        loaded_at_once.append(both.wait(60))
        load_all(*arguments)

    monkeypatch.setattr(load_parts, "load_all", load_when_both_would)
    queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in "abcd"])
    run(connection)
    assert (loaded(database_url), sorted(loaded_at_once)) == (set("abcd"), [0, 1])


def test_parts_with_deliveries_of_one_cdr_make_one_row(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in ("a", "b", "b", "a", "a", "b")])
    run(connection)
    rows = select(database_url, "SELECT call_id, delivery_count FROM cdr.cdrs ORDER BY 1")
    assert [(row["call_id"], row["delivery_count"]) for row in rows] == [("a", 3), ("b", 3)]
    assert (queued(connection), connection.hget(COUNTERS_KEY, "loaded")) == ([], b"6")


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_a_refused_cdr_fails_alone_in_whichever_part_it_is(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    parts_of_two(monkeypatch)
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    names = ["a", "b", "c", "d"]
    names.insert(place, "bad")
    ids = {name: queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in names}
    run(connection)
    assert (loaded(database_url), failed(connection)) == ({"a", "b", "c", "d"}, [ids["bad"]])
    counts = select(database_url, "SELECT DISTINCT delivery_count FROM cdr.cdrs")
    assert ([row["delivery_count"] for row in counts], connection.hget(COUNTERS_KEY, "loaded")) == ([1], b"4")


def test_a_cdr_that_cannot_be_enriched_fails_alone_though_a_part_is_being_loaded(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    ids = {name: queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in ("a", "b", "", "d")}
    run(connection)
    assert (loaded(database_url), failed(connection)) == ({"a", "b", "d"}, [ids[""]])


def test_all_jobs_go_back_when_the_database_goes_away_between_two_parts(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts_of_two(monkeypatch)
    load_all = load_parts.load_all

    def load_the_first(database: Any, records: Any, knowledge: Any) -> None:
        if records[0].cdr.call_id != "a":
            raise DatabaseUnavailable("away")
        load_all(database, records, knowledge)

    with monkeypatch.context() as patch:
        patch.setattr(load_parts, "load_all", load_the_first)
        ids = [queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in "abcde"]
        run(connection)
        assert (loaded(database_url), queued(connection), failed(connection)) == ({"a", "b"}, ids, [])
    run(connection)
    counts = select(database_url, "SELECT call_id, delivery_count FROM cdr.cdrs ORDER BY 1")
    assert [(row["call_id"], row["delivery_count"]) for row in counts] == [(name, 1) for name in "abcde"]
    assert (queued(connection), connection.hget(COUNTERS_KEY, "loaded")) == ([], b"5")


def test_jobs_that_are_loaded_together_leave_nothing_behind(connection: redis.Redis) -> None:
    ids = [queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in "abc"]
    run(connection)
    assert not [job_id for job_id in ids if connection.exists(job_key(job_id))]
    assert (queued(connection), connection.llen(INTERMEDIATE), connection.zcard(lease_key(CDRS))) == ([], 0, 0)


def test_no_more_cdrs_are_taken_than_are_done_together(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold_size, "LEAST_CDRS", 3)
    for names in ("ab", "c", "d"):
        queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in names])
    run(connection)
    assert (loaded(database_url), len(queued(connection))) == ({"a", "b", "c"}, 1)


@pytest.fixture
def one_cdr_then_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker take one CDR at once, and three after any load."""
    monkeypatch.setattr(hold_size, "LEAST_CDRS", 1)
    monkeypatch.setattr(hold_size, "MOST_CDRS", 3)
    monkeypatch.setattr(hold_size, "HOLD_SECONDS", 1e9)


@pytest.mark.usefixtures("one_cdr_then_three")
def test_more_is_taken_after_a_load_that_was_fast(connection: redis.Redis, database_url: str) -> None:
    for name in "abcdef":
        queue(connection, LOAD_CDRS, [delivery(leg(name))])
    run(connection, jobs_to_run=2)
    assert loaded(database_url) == set("abcd")


@pytest.mark.usefixtures("one_cdr_then_three")
@pytest.mark.parametrize(
    ("error", "expected"),
    # What was taken together goes back, or is loaded one by one; then the least is taken.
    [(DatabaseUnavailable("away"), "ab"), (ValueError("one of them is bad"), "abcde")],
    ids=["put back", "one by one"],
)
def test_less_is_taken_after_a_load_that_failed(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    load_batches, errors = jobs.load_batches, [None, error, None]

    def fail_the_second_time(payloads: list[Any]) -> int:
        if (failure := errors.pop(0)) is not None:
            raise failure
        return load_batches(payloads)

    monkeypatch.setattr(queue_worker, "load_batches", fail_the_second_time)
    for name in "abcdefg":
        queue(connection, LOAD_CDRS, [delivery(leg(name))])
    run(connection, jobs_to_run=3)
    assert loaded(database_url) == set(expected)


def test_no_more_bytes_are_taken_than_a_worker_has_the_memory_for(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        queue(connection, LOAD_CDRS, [delivery(leg(name, aiData=os.urandom(5000).hex()))])
    size = connection.hstrlen(job_key(queued(connection)[0]), "data")
    monkeypatch.setattr(holds, "MAX_BYTES", 2 * size + size // 2)
    run(connection)
    assert loaded(database_url) == {"a", "b"}
    # One that is larger than all that is taken together is taken by itself.
    monkeypatch.setattr(holds, "MAX_BYTES", size // 2)
    queue(connection, LOAD_CDRS, [delivery(leg("d"))])
    run(connection)
    assert (loaded(database_url), len(queued(connection))) == ({"a", "b", "c"}, 1)


def test_a_job_of_another_kind_is_not_taken_along(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    other = queue(connection, KEEP_BODIES, [])
    last = queue(connection, LOAD_CDRS, [delivery(leg("b"))])
    run(connection)
    assert (loaded(database_url), queued(connection)) == ({"a"}, [other, last])


def test_a_job_that_a_worker_died_with_is_run_alone(connection: redis.Redis, database_url: str) -> None:
    deadly = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    connection.hset(job_key(deadly), "deaths", 1)
    queue(connection, LOAD_CDRS, [delivery(leg("b"))])
    run(connection)
    assert loaded(database_url) == {"a"}


def test_a_job_that_a_worker_died_with_is_not_taken_along(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("b"))])
    deadly = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    connection.hset(job_key(deadly), "deaths", 1)
    run(connection)
    assert (loaded(database_url), queued(connection)) == ({"b"}, [deadly])


def test_one_refused_job_among_many_fails_alone(connection: redis.Redis, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    ids = {name: queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in ("a", "bad", "b")}
    run(connection)
    assert (loaded(database_url), failed(connection)) == ({"a", "b"}, [ids["bad"]])


def test_jobs_without_a_database_go_back_in_their_order(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/cdr")
    ids = [queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in "abc"]
    run(connection)
    assert (queued(connection), connection.llen(INTERMEDIATE)) == (ids, 0)


def test_what_was_taken_along_goes_back_when_one_is_held_up(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held_up(*_: Any) -> None:
        raise DatabaseUnavailable("away")

    def not_together(*_: Any) -> None:
        raise ValueError("one of them is bad")

    monkeypatch.setattr(queue_worker, "load_batches", not_together)
    monkeypatch.setattr(jobs, "load", held_up)
    ids = [queue(connection, LOAD_CDRS, [delivery(leg(name))]) for name in "abc"]
    run(connection)
    assert sorted(queued(connection)) == sorted(ids)
    assert connection.llen(INTERMEDIATE) == 0


def test_a_refused_cdr_fails_alone(connection: redis.Redis, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    bad = delivery(leg("bad"))
    queue(connection, LOAD_CDRS, [delivery(leg("a")), bad, delivery(leg("b"))])
    run(connection, jobs_to_run=2)
    assert (loaded(database_url), failed(connection)) == ({"a", "b"}, [f"{bad.delivery_id}-0"])


def test_a_batch_that_runs_twice_sets_a_cdr_aside_once(connection: redis.Redis, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    batch = [delivery(leg("a")), delivery(leg("bad"))]
    for _ in range(2):
        queue(connection, LOAD_CDRS, batch)
    run(connection, jobs_to_run=4)
    assert (queued(connection), len(failed(connection))) == ([], 1)


def test_what_names_no_call_fails_alone(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a")), delivery({"ivruniqueid": ""})])
    run(connection, jobs_to_run=2)
    [job_id] = failed(connection)
    assert loaded(database_url) == {"a"}
    assert "not_a_cdr" in meta(connection, job_id)


@pytest.mark.parametrize(
    "error", [QueueUnavailable("away"), DatabaseUnavailable("away"), ZeroDivisionError("a bug of ours")]
)
def test_a_load_whose_aftermath_fails_is_a_load(
    connection: redis.Redis, database_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(follow_up, "work_off", fail)
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    run(connection)
    assert (loaded(database_url), queued(connection), failed(connection)) == ({"a"}, [], [])


def test_a_worker_that_ends_has_done_what_follows_its_last_load(connection: redis.Redis, database_url: str) -> None:
    for name in "abc":
        queue(connection, LOAD_CDRS, [delivery(leg(name, record="https://recordings.invalid/1.mp3"))])
        run(connection)
        assert select(database_url, "SELECT FROM cdr.outbox") == []
    assert len(select(database_url, "SELECT FROM cdr.calls")) == len(queued(connection, RECORDINGS)) == 3


def test_bodies_are_kept(connection: redis.Redis, database_url: str) -> None:
    queue(connection, KEEP_BODIES, [QuarantinedBody(1, "acme", "json", "unreadable", "why", {}, b"\x00{")])
    run(connection)
    assert [row["body"] for row in select(database_url, "SELECT body FROM cdr.quarantine")] == [b"\x00{"]


def test_a_recording_that_may_not_be_fetched_is_closed(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a", record="http://127.0.0.1:1/1.mp3"))])
    run(connection)
    run(connection, name=RECORDINGS)
    assert [row["status"] for row in select(database_url, "SELECT status FROM cdr.recordings")] == ["refused"]


def test_recordings_that_wait_are_queued_32_in_a_job(connection: redis.Redis, database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', %s)", list(range(70)))
    database = Database(database_url, "test")
    assert work_off(database, connection) == 70
    database.close()
    assert (len(queued(connection, RECORDINGS)), select(database_url, "SELECT FROM cdr.outbox")) == (3, [])


def test_a_redis_that_cannot_confirm_gets_no_recordings_however_often_it_is_tried(
    connection: redis.Redis, redis_url: str, database_url: str
) -> None:
    execute(database_url, "INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', %s)", list(range(64)))
    with closing(Database(database_url, "test")) as database:
        with configured(redis_url, appendonly="no"):
            for _ in range(5):
                with pytest.raises(QueueUnavailable):
                    work_off(database, connection)
            assert queued(connection, RECORDINGS) == []
        assert work_off(database, connection) == 64
    assert (len(queued(connection, RECORDINGS)), select(database_url, "SELECT FROM cdr.outbox")) == (2, [])


def test_recordings_whose_outbox_does_not_forget_them_are_queued_once(
    connection: redis.Redis, database_url: str
) -> None:
    execute(database_url, "INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', %s)", list(range(64)))
    execute(database_url, "CREATE RULE forget_nothing AS ON DELETE TO cdr.outbox DO INSTEAD NOTHING")
    with closing(Database(database_url, "test")) as database:
        for _ in range(3):
            queue_waiting_recordings(database, connection, 0)
    assert len(queued(connection, RECORDINGS)) == len(set(queued(connection, RECORDINGS))) == 2


def test_an_outbox_that_begins_to_count_anew_queues_what_it_holds(connection: redis.Redis) -> None:
    first, second = recording_jobs([1], 7), recording_jobs([2], 7)
    enqueue_once(connection, first + second)
    assert len(queued(connection, RECORDINGS)) == 2


def test_a_job_that_is_queued_again_stays_in_its_place(connection: redis.Redis) -> None:
    [job] = recording_jobs([1], 7)
    enqueue_once(connection, [job])
    connection.lpop(queue_key(RECORDINGS))
    connection.zadd(failed_key(RECORDINGS), {job.job_id: -1})
    enqueue_once(connection, [job])
    assert queued(connection, RECORDINGS) == []


def test_a_job_that_is_done_and_not_yet_forgotten_is_queued_again_for_good(connection: redis.Redis) -> None:
    [job] = recording_jobs([1], 7)
    enqueue_once(connection, [job])
    connection.lpop(queue_key(RECORDINGS))
    connection.hset(job_key(job.job_id), "status", "finished")
    connection.expire(job_key(job.job_id), 60)
    connection.zadd(finished_key(RECORDINGS), {job.job_id: 1})
    enqueue_once(connection, [job])
    assert len(queued(connection, RECORDINGS)) == 1
    assert (connection.ttl(job_key(job.job_id)), connection.zcard(finished_key(RECORDINGS))) == (-1, 0)


def test_what_is_set_aside_again_is_queued_once(connection: redis.Redis) -> None:
    refused = [Failed([delivery(leg("a"), delivery_id="a" * 32)], DatabaseUnavailable("made to fail"))]
    for _ in range(3):
        jobs._set_aside(LOAD_CDRS, refused)
    assert len(queued(connection, CDRS)) == 1


def test_what_a_worker_hands_on_waits_for_as_many_replicas_as_an_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CDR_ACK_REPLICAS", "1")
    monkeypatch.setattr(redis_client, "_CONFIRM_SECONDS", 0.1)
    with pytest.raises(QueueUnavailable, match="replicas 0 of 1"):
        enqueue_once(context.current().redis, recording_jobs([1], 7))


def test_what_the_scheduler_hands_on_waits_for_as_many_replicas_as_an_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CDR_ACK_REPLICAS", "1")
    monkeypatch.setattr(redis_client, "_CONFIRM_SECONDS", 0.1)

    class Handing:
        def __init__(self, _database: Any, redis: Any) -> None:
            self.redis = redis

        def run(self) -> None:
            enqueue_once(self.redis(), recording_jobs([1], 7))

    monkeypatch.setattr(scheduler, "Scheduler", Handing)
    with pytest.raises(QueueUnavailable, match="replicas 0 of 1"):
        run_scheduler()


def test_recordings_stay_in_the_outbox_while_redis_is_away(database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.outbox (kind, recording_ids) VALUES ('recordings', '{1}')")
    database = Database(database_url, "test")
    with redis.Redis(port=free_port()) as away, pytest.raises(QueueUnavailable):
        work_off(database, away)
    database.close()
    assert len(select(database_url, "SELECT FROM cdr.outbox")) == 1


def test_a_recording_that_must_wait_gets_a_job_of_its_own(connection: redis.Redis) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    schedule_recordings(connection, [Retry(1, soon, 60), Retry(2, soon + timedelta(seconds=1), 61)])
    assert connection.zcard(scheduled_key(RECORDINGS)) == 2


def test_recordings_that_wait_for_the_same_moment_share_jobs(connection: redis.Redis) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    schedule_recordings(connection, [Retry(number, soon, 60) for number in range(33)])
    assert connection.zcard(scheduled_key(RECORDINGS)) == 2


def test_a_retry_is_scheduled_once_however_often_its_job_runs(connection: redis.Redis) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    schedule_recordings(connection, [Retry(1, soon, 0)])
    schedule_recordings(connection, [Retry(1, soon, 60)])
    move_due_jobs(connection)
    schedule_recordings(connection, [Retry(1, soon, 60)])
    assert (len(queued(connection, RECORDINGS)), connection.zcard(scheduled_key(RECORDINGS))) == (1, 0)


def test_a_retry_is_due_by_the_clock_of_redis(connection: redis.Redis) -> None:
    seconds, _ = connection.time()
    schedule_recordings(connection, [Retry(1, datetime(2001, 1, 1, tzinfo=UTC), 60)])
    ((_, due),) = connection.zrange(scheduled_key(RECORDINGS), 0, -1, withscores=True)
    assert 60 <= due - seconds < 120


def test_all_retries_of_a_job_are_written_in_one_commit(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[Any] = []
    monkeypatch.setattr(scheduled_jobs, "commit", lambda _connection, commands: commits.append(commands))
    soon = datetime.now(UTC)
    schedule_recordings(connection, [Retry(number, soon + timedelta(seconds=number), 60) for number in range(5)])
    schedule_recordings(connection, [])
    assert [len(commands) for commands in commits] == [5]


def test_jobs_that_are_due_are_moved_in_the_order_of_their_time(connection: redis.Redis) -> None:
    now = datetime.now(UTC)
    scheduled = [NewJob(RECORDINGS, FETCH_RECORDINGS, ([number],), "fetch") for number in range(3)]
    for job, minutes in zip(scheduled, (-1, -2, 1), strict=True):
        schedule(connection, job, now + timedelta(minutes=minutes))
    assert move_due_jobs(connection) == 2
    assert queued(connection, RECORDINGS) == [scheduled[1].job_id, scheduled[0].job_id]


def test_a_job_whose_data_is_gone_only_leaves_the_set(connection: redis.Redis) -> None:
    connection.zadd("some set", {"gone": 1})
    assert move_to_queue(connection, "some set", CDRS, ["gone", "never there"], front=True) == Moved(0, 1)
    assert connection.exists("some set") == 0


def test_a_job_is_moved_to_the_front_when_asked(connection: redis.Redis) -> None:
    first, second = (queue(connection, LOAD_CDRS, []) for _ in range(2))
    connection.lrem(queue_key(CDRS), 0, second)
    connection.zadd("some set", {second: 1})
    move_to_queue(connection, "some set", CDRS, [second], front=True)
    assert queued(connection) == [second, first]


def test_a_worker_listens_to_one_queue(connection: redis.Redis) -> None:
    with pytest.raises(ConfigurationError, match="one queue"):
        CdrWorker([CDRS, RECORDINGS], connection=connection)


def test_abandoned_jobs_are_left_to_the_sweep(connection: redis.Redis) -> None:
    worker = CdrWorker([CDRS], connection=connection)
    worker.clean_registries()
    assert not worker.should_run_maintenance_tasks


def test_a_pause_ends_when_the_worker_is_told_to_stop(connection: redis.Redis) -> None:
    worker = CdrWorker([CDRS], connection=connection)
    worker._pause_seconds = 60.0
    threading.Timer(0.05, lambda: setattr(worker, "_stop_requested", True)).start()
    began = time.monotonic()
    worker._pause(DatabaseUnavailable("away"))
    assert time.monotonic() - began < 50


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hold(connection: Any, *batches: list[Any]) -> Hold:
    """Queue a job for each batch and take hold of them all, as a worker does."""
    for batch in batches:
        queue(connection, LOAD_CDRS, batch)
    first = connection.lmove(queue_key(CDRS), INTERMEDIATE)
    made = Hold(connection, CDRS)
    made.take(first.decode(), 1000)
    return made


@contextmanager
def renewed(held: Hold) -> Iterator[None]:
    renewal = Renewal()
    with renewal.of(held):
        yield
    renewal.end()


def let_leases_run_out(connection: Any) -> None:
    """Do what time does: nobody has renewed for longer than a lease."""
    for job_id in connection.zrange(lease_key(CDRS), 0, -1):
        connection.zadd(lease_key(CDRS), {job_id: 1})
    for what in ("taken", "started"):
        for name in connection.zrange(seen_key(CDRS, what), 0, -1):
            connection.zadd(seen_key(CDRS, what), {name: 1})


def test_a_lease_is_renewed_while_its_job_runs(connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    held = hold(connection, [delivery(leg("a"))])
    with renewed(held):
        let_leases_run_out(connection)
        until(lambda: (connection.zscore(lease_key(CDRS), held.job_ids[0]) or 0) > time.time())


def test_a_lease_that_cannot_be_renewed_does_not_end_its_job(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    held = hold(connection, [delivery(leg("a"))])
    with renewed(held):
        connection.rename(holders_key(CDRS), "aside")
        connection.set(holders_key(CDRS), "of another type")
        until(lambda: "lease not renewed" in capsys.readouterr().out)
        connection.rename("aside", holders_key(CDRS))
        let_leases_run_out(connection)
        until(lambda: (connection.zscore(lease_key(CDRS), held.job_ids[0]) or 0) > time.time())


def test_a_started_job_whose_lease_ran_out_is_put_back(connection: redis.Redis) -> None:
    held = hold(connection, [])
    [job_id] = held.job_ids
    assert held.start(job_id, "a worker")
    let_leases_run_out(connection)

    assert sweep(connection) == 1

    assert queued(connection) == [job_id]
    assert [connection.exists(key) for key in (f"rq:wip:{CDRS}", lease_key(CDRS), holders_key(CDRS))] == [0, 0, 0]


@pytest.mark.parametrize("returned", ["put back", "swept", "done"])
def test_a_second_copy_of_a_failed_job_takes_it_out_of_the_failed_ones(connection: redis.Redis, returned: str) -> None:
    held = hold(connection, [])
    [job_id] = held.job_ids
    connection.zadd(failed_key(CDRS), {job_id: -1})
    if returned == "put back":
        held.put_back([job_id])
    elif returned == "swept":
        let_leases_run_out(connection)
        sweep(connection)
    else:
        held.finish_together([job_id], "rq:worker:a")
    assert (failed(connection), queued(connection)) == ([], [] if returned == "done" else [job_id])


def test_two_copies_of_a_job_are_taken_as_one(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    connection.rpush(queue_key(CDRS), job_id)
    assert (hold(connection).job_ids, queued(connection)) == ([job_id], [])


def test_a_taken_job_is_put_back_after_the_time_of_a_lease(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [])
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    assert (sweep(connection), sweep(connection), queued(connection)) == (0, 0, [])
    let_leases_run_out(connection)
    assert (sweep(connection), queued(connection)) == (1, [job_id])


def test_a_taken_job_that_was_held_meanwhile_is_forgotten(connection: redis.Redis) -> None:
    queue(connection, LOAD_CDRS, [])
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    sweep(connection)
    connection.delete(INTERMEDIATE)
    sweep(connection)
    assert connection.exists(seen_key(CDRS, "taken")) == 0


def set_clock_back(connection: Any) -> None:
    """Leave every lease and mark as Redis's clock does when it is set back by an hour: an hour ahead."""
    for key in (lease_key(CDRS), seen_key(CDRS, "taken"), seen_key(CDRS, "started")):
        for name, score in connection.zrange(key, 0, -1, withscores=True):
            connection.zadd(key, {name: score + 3600})


def swept_within(connection: Any, seconds: float) -> bool:
    """Sweep for so long, by the real clock, or until a job was put back."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if sweep(connection):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("left", ["held", "taken", "started"])
def test_a_clock_that_is_set_back_keeps_no_dead_workers_job(
    connection: redis.Redis, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    monkeypatch.setattr(sweeping, "LEASE_SECONDS", 0.2)
    job_id = queue(connection, LOAD_CDRS, [])
    if left == "taken":
        connection.lmove(queue_key(CDRS), INTERMEDIATE)
    else:
        hold(connection).start(job_id, "a worker")
    if left == "started":
        connection.delete(lease_key(CDRS))
    sweep(connection)
    set_clock_back(connection)
    assert swept_within(connection, 10)
    assert queued(connection) == [job_id]


def test_a_lease_is_not_cut_short_while_the_clock_stands(connection: redis.Redis) -> None:
    [job_id] = hold(connection, []).job_ids
    ends = connection.zscore(lease_key(CDRS), job_id)
    sweep(connection)
    assert connection.zscore(lease_key(CDRS), job_id) == ends


def die(connection: Any) -> None:
    """Take the first job and leave it as a worker does that dies in the middle of it, and sweep."""
    hold(connection)
    let_leases_run_out(connection)
    assert sweep(connection) == 1


def test_a_job_whose_worker_died_is_first_the_first_time_and_last_then(connection: redis.Redis) -> None:
    deadly, other = (queue(connection, KEEP_BODIES, []) for _ in range(2))
    die(connection)
    after_one = queued(connection)
    die(connection)
    assert (after_one, queued(connection)) == ([deadly, other], [other, deadly])


def test_a_batch_whose_worker_died_three_times_is_split(connection: redis.Redis, database_url: str) -> None:
    job_id = queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in "abc"])
    for _ in range(3):
        die(connection)
    run(connection)
    assert (len(queued(connection)), connection.exists(job_key(job_id)), connection.llen(INTERMEDIATE)) == (2, 0, 0)
    run(connection, jobs_to_run=2)
    assert loaded(database_url) == {"a", "b", "c"}


def test_a_batch_whose_worker_died_twice_is_run_as_it_is(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in "abc"])
    for _ in range(2):
        die(connection)
    run(connection)
    assert loaded(database_url) == {"a", "b", "c"}


@pytest.mark.parametrize("arguments", [([delivery(leg("a"))],), ([],), ("text",), ()])
def test_what_cannot_be_split_is_run_as_it_is(connection: redis.Redis, arguments: tuple[Any, ...]) -> None:
    queue(connection, LOAD_CDRS, *arguments)
    for _ in range(3):
        die(connection)
    run(connection)
    assert (queued(connection), connection.llen(INTERMEDIATE)) == ([], 0)


class Died(BaseException):
    """What ends a worker with its lease as a signal would: nothing of ours catches it."""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every worker die that enriches a CDR of the call `deadly`."""
    enrich = gather.enrich

    def enrich_or_die(deliveries: Any, *arguments: Any) -> Any:
        if deliveries[0].fields["ivruniqueid"] == "deadly":
            raise Died
        return enrich(deliveries, *arguments)

    monkeypatch.setattr(gather, "enrich", enrich_or_die)


def work_and_die(connection: Any) -> int:
    """Start worker after worker until nothing is left in the queue; return how many died."""
    died = 0
    for _ in range(40):
        if not queued(connection):
            return died
        run(connection, jobs_to_run=100)
        died += connection.exists(lease_key(CDRS))
        let_leases_run_out(connection)
        sweep(connection)
    raise AssertionError("there is no end to it")


@pytest.mark.usefixtures("deadly")
def test_a_cdr_that_kills_every_worker_is_one_failed_job_and_its_neighbours_load(
    connection: redis.Redis, database_url: str
) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in ("a", "deadly", "b")])
    queue(connection, LOAD_CDRS, [delivery(leg("c"))])
    work_and_die(connection)
    [job] = list_failed(connection, Filter(reason="kills_workers"))
    assert (job.call_ids, job.error, job.attempts) == (["deadly"], "6 workers died with it", 1)
    assert abs(datetime.fromisoformat(job.failed_at).timestamp() - time.time()) < 60
    assert loaded(database_url) == {"a", "b", "c"}
    assert connection.hget(COUNTERS_KEY, "refused") == b"1"


@pytest.mark.usefixtures("deadly")
def test_a_replay_of_what_kills_workers_begins_to_count_anew(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [delivery(leg("deadly"))])
    died = [work_and_die(connection)]
    replay(connection, find_ids(connection, Filter()))
    died.append(work_and_die(connection))
    [job] = list_failed(connection, Filter())
    assert (died, job.job_id, job.attempts) == ([MOST_DEATHS, MOST_DEATHS], job_id, 2)


def test_a_job_that_fails_of_something_else_begins_to_count_anew(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [{"not": "a delivery"}])
    connection.hset(job_key(job_id), "deaths", 2)
    run(connection)
    assert (failed(connection), connection.hget(job_key(job_id), "deaths")) == ([job_id], None)


def test_a_job_that_fewer_workers_died_with_is_tried_again(connection: redis.Redis, database_url: str) -> None:
    queue(connection, LOAD_CDRS, [delivery(leg("a"))])
    for _ in range(MOST_DEATHS - 1):
        die(connection)
    run(connection)
    assert (loaded(database_url), failed(connection)) == ({"a"}, [])


@pytest.mark.parametrize("deaths", ["many", "-", "1.5", ""])
def test_a_count_of_deaths_that_is_none_ends_all_the_same(connection: redis.Redis, deaths: str) -> None:
    job_id = queue(connection, LOAD_CDRS, [])
    connection.hset(job_key(job_id), "deaths", deaths)
    for _ in range(MOST_DEATHS - 2):
        die(connection)
    connection.lmove(queue_key(CDRS), INTERMEDIATE)
    assert sweep(connection) == 0
    let_leases_run_out(connection)
    assert (sweep(connection), failed(connection)) == (0, [job_id])


def test_a_batch_whose_workers_die_while_they_read_it_is_set_aside_as_it_is(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [delivery(leg(name)) for name in "ab"])
    for _ in range(MOST_DEATHS):
        connection.lmove(queue_key(CDRS), INTERMEDIATE)
        sweep(connection)
        let_leases_run_out(connection)
        sweep(connection)
    assert (queued(connection), failed(connection)) == ([], [job_id])


def test_a_job_whose_worker_died_is_as_old_as_before(connection: redis.Redis) -> None:
    job_id = queue(connection, LOAD_CDRS, [])
    connection.hset(job_key(job_id), "enqueued_at", "2026-01-01T00:00:00.000000Z")
    die(connection)
    assert connection.hget(job_key(job_id), "enqueued_at") == b"2026-01-01T00:00:00.000000Z"


def test_a_failed_job_does_not_expire(connection: redis.Redis) -> None:
    held = hold(connection, [])
    [job_id] = held.job_ids
    connection.expire(job_key(job_id), 600)
    held.fail(job_id, "rq:worker:a", b"{}", time.time(), {"type": 2})
    assert (failed(connection), connection.ttl(job_key(job_id))) == ([job_id], -1)


@pytest.mark.parametrize("how", ["put back", "replayed", "due", "swept"])
def test_a_job_that_goes_back_into_its_queue_does_not_expire(connection: redis.Redis, how: str) -> None:
    held = hold(connection, [])
    [job_id] = held.job_ids
    connection.expire(job_key(job_id), 600)
    if how == "put back":
        held.put_back([job_id])
    elif how == "swept":
        let_leases_run_out(connection)
        sweep(connection)
    elif how == "replayed":
        connection.zadd(failed_key(CDRS), {job_id: -1})
        move_to_queue(connection, failed_key(CDRS), CDRS, [job_id])
    else:
        connection.zadd(scheduled_key(CDRS), {job_id: 1})
        move_due_jobs(connection)
    assert (queued(connection), connection.ttl(job_key(job_id))) == ([job_id], -1)


def test_a_context_is_not_shared_over_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = context.current()
    assert context.current() is ours
    monkeypatch.setattr(ours, "process_id", os.getpid() + 1)
    assert context.current() is not ours
