"""Makes simulated CDRs of the last hour, and a backlog of them in the jobs that a receiver writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from api.group_commit import Entries, GroupCommit
from api.post import Post as Received
from api.post import delivery
from cdr.simulate.calls import CDRS_A_CALL, CallFactory
from cdr.simulate.traffic import Post, SentCdr, TrafficFormat, make_posts
from common.identity import cdr_identity
from common.job_queue import NewJob
from common.wire import read_body

ACCOUNT = "default"


class Backlog(NamedTuple):
    """CDRs that wait: their jobs, how many deliveries these hold, the identities of the CDRs, and the size of the bodies."""

    jobs: list[NewJob]
    deliveries: int
    identities: set[bytes]
    body_bytes: int


def simulated(count: int, seed: int, traffic_format: TrafficFormat = "mixed") -> Iterator[Post]:
    """Make the posts of `count` CDRs of the last hour, which have their partition; second deliveries are on top."""
    start = datetime.now(UTC) - timedelta(hours=1)
    return make_posts(CallFactory(seed, start, calls_an_hour=count / CDRS_A_CALL), seed, traffic_format, count)


def backlog(count: int, seed: int, senders: int, traffic_format: TrafficFormat = "mixed") -> Backlog:
    """Make the jobs that the receiver's own group commit writes of `count` CDRs, with so many senders at a time."""
    posts = list(simulated(count, seed, traffic_format))
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
