"""`cdr extensions backfill` fills in names that became known after their CDRs were loaded, beside whatever else runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from command_line import Product, product
from loading import TIME, Loader, delivery, execute, leg, select

from cdr.extensions import backfill as extension_backfill
from cdr.extensions.backfill import Named, Selection, fill_in, run_backfill
from common.postgres import Database

__all__ = ["product"]

DAY = 86_400
START = datetime.fromtimestamp(TIME - 3 * 3600, UTC)
NAMES = "SELECT call_id, caller_extension_name, answering_extension_name FROM cdr.cdrs ORDER BY call_id"


def coded(call_id: str, days: float = 0, **fields: Any) -> dict[str, Any]:
    """Make a CDR with an extension's code and no name, so many days after TIME."""
    return leg(call_id, **{"targetextension": "AAAA", "time": TIME + round(days * DAY), **fields})


def learn(
    url: str, name: str, days: float = 0, code: str = "AAAA", account: str = "acme", source: str = "learned"
) -> None:
    """Make a name known as another process would."""
    at = START.timestamp() + days * DAY
    add = "INSERT INTO cdr.extensions VALUES (%s, %s, %s, %s, to_timestamp(%s))"
    execute(url, add, account, code, name, source, at)


def names(url: str) -> dict[str, tuple[str | None, str | None]]:
    rows = select(url, NAMES)
    return {row["call_id"]: (row["caller_extension_name"], row["answering_extension_name"]) for row in rows}


def many(loader: Loader, count: int, code: str = "AAAA") -> None:
    """Load CDRs of many calls, a second apart, with a code on both sides."""
    loader.load_fields(
        *(leg(f"c{number}", time=TIME + number, callerextension=code, targetextension=code) for number in range(count))
    )


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension_backfill, "WINDOW_ROWS", 7)
    monkeypatch.setattr(extension_backfill, "BATCH_ROWS", 3)


def test_names_that_became_known_later_are_filled_in(product: Product, loader: Loader) -> None:
    loader.load_fields(
        coded("a"), coded("b", callerextension="BBBB"), coded("c", callerextension="BBBB", targetextension=""),
        coded("d", targetextension="CCCC"), coded("e", targetextension=""),
    )  # fmt: skip
    learn(product.database_url, "Dana", 5)
    learn(product.database_url, "Noa", 5, "BBBB", source="import")
    learn(product.database_url, "Tal", 0, "BBBB")
    done = product.cdr("extensions", "backfill", "--all")
    assert (done.exit_code, done.out, done.err) == (0, "3\n", "3 CDRs got a name\n")
    assert names(product.database_url) == {
        "a": (None, "Dana"), "b": ("Tal", "Dana"), "c": ("Tal", None), "d": (None, None), "e": (None, None),
    }  # fmt: skip
    assert product.counted("extensions", "backfill", "--all") == 0


def test_a_call_is_given_the_name_of_its_day(product: Product, loader: Loader) -> None:
    loader.load_fields(coded("a", 1), coded("b", 5), coded("c", 9))
    for name, days in (("Dana", 2), ("Noa", 5)):
        learn(product.database_url, name, days)
    learn(product.database_url, "Reception", 8, source="import")
    product.cdr("extensions", "backfill", "--all")
    assert names(product.database_url) == {"a": (None, "Dana"), "b": (None, "Noa"), "c": (None, "Reception")}


def test_nothing_else_of_a_row_changes(product: Product, loader: Loader) -> None:
    query = "SELECT to_jsonb(cdrs) - 'answering_extension_name' AS rest FROM cdr.cdrs ORDER BY call_id"
    loader.load_fields(coded("a"), coded("b", targetextension="BBBB", targetextension_name="Own"))
    before, outbox = select(product.database_url, query), product.count("cdr.outbox")
    learn(product.database_url, "Dana")
    product.cdr("extensions", "backfill", "--all")
    assert names(product.database_url) == {"a": (None, "Dana"), "b": (None, "Own")}
    assert select(product.database_url, query) == before
    assert product.count("cdr.outbox") == outbox


def test_each_account_has_names_of_its_own_and_one_may_be_chosen(product: Product, loader: Loader) -> None:
    loader.load([delivery(coded("a")), delivery(coded("b"), account="other"), delivery(coded("c"), account="third")])
    learn(product.database_url, "Dana")
    learn(product.database_url, "Noa", account="other")
    assert product.counted("extensions", "backfill", "--account", "other") == 1
    assert names(product.database_url) == {"a": (None, None), "b": (None, "Noa"), "c": (None, None)}
    assert product.counted("extensions", "backfill", "--all") == 1
    assert names(product.database_url)["c"] == (None, None)


