"""Splits a batch whose workers keep dying, so that what kills them is found and its neighbours are done.

The sweep counts the deaths in the job's hash. What cannot be split further it makes a failed job of, after more of them.
"""

from __future__ import annotations

from typing import Any

import structlog

from common.job_queue import PAYLOAD_VERSION, CdrJob, NewJob, read_call
from worker.holds import Hold

DEATHS_BEFORE_SPLIT = 3

_log = structlog.get_logger("worker.split_jobs")


def split_if_deadly(hold: Hold, queue: str, job: CdrJob) -> bool:
    """Replace a job whose worker died three times by two that share its batch; tell whether that was to be done.

    The job must be held and not started yet. Raises QueueUnavailable.
    """
    halves = _halves(queue, job) if job.deaths >= DEATHS_BEFORE_SPLIT else []
    if not halves:
        return False
    hold.replace(job.id, halves)
    _log.warning("deadly batch split", job_id=job.id, deaths=job.deaths)
    return True


def _halves(queue: str, job: CdrJob) -> list[NewJob]:
    """Return two jobs for the halves of a job's batch; none when it is no batch of ours that can be split."""
    function, batch = _read(job)
    middle = len(batch) // 2
    if not middle:
        return []
    return [NewJob(queue, function, (part,), "half of a deadly batch") for part in (batch[:middle], batch[middle:])]


def _read(job: CdrJob) -> tuple[str, list[Any]]:
    try:
        function, (version, batch) = read_call(job.data)
    except ValueError:
        return "", []
    return function, batch if version == PAYLOAD_VERSION and isinstance(batch, list) else []
