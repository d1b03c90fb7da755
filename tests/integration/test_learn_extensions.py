"""Names of extensions are learned from the CDRs that carry them, and given to those that do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from loading import TIME, Loader, delivery, execute, leg, select

from common.errors import DatabaseNotReady
from worker import extension_directory, learn_extensions
from worker.load_cdrs import check_database

DAY = 86_400
# TIME is the clock on a wall in Jerusalem, three hours ahead of UTC in September.
START = TIME - 3 * 3600


@pytest.fixture
def other(database_url: str) -> Iterator[Loader]:
    made = Loader(database_url)
    with closing(made.database):
        yield made


def said(call_id: str, name: str | None, days: float = 0, code: str = "AAAA", **fields: Any) -> dict[str, Any]:
    """Make a CDR that was answered by an extension, so many days after TIME; None: it carries the code only."""
    at = TIME + round(days * DAY)
    return leg(call_id, targetextension=code, targetextension_name=name, time=at, **fields)


def learned(url: str, account: str = "acme") -> list[tuple[str, str, float]]:
    """Return the learned rows: code, name and from how many days after TIME."""
    query = """SELECT extension_code, extension_name, extract(epoch FROM valid_from)::float8 AS start
        FROM cdr.extensions WHERE source = 'learned' AND account = %s ORDER BY extension_code, valid_from"""
    rows = select(url, query, account)
    return [(row["extension_code"], row["extension_name"], (row["start"] - START) / DAY) for row in rows]


def answered_by(url: str) -> dict[str, str | None]:
    rows = select(url, "SELECT call_id, answering_extension_name FROM cdr.cdrs")
    return {row["call_id"]: row["answering_extension_name"] for row in rows}


def test_both_sides_are_learned_with_the_start_of_the_call(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "Dana", callerextension="BBBB", callerextension_name="נועה"))
    assert learned(database_url) == [("AAAA", "Dana", 0), ("BBBB", "נועה", 0)]


def test_what_was_learned_is_known_at_once(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "Dana"))
    loader.load_fields(said("b", None, 1), leg("c", callerextension="AAAA"))
    assert answered_by(database_url) == {"a": "Dana", "b": "Dana", "c": None}
    assert select(database_url, "SELECT 1 FROM cdr.cdrs WHERE caller_extension_name = 'Dana'")


def test_another_process_knows_it_after_its_next_look(loader: Loader, other: Loader, database_url: str) -> None:
    other.knowledge.directory.refresh(other.database)
    loader.load_fields(said("a", "Dana"))
    other.knowledge.directory._read_at -= extension_directory.REFRESH_SECONDS
    other.knowledge.directory.refresh(other.database)
    other.load_fields(said("b", None, 1))
    assert answered_by(database_url)["b"] == "Dana"


def test_names_that_are_known_write_nothing(loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.load_fields(said("a", "Dana"))
    monkeypatch.delattr(learn_extensions, "_write")
    loader.load_fields(said("b", "Dana", 1), said("c", "Dana", 2))
    assert learned(database_url) == [("AAAA", "Dana", 0)]


def test_a_call_of_before_a_rename_that_arrives_late_shows_the_name_of_its_day(
    loader: Loader, database_url: str
) -> None:
    loader.load_fields(said("a", "Dana", 1), said("b", "Noa", 5))
    loader.load_fields(said("before", None, 3), said("after", None, 6))
    assert answered_by(database_url) == {"a": "Dana", "b": "Noa", "before": "Dana", "after": "Noa"}


def test_a_call_of_before_the_first_learned_name_is_given_that(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "Dana", 1), said("b", "Noa", 5))
    loader.load_fields(said("early", None, -3))
    assert answered_by(database_url)["early"] == "Dana"


def test_a_name_seen_earlier_is_known_from_then_on(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "Dana", 5), said("b", "Noa", 9))
    loader.load_fields(said("c", "Dana", 1), said("d", "Noa", 7))
    assert learned(database_url) == [("AAAA", "Dana", 1), ("AAAA", "Noa", 7)]
    assert select(database_url, "SELECT count(*) FROM cdr.extensions")[0]["count"] == 2


def test_an_imported_name_wins_from_its_day_on(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "Dana", 0))
    execute(
        database_url,
        "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Reception', 'import', to_timestamp(%s))",
        START + DAY,
    )
    loader.knowledge.directory.refresh(loader.database)
    loader.load_fields(said("b", None, 0.5), said("c", None, 2), said("own", "Tal", 3))
    assert answered_by(database_url) == {"a": "Dana", "b": "Dana", "c": "Reception", "own": "Tal"}


def test_a_name_that_was_filled_in_is_not_learned(loader: Loader, database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Reception', 'import')")
    loader.knowledge.directory.refresh(loader.database)
    loader.load_fields(said("a", None), said("b", ""))
    assert answered_by(database_url) == {"a": "Reception", "b": "Reception"}
    assert learned(database_url) == []


def test_a_name_that_was_imported_is_learned_too_when_a_cdr_shows_it(loader: Loader, database_url: str) -> None:
    execute(database_url, "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import')")
    loader.knowledge.directory.refresh(loader.database)
    loader.load_fields(said("a", "Dana", 1))
    assert learned(database_url) == [("AAAA", "Dana", 1)]


def test_names_are_learned_for_one_account_only(loader: Loader, database_url: str) -> None:
    loader.load([delivery(said("a", "Dana")), delivery(said("b", "Noa"), account="other")])
    loader.load(
        [
            delivery(said("c", None)),
            delivery(said("d", None), account="other"),
            delivery(said("e", None), account="third"),
        ]
    )
    assert answered_by(database_url) == {"a": "Dana", "b": "Noa", "c": "Dana", "d": "Noa", "e": None}
    assert learned(database_url, "other") == [("AAAA", "Noa", 0)]


@pytest.mark.parametrize(
    ("code", "name"), [("AAAA", "External IVR"), ("AAAA", "external ivr"), ("AAAA", "x" * 201), ("x" * 201, "Dana")]
)
def test_a_machine_and_garbage_are_not_learned(loader: Loader, database_url: str, code: str, name: str) -> None:
    loader.load_fields(said("a", name, code=code))
    assert learned(database_url) == []
    assert answered_by(database_url) == {"a": name}


def test_what_is_just_short_enough_is_learned(loader: Loader, database_url: str) -> None:
    loader.load_fields(said("a", "x" * 200, code="א" * 200))
    assert learned(database_url) == [("א" * 200, "x" * 200, 0)]


def test_a_batch_that_says_the_same_many_times_makes_one_row(loader: Loader, database_url: str) -> None:
    loader.load_fields(*(said(f"c{number}", "Dana", number / 1000) for number in reversed(range(500))))
    assert learned(database_url) == [("AAAA", "Dana", 0)]


def test_a_code_whose_names_alternate_makes_three_rows_a_day(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader.load_fields(*(said(f"c{number}", "DN"[number % 2], number / 1000) for number in range(300)))
    assert [name for _, name, _ in learned(database_url)] == ["D", "N", "D"]
    monkeypatch.delattr(learn_extensions, "_write")
    loader.load_fields(*(said(f"d{number}", "DN"[number % 2], 0.5 + number / 1000) for number in range(300)))
    assert len(answered_by(database_url)) == 600


def test_the_name_that_a_later_delivery_brings_is_learned(loader: Loader, database_url: str) -> None:
    loader.load([delivery(said("a", None)), delivery(said("a", "Dana"), received=1)])
    assert learned(database_url) == [("AAAA", "Dana", 0)]
    loader.load([delivery(said("b", None, 1, "BBBB"))])
    loader.load([delivery(said("b", "Noa", 1, "BBBB"), received=1)])
    assert learned(database_url)[1] == ("BBBB", "Noa", 1)


def test_a_merge_gives_the_name_that_was_learned_meanwhile_and_takes_none_away(
    loader: Loader, database_url: str
) -> None:
    first = said("a", None)
    loader.load([delivery(first)])
    loader.load_fields(said("b", "Dana", 1))
    loader.load([delivery({**first, "price": 7}, received=5)])
    assert answered_by(database_url)["a"] == "Dana"
    loader.load([delivery({**first, "price": 8}, received=9)])
    assert answered_by(database_url)["a"] == "Dana"


def test_workers_that_learn_the_same_at_once_make_one_row_an_extension(database_url: str) -> None:
    barrier = threading.Barrier(4)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        mine = Loader(database_url)
        try:
            for turn in range(10):
                day = turn + number / 100
                calls = [said(f"{number}-{turn}-{code}", f"N{code}", day, f"T{turn}C{code}") for code in range(20)]
                barrier.wait(60)
                assert not mine.load_fields(*(calls if number % 2 else reversed(calls)))
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)
            barrier.abort()
        finally:
            mine.database.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    expected = [(f"T{turn}C{code}", f"N{code}", turn) for turn in range(10) for code in range(20)]
    assert [(code, name, round(day, 4)) for code, name, day in learned(database_url)] == sorted(expected)


def test_a_learner_decides_by_the_table_and_not_by_what_it_remembers(
    loader: Loader, other: Loader, database_url: str
) -> None:
    loader.load_fields(said("a", "Dana", 5))
    other.load_fields(said("b", "Dana", 7), said("c", "Dana", 9))
    assert learned(database_url) == [("AAAA", "Dana", 5)]
    other.load_fields(said("d", "Noa", 10))
    loader.load_fields(said("e", "Noa", 8))
    assert learned(database_url) == [("AAAA", "Dana", 5), ("AAAA", "Noa", 8)]


def test_what_the_table_refuses_costs_no_cdr_its_row(loader: Loader, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.extensions ADD CONSTRAINT good CHECK (extension_name <> 'Bad')")
    assert not loader.load_fields(said("a", "Bad"), said("b", "Good", 1, "BBBB"))
    assert set(answered_by(database_url)) == {"a", "b"}
    loader.load_fields(said("c", "Good", 2, "BBBB"))
    assert learned(database_url) == [("BBBB", "Good", 2)]


def test_a_lock_that_somebody_holds_costs_no_cdr_its_row(loader: Loader, other: Loader, database_url: str) -> None:
    with other.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cdr.learn_extensions'))")
        assert not loader.load_fields(said("a", "Dana"))
        assert answered_by(database_url) == {"a": "Dana"}
        assert learned(database_url) == []
    loader.load_fields(said("b", "Dana", 1))
    assert learned(database_url) == [("AAAA", "Dana", 1)]


FORBID = """CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied'; END $$"""


