"""Keeps Ctrl-C out of steps that have to be done and counted as one, and out of locks that threads share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from time import monotonic, sleep

# How late an interrupt may be heard by one who sleeps.
LATE_SECONDS = 0.1


class Interruption:
    """Whether SIGINT or SIGTERM has come; it is raised where it is asked for, and nowhere else.

    An exception that a signal raises in the midst of a lock's `__enter__` leaves the lock taken for ever, so one who
    shares locks with threads of his own is told when he asks.
    """

    def __init__(self) -> None:
        self.came = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.came:
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Sleep so long, or not at all if it is negative; KeyboardInterrupt: a signal came before or meanwhile."""
        until = monotonic() + seconds
        self.check()
        while (left := until - monotonic()) > 0:
            sleep(min(left, LATE_SECONDS))
            self.check()


@contextmanager
def interruption_noted() -> Iterator[Interruption]:
    """Note the first SIGINT or SIGTERM during the block, and let more of them change nothing to the process's end."""
    interruption = Interruption()
    if current_thread() is not main_thread():
        yield interruption
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(_number: int, _frame: object) -> None:
        # A terminal's Ctrl-C comes twice when a supervisor passes it on, the second while the process is ending.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        interruption.came = True

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        if not interruption.came:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let a SIGINT that comes during the block raise KeyboardInterrupt at its end."""
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
