"""The spool as the event loop sees it: its blocking calls run one at a time in a thread of their own.

A receiver holds the spool that it writes to and, until they are empty, those that receivers before it left behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from api.spool import Batch, Entry, NotReplaced, Spool
from api.spool_folder import SpoolFolder
from common.errors import SpoolUnavailable
from common.job_queue import CDRS, NewJob
from common.receiver_state import SpoolState
from common.settings import SpoolSettings

# A disk that does not answer for so long is a failed one: the sender is told to come again.
DEADLINE_SECONDS = 10.0

_encode = msgspec.json.Encoder(decimal_format="number").encode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_log = structlog.get_logger("api.spool_thread")

Result = TypeVar("Result")


class Waiting(NamedTuple):
    """What has waited longest: a spool, the ids of its first entries, and the jobs that they are to become."""

    spool: Spool
    entry_ids: list[int]
    jobs: list[NewJob]
    cdrs: int


class SpoolThread:
    """One spool to write to, and those that are only emptied."""

    def __init__(self, settings: SpoolSettings, spooled: Callable[[int], None]) -> None:
        if settings.spool_dir is None:
            raise SpoolUnavailable("CDR_SPOOL_DIR is not set")
        self._folder = SpoolFolder(settings.spool_dir, settings.spool_max_bytes)
        self._max_bytes = settings.spool_max_bytes
        self._spooled = spooled
        self._own: Spool | None = None
        self._left_behind: list[Spool] = []
        # Entries that are safe in Redis and could not be deleted yet, by the id() of their spool.
        self._moved: dict[int, list[int]] = {}
        self._problem: str | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._stuck: asyncio.Future[Any] | None = None
        self.filled = asyncio.Event()

    async def open(self) -> None:
        """Open a spool to write to; a folder that fails is told in the state, and tried again at the next write."""
        try:
            await self._call(self._writable)
        except SpoolUnavailable as error:
            _log.error("the spool cannot be used", reason=str(error))

    async def append(self, jobs: Sequence[NewJob]) -> None:
        """Keep all jobs or none on disk; raises SpoolUnavailable."""
        batches = [Batch(job.function, job.version, _encode(job.arguments[0]), len(job.arguments[0])) for job in jobs]
        try:
            await self._call(lambda: self._write(lambda spool: spool.append(batches)))
        except SpoolUnavailable as error:
            self._note(str(error))
            raise
        self._note(None)
        self._spooled(sum(batch.count for batch in batches))
        self.filled.set()

    async def recheck(self) -> None:
        """After a failure see whether the spool can be written to again, so that its problem is told no longer."""
        if self._problem is None:
            return
        try:
            await self._call(lambda: self._write(Spool.check))
        except SpoolUnavailable as error:
            self._note(str(error))
        else:
            self._note(None)

    async def adopt(self) -> int:
        """Take over the spools that nobody holds any more, and return how many; raises SpoolUnavailable."""
        return await self._call(self._adopt)

    async def oldest(self, cdrs: int) -> Waiting | None:
        """Return what has waited longest, up to so many CDRs but at least one entry; None when nothing waits.

        Raises SpoolUnavailable.
        """
        return await self._call(lambda: self._oldest(cdrs))

    async def delete(self, moved: Waiting) -> None:
        """Delete entries that are safe in Redis; those that cannot be are left out of `oldest` and tried again.

        Raises SpoolUnavailable.
        """
        self._moved.setdefault(id(moved.spool), []).extend(moved.entry_ids)
        await self._call(lambda: self._delete_moved(moved.spool))

    def state(self) -> SpoolState:
        """Return what waits, over all spools that this receiver holds."""
        totals = [spool.state() for spool in self._spools()]
        oldest = min((each.oldest for each in totals if each.oldest is not None), default=None)
        return SpoolState(
            entries=sum(each.entries for each in totals),
            cdrs=sum(each.cdrs for each in totals),
            bytes=sum(each.bytes for each in totals),
            max_bytes=self._max_bytes,
            oldest_seconds=None if oldest is None else max(0.0, time.time() - oldest),
            problem=self._problem,
            damaged=[spool.damage for spool in self._spools() if spool.damage is not None],
        )

    async def close(self) -> None:
        """Let go of all spools; what is in them is for the next receiver."""
        with suppress(SpoolUnavailable):
            await self._call(self._close)
        self._thread.shutdown(wait=False)

    async def _call(self, work: Callable[[], Result]) -> Result:
        if self._stuck is not None and not self._stuck.done():
            raise SpoolUnavailable("the spool's disk does not answer")
        call = asyncio.get_running_loop().run_in_executor(self._thread, work)
        done, _ = await asyncio.wait({call}, timeout=DEADLINE_SECONDS)
        if not done:
            self._stuck = call
            raise SpoolUnavailable(f"the spool's disk did not answer in {DEADLINE_SECONDS} s")
        return call.result()

    def _note(self, problem: str | None) -> None:
        if problem != self._problem:
            _log.log(40 if problem else 20, "spool", problem=problem)
        self._problem = problem

    def _spools(self) -> list[Spool]:
        return [*self._left_behind, *([self._own] if self._own else [])]

    def _write(self, work: Callable[[Spool], None]) -> None:
        try:
            work(self._writable())
        except NotReplaced:
            # What takes no more has just been found out to do so.
            work(self._writable())

    def _writable(self) -> Spool:
        self._part_with_damaged()
        if self._own is None:
            try:
                self._own = self._folder.open()
            except SpoolUnavailable as error:
                self._problem = str(error)
                raise
            self._problem = None
        return self._own

    def _part_with_damaged(self) -> None:
        """Treat the own spool, when it takes no more, like one that was left behind."""
        if self._own is not None and self._own.damage is not None:
            self._left_behind.append(self._own)
            self._own = None

    def _adopt(self) -> int:
        adopted = self._folder.adopt()
        self._left_behind += adopted
        return len(adopted)

    def _oldest(self, cdrs: int) -> Waiting | None:
        self._part_with_damaged()
        failure: SpoolUnavailable | None = None
        for spool in sorted(self._spools(), key=lambda spool: spool.state().oldest or 0.0):
            try:
                if waiting := self._oldest_of(spool, cdrs):
                    return waiting
            except SpoolUnavailable as error:
                # What is in another one need not wait for it.
                failure = failure or error
        if failure is not None:
            raise failure
        return None

    def _oldest_of(self, spool: Spool, cdrs: int) -> Waiting | None:
        with suppress(SpoolUnavailable):
            self._delete_moved(spool)
        moved = self._moved.get(id(spool))
        if entries := spool.oldest(cdrs, moved[-1] if moved else 0):
            return _waiting(spool, entries)
        if spool is not self._own and not moved:
            self._left_behind.remove(spool)
            spool.close()
        return None

    def _delete_moved(self, spool: Spool) -> None:
        if entry_ids := self._moved.get(id(spool)):
            spool.delete(entry_ids)
            del self._moved[id(spool)]

    def _close(self) -> None:
        for spool in self._spools():
            with suppress(SpoolUnavailable):
                self._delete_moved(spool)
            spool.close()
        self._own, self._left_behind = None, []


def _waiting(spool: Spool, entries: list[Entry]) -> Waiting:
    """Make one job of all entries that may share one: small batches would cost the workers a job each."""
    together: dict[tuple[str, int], list[msgspec.Raw]] = {}
    for entry in entries:
        together.setdefault((entry.batch.function, entry.batch.version), []).extend(_elements(entry.batch.entries))
    jobs = [
        NewJob(CDRS, function, (elements,), f"{len(elements)} from the spool", version=version)
        for (function, version), elements in together.items()
    ]
    return Waiting(spool, [entry.entry_id for entry in entries], jobs, sum(entry.batch.count for entry in entries))
