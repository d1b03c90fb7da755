"""What RQ cannot read of a job ends neither a worker nor the queue behind it: it is set aside, shown, replayed, discarded."""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import pytest
from command_line import POISON, Product, delivery, product
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.failed_details import read_details
from common.failed_index import index_key
from common.failed_jobs import Failure, Filter, find_failed, find_ids, list_failed
from common.job_queue import (
    CDRS,
    KEEP_BODIES,
    LOAD_CDRS,
    JobSerializer,
    NewJob,
    failed_key,
    intermediate_key,
    job_key,
    queue_key,
    timestamp,
)
from common.replay_failed import discard, replay

__all__ = ["product"]

CALL = "20231114221320call"
DEEP = b"[" * 100_000 + b"]" * 100_000


def whole(number: int = 1) -> dict[str, Any]:
    """Return the fields of a job that is whole."""
    job = NewJob(CDRS, LOAD_CDRS, ([delivery(number)],), "load")
    words = job.commands()[0][2:]
    return dict(zip(words[::2], words[1::2], strict=True))


def queue_broken(product: Product, fields: dict[str, Any], job_id: Any = "broken") -> None:
    product.redis.hset(b"rq:job:" + (job_id if isinstance(job_id, bytes) else job_id.encode()), mapping=fields)
    product.redis.rpush(queue_key(CDRS), job_id)


def ids(product: Product) -> list[str]:
    return [job.job_id for job in list_failed(product.redis, Filter())]


def nothing_waits(product: Product) -> bool:
    return not product.redis.exists(queue_key(CDRS), intermediate_key(CDRS))


UNREADABLE: dict[str, dict[str, Any]] = {
    "created never": {"created_at": "never"},
    "ended in no year": {"ended_at": "99999-01-01T00:00:00.000000Z"},
    "started as bytes": {"started_at": b"\xff\xfe"},
    "an unknown status": {"status": "eaten"},
    "a status of bytes": {"status": b"\xff"},
    "an origin of bytes": {"origin": b"\xff"},
    "a description of bytes": {"description": b"\xff\x00"},
}


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
def test_a_job_that_cannot_be_read_is_set_aside_and_can_be_replayed(product: Product, fields: dict[str, Any]) -> None:
    queue_broken(product, {**whole(1), **fields})
    product.enqueue([delivery(2)])
    product.work()
    [job] = product.cdr("failed", "list", "--json").json
    assert (job["job_id"], job["reason"], job["call_ids"]) == ("broken", "broken_job", [f"{CALL}1"])
    assert (product.count("cdr.cdrs"), nothing_waits(product)) == (1, True)

    assert product.counted("failed", "replay", "--all") == 1
    product.work()
    assert (product.count("cdr.cdrs"), ids(product)) == (2, [])


IGNORED: dict[str, dict[str, Any]] = {
    "timeouts": {"timeout": "soon", "result_ttl": "1e9", "failure_ttl": b"\xff", "ttl": "x"},
    "huge numbers": {"timeout": "9" * 5000, "cdrs": "9" * 5000, "deaths": "9" * 5000, "result_ttl": "9" * 30},
    "retries and repeats": {"retries_left": "x", "retry_intervals": "{", "repeats_left": "x", "repeat_intervals": "["},
    "rate limits": {"rate_limit_key": b"\xff", "rate_limit_concurrency": "x"},
    "dependencies": {"dependency_ids": "{", "allow_dependency_failures": "x", "enqueue_at_front": "x"},
    "a list as meta": {"meta": "[1]"},
    "a meta of bytes": {"meta": b"\xff"},
    "a deep meta": {"meta": DEEP},
    "a worker of bytes": {"worker_name": b"\xff", "last_heartbeat": "never", "exc_info": b"\xff"},
    "fields of bytes": {b"\xff\xfe": b"\xff"},
    "counts that are none": {"cdrs": "many", "deaths": "-1"},
}


@pytest.mark.parametrize("fields", IGNORED.values(), ids=IGNORED)
def test_what_nobody_needs_to_read_keeps_no_job_from_being_run(product: Product, fields: dict[str, Any]) -> None:
    queue_broken(product, {**whole(1), **fields})
    product.enqueue([delivery(2)])
    product.work()
    assert (product.count("cdr.cdrs"), ids(product), nothing_waits(product)) == (2, [], True)


NO_CALL: dict[str, Any] = {
    "no JSON": b"{",
    "nothing": b"",
    "a pickle": pickle.dumps((LOAD_CDRS, None, (1, []), {})),
    "truncated zlib": zlib.compress(JobSerializer.dumps([LOAD_CDRS, None, [1, []], {}]))[:-4],
    "too deep": DEEP,
    "too deep and zipped": zlib.compress(DEEP),
    "deep arguments": b'["' + LOAD_CDRS.encode() + b'",null,[1,' + DEEP + b"],{}]",
    "a number": b"1",
    "too few parts": b"[1,2,3]",
    "a function that is a list": b"[[1],null,[1,[]],{}]",
    "arguments that are a number": b'["' + LOAD_CDRS.encode() + b'",null,7,{}]',
    "an unknown function": b'["os.system",null,["true"],{}]',
}


