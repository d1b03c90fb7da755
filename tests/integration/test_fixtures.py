"""The servers that the tests share give each test a state of its own."""

from __future__ import annotations

import psycopg
import pytest
import redis


@pytest.mark.parametrize("_", range(2))
def test_each_test_gets_an_empty_redis(redis_url: str, _: int) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("left", "behind")


@pytest.mark.parametrize("_", range(2))
def test_each_test_gets_a_migrated_database_of_its_own(database_url: str, _: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE left_behind ()")


@pytest.mark.parametrize("_", range(2))
def test_an_open_connection_does_not_keep_a_database_from_being_dropped(empty_database_url: str, _: int) -> None:
    leaked = psycopg.connect(empty_database_url)
    assert leaked.execute("SELECT 1").fetchone() == (1,)
    leaked.close()
