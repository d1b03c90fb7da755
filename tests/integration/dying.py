"""Runs one of our processes' parts again and again, each time killed one step later: `python dying.py SCENARIO`.

A step is one trip to Redis. Prints a line `queued CALL` for each; they must all come out somewhere.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import redis
from loading import delivery, leg
from redis.connection import AbstractConnection
from rq.registry import FailedJobRegistry

from common.failed_jobs import Failure, Filter, find_ids
from common.job_queue import CDRS, LOAD_CDRS, CdrJob, JobSerializer, NewJob, failed_key, job_key, queue_key
from common.redis_client import connect
from common.replay_failed import replay
from worker.outbox import enqueue
from worker.queue_worker import CdrWorker
from worker.scheduled_jobs import move_due_jobs, schedule

MOST_STEPS = 60


def new_job(*call_ids: str) -> NewJob:
    return NewJob(CDRS, LOAD_CDRS, ([delivery(leg(call_id)) for call_id in call_ids],), "load")


def queue(connection: Any, *call_ids: str, **fields: Any) -> NewJob:
    job = new_job(*call_ids)
    enqueue(connection, [job])
    if fields:
        connection.hset(job_key(job.job_id), mapping=fields)
    return job


def have_failed(connection: Any, call_id: str) -> None:
    meta = Failure("error", None, "no matter", 0.0).as_meta({})
    job = queue(connection, call_id, status="failed", meta=JobSerializer.dumps(meta))
    connection.lrem(queue_key(CDRS), 0, job.job_id)
    connection.zadd(failed_key(CDRS), {job.job_id: -1})


def together(connection: Any, name: str) -> list[str]:
    calls = [f"{name}{letter}" for letter in "abc"]
    for call_id in calls:
        queue(connection, call_id)
    return calls


def alone(connection: Any, name: str) -> list[str]:
    queue(connection, name, deaths=1)
    return [name]


def deadly(connection: Any, name: str) -> list[str]:
    calls = [f"{name}{letter}" for letter in "abc"]
    queue(connection, *calls, deaths=3)
    return calls


def refused(connection: Any, name: str) -> list[str]:
    queue(connection, f"refused-{name}")
    return [f"refused-{name}"]


def broken(connection: Any, name: str) -> list[str]:
    queue(connection, name, created_at="never")
    return [name]


def scheduled(connection: Any, name: str) -> list[str]:
    schedule(connection, new_job(name), datetime.now(UTC))
    return [name]


def failed(connection: Any, name: str) -> list[str]:
    have_failed(connection, name)
    return [name]


def work(connection: Any) -> None:
    CdrWorker([CDRS], connection=connection).work(burst=True, max_jobs=1, logging_level="CRITICAL")


def requeue(connection: Any) -> None:
    registry = FailedJobRegistry(CDRS, connection=connection, job_class=CdrJob)
    for job_id in registry.get_job_ids():
        registry.requeue(job_id)


def replay_all(connection: Any) -> None:
    replay(connection, find_ids(connection, Filter()))


SCENARIOS: dict[str, tuple[Callable[[Any, str], list[str]], Callable[[Any], Any]]] = {
    "together": (together, work),
    "alone": (alone, work),
    "deadly": (deadly, work),
    "refused": (refused, work),
    "broken": (broken, work),
    "scheduled": (scheduled, move_due_jobs),
    "stock-requeue": (failed, requeue),
    "replay": (failed, replay_all),
}


def die_before(step: int) -> None:
    """Kill this process before it sends its next command but so many."""
    trips = count()
    send = AbstractConnection.send_packed_command

    def send_or_die(self: Any, *arguments: Any, **options: Any) -> Any:
        if next(trips) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, *arguments, **options)

    AbstractConnection.send_packed_command = send_or_die  # type: ignore[method-assign]


def main(scenario: str) -> None:
    arrange, act = SCENARIOS[scenario]
    url = os.environ["CDR_REDIS_URL"]
    for step in range(MOST_STEPS):
        with redis.Redis.from_url(url) as connection:
            calls = arrange(connection, f"{scenario}-{step}-")
        sys.stdout.write("".join(f"queued {call_id}\n" for call_id in calls))
        sys.stdout.flush()
        child = os.fork()
        if not child:
            die_before(step)
            act(connect(url, timeout_seconds=None))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
    sys.exit("it needs more steps than this allows")


if __name__ == "__main__":
    main(sys.argv[1])
