"""Makes simulated CDRs into jobs as the receiver writes them, and looks after them in Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg

from api.group_commit import MAX_GROUP_CDRS
from benchmarks.bench import Server
from benchmarks.processes import Failed, wait_until
from cdr.simulate.calls import CDRS_A_CALL, CallFactory
from cdr.simulate.traffic import Post, make_posts
from common.cdr import read_cdr
from common.delivery import Delivery
from common.job_queue import CDRS, LOAD_CDRS, CdrJob, NewJob, intermediate_key, queue_key
from common.queue_format import lease_key
from common.redis_client import RedisClient
from common.wire import Fields, read_body
from worker.rows import identify

ACCOUNT = "default"
_Item = TypeVar("_Item")
_ISRAEL = ZoneInfo("Asia/Jerusalem")
_SECONDS_TO_LOAD = 1800.0


def simulated(count: int, seed: int, first: datetime, seconds: float) -> Iterator[Delivery]:
    """Make the deliveries of `count` CDRs whose calls end from `first` on, over about so many seconds.

    Each is received when its call has ended; second deliveries are on top.
    """
    calls = CallFactory(seed, first, calls_an_hour=count / CDRS_A_CALL / seconds * 3600)
    received_at_us = 0
    for post in make_posts(calls, seed, "mixed", count):
        message = read_body(post.body, post.content_type)
        elements = [element for element in message.elements if isinstance(element, Fields)]
        received_at_us = max(received_at_us + 1000, _end_of(post, elements))
        delivery_id = uuid4().hex
        for place, element in enumerate(elements):
            yield Delivery(
                delivery_id, place, received_at_us, ACCOUNT, message.format, element.fields, tuple(element.notes)
            )


def _end_of(post: Post, elements: list[Fields]) -> int:
    """Return when the last call of a post had ended, in microseconds since 1970."""
    ends = []
    for sent, element in zip(post.cdrs, elements, strict=True):
        names = ("duration", "dialtime", "seconds_waiting_in_queue")
        took = sum(int(str(element.fields.get(name) or 0)) for name in names)
        began = datetime.fromtimestamp(sent.time, UTC).replace(tzinfo=_ISRAEL)
        ends.append(int(began.timestamp() + took + 1) * 1_000_000)
    return max(ends)


def identities(deliveries: Iterable[Delivery]) -> set[bytes]:
    """Return the identities of the CDRs of some deliveries, as the worker computes them."""
    return {identify(read_cdr(each.account, each.received_at, each.fields, {}))[0] for each in deliveries}


def jobs_of(deliveries: Iterable[Delivery]) -> Iterator[NewJob]:
    """Put deliveries into jobs of full groups, as a busy receiver does."""
    for number, group in enumerate(groups(deliveries, MAX_GROUP_CDRS)):
        yield NewJob(CDRS, LOAD_CDRS, (group,), f"load {len(group)} CDRs, {number}")


def groups(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Split items into lists of `size`, the last one shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def put(redis: RedisClient, jobs: Iterable[NewJob]) -> None:
    """Queue jobs."""
    for group in groups(jobs, 20):
        with redis.pipeline(transaction=True) as pipeline:
            for command in chain.from_iterable(job.commands() for job in group):
                pipeline.execute_command(*command)
            pipeline.execute()


def wait_until_loaded(redis: RedisClient, cursor: psycopg.Cursor[Any], seconds: float = _SECONDS_TO_LOAD) -> None:
    """Return once no CDR waits or is in work, and every call is folded."""

    def loaded() -> bool:
        waiting = (redis.llen(queue_key(CDRS)), redis.llen(intermediate_key(CDRS)), redis.zcard(lease_key(CDRS)))
        return not any(waiting) and one(cursor, "SELECT count(*) FROM cdr.outbox WHERE kind = 'calls'") == 0

    wait_until(loaded, "the load of the backlog", seconds)


def check_rows(cursor: psycopg.Cursor[Any], wanted: set[bytes]) -> None:
    """Raise Failed unless every one of these CDRs is a row, and in a call that is folded."""
    missing = one(
        cursor,
        "SELECT count(*) FROM unnest(%s::bytea[]) AS w (identity) WHERE NOT EXISTS (SELECT FROM cdr.cdrs AS c"
        " JOIN cdr.calls AS k ON c.call_id = ANY(k.call_ids) AND k.call_key = coalesce("
        " (SELECT root_key FROM cdr.call_links AS l WHERE l.call_key = c.call_key), c.call_key)"
        " WHERE c.identity = w.identity)",
        [list(wanted)],
    )
    if missing:
        raise Failed(f"{missing} of {len(wanted)} CDRs are no row, or in no call")


def one(cursor: psycopg.Cursor[Any], query: str, values: Sequence[Any] = ()) -> Any:
    """Run a query of one row with one column, and return that."""
    row = cursor.execute(query.encode(), values).fetchone()
    if row is None:
        raise Failed(f"no row: {query}")
    return row[0]


def queued_call_ids(redis: RedisClient, after: int = 0) -> set[str]:
    """Return the call ids of the CDRs in the jobs that wait behind the first so many, and forget these jobs."""
    call_ids: set[str] = set()
    for job_id in redis.lrange(queue_key(CDRS), after, -1):
        job = CdrJob.fetch(job_id.decode(), redis)
        _version, batch = job.args
        call_ids.update(delivery.fields["ivruniqueid"] for delivery in batch)
        redis.delete(job.key)
    if after:
        redis.ltrim(queue_key(CDRS), 0, after - 1)
    else:
        redis.delete(queue_key(CDRS))
    return call_ids


def connected(server: Server) -> psycopg.Connection[Any]:
    """Connect to PostgreSQL, each statement by itself."""
    return psycopg.connect(server.url, autocommit=True)