def test_calls_may_be_chosen_by_when_they_began(product: Product, loader: Loader) -> None:
    loader.load_fields(*(coded(str(days), days) for days in range(5)))
    learn(product.database_url, "Dana")
    moments = [datetime.fromtimestamp(START.timestamp() + days * DAY, UTC).isoformat() for days in range(5)]
    assert product.counted("extensions", "backfill", "--since", moments[1], "--until", moments[3]) == 3
    assert {call for call, (_, name) in names(product.database_url).items() if name} == {"1", "2", "3"}


def test_nothing_chosen_is_wrong_usage(product: Product) -> None:
    assert product.cdr("extensions", "backfill").exit_code == 2


def test_a_dry_run_counts_and_changes_nothing(product: Product, loader: Loader, small_steps: None) -> None:
    many(loader, 20)
    learn(product.database_url, "Dana")
    assert product.counted("extensions", "backfill", "--all", "--dry-run") == 20
    assert product.count("cdr.audit") == 0
    assert set(names(product.database_url).values()) == {(None, None)}


def test_who_filled_in_what_is_noted(product: Product, loader: Loader) -> None:
    many(loader, 3)
    learn(product.database_url, "Dana")
    product.cdr("extensions", "backfill", "--account", "acme")
    query = "SELECT command, selection, affected, finished_at IS NOT NULL FROM cdr.audit"
    assert product.query(query) == [("extensions backfill", {"account": "acme"}, 3, True)]


@pytest.mark.parametrize("count", [6, 7, 8, 14, 40])
def test_every_row_is_looked_at_however_many_there_are(
    product: Product, loader: Loader, small_steps: None, count: int
) -> None:
    many(loader, count)
    learn(product.database_url, "Dana")
    assert product.counted("extensions", "backfill", "--all") == count
    assert set(names(product.database_url).values()) == {("Dana", "Dana")}


