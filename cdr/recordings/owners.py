"""Finds the CDRs that objects without a row are recordings of: by their names, made anew from each CDR that may be meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from cdr.recordings.days import SETTLING_SECONDS
from common.identity import call_key
from common.postgres import Database, statement
from worker.recordings.recording_key import call_ids_in, key_stem, stem_of


@dataclass(frozen=True)
class Owner:
    """A CDR, or a row of it, whose recording an object may be.

    `sha256` is what its recording was when it was stored, None if it never was. Not `is_settled` is a row that changed a moment
    ago: a recorder may be at work on it.
    """

    identity: bytes
    provider_time: datetime
    account: str
    call_id: str
    call_type: str | None
    started_at: datetime
    source_url: str
    is_stored: bool
    sha256: bytes | None
    is_settled: bool


@dataclass(frozen=True)
class Ownership:
    """What an object without a row is: the recording of `owners`, or no one's, or `unclear` when it may be one of several.

    With neither, all recordings that it may be are stored elsewhere. With one that is not settled it is not yet said.
    """

    owners: tuple[Owner, ...] = ()
    is_known: bool = False
    is_unclear: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether none of the rows changed a moment ago."""
        return all(owner.is_settled for owner in self.owners)

    def may_be(self, sha256: bytes) -> bool:
        """Tell whether this content may be the recording: where it was stored before, it was this."""
        known = {owner.sha256 for owner in self.owners if owner.sha256 is not None}
        return not known or sha256 in known


def find_owners(database: Database, prefix: str, keys: list[str]) -> dict[str, Ownership]:
    """Tell of each key of a day, given by its prefix, whose recording the object is; raises DatabaseUnavailable."""
    part, _, day = prefix.partition("/")
    account, stems = unquote(part), {stem_of(key) for key in keys}
    begins_at = datetime.strptime(day, "%Y/%m/%d").replace(tzinfo=UTC)
    values = {"account": account, "begins_at": begins_at, "ends_at": begins_at + timedelta(days=1)}
    found = _by_stem(_read(database, "owners_of_day", values), stems)
    call_ids = {call_id for stem in stems - found.keys() for call_id in call_ids_in(stem)}
    if call_ids:
        call_keys = [call_key(account, call_id).hex() for call_id in call_ids]
        found |= _by_stem(_read(database, "owners_by_call", {"account": account, "call_keys": call_keys}), stems)
    return {key: _decide(found.get(stem_of(key), [])) for key in keys}


def _read(database: Database, name: str, values: dict[str, Any]) -> list[Owner]:
    with database.transaction() as cursor:
        values = {**values, "settling_seconds": SETTLING_SECONDS}
        return [Owner(*row) for row in cursor.execute(statement("cdr", name), values)]


def _by_stem(owners: Iterable[Owner], stems: set[str]) -> dict[str, list[Owner]]:
    by_stem: dict[str, list[Owner]] = {}
    for owner in owners:
        stem = key_stem(owner.call_id, owner.call_type)
        if stem in stems:
            by_stem.setdefault(stem, []).append(owner)
    return by_stem


def _decide(owners: list[Owner]) -> Ownership:
    waiting = tuple(owner for owner in owners if not owner.is_stored)
    # Legs of a call may share a recording, and then its address. Which of two recordings an object is, nothing tells; a
    # wrong guess would stand for ever, and one that is fetched again finds its object by itself.
    is_unclear = bool(waiting) and len({owner.source_url for owner in owners}) > 1
    return Ownership(() if is_unclear else waiting, bool(owners), is_unclear)
