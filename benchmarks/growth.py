"""Whether the product slows down as it fills: loading beside 10 million CDRs, acknowledging beside a million that wait.

Memory is read after rounds that warm everything up, and after the last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial

from benchmarks.backlog import jobs_of, put, queued_call_ids
from benchmarks.bench import Bench, Server
from benchmarks.big_table import big_table
from benchmarks.figures import Goal, Part, Sample, Samples, interleaved
from benchmarks.loaded import check_rows, connected, keys_of, wait_until_loaded
from benchmarks.processes import Failed, cpu_seconds, resident_bytes, wait_until
from benchmarks.receive import JSON_BYTES, realistic
from benchmarks.traffic import simulated_deliveries
from benchmarks.wrk import post
from cdr.simulate.traffic import Post
from common.job_queue import CDRS, queue_key
from common.redis_client import RedisClient, connect

# After a start, as after a checkpoint, each page goes into the log as a whole when it first changes. That is a part of what a
# steady load costs, and most of what 20,000 CDRs cost.
LOADED_A_ROUND = 60_000
WAITING = 1_000_000
CONNECTIONS = 64
SECONDS = 4.0
FULL, EMPTY = "10 million CDRs in the table", "an empty table"
MANY_WAIT, NONE_WAITS = "1 million CDRs wait", "none waits"
# One worker loads less than this; simulated calls come at this pace.
_CDRS_A_SECOND = 1000.0
_MEGABYTE = 1e6
_EMPTIED = "TRUNCATE cdr.cdrs, cdr.calls, cdr.call_links, cdr.deliveries, cdr.recordings, cdr.outbox"


def measure(bench: Bench) -> Iterator[Part]:
    """Measure the load, then the acknowledgement, then tell the memory of both."""
    load, workers = _load(bench)
    yield load
    acknowledgement, receivers = _acknowledge(bench)
    yield acknowledgement
    samples = {
        **{f"worker, {name}": each for name, each in _memory(workers, load.samples).items()},
        **{f"receiver, {name}": each for name, each in _memory(receivers, acknowledgement.samples).items()},
    }
    about = "Resident memory after rounds that warm everything up, and after the last round."
    units = {"before": "MB", "after": "MB"}
    goals = [Goal(f"after beside before, {name}", "after", name, name, "before", at_most=1.05) for name in samples]
    yield Part("growth, memory", about, units, samples, goals)


def _load(bench: Bench) -> tuple[Part, dict[str, float]]:
    with ExitStack() as stack:
        full = stack.enter_context(big_table(bench))
        empty = stack.enter_context(bench.postgres())
        valkeys = [stack.enter_context(bench.valkey()) for _ in range(2)]
        # What a worker takes too long to fold, the scheduler folds.
        workers = [
            (
                stack.enter_context(bench.worker(valkey, postgres)),
                stack.enter_context(bench.scheduler(valkey, postgres)),
            )
            for valkey, postgres in zip(valkeys, (full.server, empty), strict=True)
        ]
        contenders = {
            FULL: partial(_load_round, bench, valkeys[0], full.server, workers[0]),
            EMPTY: partial(_load_round, bench, valkeys[1], empty, workers[1], emptied=True),
        }
        # Outside the measurement: connections, imports, caches, and the most that a worker takes at once. Its memory settles
        # in the third round.
        for number in (-3, -2):
            for load in contenders.values():
                load(number)
        before = {name: load(-1)["memory"] for name, load in contenders.items()}
        samples = interleaved(bench.rounds, contenders, bench.tell)
    about = (
        f"CDRs a second that one worker loads, all enrichment on, calls folded too: {_count(bench, LOADED_A_ROUND):,} a round"
        f" into a table of {full.cdrs:,} CDRs over two years, and into one that is emptied before each round. CPU seconds are"
        " those of worker, scheduler and PostgreSQL."
    )
    goals = [Goal("load into 10 million CDRs beside an empty table", "rate", FULL, EMPTY, at_least=0.85)]
    units = {"rate": "CDR/s", "cpu": "CPU s for 1,000", "memory": "MB, worker"}
    return Part("growth, load", about, units, samples, goals), before


def _load_round(
    bench: Bench, valkey: Server, postgres: Server, processes: tuple[int, int], number: int, *, emptied: bool = False
) -> Sample:
    """Let a worker, which is the first of the processes, load CDRs of just now, and see that each is a row."""
    count = _count(bench, LOADED_A_ROUND)
    deliveries = list(simulated_deliveries(count, 1000 + number, datetime.now(UTC), count / _CDRS_A_SECOND))
    jobs = list(jobs_of(deliveries))
    with connected(postgres) as connection, connect(valkey.url) as redis:
        if emptied:
            connection.execute(_EMPTIED)
        redis.flushall()
        pids = [*processes, postgres.pid]
        cpu, began = cpu_seconds(pids), time.monotonic()
        put(redis, jobs)
        wait_until_loaded(redis, connection.cursor())
        seconds = time.monotonic() - began
        cpu = cpu_seconds(pids) - cpu
        check_rows(connection.cursor(), keys_of(deliveries))
    return {
        "rate": count / seconds,
        "cpu": cpu / count * 1000,
        "memory": resident_bytes(processes[:1]) / _MEGABYTE,
    }


def _acknowledge(bench: Bench) -> tuple[Part, dict[str, float]]:
    what = realistic("json", JSON_BYTES)
    count = _count(bench, WAITING)
    with ExitStack() as stack:
        contenders = {}
        for name, waiting in ((MANY_WAIT, count), (NONE_WAITS, 0)):
            valkey = stack.enter_context(bench.valkey())
            redis = stack.enter_context(connect(valkey.url))
            receiver = stack.enter_context(bench.receiver(valkey))
            jobs = _let_wait(bench, redis, waiting)
            contenders[name] = partial(_acknowledge_round, bench, receiver, valkey, redis, jobs, what)
        before = {name: acknowledge(-1)["memory"] for name, acknowledge in contenders.items()}
        samples = interleaved(bench.rounds, contenders, bench.tell)
    about = (
        f"Answers a second with {CONNECTIONS} connections, from wrk, each CDR on disk: while {count:,} CDRs in full groups wait"
        " in Redis, and while none does. CPU seconds are those of the receiver and of Redis."
    )
    goals = [Goal("acknowledged while a million wait beside none", "rate", MANY_WAIT, NONE_WAITS, at_least=0.95)]
    units = {"rate": "answers/s", "p99_ms": "ms", "cpu": "CPU s for 1,000", "memory": "MB, receiver"}
    return Part("growth, acknowledgement", about, units, samples, goals), before


def _let_wait(bench: Bench, redis: RedisClient, count: int) -> int:
    """Queue so many CDRs, wait until Redis has rewritten its file if it does, and return how many jobs there are."""
    if count:
        bench.tell(f"queueing {count:,} CDRs")
        put(redis, jobs_of(simulated_deliveries(count, 2, datetime.now(UTC), count / _CDRS_A_SECOND)))
    wait_until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"], "the rewrite of Redis's file", 600)
    jobs: int = redis.llen(queue_key(CDRS))
    return jobs


def _acknowledge_round(
    bench: Bench, receiver: Server, valkey: Server, redis: RedisClient, waiting: int, what: list[Post], number: int
) -> Sample:
    pids = [receiver.pid, valkey.pid]
    cpu = cpu_seconds(pids)
    seconds = max(1.0, SECONDS * bench.scale)
    load = post(receiver.url, what, f"grow-{number}-", CONNECTIONS, seconds, bench.folder)
    cpu = cpu_seconds(pids) - cpu
    memory = resident_bytes([receiver.pid]) / _MEGABYTE
    stored = len(queued_call_ids(redis, waiting))
    # What wrk cut off at its end may be stored too.
    if not load.answers <= stored <= load.answers + CONNECTIONS:
        raise Failed(f"{load.answers} answers, {stored} stored")
    if redis.llen(queue_key(CDRS)) != waiting:
        raise Failed(f"{redis.llen(queue_key(CDRS))} jobs wait, not {waiting}")
    return {"rate": load.rate, "p99_ms": load.p99_ms, "cpu": cpu / load.answers * 1000, "memory": memory}


def _memory(before: dict[str, float], samples: Samples) -> dict[str, list[Sample]]:
    """Put beside the memory after the warming up that after the last round."""
    return {name: [{"before": before[name], "after": each[-1]["memory"]}] for name, each in samples.items()}


def _count(bench: Bench, number: int) -> int:
    return max(200, round(number * bench.scale))
