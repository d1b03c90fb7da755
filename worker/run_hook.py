"""Calls one hook with one CDR: the user's own code may do whatever it likes, and costs itself only.

What it raises is never taken for a failure of our own parts: it is tried again later in a job of its own, and in the end is
a failed job. The row is read when the hook is called, and nothing that the hook does can change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from common.errors import Permanent
from common.job_queue import JobSerializer
from common.postgres import Database, statement
from common.redis_client import RedisClient
from common.terminal import one_line
from worker.hook_functions import Hook
from worker.hook_jobs import HookCall, hook_job
from worker.job_failure import traceback_of
from worker.loaded_cdr import COLUMNS, GiveUp, LoadedCdr, TryLater
from worker.scheduled_jobs import schedule_once
from worker.stopping import ForcedStop

_JSON_COLUMNS = frozenset({"ivr_path", "custom", "ai", "payload"})
_LONGEST_ERROR = 1000

_log = structlog.get_logger("worker.run_hook")


class HookFailed(Permanent):
    """The user's own function raised something, for the last time."""

    reason = "hook_failed"


class HookNotConfigured(Permanent):
    """A job names a function that is not in CDR_HOOKS here, any more or yet."""

    reason = "hook_not_configured"


def run_hook(
    call: HookCall,
    hooks: Mapping[str, Hook],
    database: Database,
    connection: RedisClient,
    retry_seconds: Sequence[int],
) -> None:
    """Call a hook with the row as it is now; when it raises, schedule the next try.

    Raises HookFailed after the last try, HookNotConfigured for any function but those of `hooks`, and what the database or
    Redis raise, when the hook may have been called: it is then called again.
    """
    if (hook := hooks.get(call.hook)) is None:
        raise HookNotConfigured(f"{call.hook} is not in CDR_HOOKS of this worker")
    cdr = read_loaded_cdr(database, call)
    if cdr is None:
        _log.info("no hook for a row that is gone", hook=call.hook, call_id=call.call_id)
        return
    error = _error_of(hook, cdr)
    if error is not None:
        _try_later(call, error, connection, retry_seconds)


def read_loaded_cdr(database: Database, call: HookCall) -> LoadedCdr | None:
    """Return the CDR of a call as its row is now; None when somebody has deleted it."""
    key = {"identity": bytes.fromhex(call.identity), "provider_time": call.provider_time}
    with database.transaction() as cursor:
        row = cursor.execute(statement("worker", "read_loaded_cdr"), key).fetchone()
    if row is None:
        return None
    values = {name: _decoded(name, value) for name, value in zip(COLUMNS, row, strict=True)}
    return LoadedCdr(**values, is_update=call.is_update, attempt=call.attempt, event_id=call.event_id)


def _decoded(name: str, value: Any) -> Any:
    return JobSerializer.loads(value.encode()) if name in _JSON_COLUMNS and value is not None else value


def _error_of(hook: Hook, cdr: LoadedCdr) -> BaseException | None:
    """Call the hook and return what it raised, be it sys.exit."""
    try:
        hook(cdr)
    except ForcedStop:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's own code may raise anything, and costs itself only
        return error
    return None


def _try_later(call: HookCall, error: BaseException, connection: RedisClient, retry_seconds: Sequence[int]) -> None:
    if isinstance(error, GiveUp) or call.attempt > len(retry_seconds):
        raise HookFailed(f"{call.hook}, try {call.attempt}: {_described(error)}") from error
    asked = error.seconds if isinstance(error, TryLater) else 0.0
    wait_seconds = max(asked, retry_seconds[call.attempt - 1])
    next_try = msgspec.structs.replace(call, attempt=call.attempt + 1)
    schedule_once(connection, hook_job(next_try), wait_seconds)
    _log.warning(
        "hook failed, tried again later",
        hook=call.hook,
        call_id=call.call_id,
        attempt=call.attempt,
        seconds=wait_seconds,
        error=_described(error),
        exception=traceback_of(error),
    )


def _described(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - as above, and here it is the error's own class that is broken
        text = "its text cannot be had"
    return one_line(f"{type(error).__name__}: {text}"[:_LONGEST_ERROR])
