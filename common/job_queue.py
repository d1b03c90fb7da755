"""The contract between the receiver and the workers: queues, jobs, payloads, and the RQ classes that keep them safe.

Every process must use `CdrJob` and `CdrQueue`, stock `rq` commands too: `RQ_JOB_CLASS` and `RQ_QUEUE_CLASS` name them. With RQ's
own classes whoever can write to Redis runs code in the workers, through pickles, function names, callbacks or webhooks.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
from rq import Queue
from rq.job import Job

from common.errors import ConfigurationError, Permanent

PAYLOAD_VERSION = 1

CDRS = "cdrs"
RECORDINGS = "recordings"
HOOKS = "hooks"
QUEUES = (CDRS, RECORDINGS, HOOKS)

LOAD_CDRS = "worker.jobs.load_cdrs"
KEEP_BODIES = "worker.jobs.keep_bodies"
FETCH_RECORDINGS = "worker.jobs.fetch_recordings"
ALLOWED_FUNCTIONS = frozenset({LOAD_CDRS, KEEP_BODIES, FETCH_RECORDINGS})

# What all workers loaded and refused, counted in one hash, and when one of them loaded last.
COUNTERS_KEY = "cdr:counters"
LAST_LOADED_FIELD = "last_loaded_at"

# RQ's own timeout interrupts Python anywhere; each job bounds its waits itself, and a dead worker's lease runs out.
NO_TIMEOUT = -1
# RQ breaks a retried job whose result is not kept at all, and forgets failed jobs after a year unless told not to.
RESULT_TTL_SECONDS = 60
KEEP_FOR_EVER = -1
_COMPRESS_FROM_BYTES = 1024
_COMPRESSION_LEVEL = 1
_ZLIB_MARK = b"x"

# What RQ keeps in a job's hash that could make a process import or fetch something of the writer's choice.
_DANGEROUS_FIELDS = (
    b"success_callback_name",
    b"failure_callback_name",
    b"stopped_callback_name",
    b"webhooks",
    b"dependency_ids",
    b"dependency_id",
    b"group_id",
    b"result",
)


class FunctionNotAllowed(Permanent):
    """A job names a function that is none of ours."""

    reason = "function_not_allowed"


class JobSerializer:
    """JSON for RQ, numbers kept to the digit; never pickle."""

    _encoder = msgspec.json.Encoder(decimal_format="number")
    _decoder = msgspec.json.Decoder(float_hook=Decimal)

    @classmethod
    def dumps(cls, value: Any) -> bytes:
        """Encode a job's data, meta or result."""
        return cls._encoder.encode(value)

    @classmethod
    def loads(cls, data: bytes) -> Any:
        """Decode what `dumps` wrote; raises for anything that is not JSON, a pickle among them."""
        return cls._decoder.decode(data)


class CdrJob(Job):
    """An RQ job that runs our functions only, from JSON only, and has no callbacks, webhooks or dependencies."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:  # noqa: A002, ARG002 - RQ's names
        super().__init__(id, connection=connection, serializer=JobSerializer)
        # How many CDRs it says that it carries, 0 when it is no load job; how many workers died with it.
        self.cdrs = 0
        self.deaths = 0

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Take what Redis holds of the job, without what could run or fetch something."""
        self.cdrs = _count(raw_data.get(b"cdrs"))
        self.deaths = _count(raw_data.get(b"deaths"))
        return super().restore({name: value for name, value in raw_data.items() if name not in _DANGEROUS_FIELDS})

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
            ("SADD", "rq:queues", queue_key(self.queue)),
        ]

    def scheduled_commands(self, scheduled_key: str, due: float) -> list[tuple[Any, ...]]:
        """Return the Redis commands that keep the job until `due`, in seconds since the epoch."""
        return [
            ("HSET", job_key(self.job_id), *_flatten({**self._hash(), "status": "scheduled"})),
            ("ZADD", scheduled_key, due, self.job_id),
            ("SADD", "rq:queues", queue_key(self.queue)),
        ]

    def _hash(self) -> dict[str, Any]:
        now = timestamp()
        data = JobSerializer.dumps([self.function, None, [self.version, *self.arguments], {}])
        return {
            "created_at": now,
            "enqueued_at": now,
            "data": zlib.compress(data, _COMPRESSION_LEVEL) if len(data) >= _COMPRESS_FROM_BYTES else data,
            "origin": self.queue,
            "description": self.description,
            "status": "queued",
            "timeout": NO_TIMEOUT,
            "result_ttl": RESULT_TTL_SECONDS,
            "failure_ttl": KEEP_FOR_EVER,
            # Not RQ's: how many CDRs a load job carries, so that a worker knows how many such jobs make a transaction.
            **({"cdrs": len(self.arguments[0])} if self._is_batch else {}),
        }

    @property
    def _is_batch(self) -> bool:
        return self.function == LOAD_CDRS and bool(self.arguments) and isinstance(self.arguments[0], list)


def read_call(data: bytes) -> tuple[str, list[Any]]:
    """Return the function that a job's data names and its arguments, the payload version first.

    Takes what Redis holds in the field `data`; raises ValueError for what none of us wrote.
    """
    try:
        call = JobSerializer.loads(zlib.decompress(data) if data[:1] == _ZLIB_MARK else data)
        function, _instance, arguments, _options = call
    except (zlib.error, TypeError) as error:
        raise ValueError(f"not the data of a job of ours: {error}") from error
    return str(function), list(arguments)


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
    """Return the key of the list in which RQ keeps the ids of jobs that were taken and have not been started."""
    return f"{queue_key(queue)}:intermediate"


def failed_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps the ids of a queue's failed jobs."""
    return f"rq:failed:{queue}"


def scheduled_key(queue: str) -> str:
    """Return the key of the sorted set in which RQ keeps a queue's scheduled jobs, by when they are due."""
    return f"rq:scheduled:{queue}"


def first_seen_key(queue: str, job_id: str) -> str:
    """Return the key by which RQ remembers for a day that it saw a job in mid-move.

    A job that still has it when it is moved again is failed at once, so it goes whenever a job is queued.
    """
    return f"rq:queue:{queue}:intermediate:first_seen:{job_id}"


def _count(raw: bytes | None) -> int:
    return int(raw) if raw is not None and raw.isdigit() else 0


def _flatten(mapping: dict[str, Any]) -> list[Any]:
    return [part for item in mapping.items() for part in item]
