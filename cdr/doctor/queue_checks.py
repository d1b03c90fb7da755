"""Checks of who works: workers on each queue, nothing that waits for long, receivers that store, and where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, info, ok, problem, warning
from cdr.doctor.redis_checks import opened_redis
from common.errors import QueueUnavailable
from common.job_queue import CDRS, QUEUES, scheduled_key
from common.queue_state import QueueState, read_queues, read_workers
from common.receiver_state import ReceiverState, read_receivers
from common.redis_client import RedisClient, translated

LONG_WAIT_SECONDS = 300
OVERDUE_SECONDS = 60
FULL_SHARE = 0.8


@contextmanager
def _opened() -> Iterator[RedisClient | Finding]:
    try:
        with opened_redis() as redis:
            yield redis if isinstance(redis, Finding) else redis.connection
    except QueueUnavailable:
        yield info("not checked: see redis.reachable")


def _queues(redis: RedisClient) -> list[QueueState]:
    return read_queues(redis, read_workers(redis))


def _workers(redis: RedisClient) -> Finding:
    queues = _queues(redis)
    idle = [queue.queue for queue in queues if not queue.workers]
    if CDRS in idle:
        return problem(f"none on {', '.join(idle)}", f"start: cdr worker {CDRS}")
    if idle:
        return warning(f"none on {', '.join(idle)}", f"start: cdr worker {idle[0]}")
    return ok(", ".join(f"{queue.workers} on {queue.queue}" for queue in queues))


def _oldest(redis: RedisClient) -> Finding:
    ages = {queue.queue: queue.oldest_seconds for queue in _queues(redis) if queue.oldest_seconds is not None}
    if not ages:
        return ok("nothing waits")
    told = ", ".join(f"{_age(seconds)} in {queue}" for queue, seconds in ages.items())
    if max(ages.values()) <= LONG_WAIT_SECONDS:
        return ok(f"oldest job: {told}")
    return warning(f"oldest job: {told}", "see whether workers run and PostgreSQL is well, or start more workers")


def _failed(redis: RedisClient) -> Finding:
    failed = {queue.queue: queue.failed for queue in _queues(redis) if queue.failed}
    if not failed:
        return ok("none")
    return warning(", ".join(f"{count} in {queue}" for queue, count in failed.items()), "look: cdr failed list")


def _due(redis: RedisClient) -> Finding:
    with translated():
        overdue = sum(redis.zcount(scheduled_key(queue), 0, time.time() - OVERDUE_SECONDS) for queue in QUEUES)
    if overdue:
        return problem(f"{overdue} jobs should have been moved to their queue by now", "start: cdr scheduler")
    return ok("no scheduled job is overdue")


def _heard_of(redis: RedisClient) -> Finding:
    receivers = read_receivers(redis)
    if receivers:
        return ok(", ".join(receiver.name for receiver in receivers))
    return warning("none told about itself in the last minute", "start: cdr receiver")


def _of_receivers(check: Callable[[list[ReceiverState]], Finding]) -> Callable[[RedisClient], Finding]:
    def run(redis: RedisClient) -> Finding:
        receivers = read_receivers(redis)
        return check(receivers) if receivers else info("not checked: see receivers.heard_of")

    return run


def _stores(receivers: list[ReceiverState]) -> Finding:
    at_fault = [receiver for receiver in receivers if receiver.stores_in == "nothing"]
    if at_fault:
        return problem(f"nothing is stored by {_told(at_fault)}", "mend the reason: until then the answer is 503")
    if spooling := [receiver for receiver in receivers if receiver.stores_in == "spool"]:
        return warning(f"in its spool stores {_told(spooling)}", "mend the reason: a spool has a bound")
    return ok("all in Redis")


def _told(receivers: list[ReceiverState]) -> str:
    return "; ".join(
        f"{receiver.name} ({receiver.reason or 'no reason given'}{_waiting(receiver)})" for receiver in receivers
    )


def _waiting(receiver: ReceiverState) -> str:
    spool = receiver.spool
    if spool is None or spool.oldest_seconds is None:
        return ""
    return f"; {spool.cdrs} CDRs spooled, the oldest {_age(spool.oldest_seconds)} ago"


def _spools(receivers: list[ReceiverState]) -> Finding:
    if broken := [f"{each.name} ({each.spool.problem})" for each in receivers if each.spool and each.spool.problem]:
        return problem(f"cannot be written: {'; '.join(broken)}", "mend its disk: with Redis away the answer is 503")
    if damaged := [
        f"{each.name} ({'; '.join(each.spool.damaged)})" for each in receivers if each.spool and each.spool.damaged
    ]:
        return warning(
            f"damaged, and drained from where they are: {'; '.join(damaged)}",
            "look at the disk; what cannot be read is moved aside once the rest is in Redis",
        )
    if without := [each.name for each in receivers if each.spool is None]:
        return warning(f"{', '.join(without)} has none: with Redis away the answer is 503", "set CDR_SPOOL_DIR")
    if full := [each.name for each in receivers if each.spool and _share(each) >= FULL_SHARE]:
        return warning(
            f"{', '.join(full)} has used over {FULL_SHARE:.0%} of its spool", "see why Redis takes nothing: cdr status"
        )
    return ok(f"{sum(each.spool.cdrs for each in receivers if each.spool)} CDRs wait in spools")


def _share(receiver: ReceiverState) -> float:
    spool = receiver.spool
    return spool.bytes / spool.max_bytes if spool and spool.max_bytes else 0.0


def _age(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


QUEUES_AND_RECEIVERS: Section[RedisClient] = Section(
    _opened,
    {
        "queues.workers": _workers,
        "queues.oldest": _oldest,
        "queues.failed": _failed,
        "queues.due": _due,
        "receivers.heard_of": _heard_of,
        "receivers.store": _of_receivers(_stores),
        "receivers.spool": _of_receivers(_spools),
    },
)
