"""Keeps a process that meets the same trouble again and again from telling of it more than once an hour."""

from __future__ import annotations

import time

SECONDS = 3600.0


class Hourly:
    """Says when to tell of something: at once, and not again for an hour."""

    def __init__(self) -> None:
        self._due_at = 0.0

    def is_due(self) -> bool:
        """Tell whether it is to be told of now, which counts as told."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + SECONDS
        return True
