"""Work that is in doubt: tried again later by itself, so that it holds up nobody, and given up when it keeps failing.

It is put off only while the database does the same for something harmless (worker/bisection.py), so what keeps failing is at
fault itself; a lock that somebody holds, or a disk that cannot read one block, is waited for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from common.errors import RefusedByDatabase
from common.job_queue import CDRS, NewJob
from common.redis_client import RedisClient, translated
from common.sqlstates import Decision, decide
from worker.bisection import Failed
from worker.scheduled_jobs import schedule

# Twelve minutes in all before it is set aside; what is waited for goes on at the last of these.
DELAYS_SECONDS = (30, 60, 120, 240, 300)
_REMEMBER_SECONDS = 86_400

_log = structlog.get_logger("worker.put_off")


def put_off(connection: RedisClient, function: str, held: list[Failed], key_of: Callable[[Any], str]) -> list[Failed]:
    """Schedule a job for each of the held parts, and return those that are given up instead.

    `key_of` names an item, the same at every run. Raises QueueUnavailable, when some may be scheduled already: they may be
    scheduled again.
    """
    given_up = []
    for each in held:
        key = key_of(each.items[0])
        tries = _count_try(connection, key)
        if tries > len(DELAYS_SECONDS) and len(each.items) == 1 and decide(each.error.sqlstate) is not Decision.HOLD:
            _forget(connection, key)
            refusal = RefusedByDatabase(str(each.error), each.error.sqlstate)
            refusal.__cause__ = each.error
            given_up.append(Failed(each.items, refusal))
            continue
        _schedule(connection, function, each.items, f"{key}-{tries}", _delay(tries))
        _log.warning("put off", count=len(each.items), tries=tries, error=str(each.error))
    return given_up


def _schedule(connection: RedisClient, function: str, items: list[Any], job_id: str, delay: timedelta) -> None:
    # Not under the id of an earlier try, which may be the job that runs at this moment.
    schedule(connection, NewJob(CDRS, function, (items,), f"put off {len(items)}", job_id), datetime.now(UTC) + delay)


def _delay(tries: int) -> timedelta:
    return timedelta(seconds=DELAYS_SECONDS[min(tries, len(DELAYS_SECONDS)) - 1])


def _count_try(connection: RedisClient, key: str) -> int:
    with translated(), connection.pipeline(transaction=True) as pipeline:
        pipeline.incr(_tries_key(key)).expire(_tries_key(key), _REMEMBER_SECONDS)
        return int(pipeline.execute()[0])


def _forget(connection: RedisClient, key: str) -> None:
    """Begin to count anew: a person who replays it has mended something."""
    with translated():
        connection.delete(_tries_key(key))


def _tries_key(key: str) -> str:
    return f"cdr:tries:{key}"
