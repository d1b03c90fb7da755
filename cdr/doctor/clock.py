"""Compares a server's clock with this machine's."""

from __future__ import annotations

import time
from collections.abc import Callable

from cdr.doctor.finding import Finding, ok, warning

TOLERATED_SECONDS = 5.0


def clock_finding(ask: Callable[[], float]) -> Finding:
    """Say how far a clock is off; `ask` returns what it shows, in seconds since the epoch."""
    before = time.time()
    shown = ask()
    # Somewhere between question and answer the clock was read.
    off = 0.0 if before <= shown <= time.time() else min(shown - before, shown - time.time(), key=abs)
    if abs(off) <= TOLERATED_SECONDS:
        return ok(f"{abs(off):.1f} s off this machine's")
    way = "ahead of" if off > 0 else "behind"
    return warning(f"{abs(off):.0f} s {way} this machine's", "let NTP keep the clocks of all machines")
