"""What a CDR takes while it waits and as a row, what the processes hold after work, and what `cdr up` takes when idle.

What is loaded on the way is checked: every CDR has to be a row.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, LiteralString

import psycopg

from api.group_commit import MAX_GROUP_CDRS
from benchmarks.backlog import Backlog, backlog, put
from benchmarks.bench import Bench, Server
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.paced import post_paced
from benchmarks.processes import Failed, cpu_seconds, peak_bytes, proportional_bytes, wait_until
from benchmarks.receive import JSON_BYTES, XMLRPC_BYTES, realistic
from benchmarks.traffic import simulated_posts
from benchmarks.wrk import post
from cdr.simulate.traffic import Post
from common.redis_client import connect

WAITING = 50_000
CONNECTIONS = 64
POST_SECONDS = 5.0
# What an idle tree has done before: its processes have imported and cached what work takes.
POSTED_BEFORE = 200
SETTLE_SECONDS = 15.0
IDLE_SECONDS = 40.0
LONGEST_SECONDS = 900.0
OURS, IDLE = "ours", "cdr up, idle"
_MEGABYTE = 1e6
UNITS = {
    "body": "bytes a body",
    "redis": "of the body, waiting",
    "postgres": "of the body, a row",
    "indexes": "of the body, its indexes",
    "receiver": "MB",
    "worker": "MB",
}
GOALS = [
    Goal("Redis bytes a waiting CDR, of its body", "redis", OURS, at_most=0.6),
    Goal("PostgreSQL bytes a row with its indexes, of its body", "postgres", OURS, at_most=2.5),
    Goal("resident memory of the receiver, MB", "receiver", OURS, at_most=120),
    Goal("resident memory of the worker, MB", "worker", OURS, at_most=150),
]
IDLE_UNITS = {"cpu": "% of a core", "memory": "MB"}
IDLE_GOALS = [
    Goal("CPU of an idle cdr up, % of a core", "cpu", IDLE, at_most=2),
    Goal("memory of an idle cdr up, MB", "memory", IDLE, at_most=600),
]


def measure(bench: Bench) -> Iterator[Part]:
    """Measure what work leaves, then the idle tree."""
    count = max(2, round(WAITING * bench.scale / MAX_GROUP_CDRS)) * MAX_GROUP_CDRS
    posts = [realistic("json", JSON_BYTES), realistic("xmlrpc", XMLRPC_BYTES)]
    samples = interleaved(bench.rounds, {OURS: partial(_work, bench, count, posts)}, bench.tell)
    about = (
        f"{count:,} simulated JSON CDRs and their second deliveries, queued by the receiver's group commit with {MAX_GROUP_CDRS:,}"
        " senders at a time, then loaded by a worker: used_memory of Redis with them beside without them, pg_total_relation_size"
        " of the partitions of cdr.cdrs after VACUUM. The most resident memory (VmHWM, shared pages count too) of the one process:"
        f" the receiver after {POST_SECONDS:g} s each of JSON and XML-RPC over {CONNECTIONS} connections, the worker after both."
    )
    yield Part("cost", about, UNITS, samples, GOALS)
    idle = interleaved(bench.rounds, {IDLE: partial(_idle, bench)}, bench.tell)
    about = (
        f"`cdr up` as it comes, {SETTLE_SECONDS:g} s after it has loaded {POSTED_BEFORE} CDRs, for {_idle_seconds(bench):g} s: all its"
        " processes, PostgreSQL and Valkey among them. A page that processes share counts once (PSS of /proc/*/smaps_rollup)."
    )
    yield Part("cost, idle", about, IDLE_UNITS, idle, IDLE_GOALS)


def _work(bench: Bench, count: int, posts: list[list[Post]], number: int) -> Sample:
    """Let CDRs wait, load them, and post others to a receiver, which are loaded too."""
    waiting = backlog(count, 100 + number, MAX_GROUP_CDRS, "json")
    body = waiting.body_bytes / waiting.deliveries
    with ExitStack() as stack:
        valkey, postgres = stack.enter_context(bench.valkey()), stack.enter_context(bench.postgres())
        connection = stack.enter_context(psycopg.connect(postgres.url, autocommit=True))
        before = _used_memory(valkey)
        with connect(valkey.url) as redis:
            put(redis, waiting.jobs)
        redis_bytes = (_used_memory(valkey) - before) / waiting.deliveries
        worker = stack.enter_context(bench.worker(valkey, postgres))
        wait_until(lambda: _rows(connection) >= count, "the load of the backlog", LONGEST_SECONDS)
        _check_rows(connection, waiting)
        connection.execute("VACUUM cdr.cdrs")
        row_bytes, index_bytes = _row_bytes(connection)
        receiver = stack.enter_context(bench.receiver(valkey))
        for place, what in enumerate(posts):
            _post(bench, receiver, what, f"cost-{number}-{place}-", connection)
        return {
            "body": body,
            "redis": redis_bytes / body,
            "postgres": row_bytes / body,
            "indexes": index_bytes / body,
            "receiver": peak_bytes(receiver.pid) / _MEGABYTE,
            "worker": peak_bytes(worker) / _MEGABYTE,
        }


def _used_memory(valkey: Server) -> int:
    # By a connection of its own, because what the one that wrote still holds counts as well.
    with connect(valkey.url) as redis:
        return int(redis.info("memory")["used_memory"])


def _check_rows(connection: psycopg.Connection[Any], waiting: Backlog) -> None:
    missing = _number(
        connection,
        "SELECT count(*) FROM unnest(%s::bytea[]) AS wanted WHERE NOT EXISTS (SELECT FROM cdr.cdrs WHERE identity = wanted)",
        list(waiting.identities),
    )
    if missing:
        raise Failed(f"{missing} of {len(waiting.identities)} CDRs that waited are no row")


def _row_bytes(connection: psycopg.Connection[Any]) -> tuple[float, float]:
    """Return the bytes of a row with all that belongs to it, and those of its indexes."""
    partitions: LiteralString = "FROM pg_partition_tree('cdr.cdrs') WHERE isleaf"
    rows = _rows(connection)
    return (
        _number(connection, f"SELECT sum(pg_total_relation_size(relid))::bigint {partitions}") / rows,
        _number(connection, f"SELECT sum(pg_indexes_size(relid))::bigint {partitions}") / rows,
    )


def _rows(connection: psycopg.Connection[Any]) -> int:
    return _number(connection, "SELECT count(*) FROM cdr.cdrs")


def _number(connection: psycopg.Connection[Any], query: LiteralString, *values: object) -> int:
    found = connection.execute(query, values).fetchone()
    if found is None:
        raise Failed(f"no row: {query}")
    return int(found[0])


def _post(bench: Bench, receiver: Server, what: list[Post], prefix: str, connection: psycopg.Connection[Any]) -> None:
    """Post with wrk and wait until every CDR that was acknowledged is a row."""
    seconds = max(1.0, POST_SECONDS * bench.scale)
    load = post(receiver.url, what, prefix, CONNECTIONS, seconds, bench.folder)

    def stored() -> int:
        return _number(connection, "SELECT count(DISTINCT call_id) FROM cdr.cdrs WHERE call_id LIKE %s", f"{prefix}%")

    wait_until(lambda: stored() >= load.answers, f"{load.answers} rows", LONGEST_SECONDS)
    # What wrk cut off at its end may be stored too.
    if stored() > load.answers + CONNECTIONS:
        raise Failed(f"{load.answers} answers, {stored()} rows")


def _idle_seconds(bench: Bench) -> float:
    return max(5.0, IDLE_SECONDS * bench.scale)


def _idle(bench: Bench, number: int) -> Sample:
    with bench.everything() as (addresses, pid):
        _load_some(addresses, number)
        time.sleep(SETTLE_SECONDS)
        cpu, began = cpu_seconds([pid]), time.monotonic()
        time.sleep(_idle_seconds(bench))
        share = (cpu_seconds([pid]) - cpu) / (time.monotonic() - began)
        return {"cpu": 100 * share, "memory": proportional_bytes([pid]) / _MEGABYTE}


def _load_some(addresses: dict[str, str], number: int) -> None:
    posts = list(simulated_posts(POSTED_BEFORE, 200 + number))
    call_ids = sorted({cdr.call_id for each in posts for cdr in each.cdrs})
    seen: LiteralString = "SELECT count(DISTINCT call_id) FROM cdr.cdrs WHERE call_id = ANY(%s)"
    post_paced(addresses["CDR_RECEIVER_URL"], posts, 100, lambda _post: None)
    with psycopg.connect(addresses["CDR_DATABASE_URL"], autocommit=True) as connection:
        wait_until(lambda: _number(connection, seen, call_ids) == len(call_ids), "the rows of what was posted")
