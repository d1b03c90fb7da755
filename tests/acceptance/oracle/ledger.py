"""What was sent and what was answered: each acknowledgement that was read whole is an obligation."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias

Outcome: TypeAlias = Literal["acked", "kept", "refused", "unanswered"]
OUTCOMES: tuple[Outcome, ...] = ("acked", "kept", "refused", "unanswered")
NEVER = float("inf")


class Identity(NamedTuple):
    """What makes a CDR the same one, as docs/tables.md says it; the type is folded."""

    account: str
    call_id: str
    call_type: str
    time: int
    caller_extension: str
    target_extension: str


@dataclass(frozen=True)
class Sent:
    """One CDR of a post: its identity, and its fields as the body's format carries them."""

    identity: Identity
    fields: dict[str, Any]


@dataclass(frozen=True)
class Post:
    """One request. `cdrs` is empty for a body that is no CDR."""

    account: str
    body: bytes
    content_type: str
    cdrs: tuple[Sent, ...]


@dataclass(frozen=True)
class Attempt:
    """One time that a post was sent. `began` and `ended` are on the monotonic clock.

    `outcome` is acked (HTTP 200, err 0), kept (HTTP 200, another err: quarantine), refused (another status) or unanswered.
    """

    post: Post
    began: float
    ended: float
    outcome: Outcome
    answer: str


class Delivery(NamedTuple):
    """One CDR of one attempt: what may have been received once, and was if it is certain.

    It was received between `began` and `ended`; what was not answered may be received at any later time.
    """

    attempt: Attempt
    place: int
    fields: dict[str, Any]

    @property
    def is_certain(self) -> bool:
        """Whether the receiver said that it has it."""
        return self.attempt.outcome == "acked"

    def precedes(self, other: Delivery) -> bool:
        """Tell whether it was received before another, for certain."""
        if self.attempt is other.attempt:
            return self.place < other.place
        ended = NEVER if self.attempt.outcome == "unanswered" else self.attempt.ended
        return ended < other.attempt.began


@dataclass
class Ledger:
    """All attempts of a round; written by several threads."""

    attempts: list[Attempt] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def note(self, attempt: Attempt) -> None:
        """Add an attempt."""
        with self._lock:
            self.attempts.append(attempt)

    def deliveries(self) -> dict[Identity, list[Delivery]]:
        """Return what was sent of each CDR, in the order of the answers."""
        found: dict[Identity, list[Delivery]] = {}
        for attempt in self.attempts:
            for place, sent in enumerate(attempt.post.cdrs):
                found.setdefault(sent.identity, []).append(Delivery(attempt, place, sent.fields))
        return found

    def bodies(self) -> dict[tuple[str, bytes], list[Attempt]]:
        """Return the attempts to post what is no CDR, by account and body."""
        found: dict[tuple[str, bytes], list[Attempt]] = {}
        for attempt in self.attempts:
            if not attempt.post.cdrs:
                found.setdefault((attempt.post.account, attempt.post.body), []).append(attempt)
        return found

    def count(self, outcome: Outcome) -> int:
        """Return how many CDRs, or bodies that are none, were sent in attempts that ended so."""
        return sum(max(1, len(each.post.cdrs)) for each in self.attempts if each.outcome == outcome)
