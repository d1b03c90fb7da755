"""The oracle's judgement: what is as it has to be passes, and each way in which it is not is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from oracle.checker import Finding, check
from oracle.ledger import Attempt, Ledger, Outcome, Post, Sent
from oracle.model import plain
from oracle.rounds import refusals
from oracle.stored import Row, Stored, what_is_left
from oracle.traffic import carried, identify

from cdr.simulate.bodies import BodyFormat
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from worker.outbox import enqueue

URL = "http://127.0.0.1:1/c-1.mp3"
DIGESTS = {URL: "ab" * 32}
FIELDS: dict[str, Any] = {
    "ivruniqueid": "c-1",
    "type": "Queue",
    "status": "ANSWER",
    "time": 1_793_000_000,
    "callerextension": "",
    "targetextension": "AAPINFzL",
    "caller": "0722776772",
    "target": "AAPINFzL",
    "duration": 33,
    "dialtime": 5,
    "queueid": 12345,
    "queuename": "Service Queue",
    "price": 7.0,
    "record": URL,
    "representative_code": "9001 ",
    "representative_name": "נועה לוי",
    "seconds_waiting_in_queue": 12,
}
CDR: Row = {
    "identity": b"1",
    "account": "default",
    "call_id": "c-1",
    "original_call_id": None,
    "call_type": "Queue",
    "disposition": "ANSWER",
    "outcome": "answered",
    "time_raw": 1_793_000_000,
    "started_at": datetime(2026, 10, 26, 5, 33, 20, tzinfo=UTC),
    "duration_seconds": 33,
    "talk_seconds": 33,
    "ring_seconds": 5,
    "queue_wait_seconds": 12,
    "caller_number": "0722776772",
    "called_party": "AAPINFzL",
    "did_number": None,
    "acd_queue_id": 12345,
    "acd_queue_name": "Service Queue",
    "caller_extension_code": None,
    "answering_extension_code": "AAPINFzL",
    "agent_code": "9001",
    "agent_name": "נועה לוי",
    "price_agorot": Decimal("7.0"),
    "recording_url": URL,
    "payload": FIELDS,
    "delivery_count": 1,
}
CALL: Row = {
    "account": "default",
    "call_id": "c-1",
    "call_ids": ["c-1"],
    "leg_count": 1,
    "recording_count": 1,
    "price_agorot": Decimal(7),
}
RECORDING: Row = {
    "identity": b"1",
    "source_url": URL,
    "status": "stored",
    "storage_key": "default/c-1.wav",
    "digest": DIGESTS[URL],
    "file_digest": DIGESTS[URL],
}
BODY: Row = {"account": "default", "body": b"{", "received_count": 1, "status": "kept"}
FILES = frozenset({"default/c-1.wav"})
WHOLE = Stored([CDR], [CALL], [RECORDING], [], FILES)


class Sending:
    """A ledger that is filled by hand: each attempt begins after the one before has ended."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._now = 0.0

    def send(
        self, *cdrs: dict[str, Any], outcome: Outcome = "acked", body: bytes = b"", carrier: BodyFormat = "json"
    ) -> Sending:
        sent = tuple(Sent(identify("default", fields), carried(fields, carrier)) for fields in cdrs)
        self.ledger.note(Attempt(Post("default", body, "", sent), self._now, self._now + 1, outcome, ""))
        self._now += 2
        return self

    def check(self, stored: Stored = WHOLE) -> list[Finding]:
        return check(self.ledger.deliveries(), self.ledger.bodies(), stored, DIGESTS)

    def kinds(self, stored: Stored = WHOLE) -> list[str]:
        return sorted({finding.kind for finding in self.check(stored)})


@pytest.fixture
def sending() -> Sending:
    return Sending()


def stored(**changes: Any) -> Stored:
    """Return what is stored as it has to be, with changes to the row of the CDR."""
    return Stored([CDR | changes], [CALL], [RECORDING], [], FILES)


