"""What each receiver tells about itself in Redis, so that `cdr status` and `cdr doctor` see the spools of all hosts.

A receiver that was not heard of for `FORGET_SECONDS` is not listed; what it spooled is on its disk all the same.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from common.redis_client import RedisClient, translated

RECEIVERS_KEY = "cdr:receivers"
FORGET_SECONDS = 60


class SpoolState(msgspec.Struct, frozen=True):
    """A receiver's spool: what waits in it, its bound and how long its oldest entry has waited.

    `problem` says why nothing can be spooled, None when something can. `damaged` tells of files that are damaged and
    cannot be copied, each drained from where it is.
    """

    entries: int = 0
    cdrs: int = 0
    bytes: int = 0
    max_bytes: int = 0
    oldest_seconds: float | None = None
    problem: str | None = None
    damaged: list[str] = []


class ReceiverState(msgspec.Struct, frozen=True):
    """A receiver: where it stores what comes now, why not in Redis if so, and its spool if it has one.

    `at` is when it said so, in seconds since the epoch by its own clock.
    """

    name: str
    at: float
    ack_level: str
    stores_in: Literal["redis", "spool", "nothing"]
    reason: str | None
    spool: SpoolState | None


def receiver_key(name: str) -> str:
    """Return the key under which a receiver tells about itself."""
    return f"cdr:receiver:{name}"


def publish_commands(state: ReceiverState) -> list[tuple[Any, ...]]:
    """Return the Redis commands that publish a receiver's state, to be sent in one MULTI."""
    return [
        ("SET", receiver_key(state.name), msgspec.json.encode(state), "EX", FORGET_SECONDS),
        ("ZADD", RECEIVERS_KEY, state.at, state.name),
        ("ZREMRANGEBYSCORE", RECEIVERS_KEY, 0, state.at - FORGET_SECONDS),
    ]


def read_receivers(connection: RedisClient) -> list[ReceiverState]:
    """Read what the receivers told lately, by name; raises QueueUnavailable."""
    with translated():
        names: list[bytes] = connection.zrangebyscore(RECEIVERS_KEY, time.time() - FORGET_SECONDS, "+inf")
        told = connection.mget([receiver_key(name.decode()) for name in names]) if names else []
    return sorted(filter(None, map(_read, told)), key=lambda state: state.name)


def _read(text: bytes | None) -> ReceiverState | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=ReceiverState)
    except msgspec.DecodeError:
        # A newer release may tell it in another form.
        return None
