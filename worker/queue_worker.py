"""The RQ worker: one queue, one hold at a time, and a decision for every way in which a job can end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from rq.exceptions import DequeueTimeout, StopRequested
from rq.queue import Queue
from rq.worker.base import WorkerStatus

from common.errors import CdrError, ConfigurationError, NewerPayload, QueueUnavailable, Transient
from common.job_queue import CDRS, FETCH_RECORDINGS, LOAD_CDRS, RECORDINGS, CdrJob, CdrQueue, JobSerializer
from common.redis_client import RedisClient, translated
from worker.context import end_follow_up
from worker.hold_size import HoldSize
from worker.holds import Hold
from worker.job_failure import describe, result_record
from worker.jobs import fetch_batches, load_batches
from worker.leases import Renewal
from worker.outbox import RECORDINGS_A_JOB
from worker.signs_of_life import SignsOfLife
from worker.split_jobs import split_if_deadly

# An idle worker looks up so often whether it has been told to stop.
LISTEN_SECONDS = 1
# How long to wait after a transient failure before the next try: doubled each time, up to the last.
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 3.0
_STEP_SECONDS = 0.25

_log = structlog.get_logger("worker.queue_worker")


class CdrWorker(SignsOfLife):
    """Runs jobs in its own process, so that connections and what the stages know live on between jobs.

    A transient failure puts the job back at the head of its queue and pauses this worker; it is never a failed job. A Redis
    that is away, whatever the worker was about to tell it, is waited for.
    """

    queue_class: Any = CdrQueue
    job_class: Any = CdrJob

    def __init__(self, queues: Any, *arguments: Any, **options: Any) -> None:
        # Redis answers a worker that listens after LISTEN_SECONDS; RQ waits for its answers for 10 s longer.
        options.update(job_class=CdrJob, queue_class=CdrQueue, serializer=JobSerializer, worker_ttl=LISTEN_SECONDS + 15)
        super().__init__(queues, *arguments, **options)
        if len(self.queues) > 1:
            raise ConfigurationError("a worker listens to one queue: start one worker a queue")
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._setback: CdrError | None = None
        self._redis_is_away = False
        self._is_broken_off = False
        self._renewal = Renewal(self.show_busy)
        self._hold_size = HoldSize()

    # What RQ asks of a worker between jobs.

    def _shutdown(self) -> None:
        """Note that a signal asks to stop.

        RQ would interrupt whatever the worker does when it has no job yet, and a job just taken would have to be swept up.
        """
        self._stop_requested = True

    @property
    def told_to_stop(self) -> bool:
        """Whether a signal asked this worker to end."""
        return self._shutdown_requested_date is not None

    def teardown(self) -> None:
        """Sign off, unless Redis is away: what it knows of this worker it forgets by itself. Then end what follows loads."""
        sign_off: Callable[[], None] = super().teardown
        if not self._redis_is_away:
            with suppress(QueueUnavailable), translated():
                sign_off()
        self._renewal.end()
        if not self._is_broken_off:
            end_follow_up()

    def check_for_suspension(self, burst: bool) -> None:
        """Wait as long as `rq suspend` asks to."""
        ask = super().check_for_suspension
        self._wait_for_redis(lambda: ask(burst))

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Take the next job; None when there is none in a burst, or for `max_idle_time` seconds.

        Waits for a Redis that is away for as long as it takes. Raises StopRequested when told to stop meanwhile.
        """
        idle_until = None if max_idle_time is None else time.monotonic() + max_idle_time
        while not self._stop_requested:
            try:
                with translated():
                    self.set_state(WorkerStatus.IDLE)
                    self.beat()
                    return CdrQueue.dequeue_any(self.queues, timeout and LISTEN_SECONDS, connection=self.connection)
            except DequeueTimeout:
                if idle_until is not None and time.monotonic() > idle_until:
                    return None
                self._redis_is_away = False
            except QueueUnavailable as error:
                self._pause_for_redis(error)
        raise StopRequested

    def _wait_for_redis(self, step: Callable[[], object]) -> None:
        """Try a step until Redis takes part in it, or this worker is told to stop."""
        while not self._stop_requested:
            try:
                with translated():
                    step()
            except QueueUnavailable as error:
                self._pause_for_redis(error)
            else:
                self._redis_is_away = False
                return

    def _pause_for_redis(self, error: QueueUnavailable) -> None:
        if not self._redis_is_away:
            _log.warning("waiting for Redis", error=str(error))
        self._redis_is_away = True
        self._sleep(LONGEST_PAUSE_SECONDS)

    # What becomes of a job.

    def execute_job(self, job: Any, queue: Queue) -> None:
        """Run a job, and with it those behind it that can be done at once; when it could not be done for now, pause before the next."""
        self._setback = None
        hold = Hold(self.connection, queue.name)
        try:
            with self._renewal.of(hold):
                self._run(hold, job, queue)
        except QueueUnavailable as error:
            self._leave(hold, error)
            return
        if self._setback is None:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        else:
            self._pause(self._setback)

    def _run(self, hold: Hold, job: CdrJob, queue: Queue) -> None:
        # How many CDRs or recordings are done at once, be it that they come in many jobs.
        most = {CDRS: self._hold_size.cdrs, RECORDINGS: RECORDINGS_A_JOB}.get(queue.name, 0)
        room = most - job.size if job.size and not job.deaths else 0
        try:
            jobs = self._read(hold, job, hold.take(job.id, room))
            if jobs and not self._do_together(hold, jobs):
                self._run_alone(hold, jobs, queue)
        except (StopRequested, SystemExit, KeyboardInterrupt):
            # A second signal to stop: nobody has to wait for the leases to run out.
            self._stop_requested = self._is_broken_off = True
            hold.put_back(hold.job_ids)

    def _leave(self, hold: Hold, error: QueueUnavailable) -> None:
        """Put back the jobs whose end Redis could not be told, once it answers; what had been done of them is done again.

        What cannot be put back even then, or has been given to others, is for the sweep: nobody renews the lease any more.
        """
        _log.warning("jobs left in doubt", job_ids=hold.job_ids, error=str(error))
        self._pause_for_redis(error)
        self._wait_for_redis(self.connection.ping)
        if not self._redis_is_away:
            with suppress(QueueUnavailable):
                hold.put_back(hold.job_ids)

    def _read(self, hold: Hold, first: CdrJob, job_ids: list[str]) -> list[CdrJob]:
        """Read the jobs that came along; what cannot be read goes back, to be dealt with when it is taken by itself."""
        others = [CdrJob(job_id, self.connection) for job_id in job_ids if job_id != first.id]
        with translated(), self.connection.pipeline(transaction=False) as pipeline:
            for job in others:
                pipeline.hgetall(job.key)
            broken = {job.id for job, raw in zip(others, pipeline.execute(), strict=True) if job.read(raw)}
        hold.put_back(sorted(broken))
        return [job for job in (first, *others) if job.id in job_ids and job.id not in broken]

    def _do_together(self, hold: Hold, jobs: list[CdrJob]) -> bool:
        """Load the batches of all jobs together, or fetch their recordings side by side.

        Tell whether they are done with for now. They are not when one of them cannot be: which one, and why, shows when each is run alone.
        """
        job_ids = [job.id for job in jobs]
        loaded = 0
        if not jobs[0].size or jobs[0].deaths:
            return False
        try:
            functions = {job.func_name for job in jobs}
            payloads: list[Any] = [job.args for job in jobs]
            if functions == {LOAD_CDRS}:
                began = time.monotonic()
                loaded = load_batches(payloads)
                self._hold_size.learn(loaded, time.monotonic() - began)
            elif functions == {FETCH_RECORDINGS}:
                fetch_batches(payloads)
            else:
                return False
        except NewerPayload:
            # It goes to the end of the queue, and the others need not wait for it.
            return False
        except Transient as error:
            self._setback = error
            self._hold_size.learn_failure()
            hold.put_back(job_ids)
            return True
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001 - running each alone decides what becomes of it
            _log.info("run one by one", jobs=len(jobs), error=str(error))
            self._hold_size.learn_failure()
            return False
        hold.finish_together(job_ids, self.key, loaded)
        return True

    def _run_alone(self, hold: Hold, jobs: list[CdrJob], queue: Queue) -> None:
        """Run each job by itself, until told to stop or held up."""
        for place, job in enumerate(jobs):
            if self._setback is not None or self._stop_requested:
                hold.put_back([each.id for each in jobs[place:]])
                return
            if not split_if_deadly(hold, queue.name, job) and hold.start(job.id, self.name):
                self._perform(hold, job)

    def _perform(self, hold: Hold, job: CdrJob) -> None:
        """Call the job's function and decide what becomes of the job."""
        began = time.time()
        try:
            job.perform()
        except (Transient, ConfigurationError) as error:
            # A wrong setting of this worker is no fault of the job either. What only a newer worker can do must not stand
            # in the way of what this one can.
            self._setback = error
            hold.put_back([job.id], last=isinstance(error, NewerPayload))
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed of it
            self._fail(hold, job, error, began)
        else:
            hold.finish(job.id, self.key)

    def _fail(self, hold: Hold, job: CdrJob, error: Exception, began: float) -> None:
        failure = describe(error)
        _log.warning("job failed", job_id=job.id, reason=failure.reason, error=failure.error)
        times = {"execution_started_at": began, "execution_ended_at": failure.failed_at}
        record = {**result_record(job, error, self.name, hold.token), **times}
        meta = JobSerializer.dumps(failure.as_meta({"attempts": job.meta.get("attempts")}))
        hold.fail(job.id, self.key, meta, failure.failed_at, record)

    def _pause(self, error: CdrError) -> None:
        """Wait before the next job, watching for a request to stop."""
        _log.warning("waiting", reason=error.reason, error=str(error), seconds=self._pause_seconds)
        self._sleep(self._pause_seconds)
        self._pause_seconds = min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _sleep(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while not self._stop_requested and (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))


def work(queue: str, connection: RedisClient) -> int:
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
