"""Every SQL file of the worker is one statement that the migrated database can prepare, and that the worker uses."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

WORKER = Path(__file__).parents[2] / "worker"
STATEMENTS = sorted(path.stem for path in (WORKER / "sql").glob("*.sql"))
CREATED = "create_incoming"
# COPY and LOCK are no statements that can be prepared.
PREPARABLE = [name for name in STATEMENTS if name not in {CREATED, "copy_incoming", "lock_calls"}]


def text(name: str) -> str:
    return (WORKER / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@pytest.fixture
def connection(database_url: str) -> psycopg.Connection:
    with psycopg.connect(database_url) as opened:
        opened.execute(text(CREATED).encode())
        yield opened


@pytest.mark.parametrize("name", PREPARABLE)
def test_the_statement_prepares(connection: psycopg.Connection, name: str) -> None:
    # psycopg's named parameters become PostgreSQL's numbered ones.
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text(name))))
    numbered = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", text(name))
    connection.execute(f"PREPARE tried AS {numbered}".encode())


@pytest.mark.parametrize("name", PREPARABLE)
def test_parameters_are_named(name: str) -> None:
    assert "%s" not in text(name)


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_is_one(name: str) -> None:
    code = re.sub(r"--[^\n]*", "", text(name))
    assert ";" not in code


def test_the_copied_columns_are_those_of_the_table(connection: psycopg.Connection) -> None:
    copied = re.findall(r"\w+", text("copy_incoming").partition("(")[2].partition(")")[0])
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'cdr.cdrs'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchall()
    assert sorted(copied) == sorted(name for (name,) in columns)


@pytest.mark.parametrize("name", STATEMENTS)
def test_some_module_runs_the_statement(name: str) -> None:
    assert any(f'"{name}"' in path.read_text(encoding="utf-8") for path in WORKER.glob("*.py"))
