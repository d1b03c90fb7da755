"""The CDRs of a call, and of the calls that came from it, make one row of cdr.calls, in whatever order they come."""

from __future__ import annotations

import threading
import uuid
from itertools import permutations
from typing import Any

import pytest
from call_model import calls_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import TIME, Loader, delivery, execute, leg, select

from common.delivery import Delivery
from common.identity import call_key
from worker import fold_calls
from worker.outbox import work_off

YEARS = 3 * 365 * 86_400


def calls(url: str, account: str = "acme") -> dict[str, dict[str, Any]]:
    """Read the calls of an account by their ids."""
    rows = select(url, "SELECT * FROM cdr.calls WHERE account = %s", account)
    return {row["call_id"]: row for row in rows}


def one_call(loader: Loader, url: str, *legs: dict[str, Any]) -> dict[str, Any]:
    """Load legs that make one call, fold them and return its row."""
    loader.load_fields(*legs)
    loader.fold()
    [row] = calls(url).values()
    return row


def fold_each(loader: Loader, *batches: list[dict[str, Any]]) -> None:
    for batch in batches:
        loader.load_fields(*batch)
        loader.fold()


def groups(url: str, account: str = "acme") -> dict[str, list[str]]:
    return {call_id: row["call_ids"] for call_id, row in calls(url, account).items()}


LEG1 = leg("c", type="Click2Call leg1", callerextension="AAAA", duration=30, status="ANSWER", target="0722000001")
LEG2 = leg("c", type="Click2Call leg2", duration=20, status="BUSY", target="0722000002", time=TIME + 5)


def test_a_cdr_by_itself_is_a_call_with_its_values(loader: Loader, database_url: str) -> None:
    sent = leg(
        "c", caller="0541111111", target="0722776772", did="0722776770", dialtime=4, queuename="Sales", queueid=7,
        seconds_waiting_in_queue=6, representative_name="Dana", representative_code="12", price=3.5,
        record="https://records.invalid/1.mp3",
    )  # fmt: skip

    row = one_call(loader, database_url, sent)

    [cdr] = select(database_url, "SELECT * FROM cdr.cdrs")
    expected = {name: cdr[name] for name in row.keys() & cdr.keys()}
    counted = {"call_ids": ["c"], "leg_count": 1, "recording_count": 1}
    spans = {"first_provider_time": cdr["provider_time"], "last_provider_time": cdr["provider_time"]}
    assert row == {**expected, **counted, **spans, "ended_at": row["ended_at"]}
    assert (row["ended_at"] - row["started_at"]).total_seconds() == 6 + 4 + 10


def test_leg_two_decides_over_its_leg_one(loader: Loader, database_url: str) -> None:
    assert one_call(loader, database_url, LEG1, LEG2)["outcome"] == "busy"


def test_the_talk_of_a_leg_one_that_has_its_leg_two_is_not_counted(loader: Loader, database_url: str) -> None:
    assert one_call(loader, database_url, LEG1, LEG2)["talk_seconds"] == 20


def test_the_called_party_is_that_of_leg_two(loader: Loader, database_url: str) -> None:
    assert one_call(loader, database_url, LEG1, LEG2)["called_party"] == "0722000002"


def test_a_leg_one_without_leg_two_counts(loader: Loader, database_url: str) -> None:
    row = one_call(loader, database_url, LEG1)
    assert (row["outcome"], row["talk_seconds"], row["called_party"]) == ("answered", 30, "0722000001")


def test_a_leg_two_of_another_family_supersedes_nothing(loader: Loader, database_url: str) -> None:
    other = leg("c", type="ProductiveCall Leg2", duration=7, status="BUSY", time=TIME + 5)
    row = one_call(loader, database_url, LEG1, other)
    assert (row["outcome"], row["talk_seconds"]) == ("answered", 37)