def test_calls_of_one_moment_are_all_looked_at(product: Product, loader: Loader, small_steps: None) -> None:
    loader.load_fields(*(coded(f"c{number}", number // 20) for number in range(40)))
    learn(product.database_url, "Dana")
    assert product.counted("extensions", "backfill", "--all") == 40


def test_rows_in_any_partition_are_filled_in(product: Product, loader: Loader) -> None:
    loader.load_fields(coded("a", -9000), coded("b", 0), coded("c", 70), coded("d", 0, time=None), coded("e", 20_000))
    learn(product.database_url, "Dana", -20_000)
    assert product.counted("extensions", "backfill", "--all") == 5


class Terminal:
    """Standard error of a person."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_people_see_how_far_it_is(product: Product, loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    many(loader, 20)
    learn(product.database_url, "Dana")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    run_backfill(Selection("acme", None, None), dry_run=False, as_json=False)
    assert "20/20" in terminal.text


def test_a_name_that_came_in_between_is_left_alone(loader: Loader, database_url: str) -> None:
    loader.load_fields(coded("a", callerextension="BBBB"))
    [row] = select(database_url, "SELECT identity, provider_time FROM cdr.cdrs")
    loader.load([delivery(coded("a", callerextension="BBBB", targetextension_name="Own"), received=5)])
    assert fill_in(loader.database, [Named(row["identity"], row["provider_time"], "Noa", "Dana")]) == 1
    assert names(database_url) == {"a": ("Noa", "Own")}
    assert fill_in(loader.database, [Named(row["identity"], row["provider_time"], "Noa", "Dana")]) == 0


def test_a_row_that_is_being_merged_is_waited_for_and_its_name_left_alone(loader: Loader, database_url: str) -> None:
    loader.load_fields(coded("a"))
    with loader.database.transaction() as cursor:
        cursor.execute("UPDATE cdr.cdrs SET answering_extension_name = 'Own'")
        waiting = start_filling_in(database_url)
    waiting.join()
    assert names(database_url) == {"a": (None, "Own")}


def test_rows_are_locked_in_the_order_of_their_key(loader: Loader, database_url: str) -> None:
    many(loader, 30)
    least = "identity = (SELECT identity FROM cdr.cdrs ORDER BY identity LIMIT 1)"
    with loader.database.transaction() as cursor:
        cursor.execute(f"SELECT 1 FROM cdr.cdrs WHERE {least} FOR UPDATE".encode())
        waiting = start_filling_in(database_url)
        # Who holds the least waits for none of the others.
        cursor.execute("SELECT 1 FROM cdr.cdrs FOR UPDATE NOWAIT")
    waiting.join()
    assert {name for _, name in names(database_url).values()} == {"Dana"}


def start_filling_in(url: str) -> threading.Thread:
    """Fill in every row, the one with the greatest key first, and return once that waits for a lock."""
    rows = select(url, "SELECT identity, provider_time FROM cdr.cdrs ORDER BY identity DESC")
    named = [Named(row["identity"], row["provider_time"], None, "Dana") for row in rows]

    def act() -> None:
        with closing(Database(url, "test")) as database:
            fill_in(database, named)

    thread = threading.Thread(target=act)
    thread.start()
    wait_until(lambda: bool(select(url, "SELECT 1 FROM pg_locks WHERE NOT granted")))
    return thread


def wait_until(true: Any) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_merging_takes_no_name_away_that_was_filled_in(product: Product, loader: Loader) -> None:
    loader.load([delivery(coded("a"))])
    learn(product.database_url, "Dana", 5)
    product.cdr("extensions", "backfill", "--all")
    loader.knowledge.directory.refresh(loader.database)
    loader.load([delivery(coded("a", price=7), received=5)])
    assert names(product.database_url) == {"a": (None, "Dana")}
    assert product.query("SELECT delivery_count, price_agorot FROM cdr.cdrs") == [(2, 7)]


def test_a_worker_that_does_not_know_the_name_yet_takes_none_away(product: Product, loader: Loader) -> None:
    loader.load([delivery(coded("a", callerextension="AAAA"))])
    learn(product.database_url, "Dana", 5)
    product.cdr("extensions", "backfill", "--all")

    loader.load([delivery(coded("a", callerextension="AAAA", price=7), received=5)])

    assert names(product.database_url) == {"a": ("Dana", "Dana")}


def start(url: str, steps: int) -> subprocess.Popen[str]:
    """Start a backfill as a process of its own, in steps of so many rows."""
    code = (
        f"from cdr.extensions import backfill as b; b.WINDOW_ROWS = {steps}; b.BATCH_ROWS = {steps}\n"
        "import sys; sys.argv = ['cdr', 'extensions', 'backfill', '--all', '--json']\n"
        "from cdr.main import main; main()"
    )
    env = {**os.environ, "CDR_DATABASE_URL": url}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def told(out: str) -> int:
    """Return how many CDRs a process says that it named."""
    return int(json.loads(out)["count"])


@pytest.fixture
def many_rows(loader: Loader, database_url: str) -> int:
    many(loader, 3000)
    learn(database_url, "Dana")
    return 3000


def filled(url: str) -> int:
    query = "SELECT count(*) FROM cdr.cdrs WHERE caller_extension_name = 'Dana' AND answering_extension_name = 'Dana'"
    return int(select(url, query)[0]["count"])


def test_one_that_is_killed_in_the_middle_is_run_again_and_does_the_rest(database_url: str, many_rows: int) -> None:
    process = start(database_url, 5)
    wait_until(lambda: filled(database_url) > 0)
    process.kill()
    process.communicate()
    before = filled(database_url)
    assert 0 < before < many_rows
    out, err = start(database_url, 500).communicate()
    assert (told(out), err) == (many_rows - before, "")
    assert filled(database_url) == many_rows


def test_one_that_is_interrupted_says_what_it_did_and_that_it_may_be_run_again(
    database_url: str, many_rows: int
) -> None:
    process = start(database_url, 5)
    wait_until(lambda: filled(database_url) > 0)
    process.send_signal(2)
    out, err = process.communicate()
    assert process.returncode == 1
    assert told(out) == filled(database_url) < many_rows
    assert "interrupted" in err
    [row] = select(database_url, "SELECT affected, finished_at FROM cdr.audit")
    assert row["affected"] == filled(database_url)
    assert row["finished_at"] is not None


def test_two_at_once_fill_in_each_row_once(database_url: str, many_rows: int) -> None:
    processes = [start(database_url, steps) for steps in (40, 70)]
    ended = [process.communicate() for process in processes]
    assert [err for _, err in ended] == ["", ""]
    assert sum(told(out) for out, _ in ended) == many_rows
    assert filled(database_url) == many_rows


def test_beside_a_loader_that_merges_the_same_rows_all_get_their_names_and_none_fails(
    loader: Loader, database_url: str, many_rows: int
) -> None:
    loader.knowledge.directory.refresh(loader.database)
    process = start(database_url, 50)
    # The loader alone is done with all rows in seven rounds, which is less than a process takes to start on a busy machine.
    wait_until(lambda: filled(database_url) > 0)
    rounds = 0
    while process.poll() is None or rounds < 3:
        rounds += 1
        numbers = range(rounds % 7, 3000, 7)
        batch = [
            leg(f"c{number}", time=TIME + number, callerextension="AAAA", targetextension="AAAA", price=rounds)
            for number in numbers
        ]
        assert not loader.load([delivery(each, received=rounds) for each in batch])
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert 0 < told(out) <= many_rows
    assert filled(database_url) == many_rows
