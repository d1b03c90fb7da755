"""Watches Redis: whether its word that a CDR is safe can be trusted now, and if not, why and until when.

A write that fails closes the gate at once; it opens again when Redis describes itself as fit and has confirmed a small
write. That write is what this receiver tells about itself, for `cdr status`.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from api.durable_queue import DurableQueue
from common.ack_gate import memory_share, why_it_cannot_keep
from common.errors import QueueUnavailable
from common.receiver_state import ReceiverState, SpoolState, publish_commands
from common.redis_client import RedisClient, translated_async
from common.settings import RedisSettings

LOOK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.5
PUBLISH_SECONDS = 5.0

_log = structlog.get_logger("api.redis_watch")


class RedisWatch:
    """The gate: `reason` is None while Redis may be written to, else it says why not."""

    def __init__(self, settings: RedisSettings, questions: RedisClient, spool: Callable[[], SpoolState | None]) -> None:
        self.reason: str | None = "Redis was not asked yet"
        self.ack_level = settings.ack_level
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._mark = settings.redis_memory_mark
        self._questions = questions
        self._writes = DurableQueue(settings)
        self._spool = spool
        self._publish_due = 0.0
        self._looked_at = -math.inf
        self._asking = asyncio.Lock()
        self._closed = asyncio.Event()

    def distrust(self, reason: str) -> None:
        """Close the gate: a write failed or was not confirmed."""
        self._settle(reason)
        self._closed.set()

    async def run(self) -> None:
        """Look at Redis again and again, soon after the gate was closed, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self.reason is None else LOOK_AGAIN_SECONDS):
                    await self._closed.wait()
            self._closed.clear()
            await self.look()

    async def look(self) -> str | None:
        """Ask Redis now, and return why it may not be written to, or None. Those who wait meanwhile get one answer."""
        came = time.monotonic()
        async with self._asking:
            if self._looked_at >= came:
                return self.reason
            self._looked_at = time.monotonic()
            try:
                reason = await self._ask()
                await self._publish(reason)
            except QueueUnavailable as error:
                reason = str(error)
            self._settle(reason)
            return reason

    def state(self) -> ReceiverState:
        """Return what this receiver tells about itself."""
        return self._state(self.reason)

    async def close(self) -> None:
        """Close the connection."""
        await self._writes.close()

    async def _ask(self) -> str | None:
        with translated_async():
            info: Any = await self._questions.info()
        share = memory_share(info)
        reason = why_it_cannot_keep(info, self.ack_level)
        if reason is None and share is not None and share >= self._mark:
            return f"Redis uses {share:.0%} of its memory: from {self._mark:.0%} on CDRs are not left with it"
        return reason

    async def _publish(self, reason: str | None) -> None:
        """Tell about this receiver, and with it try whether Redis confirms a write, when the gate may open or it is time."""
        opens = reason is None and self.reason is not None
        if not opens and time.monotonic() < self._publish_due:
            return
        try:
            await self._writes.commit(publish_commands(self._state(reason)))
        except QueueUnavailable:
            # While there is another reason, that one is told.
            if reason is None:
                raise
            return
        self._publish_due = time.monotonic() + PUBLISH_SECONDS

    def _settle(self, reason: str | None) -> None:
        if (reason is None) != (self.reason is None):
            self._publish_due = 0.0
            if reason is None:
                _log.info("Redis takes CDRs")
            else:
                _log.warning("Redis takes no CDRs", reason=reason)
        self.reason = reason

    def _state(self, reason: str | None) -> ReceiverState:
        spool = self._spool()
        spools = spool is not None and spool.problem is None
        place: Any = "redis" if reason is None else "spool" if spools else "nothing"
        return ReceiverState(self.name, time.time(), self.ack_level, place, reason, spool)
