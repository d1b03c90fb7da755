"""Bounds the names that are learned: every worker has all of them in memory, and who sends a CDR chooses code, name and time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import structlog

from worker.name_timeline import MOST_LEARNED_NAMES, Timeline

# Of one account. Together they keep the whole table small enough to be read in seconds, and to be in memory.
MOST_LEARNED_CODES = 50_000
MOST_NAMES_OF_ALL_CODES = 200_000
# Whoever meets a bound meets it with every call.
TELL_SECONDS = 600.0

_log = structlog.get_logger("worker.learning_bounds")


class LearningBounds:
    """How many codes and names each account has learned, as this process knows; others may add some at the same time."""

    def __init__(self, learned: Iterable[tuple[str, Timeline]] = ()) -> None:
        self._codes: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}
        self.recount(learned)

    def recount(self, learned: Iterable[tuple[str, Timeline]]) -> None:
        """Count anew; `learned` are the account and the names of every code."""
        self._codes.clear()
        self._names.clear()
        for account, timeline in learned:
            self.count(account, Timeline(), timeline)

    def count(self, account: str, before: Timeline, after: Timeline) -> None:
        """Note that the names of one code have changed."""
        self._codes[account] += bool(after.starts) - bool(before.starts)
        self._names[account] += len(after.starts) - len(before.starts)

    def allow(self, account: str, code: str, known: Timeline) -> bool:
        """Tell whether another name may be learned of a code; that it may not is logged now and then."""
        if known.is_full:
            self._tell("extension has too many learned names", account, extension_code=code, most=MOST_LEARNED_NAMES)
        elif not known.starts and self._codes[account] >= MOST_LEARNED_CODES:
            self._tell("account has too many learned extensions", account, most=MOST_LEARNED_CODES)
        elif self._names[account] >= MOST_NAMES_OF_ALL_CODES:
            self._tell("account has too many learned names", account, most=MOST_NAMES_OF_ALL_CODES)
        else:
            return True
        return False

    def _tell(self, event: str, account: str, **fields: object) -> None:
        now = time.monotonic()
        if now - self._told_at.get(event, float("-inf")) >= TELL_SECONDS:
            self._told_at[event] = now
            _log.warning(f"{event}: no more are learned", account=account, **fields)
