"""Tells whether the receiver lives, whether it can store, and what it counts."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from api.metrics import Metrics, QueueState, SharedState
from common.errors import QueueUnavailable
from common.job_queue import COUNTERS_KEY, QUEUES, failed_key, job_key, queue_key
from common.redis_client import RedisClient, translated
from common.settings import RedisSettings


class Health:
    """The endpoints `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, settings: RedisSettings, redis: RedisClient, metrics: Metrics) -> None:
        self._level = settings.ack_level
        self._redis = redis
        self._metrics = metrics

    async def live(self, _request: Request) -> Response:
        """Answer 200 while the process serves requests."""
        return PlainTextResponse("ok\n")

    async def ready(self, _request: Request) -> Response:
        """Answer 200 when a CDR could be stored durably now, else 503 with the reason."""
        reason = await self._why_not_ready()
        body = {"ready": reason is None, "ack_level": self._level, "reason": reason}
        return JSONResponse(body, status_code=200 if reason is None else 503)

    async def _why_not_ready(self) -> str | None:
        try:
            with translated():
                state = await self._redis.info()
                if self._level == "fsync" and state.get("aof_enabled"):
                    # A server too old for the question, or a replica, says so: it could not confirm a write either.
                    await self._redis.execute_command("WAITAOF", 1, 0, 1)
        except QueueUnavailable as error:
            return str(error)
        return self._what_is_wrong(state)

    def _what_is_wrong(self, state: Any) -> str | None:
        if self._level == "fsync" and not state.get("aof_enabled"):
            return "Redis has its append-only file off: it cannot confirm that a CDR is on disk"
        if state.get("aof_last_write_status", "ok") != "ok":
            return "Redis cannot write its append-only file"
        if state.get("maxmemory") and state.get("maxmemory_policy") != "noeviction":
            return f"Redis evicts keys (maxmemory-policy {state['maxmemory_policy']}): queued CDRs would vanish"
        return None

    async def metrics(self, _request: Request) -> Response:
        """Answer with the receiver's own counts and, when Redis answers, the state of the queues."""
        shared = None
        # What this process counted is still worth reporting; the missing gauges show that Redis is away.
        with suppress(QueueUnavailable), translated():
            shared = await self._read_shared()
        return Response(self._metrics.text(shared), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _read_shared(self) -> SharedState:
        pipeline: Any = self._redis.pipeline(transaction=False)
        for queue in QUEUES:
            pipeline.llen(queue_key(queue)).zcard(failed_key(queue)).lindex(queue_key(queue), 0)
        *replies, counters = await pipeline.hgetall(COUNTERS_KEY).execute()
        states = zip(replies[0::3], replies[1::3], replies[2::3], strict=True)
        queues = {
            queue: QueueState(jobs, failed, await self._age(oldest))
            for queue, (jobs, failed, oldest) in zip(QUEUES, states, strict=True)
        }
        return SharedState(queues, int(counters.get(b"loaded", 0)), int(counters.get(b"refused", 0)))

    async def _age(self, job_id: bytes | None) -> float:
        if job_id is None:
            return 0.0
        enqueued_at: Any = await self._redis.hget(job_key(job_id.decode()), "enqueued_at")
        if enqueued_at is None:
            return 0.0
        return max(0.0, time.time() - datetime.fromisoformat(enqueued_at.decode()).timestamp())
