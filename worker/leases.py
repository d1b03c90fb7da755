"""Renews the leases of the jobs at hand while they run, and ends a process whose job never does.

RQ itself would wait for a job's whole timeout, and then call the job failed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from common.errors import QueueUnavailable
from worker.holds import Hold

RENEW_SECONDS = 3.0
# Every wait of a job has a bound of its own: a statement of PostgreSQL's 60 s, a fetch of a recording 10 min. A job that
# has not ended by now hangs in something that nobody thought of, and only another process can help it.
LONGEST_HOLD_SECONDS = 3600.0
EXIT_HUNG = 70

_log = structlog.get_logger("worker.leases")


class Renewal:
    """One thread for a worker's life, which renews the hold at hand; `on_renewal` runs in that thread too."""

    def __init__(self, on_renewal: Callable[[], None] = lambda: None) -> None:
        self._on_renewal = on_renewal
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # Whoever has it renews, or ends the hold.
        self._lock = threading.Lock()
        self._hold: Hold | None = None
        self._began = 0.0

    @contextmanager
    def of(self, hold: Hold) -> Iterator[None]:
        """Renew a hold while the block runs; the hold itself is given up by whoever puts the job where it belongs."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)
            self._thread.start()
        with self._lock:
            self._hold, self._began = hold, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._hold = None

    def end(self) -> None:
        """End the thread."""
        self._ended.set()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with self._lock:
                if self._hold is not None:
                    self._renew(self._hold)

    def _renew(self, hold: Hold) -> None:
        if time.monotonic() - self._began > LONGEST_HOLD_SECONDS:
            _log.critical("job never ends, worker gives up", job_ids=hold.job_ids)
            # Nothing that the main thread would do on its way out can be waited for.
            os._exit(EXIT_HUNG)
        job_ids = hold.job_ids
        try:
            self._on_renewal()
            held = hold.renew()
        except QueueUnavailable as error:
            # The job goes on: if the lease runs out it is run twice, which loads once.
            _log.warning("lease not renewed", job_ids=job_ids, error=str(error))
            return
        if held < len(job_ids):
            _log.warning("jobs were given to others", job_ids=job_ids, held=held)
