"""The contract between the receiver and the workers: queues, jobs, payloads, and the RQ classes that keep them safe.

Every process must use `CdrJob` and `CdrQueue`, stock `rq` commands too: `RQ_JOB_CLASS` and `RQ_QUEUE_CLASS` name them. With RQ's
own classes whoever can write to Redis runs code in the workers, through pickles, function names, callbacks or webhooks.
Importing this module makes JSON RQ's default serializer too, for what asks none of the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from isal import isal_zlib
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import DefaultSerializer

from common.broken_jobs import set_aside
from common.errors import ConfigurationError, Permanent
from common.job_data import LOAD_CDRS, JobSerializer, read_call, read_load
from common.queue_format import (
    COUNTERS_KEY,
    JOB_ID,
    QUEUES_KEY,
    failed_key,
    finished_key,
    first_seen_key,
    intermediate_key,
    job_key,
    queue_key,
    scheduled_key,
    timestamp,
)
from common.redis_client import read_hash
from common.requeue import QUEUE_ONCE, SCHEDULE_ONCE

# Whoever works on queues needs their keys too, and finds them here with the rest of the contract.
__all__ = [
    "ALLOWED_FUNCTIONS",
    "CDRS",
    "COUNTERS_KEY",
    "FETCH_RECORDINGS",
    "HOOKS",
    "KEEP_BODIES",
    "KEEP_FOR_EVER",
    "LAST_LOADED_FIELD",
    "LOAD_CDRS",
    "NO_TIMEOUT",
    "PAYLOAD_VERSION",
    "QUEUES",
    "RECORDINGS",
    "RESULT_TTL_SECONDS",
    "RUN_HOOK",
    "CdrJob",
    "CdrQueue",
    "FunctionNotAllowed",
    "JobSerializer",
    "NewJob",
    "failed_key",
    "first_seen_key",
    "intermediate_key",
    "job_key",
    "queue_key",
    "read_call",
    "scheduled_key",
    "timestamp",
]

PAYLOAD_VERSION = 1

CDRS = "cdrs"
RECORDINGS = "recordings"
HOOKS = "hooks"
QUEUES = (CDRS, RECORDINGS, HOOKS)

KEEP_BODIES = "worker.jobs.keep_bodies"
FETCH_RECORDINGS = "worker.jobs.fetch_recordings"
RUN_HOOK = "worker.jobs.run_hook"
# What a job says how many it carries of. Two fields, because releases before this one take a thousand jobs along by the first.
_SIZE_FIELDS = {LOAD_CDRS: "cdrs", FETCH_RECORDINGS: "recordings"}
ALLOWED_FUNCTIONS = frozenset({LOAD_CDRS, KEEP_BODIES, FETCH_RECORDINGS, RUN_HOOK})

# The field of the counters that says when a worker loaded last.
LAST_LOADED_FIELD = "last_loaded_at"

# RQ's own timeout interrupts Python anywhere; each job bounds its waits itself, and a dead worker's lease runs out.
NO_TIMEOUT = -1
# RQ breaks a retried job whose result is not kept at all, and forgets failed jobs after a year unless told not to.
RESULT_TTL_SECONDS = 60
KEEP_FOR_EVER = -1
_COMPRESS_FROM_BYTES = 1024

# What we read of a job's hash. The rest of what RQ knows could make a process import or fetch something of the writer's
# choice (callbacks, webhooks, dependencies), or change what becomes of a job (timeouts, retries, repeats, rate limits).
_FIELDS = frozenset(
    (b"data", b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"origin", b"description", b"status", b"meta")
)
# A batch holds a few thousand CDRs; a longer number was not written by us, and Python refuses to read endless ones.
_MOST_DIGITS = 9


class FunctionNotAllowed(Permanent):
    """A job names a function that is none of ours."""

    reason = "function_not_allowed"


# RQ's scheduler, which `rq worker --with-scheduler` and every `rq worker-pool` start, asks none of the classes below: it reads
# jobs with RQ's own default, which is pickle. Wherever this contract is imported that default is JSON too.
DefaultSerializer.dumps = JobSerializer.dumps
DefaultSerializer.loads = JobSerializer.loads


class CdrJob(Job):
    """An RQ job that runs our functions only, from JSON only, and has no callbacks, webhooks or dependencies."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:  # noqa: A002, ARG002 - RQ's names
        super().__init__(id, connection=connection, serializer=JobSerializer)
        # How many CDRs or recordings it says that it carries, 0 for one that is done by itself; how many workers died with it.
        self.size = 0
        self.deaths = 0

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Take what we need of what Redis holds; raises whatever RQ does for a value that nobody can read."""
        self.size = _count(raw_data.get(b"cdrs") or raw_data.get(b"recordings"))
        self.deaths = _count(raw_data.get(b"deaths"))
        super().restore({name: value for name, value in raw_data.items() if name in _FIELDS})
        self.timeout, self.result_ttl, self.failure_ttl = NO_TIMEOUT, RESULT_TTL_SECONDS, KEEP_FOR_EVER
        if not isinstance(self.meta, dict):
            self.meta: dict[str, Any] = {}

    def read(self, raw_data: dict[bytes, bytes] | None) -> str:
        """Take what Redis holds of the job, and return why that cannot be done, or nothing."""
        try:
            self.restore(raw_data or {})
        except NoSuchJobError:
            return "it has no data"
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _deserialize_data(self) -> None:
        """Decode the call: one that loads has its deliveries as what they are, if all of them are some."""
        as_rq_does: Callable[[], None] = super()._deserialize_data
        if call := read_load(self.data):
            self._func_name, self._instance, self._args, self._kwargs = call
        else:
            as_rq_does()

    @property
    def func(self) -> Any:
        """The function to run; raises FunctionNotAllowed for any but ours."""
        if self.func_name not in ALLOWED_FUNCTIONS or self.instance is not None:
            raise FunctionNotAllowed(f"job {self.id} names {self.func_name!r}, which is no function of this product")
        return super().func


class CdrQueue(Queue):
    """An RQ queue of `CdrJob`s, from which a worker takes jobs only if it listens to this one alone.

    With two queues RQ pops a job before it has noted it anywhere: a worker killed then has lost it.
    """

    job_class = CdrJob

    def __init__(self, name: str = CDRS, connection: Any = None, **options: Any) -> None:
        options.update(serializer=JobSerializer, job_class=CdrJob)
        super().__init__(name, connection=connection, **options)

    @classmethod
    def dequeue_any(cls, queues: Any, timeout: Any, *arguments: Any, **options: Any) -> Any:
        """Take the next job; raise ConfigurationError when asked to listen to more than one queue."""
        queues = list(queues)
        if len(queues) != 1:
            raise ConfigurationError(f"a worker listens to one queue, not to {len(queues)}: start one worker a queue")
        return super().dequeue_any(queues, timeout, *arguments, **options)

    @classmethod
    def lmove(cls, connection: Any, queue_key: str, timeout: int | None) -> Any:
        """Take the next id, as RQ does; one that RQ could not read as an id is set aside."""
        while (moved := super().lmove(connection, queue_key, timeout)) is not None and not JOB_ID.fullmatch(moved[1]):
            set_aside(connection, queue_key, moved[1], "its id is none that RQ can read")
        return moved

    @classmethod
    def _fetch_dequeued_job(cls, connection: Any, queue_key: str, job_id: str, *_: Any, **__: Any) -> Any:
        """Read the job that was taken; one that cannot be read is set aside, and None says to take the next."""
        job = CdrJob(job_id, connection)
        if error := job.read(read_hash(connection, job.key)):
            set_aside(connection, queue_key, job_id.encode(), error)
            return None
        return job, cls.from_queue_key(queue_key, connection=connection)


@dataclass(frozen=True)
class NewJob:
    """A job to be queued: `function` is its dotted name, `arguments` follow the payload version.

    The version is another than ours only for what another release wrote and this one passes on.
    """

    queue: str
    function: str
    arguments: tuple[Any, ...]
    description: str
    job_id: str = field(default_factory=lambda: uuid4().hex)
    version: int = PAYLOAD_VERSION

    def commands(self) -> list[tuple[Any, ...]]:
        """Return the Redis commands that queue the job as RQ would: to be sent in one MULTI."""
        return [
            ("HSET", job_key(self.job_id), *_flatten(self._hash())),
            ("DEL", first_seen_key(self.queue, self.job_id)),
            ("RPUSH", queue_key(self.queue), self.job_id),
            ("SADD", QUEUES_KEY, queue_key(self.queue)),
        ]

    def commands_once(self) -> list[tuple[Any, ...]]:
        """Return commands as `commands` does, which change nothing when the job is queued, at work or failed already.

        For a job whose id is derived from what it holds, so that it is the same however often it is queued.
        """
        queue = queue_key(self.queue)
        seen, finished = first_seen_key(self.queue, self.job_id), finished_key(self.queue)
        keys = [job_key(self.job_id), queue, QUEUES_KEY, seen, finished]
        return [("EVAL", QUEUE_ONCE, len(keys), *keys, self.job_id, *_flatten(self._hash()))]

    def scheduled_commands(self, scheduled_key: str, due: float) -> list[tuple[Any, ...]]:
        """Return the Redis commands that keep the job until `due`, in seconds since the epoch."""
        return [
            ("HSET", job_key(self.job_id), *_flatten({**self._hash(), "status": "scheduled"})),
            ("ZADD", scheduled_key, due, self.job_id),
            ("SADD", QUEUES_KEY, queue_key(self.queue)),
        ]

    def scheduled_commands_once(self, wait_seconds: float) -> list[tuple[Any, ...]]:
        """Return commands that keep the job for so long, by Redis's clock, and change nothing when it is in any place already."""
        keys = [job_key(self.job_id), scheduled_key(self.queue), QUEUES_KEY]
        fields = _flatten({**self._hash(), "status": "scheduled"})
        return [("EVAL", SCHEDULE_ONCE, len(keys), *keys, self.job_id, wait_seconds, queue_key(self.queue), *fields)]

    def _hash(self) -> dict[str, Any]:
        now = timestamp()
        data = JobSerializer.dumps([self.function, None, [self.version, *self.arguments], {}])
        if len(data) >= _COMPRESS_FROM_BYTES:
            # What zlib and RQ read, in a quarter of the time, which each acknowledgement of the group waits for.
            data = isal_zlib.compress(data, level=1)
        return {
            "created_at": now,
            "enqueued_at": now,
            "data": data,
            "origin": self.queue,
            "description": self.description,
            "status": "queued",
            "timeout": NO_TIMEOUT,
            "result_ttl": RESULT_TTL_SECONDS,
            "failure_ttl": KEEP_FOR_EVER,
            **self._size(),
        }

    def _size(self) -> dict[str, int]:
        """Count what the job carries, which is not RQ's, so that a worker knows how many such jobs it does at once."""
        name = _SIZE_FIELDS.get(self.function)
        return {name: len(self.arguments[0])} if name and self.arguments and isinstance(self.arguments[0], list) else {}


def _count(raw: bytes | None) -> int:
    return int(raw) if raw is not None and raw.isdigit() and len(raw) <= _MOST_DIGITS else 0


def _flatten(mapping: dict[str, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]
