"""What a CDR costs from the POST to its row, in CPU seconds of all processes, beside an endpoint that inserts in the request.

Ours counts until every CDR is a row and every call folded; each id that was acknowledged has to be among the rows.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import psycopg

from benchmarks.bench import Bench, Server
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.processes import Failed, cpu_seconds, wait_until
from benchmarks.traffic import simulated_posts
from benchmarks.wrk import PLACE, Load, post_each
from common.job_queue import CDRS, intermediate_key, queue_key
from common.queue_format import lease_key
from common.redis_client import RedisClient, connect

CONNECTIONS = 64
SECONDS = 10.0
# Posted one after the other, and all of them again with other call ids: so many that a worker forgets the numbers of the
# first before it sees them again.
BODIES = 40_000
OURS, INSERT = "ours, durable", "FastAPI and a synchronous INSERT"
UNITS = {"rate": "rows/s", "cpu": "CPU s for 1,000"}
GOALS = [
    Goal("CPU seconds for 1,000 CDRs", "cpu", OURS, at_most=0.15),
    Goal("CPU seconds beside the synchronous INSERT", "cpu", OURS, INSERT, at_most=0.25),
]


class _Contender(NamedTuple):
    """Where to post to, whose CPU time counts, how often the rows have each call id, and when all is done."""

    url: str
    pids: list[int]
    connection: psycopg.Connection[Any]
    call_ids: bytes
    is_done: Callable[[], bool]


def measure(bench: Bench) -> Iterator[Part]:
    """Post simulated CDRs for some seconds, then wait until all is done."""
    bodies = _bodies()
    with ExitStack() as stack:
        contenders = {OURS: _ours(bench, stack), INSERT: _synchronous_insert(bench, stack)}
        runs = {name: partial(_measure, bench, bodies, contender) for name, contender in contenders.items()}
        # Once outside the measurement: connections, caches, the imports of the first job.
        for run in runs.values():
            run(-1)
        samples = interleaved(bench.rounds, runs, bench.tell)
    about = (
        f"From the first POST of simulated JSON CDRs to the last row, {CONNECTIONS} connections, from wrk. CPU seconds are those "
        "of receiver, Redis, worker, scheduler and PostgreSQL, and of the endpoint and PostgreSQL; no recording is fetched."
    )
    yield Part("whole way", about, UNITS, samples, GOALS)


def _ours(bench: Bench, stack: ExitStack) -> _Contender:
    valkey, postgres = stack.enter_context(bench.valkey()), stack.enter_context(bench.postgres())
    receiver = stack.enter_context(bench.receiver(valkey))
    worker = stack.enter_context(bench.worker(valkey, postgres))
    scheduler = stack.enter_context(bench.scheduler(valkey, postgres))
    redis, connection = stack.enter_context(connect(valkey.url)), _connected(stack, postgres)
    return _Contender(
        receiver.url,
        [receiver.pid, valkey.pid, worker, scheduler, postgres.pid],
        connection,
        b"SELECT call_id, sum(delivery_count) FROM cdr.cdrs WHERE call_id LIKE %s GROUP BY 1",
        lambda: _all_loaded(redis) and _all_folded(connection),
    )


def _synchronous_insert(bench: Bench, stack: ExitStack) -> _Contender:
    postgres = stack.enter_context(bench.postgres())
    rival = stack.enter_context(bench.rival("synchronous_insert", {"CDR_DATABASE_URL": postgres.url}))
    return _Contender(
        rival.url,
        [rival.pid, postgres.pid],
        _connected(stack, postgres),
        b"SELECT call_id, count(*) FROM rival.cdrs WHERE call_id LIKE %s GROUP BY 1",
        lambda: True,
    )


def _measure(bench: Bench, bodies: list[str], contender: _Contender, number: int) -> Sample:
    prefix = f"-r{number}-"
    cpu, began = cpu_seconds(contender.pids), time.monotonic()
    seconds = max(1.0, SECONDS * bench.scale)
    load = post_each(contender.url, bodies, "application/json", prefix, CONNECTIONS, seconds, bench.folder)
    wait_until(contender.is_done, "the last row")
    took, cpu = time.monotonic() - began, cpu_seconds(contender.pids) - cpu
    _check(contender, bodies, prefix, load)
    return {"rate": load.answers / took, "cpu": cpu / load.answers * 1000}


def _bodies() -> list[str]:
    """Make posts of simulated CDRs with PLACE at the end of each call id, so that its date stays."""
    return [_with_place(json.loads(post.body)) for post in simulated_posts(BODIES, 1, "json")]


def _with_place(fields: dict[str, Any]) -> str:
    for name in ("ivruniqueid", "OriginalivrUniqueID"):
        if fields.get(name):
            fields[name] += PLACE
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _check(contender: _Contender, bodies: list[str], prefix: str, load: Load) -> None:
    """Raise Failed when a delivery that was acknowledged is in no row; those that wrk cut off at its end may be in one."""
    ids = [json.loads(body)["ivruniqueid"] for body in bodies]
    sent = Counter(ids[at % len(ids)].replace(PLACE, f"{prefix}{at // len(ids)}") for at in range(load.sent))
    known = Counter(dict(contender.connection.execute(contender.call_ids, [f"%{prefix}%"]).fetchall()))
    missing = (sent - known).total()
    if missing > load.sent - load.answers or known - sent:
        raise Failed(
            f"{contender.url}: {missing} of {load.sent} deliveries are in no row, {load.answers} were acknowledged"
        )


def _all_loaded(redis: RedisClient) -> bool:
    return not redis.exists(queue_key(CDRS), intermediate_key(CDRS), lease_key(CDRS))


def _all_folded(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT FROM cdr.outbox WHERE kind = 'calls' LIMIT 1").fetchone() is None


def _connected(stack: ExitStack, postgres: Server) -> psycopg.Connection[Any]:
    return stack.enter_context(psycopg.connect(postgres.url, autocommit=True))
