"""`cdr recordings verify`: a lost row and a lost object are found and mended, whatever else goes on, and nothing else is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kept_recordings import Kept, kept, kept_anywhere, kept_in_bucket, product, two_hours_ago
from loading import TIME
from s3_server import S3

from cdr.recordings import days as recording_days
from cdr.recordings import findings as recording_findings
from worker.recordings.folder_store import FolderStore
from worker.recordings.recording_key import content_key, recording_key

__all__ = ["kept", "kept_anywhere", "kept_in_bucket", "product"]


@pytest.fixture(autouse=True)
def old_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test puts into the store counts as old, because no store lets it say so."""
    monkeypatch.setattr(recording_findings, "SETTLING_SECONDS", -60.0)


def findings(kept: Kept, *arguments: str) -> list[tuple[str, str | None, bool]]:
    """Return kind, key and whether it was mended of each, and see that the exit code says the same."""
    done = kept.cdr("verify", "--json", *arguments)
    found = done.json["findings"]
    left = [each for each in found if not each["mended"] and each["kind"] not in {"surplus_object", "stray_object"}]
    assert done.exit_code == (1 if left else 0)
    return [(each["kind"], each["key"], each["mended"]) for each in found]


def forget(kept: Kept) -> None:
    kept.product.run("DELETE FROM cdr.outbox")


def test_where_all_is_well_nothing_is_found(kept_anywhere: Kept) -> None:
    kept_anywhere.keep("one")
    kept_anywhere.keep("two", account="other", time=TIME + 86_400)

    assert findings(kept_anywhere) == []
    assert findings(kept_anywhere, "--deep") == []
    assert kept_anywhere.cdr("verify").out == "2 rows and 2 objects compared\n"


