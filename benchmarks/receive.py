"""Acknowledged CDRs a second, beside endpoints that store nothing and beside the textbook.

Ours answers once Redis has confirmed that the CDR is on disk; what counts is checked in Redis after each measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import fmean

from benchmarks.backlog import queued_call_ids
from benchmarks.bench import Bench, Server
from benchmarks.figures import Goal, Part, Sample, interleaved
from benchmarks.processes import Failed, cpu_seconds
from benchmarks.wrk import PLACE, Load, post
from cdr.simulate.run import SimulateOptions, posts_of
from cdr.simulate.traffic import Post, TrafficFormat
from common.job_queue import queue_key
from common.redis_client import RedisClient, connect

CONNECTIONS = (1, 64, 256)
SECONDS = 3.0
JSON_BYTES, XMLRPC_BYTES = 800, 3000
# How many bodies of such a size take turns: copies of one would be smaller in Redis than what senders send.
ALIKE = 50
OURS, OURS_XMLRPC = "ours, durable", "ours, durable, XML-RPC"
FASTAPI, ASGI, TEXTBOOK = "FastAPI that only answers", "raw ASGI that only answers", "FastAPI and queue.enqueue"
UNITS = {"rate": "answers/s", "p50_ms": "ms", "p99_ms": "ms", "cpu": "CPU s for 1,000"}


def measure(bench: Bench) -> Iterator[Part]:
    """Measure with each number of connections."""
    json, xmlrpc = realistic("json", JSON_BYTES), realistic("xmlrpc", XMLRPC_BYTES)
    with ExitStack() as stack:
        valkey = stack.enter_context(bench.valkey())
        ours = stack.enter_context(bench.receiver(valkey))
        fastapi, asgi = (stack.enter_context(bench.rival(name)) for name in ("empty_fastapi", "empty_asgi"))
        textbook = stack.enter_context(bench.rival("textbook", {"CDR_REDIS_URL": valkey.url}))
        redis = stack.enter_context(connect(valkey.url))

        def contenders(connections: int) -> dict[str, Callable[[int], Sample]]:
            run = partial(_measure, bench, connections)
            return {
                OURS: partial(run, ours, json, [ours, valkey], lambda: _queued_cdrs(redis)),
                OURS_XMLRPC: partial(run, ours, xmlrpc, [ours, valkey], lambda: _queued_cdrs(redis)),
                FASTAPI: partial(run, fastapi, json, [fastapi], None),
                ASGI: partial(run, asgi, json, [asgi], None),
                TEXTBOOK: partial(run, textbook, json, [textbook, valkey], lambda: redis.llen(queue_key("textbook"))),
            }

        for connections in CONNECTIONS:
            samples = interleaved(bench.rounds, contenders(connections), bench.tell)
            about = (
                f"Answers a second with {connections} {'connections' if connections > 1 else 'connection'}, from wrk, which sends "
                f"{ALIKE} bodies in turns; a JSON CDR has {_mean_bytes(json)} bytes, an XML-RPC one {_mean_bytes(xmlrpc)}. One "
                "process each; CPU seconds are those of it and of Redis."
            )
            yield Part(f"receive, {connections}", about, UNITS, samples, GOALS if connections == 64 else [])


GOALS = [
    Goal("rate beside FastAPI that only answers", "rate", OURS, FASTAPI, at_least=1.5),
    Goal("rate beside raw ASGI that only answers", "rate", OURS, ASGI, at_least=0.6),
    Goal("rate beside the textbook", "rate", OURS, TEXTBOOK, at_least=12),
    Goal("p99 beside FastAPI that only answers", "p99_ms", OURS, FASTAPI, at_most=1.5),
    Goal("rate of XML-RPC beside that of JSON", "rate", OURS_XMLRPC, OURS, at_least=0.6),
]


def realistic(body_format: TrafficFormat, size: int) -> list[Post]:
    """Return the simulated posts whose bodies come nearest to so many bytes, PLACE in them in place of the call id."""
    posts = [
        post for post in posts_of(SimulateOptions(count=10_000, format=body_format, seed=1)) if len(post.cdrs) == 1
    ]
    return [_with_place(post) for post in sorted(posts, key=lambda post: abs(len(post.body) - size))[:ALIKE]]


def _with_place(post: Post) -> Post:
    return post._replace(body=post.body.replace(post.cdrs[0].call_id.encode(), PLACE.encode(), 1))


def _mean_bytes(posts: list[Post]) -> int:
    return round(fmean(len(post.body) for post in posts))


def _measure(
    bench: Bench,
    connections: int,
    server: Server,
    what: list[Post],
    counted: list[Server],
    stored: Callable[[], int] | None,
    number: int,
) -> Sample:
    pids = [each.pid for each in counted]
    before = cpu_seconds(pids)
    load = post(server.url, what, f"bench-{number}-", connections, max(1.0, SECONDS * bench.scale), bench.folder)
    cpu = cpu_seconds(pids) - before
    if stored is not None:
        _check(load, stored(), connections)
    return {"rate": load.rate, "p50_ms": load.p50_ms, "p99_ms": load.p99_ms, "cpu": cpu / load.answers * 1000}


def _check(load: Load, stored: int, connections: int) -> None:
    """Raise Failed when an answer has nothing stored for it; what wrk cut off at its end may be stored too."""
    if not load.answers <= stored <= load.answers + connections:
        raise Failed(f"{load.answers} answers, {stored} stored")


def _queued_cdrs(redis: RedisClient) -> int:
    """Count the CDRs that wait by their call ids, then forget all jobs, the textbook's too."""
    count = len(queued_call_ids(redis))
    redis.flushall()
    return count
