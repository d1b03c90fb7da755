"""The usual post, one whole CDR with nothing wrong, from its bytes to its answer without a task of its own.

What is not usual is left to `api/receive_cdr.py`, which can do all that this can, and more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from api.acknowledge import STORED, Response, answer_to, render
from api.admission import Admission
from api.group_commit import Entries, GroupCommit
from api.guards import Accounts
from api.metrics import Metrics
from api.post import Post, delivery
from api.receive_cdr import LARGE_BYTES
from common.errors import CdrError, QueueUnavailable
from common.settings import ReceiverSettings
from common.wire import Fields, read_body

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
# With fewer fields somebody may only be trying the address.
LEAST_FIELDS = 3
_TELLING_HEADERS = frozenset({b"content-type", b"content-encoding"})


class UsualPost:
    """Takes a post that has come whole."""

    def __init__(
        self,
        settings: ReceiverSettings,
        accounts: Accounts,
        admission: Admission,
        group_commit: GroupCommit,
        metrics: Metrics,
    ) -> None:
        self._accounts = accounts
        self._longest = 0 if settings.receiver_debug else min(LARGE_BYTES, settings.max_body_bytes + 1)
        self._admission = admission
        self._group_commit = group_commit
        self._metrics = metrics

    def take(self, target: bytes, headers: Headers, body: bytes, answer: Callable[[Response], None]) -> bool:
        """Store what was posted to `target` and call `answer` once it is safe, later; or do nothing and return False.

        `headers` have lower-case names. Never raises.
        """
        started, size = time.perf_counter(), len(body)
        account = self._accounts.at(target)
        if account is None or size >= self._longest or not self._admission.has_room_for(size):
            return False
        try:
            read = _read(account, headers, body)
        except Exception:  # noqa: BLE001 - whatever it is, the general way says it, and keeps the body of a bug of ours
            return False
        if read is None:
            return False
        body_format, entries = read

        def settle(error: CdrError | None) -> None:
            self._admission.leave(size)
            self._metrics.count(body_format, "unavailable" if error else "stored")
            answer(render(answer_to(error) if error else STORED, body_format))
            self._metrics.observe_answer(time.perf_counter() - started)

        try:
            self._group_commit.submit(entries, settle)
        except QueueUnavailable:
            return False
        self._admission.admit(size)
        return True


def _read(account: str, headers: Headers, body: bytes) -> tuple[str, Entries] | None:
    """Return the body's format and what is to be stored of it, or None when more has to be looked at."""
    telling = [header for header in headers if header[0] in _TELLING_HEADERS]
    if len(telling) > 1 or (telling and telling[0][0] != b"content-type"):
        return None
    message = read_body(body, telling[0][1].decode("latin-1") if telling else None)
    element = message.elements[0]
    if message.is_array or not isinstance(element, Fields) or len(element.fields) < LEAST_FIELDS:
        return None
    post = Post(account, time.time_ns() // 1000, os.urandom(16).hex(), None, body)
    return message.format, Entries([delivery(post, message.format, 0, element)], [])
