"""Decides where a group of jobs is kept: in Redis while its word can be trusted, else in the spool on our own disk."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from api.durable_queue import DurableQueue
from api.redis_watch import RedisWatch
from api.spool_thread import SpoolThread
from common.errors import QueueUnavailable
from common.job_queue import NewJob

_log = structlog.get_logger("api.durable_store")


class DurableStore:
    """Stores each group in one of two places; without a spool in Redis or not at all."""

    def __init__(self, queue: DurableQueue, watch: RedisWatch, spool: SpoolThread | None) -> None:
        self._queue = queue
        self._watch = watch
        self._spool = spool

    async def write(self, jobs: Sequence[NewJob]) -> None:
        """Store all jobs or none; return once they are safe.

        A write that Redis did not confirm goes to the spool as well, so its jobs may be there twice: their deliveries
        have the same ids and load once. Raises QueueUnavailable or SpoolUnavailable when neither place is certain.
        """
        if self._spool is None:
            return await self._write_to_redis(jobs)
        if self._watch.reason is None:
            try:
                return await self._queue.write(jobs)
            except QueueUnavailable as error:
                self._watch.distrust(str(error))
        return await self._spool.append(jobs)

    async def _write_to_redis(self, jobs: Sequence[NewJob]) -> None:
        # There is no other place: it is asked again before a sender is told to come again.
        if self._watch.reason is not None and (reason := await self._watch.look()) is not None:
            raise QueueUnavailable(reason)
        try:
            await self._queue.write(jobs)
        except QueueUnavailable as error:
            self._watch.distrust(str(error))
            raise
