"""Bounds how many bytes of recordings a process holds in memory while it uploads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import Transient


class Budget:
    """So many bytes for all threads together; who finds too few left waits for others, and not for ever."""

    def __init__(self, size_bytes: int, patience_seconds: float) -> None:
        self._left_bytes = size_bytes
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """Hold so many bytes of it for the block; raises Transient when there were too few for too long."""
        self._take(size_bytes)
        try:
            yield
        finally:
            with self._changed:
                self._left_bytes += size_bytes
                self._changed.notify_all()

    def _take(self, size_bytes: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._left_bytes >= size_bytes, self._patience_seconds):
                raise Transient("the recording store takes too long over what came before")
            self._left_bytes -= size_bytes
