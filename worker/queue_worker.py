"""The RQ worker: one queue, one job at a time, a lease on it, and a decision for every way in which a job can end."""

from __future__ import annotations

import time
import traceback
from typing import Any

import structlog
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.utils import now
from rq.worker.base import WorkerStatus

from common.errors import CdrError, ConfigurationError, NewerPayload, QueueUnavailable, Transient
from common.failed_index import note_failure
from common.failed_jobs import Failure
from common.job_queue import COUNTERS_KEY, CdrJob, CdrQueue, queue_key
from common.redis_client import translated
from worker.companions import finish, return_to_queue, take_companions
from worker.jobs import load_batches
from worker.leases import Lease, release
from worker.split_jobs import split_if_deadly

WORKER_TTL_SECONDS = 20
STARTED_SECONDS = 86_400
MAINTENANCE_SECONDS = 30
# How long to wait after a transient failure before the next try: doubled each time, up to the last.
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 3.0
_STEP_SECONDS = 0.25

_log = structlog.get_logger("worker.queue_worker")


class CdrWorker(SimpleWorker):
    """Runs jobs in its own process, so that connections and what the stages know live on between jobs.

    A transient failure puts the job back at the head of its queue and pauses this worker; it is never a failed job.
    """

    queue_class: Any = CdrQueue
    job_class: Any = CdrJob
    log_result_lifespan = False

    def __init__(self, queues: Any, *arguments: Any, **options: Any) -> None:
        options.update(
            job_class=CdrJob,
            queue_class=CdrQueue,
            worker_ttl=WORKER_TTL_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
            log_job_description=False,
        )
        super().__init__(queues, *arguments, **options)
        if len(self.queues) > 1:
            raise ConfigurationError("a worker listens to one queue: start one worker a queue")
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._setback: CdrError | None = None

    def execute_job(self, job: Any, queue: Queue) -> None:
        """Run a job, and with a load job those behind it; when it could not be done for now, pause before the next."""
        self._setback = None
        # A signal to stop now lets the jobs at hand end; this is what RQ looks at.
        self._state = WorkerStatus.BUSY
        jobs = [job, *take_companions(self.connection, queue.name, job)]
        job_ids = [each.id for each in jobs]
        with Lease(self.connection, queue.name, *job_ids):
            if not self._load_together(jobs, queue):
                self._run_alone(jobs, queue)
        release(self.connection, queue.name, *job_ids)
        self.set_state(WorkerStatus.IDLE)
        if self._setback is None:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        else:
            self._pause(self._setback)

    def _load_together(self, jobs: list[Any], queue: Queue) -> bool:
        """Load the batches of all jobs in one transaction; tell whether they are done with for now.

        They are not when one of them cannot be loaded: which one, and why, shows when each is run alone.
        """
        if not jobs[0].cdrs or jobs[0].deaths:
            return False
        try:
            load_batches([job.args for job in jobs])
        except NewerPayload:
            # It goes to the end of the queue, and the others need not wait for it.
            return False
        except Transient as error:
            self._setback = error
            return_to_queue(self.connection, queue.name, jobs)
            return True
        except (StopRequested, SystemExit, KeyboardInterrupt):
            # A signal to stop arrived in mid-load: nobody has to wait for the leases to run out.
            self._stop_requested = True
            return_to_queue(self.connection, queue.name, jobs)
            return True
        except Exception as error:  # noqa: BLE001 - running each alone decides what becomes of it
            _log.info("run one by one", jobs=len(jobs), error=str(error))
            return False
        finish(self.connection, queue.name, self.key, jobs)
        return True

    def _run_alone(self, jobs: list[Any], queue: Queue) -> None:
        """Run each job as RQ does, until told to stop or held up."""
        for place, job in enumerate(jobs):
            if self._setback is not None or self._stop_requested:
                return_to_queue(self.connection, queue.name, jobs[place:])
                return
            if not split_if_deadly(self.connection, queue.name, job):
                self.perform_job(job, queue, self.prepare_execution(job))

    @property
    def told_to_stop(self) -> bool:
        """Whether a signal asked this worker to end."""
        return self._shutdown_requested_date is not None

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        """Keep RQ from taking a running job for an abandoned one: that is for the lease to say."""
        return STARTED_SECONDS

    def clean_registries(self) -> None:
        """Leave abandoned jobs to the scheduler's sweep: RQ's own clean-up would call them failed."""
        self.last_cleaned_at: Any = now()

    def _finalize_failure(self, job: Job, queue: Queue, execution: Any, exc_info: Any) -> None:
        error = exc_info[1]
        if isinstance(error, Transient | ConfigurationError):
            # A wrong setting of this worker is no fault of the job either.
            self._setback = error
            self._put_back(job, queue, execution, last=isinstance(error, NewerPayload))
            return
        if isinstance(error, StopRequested) or not isinstance(error, Exception):
            # A signal to stop arrived in mid-job: that is no failure, and RQ would have gone on working.
            self._stop_requested = True
            self._put_back(job, queue, execution)
            return
        failure = describe(error)
        job.meta = failure.as_meta(job.meta)
        job.save_meta()  # type: ignore[no-untyped-call]
        super()._finalize_failure(job, queue, execution, exc_info)
        with translated():
            note_failure(self.connection, queue.name, job.id, failure.failed_at)
            self.connection.hincrby(COUNTERS_KEY, "refused", 1)

    def _put_back(self, job: Job, queue: Queue, execution: Any, *, last: bool = False) -> None:
        """Return the job to the head of its queue in one step, as if it had never been taken; to its end if `last`.

        What only a newer worker can do must not stand in the way of what this one can.
        """
        with translated(), self.connection.pipeline(transaction=True) as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.hset(job.key, mapping={"status": "queued", "worker_name": ""})
            (pipeline.rpush if last else pipeline.lpush)(queue_key(queue.name), job.id)
            pipeline.execute()

    def _pause(self, error: CdrError) -> None:
        """Wait before the next job, watching for a request to stop."""
        _log.warning("waiting", reason=error.reason, error=str(error), seconds=self._pause_seconds)
        ends_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        while not self._stop_requested and (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))


def describe(error: BaseException) -> Failure:
    """Say for the list of failed jobs why a job failed."""
    if isinstance(error, CdrError):
        return Failure(error.reason, getattr(error, "sqlstate", None), str(error), time.time())
    return Failure("error", None, "".join(traceback.format_exception_only(error)).strip(), time.time())


def work(queue: str, connection: Any) -> int:
    """Work on one queue until told to stop; returns the exit code: 1 when it ended without being told."""
    try:
        with translated():
            worker = CdrWorker([queue], connection=connection)
            worker.work(logging_level="WARNING")
    except QueueUnavailable as error:
        _log.error("Redis is away", error=str(error))
        return 1
    # RQ's loop also ends, quietly, at an error of its own.
    return 0 if worker.told_to_stop else 1
