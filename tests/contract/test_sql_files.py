"""Every SQL file is one statement that the migrated database can prepare, and that a module beside it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
STATEMENTS = sorted(
    path.relative_to(ROOT) for package in ("worker", "cdr") for path in (ROOT / package).glob("sql/*.sql")
)
CREATED = Path("worker/sql/create_incoming.sql")
# COPY and LOCK are no statements that can be prepared.
NOT_PREPARABLE = {"copy_incoming", "lock_calls", "lock_cdrs_table"}
PREPARABLE = [path for path in STATEMENTS if path != CREATED and path.stem not in NOT_PREPARABLE]


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture
def connection(unchanged_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(unchanged_database_url) as opened:
        opened.execute(text(CREATED).encode())
        yield opened
        opened.rollback()


@pytest.mark.parametrize("path", PREPARABLE, ids=str)
def test_the_statement_prepares(connection: psycopg.Connection, path: Path) -> None:
    # psycopg's named parameters become PostgreSQL's numbered ones.
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text(path))))
    numbered = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", text(path))
    connection.execute(f"PREPARE tried AS {numbered}".encode())


@pytest.mark.parametrize("path", PREPARABLE, ids=str)
def test_parameters_are_named(path: Path) -> None:
    assert "%s" not in text(path)


@pytest.mark.parametrize("path", STATEMENTS, ids=str)
def test_the_statement_is_one(path: Path) -> None:
    code = re.sub(r"--[^\n]*", "", text(path))
    assert ";" not in code


def test_the_copied_columns_are_those_of_the_table(connection: psycopg.Connection) -> None:
    copied = re.findall(r"\w+", text(Path("worker/sql/copy_incoming.sql")).partition("(")[2].partition(")")[0])
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'cdr.cdrs'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchall()
    assert sorted(copied) == sorted(name for (name,) in columns)


@pytest.mark.parametrize("path", STATEMENTS, ids=str)
def test_some_module_runs_the_statement(path: Path) -> None:
    package = ROOT / path.parts[0]
    assert any(f'"{path.stem}"' in module.read_text(encoding="utf-8") for module in package.rglob("*.py"))
