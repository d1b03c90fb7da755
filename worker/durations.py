"""How long the parts of a call were, from the several fields that say so."""

from __future__ import annotations

from common.call_codes import known_call_type
from common.cdr import Cdr


def set_durations(cdr: Cdr, duration_includes_wait: bool) -> None:
    """Set `talk_seconds` and `ring_seconds`.

    The actual durations win where they are sent. `duration` is conversation only in the specification; where an
    account's provider counts the wait in an ACD queue too, `duration_includes_wait` takes it off again.
    """
    cdr.ring_seconds = cdr.dial_seconds if cdr.actual_ring_seconds is None else cdr.actual_ring_seconds
    if cdr.actual_talk_seconds is not None:
        cdr.talk_seconds = cdr.actual_talk_seconds
    elif cdr.duration_seconds is not None and duration_includes_wait and cdr.queue_wait_seconds and _queued(cdr):
        cdr.talk_seconds = max(0, cdr.duration_seconds - cdr.queue_wait_seconds)
    else:
        cdr.talk_seconds = cdr.duration_seconds


def _queued(cdr: Cdr) -> bool:
    if cdr.acd_queue_id is not None or cdr.acd_queue_name is not None:
        return True
    call_type = known_call_type(cdr.call_type)
    return call_type is not None and call_type.is_queue
