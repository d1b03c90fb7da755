"""`cdr recordings list`, `retry` and `path`: what became of each recording, where it is, and another try."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from kept_recordings import Kept, kept, product
from loading import TIME

from cdr.recordings import rows as recording_rows
from cdr.recordings.rows import RecordingFilter, retry_recordings, without_secrets
from common.job_queue import RECORDINGS, queue_key
from common.postgres import Database

__all__ = ["kept", "product"]

SOON = datetime.now(UTC) + timedelta(hours=1)


def listed(kept: Kept, *arguments: str) -> list[int]:
    return [row["recording_id"] for row in kept.cdr("list", "--json", *arguments).json]


def test_filters_and_ids_choose(kept: Kept) -> None:
    first, second, third = kept.keep("one"), kept.load("two", time=TIME + 86_400), kept.load("three", "other")
    kept.change(third, status="gone")

    assert listed(kept) == [first, second, third]
    assert listed(kept, str(third), str(first)) == [first, third]
    assert listed(kept, "--status", "gone") == [third]
    assert listed(kept, "--account", "acme") == [first, second]
    assert listed(kept, "--call-id", "two") == [second]
    assert listed(kept, "--since", kept.row(second)["started_at"]) == [second]
    assert listed(kept, "--until", kept.row(first)["started_at"]) == [first, third]
    assert listed(kept, "--limit", "1") == [first]
    assert kept.cdr("list", "--status", "away").exit_code == 2


def test_a_row_is_told_without_what_may_be_a_secret_in_its_address(kept: Kept) -> None:
    stored, gone = kept.keep("one"), kept.load("two")
    kept.change(gone, status="gone", last_error="gave up: HTTP 404", attempts=10)

    first, second = kept.cdr("list", "--json").json

    assert (first["recording_id"], first["status"], first["bytes"], first["storage_key"]) == (
        stored, "stored", 9, "acme/2026/09/21/one-Queue.mp3",
    )  # fmt: skip
    assert (second["attempts"], second["last_error"], second["source_url"]) == (
        10, "gave up: HTTP 404", "https://recordings.invalid/two",
    )  # fmt: skip
    for done in (kept.cdr("list"), kept.cdr("list", "--json")):
        assert "hush" not in done.out
        assert "gave up: HTTP 404" in done.out


@pytest.mark.parametrize("url", ["https://[hush", "https://hush@[::1/x?hush"])
def test_an_address_that_is_none_is_not_told(url: str) -> None:
    assert without_secrets(url) == "(no address)"


def test_more_recordings_than_a_page_are_all_listed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_rows, "PAGE_SIZE", 2)
    ids = [kept.load(f"call{number}") for number in range(5)]

    assert listed(kept) == ids


def test_a_list_that_is_cut_off_says_that_it_shows_the_oldest(kept: Kept) -> None:
    for number in range(2):
        kept.load(f"call{number}")

    done = kept.cdr("list", "--limit", "1")

    assert ("call0" in done.out, "call1" in done.out) == (True, False)
    assert done.err == "only the oldest is shown; a later --since shows newer ones; a higher --limit shows more\n"
    assert kept.cdr("list", "--limit", "2").err == kept.cdr("list").err == ""


def forget_the_outbox(kept: Kept) -> None:
    kept.product.run("DELETE FROM cdr.outbox")


def test_a_retry_makes_recordings_due_and_the_scheduler_queues_them(kept: Kept) -> None:
    gone, refused, failed, later = (kept.load(f"call{number}") for number in range(4))
    for recording_id, status in ((gone, "gone"), (refused, "refused"), (failed, "failed")):
        kept.change(recording_id, status=status, attempts=10, last_error="no", pending_since=SOON - timedelta(days=9))
    kept.change(later, attempts=3, next_attempt_at=SOON, asked_to_wait_since=SOON - timedelta(days=9))
    kept.queue()
    kept.product.redis.flushall()

    done = kept.cdr("retry", "--all")

    assert (done.exit_code, done.out, done.err) == (0, "4\n", "4 recordings are tried again now\n")
    rows = [kept.row(each) for each in (gone, refused, failed, later)]
    assert {(row["status"], row["attempts"]) for row in rows} == {("pending", 0)}
    assert kept.product.query("SELECT count(asked_to_wait_since) FROM cdr.recordings") == [(0,)]
    for row in rows:
        assert datetime.fromisoformat(row["next_attempt_at"]) <= datetime.now(UTC)
        assert datetime.fromisoformat(row["pending_since"]) > datetime.now(UTC) - timedelta(minutes=5)
    assert kept.noted() == [[gone, refused, failed, later]]
    assert kept.product.redis.llen(queue_key(RECORDINGS)) == 0
    kept.queue()
    assert kept.product.redis.llen(queue_key(RECORDINGS)) == 1
    assert kept.product.query("SELECT command, affected FROM cdr.audit") == [("recordings retry", 4)]


def test_what_is_stored_or_about_to_be_fetched_is_left_alone(kept: Kept) -> None:
    stored, new, due = kept.keep("stored"), kept.load("new"), kept.load("due")
    kept.change(due, next_attempt_at=SOON - timedelta(hours=2))
    before = [kept.row(each) for each in (stored, new, due)]
    forget_the_outbox(kept)

    assert kept.counted("retry", "--all") == 0

    assert [kept.row(each) for each in (stored, new, due)] == before
    assert kept.noted() == []
    assert kept.cdr("retry", "--status", "stored").exit_code == 2


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_retry_of_what_is_stored_says_why_it_is_none(kept: Kept, options: tuple[str, ...]) -> None:
    stored, gone, other = kept.keep("stored"), kept.load("gone"), kept.keep("other")
    kept.change(gone, status="gone")

    done = kept.cdr("retry", str(stored), str(gone), *options)

    why = "is stored, and what is stored is not fetched again: cdr recordings verify tells whether it is there"
    assert (done.out, done.err.splitlines()[0]) == ("1\n", f"cdr: recording {stored} {why}")
    assert f"recording {gone}" not in done.err
    assert f"recording {other}" not in done.err
    assert "is stored" not in kept.cdr("retry", "--all", *options).err


def test_a_retry_takes_filters_and_needs_one_or_all(kept: Kept) -> None:
    ids = [kept.load(f"call{number}", "acme" if number else "other") for number in range(4)]
    for recording_id in ids:
        kept.change(recording_id, status="gone")
    forget_the_outbox(kept)

    assert kept.cdr("retry").exit_code == 2
    assert kept.cdr("retry", "--limit", "1").exit_code == 2
    assert kept.counted("retry", "--account", "other") == 1
    assert kept.counted("retry", "--all", "--limit", "1") == 1
    assert kept.counted("retry", str(ids[3]), "--status", "gone") == 1
    assert kept.noted() == [[ids[0]], [ids[1]], [ids[3]]]
    assert kept.row(ids[2])["status"] == "gone"


@pytest.mark.parametrize(
    "options", [("--all",), ("--all", "--limit", "2"), ("--account", "acme"), ("--limit", "0", "--all")]
)
def test_a_dry_run_counts_what_a_retry_does_and_changes_nothing(kept: Kept, options: tuple[str, ...]) -> None:
    ids = [kept.load(f"call{number}", "acme" if number else "other") for number in range(4)]
    for recording_id in ids[:3]:
        kept.change(recording_id, status="gone")
    forget_the_outbox(kept)
    before = [kept.row(each) for each in ids]

    dry = kept.counted("retry", *options, "--dry-run")

    assert [kept.row(each) for each in ids] == before
    assert kept.noted() == []
    assert kept.counted("retry", *options) == dry


def test_a_job_of_the_outbox_has_no_more_recordings_than_a_recorder_fetches_side_by_side(kept: Kept) -> None:
    kept.load("call")
    kept.product.run(
        "INSERT INTO cdr.recordings (identity, provider_time, account, call_id, started_at, source_url, source_key, status)"
        " SELECT identity, provider_time, account, call_id, started_at, n::text, sha256(n::text::bytea), 'gone'"
        " FROM cdr.recordings, generate_series(1, 700) AS n"
    )
    forget_the_outbox(kept)

    assert kept.counted("retry", "--all") == 700

    entries = kept.noted()
    assert {len(entry) for entry in entries[:-1]} == {32}
    assert sorted(each for entry in entries for each in entry) == [
        row[0]
        for row in kept.product.query(
            "SELECT recording_id FROM cdr.recordings WHERE source_url ~ '^[0-9]+$' ORDER BY 1"
        )
    ]


def test_a_retry_keeps_to_its_rate(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        kept.change(kept.load(f"call{number}"), status="gone")
    slept: list[float] = []
    monkeypatch.setattr("cdr.recordings.rows.time.sleep", slept.append)

    assert kept.counted("retry", "--all", "--rate", "2") == 5

    # Two at a time: the first at once, the next after a second, the last after two; and one look that finds no more.
    assert [round(each) for each in slept] == [0, 1, 2, 2]


def test_of_two_retries_of_a_recording_only_the_first_notes_it(kept: Kept) -> None:
    kept.change(kept.load("call"), status="gone")
    forget_the_outbox(kept)
    counts: list[int] = []

    def retry() -> None:
        database = Database(kept.product.database_url, "second retry")
        counts.append(retry_recordings(database, RecordingFilter()))
        database.close()

    second = threading.Thread(target=retry)
    with psycopg.connect(kept.product.database_url) as first:
        first.execute("UPDATE cdr.recordings SET status = 'pending', next_attempt_at = now()")
        second.start()
        while not kept.product.query(
            "SELECT FROM pg_stat_activity WHERE application_name = 'second retry' AND wait_event_type = 'Lock'"
        ):
            time.sleep(0.01)
    second.join()

    assert counts == [0]
    assert kept.noted() == []


def test_the_path_of_a_recording_is_that_of_its_object(kept: Kept, tmp_path: Path) -> None:
    recording_id = kept.keep("call/1")

    for arguments in ((str(recording_id),), ("--call-id", "call/1")):
        done = kept.cdr("path", *arguments)
        assert done.exit_code == 0
        assert Path(done.out.strip()).read_bytes() == b"ID3 audio"
    assert kept.cdr("path", str(recording_id), "--json").json == [
        {"recording_id": recording_id, "path": str(tmp_path / "store/acme/2026/09/21/call%2F1-Queue.mp3")}
    ]


def test_the_path_in_a_bucket_is_a_url_and_asks_nobody(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = kept.keep("call")
    monkeypatch.setenv("CDR_RECORDINGS_URL", "s3://bucket/a%20prefix/")

    assert kept.cdr("path", str(recording_id)).out == "s3://bucket/a prefix/acme/2026/09/21/call-Queue.mp3\n"


@pytest.mark.parametrize("command", ["path 1", "verify"])
def test_the_settings_may_be_those_of_a_cdr_up(kept: Kept, tmp_path: Path, command: str) -> None:
    done = kept.cdr(*command.split(), "--data", str(tmp_path))
    assert (done.exit_code, "no `cdr up` is running on" in done.err) == (2, True)


@pytest.mark.parametrize("command", ["path 1", "verify"])
def test_without_a_store_the_way_to_that_of_a_cdr_up_is_one_that_leads_there(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("CDR_RECORDINGS_URL")
    done = kept.cdr(*command.split())
    problem, hint = done.err.splitlines()
    assert (done.exit_code, done.out, problem) == (2, "", "cdr: CDR_RECORDINGS_URL: is required")
    assert "--data DIR" in hint
    assert "eval" not in hint


def test_a_recording_that_is_not_stored_has_no_path(kept: Kept) -> None:
    stored, pending = kept.keep("one"), kept.load("two")

    done = kept.cdr("path", str(stored), str(pending), str(pending + 1))

    assert done.exit_code == 1
    assert done.out.count("\n") == 1
    assert done.err.splitlines() == [
        f"cdr: recording {pending} is not stored: pending",
        f"cdr: there is no recording {pending + 1}",
    ]
    assert kept.cdr("path", "--call-id", "none").exit_code == 1
    assert kept.cdr("path").exit_code == 2
