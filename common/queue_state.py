"""What Redis tells about the queues and the workers: how much waits, since when, and who works on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.job_queue import COUNTERS_KEY, LAST_LOADED_FIELD, QUEUES, failed_key, job_key, queue_key, scheduled_key
from common.queue_format import intermediate_key, lease_key
from common.redis_client import RedisClient, translated

# The fields of the counters, as `Counters` and the metrics name them.
COUNTED = ("loaded", "refused", "recovered", "orphans")
_WORKERS_KEY = "rq:workers"
_WORKER_FIELDS = ("queues", "state", "last_heartbeat", "hostname", "death")


@dataclass(frozen=True)
class QueueState:
    """One queue: how many jobs wait, since when the first, are in a worker's hand, wait for a time of day, failed."""

    queue: str
    waiting: int
    oldest_seconds: float | None
    in_work: int
    scheduled: int
    failed: int
    workers: int


@dataclass(frozen=True)
class WorkerState:
    """One worker, as it told RQ itself; `last_heartbeat` is ISO 8601 in UTC."""

    name: str
    queue: str
    state: str
    last_heartbeat: str
    host: str


@dataclass(frozen=True)
class Counters:
    """What was counted since Redis was empty, and when a worker loaded last.

    Deliveries that were loaded, of which a CDR may have several, jobs that were refused, jobs put back after their worker died, jobs found in no place at all.
    """

    loaded: int
    refused: int
    recovered: int
    orphans: int
    last_loaded_at: str | None


def read_queues(connection: RedisClient, workers: list[WorkerState]) -> list[QueueState]:
    """Read the state of every queue; raises QueueUnavailable."""
    return [_read_queue(connection, queue, workers) for queue in QUEUES]


def read_workers(connection: RedisClient) -> list[WorkerState]:
    """Read what the living workers tell, by queue and name; one that died without a word is there for a minute.

    Raises QueueUnavailable.
    """
    with translated():
        keys = sorted(connection.smembers(_WORKERS_KEY))
        with connection.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(key, _WORKER_FIELDS)
            found = pipeline.execute()
    workers = [_worker(key, *values) for key, values in zip(keys, found, strict=True) if _lives(values)]
    return sorted(workers, key=lambda worker: (worker.queue, worker.name))


def read_counters(connection: RedisClient) -> Counters:
    """Read what the workers count; raises QueueUnavailable."""
    with translated():
        *counts, last = connection.hmget(COUNTERS_KEY, (*COUNTED, LAST_LOADED_FIELD))
    counted = {name: int(count or 0) for name, count in zip(COUNTED, counts, strict=True)}
    return Counters(**counted, last_loaded_at=_text(last) or None)


def _read_queue(connection: RedisClient, queue: str, workers: list[WorkerState]) -> QueueState:
    with translated(), connection.pipeline(transaction=False) as pipeline:
        pipeline.llen(queue_key(queue)).lindex(queue_key(queue), 0)
        pipeline.llen(intermediate_key(queue)).zcard(lease_key(queue))
        pipeline.zcard(scheduled_key(queue)).zcard(failed_key(queue))
        waiting, first, taken, held, scheduled, failed = pipeline.execute()
        enqueued_at = connection.hget(job_key(first.decode()), "enqueued_at") if first else None
    working = sum(worker.queue == queue for worker in workers)
    return QueueState(queue, waiting, _age(enqueued_at), taken + held, scheduled, failed, working)


def _lives(values: list[Any]) -> bool:
    """Tell whether the worker's hash is there still, and without the time of its death."""
    return values[0] is not None and values[-1] is None


def _worker(key: bytes, queues: Any, state: Any, heartbeat: Any, host: Any, _death: Any) -> WorkerState:
    name = key.decode().removeprefix("rq:worker:")
    return WorkerState(name, _text(queues), _text(state) or "starting", _text(heartbeat), _text(host))


def _age(enqueued_at: bytes | None) -> float | None:
    if not enqueued_at:
        return None
    return round(max(0.0, time.time() - datetime.fromisoformat(enqueued_at.decode()).timestamp()), 1)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
