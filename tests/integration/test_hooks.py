"""Hooks are called with each loaded CDR, at least once, again when they fail, and change nothing of what was loaded."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import hooking
import pytest
import redis
from free_ports import free_port
from hooking import CHOSEN, NOTE, OTHER, Hooked, choose, do_nothing, hooked, noted, noted_by_other
from loading import TIME, delivery, execute, leg, select
from receiving import configured
from worker_context import forget_context

from common.errors import DatabaseUnavailable, QueueUnavailable
from common.failed_details import read_details
from common.failed_jobs import FailedJob, Filter, find_ids, list_failed
from common.job_queue import CDRS, HOOKS, RUN_HOOK, NewJob, finished_key, job_key, queue_key
from common.postgres import Database
from common.replay_failed import replay
from worker import context, queue_hooks, run_hook
from worker.hook_jobs import HookCall, hook_job
from worker.hooks import GiveUp, LoadedCdr, TryLater
from worker.hourly import Hourly
from worker.outbox import enqueue, enqueue_once, work_off
from worker.scheduled_jobs import schedule_once

__all__ = ["hooked"]

ROW = "SELECT * FROM cdr.cdrs"
BOTH = pytest.mark.parametrize("hooked", [f"{NOTE},{OTHER}"], indirect=True)


def raising(error: BaseException) -> Any:
    def hook(_cdr: LoadedCdr) -> None:
        raise error

    return hook


def calls() -> list[tuple[str, bool, int]]:
    """Tell what the hook was called with."""
    return [(cdr.call_id, cdr.is_update, cdr.attempt) for cdr in noted]


def only_failure(hooked: Hooked) -> FailedJob:
    [job] = list_failed(hooked.redis, Filter(queue=HOOKS))
    return job


# What is noted, and for what.


def test_a_new_cdr_is_told_once(hooked: Hooked) -> None:
    hooked.load_legs("a")
    hooked.work()
    assert calls() == [("a", False, 1)]
    assert (hooked.outbox(), hooked.waiting(), hooked.failed()) == ([], [], [])


def test_each_cdr_of_a_batch_is_told(hooked: Hooked) -> None:
    names = {f"call-{number}" for number in range(300)}
    hooked.load_legs(*names)
    hooked.work_off()
    hooked.work()
    assert (len(noted), {cdr.call_id for cdr in noted}) == (300, names)


def test_without_hooks_nothing_is_noted(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDR_HOOKS")
    hooked.load_legs("a")
    hooked.load(delivery(leg("a", queuename="Sales"), received=5))
    assert (hooked.waiting(), hooked.outbox()) == ([], [])


@BOTH
def test_each_hook_is_a_job_of_its_own_and_of_the_same_event(hooked: Hooked) -> None:
    hooked.load_legs("a", "b")
    assert len(hooked.waiting()) == 4
    hooked.work()
    told = [{(cdr.call_id, cdr.event_id) for cdr in each} for each in (noted, noted_by_other)]
    assert (len(told[0]), told[0]) == (2, told[1])


def test_a_delivery_that_changes_the_row_is_told_as_an_update(hooked: Hooked) -> None:
    hooked.load_legs("a")
    hooked.work()
    hooked.load(delivery(leg("a", queuename="Sales"), received=5))
    hooked.work()
    assert calls() == [("a", False, 1), ("a", True, 1)]
    assert noted[1].acd_queue_name == "Sales"
    assert noted[0].event_id != noted[1].event_id


def test_a_field_that_only_the_payload_keeps_is_a_change(hooked: Hooked) -> None:
    hooked.load_legs("a")
    hooked.load(delivery(leg("a", campaignName="spring"), received=5))
    hooked.work()
    assert [cdr.is_update for cdr in noted] == [False, True]


def test_a_delivery_that_says_the_same_is_not_told(hooked: Hooked) -> None:
    hooked.load_legs("a")
    hooked.load(delivery(leg("a"), received=5), delivery(leg("a", queuename=""), received=6))
    hooked.work()
    [row] = select(hooked.database_url, ROW)
    # The empty name stands in the payload, which makes the row another one; the delivery before it changed nothing.
    assert (row["delivery_count"], [cdr.is_update for cdr in noted]) == (3, [False, True])


def test_a_repeated_delivery_changes_nothing_and_is_not_told(hooked: Hooked) -> None:
    hooked.load_legs("a", "b")
    hooked.load(delivery(leg("a"), received=5), delivery(leg("b"), received=5))
    hooked.work()
    assert [row["delivery_count"] for row in select(hooked.database_url, ROW)] == [2, 2]
    assert sorted(calls()) == [("a", False, 1), ("b", False, 1)]


def test_of_a_batch_only_what_changed_is_told(hooked: Hooked) -> None:
    hooked.load_legs("a", "b", "c")
    hooked.work()
    noted.clear()
    hooked.load(*(delivery(leg(name, queuename="Sales" if name == "b" else None), received=5) for name in "abc"))
    hooked.work()
    assert calls() == [("b", True, 1)]


def test_a_batch_that_is_run_twice_is_told_once(hooked: Hooked) -> None:
    batch = [delivery(leg("a")), delivery(leg("a", queuename="Sales"), received=5)]
    hooked.load(*batch)
    hooked.load(*batch)
    hooked.work()
    assert calls() == [("a", False, 1)]


def test_a_delivery_that_says_what_was_said_before_tells_nobody(hooked: Hooked) -> None:
    said = leg("a", price="x,y", duration="abc")
    for batch in ([delivery(said), delivery(said, received=1)], [delivery(said, received=2)]):
        hooked.load(*batch)
    hooked.work()
    assert calls() == [("a", False, 1)]


def test_a_refused_cdr_is_not_told_and_its_neighbours_are(hooked: Hooked) -> None:
    execute(hooked.database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK (call_id <> 'bad')")
    hooked.load_legs("a", "bad", "b")
    hooked.work()
    assert {cdr.call_id for cdr in noted} == {"a", "b"}


# What a hook gets.


def test_a_hook_gets_the_row_as_it_is_then(hooked: Hooked) -> None:
    hooked.load_legs("a", duration=10)
    hooked.load(delivery(leg("a", duration=25), received=5))
    hooked.work()
    assert [cdr.talk_seconds for cdr in noted] == [25, 25]


def test_every_column_is_there_with_its_type(hooked: Hooked) -> None:
    sent = {
        "price": Decimal("7.10"),
        "IVR": [{"layer_id": 1, "weight": Decimal("0.30")}],
        "var_a": "b",
        "dialtime": "x",
    }
    hooked.load_legs("a", caller="0546666666", aiData={"insights": []}, **sent)
    hooked.work()
    [cdr], [row] = noted, select(hooked.database_url, ROW)
    columns = {field.name for field in fields(cdr)} - {"identity", "is_update", "attempt", "event_id"}
    exact = {"ivr_path", "custom", "ai", "payload"}
    assert {name: getattr(cdr, name) for name in columns - exact} == {name: row[name] for name in columns - exact}
    assert cdr.identity == row["identity"].hex()
    assert (cdr.price_agorot, cdr.payload["price"]) == (Decimal("7.10"), Decimal("7.10"))
    assert (cdr.ivr_path, cdr.custom, cdr.ai) == (sent["IVR"], {"var_a": "b"}, {"insights": []})
    assert (cdr.provider_time.tzinfo, cdr.started_at.utcoffset()) == (None, UTC.utcoffset(None))
    assert cdr.problems == row["problems"] != []


def test_a_cdr_as_json_says_the_same_to_the_digit(hooked: Hooked) -> None:
    hooked.load_legs("a", price=Decimal("7.10"), big=Decimal("123456789012345678901234567890.10"))
    hooked.work()
    text = noted[0].as_json().decode()
    document = json.loads(text)
    assert (document["call_id"], document["time_raw"], document["agent_name"]) == ("a", TIME, None)
    assert '"price_agorot":7.10,' in text
    assert "123456789012345678901234567890.10" in text
    assert datetime.fromisoformat(document["started_at"]) == noted[0].started_at
    assert not {"is_update", "attempt", "event_id"} & document.keys()


def test_a_hook_cannot_change_what_it_was_given_nor_what_another_gets(hooked: Hooked) -> None:
    def change(cdr: LoadedCdr) -> None:
        cdr.payload.clear()
        cdr.talk_seconds = 0  # type: ignore[misc]

    choose(change)
    hooked.load_legs("a")
    hooked.work()
    hooked.make_due()
    choose(do_nothing)
    hooked.work()
    assert noted[1].payload["ivruniqueid"] == "a"
    assert issubclass(FrozenInstanceError, AttributeError)


# Between the loading transaction and the queue.


def left_in_the_outbox(hooked: Hooked, monkeypatch: pytest.MonkeyPatch, *call_ids: str) -> None:
    """Load CDRs by a worker that dies right after the commit."""
    with monkeypatch.context() as patch:
        patch.setattr("worker.follow_up.FollowUp.tell", lambda _: None)
        hooked.load_legs(*call_ids)


def test_what_a_crash_left_in_the_outbox_is_queued_by_the_scheduler(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_in_the_outbox(hooked, monkeypatch, "a", "b")
    assert (hooked.waiting(), len(hooked.outbox())) == ([], 1)
    hooked.work_off()
    hooked.work()
    assert (hooked.outbox(), {cdr.call_id for cdr in noted}) == ([], {"a", "b"})


@BOTH
def test_an_outbox_that_forgets_nothing_queues_each_job_once(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    left_in_the_outbox(hooked, monkeypatch, *(f"call-{number}" for number in range(500)))
    execute(hooked.database_url, "CREATE RULE forget_nothing AS ON DELETE TO cdr.outbox DO INSTEAD NOTHING")
    with closing(Database(hooked.database_url, "test")) as database:
        for _ in range(3):
            queue_hooks.queue_waiting_hooks(database, hooked.redis, 0)
    assert len(hooked.waiting()) == len(set(hooked.waiting())) == 1000


def test_an_entry_that_another_process_works_on_is_left_to_it(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    left_in_the_outbox(hooked, monkeypatch, "a")
    left_in_the_outbox(hooked, monkeypatch, "b")
    with (
        closing(Database(hooked.database_url, "test")) as first,
        closing(Database(hooked.database_url, "test")) as second,
        first.transaction() as cursor,
    ):
        cursor.execute("SELECT FROM cdr.outbox WHERE call_ids = '{a}' FOR UPDATE")
        assert queue_hooks.queue_waiting_hooks(second, hooked.redis, 1) == 1
    hooked.work()
    assert calls() == [("b", False, 1)]


def test_a_pass_is_bounded_however_much_waits(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_hooks, "_JOBS_A_PASS", 5)
    monkeypatch.setattr(queue_hooks, "_JOBS_A_COMMIT", 2)
    for batch in ("abc", "def", "ghijklmn"):
        left_in_the_outbox(hooked, monkeypatch, *batch)
    with closing(Database(hooked.database_url, "test")) as database:
        done = [queue_hooks.queue_waiting_hooks(database, hooked.redis, 0) for _ in range(4)]
    assert done == [3, 3, 8, 0]
    assert len(set(hooked.waiting())) == 14


@pytest.mark.parametrize(
    ("sizes", "left"), [([100], []), ([101], [101]), ([60, 101, 60, 40], [101, 60]), ([50, 50], [])]
)
def test_a_worker_leaves_what_is_much_to_the_scheduler(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch, sizes: list[int], left: list[int]
) -> None:
    for size in sizes[:-1]:
        left_in_the_outbox(hooked, monkeypatch, *(f"{size}-{number}-{time.monotonic_ns()}" for number in range(size)))
    hooked.load_legs(*(f"last-{number}" for number in range(sizes[-1])))
    assert [entry["job_count"] for entry in hooked.outbox()] == left
    hooked.work_off()
    assert (len(hooked.waiting()), hooked.outbox()) == (sum(sizes), [])


def test_more_than_redis_should_hold_waits_in_the_outbox(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_hooks, "MOST_IN_REDIS", 2)
    for name in "abc":
        left_in_the_outbox(hooked, monkeypatch, name)
    monkeypatch.setattr(queue_hooks, "_ENTRIES_AT_ONCE", 1)
    with closing(Database(hooked.database_url, "test")) as database:
        assert queue_hooks.queue_waiting_hooks(database, hooked.redis, 5) == 2
        hooked.work()
        assert queue_hooks.queue_waiting_hooks(database, hooked.redis, 5) == 1


@pytest.mark.parametrize("error", [GiveUp("for good"), TryLater(60, "busy")], ids=["failed", "scheduled"])
def test_hooks_that_failed_or_are_tried_again_later_count_as_held_in_redis(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(queue_hooks, "MOST_IN_REDIS", 2)
    monkeypatch.setattr(queue_hooks, "_full", told := Hourly())
    choose(raising(error))
    hooked.load_legs("a", "b")
    hooked.work()
    assert len(hooked.failed() + list(hooked.scheduled())) == 2
    left_in_the_outbox(hooked, monkeypatch, "c")
    hooked.work_off()
    assert (hooked.waiting(), len(hooked.outbox())) == ([], 1)
    assert not told.is_due()
    # What a person sees to, or what works at last, makes room.
    choose(do_nothing)
    replay(hooked.redis, find_ids(hooked.redis, Filter(queue=HOOKS)))
    hooked.make_due()
    hooked.work()
    hooked.work_off()
    assert (len(hooked.waiting()), hooked.outbox()) == (1, [])


def test_what_a_loader_noted_is_queued_by_a_process_without_hooks(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_in_the_outbox(hooked, monkeypatch, "a")
    monkeypatch.delenv("CDR_HOOKS")
    hooked.work_off()
    assert len(hooked.waiting()) == 1


def test_hooks_stay_in_the_outbox_while_redis_is_away(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    left_in_the_outbox(hooked, monkeypatch, "a")
    with (
        closing(Database(hooked.database_url, "test")) as database,
        redis.Redis(port=free_port()) as away,
        pytest.raises(QueueUnavailable),
    ):
        work_off(database, away)
    assert len(hooked.outbox()) == 1


def test_a_redis_that_cannot_confirm_gets_no_hooks(
    hooked: Hooked, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_in_the_outbox(hooked, monkeypatch, "a")
    with closing(Database(hooked.database_url, "test")) as database, redis.Redis.from_url(redis_url) as unconfirmed:
        for _ in range(3):
            with configured(redis_url, appendonly="no"), pytest.raises(QueueUnavailable):
                work_off(database, unconfirmed)
    assert (hooked.waiting(), len(hooked.outbox())) == ([], 1)


def test_no_kind_of_work_waits_for_another(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise DatabaseUnavailable("made to fail")

    with closing(Database(hooked.database_url, "test")) as database:
        for call_id, kind in (("a", "queue_waiting_recordings"), ("b", "queue_waiting_hooks")):
            left_in_the_outbox(hooked, monkeypatch, call_id)
            with monkeypatch.context() as patch:
                patch.setattr(f"worker.outbox.{kind}", fail)
                with pytest.raises(DatabaseUnavailable):
                    work_off(database, hooked.redis)
    calls = select(hooked.database_url, "SELECT FROM cdr.calls")
    assert (len(hooked.waiting()), len(hooked.outbox()), len(calls)) == (1, 1, 2)


# When a hook fails.


def test_a_hook_that_fails_is_tried_again_after_each_wait_and_then_is_a_failed_job(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_HOOK_RETRY_SECONDS", "100,5000")
    choose(raising(ValueError("no such customer")))
    hooked.load_legs("a")
    before = select(hooked.database_url, ROW)
    waits = []
    for _ in range(2):
        hooked.work()
        [due] = hooked.scheduled().values()
        waits.append(due - time.time())
        hooked.make_due()
    hooked.work()
    assert [abs(wait - wanted) < 60 for wait, wanted in zip(waits, (100, 5000), strict=True)] == [True, True]
    assert calls() == [("a", False, 1), ("a", False, 2), ("a", False, 3)]
    assert len({cdr.event_id for cdr in noted}) == 1
    failure = only_failure(hooked)
    assert (failure.reason, failure.error, failure.call_ids) == (
        "hook_failed",
        f"{CHOSEN}, try 3: ValueError: no such customer",
        ["a"],
    )
    assert (hooked.scheduled(), hooked.waiting()) == ({}, [])
    assert select(hooked.database_url, ROW) == before


def test_a_webhook_without_its_settings_stops_no_loading(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_HOOKS", "worker.hooks:webhook")
    monkeypatch.delenv("CDR_WEBHOOK_URL", raising=False)
    hooked.load_legs("a")
    assert [row["call_id"] for row in select(hooked.database_url, ROW)] == ["a"]
    assert len(hooked.waiting()) == 1


def test_a_hook_that_works_at_its_second_try_is_done(hooked: Hooked) -> None:
    choose(raising(OSError("away")))
    hooked.load_legs("a")
    hooked.work()
    choose(do_nothing)
    hooked.make_due()
    hooked.work()
    assert (calls(), hooked.failed()) == ([("a", False, 1), ("a", False, 2)], [])


def test_a_failing_hook_holds_up_neither_other_cdrs_nor_other_hooks(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_HOOKS", f"{CHOSEN},{OTHER}")
    choose(lambda cdr: raising(OSError("away"))(cdr) if cdr.call_id == "a" else None)
    hooked.load_legs("a", "b", "c")
    worker = hooked.work()
    assert worker._setback is None
    assert (len(noted), len(noted_by_other), len(hooked.scheduled())) == (3, 3, 1)


OUR_ERRORS = [DatabaseUnavailable("theirs"), QueueUnavailable("theirs"), run_hook.HookNotConfigured("theirs")]
ENDINGS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError(), RecursionError(), StopIteration()]


@pytest.mark.parametrize("error", [*OUR_ERRORS, *ENDINGS], ids=lambda error: type(error).__name__)
def test_whatever_a_hook_raises_is_its_own_failure_and_stops_nobody(hooked: Hooked, error: BaseException) -> None:
    choose(lambda cdr: raising(error)(cdr) if cdr.call_id == "a" else None)
    hooked.load_legs("a", "b")
    worker = hooked.work()
    assert (worker._setback, worker._stop_requested) == (None, False)
    assert ({cdr.call_id for cdr in noted}, len(hooked.scheduled())) == ({"a", "b"}, 1)
    choose(raising(error))
    for _ in range(6):
        hooked.make_due()
        hooked.work()
    failure = only_failure(hooked)
    assert failure.reason == "hook_failed"
    assert failure.error.startswith(f"{CHOSEN}, try 7: {type(error).__name__}: ")


def test_a_hook_that_gives_up_is_not_tried_again(hooked: Hooked) -> None:
    choose(raising(GiveUp("unknown number")))
    hooked.load_legs("a")
    hooked.work()
    assert (len(noted), hooked.scheduled()) == (1, {})
    assert (only_failure(hooked).reason, only_failure(hooked).error) == (
        "hook_failed",
        f"{CHOSEN}, try 1: GiveUp: unknown number",
    )


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(500, 500), (1, 10), (-5, 10), (float("nan"), 10), (float("inf"), 86_400), (10**9, 86_400)],
)
def test_a_hook_that_asks_for_another_time_gets_it_within_bounds(hooked: Hooked, asked: float, waited: float) -> None:
    choose(raising(TryLater(asked)))
    hooked.load_legs("a")
    before = time.time()
    hooked.work()
    [due] = hooked.scheduled().values()
    assert before + waited <= due + 0.001 <= time.time() + waited + 0.002


def test_a_hook_that_asks_for_another_time_at_its_last_try_has_failed(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_HOOK_RETRY_SECONDS", "1")
    choose(raising(TryLater(5, "busy")))
    hooked.load_legs("a")
    hooked.work()
    hooked.make_due()
    hooked.work()
    assert only_failure(hooked).error == f"{CHOSEN}, try 2: TryLater: busy"


def test_a_failed_hook_is_replayed_and_is_one_entry_when_it_fails_again(hooked: Hooked) -> None:
    choose(raising(GiveUp("closed")))
    hooked.load_legs("a", "b")
    hooked.work()
    for _ in range(2):
        replay(hooked.redis, find_ids(hooked.redis, Filter(queue=HOOKS, call_id="b")))
        hooked.work()
    counted = {job.call_ids[0]: job.attempts for job in list_failed(hooked.redis, Filter(queue=HOOKS))}
    assert counted == {"a": 1, "b": 3}
    choose(do_nothing)
    replay(hooked.redis, find_ids(hooked.redis, Filter()))
    hooked.work()
    assert hooked.failed() == []


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unspeakable(), "Unspeakable: its text cannot be had"),
        (ValueError("\x1b[2J\nforged \ud800\u202e"), "ValueError: \\x1b[2J\\nforged \\ud800\\u202e"),
        (ValueError("x" * 5_000_000), "ValueError: " + "x" * 988),
        (ValueError(), "ValueError: "),
    ],
    ids=["unspeakable", "steering", "endless", "silent"],
)
def test_an_error_is_told_in_a_line_of_bearable_length(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setenv("CDR_HOOK_RETRY_SECONDS", "1")
    choose(raising(error))
    hooked.load_legs("a")
    for _ in range(2):
        hooked.work()
        hooked.make_due()
    failure = only_failure(hooked)
    traceback = read_details(hooked.redis, failure.job_id).traceback or ""
    assert (failure.reason, failure.error) == ("hook_failed", f"{CHOSEN}, try 2: {told}")
    assert "hook(_cdr)" in traceback or "raise error" in traceback
    assert len(traceback) < 25_000


def test_a_failed_hook_shows_what_it_was_called_with(hooked: Hooked) -> None:
    choose(raising(GiveUp("closed")))
    hooked.load_legs("a")
    hooked.work()
    details = read_details(hooked.redis, only_failure(hooked).job_id)
    [_, call] = details.arguments
    assert (details.function, call["hook"], call["call_id"]) == (RUN_HOOK, CHOSEN, "a")


# What is not there any more, or never was.


def test_a_hook_of_a_row_that_somebody_deleted_is_done(hooked: Hooked) -> None:
    hooked.load_legs("a", "b")
    execute(hooked.database_url, "DELETE FROM cdr.cdrs WHERE call_id = 'a'")
    hooked.work()
    assert (calls(), hooked.failed()) == ([("b", False, 1)], [])


def test_a_hook_that_is_no_longer_set_is_a_failed_job_and_works_when_it_is_again(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked.load_legs("a")
    forget_context()
    monkeypatch.setenv("CDR_HOOKS", NOTE)
    hooked.work()
    assert (only_failure(hooked).reason, noted) == ("hook_not_configured", [])
    forget_context()
    monkeypatch.setenv("CDR_HOOKS", CHOSEN)
    replay(hooked.redis, find_ids(hooked.redis, Filter()))
    hooked.work()
    assert (calls(), hooked.failed()) == ([("a", False, 1)], [])


@pytest.mark.parametrize("name", ["os:abort", "hooking:note", "hooking.chosen", "", "worker.hooks:webhook"])
def test_a_job_can_name_no_function_but_those_that_are_set(hooked: Hooked, name: str) -> None:
    call = HookCall(name, "0" * 32, "00" * 32, datetime(2026, 1, 1), "a", is_update=False)  # noqa: DTZ001 - as the column
    enqueue(hooked.redis, [hook_job(call)])
    hooked.work()
    assert (only_failure(hooked).reason, noted) == ("hook_not_configured", [])


@pytest.mark.parametrize("payload", [None, [], {}, "text", {"hook": CHOSEN, "identity": 1}])
def test_a_payload_that_is_none_of_ours_is_a_failed_job(hooked: Hooked, payload: Any) -> None:
    enqueue(hooked.redis, [NewJob(HOOKS, RUN_HOOK, (payload,), "nobody's")])
    hooked.work()
    assert only_failure(hooked).reason == "not_a_hook_call"


def test_a_hook_is_called_again_when_its_database_was_away(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked.load_legs("a")
    forget_context()
    with monkeypatch.context() as patch:
        patch.setenv("CDR_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/cdr")
        worker = hooked.work(most=1)
    assert isinstance(worker._setback, DatabaseUnavailable)
    assert (len(hooked.waiting()), noted, hooked.failed()) == (1, [], [])
    forget_context()
    hooked.work()
    assert calls() == [("a", False, 1)]


def test_a_failed_hook_whose_next_try_redis_does_not_take_goes_back(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise QueueUnavailable("made to fail")

    choose(raising(ValueError("theirs")))
    hooked.load_legs("a")
    with monkeypatch.context() as patch:
        patch.setattr(run_hook, "schedule_once", away)
        hooked.work(most=1)
    assert (len(hooked.waiting()), hooked.failed()) == (1, [])
    hooked.work()
    assert (calls(), len(hooked.scheduled())) == ([("a", False, 1), ("a", False, 1)], 1)


def test_the_next_try_is_scheduled_once_wherever_it_is(hooked: Hooked) -> None:
    call = HookCall(CHOSEN, "0" * 32, "00" * 32, datetime(2026, 1, 1), "a", is_update=False)  # noqa: DTZ001 - as the column
    job = hook_job(call)
    enqueue_once(hooked.redis, [job])
    schedule_once(hooked.redis, job, 0.0)
    assert (hooked.waiting(), hooked.scheduled()) == ([job.job_id], {})
    hooked.redis.delete(queue_key(HOOKS))
    hooked.redis.hset(job_key(job.job_id), "status", "finished")
    hooked.redis.zadd(finished_key(HOOKS), {job.job_id: 1})
    schedule_once(hooked.redis, job, 0.0)
    assert hooked.scheduled() == {}
    hooked.redis.delete(job_key(job.job_id))
    schedule_once(hooked.redis, job, 0.0)
    assert list(hooked.scheduled()) == [job.job_id]
    hooked.make_due()
    assert hooked.waiting() == [job.job_id]


def test_a_second_signal_breaks_off_a_hook_and_puts_its_job_back(hooked: Hooked) -> None:
    def stop(_cdr: LoadedCdr) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        # RQ takes a second signal within a second for a copy of the first.
        time.sleep(1.2)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    choose(stop)
    hooked.load_legs("a")
    worker = hooked.work()
    assert worker._stop_requested
    assert (len(hooked.waiting()), hooked.scheduled(), hooked.failed()) == (1, {}, [])


def test_a_hook_that_ends_the_process_in_order_while_it_is_told_to_stop_has_failed_only_then(hooked: Hooked) -> None:
    def stop(_cdr: LoadedCdr) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(0)

    choose(stop)
    hooked.load_legs("a", "b")
    hooked.work()
    assert (len(noted), len(hooked.waiting()), len(hooked.scheduled())) == (1, 1, 1)


def test_hooks_leave_what_a_load_counts_as_it_was(hooked: Hooked) -> None:
    hooked.load_legs("a", "b")
    hooked.work()
    assert context.current().knowledge.hooks == (CHOSEN,)
    assert (hooking.noted is noted, hooked.waiting(CDRS)) == (True, [])