def test_what_was_acknowledged_and_is_stored_once_passes(sending: Sending) -> None:
    assert sending.send(FIELDS).check() == []


def test_a_missing_row_is_found(sending: Sending) -> None:
    (finding,) = sending.send(FIELDS).check(Stored())
    assert finding == ("lost", "acknowledged, and no row", identify("default", FIELDS))


@pytest.mark.parametrize("outcome", ["refused", "unanswered", "kept"])
def test_what_was_not_acknowledged_may_be_missing(sending: Sending, outcome: Outcome) -> None:
    assert sending.send(FIELDS, outcome=outcome).check(Stored()) == []


@pytest.mark.parametrize("outcome", ["refused", "unanswered"])
def test_what_was_not_acknowledged_may_be_stored(sending: Sending, outcome: Outcome) -> None:
    assert sending.send(FIELDS, outcome=outcome).check() == []


def test_a_doubled_row_is_found(sending: Sending) -> None:
    twice = Stored(
        [CDR, CDR | {"identity": b"1"}], [CALL | {"leg_count": 2, "price_agorot": 14}], [RECORDING], [], FILES
    )
    assert sending.send(FIELDS).kinds(twice) == ["double"]


def test_an_invented_row_is_found(sending: Sending) -> None:
    assert sending.kinds() == ["invented"]


def test_a_row_under_another_account_is_found(sending: Sending) -> None:
    assert sending.send(FIELDS).kinds(stored(account="north")) == ["invented", "lost"]


@pytest.mark.parametrize("count", [0, 3])
def test_a_wrong_count_of_deliveries_is_found(sending: Sending, count: int) -> None:
    sending.send(FIELDS).send(FIELDS, outcome="unanswered")
    assert sending.kinds(stored(delivery_count=count)) == ["lost" if count == 0 else "double"]


@pytest.mark.parametrize("count", [1, 2])
def test_an_unanswered_attempt_may_count_or_not(sending: Sending, count: int) -> None:
    assert sending.send(FIELDS).send(FIELDS, outcome="unanswered").check(stored(delivery_count=count)) == []


def test_an_acknowledged_delivery_that_did_not_count_is_found(sending: Sending) -> None:
    assert sending.send(FIELDS).send(FIELDS).kinds() == ["lost"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("talk_seconds", 34),
        ("ring_seconds", None),
        ("queue_wait_seconds", 0),
        ("disposition", "BUSY"),
        ("outcome", "busy"),
        ("caller_number", "722776772"),
        ("called_party", None),
        ("acd_queue_id", None),
        ("agent_code", "9001 x"),
        ("agent_name", None),
        ("price_agorot", Decimal(700)),
        ("started_at", datetime(2026, 10, 26, 7, 33, 20, tzinfo=UTC)),
        ("original_call_id", "c-0"),
    ],
)
def test_a_wrong_value_is_found(sending: Sending, column: str, value: object) -> None:
    assert "wrong" in sending.send(FIELDS).kinds(stored(**{column: value}))


def test_a_value_of_the_payload_that_was_not_sent_is_found(sending: Sending) -> None:
    assert sending.send(FIELDS).kinds(stored(payload=FIELDS | {"more": 1})) == ["wrong"]


def test_a_value_that_is_missing_in_the_payload_is_found(sending: Sending) -> None:
    without = {name: value for name, value in FIELDS.items() if name != "did"} | {"status": ""}
    assert "lost" in sending.send(FIELDS).kinds(stored(payload=without))


def test_a_later_delivery_wins_and_an_earlier_value_is_found(sending: Sending) -> None:
    later = FIELDS | {"price": 91}
    sending.send(FIELDS).send(later)
    assert sending.kinds(stored(delivery_count=2)) == ["wrong"]
    merged = Stored(
        [CDR | {"delivery_count": 2, "payload": later, "price_agorot": Decimal(91)}],
        [CALL | {"price_agorot": Decimal(91)}],
        [RECORDING],
        [],
        FILES,
    )
    assert sending.check(merged) == []


