"""Recordings are fetched from a host that may do anything, and each row says what became of it."""

from __future__ import annotations

import hashlib
import ipaddress
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port
from loading import execute, select
from recording_host import SIGNATURE, Host, Page, Rows, host, rows, serving, wav

from common.errors import QueueUnavailable
from common.postgres import Database, statement
from common.redis_client import connect
from worker.recordings import fetch_recording
from worker.recordings.address_guard import AddressGuard
from worker.recordings.audio_kind import audio_kind
from worker.recordings.fetch_batch import MAX_SIDE_BY_SIDE, Batch
from worker.recordings.fetch_gate import LEASE_SECONDS, FetchGate, Visit, places_key
from worker.recordings.fetch_recording import Fetcher
from worker.recordings.recording_outcome import PutOff
from worker.recordings.recording_store import RecordingStore
from worker.recordings.safe_http import FetchLimits
from worker.scheduled_jobs import Retry

__all__ = ["host", "rows"]

LIMITS = FetchLimits(max_bytes=100_000, connect_seconds=5, read_seconds=5, total_seconds=10)
IMPATIENT = FetchLimits(max_bytes=100_000, connect_seconds=5, read_seconds=0.2, total_seconds=0.5)
GUARD = AddressGuard([ipaddress.ip_network("127.0.0.1/32")])
WAITS = (10.0, 30.0)
MP3 = b"\xff\xfb\x90\x64" + bytes(413)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


Run = Callable[..., list[Retry]]


@pytest.fixture
def run(database_url: str, redis_url: str, folder: Path) -> Iterator[Run]:
    database = Database(database_url, "test")
    store = RecordingStore(folder.as_uri())
    gate = FetchGate(connect(redis_url), per_host=100)

    def fetch(*recording_ids: int, guard: AddressGuard = GUARD, limits: FetchLimits = LIMITS) -> list[Retry]:
        return Batch(database, Fetcher(store, guard, limits), gate, WAITS).fetch(recording_ids)

    yield fetch
    database.close()


