"""Makes CDRs into jobs as the receiver writes them, queues these, and reads what it queued itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, TypeVar
from uuid import uuid4

from api.group_commit import MAX_GROUP_CDRS, Entries, GroupCommit
from api.post import Post as Received
from api.post import delivery
from benchmarks.traffic import ACCOUNT, simulated_posts
from cdr.simulate.traffic import Post, SentCdr, TrafficFormat
from common.delivery import Delivery
from common.identity import cdr_identity
from common.job_queue import CDRS, LOAD_CDRS, CdrJob, NewJob, queue_key
from common.redis_client import RedisClient
from common.wire import read_body

_Item = TypeVar("_Item")


class Backlog(NamedTuple):
    """CDRs that wait: their jobs, how many deliveries these hold, the identities of the CDRs, and the size of the bodies."""

    jobs: list[NewJob]
    deliveries: int
    identities: set[bytes]
    body_bytes: int


def backlog(count: int, seed: int, senders: int, traffic_format: TrafficFormat = "mixed") -> Backlog:
    """Make the jobs that the receiver's own group commit writes of `count` CDRs, with so many senders at a time."""
    posts = list(simulated_posts(count, seed, traffic_format))
    jobs = asyncio.run(_committed(map(_entries, posts), senders))
    identities = {_identity(sent) for post in posts for sent in post.cdrs}
    return Backlog(jobs, sum(len(post.cdrs) for post in posts), identities, sum(len(post.body) for post in posts))


def _identity(sent: SentCdr) -> bytes:
    extensions = sent.caller_extension, sent.target_extension
    return cdr_identity(ACCOUNT, sent.call_id, sent.call_type, sent.time, *extensions)


def _entries(post: Post) -> Entries:
    """Read a post as the receiver does."""
    received = Received(ACCOUNT, time.time_ns() // 1000, uuid4().hex, None, post.body)
    message = read_body(post.body, post.content_type)
    elements = enumerate(message.elements)
    return Entries([delivery(received, message.format, place, element) for place, element in elements], [])


class _Collected:
    """The store of a group commit that keeps the jobs here; the next senders come while it is written."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []

    async def write(self, jobs: Sequence[NewJob]) -> None:
        self.jobs += jobs
        # Senders that got their answer have to be heard, and to send again, before the next group is taken.
        for _ in range(3):
            await asyncio.sleep(0)


async def _committed(posts: Iterable[Entries], senders: int) -> list[NewJob]:
    store = _Collected()
    commit = GroupCommit(store)
    await commit.start()
    remaining = iter(posts)

    async def send() -> None:
        for entries in remaining:
            await commit.store(entries)

    await asyncio.gather(*(send() for _ in range(senders)))
    await commit.stop()
    return store.jobs


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
