"""Tells whether the receiver lives, whether it can store, and what it counts."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api.metrics import Metrics, QueueState, SharedState
from api.redis_watch import RedisWatch
from common.errors import QueueUnavailable
from common.job_queue import COUNTERS_KEY, QUEUES, failed_key, job_key, queue_key
from common.queue_state import COUNTED
from common.redis_client import RedisClient, translated_async

# Whoever asks may not wait as long as Redis takes to be given up.
ANSWER_SECONDS = 1.0
_SHOWN = ("ack_level", "stores_in", "reason", "spool")


class Health:
    """The endpoints `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, watch: RedisWatch, questions: RedisClient, metrics: Metrics) -> None:
        self._watch = watch
        self._redis = questions
        self._metrics = metrics

    async def live(self, _request: Request) -> Response:
        """Answer 200 while the process serves requests."""
        return PlainTextResponse("ok\n")

    async def ready(self, _request: Request) -> Response:
        """Answer 200 when Redis takes a CDR durably now, else 503 with the reason and where CDRs go instead."""
        look = asyncio.ensure_future(self._watch.look())
        in_time, _ = await asyncio.wait({look}, timeout=ANSWER_SECONDS)
        state = self._watch.state()
        reason = state.reason if in_time else state.reason or "Redis does not answer at once"
        ready = reason is None
        body = {"ready": ready, **{name: getattr(state, name) for name in _SHOWN}, "reason": reason}
        return Response(msgspec.json.encode(body), 200 if ready else 503, media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        """Answer with the receiver's own counts and, when Redis answers, the state of the queues."""
        shared = None
        # What this process counted is still worth reporting; the missing gauges show that Redis is away.
        with suppress(QueueUnavailable), translated_async():
            shared = await self._read_shared()
        text = self._metrics.text(self._watch.state().spool, shared)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

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
        return SharedState(queues, {name: int(counters.get(name.encode(), 0)) for name in COUNTED})

    async def _age(self, job_id: bytes | None) -> float:
        if job_id is None:
            return 0.0
        try:
            enqueued_at: Any = await self._redis.hget(job_key(job_id.decode()), "enqueued_at")
            return max(0.0, time.time() - datetime.fromisoformat((enqueued_at or b"").decode()).timestamp())
        except ValueError:
            # Whoever may write to Redis may have written anything there.
            return 0.0
