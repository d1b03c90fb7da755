"""How much work a CDR makes, in counts that no machine changes: a tenth more of any of them fails.

Commands, statements and transactions fail when they fall by a tenth too: then the count is lowered here, so that it cannot creep
back. How many Python functions are called hangs on the Python, so of these only more fails.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import redis
from command_line import Product, product
from loading import delivery, leg
from redis.connection import AbstractConnection

from api.admission import Admission
from api.durable_queue import DurableQueue
from api.group_commit import GroupCommit
from api.guards import Accounts
from api.metrics import Metrics
from api.usual_post import UsualPost
from cdr.simulate.run import SimulateOptions, posts_of
from cdr.simulate.traffic import Post
from common.settings import AccountDefaults, ReceiverSettings, RedisSettings
from worker import leases, signs_of_life
from worker.accounts import Accounts as AccountSettings
from worker.extension_directory import ExtensionDirectory
from worker.phone_numbers import describe_number
from worker.pipeline import Knowledge, enrich

__all__ = ["product"]

CDRS = 100
SECRET = "a-secret-of-an-account"

# Of a group of posts, all of them together.
REDIS_COMMANDS_A_GROUP = 7
# Of one job with 100 new CDRs, from the worker's start to its end.
REDIS_COMMANDS_A_JOB = 52
SQL_STATEMENTS_A_JOB = 18
# Savepoints among them, and those of what follows the load.
TRANSACTIONS_A_JOB = 6
# Of one job, and of its worker's start and end: what the main thread waits for, be it several commands.
REDIS_TRIPS_A_JOB = 11
# Of each CDR, with what is remembered of those before it. Python 3.12 and newer make fewer.
PYTHON_CALLS_A_POST = 24
PYTHON_CALLS_AN_ENRICHMENT = 49
# Of a number that is not remembered, in the form most sent.
PYTHON_CALLS_A_NUMBER = 17


def is_kept(count: float, known: float) -> bool:
    """Tell whether a count is what it was; the message of a failed assertion shows both."""
    return 0.9 * known <= count <= 1.1 * known


def usual_posts(count: int) -> list[Post]:
    posts = posts_of(SimulateOptions(count=10 * count, format="json", seed=3))
    return [post for post in posts if len(post.cdrs) == 1 and not post.body.startswith(b"[")][:count]


def take_all(way: UsualPost, posts: list[Post]) -> None:
    for post in posts:
        headers = [(b"content-type", post.content_type.encode())]
        assert way.take(f"/cdr/{SECRET}".encode(), headers, post.body, lambda _: None)


def usual_way(commit: GroupCommit) -> UsualPost:
    settings = ReceiverSettings(receiver_secrets=f"acme:{SECRET}")
    return UsualPost(settings, Accounts(settings), Admission(), commit, Metrics())


def commands(url: str) -> int:
    """Return how many commands Redis has carried out, but for those that ask how it is."""
    with redis.Redis.from_url(url) as client:
        stats: dict[str, Any] = client.info("commandstats")
    aside = {"cmdstat_info", "cmdstat_auth", "cmdstat_hello", "cmdstat_client|setinfo", "cmdstat_select"}
    return sum(each["calls"] for name, each in stats.items() if name not in aside)


def calls_of(work: Callable[[], object]) -> int:
    """Count the Python functions that are called."""
    counts: Counter[str] = Counter()

    def note(_frame: Any, event: str, _argument: Any) -> None:
        counts[event] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts["call"]


def test_a_group_of_posts_is_a_handful_of_redis_commands(redis_url: str) -> None:
    async def scenario() -> int:
        queue = DurableQueue(RedisSettings(redis_url=redis_url))  # type: ignore[arg-type]
        commit = GroupCommit(queue)
        take_all(usual_way(commit), usual_posts(CDRS))
        before = commands(redis_url)
        await commit.start()
        await commit.stop()
        await queue.close()
        return commands(redis_url) - before

    count = asyncio.run(scenario())
    assert is_kept(count, REDIS_COMMANDS_A_GROUP), count


def test_a_job_is_a_bounded_number_of_commands_and_statements(
    product: Product, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: Counter[str] = Counter()
    transactions: Counter[str] = Counter()
    for name in ("execute", "executemany", "copy"):
        _count_calls(monkeypatch, psycopg.Cursor, name, statements)
    _count_calls(monkeypatch, psycopg.Connection, "transaction", transactions)
    product.enqueue([delivery(leg(f"c{number}", caller="0500000000")) for number in range(CDRS)])
    before = commands(redis_url), statements.total(), transactions.total()
    product.work()
    after = commands(redis_url), statements.total(), transactions.total()
    assert product.count("cdr.cdrs") == CDRS
    made = [late - early for early, late in zip(before, after, strict=True)]
    for count, known in zip(made, (REDIS_COMMANDS_A_JOB, SQL_STATEMENTS_A_JOB, TRANSACTIONS_A_JOB), strict=True):
        assert is_kept(count, known), made


def _count_calls(monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str, counts: Counter[str]) -> None:
    original = getattr(owner, name)

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        counts[name] += 1
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, name, counted)


def test_a_job_waits_for_few_trips_to_redis(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is done once: connections, and scripts that Redis does not know yet.
    product.enqueue([delivery(leg("first"))])
    product.work()
    trips: Counter[threading.Thread] = Counter()
    send = AbstractConnection.send_packed_command

    def send_counted(self: Any, *arguments: Any, **options: Any) -> Any:
        trips[threading.current_thread()] += 1
        return send(self, *arguments, **options)

    worker = product.worker()
    product.enqueue([delivery(leg("second"))])
    monkeypatch.setattr(AbstractConnection, "send_packed_command", send_counted)
    # What a worker tells every few seconds depends on the machine.
    monkeypatch.setattr(signs_of_life, "HEARTBEAT_SECONDS", 3600.0)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 3600.0)
    worker.work(burst=True, max_jobs=1, logging_level="CRITICAL")
    assert product.count("cdr.cdrs") == 2
    assert trips[threading.main_thread()] == REDIS_TRIPS_A_JOB


def test_taking_a_post_calls_few_functions() -> None:
    posts = usual_posts(2 * CDRS)
    way = usual_way(GroupCommit(DurableQueue(RedisSettings(redis_url="redis://127.0.0.1:1/0"))))  # type: ignore[arg-type]
    take_all(way, posts[:CDRS])
    calls = calls_of(lambda: take_all(way, posts[CDRS:])) / CDRS
    assert calls <= 1.1 * PYTHON_CALLS_A_POST, calls


def test_enriching_a_cdr_calls_few_functions() -> None:
    knowledge = Knowledge(AccountSettings(AccountDefaults()), ExtensionDirectory())
    deliveries = [
        delivery(leg(f"c{number}", caller="0500000000", target="037771000", did="037771000", callerextension="a"))
        for number in range(2 * CDRS)
    ]
    for each in deliveries[:CDRS]:
        enrich([each], knowledge)
    calls = calls_of(lambda: [enrich([each], knowledge) for each in deliveries[CDRS:]]) / CDRS
    assert calls <= 1.1 * PYTHON_CALLS_AN_ENRICHMENT, calls


def test_describing_a_number_for_the_first_time_calls_few_functions() -> None:
    numbers = [f"97250555{number:04d}" for number in range(2 * CDRS)]
    for each in numbers[:CDRS]:
        describe_number(each, "IL")
    calls = calls_of(lambda: [describe_number(each, "IL") for each in numbers[CDRS:]]) / CDRS
    assert calls <= 1.1 * PYTHON_CALLS_A_NUMBER, calls