def test_a_call_is_answered_if_any_leg_was(loader: Loader, database_url: str) -> None:
    legs = [leg("c", status="ANSWER"), leg("c", type="XferCDR", status="NOANSWER", time=TIME + 60)]
    assert one_call(loader, database_url, *legs)["outcome"] == "answered"


def test_a_call_that_nobody_answered_ended_like_its_last_leg(loader: Loader, database_url: str) -> None:
    legs = [leg("c", type="Queue", status="ABANDONE", time=TIME + 60), leg("c", status="BUSY")]
    assert one_call(loader, database_url, *legs)["outcome"] == "abandoned"


def test_wait_and_ringing_are_those_of_the_first_leg_that_has_them(loader: Loader, database_url: str) -> None:
    legs = [
        leg("c"),
        leg("c", type="Queue", seconds_waiting_in_queue=5, time=TIME + 1),
        leg("c", type="XferCDR", seconds_waiting_in_queue=9, dialtime=3, time=TIME + 2),
    ]
    row = one_call(loader, database_url, *legs)
    assert (row["queue_wait_seconds"], row["ring_seconds"]) == (5, 3)


def test_the_agent_is_that_of_the_last_leg_that_has_one(loader: Loader, database_url: str) -> None:
    legs = [
        leg("c", representative_code="1", representative_name="Dana"),
        leg("c", type="XferCDR", representative_code="2", time=TIME + 60),
        leg("c", type="VoiceMail", time=TIME + 90),
    ]
    row = one_call(loader, database_url, *legs)
    assert (row["agent_code"], row["agent_name"]) == ("2", None)


def test_a_call_without_a_direction_of_its_own_takes_that_of_its_root(loader: Loader, database_url: str) -> None:
    legs = [leg("c", type="XferCDR", OriginalivrUniqueID="r", time=TIME + 60), leg("r", type="Extension Outgoing")]
    assert one_call(loader, database_url, *legs)["direction"] == "outgoing"


def test_values_come_from_the_first_leg_by_time_whatever_the_ids_are(loader: Loader, database_url: str) -> None:
    first = leg("z", caller="0541111111", OriginalivrUniqueID="a")
    later = leg("a", caller="0542222222", time=TIME + 60)
    assert one_call(loader, database_url, first, later)["caller_number"] == "0541111111"


def test_prices_are_summed_and_recordings_counted_once(loader: Loader, database_url: str) -> None:
    record = "https://records.invalid/1.mp3"
    legs = [leg("c", price="1.50", record=record), leg("c", type="Queue", price=2, record=record)]
    row = one_call(loader, database_url, *legs)
    assert (str(row["price_agorot"]), row["recording_count"], row["leg_count"]) == ("3.50", 1, 2)


def test_absurd_durations_do_not_stop_the_fold(loader: Loader, database_url: str) -> None:
    huge = 2**31 - 1
    legs = [leg("c", duration=huge, dialtime=huge), leg("c", type="Queue", duration=huge)]
    assert one_call(loader, database_url, *legs)["talk_seconds"] == 2 * huge


CHAIN = [leg("c3", OriginalivrUniqueID="c2"), leg("c2", OriginalivrUniqueID="c1"), leg("c1"), leg("c2", type="Queue")]


def in_every_order(loader: Loader, url: str, legs: list[dict[str, Any]]) -> list[dict[str, list[str]]]:
    """Load and fold legs one by one, in every order, each order in an account of its own; return what calls they made."""
    orders = list(permutations(legs))
    for number, order in enumerate(orders):
        for each in order:
            loader.load([delivery(each, account=f"order {number}")])
            loader.fold()
    return [groups(url, f"order {number}") for number in range(len(orders))]


def test_a_chain_is_one_call_in_any_order_of_arrival(loader: Loader, database_url: str) -> None:
    made = in_every_order(loader, database_url, CHAIN)
    assert made == [{"c1": ["c1", "c2", "c3"]}] * 24


