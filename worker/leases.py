"""Leases: a worker holds one for the job that it runs and renews it, so that a dead worker's job is run elsewhere soon.

RQ itself would wait for the job's whole timeout, and then call the job failed.
"""

from __future__ import annotations

import threading
import time

import structlog

from common.errors import QueueUnavailable
from common.redis_client import RedisClient, translated

LEASE_SECONDS = 12.0
RENEW_SECONDS = 3.0

_log = structlog.get_logger("worker.leases")


def lease_key(queue: str) -> str:
    """Return the key of the sorted set that holds the leases of a queue's jobs, by when they run out."""
    return f"cdr:leases:{queue}"


class Lease:
    """A lease on the jobs at hand, renewed by a thread of its own while the `with` block runs."""

    def __init__(self, connection: RedisClient, queue: str, *job_ids: str) -> None:
        self._connection = connection
        self._key = lease_key(queue)
        self._job_ids = job_ids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._renew()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End the renewing; the lease itself is given up by whoever put the job where it belongs."""
        self._ended.set()
        self._thread.join()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            try:
                self._renew()
            except QueueUnavailable as error:
                # The job goes on: if the lease runs out it is run twice, which loads once.
                _log.warning("lease not renewed", job_ids=self._job_ids, error=str(error))

    def _renew(self) -> None:
        with translated():
            self._connection.zadd(self._key, dict.fromkeys(self._job_ids, time.time() + LEASE_SECONDS))


def release(connection: RedisClient, queue: str, *job_ids: str) -> None:
    """Give up leases once their jobs have ended or are back in their queue."""
    with translated():
        connection.zrem(lease_key(queue), *job_ids)
