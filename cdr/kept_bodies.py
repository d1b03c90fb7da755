"""Lists, shows, replays and discards bodies in quarantine for the commands `cdr quarantine`."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from cdr.audit import audited
from cdr.database import opened_database
from cdr.known_accounts import require_account
from cdr.options import failed, wrong_usage
from cdr.printing import print_bytes, print_count, print_json, print_line, print_list, print_table, print_text
from common.environment import load
from common.errors import Rejected
from common.postgres import Database, statement
from common.redis_client import connect
from common.settings import BodySettings, RedisSettings
from worker.kept_bodies import BodyFilter, KeptBody, WholeBody, find_bodies, mark, read_body_of
from worker.replay_quarantine import count_cdrs, replay_body

_COLUMNS = ("id", "first received", "times", "account", "format", "bytes", "reason", "error")


@dataclass
class Tally:
    """What a replay did: bodies replayed and the CDRs in them, and why the others stay, each reason with an example."""

    replayed: int = 0
    cdrs: int = 0
    kept: int = 0
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, cdrs_of: Callable[[], int]) -> None:
        """Count one body, which holds as many CDRs as the call returns, or is refused by it."""
        try:
            self.cdrs += cdrs_of()
            self.replayed += 1
        except Rejected as error:
            self.kept += 1
            reason = self.reasons.setdefault(error.reason, {"count": 0, "example": str(error)})
            reason["count"] += 1

    def print(self, *, as_json: bool) -> None:
        """Print the counts."""
        if as_json:
            print_json(asdict(self))
            return
        print_line(f"{self.replayed} replayed, {self.cdrs} CDRs in them; {self.kept} stay")
        for reason, told in self.reasons.items():
            print_line(f"{told['count']} stay: {reason}: {told['example']}")


def run_list(wanted: BodyFilter, limit: int | None, *, as_json: bool) -> None:
    """Print the bodies that are meant."""
    with opened_database("quarantine") as database:
        _require(database, wanted)
        print_list(find_bodies(database, wanted), _COLUMNS, _row, as_json=as_json, limit=limit)


def run_show(quarantine_id: int, *, as_json: bool, raw: bool) -> None:
    """Print one body and its headers, or write its bytes."""
    with opened_database("quarantine") as database:
        body = _read(database, quarantine_id)
    if raw:
        if not print_bytes(body.body):
            wrong_usage("--raw writes what anybody may have sent: into a file or a pipe, not to a terminal")
        return
    document = _document(body)
    if as_json:
        print_json(document)
        return
    headers, text, encoded = (document.pop(name) for name in ("headers", "body", "body_base64"))
    print_table(("", ""), [*document.items(), *headers.items()])
    print_line()
    print_text(encoded if text is None else text)


def count_readable(wanted: BodyFilter, limit: int | None) -> Tally:
    """Count what a replay would do."""
    tally = Tally()
    largest = load(BodySettings).max_body_bytes
    with opened_database("quarantine") as database:
        _require(database, wanted)
        for kept in find_bodies(database, wanted, limit):
            body = _read(database, kept.quarantine_id)
            tally.add(partial(count_cdrs, body, largest))
    return tally


def run_replay(wanted: BodyFilter, limit: int | None, rate: float | None) -> Tally:
    """Replay the bodies that are meant, at most `rate` a second; what was done before an error stays done."""
    tally = Tally()
    settings, largest = load(RedisSettings), load(BodySettings).max_body_bytes
    connection = connect(settings.redis_url.get_secret_value(), 5, 0, settings.ack_level, settings.ack_replicas)
    with opened_database("quarantine") as database:
        _require(database, wanted)
        with audited("quarantine replay", {**asdict(wanted), "limit": limit}) as tell:
            for kept in _paced(find_bodies(database, wanted, limit), rate):
                body = _read(database, kept.quarantine_id)
                tally.add(partial(replay_body, database, connection, body, largest))
                tell(tally.replayed)
    return tally


def run_discard(wanted: BodyFilter, limit: int | None, rate: float | None, *, dry_run: bool, as_json: bool) -> None:
    """Mark the bodies that are meant as discarded, or only count them."""
    with opened_database("quarantine") as database:
        _require(database, wanted)
        if dry_run:
            found = sum(1 for _ in find_bodies(database, wanted, limit))
            print_count(found, "body would be discarded", "bodies would be discarded", as_json=as_json)
            return
        count = 0
        with audited("quarantine discard", {**asdict(wanted), "limit": limit}) as tell:
            for kept in _paced(find_bodies(database, wanted, limit), rate):
                count += mark(database, [kept.quarantine_id], "discarded")
                tell(count)
    print_count(count, "body was discarded", "bodies were discarded", as_json=as_json)


def _require(database: Database, wanted: BodyFilter) -> None:
    """End the command, and nothing done, when one of the ids that were given is of no body at all, or the account unknown."""
    require_account(database, wanted.account)
    if wanted.ids is None:
        return
    with database.transaction() as cursor:
        known = {row[0] for row in cursor.execute(statement("cdr", "find_body_ids"), {"ids": wanted.ids})}
    unknown = [str(each) for each in dict.fromkeys(wanted.ids) if each not in known]
    if unknown:
        failed(f"there is no body {', '.join(unknown)} in quarantine")


def _read(database: Database, quarantine_id: int) -> WholeBody:
    body = read_body_of(database, quarantine_id)
    return body if body is not None else failed(f"there is no body {quarantine_id} in quarantine")


def _paced(bodies: Iterator[KeptBody], rate: float | None) -> Iterator[KeptBody]:
    started = time.monotonic()
    for count, body in enumerate(bodies):
        if rate is not None:
            time.sleep(max(0.0, started + count / rate - time.monotonic()))
        yield body


def _row(body: KeptBody) -> tuple[object, ...]:
    first_line = body.error.splitlines()[0] if body.error else ""
    return (
        body.quarantine_id,
        body.received_at,
        body.received_count,
        body.account,
        body.format,
        body.size_bytes,
        body.reason,
        first_line,
    )


def _document(body: WholeBody) -> dict[str, Any]:
    """Return a row with its body as text where it is text, else as base64."""
    document = asdict(body)
    text = _text(body.body)
    return {
        **document,
        "body": text,
        "body_base64": base64.b64encode(body.body).decode() if text is None else None,
    }


def _text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