def test_a_lost_object_is_found_and_its_recording_fetched_again(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    lost, there = kept.keep("one"), kept.keep("two")
    key = kept.row(lost)["storage_key"]
    kept.store._backend.delete(key)
    before = kept.row(there)
    forget(kept)

    assert findings(kept) == [("lost_object", key, False)]
    assert kept.row(lost)["status"] == "stored"
    assert findings(kept, "--repair") == [("lost_object", key, True)]

    row = kept.row(lost)
    assert (row["status"], row["storage_key"], row["bytes"], row["attempts"]) == ("pending", None, None, 0)
    assert row["sha256"] is not None
    assert key in row["last_error"]
    assert kept.noted() == [[lost]]
    assert kept.row(there) == before


def test_every_row_that_names_a_lost_object_is_reopened_however_young(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    same = {"record": "https://recordings.invalid/shared"}
    legs = [kept.load("one", targetextension=extension, **same) for extension in ("SIP1", "SIP2", "SIP3")]
    key = kept.put(legs[0], b"ID3 audio")
    for each in legs:
        kept.mark(each, key, b"ID3 audio")
    kept.change(legs[1], updated_at=datetime.now(UTC))
    kept.keep("two")
    other = kept.keep("one", account="other")
    kept.store._backend.delete(key)
    forget(kept)

    assert findings(kept, "--repair") == [("lost_object", key, True)] * 2

    assert [kept.row(each)["status"] for each in legs] == ["pending"] * 3
    assert [kept.row(each)["storage_key"] for each in legs] == [None] * 3
    assert all(key in kept.row(each)["last_error"] for each in legs)
    assert kept.noted() == [legs]
    assert kept.row(other)["status"] == "stored"


def test_rows_of_a_lost_object_that_come_in_several_batches_are_all_mended(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_findings, "_AT_ONCE", 1)
    same = {"record": "https://recordings.invalid/shared"}
    legs = [kept.load("one", targetextension=extension, **same) for extension in ("SIP1", "SIP2")]
    key = kept.put(legs[0], b"ID3 audio")
    for each in legs:
        kept.mark(each, key, b"ID3 audio")
    kept.keep("two")
    kept.store._backend.delete(key)

    assert findings(kept, "--repair") == [("lost_object", key, True)] * 2


def test_an_object_of_another_size_is_as_good_as_lost(kept_anywhere: Kept) -> None:
    recording_id = kept_anywhere.keep("one")
    kept_anywhere.change(recording_id, bytes=8)
    key = kept_anywhere.row(recording_id)["storage_key"]

    assert findings(kept_anywhere) == [("wrong_object", key, False)]
    assert findings(kept_anywhere, "--repair") == [("wrong_object", key, True)]
    assert kept_anywhere.row(recording_id)["status"] == "pending"


def test_another_content_of_the_same_size_is_found_by_reading(kept_anywhere: Kept) -> None:
    recording_id = kept_anywhere.keep("one")
    kept_anywhere.change(recording_id, sha256=bytes(32))
    key = kept_anywhere.row(recording_id)["storage_key"]

    assert findings(kept_anywhere) == []
    assert findings(kept_anywhere, "--deep") == [("wrong_object", key, False)]
    assert findings(kept_anywhere, "--deep", "--repair") == [("wrong_object", key, True)]


@pytest.mark.parametrize("options", [("--deep",), ()], ids=["by its hash", "by its size"])
def test_a_damaged_object_is_never_taken_for_its_recording(kept: Kept, options: tuple[str, ...]) -> None:
    damaged = b"ID3 audjo" if options else b"ID3 cut"
    recording_id = kept.load("one")
    key = kept.put(recording_id, damaged)
    kept.mark(recording_id, key, b"ID3 audio")
    assert findings(kept, *options, "--repair") == [("wrong_object", key, True)]
    assert findings(kept, *options, "--repair") == []
    for status in ("pending", "gone", "failed"):
        kept.change(recording_id, status=status, updated_at=two_hours_ago())
        assert findings(kept) == [("damaged_object", key, False)]
        assert findings(kept, *options, "--repair") == [("damaged_object", key, False)]
        assert kept.row(recording_id)["status"] == status


def test_an_object_that_was_away_is_taken_back(kept: Kept) -> None:
    recording_id = kept.keep("one")
    key = kept.row(recording_id)["storage_key"]
    kept.store._backend.delete(key)
    assert findings(kept, "--repair", "--everything-is-lost") == [("lost_object", key, True)]
    kept.change(recording_id, updated_at=two_hours_ago())
    kept.put(recording_id, b"ID3 audio")
    assert findings(kept, "--repair") == [("lost_row", key, True)]
    assert kept.row(recording_id)["status"] == "stored"


def test_an_object_whose_row_a_recorder_may_be_writing_is_passed_over(kept: Kept) -> None:
    recording_id = kept.load("one")
    key = kept.put(recording_id, b"ID3 audio")
    kept.change(recording_id, updated_at=datetime.now(UTC))
    assert findings(kept, "--repair") == []
    assert kept.row(recording_id)["status"] == "pending"
    assert "\n0 rows and 1 object passed over" in kept.cdr("verify").out
    kept.change(recording_id, updated_at=two_hours_ago())
    assert findings(kept, "--repair") == [("lost_row", key, True)]


def test_a_row_that_does_not_know_of_its_object_is_told(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("one")
    key = kept.put(recording_id, b"ID3 audio")
    kept.change(recording_id, status="gone", last_error="gave up")

    assert findings(kept) == [("lost_row", key, False)]
    assert kept.row(recording_id)["status"] == "gone"
    assert findings(kept, "--repair") == [("lost_row", key, True)]

    row = kept.row(recording_id)
    assert (row["status"], row["storage_key"], row["bytes"], row["sha256"], row["content_type"], row["last_error"]) == (
        "stored", key, 9, "\\x" + hashlib.sha256(b"ID3 audio").hexdigest(), "audio/mpeg", None,
    )  # fmt: skip
    assert findings(kept, "--deep") == []
    ((command, selection, affected),) = kept.product.query("SELECT command, selection, affected FROM cdr.audit")
    assert (command, selection["repair"], affected) == ("recordings verify", True, 1)


def test_a_row_that_is_missing_is_made(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    before = kept.row(recording_id := kept.keep("a-b-c"))
    kept.product.run("DELETE FROM cdr.recordings WHERE recording_id = %s", recording_id)

    assert findings(kept, "--repair") == [("lost_row", before["storage_key"], True)]

    ((made,),) = kept.product.query("SELECT to_jsonb(r) FROM cdr.recordings AS r")
    changed = {"recording_id", "attempts", "created_at", "updated_at", "pending_since", "content_type"}
    assert {name: made[name] for name in made.keys() - changed} == {
        name: before[name] for name in made.keys() - changed
    }


def test_an_object_that_is_named_for_its_content_is_found_too(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("one")
    kept.put(recording_id, b"ID3 other", key="acme/2026/09/21/one-Queue.mp3")
    key = kept.put(recording_id, b"ID3 audio")
    assert key == content_key("acme/2026/09/21/one-Queue.mp3", hashlib.sha256(b"ID3 audio").digest())
    kept.store._backend.delete("acme/2026/09/21/one-Queue.mp3")

    assert findings(kept, "--repair") == [("lost_row", key, True)]
    assert kept.row(recording_id)["storage_key"] == key


def test_a_call_that_got_another_day_by_a_new_clock_rule_is_found_by_its_id(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("a-b")
    key = kept.put(recording_id, b"ID3 audio")
    kept.product.run("UPDATE cdr.cdrs SET started_at = started_at + interval '3 days'")
    kept.product.run("UPDATE cdr.recordings SET started_at = started_at + interval '3 days'")

    assert findings(kept, "--repair") == [("lost_row", key, True)]
    assert kept.row(recording_id)["storage_key"] == key


def test_an_object_of_no_call_is_told_and_left(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("one")
    keys = [
        kept.put(recording_id, b"ID3", key=recording_key("acme", datetime(2026, 9, 21, tzinfo=UTC), call_id, "Queue", "mp3"))
        for call_id in ("nobody", "x" * 300)
    ]  # fmt: skip
    kept.product.run("UPDATE cdr.recordings SET status = 'gone'")

    assert findings(kept, "--repair") == [("unowned_object", key, False) for key in sorted(keys)]
    assert all(kept.store.find(key) for key in keys)
    assert kept.row(recording_id)["status"] == "gone"


def lay(kept: Kept, *keys: str) -> None:
    """Put files there as somebody else does, by hand."""
    with kept.store.staged([b"not ours"]) as staged:
        for key in keys:
            assert kept.store._backend.create(staged, key)


def test_what_lies_outside_of_the_days_is_told_and_left(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    kept.keep("one")
    kept.keep("two", account="other")
    strays = ["notes.txt", "acme/call.mp3", "acme/2026/call.mp3", "acme/2026/09/call.mp3", "other/20xx/09/21/call.mp3"]
    lay(kept, *strays, "acme/2026/9/deep/call.mp3", "acme/.hidden", ".trash/call.mp3")

    told = [("stray_object", key, False) for key in (
        "notes.txt", "acme/call.mp3", "acme/2026/call.mp3", "acme/2026/09/call.mp3", "acme/2026/9/", "other/20xx/",
    )]  # fmt: skip
    assert findings(kept, "--repair") == told
    assert findings(kept, "--account", "other") == told[-1:]
    assert findings(kept, "--since", "2026-09-01T00:00Z") == []
    assert all(kept.store.find(key) for key in strays)
    lines = kept.cdr("verify").out.splitlines()
    assert lines[:2] == ["stray_object notes.txt 8 bytes", "stray_object acme acme/call.mp3 8 bytes"]
    assert "stray_object other other/20xx/ a folder" in lines


def test_an_object_of_another_account_is_no_recording_of_this_one(kept: Kept) -> None:
    key = kept.put(kept.load("one", "other"), b"ID3").replace("other/", "acme/")
    kept.put(kept.load("unlike"), b"ID3", key=key)

    assert ("unowned_object", key, False) in findings(kept, "--account", "acme")


def test_legs_with_one_recording_are_all_told_of_it(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    same = {"record": "https://recordings.invalid/shared"}
    legs = [kept.load("one", targetextension=extension, **same) for extension in ("SIP1", "SIP2")]
    key = kept.put(legs[0], b"ID3 audio")

    assert findings(kept, "--repair") == [("lost_row", key, True)] * 2
    assert [kept.row(each)["storage_key"] for each in legs] == [key, key]


def test_of_two_recordings_that_an_object_may_be_none_is_guessed(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    legs = [
        kept.load("one", targetextension=extension, record=f"https://recordings.invalid/{extension}")
        for extension in ("SIP1", "SIP2")
    ]
    key = kept.put(legs[0], b"ID3 audio")

    assert findings(kept, "--repair") == [("unclear_object", key, False)]
    assert [kept.row(each)["status"] for each in legs] == ["pending", "pending"]


def test_an_object_that_was_replaced_by_a_better_one_is_told_and_harms_nothing(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("one")
    old = kept.put(recording_id, b"ID3 old")
    kept.mark(recording_id, kept.put(recording_id, b"ID3 new"), b"ID3 new")

    assert findings(kept, "--repair") == [("surplus_object", old, False)]
    assert kept.store.find(old) is not None


def test_an_object_that_is_not_what_its_name_says_is_no_recording(kept_anywhere: Kept) -> None:
    kept = kept_anywhere
    recording_id = kept.load("one")
    key = kept.put(recording_id, b"ID3 damaged", key=content_key("acme/2026/09/21/one-Queue.mp3", bytes(32)))

    assert findings(kept, "--repair") == [("damaged_object", key, False)]
    assert kept.row(recording_id)["status"] == "pending"


def test_a_recording_that_nobody_fetches_is_queued_again(kept: Kept) -> None:
    never, overdue, later = (kept.load(f"call{number}") for number in range(3))
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    kept.change(never, created_at=long_ago)
    kept.change(overdue, next_attempt_at=long_ago, attempts=3)
    kept.change(later, next_attempt_at=datetime.now(UTC) + timedelta(hours=2))
    forget(kept)

    assert findings(kept) == [("overdue", None, False)] * 2
    assert findings(kept, "--repair") == [("overdue", None, True)] * 2
    assert kept.noted() == [[never, overdue]]
    assert kept.row(overdue)["attempts"] == 3


def test_what_is_young_may_be_in_the_middle_of_being_stored(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_findings, "SETTLING_SECONDS", recording_days.SETTLING_SECONDS)
    lost = kept.keep("one")
    kept.change(lost, updated_at=datetime.now(UTC))
    kept.store._backend.delete(kept.row(lost)["storage_key"])
    kept.put(kept.load("two"), b"ID3")

    assert findings(kept, "--repair") == []

    kept.change(lost, updated_at=datetime.now(UTC) - timedelta(hours=2))
    assert [kind for kind, _, _ in findings(kept, "--account", "acme")] == ["lost_object"]


def test_what_was_compared_is_told_from_what_was_passed_over(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_findings, "SETTLING_SECONDS", recording_days.SETTLING_SECONDS)
    same = {"record": "https://recordings.invalid/shared"}
    old, young, young_leg_of_old = (
        kept.keep("old"),
        kept.keep("young"),
        kept.load("old", targetextension="SIP2", **same),
    )
    kept.mark(young_leg_of_old, kept.row(old)["storage_key"], b"ID3 audio")
    for each in (young, young_leg_of_old):
        kept.change(each, updated_at=datetime.now(UTC))
    kept.put(kept.load("not noted yet"), b"ID3")

    assert kept.cdr("verify").out.splitlines() == [
        "1 row and 1 object compared",
        "2 rows and 2 objects passed over, because they changed within the hour",
    ]
    assert kept.cdr("verify", "--json").json == {
        "findings": [],
        "rows_compared": 1,
        "rows_passed_over": 2,
        "objects_compared": 1,
        "objects_passed_over": 2,
    }


def test_what_nobody_was_told_to_mend_is_not_said_to_be_unmended(kept: Kept) -> None:
    kept.put(kept.load("one"), b"ID3")

    assert kept.cdr("verify").out.splitlines()[1:] == [
        "0 rows and 1 object compared",
        "1 lost_row: an object is there, and no row says so",
    ]


@pytest.mark.parametrize("by", ["account", "since", "until"])
def test_only_what_is_asked_for_is_looked_at(kept_anywhere: Kept, by: str) -> None:
    kept = kept_anywhere
    lost_there = kept.keep(
        "one", account="acme" if by != "account" else "other", time=TIME - (86_400 if by == "since" else 0)
    )
    lost_here = kept.keep("two", time=TIME - (86_400 if by == "until" else 0))
    stranger_there = kept.row(lost_there)["storage_key"].replace("one", "stranger")
    kept.put(lost_there, b"ID3", key=stranger_there)
    keys = [kept.row(each)["storage_key"] for each in (lost_there, lost_here)]
    for key in keys:
        kept.store._backend.delete(key)
    options = {
        "account": ("--account", "acme"),
        "since": ("--since", "2026-09-21T00:00:00Z"),
        "until": ("--until", "2026-09-20T23:00:00Z"),
    }

    assert findings(kept, *options[by]) == [("lost_object", keys[1], False)]


def test_days_come_in_the_order_of_the_keys_whatever_accounts_are_called(
    kept_anywhere: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_days, "_PAGE_SIZE", 1)
    kept = kept_anywhere
    accounts = ["a", "a-b", "a.b", "A", "a_b", "a0", ".hidden"]
    for account in accounts:
        kept.keep("one", account=account)
        kept.keep("two", account=account, time=TIME - 86_400)

    assert findings(kept) == []
    assert kept.cdr("verify").out == f"{2 * len(accounts)} rows and {2 * len(accounts)} objects compared\n"


def test_a_recording_that_is_stored_while_it_looks_is_no_finding(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.keep("before")
    recording_id = kept.load("meanwhile")
    listing = type(kept.store).folders

    def stored_meanwhile(store: Any, prefix: str = "") -> list[str]:
        monkeypatch.setattr(type(kept.store), "folders", listing)
        kept.mark(recording_id, kept.put(recording_id, b"ID3 new"), b"ID3 new")
        return listing(store, prefix)

    monkeypatch.setattr(type(kept.store), "folders", stored_meanwhile)
    assert findings(kept) == []


def test_a_row_that_changes_while_it_looks_is_not_mended(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = kept.keep("one")
    kept.keep("two")
    key = kept.row(recording_id)["storage_key"]
    kept.store._backend.delete(key)
    listing: Callable[..., Any] = type(kept.store).objects

    def fetched_again_meanwhile(store: Any, prefix: str) -> Any:
        found = list(listing(store, prefix))
        kept.put(recording_id, b"ID3 audio")
        kept.change(recording_id, updated_at=datetime.now(UTC))
        return found

    monkeypatch.setattr(type(kept.store), "objects", fetched_again_meanwhile)
    assert findings(kept, "--repair") == [("lost_object", key, False)]
    assert kept.row(recording_id)["status"] == "stored"


def test_an_empty_store_mends_nothing_because_it_may_be_the_wrong_one(kept_anywhere: Kept) -> None:
    recording_id = kept_anywhere.keep("one")
    kept_anywhere.store._backend.delete(kept_anywhere.row(recording_id)["storage_key"])
    if isinstance(kept_anywhere.store._backend, FolderStore):
        shutil.rmtree(kept_anywhere.store._backend._folder / "acme")

    done = kept_anywhere.cdr("verify", "--repair")

    assert done.exit_code == 1
    assert "nothing was mended" in done.err
    assert kept_anywhere.row(recording_id)["status"] == "stored"


@pytest.fixture
def elsewhere(kept_anywhere: Kept) -> tuple[Kept, list[int]]:
    """Give rows of three recordings in a store that has other things only."""
    ids = [kept_anywhere.keep(f"call{number}", account=f"account{number}") for number in range(3)]
    for each in ids:
        kept_anywhere.store._backend.delete(kept_anywhere.row(each)["storage_key"])
    kept_anywhere.put(ids[0], b"ID3", key="lost+found/2026/09/21/one-Queue.mp3")
    return kept_anywhere, ids


def test_a_store_with_other_things_only_mends_nothing_and_says_what_to_check(elsewhere: tuple[Kept, list[int]]) -> None:
    kept, ids = elsewhere

    for arguments in [(), ("--account", "account1"), ("--since", "2026-09-21T00:00:00Z")]:
        done = kept.cdr("verify", "--repair", *arguments)
        assert (done.exit_code, done.out) == (1, "")
        assert "nothing was mended" in done.err
        assert "mounted" in done.err
        assert "--everything-is-lost" in done.err
    assert [kept.row(each)["status"] for each in ids] == ["stored"] * 3
    assert kept.product.count("cdr.audit") == 0


def test_a_loss_of_everything_is_mended_when_that_is_said(elsewhere: tuple[Kept, list[int]]) -> None:
    kept, ids = elsewhere

    done = kept.cdr("verify", "--repair", "--everything-is-lost", "--json")

    assert [each["mended"] for each in done.json["findings"] if each["kind"] == "lost_object"] == [True] * 3
    assert [kept.row(each)["status"] for each in ids] == ["pending"] * 3
    ((selection,),) = kept.product.query("SELECT selection FROM cdr.audit")
    assert selection["everything_is_lost"] is True


def test_that_everything_is_lost_is_said_to_a_repair_only(kept: Kept) -> None:
    assert kept.cdr("verify", "--everything-is-lost").exit_code == 2


@pytest.mark.parametrize("left", [0, 3])
def test_one_object_at_either_end_shows_that_the_store_is_the_right_one(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(recording_days, "_SAMPLED_AT_EACH_END", 1)
    ids = [kept.keep(f"call{number}") for number in range(4)]
    keys = [kept.row(each)["storage_key"] for each in ids]
    for number, key in enumerate(keys):
        if number != left:
            kept.store._backend.delete(key)

    lost = [key for number, key in enumerate(keys) if number != left]
    assert findings(kept, "--repair") == [("lost_object", key, True) for key in lost]


def test_an_object_in_the_middle_of_the_sample_is_not_looked_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_days, "_SAMPLED_AT_EACH_END", 1)
    ids = [kept.keep(f"call{number}") for number in range(3)]
    for each in (ids[0], ids[2]):
        kept.store._backend.delete(kept.row(each)["storage_key"])

    assert kept.cdr("verify", "--repair").exit_code == 1
    assert [kept.row(each)["status"] for each in ids] == ["stored"] * 3


def test_people_are_shown_the_first_and_told_of_all(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdr.recordings.verify.ROWS_FOR_PEOPLE", 2)
    monkeypatch.setattr("cdr.recordings.verify.PROGRESS_SECONDS", 0.0)
    for number in range(3):
        kept.put(kept.load(f"call{number}"), b"ID3")

    done = kept.cdr("verify", "--repair")

    assert done.exit_code == 0
    assert done.out.splitlines() == [
        "lost_row acme acme/2026/09/21/call0-Queue.mp3 3 bytes mended",
        "lost_row acme acme/2026/09/21/call1-Queue.mp3 3 bytes mended",
        "0 rows and 3 objects compared",
        "3 lost_row, 3 of them mended: an object is there, and no row says so",
    ]
    assert done.err.splitlines() == [
        "acme/2026/09/21: 0 rows, 3 objects so far",
        "only the first 2 are shown; --json shows all",
    ]


def test_a_store_that_fails_in_between_ends_it(kept_in_bucket: Kept, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_in_bucket.keep("one")
    listing = type(kept_in_bucket.store).folders

    def failing(store: Any, prefix: str = "") -> list[str]:
        s3.failing = "403 Forbidden" if prefix else None
        return listing(store, prefix)

    monkeypatch.setattr(type(kept_in_bucket.store), "folders", failing)
    done = kept_in_bucket.cdr("verify")
    assert done.exit_code == 1
    assert "HTTP 403" in done.err
