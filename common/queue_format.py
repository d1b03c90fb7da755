"""How jobs are written down in Redis: the names of RQ's keys, what job ids look like, how times are spelled."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

# What all workers loaded and refused and what was brought back, counted in one hash, and when a worker loaded last.
COUNTERS_KEY = "cdr:counters"
# The set of the keys of all queues, which `rq info` shows.
QUEUES_KEY = "rq:queues"
# RQ's own rule: it refuses to read a job of any other id.
JOB_ID = re.compile(rb"[A-Za-z0-9_-]+")


def timestamp() -> str:
    """Return now in the form in which RQ writes times."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def job_key(job_id: str) -> str:
    """Return the key of the hash that holds a job."""
    return f"rq:job:{job_id}"


def queue_key(queue: str) -> str:
    """Return the key of the list that holds the ids of a queue's jobs."""
    return f"rq:queue:{queue}"


def intermediate_key(queue: str) -> str:
    """Return the key of the list in which RQ keeps the ids of jobs that were taken and that nobody holds yet."""
    return f"{queue_key(queue)}:intermediate"


def lease_key(queue: str) -> str:
    """Return the key of the sorted set that holds the leases of a queue's jobs, by when they run out."""
    return f"cdr:leases:{queue}"


def started_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps `job:execution` of what is being run."""
    return f"rq:wip:{queue}"


def failed_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps the ids of a queue's failed jobs."""
    return f"rq:failed:{queue}"


def finished_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps the ids of jobs that are done, by when it forgets them."""
    return f"rq:finished:{queue}"


def scheduled_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps a queue's scheduled jobs, by when they are due."""
    return f"rq:scheduled:{queue}"


def first_seen_key(queue: str, job_id: str) -> str:
    """Return the key by which RQ remembers for a day that it saw a job in mid-move.

    A job that still has it when it is moved again is failed at once, so it goes whenever a job is queued.
    """
    return f"{intermediate_key(queue)}:first_seen:{job_id}"