def retried(retries: list[Retry]) -> list[int]:
    return sorted(each.recording_id for each in retries)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_recording_is_stored_and_its_row_says_where(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    recording_id = rows.add(host.url("/audio"))

    retries = run(recording_id)

    row, key = rows.get(recording_id), "acme/2026/11/23/call-Queue.wav"
    assert retries == []
    assert files(folder) == {key: wav()}
    assert (row["status"], row["storage_key"], row["bytes"], row["sha256"], row["content_type"]) == (
        "stored", key, len(wav()), hashlib.sha256(wav()).digest(), "audio/wav",
    )  # fmt: skip
    assert (row["attempts"], row["next_attempt_at"], row["last_error"]) == (1, None, None)


def test_audio_is_audio_whatever_its_host_calls_it(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    host.pages["/page"] = lambda page: page.answer(200, MP3, Content_Type="text/html")

    run(rows.add(host.url("/page")))

    assert files(folder) == {"acme/2026/11/23/call-Queue.mp3": MP3}


def test_a_recording_that_comes_later_is_stored_then(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    recording_id = rows.add(host.url("/late"))
    host.pages["/late"] = lambda page: page.answer(404)
    before = datetime.now(UTC)

    retries = run(recording_id)

    row = rows.get(recording_id)
    assert retries == [Retry(recording_id, row["next_attempt_at"], 10)]
    assert timedelta(0) <= row["next_attempt_at"] - before - timedelta(seconds=WAITS[0]) < timedelta(seconds=15)
    assert (row["status"], row["attempts"], row["last_error"]) == ("pending", 1, "the host answers HTTP 404")

    host.pages["/late"] = host.pages["/audio"]
    rows.make_due(recording_id)
    assert run(recording_id) == []
    assert (rows.get(recording_id)["status"], rows.get(recording_id)["attempts"]) == ("stored", 2)
    assert len(files(folder)) == 1


def drip(page: Page) -> None:
    page.send_response(200)
    page.end_headers()
    page.wfile.write(MP3)
    while True:
        page.wfile.write(b"x")
        time.sleep(0.05)


def endless(page: Page) -> None:
    page.send_response(200)
    page.end_headers()
    while True:
        page.wfile.write(MP3 * 100)


def hang_up(page: Page) -> None:
    page.close_connection = True


NOT_READY: dict[str, Callable[[Page], None]] = {
    "403": lambda page: page.answer(403),
    "404": lambda page: page.answer(404, b"<html>not here</html>"),
    "500": lambda page: page.answer(500),
    "503": lambda page: page.answer(503),
    "no content": lambda page: page.answer(204),
    "HTML": lambda page: page.answer(200, b"<!DOCTYPE html><html>log in</html>", Content_Type="audio/mpeg"),
    "empty": lambda page: page.answer(200),
    "another type": lambda page: page.answer(200, b"%PDF-1.7 and so on", Content_Type="audio/wav"),
    "truncated": lambda page: page.answer(200, wav()[:9000], Content_Length="20000"),
    "hang up": hang_up,
}

SLOW: dict[str, Callable[[Page], None]] = {"drip": drip, "silence": lambda _page: time.sleep(0.4)}

REFUSED: dict[str, Callable[[Page], None]] = {
    "endless": endless,
    "redirect loop": lambda page: page.answer(302, Location="/page"),
    "redirect to another address": lambda page: page.answer(302, Location="http://127.0.0.2/page"),
    "redirect to a file": lambda page: page.answer(302, Location="file:///etc/passwd"),
}


@pytest.mark.parametrize("answer", NOT_READY.values(), ids=NOT_READY.keys())
def test_what_is_no_recording_yet_is_tried_again(
    host: Host, rows: Rows, run: Run, folder: Path, answer: Callable[[Page], None]
) -> None:
    host.pages["/page"] = answer
    recording_id = rows.add(host.url("/page"))

    retries = run(recording_id)

    row = rows.get(recording_id)
    assert retried(retries) == [recording_id]
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert "secret" not in row["last_error"]
    assert files(folder) == {}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
def test_a_host_that_is_too_slow_is_tried_again(
    host: Host, rows: Rows, run: Run, folder: Path, answer: Callable[[Page], None]
) -> None:
    host.pages["/page"] = answer
    recording_id = rows.add(host.url("/page"))

    retries = run(recording_id, limits=IMPATIENT)

    assert retried(retries) == [recording_id]
    assert rows.get(recording_id)["status"] == "pending"
    assert files(folder) == {}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
def test_what_breaks_a_rule_is_refused_for_good(
    host: Host, rows: Rows, run: Run, folder: Path, answer: Callable[[Page], None]
) -> None:
    host.pages["/page"] = answer
    recording_id = rows.add(host.url("/page"))

    retries = run(recording_id)

    row = rows.get(recording_id)
    assert retries == []
    assert (row["status"], row["attempts"], row["next_attempt_at"]) == ("refused", 1, None)
    assert "secret" not in row["last_error"]
    assert files(folder) == {}


def test_an_address_that_is_not_public_is_refused_without_a_request(host: Host, rows: Rows, run: Run) -> None:
    requests: list[Page] = []
    host.pages["/page"] = requests.append
    recording_id = rows.add(host.url("/page"))

    run(recording_id, guard=AddressGuard())

    assert rows.get(recording_id)["status"] == "refused"
    assert requests == []


def test_a_redirect_that_keeps_the_rules_is_followed(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/page"] = lambda page: page.answer(302, Location="/audio")
    recording_id = rows.add(host.url("/page"))

    run(recording_id)

    assert rows.get(recording_id)["status"] == "stored"


def test_a_host_that_says_gone_is_not_asked_again(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/page"] = lambda page: page.answer(410)
    recording_id = rows.add(host.url("/page"))

    assert run(recording_id) == []
    assert rows.get(recording_id)["status"] == "gone"


def test_a_host_may_ask_for_a_longer_wait(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/page"] = lambda page: page.answer(404, Retry_After="120")

    (retry,) = run(rows.add(host.url("/page")))

    assert retry.wait_seconds == 120
    assert rows.get(retry.recording_id)["attempts"] == 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [(429, {"Retry_After": "120"}, 120), (429, {}, 30), (503, {"Retry_After": "99999"}, 3600)],
)
def test_a_host_that_asks_to_be_left_alone_is_and_it_costs_no_attempt(
    host: Host, rows: Rows, run: Run, redis_url: str, status: int, headers: dict[str, str], seconds: int
) -> None:
    asked: list[Page] = []
    host.pages["/busy"] = lambda page: (asked.append(page), page.answer(status, **headers))[1]
    first, second = rows.add(host.url("/busy")), rows.add(host.url("/audio"))

    (retry,) = run(first)

    assert seconds <= retry.wait_seconds < seconds + 4
    assert (rows.get(first)["status"], rows.get(first)["attempts"]) == ("pending", 0)
    assert rows.get(first)["last_error"] == f"127.0.0.1:{host.server_port} asks to wait (HTTP {status})"

    rows.make_due(first)
    retries = run(first, second)

    assert retried(retries) == [first, second]
    assert len({each.due for each in retries}) == 1
    assert len(asked) == 1

    with closing(connect(redis_url)) as connection:
        assert connection.delete(f"cdr:host_wait:127.0.0.1:{host.server_port}") == 1
    rows.make_due(second)
    run(second)
    assert rows.get(second)["status"] == "stored"


def test_a_host_that_asks_to_wait_for_a_week_is_given_up(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/busy"] = lambda page: page.answer(429)
    recording_id = rows.add(host.url("/busy"))
    rows.set(recording_id, "asked_to_wait_since", datetime.now(UTC) - timedelta(days=8))

    assert run(recording_id) == []
    assert (rows.get(recording_id)["status"], rows.get(recording_id)["attempts"]) == ("gone", 0)


def test_a_host_that_was_never_asked_for_a_recording_loses_none_after_a_week_without_recorders(
    host: Host, rows: Rows, run: Run
) -> None:
    host.pages["/busy"] = lambda page: page.answer(429)
    recording_ids = [rows.add(f"{host.url('/busy')}&{number}") for number in range(3)]
    for each in recording_ids:
        rows.set(each, "pending_since", datetime.now(UTC) - timedelta(days=8))

    assert retried(run(*recording_ids)) == recording_ids
    first = [rows.get(each)["asked_to_wait_since"] for each in recording_ids]
    for each in recording_ids:
        rows.make_due(each)
    # Now none of them is asked for: the gate knows that the host wants to be left alone.
    run(*recording_ids)

    assert {rows.get(each)["status"] for each in recording_ids} == {"pending"}
    assert [rows.get(each)["asked_to_wait_since"] for each in recording_ids] == first
    assert any(first)


def test_the_gate_of_a_host_that_asks_to_wait_gives_up_nothing(
    host: Host, rows: Rows, run: Run, redis_url: str
) -> None:
    recording_id, long_ago = rows.add(host.url("/audio")), datetime.now(UTC) - timedelta(days=8)
    rows.set(recording_id, "asked_to_wait_since", long_ago)
    with closing(connect(redis_url)) as connection:
        connection.set(f"cdr:host_wait:127.0.0.1:{host.server_port}", 1, px=60_000)

    assert retried(run(recording_id)) == [recording_id]

    row = rows.get(recording_id)
    assert (row["status"], row["asked_to_wait_since"]) == ("pending", long_ago)


@pytest.mark.parametrize("page", ["/audio", "/late", "/gone"])
def test_another_answer_ends_that_a_host_asks_to_wait(host: Host, rows: Rows, run: Run, page: str) -> None:
    host.pages |= {"/late": lambda page: page.answer(404), "/gone": lambda page: page.answer(410)}
    recording_id = rows.add(host.url(page))
    rows.set(recording_id, "asked_to_wait_since", datetime.now(UTC) - timedelta(days=8))

    run(recording_id)

    assert rows.get(recording_id)["asked_to_wait_since"] is None


def test_a_host_that_asks_to_wait_again_is_known_since_the_first_time(
    host: Host, rows: Rows, run: Run, redis_url: str
) -> None:
    host.pages["/busy"] = lambda page: page.answer(429)
    recording_id = rows.add(host.url("/busy"))
    run(recording_id)
    first = rows.get(recording_id)["asked_to_wait_since"]
    with closing(connect(redis_url)) as connection:
        assert connection.delete(f"cdr:host_wait:127.0.0.1:{host.server_port}") == 1
    rows.make_due(recording_id)

    run(recording_id)

    assert rows.get(recording_id)["last_error"].endswith("(HTTP 429)")
    assert rows.get(recording_id)["asked_to_wait_since"] == first is not None


class SlowPage:
    """A page that takes its time, and counts who asks for it meanwhile."""

    def __init__(self) -> None:
        self.most_at_once = 0
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, page: Page) -> None:
        with self._lock:
            self._count += 1
            self.most_at_once = max(self.most_at_once, self._count)
        time.sleep(0.1)
        with self._lock:
            self._count -= 1
        page.answer(200, MP3)


def test_a_host_has_no_more_requests_at_a_time_than_places(
    host: Host, rows: Rows, database_url: str, redis_url: str, folder: Path
) -> None:
    slow = SlowPage()
    host.pages["/slow"] = slow
    ids = [rows.add(f"{host.url('/slow')}&{number}", call_id=str(number)) for number in range(8)]
    fetcher = Fetcher(RecordingStore(folder.as_uri()), GUARD, LIMITS)

    def fetch(part: list[int]) -> None:
        with closing(Database(database_url, "test")) as database, closing(connect(redis_url)) as client:
            assert Batch(database, fetcher, FetchGate(client, 2, 30), WAITS).fetch(part) == []

    two_recorders = [threading.Thread(target=fetch, args=[part]) for part in (ids[:4], ids[4:])]
    for each in two_recorders:
        each.start()
    for each in two_recorders:
        each.join()

    assert slow.most_at_once == 2
    assert len(files(folder)) == 8


def test_the_host_that_asks_to_wait_is_left_alone_and_not_the_one_that_led_to_it(
    host: Host, rows: Rows, run: Run, redis_url: str
) -> None:
    asked: list[Page] = []
    with serving() as bucket:
        host.pages["/there"] = lambda page: page.answer(302, Location=bucket.url("/busy"))
        bucket.pages["/busy"] = lambda page: (asked.append(page), page.answer(429, Retry_After="120"))[1]
        first, second, direct = (
            rows.add(host.url("/there")),
            rows.add(f"{host.url('/there')}&2"),
            rows.add(host.url("/audio")),
        )

        assert retried(run(first)) == [first]
        assert retried(run(second, direct)) == [second]

    assert rows.get(first)["last_error"] == f"{bucket.name} asks to wait (HTTP 429)"
    assert rows.get(second)["last_error"] == f"{bucket.name} asks to wait"
    assert rows.get(second)["asked_to_wait_since"] is None
    assert rows.get(direct)["status"] == "stored"
    assert len(asked) == 1


def test_a_host_has_no_more_requests_than_places_whoever_leads_to_it(
    host: Host, rows: Rows, database_url: str, redis_url: str, folder: Path
) -> None:
    slow = SlowPage()
    fetcher = Fetcher(RecordingStore(folder.as_uri()), GUARD, LIMITS)
    with (
        serving() as panel,
        serving() as bucket,
        closing(Database(database_url, "test")) as database,
        closing(connect(redis_url)) as client,
    ):
        bucket.pages["/slow"] = slow
        for each in (host, panel):
            each.pages["/there"] = lambda page: page.answer(302, Location=bucket.url("/slow"))
        urls = [f"{each.url('/there')}&{number}" for number in range(4) for each in (host, panel)]
        ids = [rows.add(url, call_id=str(number)) for number, url in enumerate(urls)]
        assert Batch(database, fetcher, FetchGate(client, 2, 30), WAITS).fetch(ids) == []

    assert slow.most_at_once == 2
    assert {rows.get(each)["status"] for each in ids} == {"stored"}


def test_a_place_at_a_host_is_given_back_once_it_has_led_elsewhere(
    host: Host, rows: Rows, run: Run, redis_url: str
) -> None:
    held: list[int] = []

    def see_who_is_there(page: Page) -> None:
        with closing(connect(redis_url)) as connection:
            ends_at = time.monotonic() + 60
            while connection.zcard(places_key(host.name)) and time.monotonic() < ends_at:
                time.sleep(0.01)
            held.extend(connection.zcard(places_key(name)) for name in (host.name, bucket.name))
        page.answer(200, MP3)

    with serving() as bucket:
        bucket.pages["/there"] = see_who_is_there
        host.pages["/here"] = lambda page: page.answer(302, Location=bucket.url("/there"))
        assert run(rows.add(host.url("/here")), limits=replace(LIMITS, read_seconds=20, total_seconds=30)) == []

    assert held == [0, 1]


def test_a_host_that_leads_to_itself_is_not_stood_in_line_for_again(
    host: Host, rows: Rows, database_url: str, redis_url: str, folder: Path
) -> None:
    host.pages["/here"] = lambda page: page.answer(302, Location=host.url("/audio"))
    recording_id = rows.add(host.url("/here"))
    stood_in_line: list[str] = []

    class Counting(Visit):
        @contextmanager
        def place(self, host: str) -> Iterator[PutOff | None]:
            stood_in_line.append(host)
            with super().place(host) as put_off:
                yield put_off

    fetcher = Fetcher(RecordingStore(folder.as_uri()), GUARD, LIMITS)
    with closing(Database(database_url, "test")) as database, closing(connect(redis_url)) as client:
        gate = FetchGate(client, 1, 0)
        gate.visit = lambda: Counting(client, 1, 0)  # type: ignore[method-assign]
        assert Batch(database, fetcher, gate, WAITS).fetch([recording_id]) == []

    assert (rows.get(recording_id)["status"], stood_in_line) == ("stored", [host.name])


def test_legs_that_share_an_address_are_fetched_once(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    asked: list[Page] = []
    host.pages["/once"] = lambda page: (asked.append(page), page.answer(200, wav()))[1]
    first, second, later = (rows.add(host.url("/once"), call_id=name) for name in ("a", "b", "c"))
    other_account = rows.add(host.url("/once"), call_id="d", account="other")

    assert run(first, second) == []
    assert run(later) == []
    assert len(asked) == 1
    assert run(other_account) == []

    assert len(asked) == 2
    same = ("status", "storage_key", "bytes", "sha256", "content_type", "seconds", "codec")
    assert len({tuple(rows.get(each)[name] for name in same) for each in (first, second, later)}) == 1
    assert [rows.get(each)["attempts"] for each in (first, second, later)] == [1, 0, 0]
    assert rows.get(other_account)["storage_key"] == "other/2026/11/23/d-Queue.wav"
    assert len(files(folder)) == 2


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows the nodes of a plan gave or left out, each time that they were run."""
    given = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    return int(given * plan["Actual Loops"]) + sum(map(rows_read, plan.get("Plans", [])))


def test_an_address_that_is_stored_for_many_rows_is_looked_up_as_fast_as_for_one(
    host: Host, rows: Rows, database_url: str
) -> None:
    recording_ids = [rows.add(host.url("/audio"), call_id=str(number)) for number in range(MAX_SIDE_BY_SIDE)]
    execute(
        database_url,
        "INSERT INTO cdr.recordings (identity, provider_time, account, call_id, started_at, source_url, source_key,"
        " status, storage_key, bytes, sha256)"
        " SELECT sha256(number::text::bytea), provider_time, account, call_id, started_at, source_url, source_key,"
        " 'stored', 'key', 1, identity FROM cdr.recordings, generate_series(1, 20000) AS number WHERE call_id = '0'",
    )
    execute(database_url, "ANALYZE cdr.recordings")

    explain = b"EXPLAIN (ANALYZE, FORMAT json) " + statement("worker", "stored_twins")
    with closing(Database(database_url, "test")) as database, database.transaction() as cursor:
        ((plan,),) = cursor.execute(explain, {"recording_ids": recording_ids}).fetchall()

    assert plan[0]["Plan"]["Actual Rows"] == MAX_SIDE_BY_SIDE
    assert rows_read(plan[0]["Plan"]) < 100 * MAX_SIDE_BY_SIDE


def test_legs_whose_shared_address_has_nothing_yet_come_again_one_after_the_other(
    host: Host, rows: Rows, run: Run
) -> None:
    host.pages["/late"] = lambda page: page.answer(404)
    first, second = rows.add(host.url("/late"), call_id="a"), rows.add(host.url("/late"), call_id="b")

    assert retried(run(first, second)) == [first, second]

    assert [rows.get(each)["attempts"] for each in (first, second)] == [1, 0]
    assert rows.get(second)["last_error"] == "the same address is being fetched"


def test_what_is_written_together_is_written_in_the_order_in_which_others_lock_it(
    host: Host, rows: Rows, run: Run, database_url: str
) -> None:
    host.pages |= {"/late": lambda page: page.answer(404), "/busy": lambda page: page.answer(429)}
    _, leg, busy = rows.add(host.url("/late")), rows.add(host.url("/late")), rows.add(host.url("/busy"))
    execute(database_url, "CREATE TABLE written (place serial, recording_id bigint, transaction xid8)")
    execute(
        database_url,
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO written (recording_id, transaction) VALUES (new.recording_id, pg_current_xact_id()); RETURN new;"
        " END $$",
    )
    execute(
        database_url,
        "CREATE TRIGGER note BEFORE UPDATE ON cdr.recordings FOR EACH ROW EXECUTE FUNCTION note()",
    )

    run(leg - 1, leg, busy)

    # The leg waits for what the first fetch finds, so it is put off after the host has answered about the last.
    together = "SELECT array_agg(recording_id ORDER BY place) AS ids FROM written GROUP BY transaction"
    # So is the first one, when the host asks to wait before it is asked for that.
    written = [row["ids"] for row in select(database_url, together)]
    assert [ids for ids in written if {leg, busy} <= set(ids)]
    assert [sorted(ids) for ids in written] == written


def test_a_run_that_comes_too_early_fetches_nothing_and_schedules_what_another_may_not_have(
    host: Host, rows: Rows, run: Run
) -> None:
    host.pages["/late"] = lambda page: page.answer(404)
    recording_id = rows.add(host.url("/late"))
    (retry,) = run(recording_id)
    host.pages["/late"] = host.pages["/audio"]

    (again,) = run(recording_id)

    assert (again.recording_id, again.due) == (retry.recording_id, retry.due)
    assert 5 < again.wait_seconds <= 10
    assert (rows.get(recording_id)["status"], rows.get(recording_id)["attempts"]) == ("pending", 1)


def test_a_redis_that_is_away_puts_the_job_back_and_changes_nothing(
    host: Host, rows: Rows, database_url: str, folder: Path
) -> None:
    recording_id = rows.add(host.url("/audio"))
    before = rows.get(recording_id)
    fetcher = Fetcher(RecordingStore(folder.as_uri()), GUARD, LIMITS)

    with (
        closing(Database(database_url, "test")) as database,
        closing(connect(f"redis://127.0.0.1:{free_port()}/0", 0.2, 0)) as away,
        pytest.raises(QueueUnavailable),
    ):
        Batch(database, fetcher, FetchGate(away, 10), WAITS).fetch([recording_id])

    assert rows.get(recording_id) == before


def test_a_redis_that_goes_away_costs_no_recording_what_was_learned(
    host: Host, rows: Rows, database_url: str, redis_url: str, folder: Path
) -> None:
    good, unlucky = rows.add(host.url("/audio")), rows.add(f"{host.url('/audio')}&2")

    class HalfAway(Visit):
        @contextmanager
        def place(self, host: str) -> Iterator[PutOff | None]:
            if next(turns):
                raise QueueUnavailable("away")
            with super().place(host) as put_off:
                yield put_off

    turns = iter([False, True])
    fetcher = Fetcher(RecordingStore(folder.as_uri()), GUARD, LIMITS)
    with closing(Database(database_url, "test")) as database, closing(connect(redis_url)) as client:
        gate = FetchGate(client, 10)
        gate.visit = lambda: HalfAway(client, 10, 1)  # type: ignore[method-assign]
        with pytest.raises(QueueUnavailable):
            Batch(database, fetcher, gate, WAITS).fetch([good, unlucky])

    assert sorted(rows.get(each)["status"] for each in (good, unlucky)) == ["pending", "stored"]


def test_what_the_audio_says_is_in_the_row(host: Host, rows: Rows, run: Run) -> None:
    recording_id = rows.add(host.url("/audio"))
    run(recording_id)
    row = rows.get(recording_id)
    assert (row["seconds"], row["codec"], row["problem"]) == (Decimal("1.0"), "pcm", None)


def test_audio_that_is_much_shorter_than_the_call_is_noted(host: Host, rows: Rows, run: Run) -> None:
    recording_id, leg = rows.add(host.url("/audio")), rows.add(host.url("/audio"))
    rows.add_cdr(recording_id, talk_seconds=120)
    rows.add_cdr(leg, talk_seconds=3)

    run(recording_id, leg)

    assert rows.get(recording_id)["problem"] == "audio lasts 1 s, the call talked 120 s"
    assert rows.get(leg)["problem"] is None


def test_a_host_that_is_not_listed_is_refused_without_a_request(host: Host, rows: Rows, run: Run) -> None:
    asked: list[Page] = []
    host.pages["/page"] = asked.append
    host.pages["/there"] = lambda page: page.answer(302, Location=f"http://evil.invalid/1.mp3?{SIGNATURE}")
    recording_id = rows.add(f"http://localhost:{host.server_port}/page?{SIGNATURE}")
    redirected = rows.add(host.url("/there"))

    assert run(recording_id, redirected) == []

    found = [rows.get(each) for each in (recording_id, redirected)]
    assert [(row["status"], row["last_error"]) for row in found] == [
        ("refused", "localhost is not in CDR_RECORDING_HOSTS"),
        ("refused", "after a redirect: evil.invalid is not in CDR_RECORDING_HOSTS"),
    ]
    assert asked == []


def test_a_redirect_to_what_no_row_can_hold_is_refused_like_any_other(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/odd"] = lambda page: page.answer(302, Location="http://evil\0\x1b.invalid/")
    odd, good = rows.add(host.url("/odd")), rows.add(host.url("/audio"))

    assert run(odd, good) == []

    assert (rows.get(odd)["status"], rows.get(good)["status"]) == ("refused", "stored")
    assert rows.get(odd)["last_error"] == "after a redirect: the address cannot be read"


def test_what_postgresql_refuses_of_one_recording_costs_no_other(
    host: Host, rows: Rows, run: Run, database_url: str
) -> None:
    host.pages["/mp3"] = lambda page: page.answer(200, MP3)
    execute(database_url, "ALTER TABLE cdr.recordings ADD CONSTRAINT odd CHECK (codec <> 'pcm')")
    odd, good = rows.add(host.url("/audio")), rows.add(host.url("/mp3"))

    assert run(odd, good) == []

    assert (rows.get(odd)["status"], rows.get(good)["status"]) == ("failed", "stored")
    assert rows.get(odd)["last_error"] == "PostgreSQL refuses what came of it (SQLSTATE 23514)"


def test_after_the_last_attempt_it_is_gone(host: Host, rows: Rows, run: Run) -> None:
    host.pages["/page"] = lambda page: page.answer(404)
    recording_id = rows.add(host.url("/page"), attempts=len(WAITS))

    assert run(recording_id) == []
    assert (rows.get(recording_id)["status"], rows.get(recording_id)["last_error"]) == (
        "gone", "gave up: the host answers HTTP 404",
    )  # fmt: skip


def test_an_error_of_ours_in_one_recording_leaves_the_others_alone(
    host: Host, rows: Rows, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(head: bytes) -> object:
        if head.startswith(b"ID3"):
            raise ZeroDivisionError(host.url("/bad"))
        return audio_kind(head)

    monkeypatch.setattr(fetch_recording, "audio_kind", broken)
    host.pages["/bad"] = lambda page: page.answer(200, b"ID3" + bytes(100))
    bad, good = rows.add(host.url("/bad")), rows.add(host.url("/audio"))

    assert run(bad, good) == []

    assert rows.get(good)["status"] == "stored"
    assert rows.get(bad)["status"] == "failed"
    assert rows.get(bad)["last_error"].startswith("ZeroDivisionError in test_fetch_recordings.py, line ")


def test_a_store_that_fails_costs_no_attempt(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    recording_id = rows.add(host.url("/audio"), attempts=len(WAITS))
    (folder / "acme").write_text("a file where a folder belongs")

    retries = run(recording_id)

    row = rows.get(recording_id)
    assert retried(retries) == [recording_id]
    assert (row["status"], row["attempts"]) == ("pending", len(WAITS))

    (folder / "acme").unlink()
    rows.make_due(recording_id)
    run(recording_id)
    assert rows.get(recording_id)["status"] == "stored"


def test_recordings_are_fetched_side_by_side(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    together = threading.Barrier(MAX_SIDE_BY_SIDE)

    def page_of_all(page: Page) -> None:
        together.wait(timeout=60)
        page.answer(200, MP3)

    host.pages["/page"] = page_of_all
    recording_ids = [
        rows.add(f"{host.url('/page')}&{number}", call_id=f"call/{number}") for number in range(MAX_SIDE_BY_SIDE)
    ]

    assert run(*recording_ids) == []
    assert len(files(folder)) == MAX_SIDE_BY_SIDE


def test_running_again_does_nothing(host: Host, rows: Rows, run: Run, folder: Path) -> None:
    recording_id = rows.add(host.url("/audio"))
    run(recording_id)
    before = rows.get(recording_id)

    assert run(recording_id, recording_id + 1) == []

    assert rows.get(recording_id) == before
    assert len(files(folder)) == 1


def test_of_two_runs_at_once_only_one_sees_to_the_retry(host: Host, rows: Rows, run: Run) -> None:
    theirs = datetime(2030, 1, 1, tzinfo=UTC)

    def slower_than_the_other_run(page: Page) -> None:
        rows.touch(recording_id, theirs)
        page.answer(404)

    host.pages["/page"] = slower_than_the_other_run
    recording_id = rows.add(host.url("/page"))

    assert run(recording_id) == []
    assert (rows.get(recording_id)["next_attempt_at"], rows.get(recording_id)["attempts"]) == (theirs, 0)


KILLED = """
import ipaddress, sys
from common.errors import QueueUnavailable
from common.postgres import Database
from common.redis_client import connect
from worker.recordings.address_guard import AddressGuard
from worker.recordings.fetch_batch import Batch
from worker.recordings.fetch_gate import FetchGate
from worker.recordings.fetch_recording import Fetcher
from worker.recordings.recording_store import RecordingStore
from worker.recordings.safe_http import FetchLimits
url, redis_url, folder, recording_id = sys.argv[1:]
guard = AddressGuard([ipaddress.ip_network("127.0.0.1/32")])
fetcher = Fetcher(RecordingStore(folder), guard, FetchLimits(10**8))
Batch(Database(url, "test"), fetcher, FetchGate(connect(redis_url), 10), (10.0,)).fetch([int(recording_id)])
"""


def test_a_killed_fetch_leaves_nothing_visible_and_can_run_again(
    host: Host, rows: Rows, run: Run, folder: Path, database_url: str, redis_url: str
) -> None:
    halfway = threading.Event()

    def stop_halfway(page: Page) -> None:
        page.send_response(200)
        page.send_header("Content-Length", "9000000")
        page.end_headers()
        page.wfile.write(MP3 + bytes(8_000_000))
        halfway.set()
        time.sleep(5)

    host.pages["/page"] = stop_halfway
    recording_id = rows.add(host.url("/page"))
    arguments = [sys.executable, "-c", KILLED, database_url, redis_url, folder.as_uri(), str(recording_id)]
    with subprocess.Popen(arguments) as process:
        assert halfway.wait(60)
        process.send_signal(signal.SIGKILL)

    assert not (folder / "acme").exists()
    assert rows.get(recording_id)["status"] == "pending"

    host.pages["/page"] = host.pages["/audio"]
    run(recording_id)
    assert rows.get(recording_id)["last_error"] == "the same address is being fetched"

    wait_until_leases_have_run_out(redis_url)
    rows.make_due(recording_id)
    run(recording_id)
    assert rows.get(recording_id)["status"] == "stored"


def wait_until_leases_have_run_out(redis_url: str) -> None:
    with closing(connect(redis_url)) as connection:
        assert 0 < max(map(connection.pttl, connection.keys("cdr:fetching_address:*"))) <= LEASE_SECONDS * 1000
        connection.delete(*connection.keys("cdr:fetching*"))