@pytest.mark.parametrize("act", ["INSERT", "UPDATE"])
def test_a_privilege_that_is_missing_makes_the_batch_wait(loader: Loader, database_url: str, act: str) -> None:
    loader.load_fields(said("a", "Dana", 5))
    execute(database_url, FORBID)
    execute(database_url, f"CREATE TRIGGER no BEFORE {act} ON cdr.extensions FOR EACH ROW EXECUTE FUNCTION forbid()")
    with pytest.raises(DatabaseNotReady):
        loader.load_fields(said("b", "Noa", 9), said("c", "Dana", 1))
    assert set(answered_by(database_url)) == {"a"}
    execute(database_url, "DROP TRIGGER no ON cdr.extensions")
    loader.load_fields(said("b", "Noa", 9), said("c", "Dana", 1))
    assert learned(database_url) == [("AAAA", "Dana", 1), ("AAAA", "Noa", 9)]


def test_a_table_that_is_missing_makes_the_batch_wait(loader: Loader, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.extensions RENAME TO gone")
    with pytest.raises(DatabaseNotReady):
        loader.load_fields(said("a", "Dana"))
    assert answered_by(database_url) == {}


def test_the_control_cdr_leaves_nothing_learned(loader: Loader, database_url: str) -> None:
    check_database(loader.database, loader.knowledge, TIME)
    assert learned(database_url, "control") == []
    assert loader.knowledge.directory._learned == {}


def test_what_a_batch_that_was_taken_back_showed_is_not_known(loader: Loader, database_url: str) -> None:
    execute(database_url, "ALTER TABLE cdr.cdrs ADD CONSTRAINT no_poison CHECK (caller_number <> 'poison')")
    assert len(loader.load_fields(said("a", "Dana", caller="poison"), said("b", "Noa", code="BBBB"))) == 1
    assert learned(database_url) == [("BBBB", "Noa", 0)]
    loader.load_fields(said("c", None, 1), said("d", None, 1, "BBBB"))
    assert answered_by(database_url) == {"b": "Noa", "c": None, "d": "Noa"}


def look(loader: Loader, *, all_of_it: bool = False) -> None:
    directory = loader.knowledge.directory
    directory._read_at -= extension_directory.REFRESH_SECONDS
    if all_of_it:
        directory._read_all_at -= extension_directory.READ_ALL_SECONDS
    directory.refresh(loader.database)


def test_what_is_changed_shows_at_the_next_look_and_what_is_deleted_when_all_is_read(
    loader: Loader, database_url: str
) -> None:
    execute(
        database_url,
        "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import'), ('acme', 'BBBB', 'Noa', 'import')",
    )
    look(loader)
    execute(
        database_url,
        "UPDATE cdr.extensions SET extension_name = 'Tal', updated_at = now() WHERE extension_code = 'AAAA'",
    )
    execute(database_url, "DELETE FROM cdr.extensions WHERE extension_code = 'BBBB'")
    look(loader)
    loader.load_fields(said("a", None), said("b", None, code="BBBB"))
    look(loader, all_of_it=True)
    loader.load_fields(said("c", None), said("d", None, code="BBBB"))
    assert answered_by(database_url) == {"a": "Tal", "b": "Noa", "c": "Tal", "d": None}


def test_what_was_written_a_while_before_it_was_committed_shows_at_the_next_look(
    loader: Loader, database_url: str
) -> None:
    look(loader)
    add = "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import', '-infinity', now() - interval '8 s')"
    execute(database_url, add)
    old = "INSERT INTO cdr.extensions VALUES ('acme', 'BBBB', 'Noa', 'import', '-infinity', now() - interval '1 hour')"
    execute(database_url, old)
    look(loader)
    loader.load_fields(said("a", None), said("b", None, code="BBBB"))
    assert answered_by(database_url) == {"a": "Dana", "b": None}


OLD = "'-infinity', now() - interval '1 hour'"


def test_all_is_read_again_after_a_deletion_though_nothing_was_added(loader: Loader, database_url: str) -> None:
    execute(database_url, f"INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import', {OLD})")
    look(loader, all_of_it=True)
    execute(database_url, "DELETE FROM cdr.extensions")
    look(loader, all_of_it=True)
    loader.load_fields(said("a", None))
    assert answered_by(database_url) == {"a": None}


def test_all_is_read_again_after_what_was_added_is_taken_away(loader: Loader, database_url: str) -> None:
    look(loader, all_of_it=True)
    execute(database_url, "INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import')")
    look(loader)
    execute(database_url, "DELETE FROM cdr.extensions")
    look(loader, all_of_it=True)
    loader.load_fields(said("a", None))
    assert answered_by(database_url) == {"a": None}


def test_what_this_process_learned_is_forgotten_when_it_is_deleted(loader: Loader, database_url: str) -> None:
    look(loader, all_of_it=True)
    loader.load_fields(said("b", "Noa"))
    execute(database_url, "DELETE FROM cdr.extensions")
    look(loader, all_of_it=True)
    loader.load_fields(said("a", None))
    assert answered_by(database_url) == {"a": None, "b": "Noa"}


def test_a_table_that_is_as_it_was_is_not_read_again(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database_url, f"INSERT INTO cdr.extensions VALUES ('acme', 'AAAA', 'Dana', 'import', {OLD})")
    look(loader, all_of_it=True)
    monkeypatch.delattr(extension_directory.ExtensionDirectory, "_put")
    look(loader, all_of_it=True)
    loader.load_fields(said("a", None))
    assert answered_by(database_url) == {"a": "Dana"}
