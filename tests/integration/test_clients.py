"""The connections that all processes open: what they ask of the servers, whatever these are set to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from free_ports import free_port
from loading import execute
from receiving import configured

from api.durable_queue import DurableQueue
from cdr.embedded_server import running
from cdr.embedded_valkey import EmbeddedValkey
from common.errors import QueueUnavailable
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.postgres import connect as connect_to_postgres
from common.redis_client import commit, connect, connect_async
from common.settings import RedisSettings


@pytest.mark.parametrize(
    ("default", "ours"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_a_commit_waits_for_the_disk_whatever_the_servers_default_is(
    database_url: str, default: str, ours: str
) -> None:
    name = database_url.rpartition("/")[2]
    execute(database_url, f"ALTER DATABASE {name} SET synchronous_commit = {default}")
    with connect_to_postgres(database_url, "test") as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == (ours,)


def test_redis_is_reached_over_a_unix_socket_by_every_client(open_path: Path) -> None:
    socket = open_path / "valkey.sock"
    server = EmbeddedValkey(open_path / "valkey", free_port(), "only-for-tests", {"unixsocket": str(socket)})
    url = f"unix://:only-for-tests@{socket}?db=0"

    async def written() -> bool:
        questions = connect_async(url)
        queue = DurableQueue(RedisSettings(redis_url=url))  # type: ignore[arg-type]
        await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
        await queue.close()
        try:
            return await questions.llen("rq:queue:cdrs") == 1
        finally:
            await questions.aclose()

    with running(server):
        assert asyncio.run(written())
        with connect(url) as client:
            assert client.llen("rq:queue:cdrs") == 1


def job_commands() -> list[tuple[object, ...]]:
    return NewJob(CDRS, LOAD_CDRS, ([],), "load 0").commands()


def test_a_worker_writes_all_or_nothing_and_waits_for_the_disk(redis_url: str) -> None:
    with connect(redis_url) as client:
        commit(client, job_commands())
        assert client.llen("rq:queue:cdrs") == 1
        client.set("rq:queue:cdrs", "no list")
        with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
            commit(client, job_commands())


def test_what_redis_cannot_confirm_is_not_taken_for_written(redis_url: str) -> None:
    with connect(redis_url) as client, configured(redis_url, appendonly="no"):
        with pytest.raises(QueueUnavailable):
            commit(client, job_commands())
        # The connection is fit for the next one.
        assert client.ping()


def test_at_level_redis_nothing_is_waited_for(redis_url: str) -> None:
    with connect(redis_url, ack_level="redis") as client, configured(redis_url, appendonly="no"):
        commit(client, job_commands())
        assert client.llen("rq:queue:cdrs") == 1
