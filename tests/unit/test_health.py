"""Whether the receiver says that it could store, for each state of Redis that it may meet."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from api.health import Health
from api.metrics import Metrics
from common.settings import RedisSettings

GOOD = {"aof_enabled": 1, "aof_last_write_status": "ok", "maxmemory": 0, "maxmemory_policy": "noeviction"}


class FakeRedis:
    """Answers INFO with `state`, and WAITAOF with an error if there is one."""

    def __init__(self, state: dict[str, Any], error: redis.RedisError | None = None) -> None:
        self.state = state
        self.error = error

    async def info(self) -> dict[str, Any]:
        return self.state

    async def execute_command(self, *_: object) -> list[int]:
        if self.error is not None:
            raise self.error
        return [1, 0]


def reason(fake: FakeRedis, level: str = "fsync") -> str | None:
    settings = RedisSettings(redis_url=SecretStr("redis://x.invalid"), ack_level=level)  # type: ignore[arg-type]
    health = Health(settings, fake, Metrics())
    response = asyncio.run(health.ready(None))  # type: ignore[arg-type]
    told = json.loads(bytes(response.body))["reason"]
    assert response.status_code == (200 if told is None else 503)
    return None if told is None else str(told)


@pytest.mark.parametrize("level", ["fsync", "redis"])
def test_a_good_redis_is_ready(level: str) -> None:
    assert reason(FakeRedis(GOOD), level) is None


@pytest.mark.parametrize("level", ["fsync", "redis"])
def test_a_disk_that_is_full_is_not_ready(level: str) -> None:
    assert (
        reason(FakeRedis({**GOOD, "aof_last_write_status": "err"}), level) == "Redis cannot write its append-only file"
    )


def test_a_redis_that_cannot_be_asked_to_confirm_is_not_ready() -> None:
    old = FakeRedis(GOOD, redis.ResponseError("unknown command 'WAITAOF'"))
    assert reason(old) == "Redis: unknown command 'WAITAOF'"


def test_at_level_redis_nothing_needs_to_confirm() -> None:
    assert reason(FakeRedis({**GOOD, "aof_enabled": 0}, redis.ResponseError("unknown command")), "redis") is None


def test_without_an_append_only_file_it_is_not_ready() -> None:
    assert "append-only file off" in str(reason(FakeRedis({**GOOD, "aof_enabled": 0})))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_bounded_redis_that_evicts_is_not_ready(policy: str) -> None:
    assert policy in str(reason(FakeRedis({**GOOD, "maxmemory": 1, "maxmemory_policy": policy})))


def test_without_a_bound_nothing_is_evicted() -> None:
    assert reason(FakeRedis({**GOOD, "maxmemory_policy": "allkeys-lru"})) is None
