"""Whoever floods an account with names of extensions holds up no CDR, and fills neither the table nor a worker's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from copied_names import copied_names
from loading import TIME, Loader, delivery, execute, leg, select
from structlog.testing import capture_logs

from worker import extension_directory, learning_bounds
from worker.name_timeline import MOST_LEARNED_NAMES

HALF_A_DAY = 43_200
ROWS = 20_000


@pytest.fixture
def other(database_url: str) -> Iterator[Loader]:
    made = Loader(database_url)
    with closing(made.database):
        yield made


def shown(number: int, code: str = "AAAA") -> dict[str, object]:
    """Make a CDR that shows a name of its own, half a day after the one before it."""
    name = f"N{number}"
    return leg(name, targetextension=code, targetextension_name=name, time=TIME + number * HALF_A_DAY)


def learned_names(url: str) -> int:
    return int(select(url, "SELECT count(*) FROM cdr.extensions WHERE source = 'learned'")[0]["count"])


def has_own_names(url: str) -> bool:
    return not select(url, "SELECT 1 FROM cdr.cdrs WHERE answering_extension_name IS DISTINCT FROM call_id")


def loaded(url: str) -> int:
    return int(select(url, "SELECT count(*) FROM cdr.cdrs")[0]["count"])


def fill(url: str, rows: int) -> None:
    """Write learned names of one code as a sender of made-up times could before there was a bound."""
    execute(
        url,
        """INSERT INTO cdr.extensions
        SELECT 'acme', 'AAAA', 'F' || number, 'learned', to_timestamp(number * 30000) FROM generate_series(1, %s) number""",
        rows,
    )


def look(loader: Loader, *, all_of_it: bool) -> None:
    directory = loader.knowledge.directory
    directory._read_at -= extension_directory.REFRESH_SECONDS
    if all_of_it:
        directory._read_all_at = float("-inf")
    directory.refresh(loader.database)


def test_a_code_with_made_up_times_fills_up_and_every_cdr_is_loaded_with_its_own_name(
    loader: Loader, other: Loader, database_url: str
) -> None:
    with capture_logs() as lines:
        for start in range(0, 160, 40):
            assert not loader.load_fields(*map(shown, range(start, start + 20)))
            assert not other.load_fields(*map(shown, range(start + 20, start + 40)))
    assert loaded(database_url) == 160
    assert has_own_names(database_url)
    assert learned_names(database_url) == MOST_LEARNED_NAMES
    assert 1 <= sum("too many" in line["event"] for line in lines) <= 2


def test_a_code_of_one_batch_fills_up_too(loader: Loader, database_url: str) -> None:
    assert not loader.load_fields(*map(shown, range(160)))
    assert (loaded(database_url), learned_names(database_url)) == (160, MOST_LEARNED_NAMES)


def test_that_a_code_is_full_is_decided_by_the_table_and_not_by_what_a_worker_remembers(
    loader: Loader, other: Loader, database_url: str
) -> None:
    loader.load_fields(*map(shown, range(MOST_LEARNED_NAMES)))
    assert not other.load_fields(shown(MOST_LEARNED_NAMES + 1), shown(-1), shown(0, "BBBB"))
    assert learned_names(database_url) == MOST_LEARNED_NAMES + 1
    assert select(database_url, "SELECT 1 FROM cdr.extensions WHERE extension_code = 'BBBB'")


def test_what_is_read_and_copied_under_the_lock_does_not_grow_with_the_table(loader: Loader, database_url: str) -> None:
    fill(database_url, ROWS)
    calls = [delivery(shown(number)) for number in range(50)]
    with copied_names() as copied:
        assert not loader.load(calls)
    assert copied.names <= 4 * MOST_LEARNED_NAMES * len(calls)
    assert (loaded(database_url), learned_names(database_url)) == (50, ROWS)


def test_a_worker_that_meets_an_over_full_code_forgets_none_of_its_names_for_the_part_that_was_read(
    loader: Loader, database_url: str
) -> None:
    loader.load_fields(shown(1))
    fill(database_url, 3 * MOST_LEARNED_NAMES)
    loader.load_fields(shown(2))
    assert loader.knowledge.directory._learned["acme", "AAAA"].names == ("N1",)
    look(loader, all_of_it=True)
    assert len(loader.knowledge.directory._learned["acme", "AAAA"].names) == 3 * MOST_LEARNED_NAMES + 1


@pytest.mark.parametrize("all_of_it", [True, False])
def test_many_names_of_one_code_are_read_at_the_cost_of_one_copy(
    loader: Loader, database_url: str, all_of_it: bool
) -> None:
    loader.knowledge.directory.refresh(loader.database)
    fill(database_url, ROWS)
    with copied_names() as copied:
        look(loader, all_of_it=all_of_it)
    assert ROWS <= copied.names <= 5 * ROWS


def test_imported_names_have_no_bound(loader: Loader, database_url: str) -> None:
    fill(database_url, 3 * MOST_LEARNED_NAMES)
    execute(database_url, "UPDATE cdr.extensions SET source = 'import'")
    look(loader, all_of_it=True)
    loader.load_fields(shown(0))
    assert learned_names(database_url) == 1
    assert loader.knowledge.directory.name_at("acme", "AAAA", None) is None
    assert len(loader.knowledge.directory._imported["acme", "AAAA"].starts) == 3 * MOST_LEARNED_NAMES


def test_codes_without_end_fill_an_account_and_every_cdr_is_loaded_with_its_own_name(
    loader: Loader, other: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_bounds, "MOST_LEARNED_CODES", 10)
    for number in range(15):
        assert not loader.load_fields(shown(number, f"C{number}"))
    assert (loaded(database_url), learned_names(database_url)) == (15, 10)
    look(other, all_of_it=True)
    for number in range(15, 20):
        assert not other.load_fields(shown(number, f"C{number}"))
    assert (loaded(database_url), learned_names(database_url)) == (20, 10)
    assert has_own_names(database_url)
    other.load_fields(shown(30, "C0"))
    assert learned_names(database_url) == 11
    loader.load([delivery(shown(31), account="other")])
    assert learned_names(database_url) == 12


def test_an_account_whose_codes_were_deleted_learns_again(
    loader: Loader, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_bounds, "MOST_LEARNED_CODES", 1)
    loader.load_fields(shown(0, "C0"))
    execute(database_url, "DELETE FROM cdr.extensions")
    look(loader, all_of_it=True)
    loader.load_fields(shown(1, "C1"))
    assert learned_names(database_url) == 1
