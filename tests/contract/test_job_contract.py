"""A job as the receiver writes it is one of RQ's own, and no job makes a process run, import or fetch what is not ours."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from rq.job import Job, JobStatus
from rq.serializers import resolve_serializer
from rq.utils import import_attribute, str_to_date

from common.delivery import Delivery, QuarantinedBody
from common.errors import ConfigurationError
from common.job_queue import (
    ALLOWED_FUNCTIONS,
    CDRS,
    FETCH_RECORDINGS,
    HOOKS,
    KEEP_BODIES,
    KEEP_FOR_EVER,
    LOAD_CDRS,
    NO_TIMEOUT,
    PAYLOAD_VERSION,
    RECORDINGS,
    RESULT_TTL_SECONDS,
    RUN_HOOK,
    CdrJob,
    CdrQueue,
    FunctionNotAllowed,
    JobSerializer,
    NewJob,
    failed_key,
    first_seen_key,
    job_key,
    queue_key,
    timestamp,
)
from worker.hook_jobs import HookCall
from worker.queue_worker import CdrWorker

DELIVERY = Delivery("0" * 32, 0, 1_795_392_000_000_000, "shop", "json", {"ivruniqueid": "x", "price": Decimal("7.10")})
BODY = QuarantinedBody(1_795_392_000_000_000, "shop", "json", "unreadable", "no JSON", {}, b"\xff{")
CALL = HookCall("crm:post", "0" * 32, "00" * 32, datetime(2026, 11, 23), "x", is_update=False)  # noqa: DTZ001 - as the column
ENTRIES = {LOAD_CDRS: [DELIVERY], KEEP_BODIES: [BODY], FETCH_RECORDINGS: [7], RUN_HOOK: CALL}
ROOT = Path(__file__).parents[2]
CLASSES = {"RQ_JOB_CLASS": "common.job_queue.CdrJob", "RQ_QUEUE_CLASS": "common.job_queue.CdrQueue"}
OUR_WORKER = {"RQ_WORKER_CLASS": "worker.queue_worker.CdrWorker"}


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def write(connection: redis.Redis, job: NewJob) -> None:
    with connection.pipeline(transaction=True) as pipeline:
        for command in job.commands():
            pipeline.execute_command(*command)
        pipeline.execute()


def load_job(job_id: str = "ours", size: int = 1) -> NewJob:
    return NewJob(CDRS, LOAD_CDRS, ([DELIVERY] * size,), f"load {size}", job_id)


def enqueued_by_rq(connection: redis.Redis, size: int = 1) -> Job:
    return CdrQueue(CDRS, connection=connection).enqueue(
        LOAD_CDRS,
        PAYLOAD_VERSION,
        [DELIVERY] * size,
        job_id="theirs",
        job_timeout=NO_TIMEOUT,
        result_ttl=RESULT_TTL_SECONDS,
        failure_ttl=KEEP_FOR_EVER,
        description=f"load {size}",
    )


def fields_of(connection: redis.Redis, job_id: str) -> dict[str, bytes]:
    """Return a job's hash without what RQ leaves empty, its data unpacked: zlib or plain is the writer's choice."""
    raw: Any = connection.hgetall(job_key(job_id))
    data = raw[b"data"]
    raw[b"data"] = zlib.decompress(data) if data[:1] == b"\x78" else data
    return {name.decode(): value for name, value in raw.items() if value}


@pytest.mark.parametrize("size", [1, 100])
def test_a_jobs_hash_is_what_rq_writes(connection: redis.Redis, size: int) -> None:
    write(connection, load_job(size=size))
    enqueued_by_rq(connection, size)
    ours, theirs = fields_of(connection, "ours"), fields_of(connection, "theirs")
    for name in ("created_at", "enqueued_at"):
        assert str_to_date(ours.pop(name)) <= str_to_date(theirs.pop(name))
    # The one field that is ours: how many CDRs the job carries. RQ leaves alone what it does not know.
    assert ours == {**theirs, "cdrs": str(size).encode()}


def test_recordings_are_counted_where_the_release_before_does_not_look(connection: redis.Redis) -> None:
    # It takes as many jobs along as it does of CDRs: a thousand recordings would be fetched before any of them is told.
    write(connection, NewJob(RECORDINGS, FETCH_RECORDINGS, ([1, 2, 3],), "fetch", "ours"))
    assert connection.hmget(job_key("ours"), "cdrs", "recordings") == [None, b"3"]


@pytest.mark.parametrize("field", ["cdrs", "recordings"])
def test_a_job_tells_how_much_it_carries_in_either_field(connection: redis.Redis, field: str) -> None:
    write(connection, NewJob(CDRS, KEEP_BODIES, ([],), "keep", "ours"))
    connection.hset(job_key("ours"), field, 7)
    assert CdrJob.fetch("ours", connection=connection).size == 7


def test_what_rq_leaves_empty_is_what_we_leave_out(connection: redis.Redis) -> None:
    write(connection, load_job())
    enqueued_by_rq(connection)
    missing = set(connection.hgetall(job_key("theirs"))) - set(connection.hgetall(job_key("ours")))
    assert {name: connection.hget(job_key("theirs"), name) for name in missing} == dict.fromkeys(missing, b"")


def test_a_job_touches_the_keys_that_rq_touches(connection: redis.Redis) -> None:
    write(connection, load_job("same"))
    ours = {key: connection.type(key) for key in connection.scan_iter()}
    connection.flushall()
    enqueued_by_rq(connection)
    theirs = {key.replace(b"theirs", b"same"): connection.type(key) for key in connection.scan_iter()}
    assert ours == theirs


def test_a_job_stands_at_the_end_of_its_queue(connection: redis.Redis) -> None:
    enqueued_by_rq(connection)
    write(connection, load_job())
    assert connection.lrange(queue_key(CDRS), 0, -1) == [b"theirs", b"ours"]
    assert connection.smembers("rq:queues") == {queue_key(CDRS).encode()}


def test_the_keys_are_rqs_own(connection: redis.Redis) -> None:
    queue = CdrQueue(CDRS, connection=connection)
    assert (queue.key, queue.failed_job_registry.key) == (queue_key(CDRS), failed_key(CDRS))
    assert CdrJob.key_for("x") == job_key("x")
    assert queue.intermediate_queue.get_first_seen_key("x") == first_seen_key(CDRS, "x")


def test_a_job_does_not_expire(connection: redis.Redis) -> None:
    write(connection, load_job())
    assert connection.ttl(job_key("ours")) == -1


def test_a_queued_job_was_not_seen_in_mid_move(connection: redis.Redis) -> None:
    connection.set(first_seen_key(CDRS, "ours"), "1")
    write(connection, load_job())
    assert not connection.exists(first_seen_key(CDRS, "ours"))


def test_a_scheduled_job_waits_in_its_set_and_in_no_queue(connection: redis.Redis) -> None:
    for command in load_job().scheduled_commands("rq:scheduled:cdrs", 123.0):
        connection.execute_command(*command)
    assert connection.zrange("rq:scheduled:cdrs", 0, -1, withscores=True) in ([(b"ours", 123.0)], [[b"ours", 123.0]])
    assert connection.llen(queue_key(CDRS)) == 0
    assert CdrJob.fetch("ours", connection=connection).get_status() == JobStatus.SCHEDULED


def test_jobs_have_ids_of_their_own() -> None:
    assert NewJob(CDRS, LOAD_CDRS, (), "").job_id != NewJob(CDRS, LOAD_CDRS, (), "").job_id


def test_times_are_written_as_rq_reads_them() -> None:
    assert abs(str_to_date(timestamp().encode()) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("size", [1, 100])
def test_rq_reads_a_job(connection: redis.Redis, size: int) -> None:
    write(connection, load_job(size=size))
    job = CdrJob.fetch("ours", connection=connection)
    assert (job.func_name, job.origin, job.get_status(), job.timeout) == (LOAD_CDRS, CDRS, JobStatus.QUEUED, NO_TIMEOUT)
    assert (job.result_ttl, job.failure_ttl, job.ttl) == (RESULT_TTL_SECONDS, KEEP_FOR_EVER, None)
    version, batch = job.args
    assert (version, msgspec.convert(batch, list[Delivery])) == (PAYLOAD_VERSION, [DELIVERY] * size)


def test_rqs_queue_lists_a_job(connection: redis.Redis) -> None:
    write(connection, load_job())
    assert [type(job) for job in CdrQueue(CDRS, connection=connection).jobs] == [CdrJob]


@pytest.mark.parametrize("function", sorted(ALLOWED_FUNCTIONS))
def test_a_jobs_name_is_a_function_that_takes_its_payload(function: str) -> None:
    target = import_attribute(function)
    bound = inspect.signature(target).bind(PAYLOAD_VERSION, ENTRIES[function])
    assert next(iter(bound.arguments)) == "version"


def test_every_allowed_function_is_a_public_one_of_the_jobs_module() -> None:
    assert {name.rpartition(".")[0] for name in ALLOWED_FUNCTIONS} == {"worker.jobs"}


FRACTIONS = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 300)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, st.integers(-(10**300), 10**300) | FRACTIONS | TEXTS | st.booleans() | st.none()))
def test_a_payload_keeps_its_numbers_to_the_digit(fields: dict[str, Any]) -> None:
    again = JobSerializer.loads(JobSerializer.dumps(fields))
    # JSON knows no minus zero among whole numbers; every other digit, a zero at the end too, is kept.
    assert again == fields
    assert {name: str(value).removeprefix("-0") for name, value in again.items() if value} == {
        name: str(value).removeprefix("-0") for name, value in fields.items() if value
    }


@pytest.mark.parametrize("data", [pickle.dumps(["os.system"]), b"", b"{", b"\x80\x04N.", zlib.compress(b"[]")])
def test_what_is_no_json_is_no_payload(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        JobSerializer.loads(data)


class Evil:
    """A pickle that writes a file where it is read."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (self.marker,)


