"""Fetches one recording from its host into the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Self

from common.errors import QueueUnavailable, RecordingGone, RecordingNotReady, RecordingRefused, Transient
from worker.recordings.address_guard import AddressGuard
from worker.recordings.audio_facts import audio_facts
from worker.recordings.audio_kind import SIGNATURE_BYTES, AudioKind, audio_kind
from worker.recordings.fetch_gate import Visit
from worker.recordings.recording_key import recording_key
from worker.recordings.recording_outcome import Closed, NotReady, Outcome, PutOff, Recording, Stored
from worker.recordings.recording_store import RecordingStore
from worker.recordings.safe_http import FetchLimits, Response, open_checked

# How long to leave a host alone that asks to wait and does not say how long, and how long at most.
DEFAULT_HOST_WAIT_SECONDS = 30.0
LONGEST_HOST_WAIT_SECONDS = 3600.0
# When it is the store that fails, the recording has done nothing wrong: its attempts are not counted.
STORE_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Fetcher:
    """Where recordings may come from, what each may cost, and where they are kept. Safe for several threads."""

    store: RecordingStore
    guard: AddressGuard
    limits: FetchLimits

    def fetch(self, recording: Recording, visit: Visit) -> Outcome:
        """Fetch one recording, from each host once that may be asked. Touches no database, so that it can run in any thread.

        Raises QueueUnavailable before a host was asked.
        """
        try:
            with _Way(visit) as way:
                return self._ask(recording, way, visit)
        except _NotNow as not_now:
            return not_now.put_off
        except RecordingRefused as error:
            return Closed("refused", str(error))
        except RecordingGone as error:
            return Closed("gone", str(error))
        except RecordingNotReady as error:
            return NotReady(str(error))
        except QueueUnavailable:
            raise
        except Transient as error:
            return PutOff(str(error), STORE_RETRY_SECONDS, "store", asked_to_wait=False)

    def _ask(self, recording: Recording, way: _Way, visit: Visit) -> Outcome:
        with open_checked(recording.source_url, self.guard, self.limits, way.go_to) as response:
            if _asks_to_wait(response):
                return _host_waits(response, visit)
            if response.status == 410:
                raise RecordingGone("the host says that it is gone (HTTP 410)")
            if response.status != 200:
                return NotReady(f"the host answers HTTP {response.status}", response.retry_after_seconds or 0)
            head = _head(response.chunks)
            kind = audio_kind(head)
            if kind is None:
                raise RecordingNotReady("what came is no audio" if head else "what came is empty")
            return self._keep(recording, kind, chain((head,), response.chunks))

    def _keep(self, recording: Recording, kind: AudioKind, chunks: Iterator[bytes]) -> Stored:
        key = recording_key(
            recording.account, recording.started_at, recording.call_id, recording.call_type, kind.extension
        )
        with self.store.staged(chunks) as staged:
            facts = audio_facts(staged.path, kind.extension)
            return Stored(self.store.place(staged, key), kind.content_type, facts)


class _NotNow(Exception):
    """A host on the way to a recording may not be asked for now."""

    def __init__(self, put_off: PutOff) -> None:
        super().__init__(put_off.error)
        self.put_off = put_off


class _Way:
    """The hosts that a fetch is led to, one after the other: it holds a place at the one that it asks, and at no other."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._host: str | None = None
        self._place = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.close()

    def go_to(self, host: str) -> None:
        """Give the place at the last host back and wait for one at the next; raises _NotNow, QueueUnavailable."""
        # Who stays at a host does not stand in line there again.
        if host == self._host:
            return
        self._place.close()
        put_off = self._place.enter_context(self._visit.place(host))
        if put_off is not None:
            raise _NotNow(put_off)
        self._host = host


def _asks_to_wait(response: Response) -> bool:
    return response.status == 429 or (response.status == 503 and response.retry_after_seconds is not None)


def _host_waits(response: Response, visit: Visit) -> PutOff:
    host, asked = response.host, response.retry_after_seconds
    seconds = DEFAULT_HOST_WAIT_SECONDS if asked is None else min(max(asked, 1.0), LONGEST_HOST_WAIT_SECONDS)
    visit.leave_alone(host, seconds)
    return PutOff(f"{host} asks to wait (HTTP {response.status})", seconds, host, asked_to_wait=True)


def _head(chunks: Iterator[bytes]) -> bytes:
    head = b""
    while len(head) < SIGNATURE_BYTES and (chunk := next(chunks, b"")):
        head += chunk
    return head
