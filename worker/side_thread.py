"""Lets a thread do one thing while its user prepares the next, such as a load that waits for PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class SideThread:
    """Does one work at a time beside its user: `with SideThread() as side: side.do(work)`. The block ends when all is done.

    What a work raises is raised by the next `do`, or at the end of the block. A block that fails itself waits for the work
    under way, which may use what its user goes on with; one that is broken off, by what is no Exception, does not.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._wait()
        elif issubclass(kind, Exception) and self._thread is not None:
            self._thread.join()

    def do(self, work: Callable[[], None]) -> None:
        """Begin a work once the one before is done."""
        self._wait()
        # A daemon, because a worker that is told to end at once waits for none of it.
        self._thread = threading.Thread(target=self._run, args=(work,), name="side", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the user's thread decides
            self._error = error
