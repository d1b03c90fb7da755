"""Renews the leases of the jobs at hand while they run, and ends a process whose job never does.

RQ itself would wait for a job's whole timeout, and then call the job failed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

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
    """Renews a hold by a thread of its own while the `with` block runs; `on_renewal` runs in that thread too."""

    def __init__(self, hold: Hold, on_renewal: Callable[[], None] = lambda: None) -> None:
        self._hold = hold
        self._on_renewal = on_renewal
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End the renewing; the hold itself is given up by whoever puts the job where it belongs."""
        self._ended.set()
        self._thread.join()

    def _renew_until_ended(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(RENEW_SECONDS):
            if time.monotonic() - began > LONGEST_HOLD_SECONDS:
                _log.critical("job never ends, worker gives up", job_ids=self._hold.job_ids)
                # Nothing that the main thread would do on its way out can be waited for.
                os._exit(EXIT_HUNG)
            try:
                self._on_renewal()
                self._renew()
            except QueueUnavailable as error:
                # The job goes on: if the lease runs out it is run twice, which loads once.
                _log.warning("lease not renewed", job_ids=self._hold.job_ids, error=str(error))

    def _renew(self) -> None:
        job_ids = self._hold.job_ids
        held = self._hold.renew()
        if held < len(job_ids):
            _log.warning("jobs were given to others", job_ids=job_ids, held=held)