@pytest.mark.parametrize("cdrs", [{"cdrs": "0"}, {}], ids=["alone", "together"])
@pytest.mark.parametrize("data", NO_CALL.values(), ids=NO_CALL)
def test_data_that_is_no_call_of_ours_is_a_failed_job_that_every_command_survives(
    product: Product, data: bytes, cdrs: dict[str, str]
) -> None:
    product.enqueue([delivery(2)])
    queue_broken(product, {**whole(1), "data": data, **cdrs})
    product.enqueue([delivery(3)])
    product.work()
    assert (product.count("cdr.cdrs"), nothing_waits(product)) == (2, True)
    assert [job["job_id"] for job in product.cdr("failed", "list", "--json").json] == ["broken"]
    assert product.cdr("failed", "show", "broken", "--json").json["call_ids"] == []
    assert product.cdr("failed", "show", "broken").exit_code == 0
    assert product.counted("failed", "replay", "--all") == 1
    product.work()
    assert product.counted("failed", "discard", "--all") == 1
    assert not product.redis.exists(job_key("broken"), "rq:results:broken", failed_key(CDRS), index_key(CDRS))


@pytest.mark.parametrize("job_id", [b"\xff\xfe", b"a b", b"a:b", b"", "שלום".encode(), b"x" * 70_000 + b" "])
def test_an_id_that_rq_cannot_read_is_replaced(product: Product, job_id: bytes) -> None:
    product.redis.hset(b"rq:job:" + job_id, mapping=whole(1))
    product.redis.rpush(queue_key(CDRS), job_id)
    product.enqueue([delivery(2)])
    product.work()
    [job] = product.cdr("failed", "list", "--json").json
    assert (job["reason"], job["call_ids"], product.count("cdr.cdrs")) == ("broken_job", [f"{CALL}1"], 1)
    assert product.counted("failed", "replay", "--all") == 1
    product.work()
    assert product.count("cdr.cdrs") == 2
    assert not product.redis.exists(b"rq:job:" + job_id)


@pytest.mark.parametrize("kind", ["nothing", "text", "list", "no data"])
@pytest.mark.parametrize("behind", [True, False])
def test_an_id_without_a_job_is_dropped(product: Product, kind: str, *, behind: bool) -> None:
    if behind:
        product.enqueue([delivery(1)])
    if kind == "text":
        product.redis.set(job_key("odd"), "text")
    elif kind == "list":
        product.redis.rpush(job_key("odd"), "a", "b")
    elif kind == "no data":
        product.redis.hset(job_key("odd"), mapping={"cdrs": 1, "status": "queued"})
    product.redis.rpush(queue_key(CDRS), "odd")
    product.enqueue([delivery(2)])
    product.work()
    assert (product.count("cdr.cdrs"), ids(product), nothing_waits(product)) == (1 + behind, [], True)


@pytest.mark.parametrize("attempts", ["x", None, [1], 1.5, "9" * 30])
def test_attempts_that_are_no_number_are_counted_anew(product: Product, attempts: Any) -> None:
    product.refuse_poison()
    product.enqueue([delivery(1, caller=POISON)])
    job_id = product.redis.lindex(queue_key(CDRS), 0).decode()
    product.redis.hset(job_key(job_id), "meta", JobSerializer.dumps({"attempts": attempts}))
    product.work()
    assert [job["attempts"] for job in product.cdr("failed", "list", "--json").json] == [1]
    product.redis.hset(job_key(job_id), "meta", JobSerializer.dumps({"attempts": attempts}))
    assert [job["attempts"] for job in product.cdr("failed", "list", "--json").json] == [1]


def test_a_broken_job_is_noted_as_other_failures_are(product: Product) -> None:
    queue_broken(product, {**whole(1), "created_at": "never"})
    product.work()
    meta = JobSerializer.loads(product.redis.hget(job_key("broken"), "meta"))
    assert set(meta) == set(Failure("", None, "", 0.0).as_meta({}))
    assert product.cdr("status", "--json").json["counters"]["refused"] == 1


FIELDS = st.sampled_from(
    [
        "created_at",
        "enqueued_at",
        "started_at",
        "ended_at",
        "last_heartbeat",
        "origin",
        "description",
        "status",
        "meta",
        "timeout",
        "ttl",
        "result_ttl",
        "failure_ttl",
        "cdrs",
        "deaths",
        "worker_name",
        "retries_left",
        "group_id",
        "rate_limit_key",
        "enqueue_at_front",
        "exc_info",
        "data",
    ]
)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(str.encode),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from([b"", b"queued", b"finished", b"[1]", b"{}", b"null", DEEP, b"9" * 5000, b"nan", b"-inf", b"0x10"]),
    st.just(timestamp().encode()),
    st.sampled_from([LOAD_CDRS, KEEP_BODIES]).map(lambda name: JobSerializer.dumps([name, None, [1, []], {}])),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    fields=st.dictionaries(FIELDS, VALUES, max_size=5),
    job_id=st.just(b"fuzzed") | st.binary(min_size=1, max_size=12),
    front=st.booleans(),
)
def test_no_hash_whatever_is_in_it_ends_a_worker(
    product: Product, fields: dict[str, bytes], job_id: bytes, *, front: bool
) -> None:
    product.redis.flushall()
    good = NewJob(CDRS, LOAD_CDRS, ([],), "load", "good")
    for command in good.commands():
        product.redis.execute_command(*command)
    product.redis.hset(b"rq:job:" + job_id, mapping={**whole(1), **fields})
    (product.redis.lpush if front else product.redis.rpush)(queue_key(CDRS), job_id)

    product.work()

    assert nothing_waits(product)
    assert product.redis.hget(job_key("good"), "status") in {None, b"finished"}
    for job in list_failed(product.redis, Filter()):
        assert find_failed(product.redis, job.job_id) is not None
        read_details(product.redis, job.job_id)
    failed = ids(product)
    assert replay(product.redis, find_ids(product.redis, Filter())) == len(failed)
    product.work()
    again = ids(product)
    assert discard(product.redis, find_ids(product.redis, Filter())) == len(again)
    assert (ids(product), nothing_waits(product)) == ([], True)
