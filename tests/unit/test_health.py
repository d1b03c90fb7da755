"""What a health check is told while Redis says nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api import health
from api.health import Health
from api.metrics import Metrics
from common.receiver_state import ReceiverState


class SilentWatch:
    """A watch whose question to Redis is never answered."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason

    async def look(self) -> str | None:
        await asyncio.Event().wait()
        return None

    def state(self) -> ReceiverState:
        return ReceiverState("receiver", 0.0, "fsync", "redis", self.reason, None)


@pytest.mark.parametrize(
    ("known", "told"), [(None, "Redis does not answer at once"), ("Redis is a slave", "Redis is a slave")]
)
def test_a_health_check_does_not_wait_as_long_as_redis_takes(
    monkeypatch: pytest.MonkeyPatch, known: str | None, told: str
) -> None:
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.01)

    async def scenario() -> Any:
        watch: Any = SilentWatch(known)
        request: Any = None
        return await Health(watch, None, Metrics()).ready(request)

    response = asyncio.run(scenario())
    assert response.status_code == 503
    assert json.loads(response.body)["reason"] == told
