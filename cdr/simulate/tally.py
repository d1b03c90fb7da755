"""The account of a simulation: how many posts went out, and what became of each CDR in them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdr.simulate.traffic import SentCdr

Outcome: TypeAlias = Literal["sent", "acked", "quarantined", "failed"]
# A second delivery comes a few hundred posts behind the first, so this many are enough to know a CDR again; a
# simulation that runs for weeks must not remember all of them.
_REMEMBERED = 100_000
_TOLD_AT_ONCE = 3
# A description may quote what was sent, so there may be as many as posts.
_MOST_REASONS = 20
_OTHER_REASONS = "other reasons"


class Tally:
    """Counts posts, and distinct CDRs by what became of them; once acked, a CDR stays acked.

    The two differ: a post may carry an array of CDRs, and a second delivery is a post of a CDR that is counted already.
    `acked_file` gets one line for each acked CDR, at once: call id, type, time, caller extension, target extension,
    with tabs between. Used from several threads.
    """

    def __init__(self, acked_file: TextIO | None = None) -> None:
        self._acked_file = acked_file
        self._outcomes: OrderedDict[SentCdr, Outcome] = OrderedDict()
        self._counts: Counter[Outcome] = Counter()
        self._posts = 0
        self._lock = Lock()

    def note(self, cdrs: Iterable[SentCdr], outcome: Outcome) -> None:
        """Note what became of a post's CDRs: `sent` as it goes out, one of the others when it is over."""
        with self._lock:
            self._posts += outcome == "sent"
            for cdr in cdrs:
                self._note(cdr, outcome)

    def _note(self, cdr: SentCdr, outcome: Outcome) -> None:
        before = self._outcomes.get(cdr)
        if before == "acked" or (before is not None and outcome == "sent"):
            return
        if before is not None:
            self._counts[before] -= 1
        self._counts[outcome] += 1
        self._outcomes[cdr] = outcome
        if len(self._outcomes) > _REMEMBERED:
            self._outcomes.popitem(last=False)
        if outcome == "acked" and self._acked_file:
            self._acked_file.write("\t".join(map(str, cdr)) + "\n")
            self._acked_file.flush()

    @property
    def posts(self) -> int:
        """How many posts went out; one that was tried again is still one."""
        return self._posts

    @property
    def sent(self) -> int:
        """How many distinct CDRs went out."""
        return self._counts.total()

    @property
    def acked(self) -> int:
        """How many the receiver called stored."""
        return self._counts["acked"]

    def summary(self, seconds: float) -> str:
        """Tell it in one line."""
        rate = self.sent / seconds if seconds > 0 else 0.0
        return (
            f"CDRs: sent {self.sent}, acked {self.acked}, quarantined {self._counts['quarantined']}, "
            f"failed {self.sent - self.acked - self._counts['quarantined']}; "
            f"posts: {self._posts}; {seconds:.2f} s, {rate:.0f} CDR/s"
        )


class Refusals:
    """Counts posts that were not acked by what was answered, and tells of the first few at once.

    Used from several threads.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    def note(self, reason: str) -> None:
        """Count one post, after its last try."""
        with self._lock:
            if self._counts.total() < _TOLD_AT_ONCE:
                self._tell(f"post not acked: {reason}")
            known = reason in self._counts or len(self._counts) < _MOST_REASONS
            self._counts[reason if known else _OTHER_REASONS] += 1

    def lines(self) -> list[str]:
        """Return a line for each reason, the most frequent first."""
        return [f"posts not acked: {count}, {reason}" for reason, count in self._counts.most_common()]
