"""`cdr clock`: the report shows a wrong setting and names the mend, and recompute makes rows and calls right again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from clock_changes import CHANGES, Change, named, seconds
from clock_rows import Sent, insert
from command_line import Done, Product, product
from loading import Loader, delivery, leg
from running import until

from cdr.clock import rereading
from cdr.clock.counts import Chosen
from cdr.clock.rereading import Rereading, lock, update
from cdr.data_folder import DataFolder
from common.errors import DatabaseUnavailable
from common.partitions import make_partitions
from common.postgres import Database
from common.settings import AccountDefaults
from worker.accounts import Account, Accounts
from worker.extension_directory import ExtensionDirectory
from worker.fold_calls import fold_waiting_calls
from worker.pipeline import Knowledge

__all__ = ["product"]

EPOCH = datetime(2026, 9, 21, 9, 0, tzinfo=UTC)
# In September the clocks of Jerusalem are three hours ahead.
AHEAD = timedelta(hours=3)
LOCAL = Account("Asia/Jerusalem", "local", "local", "IL", duration_includes_wait=False)
AUTO = Account("Asia/Jerusalem", "auto", "local", "IL", duration_includes_wait=False)


@pytest.fixture
def database(product: Product) -> Iterator[Database]:
    made = Database(product.database_url, "test")
    yield made
    made.close()


def epoch_cdr(number: int, **fields: Any) -> dict[str, Any]:
    """Make the fields of a CDR of an account that sends true epochs."""
    instant = EPOCH + timedelta(minutes=number)
    return leg(f"{instant + AHEAD:%Y%m%d%H%M%S}call{number}", time=seconds(instant), **fields)


def fresh_loader(product: Product, **settings: str) -> Loader:
    made = Loader(product.database_url)
    made.knowledge = Knowledge(Accounts(AccountDefaults(**settings)), ExtensionDirectory())  # type: ignore[arg-type]
    made.knowledge.accounts.refresh(made.database)
    return made


def load(product: Product, *fields: dict[str, Any], **settings: str) -> None:
    loader = fresh_loader(product, **settings)
    loader.load_fields(*fields)
    loader.database.close()


def starts(product: Product) -> dict[str, tuple[datetime, str]]:
    rows = product.query("SELECT call_id, started_at, time_rule FROM cdr.cdrs")
    return {call_id: (started_at, rule) for call_id, started_at, rule in rows}


def report(product: Product, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = product.cdr("clock", "report", "--json", *arguments).json
    return document


def recompute(product: Product, *arguments: str) -> dict[str, Any]:
    done = product.cdr("clock", "recompute", "--json", *arguments)
    assert (done.exit_code, done.err) == (0, "")
    document: dict[str, Any] = done.json
    return document


def findings(product: Product) -> list[str]:
    return [each["finding"] for each in report(product)["verdicts"]]


def run_line(product: Product, command: str) -> Done:
    return product.cdr(*command.split()[1:])


def account_of(change: Change) -> str:
    return named(change).replace("/", "_")


def fold(product: Product) -> None:
    database = Database(product.database_url, "test")
    fold_waiting_calls(database)
    database.close()


def test_a_wrong_setting_is_seen_and_its_commands_mend_rows_recordings_and_calls(product: Product) -> None:
    product.cdr("accounts", "set", "acme", "--time-rule", "local")
    sent = [epoch_cdr(number, record=f"https://records.invalid/{number}.mp3") for number in range(20)]
    load(product, *sent, leg("no-date"))
    fold(product)
    [rule] = report(product)["rules"]
    assert (rule["time_rule"], rule["cdrs"], rule["dated"], rule["epoch"], rule["wall_clock"]) == (
        "forced_local",
        21,
        20,
        20,
        0,
    )
    [verdict] = report(product)["verdicts"]
    assert verdict["command"] == "cdr accounts set acme --time-rule auto && cdr clock recompute --account acme"
    before = product.query("SELECT call_id, started_at FROM cdr.calls ORDER BY 1")
    for command in verdict["command"].split(" && "):
        assert run_line(product, command).exit_code == 0
    right = {fields["ivruniqueid"]: (datetime.fromtimestamp(fields["time"], UTC), "utc") for fields in sent}
    wall_clock = datetime.fromtimestamp(leg("no-date")["time"], UTC)
    assert starts(product) == {**right, "no-date": (wall_clock - AHEAD, "assumed_local")}
    assert dict(product.query("SELECT call_id, started_at FROM cdr.recordings")) == {
        call_id: start for call_id, (start, _) in right.items()
    }
    # The calls follow when they are folded.
    assert product.query("SELECT call_id, started_at FROM cdr.calls ORDER BY 1") == before
    fold(product)
    called = {call_id: start for call_id, (start, _) in starts(product).items()}
    assert dict(product.query("SELECT call_id, started_at FROM cdr.calls")) == called
    assert findings(product) == ["time_fallback"]


def test_the_other_way_of_being_wrong_is_seen_too(product: Product) -> None:
    product.cdr("accounts", "set", "acme", "--time-rule", "utc")
    sent = [
        leg(f"20260921{number:02}0000x", time=seconds(datetime(2026, 9, 21, number, tzinfo=UTC)))
        for number in range(20)
    ]
    load(product, *sent)
    [verdict] = report(product)["verdicts"]
    assert verdict["text"].startswith(
        "20 of 20 CDRs whose id has a date are wall-clock time, but time_rule is forced to utc"
    )
    for command in verdict["command"].split(" && "):
        run_line(product, command)
    assert {rule for _, rule in starts(product).values()} == {"local"}
    assert findings(product) == []


def test_a_wrong_zone_is_seen_by_the_difference_that_all_ids_have(product: Product) -> None:
    product.cdr("accounts", "set", "acme", "--time-zone", "Europe/London")
    load(product, *(epoch_cdr(number) for number in range(20)))
    [rule] = report(product)["rules"]
    assert (rule["disagreed"], rule["disagreed_share"], rule["median_minutes"]) == (20, 1.0, 180)
    [verdict] = report(product)["verdicts"]
    assert (verdict["finding"], "180 minutes ahead" in verdict["text"]) == ("time_zone", True)
    for command in verdict["command"].replace("ZONE", "Asia/Jerusalem").split(" && "):
        run_line(product, command)
    assert {rule for _, rule in starts(product).values()} == {"utc"}
    assert findings(product) == []


def test_a_second_recompute_changes_nothing_and_notes_no_call(product: Product) -> None:
    load(product, *(epoch_cdr(number) for number in range(5)), time_rule="local")
    first = recompute(product, "--all")
    assert first == {
        "read": 5,
        "changed": 5,
        "by_rule": [{"from": "forced_local", "to": "utc", "cdrs": 5}],
        "dry_run": False,
    }
    fold(product)
    assert recompute(product, "--all")["changed"] == 0
    assert product.count("cdr.outbox") == 0
    assert product.query("SELECT command, affected FROM cdr.audit ORDER BY audit_id") == [
        ("clock recompute", 5),
        ("clock recompute", 0),
    ]


def test_a_dry_run_counts_and_changes_nothing(product: Product) -> None:
    load(product, *(epoch_cdr(number) for number in range(5)), time_rule="local")
    before = starts(product)
    assert recompute(product, "--all", "--dry-run")["changed"] == 5
    assert starts(product) == before
    assert product.count("cdr.audit") == 0
    done = product.cdr("clock", "recompute", "--all", "--dry-run")
    assert done.out == (
        "5 CDRs read, 5 to be changed: 5 from forced_local to utc (defaults here: Asia/Jerusalem, auto, local)\n"
    )


def test_the_rows_that_are_outdated_are_those_that_recompute_changes(product: Product) -> None:
    load(product, *(epoch_cdr(number) for number in range(7)), leg("plain"), time_zone="Europe/London")
    outdated = sum(rule["outdated"] for rule in report(product)["rules"])
    assert outdated == 8
    assert findings(product) == ["outdated"]
    assert recompute(product, "--all")["changed"] == 8
    assert sum(rule["outdated"] for rule in report(product)["rules"]) == 0


def test_identity_payload_and_provider_time_stay(product: Product) -> None:
    query = "SELECT identity, provider_time, time_raw, payload, delivery_count, loaded_at FROM cdr.cdrs ORDER BY 1"
    load(product, *(epoch_cdr(number) for number in range(5)), time_rule="local")
    before = product.query(query)
    recompute(product, "--all")
    assert product.query(query) == before


def test_every_rule_is_read_anew_on_the_days_of_a_change(product: Product) -> None:
    for change in CHANGES:
        assert product.cdr("accounts", "set", account_of(change), "--time-zone", change.zone).exit_code == 0
    walls = [(change, wall) for change in CHANGES for wall in change.wall_clocks_around()[::7]]
    sent = [
        Sent(account_of(change), f"{wall:%Y%m%d%H%M%S}{place}", seconds(wall))
        for place, (change, wall) in enumerate(walls)
    ]
    untimed = [Sent(account, call_id + "n", None) for account, call_id, _ in sent]
    with psycopg.connect(product.database_url) as connection:
        insert(connection, sent + untimed, Account("UTC", "utc", "utc", "IL", duration_includes_wait=False))
    recompute(product, "--all")
    right = {}
    for each, (change, wall) in zip(sent, walls, strict=True):
        right[each.call_id] = (change.start(wall), "local")
        right[each.call_id + "n"] = (change.start(wall), "id")
    assert starts(product) == right
    assert all(rule["outdated"] == 0 for rule in report(product)["rules"])


def test_a_rule_that_its_first_cdrs_contradict_is_not_spread_to_them(product: Product) -> None:
    load(product, *(leg(f"{EPOCH:%Y%m%d%H%M%S}call{number}", time=seconds(EPOCH)) for number in range(5)))
    product.cdr("accounts", "set", "acme", "--time-rule", "utc")
    [verdict] = report(product)["verdicts"]
    assert (verdict["finding"], verdict["command"]) == ("outdated", None)
    assert "the ids of 5 contradict" in verdict["text"]


def test_the_filters_choose_what_is_read_and_changed(product: Product) -> None:
    sent = [epoch_cdr(60 * number) for number in range(4)]
    load(product, *sent, leg("", ivruniqueid="untimed", time=None), time_rule="local")
    # As it was loaded, a call starts three hours before its true start.
    first = EPOCH - AHEAD
    period = (
        "--since",
        (first + timedelta(minutes=30)).isoformat(),
        "--until",
        (first + timedelta(hours=2)).isoformat(),
    )
    assert recompute(product, *period, "--dry-run")["read"] == 2
    assert sum(rule["cdrs"] for rule in report(product, *period)["rules"]) == 2
    assert recompute(product, "--call-id", "untimed", "--dry-run")["read"] == 1
    received = product.query("SELECT started_at FROM cdr.cdrs WHERE time_rule = 'received'")[0][0]
    assert (
        recompute(product, "--since", received.isoformat(), "--until", received.isoformat(), "--dry-run")["read"] == 1
    )
    one = sent[2]["ivruniqueid"]
    assert recompute(product, "--account", "acme", "--call-id", one)["changed"] == 1
    assert [call_id for call_id, (_, rule) in starts(product).items() if rule == "utc"] == [one]


def test_a_call_without_time_and_date_starts_when_it_was_first_received(product: Product) -> None:
    load(product, leg("untimed", time=None))
    right = starts(product)
    product.run("UPDATE cdr.cdrs SET started_at = started_at - interval '5 hours'")
    assert report(product)["rules"][0]["outdated"] == 1
    dry = product.cdr("clock", "recompute", "--all", "--dry-run").out
    assert "1 CDR read, 1 to be changed: 1 another start by received as before (" in dry
    assert recompute(product, "--all")["by_rule"] == [{"from": "received", "to": "received", "cdrs": 1}]
    assert starts(product) == right


def test_without_a_filter_all_must_be_said(product: Product) -> None:
    done = product.cdr("clock", "recompute", "--dry-run")
    assert (done.exit_code, done.out) == (2, "")


@pytest.mark.parametrize("command", [("report",), ("recompute", "--all")])
def test_the_settings_of_a_cdr_up_are_taken_only_while_it_runs(
    product: Product, tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = product.cdr("clock", *command, "--data", str(tmp_path))
    assert (done.exit_code, done.out) == (2, "")
    assert "no `cdr up` is running" in done.err


def test_the_report_for_people_tells_all_in_a_table_and_lines(product: Product) -> None:
    assert product.cdr("clock", "report").out.endswith("no CDRs\n")
    load(product, *(epoch_cdr(number) for number in range(12)))
    done = product.cdr("clock", "report")
    assert (done.exit_code, done.err) == (0, "")
    assert "utc" in done.out
    assert done.out.endswith("nothing looks wrong\n")
    product.cdr("accounts", "set", "acme", "--time-zone", "Europe/London")
    assert "+180 min" in product.cdr("clock", "report").out


def test_the_mend_of_a_report_on_a_folder_is_one_on_that_folder(product: Product, tmp_path: Path) -> None:
    product.cdr("accounts", "set", "acme", "--time-rule", "local")
    load(product, *(epoch_cdr(number) for number in range(20)))
    folder = DataFolder(tmp_path)
    with folder.held():
        folder.show_settings({"CDR_DATABASE_URL": product.database_url})
        [verdict] = report(product, "--data", str(tmp_path))["verdicts"]
        for command in verdict["command"].split(" && "):
            assert f"--data {tmp_path}" in command
            assert run_line(product, command).exit_code == 0
    assert findings(product) == []


def many(product: Product, number: int) -> None:
    with psycopg.connect(product.database_url) as connection:
        sent = (epoch_cdr(each % 40_000) for each in range(number))
        insert(connection, (Sent("acme", each["ivruniqueid"] + "x", each["time"]) for each in sent), LOCAL)


def changed(product: Product) -> int:
    return int(product.query("SELECT count(*) FROM cdr.cdrs WHERE time_rule = 'utc'")[0][0])


def start(product: Product) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from cdr.main import main; main()", "clock", "recompute", "--all"]
    environment = {**os.environ, "CDR_DATABASE_URL": product.database_url}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_ended_in_mid_work_is_completed_by_the_next(product: Product, number: signal.Signals) -> None:
    many(product, 30_000)
    with start(product) as process:
        until(lambda: changed(product))
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == (1 if number is signal.SIGINT else -number)
    assert (b"cdr: interrupted: " in err) == (number is signal.SIGINT)
    done = changed(product)
    assert 0 < done < 30_000
    # What is changed is noted with it.
    noted = "SELECT coalesce(sum(cardinality(call_keys)), 0) FROM cdr.outbox"
    assert product.query(noted) == [(done,)]
    assert recompute(product, "--all")["changed"] == 30_000 - done
    assert product.query(noted) == [(30_000,)]


def test_two_at_once_change_each_row_once(product: Product) -> None:
    many(product, 10_000)
    with start(product) as one, start(product) as other:
        outputs = [process.communicate() for process in (one, other)]
    assert [(process.returncode, err) for process, (_, err) in zip((one, other), outputs, strict=True)] == [
        (0, b"")
    ] * 2
    assert changed(product) == 10_000
    assert product.query("SELECT sum(cardinality(call_keys)) FROM cdr.outbox") == [(10_000,)]


def test_a_row_that_is_being_merged_is_read_as_the_merge_leaves_it(product: Product, database: Database) -> None:
    # The first delivery had no time of receipt before the second, so the merge moves the start of a call without a time.
    fields = leg("no-time", time=None)
    load_one = fresh_loader(product)
    load_one.load([delivery(fields, received=3600)])
    product.run("UPDATE cdr.cdrs SET started_at = started_at - interval '5 hours'")
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    with psycopg.connect(product.database_url) as merging:
        merging.execute(
            "UPDATE cdr.cdrs SET first_received_at = first_received_at - interval '1 hour',"
            " started_at = first_received_at - interval '1 hour'"
        )
        thread = threading.Thread(target=run, args=(work,))
        thread.start()
        until(lambda: waiting(product))
    thread.join()
    assert work.outcome.changed.total() == 0
    assert product.query("SELECT started_at = first_received_at FROM cdr.cdrs") == [(True,)]
    load_one.database.close()


def test_recordings_are_locked_in_the_order_in_which_recorders_write_them(product: Product, database: Database) -> None:
    for number in range(10):
        # One by one, so that their ids are not in the order of the key by which CDRs are locked.
        load(product, epoch_cdr(number, record=f"https://records.invalid/{number}.mp3"), time_rule="local")
    ids = [recording_id for (recording_id,) in product.query("SELECT recording_id FROM cdr.recordings ORDER BY 1")]
    for recording_id in reversed(ids):
        # So that both tables hold them in the opposite order.
        product.run("UPDATE cdr.recordings SET updated_at = now() WHERE recording_id = %s", recording_id)
        product.run(
            "UPDATE cdr.cdrs SET loaded_at = now()"
            " WHERE identity = (SELECT identity FROM cdr.recordings WHERE recording_id = %s)",
            recording_id,
        )
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    with psycopg.connect(product.database_url) as recorder:
        recorder.execute("SELECT FROM cdr.recordings WHERE recording_id = %s FOR UPDATE", (ids[0],))
        thread = threading.Thread(target=run, args=(work,))
        thread.start()
        until(lambda: waiting(product))
        free = product.query("SELECT recording_id FROM cdr.recordings ORDER BY 1 FOR UPDATE SKIP LOCKED")
    thread.join()
    assert [recording_id for (recording_id,) in free] == ids[1:]
    assert work.outcome.changed.total() == 10


def run(work: Rereading) -> None:
    for part in work.ranges():
        work.run(part, change=True, progress=lambda: None)


def waiting(product: Product) -> bool:
    return bool(
        product.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )[0][0]
    )


def test_loads_and_merges_beside_it_lose_nothing(product: Product) -> None:
    load(product, *(epoch_cdr(number) for number in range(300)), time_rule="local")
    loader = fresh_loader(product)
    with start(product) as process:
        for attempt in range(5):
            again = [
                delivery(epoch_cdr(number, queuename=f"again {attempt}"), received=attempt) for number in range(300)
            ]
            assert loader.load(again) == []
        _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    loader.database.close()
    assert {rule for _, rule in starts(product).values()} == {"utc"}
    assert product.query("SELECT DISTINCT delivery_count, acd_queue_name FROM cdr.cdrs") == [(6, "again 4")]


def load_recordings(product: Product, count: int) -> None:
    """Load CDRs with recordings whose clock comes out otherwise."""
    sent = [epoch_cdr(number, record=f"https://records.invalid/{number}.mp3") for number in range(count)]
    load(product, *sent, time_rule="local")


def test_recordings_are_locked_in_the_order_of_their_ids(product: Product, database: Database) -> None:
    load_recordings(product, 20)
    # The opposite of the order in which the CDRs are read, which is that of their keys.
    product.run("ALTER TABLE cdr.recordings ALTER COLUMN recording_id SET GENERATED BY DEFAULT")
    product.run(
        "UPDATE cdr.recordings AS r SET recording_id = 1000 - place FROM"
        " (SELECT identity, row_number() OVER (ORDER BY identity) AS place FROM cdr.recordings) AS o WHERE r.identity = o.identity"
    )
    first, *_, last = [each for (each,) in product.query("SELECT recording_id FROM cdr.recordings ORDER BY 1")]
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    with psycopg.connect(product.database_url) as recorder:
        recorder.execute("SELECT FROM cdr.recordings WHERE recording_id = %s FOR UPDATE", [first])
        thread = threading.Thread(target=run, args=(work,))
        thread.start()
        until(lambda: waiting(product))
        # Who waits for the first of them has none of the others, so that the recorder is not held up in a ring.
        recorder.execute("SELECT FROM cdr.recordings WHERE recording_id = %s FOR UPDATE NOWAIT", [last])
    thread.join()
    assert work.outcome.changed.total() == 20


@pytest.mark.parametrize("sqlstate", ["40P01", "55P03"])
def test_a_page_that_meets_a_deadlock_or_a_lock_is_done_again(
    product: Product, database: Database, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    monkeypatch.setattr(rereading, "_PAUSE_SECONDS", 0.0)
    load_recordings(product, 3)
    fail_times(product, sqlstate, 2)
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    run(work)
    assert work.outcome.changed.total() == 3
    assert {rule for _, rule in starts(product).values()} == {"utc"}


@pytest.mark.parametrize(("sqlstate", "tries"), [("40P01", 5), ("57014", 1)])
def test_a_page_is_not_done_again_for_ever_nor_after_another_failure(
    product: Product, database: Database, monkeypatch: pytest.MonkeyPatch, sqlstate: str, tries: int
) -> None:
    monkeypatch.setattr(rereading, "_PAUSE_SECONDS", 0.0)
    load_recordings(product, 3)
    fail_times(product, sqlstate, 100)
    with pytest.raises(DatabaseUnavailable):
        run(Rereading(database, Accounts(AccountDefaults()), Chosen(), None))
    # The sequence counts what is rolled back, too.
    assert product.query("SELECT last_value FROM public.tries") == [(tries,)]


def fail_times(product: Product, sqlstate: str, times: int) -> None:
    """Let the first transactions that change a recording fail, each with its first."""
    product.run("CREATE SEQUENCE public.tries")
    product.run(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('public.tries') <= {times} THEN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END IF;"
        " RETURN NEW; END $$"
    )
    product.run("CREATE TRIGGER fail BEFORE UPDATE ON cdr.recordings FOR EACH ROW EXECUTE FUNCTION public.fail()")


def test_a_month_that_moves_into_its_partition_does_not_wait_in_a_ring_with_it(
    product: Product, database: Database
) -> None:
    product.run("DROP TABLE cdr.cdrs_2026_10")
    october = datetime(2026, 10, 5, 12, tzinfo=UTC)
    load(product, leg(f"{october + timedelta(hours=3):%Y%m%d%H%M%S}", time=seconds(october)), time_rule="local")
    assert product.count("cdr.cdrs_default") == 1
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    [(part, page)] = [(part, page) for part in work.ranges() for page in work._pages(part)]
    other = Database(product.database_url, "scheduler")
    moving = threading.Thread(target=make_partitions, args=(other,))
    with database.transaction() as cursor:
        rows = lock(cursor, part, page)
        moving.start()
        until(lambda: waiting(product))
        update(cursor, part, [(row, work._read(row)) for row in rows])
    moving.join()
    other.close()
    assert product.count("cdr.cdrs_default") == 0
    assert [rule for _, rule in starts(product).values()] == ["utc"]


def test_a_row_that_is_moved_between_two_pages_is_read_all_the_same(product: Product, database: Database) -> None:
    product.run("DROP TABLE cdr.cdrs_2026_10")
    october = datetime(2026, 10, 5, 12, tzinfo=UTC)
    load(product, leg(f"{october + timedelta(hours=3):%Y%m%d%H%M%S}", time=seconds(october)), time_rule="local")
    work = Rereading(database, Accounts(AccountDefaults()), Chosen(), None)
    ranges = work.ranges()
    make_partitions(database)
    for part in ranges:
        work.run(part, change=True, progress=lambda: None)
    assert [rule for _, rule in starts(product).values()] == ["utc"]
