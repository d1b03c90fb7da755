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
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recording_host import Host, Page, Rows, host, rows, wav

from common.postgres import Database
from common.redis_client import connect
from worker import fetch_recording
from worker.address_guard import AddressGuard
from worker.audio_kind import audio_kind
from worker.fetch_batch import MAX_SIDE_BY_SIDE, Batch
from worker.fetch_gate import LEASE_SECONDS, FetchGate
from worker.fetch_recording import Fetcher
from worker.recording_store import RecordingStore
from worker.safe_http import FetchLimits
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
    return [each.recording_id for each in retries]


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
    assert timedelta(0) <= row["next_attempt_at"] - before - timedelta(seconds=WAITS[0]) < timedelta(seconds=5)
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
        together.wait(timeout=10)
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
from common.postgres import Database
from common.redis_client import connect
from worker.address_guard import AddressGuard
from worker.fetch_batch import Batch
from worker.fetch_gate import FetchGate
from worker.fetch_recording import Fetcher
from worker.recording_store import RecordingStore
from worker.safe_http import FetchLimits
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
        assert halfway.wait(30)
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
