"""Deliveries become rows: each CDR once, every delivery counted once, nothing lost to a neighbour or to a second run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from loading import NO_UPDATES, NOON_US, TIME, Loader, delivery, execute, leg, select

from common.delivery import Delivery, instant
from common.errors import DatabaseUnavailable, RefusedByDatabase
from common.identity import call_key, cdr_identity
from common.job_queue import JobSerializer
from common.postgres import Database
from worker import load_cdrs
from worker.gather import gather
from worker.known_cdrs import merge_known
from worker.pipeline import NotLoadable, enrich

LAYERS = (
    '[{"layer_id":8869,"layer_name":"אבן גבירול","Dtmf":0,"dtmf_order":2},'
    '{"layer_id":8650,"layer_name":"Store List","Dtmf":1,"dtmf_order":1}]'
)
# Shaped like the sample in the provider's web SDK.
SAMPLE = {
    "caller": "0546666666", "target": "972702246666", "time": 1580846139, "duration": 38,
    "ivruniqueid": "2020020419500000000000000000", "type": "Incoming Call", "status": "ANSWER", "targetextension": "",
    "callerextension": "", "did": "0702246666", "queueid": 0, "queuename": "",
    "record": "http://recordings.invalid/2020020419500000000000000000-aws-0546666666-0702246666.mp3",
    "price": Decimal("0.0"), "dialtime": 33, "representative_name": "External IVR", "representative_code": "",
    "targetextension_name": "", "callerextension_name": "", "target_country": "Israel", "caller_country": "Israel",
    "IVR": LAYERS,
}  # fmt: skip
MOMENT = datetime(2020, 2, 4, 17, 55, 39, tzinfo=UTC)
ROW = {
    "identity": cdr_identity("acme", str(SAMPLE["ivruniqueid"]), "Incoming Call", 1580846139, None, None),
    "provider_time": datetime(2020, 2, 4, 19, 55, 39, tzinfo=UTC).replace(tzinfo=None),
    "account": "acme", "call_id": SAMPLE["ivruniqueid"], "original_call_id": None, "call_type": "Incoming Call",
    "direction": "incoming", "disposition": "ANSWER", "outcome": "answered", "started_at": MOMENT,
    "time_raw": 1580846139, "time_rule": "local", "talk_seconds": 38, "ring_seconds": 33, "queue_wait_seconds": None,
    "duration_seconds": 38, "caller_number": "0546666666", "caller_e164": "+972546666666",
    "caller_country_code": "IL", "caller_country": "Israel", "caller_kind": "mobile", "called_party": "972702246666",
    "called_e164": "+972702246666", "called_country_code": "IL", "called_country": "Israel",
    "did_number": "0702246666", "did_e164": "+972702246666", "acd_queue_id": None, "acd_queue_name": None,
    "caller_extension_code": None, "caller_extension_name": None, "answering_extension_code": None,
    "answering_extension_name": None, "agent_code": None, "agent_name": None, "price_agorot": Decimal("0.0"),
    "recording_url": SAMPLE["record"], "custom": None, "ai": None, "problems": [], "notes": None, "format": "json",
    "delivery_place": 0, "delivery_count": 1,
    "first_received_at": instant(NOON_US), "last_received_at": instant(NOON_US),
}  # fmt: skip


def cdrs(url: str) -> list[dict[str, Any]]:
    return select(url, "SELECT * FROM cdr.cdrs ORDER BY call_id, call_type")


def only(url: str) -> dict[str, Any]:
    [row] = cdrs(url)
    return row


def count(url: str, table: str) -> int:
    return int(select(url, f"SELECT count(*) FROM cdr.{table}")[0]["count"])


def in_threads(*works: Any) -> None:
    """Run functions at the same time; raise what one of them raised."""
    errors: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def sample_row(loader: Loader, database_url: str) -> dict[str, Any]:
    loader.load_fields(SAMPLE)
    return only(database_url)


def test_the_providers_sample_becomes_the_right_row(sample_row: dict[str, Any]) -> None:
    assert {column: sample_row[column] for column in ROW} == ROW


def test_the_layers_of_the_menu_are_in_the_order_heard(sample_row: dict[str, Any]) -> None:
    assert [layer["layer_name"] for layer in sample_row["ivr_path"]] == ["Store List", "אבן גבירול"]


def test_the_payload_is_every_field_as_sent(sample_row: dict[str, Any]) -> None:
    assert sample_row["payload"] == SAMPLE


def test_a_cdr_is_found_by_the_key_that_sql_computes(sample_row: dict[str, Any], database_url: str) -> None:
    [row] = select(database_url, "SELECT cdr.call_key(account, call_id) AS computed, call_key FROM cdr.cdrs")
    assert row["computed"] == row["call_key"]
    assert row["call_key"].bytes == call_key("acme", sample_row["call_id"])


def test_both_legs_of_a_click2call_are_two_rows_of_one_call(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("c", type="Click2Call leg1"), leg("c", type="Click2Call leg2"))
    loader.fold()
    assert (len(cdrs(database_url)), count(database_url, "calls")) == (2, 1)


RECORD = "https://records.invalid/1.mp3"


def test_a_second_delivery_fills_what_was_empty(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c", record="", queuename="Sales"))])
    loader.load([delivery(leg("c", record=RECORD, queuename="", duration=""), received=5)])
    row = only(database_url)
    assert (row["recording_url"], row["acd_queue_name"], row["talk_seconds"]) == (RECORD, "Sales", 10)


def test_deliveries_that_come_together_are_inserted_as_one_row(loader: Loader, database_url: str) -> None:
    execute(database_url, NO_UPDATES)
    batch = [
        delivery(leg("c", record="", queuename="Sales")),
        delivery(leg("c", record=RECORD, duration=11), received=5),
    ]
    assert loader.load(batch) == []
    row = only(database_url)
    assert (row["recording_url"], row["acd_queue_name"], row["talk_seconds"]) == (RECORD, "Sales", 11)
    assert (row["delivery_count"], count(database_url, "deliveries"), count(database_url, "recordings")) == (2, 2, 1)


def test_a_recording_that_comes_later_is_queued_once(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c"))])
    loader.load([delivery(leg("c", record=RECORD), received=5)])
    loader.load([delivery(leg("c", record=RECORD, aiData={"a": 1}), received=9)])
    [recording] = select(database_url, "SELECT * FROM cdr.recordings")
    [entry] = select(database_url, "SELECT * FROM cdr.outbox WHERE kind = 'recordings'")
    assert (recording["source_url"], entry["recording_ids"]) == (RECORD, [recording["recording_id"]])


def addresses(url: str) -> set[str]:
    return {row["source_url"] for row in select(url, "SELECT source_url FROM cdr.recordings")}


def queued_recordings(url: str) -> int:
    rows = select(url, "SELECT recording_ids FROM cdr.outbox WHERE kind = 'recordings'")
    return sum(len(row["recording_ids"]) for row in rows)


@pytest.mark.parametrize("batches", [["0123"], ["0", "1", "2", "3"], ["3", "2", "1", "0"], ["0", "123"], ["2", "013"]])
def test_each_address_is_a_recording_in_whatever_order_they_come(
    loader: Loader, database_url: str, batches: list[str]
) -> None:
    sent = ["", RECORD, RECORD + "?2", RECORD + "?3"]
    deliveries = [delivery(leg("c", record=record), received=number) for number, record in enumerate(sent)]
    for batch in (*batches, *batches):
        loader.load([deliveries[int(number)] for number in batch])
    assert (addresses(database_url), only(database_url)["recording_url"]) == (set(sent) - {""}, sent[-1])
    assert (count(database_url, "recordings"), queued_recordings(database_url)) == (3, 3)


def test_what_a_trigger_leaves_out_is_left_out_however_often_it_comes(loader: Loader, database_url: str) -> None:
    execute(
        database_url,
        """CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF new.call_id = 'c' THEN RETURN NULL; END IF; RETURN new; END $$;
        CREATE TRIGGER of_a_user BEFORE INSERT ON cdr.cdrs FOR EACH ROW EXECUTE FUNCTION leave_out()""",
    )
    assert loader.load([delivery(leg("c")), delivery(leg("c"), received=1), delivery(leg("d"))]) == []
    assert only(database_url)["call_id"] == "d"


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    """Read all that a load writes, but for what counts attempts."""
    tables = {"cdrs": "identity", "deliveries": "identity, delivery_id, delivery_place", "recordings": "recording_id"}
    return {table: select(url, f"SELECT * FROM cdr.{table} ORDER BY {key}") for table, key in tables.items()}


def test_a_batch_that_runs_twice_changes_nothing(loader: Loader, database_url: str) -> None:
    batch = [
        delivery(leg("c", record=RECORD)),
        delivery(leg("d")),
        delivery(leg("c", duration=11), received=3),
        delivery(leg("d", type="Queue")),
    ]
    loader.load(batch)
    before = everything(database_url)

    loader.load(batch)

    assert everything(database_url) == before


def test_a_delivery_in_two_jobs_counts_once(loader: Loader, database_url: str) -> None:
    first, second = delivery(leg("c")), delivery(leg("c", duration=11), received=3)
    for batch in ([first], [second, first], [first], [second]):
        loader.load(batch)
    assert only(database_url)["delivery_count"] == 2


def test_the_same_cdr_twice_in_one_array_is_two_deliveries(loader: Loader, database_url: str) -> None:
    one = delivery(leg("c"))
    loader.load([one, delivery(leg("c"), delivery_id=one.delivery_id, place=1)])
    assert only(database_url)["delivery_count"] == 2


def test_two_deliveries_in_one_batch_are_merged(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c", duration=12), received=3), delivery(leg("c", record=RECORD))])
    row = only(database_url)
    assert (row["talk_seconds"], row["recording_url"], row["delivery_count"]) == (12, RECORD, 2)
    assert (row["first_received_at"], row["last_received_at"]) == (instant(NOON_US), instant(NOON_US + 3_000_000))


THREE = (
    delivery(
        {"ivruniqueid": "c", "Duration": 7, "duration": 8, "record": "ftp://x.invalid", "price": "1,5", "aiData": "{"},
        notes=("Duration: NUL removed", "gone: NUL removed"),
        format="xmlrpc",
    ),
    delivery({"ivruniqueid": "c", "DURATION": "x", "did": "0722776770", "price": Decimal("1.50")}, received=1),
    delivery(
        {"IVR_UNIQUE_ID": "c", "duration": 9, "price": "bad", "record": RECORD, "var_a": 1},
        received=2,
        notes=("price: NUL removed", "record: NUL removed"),
    ),
)
SPLITS = [(3,), (1, 2), (2, 1), (1, 1, 1)]


@pytest.mark.parametrize("split", SPLITS)
def test_deliveries_in_any_order_and_any_batches_make_one_row(
    loader: Loader, database_url: str, split: tuple[int, ...]
) -> None:
    rows = []
    for order in permutations(THREE):
        execute(database_url, "DELETE FROM cdr.cdrs")
        execute(database_url, "DELETE FROM cdr.deliveries")
        left = list(order)
        for size in split:
            loader.load(left[:size])
            del left[:size]
        rows.append({**only(database_url), "loaded_at": None})

    assert rows == [rows[0]] * 6
    assert rows[0] == rows[0] | EXPECTED_OF_THREE


EXPECTED_OF_THREE = {
    "delivery_count": 3,
    "talk_seconds": 9,
    "price_agorot": Decimal("1.50"),
    "recording_url": RECORD,
    "did_number": "0722776770",
    "custom": {"var_a": 1},
    "time_rule": "received",
    "started_at": instant(NOON_US),
    "format": "xmlrpc",
}


def test_problems_are_those_of_the_values_that_stand(loader: Loader, database_url: str) -> None:
    loader.load(THREE)
    problems = only(database_url)["problems"]
    assert sorted(line.partition(":")[0] for line in problems) == ["Duration", "aiData", "gone", "record"]


@contextmanager
def transactions_counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    counted = [0]
    begin = Database.transaction

    def transaction(self: Database) -> Any:
        counted[0] += 1
        return begin(self)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", transaction)
        yield counted


def refuse(url: str, condition: str) -> None:
    execute(url, f"ALTER TABLE cdr.cdrs ADD CONSTRAINT of_a_user CHECK ({condition})")


def test_one_cdr_that_the_database_refuses_does_not_stop_999(loader: Loader, database_url: str) -> None:
    refuse(database_url, "call_id <> 'c617'")

    refused = loader.load_fields(*(leg(f"c{number}") for number in range(1000)))

    assert [[each.fields["ivruniqueid"] for each in one.items] for one in refused] == [["c617"]]
    assert count(database_url, "cdrs") == 999


def test_a_refused_cdr_says_why(loader: Loader, database_url: str) -> None:
    refuse(database_url, "call_id <> 'c'")
    [refused] = loader.load_fields(leg("c"))
    assert isinstance(refused.error, RefusedByDatabase)
    assert refused.error.sqlstate == "23514"


def test_a_refused_cdr_costs_few_transactions(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(database_url, "call_id <> 'c617'")
    with transactions_counted(loader.database, monkeypatch) as transactions:
        loader.load_fields(*(leg(f"c{number}") for number in range(1000)))
    assert transactions[0] <= 1 + 2 * 10


def test_a_batch_that_is_refused_as_a_whole_is_returned_as_a_whole(loader: Loader, database_url: str) -> None:
    refuse(database_url, "false")
    refused = loader.load([delivery(leg("c")), delivery(leg("c"), received=1), delivery(leg("d"))])
    assert sorted(len(each.items) for each in refused) == [1, 2]


def test_deliveries_that_break_a_stage_only_together_cost_one_cdr(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_for_several(deliveries: list[Delivery], knowledge: Any) -> Any:
        if len(deliveries) > 1:
            raise NotLoadable("a bug of ours")
        return enrich(deliveries, knowledge)

    loader.load([delivery(leg("known"))])
    monkeypatch.setattr("worker.gather.enrich", fails_for_several)
    monkeypatch.setattr("worker.known_cdrs.enrich", fails_for_several)

    batch = [delivery(leg("c")), delivery(leg("c"), received=1), delivery(leg("d")), delivery(leg("known"), received=1)]
    refused = loader.load(batch)

    assert sorted(len(each.items) for each in refused) == [1, 2]
    assert {row["call_id"] for row in cdrs(database_url)} == {"known", "d"}
    assert select(database_url, "SELECT delivery_count FROM cdr.cdrs WHERE call_id = 'known'") == [
        {"delivery_count": 1}
    ]


def test_nothing_is_loaded_from_nothing(loader: Loader) -> None:
    assert load_cdrs.load(loader.database, [], loader.knowledge) == ([], [])


def test_a_row_that_vanishes_while_it_is_merged_into_is_waited_for(loader: Loader) -> None:
    records, _ = gather([delivery(leg("c"))], loader.knowledge)
    with pytest.raises(DatabaseUnavailable), loader.database.transaction() as cursor:
        merge_known(cursor, records, loader.knowledge, datetime.now(UTC).isoformat())


def test_workers_with_the_same_and_overlapping_batches_load_each_cdr_once(database_url: str) -> None:
    loaders = [Loader(database_url) for _ in range(3)]
    for number in range(12):
        batch = [delivery(leg(f"{number}-{place}")) for place in range(60)]
        more = [delivery(leg(f"{number}-{place}", duration=12), received=1) for place in range(30, 90)]
        in_threads(
            lambda batch=batch: loaders[0].load(batch[::-1]),
            lambda more=more, batch=batch: loaders[1].load([*more, *batch[:10]]),
            lambda more=more, batch=batch: loaders[2].load([*batch[20:], *more[::-1]]),
        )
    for loader in loaders:
        loader.database.close()

    counts = select(database_url, "SELECT delivery_count, count(*) FROM cdr.cdrs GROUP BY 1 ORDER BY 1")
    assert [tuple(row.values()) for row in counts] == [(1, 12 * 60), (2, 12 * 30)]


def test_first_and_further_deliveries_at_once_are_all_counted(database_url: str) -> None:
    loaders = [Loader(database_url) for _ in range(3)]
    for number in range(15):
        batches = [
            [delivery(leg(f"{number}-{place}", **{f"var_{worker}": worker}), received=worker) for place in range(20)]
            for worker in range(3)
        ]
        in_threads(*(lambda one=one, batch=batch: one.load(batch) for one, batch in zip(loaders, batches, strict=True)))
    for loader in loaders:
        loader.database.close()

    rows = cdrs(database_url)
    assert {row["delivery_count"] for row in rows} == {3}
    assert all(row["custom"] == {"var_0": 0, "var_1": 1, "var_2": 2} for row in rows)


def test_a_repeatable_read_default_does_not_hide_what_others_commit(database_url: str) -> None:
    execute(
        database_url,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''',"
        " current_database()); END $$",
    )
    loader = Loader(database_url)
    with loader.database.transaction() as cursor:
        [level] = cursor.execute("SHOW transaction_isolation").fetchone() or ()
    loader.database.close()
    assert level == "read committed"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = {
    "huge number": {"x": 10**399, "price": 10**300, "duration": 10**20},
    "tiny fraction": {"x": Decimal("1e-300"), "price": Decimal("1e-300")},
    "deep json": {"x": nested(60), "aiData": nested(60)},
    "10 MB": {"x": "ש" * 5_000_000},
    "very long texts": dict.fromkeys(("caller", "target", "queuename", "did", "type", "status"), "9" * 100000),
    "quotes and tabs": {"x": "\\N\t\n\r\\.\"'", "queuename": "\\N", "queueid": "{}", "var_\\": "\\"},
    "long original": {"OriginalivrUniqueID": "x" * 512},
    "objects for texts": {name: {"a": [1]} for name in ("caller", "type", "status", "queuename", "callerextension")},
    "long name": {"x" * 100_000: 1},
    "negative everything": dict.fromkeys(("duration", "dialtime", "seconds_waiting_in_queue", "price", "queueid"), -1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_loaded(loader: Loader, database_url: str, name: str) -> None:
    assert loader.load_fields(leg("c", **HOSTILE[name])) == []
    [row] = select(database_url, "SELECT payload::text FROM cdr.cdrs")
    payload = JobSerializer.loads(row["payload"].encode())
    assert payload == payload | HOSTILE[name]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_merged(loader: Loader, database_url: str, name: str) -> None:
    changing = {"callerextension", "type"} & HOSTILE[name].keys()
    first = leg("c", **HOSTILE[name])
    loader.load([delivery(first)])
    assert loader.load([delivery({**first, "did": "1"} if changing else first | {"did": "1"}, received=1)]) == []
    assert only(database_url)["delivery_count"] == 2


def test_a_nul_costs_its_cdr_only(loader: Loader, database_url: str) -> None:
    # The decoders remove it; a job that was made by hand may hold one all the same.
    refused = loader.load_fields(leg("good"), leg("bad", queuename="a\0b"), leg("fine"))
    assert [each.items[0].fields["ivruniqueid"] for each in refused] == ["bad"]
    assert [row["call_id"] for row in cdrs(database_url)] == ["fine", "good"]


def test_text_that_no_database_takes_is_mended_in_json_within_text(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("c", aiData='{"a": "\\ud800 \\u0000"}'))
    assert only(database_url)["ai"] == {"a": "\ufffd "}


TIMES = {
    None: datetime(1970, 1, 1, tzinfo=UTC),
    0: datetime(1970, 1, 1, tzinfo=UTC),
    -5: datetime(1970, 1, 1, tzinfo=UTC),
    1: datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    4_102_444_800: datetime(2100, 1, 1, tzinfo=UTC),
    10**30: datetime(1970, 1, 1, tzinfo=UTC),
    "soon": datetime(1970, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("time", TIMES)
def test_a_weird_time_goes_to_the_default_partition(loader: Loader, database_url: str, time: Any) -> None:
    loader.load_fields(leg("c", time=time))
    [row] = select(database_url, "SELECT provider_time FROM cdr.cdrs_default")
    assert row["provider_time"].replace(tzinfo=UTC) == TIMES[time]


BAD = {
    "time": "soon", "duration": "long", "dialtime": -1, "seconds_waiting_in_queue": "1:20", "queueid": "none",
    "price": "1,234", "record": "ftp://x.invalid/1.mp3", "IVR": "[{", "isAnswer": "perhaps", "queuename": ["a"],
}  # fmt: skip
COLUMNS = {
    "time_raw", "duration_seconds", "dial_seconds", "queue_wait_seconds", "acd_queue_id", "price_agorot",
    "recording_url", "ivr_path", "is_answered", "acd_queue_name",
}  # fmt: skip


def test_each_bad_value_leaves_a_line(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("c", **BAD))
    assert {line.partition(":")[0] for line in only(database_url)["problems"]} == set(BAD)


def test_each_bad_value_leaves_its_column_null(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("c", **BAD))
    row = only(database_url)
    assert {row[column] for column in COLUMNS & row.keys()} == {None}


def test_a_session_in_another_time_zone_reads_the_same_instant(loader: Loader, database_url: str) -> None:
    loader.load_fields(SAMPLE)
    with loader.database.transaction() as cursor:
        cursor.execute("SET LOCAL timezone = 'Asia/Tokyo'")
        [started_at] = cursor.execute("SELECT started_at FROM cdr.cdrs").fetchone() or ()
    assert started_at == MOMENT


def test_a_merge_keeps_the_instant_in_any_default_time_zone(database_url: str) -> None:
    execute(
        database_url,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$",
    )
    loader = Loader(database_url)
    loader.load([delivery(leg("c", time=None))])
    loader.load([delivery(leg("c", time=None), received=-60.5)])
    loader.database.close()
    assert only(database_url)["started_at"] == instant(NOON_US - 60_500_000)


def test_a_table_that_grew_a_column_does_not_stop_a_worker_that_runs(loader: Loader, database_url: str) -> None:
    loader.load_fields(leg("before"))
    execute(database_url, "ALTER TABLE cdr.cdrs ADD COLUMN new_column text DEFAULT 'x'")
    execute(database_url, "ALTER TABLE cdr.cdrs ALTER COLUMN problems SET DEFAULT '{new}'")
    loader.load([delivery(leg("after")), delivery(leg("before", did="1"), received=1)])
    assert [(row["call_id"], row["new_column"]) for row in cdrs(database_url)] == [("after", "x"), ("before", "x")]


def test_an_error_does_not_cost_the_connection(loader: Loader, database_url: str) -> None:
    refuse(database_url, "call_id <> 'c'")
    loader.load_fields(leg("c"))
    loader.load_fields(leg("d"))
    assert only(database_url)["call_id"] == "d"


def test_a_row_that_stands_for_years_is_merged_into(loader: Loader, database_url: str) -> None:
    loader.load([delivery(leg("c", time=TIME - 10 * 365 * 86_400))])
    loader.load([delivery(leg("c", time=TIME - 10 * 365 * 86_400, did="1"), received=1)])
    assert only(database_url)["did_number"] == "1"


def test_the_view_has_the_providers_23_names(database_url: str) -> None:
    names = [
        "caller", "target", "time", "duration", "ivruniqueid", "type", "status", "targetextension", "callerextension",
        "did", "queueid", "queuename", "record", "price", "dialtime", "representative_name", "representative_code",
        "targetextension_name", "callerextension_name", "target_country", "caller_country",
        "seconds_waiting_in_queue", "originalivruniqueid",
    ]  # fmt: skip
    columns = select(
        database_url,
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'cdr' AND table_name = 'voicenter_cdr' ORDER BY ordinal_position",
    )
    assert [row["column_name"] for row in columns] == names


def test_the_view_says_what_was_sent_where_ours_says_what_it_means(loader: Loader, database_url: str) -> None:
    machine = {"dialtime": 10, "actualCallDialtime": 7, "representative_name": "External IVR"}
    loader.load_fields({**SAMPLE, **machine, "representative_code": ""})
    [row] = select(database_url, "SELECT dialtime, representative_name FROM cdr.voicenter_cdr")
    assert row == {"dialtime": 10, "representative_name": "External IVR"}


def test_the_view_says_what_was_meant_where_what_was_sent_is_no_number(loader: Loader, database_url: str) -> None:
    loader.load_fields({**SAMPLE, "dialtime": "soon", "actualCallDialtime": 7})
    [row] = select(database_url, "SELECT dialtime FROM cdr.voicenter_cdr")
    assert row == {"dialtime": 7}


def test_the_view_has_the_providers_values(loader: Loader, database_url: str) -> None:
    loader.load_fields({**SAMPLE, "target_country": "Palestine", "representative_name": "Dana"})
    [row] = select(database_url, "SELECT * FROM cdr.voicenter_cdr")
    sent = {name: SAMPLE[name] for name in ("caller", "target", "time", "duration", "ivruniqueid", "status", "record")}
    assert row == row | sent | {"queueid": 0, "target_country": "Palestine", "representative_name": "Dana"}