def test_a_later_delivery_that_was_not_answered_may_win_or_not(sending: Sending) -> None:
    sending.send(FIELDS).send(FIELDS | {"queuename": "Another"}, outcome="unanswered")
    won = {"delivery_count": 2, "payload": FIELDS | {"queuename": "Another"}, "acd_queue_name": "Another"}
    assert sending.check(stored(**won)) == []
    assert sending.check() == []


def test_a_delivery_that_empties_a_value_is_found(sending: Sending) -> None:
    sending.send(FIELDS).send(FIELDS | {"queuename": ""})
    emptied = stored(delivery_count=2, payload=FIELDS | {"queuename": ""}, acd_queue_name=None)
    assert sending.kinds(emptied) == ["lost"]
    assert sending.check(stored(delivery_count=2)) == []


def test_formats_that_carry_less_are_not_expected_to_say_more(sending: Sending) -> None:
    texts = {name: str(value) for name, value in FIELDS.items() if name != "seconds_waiting_in_queue"}
    assert sending.send(FIELDS, carrier="form").check(stored(payload=texts, queue_wait_seconds=None)) == []


@pytest.mark.parametrize("change", [{"leg_count": 2}, {"call_ids": ["c-1", "c-2"]}, {"recording_count": 0}])
def test_a_call_that_is_folded_wrong_is_found(sending: Sending, change: dict[str, Any]) -> None:
    wrong = Stored([CDR], [CALL | change], [RECORDING], [], FILES)
    assert sending.send(FIELDS).kinds(wrong) == ["wrong"]


@pytest.mark.parametrize(
    ("calls", "kind"), [([], "lost"), ([CALL, CALL], "double"), ([CALL, CALL | {"call_id": "x"}], "invented")]
)
def test_a_call_that_is_missing_doubled_or_invented_is_found(sending: Sending, calls: list[Row], kind: str) -> None:
    assert sending.send(FIELDS).kinds(Stored([CDR], calls, [RECORDING], [], FILES)) == [kind]


def test_calls_of_a_chain_are_one(sending: Sending) -> None:
    follower = FIELDS | {"ivruniqueid": "c-2", "OriginalivrUniqueID": "c-1", "record": ""}
    second = CDR | {
        "identity": b"2",
        "call_id": "c-2",
        "original_call_id": "c-1",
        "recording_url": None,
        "payload": follower,
    }
    call = CALL | {"leg_count": 2, "call_ids": ["c-2", "c-1"], "price_agorot": Decimal(14)}
    sending.send(FIELDS, follower)
    assert sending.check(Stored([CDR, second], [call], [RECORDING], [], FILES)) == []
    apart = [CALL, CALL | {"call_id": "c-2", "call_ids": ["c-2"], "recording_count": 0}]
    assert sending.kinds(Stored([CDR, second], apart, [RECORDING], [], FILES)) == ["invented", "wrong"]


@pytest.mark.parametrize(
    "change",
    [{"status": "pending"}, {"status": "gone"}, {"digest": "cd" * 32}, {"file_digest": ""}, {"file_digest": "cd" * 32}],
)
def test_a_recording_that_is_not_stored_as_served_is_found(sending: Sending, change: dict[str, Any]) -> None:
    assert sending.send(FIELDS).kinds(Stored([CDR], [CALL], [RECORDING | change], [], FILES)) == ["wrong"]


@pytest.mark.parametrize(
    ("recordings", "files", "kind"),
    [
        ([], frozenset(), "lost"),
        ([RECORDING, RECORDING], FILES, "double"),
        ([RECORDING, RECORDING | {"source_url": f"{URL}x"}], FILES, "invented"),
        ([RECORDING], FILES | {"default/c-1-more.wav"}, "invented"),
    ],
)
def test_a_recording_that_is_missing_doubled_or_invented_is_found(
    sending: Sending, recordings: list[Row], files: frozenset[str], kind: str
) -> None:
    assert kind in sending.send(FIELDS).kinds(Stored([CDR], [CALL], recordings, [], files))


