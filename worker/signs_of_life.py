"""Tells Redis that a worker lives and what it does, no more often than somebody could want to know."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from rq.utils import now, utcformat
from rq.worker.base import WorkerStatus
from rq.worker_registration import register

from common.errors import QueueUnavailable
from common.redis_client import translated
from worker.less_of_rq import LessOfRq

# A worker that has said nothing for so long is dead to `cdr status` and `rq info`.
SILENT_SECONDS = 60
HEARTBEAT_SECONDS = 3.0


class SignsOfLife(LessOfRq):
    """RQ's worker as far as others see it in Redis."""

    def __init__(self, queues: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(queues, *arguments, **options)
        self._next_heartbeat = 0.0
        self._written_state = ""

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Tell what the worker does, if it does not say so already."""
        self._state = state
        if state != self._written_state:
            super().set_state(state, pipeline)
            self._written_state = state

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ARG002 - RQ's signature
        """Tell that the worker lives, as RQ has it do after each job; a Redis that is away is the next step's to wait for."""
        with suppress(QueueUnavailable), translated():
            self.beat()

    def beat(self) -> None:
        """Tell now and then that the worker lives, and register again what Redis has forgotten meanwhile."""
        if time.monotonic() < self._next_heartbeat:
            return
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        self.last_heartbeat: Any = now()
        with self.connection.pipeline(transaction=True) as beat:
            beat.hset(self.key, "last_heartbeat", utcformat(self.last_heartbeat))
            beat.expire(self.key, SILENT_SECONDS)
            forgotten, _ = beat.execute()
            if forgotten and self.birth_date:
                beat.hset(self.key, mapping={**self.serialize(), "state": self._written_state})
                register(self, beat)
                beat.execute()

    def show_busy(self) -> None:
        """Tell that the worker lives, in the middle of a job; raises QueueUnavailable."""
        with translated():
            self.set_state(WorkerStatus.BUSY)
            self.beat()
