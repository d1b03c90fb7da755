"""The job of one hook and one CDR: what it carries, and its id, which is the same whoever queues it and however often."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from common.errors import Permanent
from common.job_queue import HOOKS, RUN_HOOK, NewJob

_ID_DIGITS = 32


class HookCall(msgspec.Struct, frozen=True):
    """Which hook is called with which CDR, `identity` in hex, because of which event, and which try it is."""

    hook: str
    event_id: str
    identity: str
    provider_time: datetime
    call_id: str
    is_update: bool
    attempt: int = 1


class NotAHookCall(Permanent):
    """What a job carries is no call of a hook that we wrote."""

    reason = "not_a_hook_call"


def hook_job(call: HookCall) -> NewJob:
    """Return the job that calls a hook; each attempt is a job of its own."""
    # As an object and not as a list, which would be taken for a batch that can be split.
    return NewJob(HOOKS, RUN_HOOK, (call,), call.hook, _digest(f"{call.event_id}-{call.hook}-{call.attempt}"))


def read_hook_call(payload: Any) -> HookCall:
    """Rebuild what `hook_job` was given; raises NotAHookCall."""
    try:
        return msgspec.convert(payload, HookCall, strict=True)
    except msgspec.ValidationError as error:
        raise NotAHookCall(f"the payload is not one of ours: {error}") from error


def event_id(outbox_id: int, noted_at: datetime, identity: str) -> str:
    """Name what happened to a CDR by the entry of the outbox that tells of it, the same at every call."""
    # With its time, because a database restored from a backup gives the ids of its outbox a second time.
    return _digest(f"{outbox_id}-{noted_at.isoformat()}-{identity}")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_ID_DIGITS]
