"""What every kind of recording store offers, so that one set of rules, commands and tests holds for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.recordings.recording_staging import Staged, Staging

# How much of an object is in memory at a time while it is read.
PART_BYTES = 8 << 20


@dataclass(frozen=True)
class FoundObject:
    """An object as the store lists it; `modified_at` is by the store's clock, aware."""

    key: str
    size_bytes: int
    modified_at: datetime


class Backend(Protocol):
    """A kind of store. Every method raises Transient when the store fails, and is safe in several threads.

    An object is whole as soon as it can be seen, and durable when a method that wrote it returns.
    """

    staging: Staging
    # The largest recording whose name can be claimed: larger ones are named for their content at once.
    most_created_bytes: int

    def create(self, staged: Staged, key: str) -> bool:
        """Make an object of a staged recording; False, and nothing changed, when there is one of that name."""
        ...

    def write(self, staged: Staged, key: str) -> None:
        """Make an object of a staged recording, or put it in the place of the one of that name."""
        ...

    def holds(self, key: str, staged: Staged) -> bool:
        """Tell whether the object of that name has the content of a staged recording."""
        ...

    def find(self, key: str) -> FoundObject | None:
        """Return what is told of one object; None when there is none."""
        ...

    def digest(self, key: str) -> bytes:
        """Read an object and return the SHA-256 of its content."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens when there is none."""
        ...

    def folders(self, prefix: str) -> list[str]:
        """Name the parts that stand next below a prefix in keys ("" for the top), in no order."""
        ...

    def objects(self, prefix: str) -> Iterator[FoundObject]:
        """Yield the objects below a prefix, in no order."""
        ...

    def right_below(self, prefix: str) -> list[FoundObject]:
        """Return the objects right below a prefix ("" for the top), without those of folders in it, in no order."""
        ...

    def require(self) -> None:
        """Raise ConfigurationError when there is no such store for certain."""
        ...