@pytest.fixture
def website() -> Iterator[tuple[str, list[str]]]:
    """A web server on the loopback address, and the requests that it got."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", requests
        server.shutdown()
        thread.join()


def hostile_jobs(marker: str, url: str) -> dict[str, dict[str, Any]]:
    """Return hashes of jobs that each try to do something that is not ours, by name."""
    ours = JobSerializer.dumps([LOAD_CDRS, None, [PAYLOAD_VERSION, []], {}])
    evil = pickle.dumps(Evil(marker))
    call = json.dumps(["os.mkdir", None, [marker], {}]).encode()
    webhooks = json.dumps([{"url": url, "job_status": status, "method": "POST"} for status in ("finished", "failed")])
    callbacks = {f"{kind}_callback_name": "os.mkdir" for kind in ("success", "failure", "stopped")}
    return {
        "names-mkdir": {"data": call},
        "names-mkdir-zipped": {"data": zlib.compress(call)},
        "names-a-module-of-ours": {"data": json.dumps(["common.settings.load", None, [marker], {}]).encode()},
        "has-an-instance": {"data": json.dumps(["load_cdrs", {"a": 1}, [1, []], {}]).encode()},
        "is-a-pickle": {"data": evil},
        "has-pickled-arguments": {"data": pickle.dumps(("os.mkdir", None, (marker,), {}))},
        "has-pickled-meta": {"data": call, "meta": evil},
        "has-a-pickled-result": {"data": call, "result": evil},
        "has-callbacks": {"data": ours, **callbacks},
        "has-callbacks-and-fails": {"data": call, **callbacks},
        "has-webhooks": {"data": ours, "webhooks": webhooks},
        "has-webhooks-and-fails": {"data": call, "webhooks": webhooks},
        "depends-on-another": {"data": call, "dependency_ids": json.dumps(["is-a-pickle"]), "dependency_id": "x"},
        "is-of-a-group": {"data": call, "group_id": "group"},
    }


def put(connection: redis.Redis, hashes: dict[str, dict[str, Any]]) -> None:
    for name, fields in hashes.items():
        common = {"created_at": timestamp(), "origin": CDRS, "status": "queued", "timeout": -1, "failure_ttl": -1}
        connection.hset(job_key(name), mapping={**common, **fields})
        connection.rpush(queue_key(CDRS), name)
    connection.sadd("rq:queues", queue_key(CDRS))


def rq(redis_url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a stock `rq` command in the environment that the image sets."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CDR_", "RQ_"))}
    return subprocess.run(
        [str(Path(sys.executable).with_name("rq")), *arguments],
        env={**plain, "PYTHONPATH": str(ROOT), "RQ_REDIS_URL": redis_url, **CLASSES, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("worker", [{}, OUR_WORKER], ids=["stock worker", "our worker"])
def test_no_hostile_job_runs_imports_or_fetches_anything(
    connection: redis.Redis,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    website: tuple[str, list[str]],
    worker: dict[str, str],
) -> None:
    url, requests = website
    jobs = hostile_jobs(str(tmp_path / "marker"), url)
    put(connection, jobs)
    ended = rq(redis_url, "worker", "--burst", CDRS, CDR_REDIS_URL=redis_url, CDR_DATABASE_URL=database_url, **worker)
    assert (ended.returncode, connection.llen(queue_key(CDRS))) == (0, 0), ended.stderr
    assert (list(tmp_path.iterdir()), requests) == ([], [])
    statuses = {name: (connection.hget(job_key(name), "status") or b"gone").decode() for name in jobs}
    harmless = {"has-callbacks", "has-webhooks"}
    assert statuses == {name: "finished" if name in harmless else "failed" for name in jobs}


# Every key under which RQ looks for ids of jobs, beside the queue.
REGISTRIES = ("scheduled", "failed", "finished", "deferred", "canceled", "ready")


def put_everywhere(connection: redis.Redis, hashes: dict[str, dict[str, Any]]) -> None:
    """Put jobs into their queue and every registry, due or run out long ago where there is a time."""
    put(connection, hashes)
    for registry in REGISTRIES:
        connection.zadd(f"rq:{registry}:{CDRS}", dict.fromkeys(hashes, 1))
    connection.zadd(f"rq:wip:{CDRS}", {f"{name}:execution": 1 for name in hashes})
    connection.rpush(f"{queue_key(CDRS)}:intermediate", *hashes)


SCHEDULING = [("worker", "--with-scheduler", "--burst", CDRS), ("worker-pool", "--burst", CDRS)]
# `rq suspend` and `rq resume` set one key, and `rq cron` reads no jobs.
OTHERS = [
    ("info", CDRS, "--by-queue"),
    ("requeue", "--queue", CDRS, "--all"),
    ("empty", CDRS),
    ("enqueue", "--queue", CDRS, "--depends-on", "has-pickled-meta", LOAD_CDRS),
    ("enqueue", "--queue", CDRS, "--schedule-in", "1s", "--depends-on", "has-pickled-meta", LOAD_CDRS),
]


@pytest.mark.parametrize(
    ("command", "worker"),
    [*((command, worker) for command in SCHEDULING for worker in ({}, OUR_WORKER)), *((each, {}) for each in OTHERS)],
)
def test_no_stock_command_is_harmed_by_a_hostile_job_wherever_it_lies(
    connection: redis.Redis,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    website: tuple[str, list[str]],
    command: tuple[str, ...],
    worker: dict[str, str],
) -> None:
    put_everywhere(connection, hostile_jobs(str(tmp_path / "marker"), website[0]))
    told = rq(redis_url, *command, CDR_REDIS_URL=redis_url, CDR_DATABASE_URL=database_url, **worker)
    assert "No such command" not in told.stderr
    assert (list(tmp_path.iterdir()), website[1]) == ([], [])


def scheduled(connection: redis.Redis, job_id: str, fields: dict[str, Any]) -> None:
    """Put a job where RQ's scheduler looks, due long ago."""
    put(connection, {job_id: fields})
    connection.delete(queue_key(CDRS))
    connection.zadd(f"rq:scheduled:{CDRS}", {job_id: 1})