@pytest.mark.parametrize(
    ("bodies", "kinds"),
    [
        ([BODY], []),
        ([], ["lost"]),
        ([BODY | {"received_count": 2}], ["double"]),
        ([BODY, BODY | {"body": b"["}], ["invented"]),
    ],
)
def test_a_body_that_is_no_cdr_has_to_be_in_quarantine_once(
    sending: Sending, bodies: list[Row], kinds: list[str]
) -> None:
    assert sending.send(outcome="kept", body=b"{").kinds(Stored(bodies=bodies)) == kinds


def test_a_body_that_is_no_cdr_and_was_acknowledged_is_found(sending: Sending) -> None:
    assert sending.send(body=b"{").kinds(Stored()) == ["wrong"]


def test_where_everything_has_to_be_acknowledged_each_refusal_is_found(sending: Sending) -> None:
    sending.send(FIELDS).send(FIELDS, FIELDS, outcome="refused").send(FIELDS, outcome="unanswered")
    assert [finding.about for finding in refusals(sending.ledger)] == ["refused: ", "refused: ", "unanswered: "]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ([], ""),
        (7.0, "7"),
        ("7.00", "7"),
        (Decimal("0.10"), "0.1"),
        (100, "100"),
        ("0722776772", "0722776772"),
        ("+972", "+972"),
        ("9001 ", "9001"),
        ("12e4", "12e4"),
        ({"b": [1.0, "x"], "a": None}, '{"a": "", "b": ["1", "x"]}'),
        ('{"b":[1,"x"],"a":null}', '{"a": "", "b": ["1", "x"]}'),
    ],
)
def test_a_value_is_the_same_text_whichever_format_carried_it(value: object, text: str) -> None:
    assert plain(value) == text


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def test_nothing_left_is_nothing(database_url: str, redis_url: str, tmp_path: Path) -> None:
    assert what_is_left(database_url, redis_url, tmp_path) == []


def test_a_job_that_waits_is_left(client: redis.Redis, database_url: str, redis_url: str, tmp_path: Path) -> None:
    enqueue(client, [NewJob(CDRS, LOAD_CDRS, ([],), "load", "job-1")])
    left = what_is_left(database_url, redis_url, tmp_path)
    assert left == ["rq:queue:cdrs: 1", "jobs not ended: 1, first rq:job:job-1"]


@pytest.mark.parametrize("key", ["rq:wip:cdrs", "rq:failed:recordings", "rq:scheduled:hooks", "cdr:leases:cdrs"])
def test_a_job_in_a_registry_is_left(
    client: redis.Redis, database_url: str, redis_url: str, tmp_path: Path, key: str
) -> None:
    client.zadd(key, {"job-1": 1})
    assert what_is_left(database_url, redis_url, tmp_path) == [f"{key}: 1"]


def test_a_job_in_no_list_and_no_registry_is_left(
    client: redis.Redis, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    client.hset("rq:job:job-1", "status", "started")
    client.hset("rq:job:job-2", "status", "finished")
    assert what_is_left(database_url, redis_url, tmp_path) == ["jobs not ended: 1, first rq:job:job-1"]


def test_an_entry_of_a_spool_is_left(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "1-2-3.spool")) as spool:
        spool.execute("PRAGMA journal_mode = WAL")
        spool.execute("PRAGMA locking_mode = EXCLUSIVE")
        spool.execute("CREATE TABLE entries (entry_id INTEGER PRIMARY KEY)")
        spool.execute("INSERT INTO entries DEFAULT VALUES")
        spool.commit()
        assert what_is_left(database_url, redis_url, tmp_path) == ["1-2-3.spool: 1 entries"]
        spool.execute("DELETE FROM entries")
        spool.commit()
        assert what_is_left(database_url, redis_url, tmp_path) == []