def test_children_of_a_missing_original_share_a_call_under_its_id(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a", OriginalivrUniqueID="p")], [leg("b", OriginalivrUniqueID="p")])
    assert groups(database_url) == {"p": ["a", "b"]}


def test_a_missing_original_joins_its_children_when_it_comes(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a", OriginalivrUniqueID="p")], [leg("b", OriginalivrUniqueID="p")], [leg("p")])
    assert groups(database_url) == {"p": ["a", "b", "p"]}


def test_a_call_that_names_itself_is_its_own_root(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a", OriginalivrUniqueID="a")])
    assert groups(database_url) == {"a": ["a"]}


def test_a_ring_is_one_call_under_its_smallest_id_in_any_order(loader: Loader, database_url: str) -> None:
    ring = [leg("b", OriginalivrUniqueID="c"), leg("c", OriginalivrUniqueID="a"), leg("a", OriginalivrUniqueID="b")]
    made = in_every_order(loader, database_url, [*ring, leg("z", OriginalivrUniqueID="c")])
    assert made == [{"a": ["a", "b", "c", "z"]}] * 24


def test_a_chain_longer_than_is_followed_stops_nobody(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg(f"c{place}", OriginalivrUniqueID=f"c{place - 1}") for place in range(1, 40)])
    assert sum(len(ids) for ids in groups(database_url).values()) == 39
    assert len(groups(database_url)["c0"]) == 32


def test_the_same_id_in_another_account_is_another_call(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c")), delivery(leg("c"), account="other")])
    loader.fold()
    assert [row["leg_count"] for row in select(database_url, "SELECT * FROM cdr.calls")] == [1, 1]


def test_joining_two_calls_leaves_no_moment_with_both_or_none(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a")], [leg("b")])
    loader.load_fields(leg("b", type="Queue", OriginalivrUniqueID="a"))
    with loader.database.transaction():
        loader.fold()
        # The fold is a part of this transaction, so that others see nothing of it yet.
        seen_before = groups(database_url)

    assert seen_before == {"a": ["a"], "b": ["b"]}
    assert groups(database_url) == {"a": ["a", "b"]}


def test_a_changed_original_parts_what_was_joined(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a"), leg("x"), leg("b", OriginalivrUniqueID="a"), leg("c", OriginalivrUniqueID="b")])
    loader.load([delivery(leg("b", OriginalivrUniqueID="x"), received=1)])
    loader.fold()
    assert groups(database_url) == {"a": ["a"], "x": ["b", "c", "x"]}


def test_a_call_that_is_parted_takes_its_legs_of_other_times_with_it(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a"), leg("b", OriginalivrUniqueID="a"), leg("b", time=TIME + YEARS, type="Queue")])
    loader.load([delivery(leg("b", OriginalivrUniqueID="b"), received=1)])
    assert loader.fold() == 1
    rows = select(database_url, "SELECT call_id, leg_count FROM cdr.calls ORDER BY call_id")
    assert [(row["call_id"], row["leg_count"]) for row in rows] == [("a", 1), ("b", 2)]


def test_an_original_changed_to_the_call_itself_parts_it(loader: Loader, database_url: str) -> None:
    fold_each(loader, [leg("a"), leg("b", OriginalivrUniqueID="a")])
    loader.load([delivery(leg("b", OriginalivrUniqueID="b"), received=1)])
    loader.fold()
    assert groups(database_url) == {"a": ["a"], "b": ["b"]}


def test_legs_that_are_years_apart_are_one_call(loader: Loader, database_url: str) -> None:
    fold_each(
        loader,
        [leg("c")],
        [leg("c", time=TIME - YEARS, type="Queue")],
        [leg("c", time=None, type="CC")],
        [leg("k", time=TIME + YEARS, OriginalivrUniqueID="c")],
        [leg("c", type="XferCDR")],
    )
    [row] = calls(database_url).values()
    assert row["leg_count"] == 5


def test_folding_again_changes_nothing(loader: Loader, database_url: str) -> None:
    fold_each(loader, CHAIN, [LEG1, LEG2])
    before = calls(database_url)
    execute(
        database_url,
        "INSERT INTO cdr.outbox (kind, call_keys, provider_times)"
        " SELECT 'calls', array_agg(call_key), array_agg(provider_time) FROM cdr.cdrs",
    )

    loader.fold()

    assert calls(database_url) == before


def test_what_a_crash_left_between_load_and_fold_is_worked_off(loader: Loader, database_url: str) -> None:
    loader.load_fields(*CHAIN)

    work_off(loader.database, connection=None)

    assert groups(database_url) == {"c1": ["c1", "c2", "c3"]}
    assert select(database_url, "SELECT * FROM cdr.outbox") == []


@pytest.mark.parametrize("bound", ["ENTRIES_AT_ONCE", "CALLS_AT_ONCE"])
def test_the_outbox_is_worked_off_however_much_waits(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(fold_calls, bound, 3)
    for place in range(10):
        loader.load_fields(leg(f"c{place}"))

    assert loader.fold() == 10


def test_a_worker_folds_for_others_for_a_time_only(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_calls, "ENTRIES_AT_ONCE", 3)
    for place in range(10):
        loader.load_fields(leg(f"c{place}"))

    assert fold_calls.fold_waiting_calls(loader.database, 0) == 3


def test_many_small_loads_are_folded_together(loader: Loader, database_url: str) -> None:
    for place in range(10):
        loader.load_fields(leg(f"c{place}"))

    assert fold_calls.fold_waiting_calls(loader.database, 0) == 10


def refuse_in_calls(url: str, call_id: str) -> None:
    execute(url, f"ALTER TABLE cdr.calls ADD CONSTRAINT of_a_user CHECK (call_id <> '{call_id}')")


def test_a_call_that_the_database_refuses_does_not_keep_the_others_waiting(loader: Loader, database_url: str) -> None:
    refuse_in_calls(database_url, "c5")

    fold_each(loader, [leg(f"c{place}") for place in range(10)])

    assert groups(database_url).keys() == {f"c{place}" for place in range(10)} - {"c5"}


def test_a_refused_call_waits_in_the_outbox_with_the_reason(loader: Loader, database_url: str) -> None:
    refuse_in_calls(database_url, "c5")

    fold_each(loader, [leg("c5"), leg("c5", type="Queue"), leg("c6")], [leg("c7")])

    [entry] = select(database_url, "SELECT * FROM cdr.outbox")
    assert set(entry["call_keys"]) == {uuid.UUID(bytes=call_key("acme", "c5"))}
    assert "of_a_user" in entry["error"]


def test_a_refused_call_is_folded_once_its_error_is_cleared(loader: Loader, database_url: str) -> None:
    refuse_in_calls(database_url, "c5")
    fold_each(loader, [leg("c5"), leg("c5", type="Queue", time=TIME - YEARS)])
    execute(database_url, "ALTER TABLE cdr.calls DROP CONSTRAINT of_a_user")
    execute(database_url, "UPDATE cdr.outbox SET error = NULL")

    loader.fold()

    assert calls(database_url)["c5"]["leg_count"] == 2


def test_two_folders_never_work_at_once(loader: Loader, database_url: str) -> None:
    other = Loader(database_url)
    loader.load_fields(leg("a"))
    with loader.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cdr.fold_calls'))")
        folded_meanwhile = other.fold()

    assert (folded_meanwhile, other.fold()) == (0, 1)
    other.database.close()


def test_many_loaders_and_folders_at_once_make_exact_calls(database_url: str) -> None:
    kinds = ("Incoming Call", "Queue", "XferCDR")
    cdrs = [
        leg(f"c{number}", type=kind, OriginalivrUniqueID=f"c{number - 1}" if number % 4 else None)
        for number in range(24)
        for kind in kinds
    ]

    def work(part: int) -> None:
        loader = Loader(database_url)
        for start in range(part, len(cdrs), 8):
            loader.load_fields(*cdrs[start : start + 4 : 2])
            loader.fold()
        loader.database.close()

    threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = Loader(database_url)
    last.fold()
    last.database.close()
    assert_calls_follow_the_rules(database_url, "acme")


def assert_calls_follow_the_rules(url: str, account: str) -> None:
    cdrs = select(url, "SELECT * FROM cdr.cdrs WHERE account = %s", account)
    found = calls(url, account)
    for row in found.values():
        del row["call_key"]
    assert found == {call_id: row for (_, call_id), row in calls_of(cdrs).items()}


TYPES = ["Incoming Call", "Queue", "Click2Call leg1", "Click2Call leg2", "Click 2 IVR", "XferCDR", "Unheard of"]
IDS = st.sampled_from("abcdef")
SOME_TIMES = st.sampled_from([None, TIME, TIME + 1, TIME + 90, TIME - YEARS, TIME + YEARS])
SMALL = st.none() | st.integers(0, 20)
FIELDS = st.builds(
    leg,
    IDS,
    OriginalivrUniqueID=st.none() | IDS,
    time=SOME_TIMES,
    type=st.sampled_from(TYPES),
    status=st.sampled_from(["ANSWER", "BUSY", "ABANDONE", "VOICEMAIL", None]),
    duration=SMALL,
    dialtime=SMALL,
    seconds_waiting_in_queue=SMALL,
    caller=st.sampled_from([None, "0541111111", "*1234", "AAPINFzL"]),
    target=st.sampled_from([None, "0722776772", "BBPINFzL"]),
    did=st.sampled_from([None, "0722776770"]),
    queuename=st.sampled_from([None, "Sales", "Support"]),
    representative_code=st.sampled_from([None, "1", "2"]),
    representative_name=st.sampled_from([None, "Dana", "External IVR"]),
    price=st.none() | st.integers(0, 9),
    record=st.sampled_from([None, "https://records.invalid/1.mp3", "https://records.invalid/2.mp3"]),
)
FILLED = ["cdrs", "deliveries", "calls", "call_links", "recordings", "outbox"]
BATCHES = st.lists(st.tuples(st.lists(FIELDS, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=5)


def deliveries_of(batches: list[tuple[list[dict[str, Any]], bool]], account: str) -> list[list[Delivery]]:
    received = iter(range(1000))
    return [[delivery(each, received=next(received), account=account) for each in batch] for batch, _ in batches]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_any_cdrs_in_any_batches_make_the_calls_that_the_rules_make(
    loader: Loader, database_url: str, batches: list[tuple[list[dict[str, Any]], bool]]
) -> None:
    account = uuid.uuid4().hex
    for deliveries, (_, fold) in zip(deliveries_of(batches, account), batches, strict=True):
        loader.load(deliveries)
        if fold:
            loader.fold()
    loader.fold()
    assert_calls_follow_the_rules(database_url, account)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, order=st.randoms(use_true_random=False))
def test_the_order_of_arrival_makes_no_difference_to_the_calls(
    loader: Loader, database_url: str, batches: list[tuple[list[dict[str, Any]], bool]], order: Any
) -> None:
    each = [one for batch in deliveries_of(batches, "acme") for one in batch]
    at_once = calls_after(loader, database_url, [each])
    order.shuffle(each)
    assert calls_after(loader, database_url, [[one] for one in each]) == at_once


def calls_after(loader: Loader, url: str, batches: list[list[Delivery]]) -> dict[str, dict[str, Any]]:
    """Load and fold batches into an empty database, and return the calls."""
    execute(url, ";".join(f"DELETE FROM cdr.{table}" for table in FILLED))
    for batch in batches:
        loader.load(batch)
        loader.fold()
    return calls(url)
