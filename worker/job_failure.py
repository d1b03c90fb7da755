"""Says why a job failed, for the list of failed jobs and for RQ's own record of what came of it."""

from __future__ import annotations

import time
import traceback
from typing import Any

from rq.exceptions import DeserializationError
from rq.results import Result

from common.broken_jobs import BROKEN_JOB
from common.errors import CdrError
from common.failed_jobs import Failure
from common.job_queue import CdrJob, JobSerializer
from common.terminal import printable

# A hook's error may quote a whole page, and failed jobs are kept for ever in Redis's memory.
_LONGEST_TRACEBACK = 20_000


def describe(error: BaseException) -> Failure:
    """Say for the list of failed jobs why a job failed."""
    if isinstance(error, CdrError):
        return Failure(error.reason, getattr(error, "sqlstate", None), str(error), time.time())
    if isinstance(error, DeserializationError):
        return Failure(BROKEN_JOB, None, "its data is no call of a function", time.time())
    return Failure("error", None, "".join(traceback.format_exception_only(error)).strip(), time.time())


def result_record(job: CdrJob, error: BaseException, worker_name: str, token: str) -> dict[str, Any]:
    """Return RQ's record of an execution that failed, without its times."""
    result = Result(
        job.id,
        Result.Type.FAILED,
        job.connection,
        exc_string=traceback_of(error),
        worker_name=worker_name,
        serializer=JobSerializer,
        execution_id=token,
    )
    record: dict[str, Any] = result.serialize()
    return record


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback as text that any terminal and any encoding takes, its middle left out when it is long."""
    text = printable("".join(traceback.format_exception(error)))
    half = _LONGEST_TRACEBACK // 2
    return text if len(text) <= _LONGEST_TRACEBACK else f"{text[:half]}\n[...]\n{text[-half:]}"