def test_our_worker_leaves_what_is_scheduled_to_cdr_scheduler_and_says_so(
    connection: redis.Redis, redis_url: str, database_url: str
) -> None:
    scheduled(connection, "due", {"data": JobSerializer.dumps([KEEP_BODIES, None, [PAYLOAD_VERSION, []], {}])})
    settings = {"CDR_REDIS_URL": redis_url, "CDR_DATABASE_URL": database_url}
    ended = rq(redis_url, "worker", "--with-scheduler", "--burst", CDRS, **settings, **OUR_WORKER)
    assert ended.returncode == 0, ended.stderr
    assert "cdr scheduler" in ended.stdout + ended.stderr
    assert connection.zrange(f"rq:scheduled:{CDRS}", 0, -1) == [b"due"]


def test_our_worker_reads_nothing_but_json(connection: redis.Redis) -> None:
    assert CdrWorker([CDRS], connection=connection, serializer="pickle").serializer is JobSerializer


def test_rqs_own_default_is_json_wherever_the_contract_is_imported() -> None:
    with pytest.raises(ValueError, match=r".+"):
        resolve_serializer(None).loads(pickle.dumps({}))
    assert resolve_serializer("pickle").dumps({}) == b"{}"


def test_with_rqs_own_classes_a_hostile_job_that_is_scheduled_does_harm(
    connection: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    scheduled(connection, "evil", hostile_jobs(str(tmp_path / "marker"), "http://x.invalid")["has-pickled-meta"])
    own = {"RQ_JOB_CLASS": "rq.job.Job", "RQ_QUEUE_CLASS": "rq.Queue"}
    rq(redis_url, "worker", "--with-scheduler", "--burst", CDRS, **own)
    assert [each.name for each in tmp_path.iterdir()] == ["marker"]


def test_with_rqs_own_classes_the_same_jobs_do_harm(
    connection: redis.Redis, redis_url: str, tmp_path: Path, website: tuple[str, list[str]]
) -> None:
    # Without this the tests around it could pass because the jobs are not hostile enough.
    put(connection, hostile_jobs(str(tmp_path / "marker"), website[0]))
    own = {"RQ_JOB_CLASS": "rq.job.Job", "RQ_QUEUE_CLASS": "rq.Queue"}
    rq(redis_url, "worker", "--burst", "--serializer", "json", CDRS, **own)
    assert [each.name for each in tmp_path.iterdir()] == ["marker"]
    assert "/hook" in website[1]


def test_rq_info_unpickles_nothing(
    connection: redis.Redis, redis_url: str, tmp_path: Path, website: tuple[str, list[str]]
) -> None:
    put(connection, hostile_jobs(str(tmp_path / "marker"), website[0]))
    told = rq(redis_url, "info")
    assert told.returncode == 0, told.stderr
    assert "cdrs" in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_rq_info_counts_our_jobs(connection: redis.Redis, redis_url: str) -> None:
    for number in range(3):
        write(connection, load_job(str(number)))
    assert "queue cdrs 3" in rq(redis_url, "info", "--raw").stdout


def test_rq_requeue_puts_a_failed_job_back(connection: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    put(connection, {"bad": hostile_jobs(str(tmp_path / "marker"), "http://x.invalid")["names-mkdir"]})
    rq(redis_url, "worker", "--burst", CDRS)
    assert connection.zrange(failed_key(CDRS), 0, -1) == [b"bad"]
    told = rq(redis_url, "requeue", "--queue", CDRS, "--all")
    assert told.returncode == 0, told.stderr
    assert connection.lrange(queue_key(CDRS), 0, -1) == [b"bad"]
    assert list(tmp_path.iterdir()) == []


def test_rq_requeue_of_hostile_jobs_runs_imports_and_fetches_nothing(
    connection: redis.Redis, redis_url: str, tmp_path: Path, website: tuple[str, list[str]]
) -> None:
    jobs = hostile_jobs(str(tmp_path / "marker"), website[0])
    put(connection, jobs)
    connection.delete(queue_key(CDRS))
    connection.zadd(failed_key(CDRS), dict.fromkeys(jobs, -1))
    told = rq(redis_url, "requeue", "--queue", CDRS, "--all", **OUR_WORKER)
    assert told.returncode == 0, told.stderr
    assert {job_id.decode() for job_id in connection.lrange(queue_key(CDRS), 0, -1)} == set(jobs)
    rq(redis_url, "info", **OUR_WORKER)
    assert (list(tmp_path.iterdir()), website[1]) == ([], [])


BROKEN: dict[bytes, dict[str, Any]] = {
    b"never-created": {"created_at": "never"},
    b"of-no-status": {"status": "eaten"},
    b"of-no-number": {"timeout": "soon", "result_ttl": "x", "cdrs": "9" * 5000},
    b"of-a-list": {"meta": "[1]"},
    b"of-no-json": {"data": b"{"},
    b"of-bytes \xff": {"description": b"\xff"},
}


@pytest.mark.parametrize("worker", [{}, OUR_WORKER], ids=["stock worker", "our worker"])
def test_what_rq_cannot_read_stops_neither_a_worker_nor_a_stock_command(
    connection: redis.Redis, redis_url: str, database_url: str, worker: dict[str, str]
) -> None:
    write(connection, load_job())
    usual = fields_of(connection, "ours")
    for name, fields in BROKEN.items():
        connection.hset(b"rq:job:" + name, mapping={**usual, **fields})
        connection.rpush(queue_key(CDRS), name)
    write(connection, NewJob(CDRS, KEEP_BODIES, ([],), "keep nothing", "last"))
    settings = {"CDR_REDIS_URL": redis_url, "CDR_DATABASE_URL": database_url}
    for _ in range(2):
        ended = rq(redis_url, "worker", "--burst", CDRS, **settings, **worker)
        assert (ended.returncode, connection.llen(queue_key(CDRS))) == (0, 0), ended.stderr
        assert connection.hget(job_key("last"), "status") == b"finished"
        told = rq(redis_url, "info", **worker)
        assert (told.returncode, "cdrs" in told.stdout) == (0, True), told.stderr
        failed = connection.zcard(failed_key(CDRS))
        again = rq(redis_url, "requeue", "--queue", CDRS, "--all", **worker)
        assert again.returncode == 0, again.stderr
        assert connection.llen(queue_key(CDRS)) == failed


@pytest.mark.parametrize("worker", [{}, OUR_WORKER], ids=["stock worker", "our worker"])
def test_a_worker_with_two_queues_is_refused_and_takes_nothing(
    connection: redis.Redis, redis_url: str, worker: dict[str, str]
) -> None:
    write(connection, load_job())
    ended = rq(redis_url, "worker", "--burst", CDRS, HOOKS, **worker)
    assert "one queue" in ended.stdout + ended.stderr
    assert connection.lrange(queue_key(CDRS), 0, -1) == [b"ours"]


@pytest.mark.parametrize("queues", [[], [CDRS, HOOKS]])
def test_a_job_is_taken_from_one_queue_alone(connection: redis.Redis, queues: list[str]) -> None:
    several = [CdrQueue(name, connection=connection) for name in queues]
    with pytest.raises(ConfigurationError, match="one queue"):
        CdrQueue.dequeue_any(several, None, connection=connection)


def test_from_one_queue_a_job_is_taken(connection: redis.Redis) -> None:
    write(connection, load_job())
    queue = CdrQueue(CDRS, connection=connection)
    job, origin = CdrQueue.dequeue_any([queue], None, connection=connection)
    assert (job.id, origin.name) == ("ours", CDRS)


@pytest.mark.parametrize("function", ["os.system", "worker.jobs.msgspec", "worker.jobs._check", "load_cdrs", ""])
def test_only_our_functions_are_allowed(connection: redis.Redis, function: str) -> None:
    put(connection, {"bad": {"data": JobSerializer.dumps([function, None, [], {}])}})
    job = CdrJob.fetch("bad", connection=connection)
    with pytest.raises(FunctionNotAllowed):
        _ = job.func


def test_our_functions_are_found(connection: redis.Redis) -> None:
    write(connection, load_job())
    assert CdrJob.fetch("ours", connection=connection).func is import_attribute(LOAD_CDRS)


def test_another_serializer_is_not_taken(connection: redis.Redis) -> None:
    queue = CdrQueue(CDRS, connection=connection, serializer="pickle", job_class=Job)
    assert (queue.serializer, queue.job_class) == (JobSerializer, CdrJob)
    assert CdrJob(connection=connection, serializer="pickle").serializer is JobSerializer
