"""What a failed job carries: the calls and the CDRs in its payload, and the traceback of its latest failure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from common.cdr import find_call_id
from common.delivery import Delivery
from common.errors import NotACdr
from common.job_queue import LOAD_CDRS, RUN_HOOK, CdrJob, job_key, read_call
from common.redis_client import RedisClient, translated


@dataclass(frozen=True)
class Details:
    """One failed job in full.

    `cdrs` are the deliveries of a job that loads CDRs, as objects with `fields` as sent; the `arguments` of any other
    job are given as they are.
    """

    function: str | None
    traceback: str | None
    cdrs: list[dict[str, Any]]
    arguments: list[Any]


def read_details(connection: RedisClient, job_id: str) -> Details:
    """Read what a job carries, as far as it is one of ours; raises QueueUnavailable."""
    with translated():
        data = connection.hget(job_key(job_id), "data")
    traceback = read_traceback(connection, job_id)
    try:
        function, arguments = read_call(data or b"")
    except (ValueError, RecursionError):
        return Details(None, traceback, [], [])
    if function != LOAD_CDRS:
        return Details(function, traceback, [], arguments)
    return Details(function, traceback, [_named(each) for each in _deliveries(arguments)], [])


def read_traceback(connection: RedisClient, job_id: str) -> str | None:
    """Return the traceback of a job's latest failure; None when RQ has kept none, or none that can be read.

    Raises QueueUnavailable.
    """
    try:
        with translated():
            latest = CdrJob(job_id, connection=connection).latest_result()
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
        return None
    return latest.exc_string if latest is not None else None


def call_ids_of(data: bytes) -> list[str]:
    """Return the ids of the calls in a job's data, each once, in order; none for a job that fetches recordings."""
    try:
        function, arguments = read_call(data)
        if function == RUN_HOOK:
            return [str(arguments[1]["call_id"])]
        if function != LOAD_CDRS:
            return []
        return list(dict.fromkeys(find_call_id(delivery[5]) for delivery in arguments[1]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, NotACdr):
        return []


def _deliveries(arguments: list[Any]) -> list[Any]:
    batch = arguments[1] if len(arguments) > 1 else []
    return batch if isinstance(batch, list) else []


def _named(delivery: Any) -> dict[str, Any]:
    """Give the values of a delivery their names; one that a later release wrote otherwise is shown as it is."""
    try:
        known = msgspec.convert(delivery, Delivery)
    except msgspec.ValidationError:
        return {"delivery": delivery}
    return {"received_at": known.received_at, **msgspec.structs.asdict(known)}
