"""Checks of Redis: it confirms its fsync, evicts nothing, has room, and keeps the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cdr.doctor.clock import clock_finding
from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, info, ok, problem, settings_of, warning
from common.ack_gate import MEANING, memory_share, reasons_against, why_it_cannot_keep
from common.errors import QueueUnavailable
from common.redis_client import RedisClient, connect, translated
from common.settings import RedisSettings

TIMEOUT_SECONDS = 4.0
# The receiver waits for four fifths of CDR_ACK_TIMEOUT_MS; longer than this a check does not.
_LONGEST_CONFIRMATION_MS = 3000
_TRIAL_SECONDS = 10


@dataclass(frozen=True)
class RedisServer:
    """The server, what it says of itself, and what is asked of it."""

    settings: RedisSettings
    connection: RedisClient
    info: Mapping[str, Any]

    @property
    def against(self) -> dict[str, str]:
        """Why nothing can be acknowledged on its word, by what the reason is about."""
        return reasons_against(self.info, self.settings.ack_level)


@contextmanager
def opened_redis() -> Iterator[RedisServer | Finding]:
    """Give the server of the settings, or why there is none to check; raises QueueUnavailable."""
    settings = settings_of(RedisSettings, "settings.redis")
    if isinstance(settings, Finding):
        yield settings
        return
    connection = connect(settings.redis_url.get_secret_value(), TIMEOUT_SECONDS, retries=0)
    try:
        with translated():
            # Not PING: a Redis that cannot write its file refuses even that, and here it can still say so.
            described = connection.info()
        server = RedisServer(settings, connection, described)
        if loading := server.against.get("loading"):
            raise QueueUnavailable(loading)
        yield server
    finally:
        connection.close()


def _reachable(redis: RedisServer) -> Finding:
    name = "Valkey" if "valkey_version" in redis.info else "Redis"
    return ok(f"{name} {redis.info.get('valkey_version') or redis.info.get('redis_version')} answers")


def _ack_level(redis: RedisServer) -> Finding:
    level = redis.settings.ack_level
    if level == "fsync":
        return ok(f"acknowledged means: {MEANING[level]}")
    return warning(f"acknowledged means: {MEANING[level]}", "CDR_ACK_LEVEL=fsync, where Redis knows WAITAOF")


def _no_reason(about: str, well: str, advice: str) -> Callable[[RedisServer], Finding]:
    def check(redis: RedisServer) -> Finding:
        reason = redis.against.get(about)
        return ok(well) if reason is None else problem(reason, advice)

    return check


def _aof(redis: RedisServer) -> Finding:
    if reason := redis.against.get("aof"):
        return problem(reason, "set appendonly yes; where it cannot be, CDR_ACK_LEVEL=redis promises less")
    if not redis.info.get("aof_enabled"):
        return warning("off: what is queued is lost when Redis ends", "set appendonly yes")
    return ok("on")


def _appendfsync(redis: RedisServer) -> Finding:
    if not redis.info.get("aof_enabled"):
        return info("not checked: see redis.aof")
    try:
        with translated():
            answer = redis.connection.config_get("appendfsync")
    except QueueUnavailable:
        return info("this Redis does not tell: CONFIG is closed")
    chosen = answer.get("appendfsync")
    if chosen == "always":
        return ok("always")
    return warning(f"{chosen}: an acknowledgement waits for the next fsync", "set appendfsync always")


def _confirms(redis: RedisServer) -> Finding:
    if redis.settings.ack_level != "fsync":
        return info("not asked for at CDR_ACK_LEVEL=redis")
    if why_it_cannot_keep(redis.info, "fsync"):
        return info(f"not tried: see {', '.join(f'redis.{about}' for about in redis.against)}")
    try:
        (local, _), seconds = _write_and_wait(redis, 0)
    except QueueUnavailable as error:
        return problem(
            f"a write was not confirmed: {error}",
            "use Redis 7.2 or Valkey, or CDR_ACK_LEVEL=redis, which promises less",
        )
    if local < 1:
        return problem(
            f"a write was not on disk after {seconds:.1f} s", "see whether the disk of Redis is slow or full"
        )
    return ok(f"a write was on disk after {seconds * 1000:.0f} ms")


def _replicas(redis: RedisServer) -> Finding:
    wanted = redis.settings.ack_replicas
    if not wanted or redis.settings.ack_level != "fsync":
        return info("none asked for")
    if redis.against:
        return info(f"not tried: see {', '.join(f'redis.{about}' for about in redis.against)}")
    (_, confirmed), seconds = _write_and_wait(redis, wanted)
    if confirmed < wanted:
        return problem(
            f"{confirmed} of {wanted} replicas had a write on their disk after {seconds:.1f} s",
            "see whether the replicas are connected and have appendonly yes, or lower CDR_ACK_REPLICAS",
        )
    return ok(f"{confirmed} had a write on their disk after {seconds * 1000:.0f} ms")


def _write_and_wait(redis: RedisServer, replicas: int) -> tuple[list[int], float]:
    """Write a key that expires by itself; return how many confirmed it, here and on replicas, and after how long."""
    wait = min(int(redis.settings.ack_timeout_ms * 0.8), _LONGEST_CONFIRMATION_MS)
    began = time.monotonic()
    # One pipeline is one connection: asked on another, WAITAOF would confirm nothing.
    with translated(), redis.connection.pipeline(transaction=False) as pipeline:
        pipeline.set(f"cdr:doctor:{uuid4().hex}", "1", ex=_TRIAL_SECONDS)
        pipeline.execute_command("WAITAOF", 1, replicas, wait)
        confirmed: list[int] = pipeline.execute()[1]
    return confirmed, time.monotonic() - began


def _memory(redis: RedisServer) -> Finding:
    share, mark = memory_share(redis.info), redis.settings.redis_memory_mark
    if share is None:
        return warning(
            "no maxmemory is set: a backlog may take the whole machine, and CDR_REDIS_MEMORY_MARK does nothing",
            "set maxmemory",
        )
    if share >= mark:
        return problem(
            f"{share:.0%} of maxmemory is used: from {mark:.0%} on CDRs go to the spool, and at 100% workers stand still",
            "see why workers do not keep up (cdr status), or raise maxmemory",
        )
    return ok(f"{share:.0%} of maxmemory is used; from {mark:.0%} on CDRs go to the spool")


def _clock(redis: RedisServer) -> Finding:
    def ask() -> float:
        with translated():
            seconds, microseconds = redis.connection.time()
        return float(seconds) + float(microseconds) / 1_000_000

    return clock_finding(ask)


REDIS = Section(
    opened_redis,
    {
        "redis.reachable": _reachable,
        "redis.ack_level": _ack_level,
        "redis.role": _no_reason("role", "takes writes", "name the primary in CDR_REDIS_URL"),
        "redis.aof": _aof,
        "redis.aof_write": _no_reason(
            "aof_write", "the last write to the append-only file went well", "free its disk; see the log of Redis"
        ),
        "redis.appendfsync": _appendfsync,
        "redis.eviction": _no_reason("eviction", "no queued job is evicted", "set maxmemory-policy noeviction"),
        "redis.memory": _memory,
        "redis.confirms": _confirms,
        "redis.replicas": _replicas,
        "redis.clock": _clock,
    },
)
