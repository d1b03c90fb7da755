"""What a write's connection does to it: late replies, and a connection that closes at the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop
from redis_server import FakeServer, serving

from api.durable_queue import DurableQueue
from common.errors import QueueUnavailable
from common.job_queue import CDRS, LOAD_CDRS, NewJob


def test_after_a_refused_write_the_next_one_has_a_connection_of_its_own() -> None:
    async def scenario() -> int:
        server = FakeServer(fatal={b"HSET": b"-OOM command not allowed\r\n"})
        async with serving(server) as settings:
            queue = DurableQueue(settings)
            with pytest.raises(QueueUnavailable, match="command not allowed"):
                await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
            await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
            await queue.close()
        return server.connections

    assert asyncio.run(scenario()) == 2


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_that_closes_just_before_the_write_is_a_failed_write(run: Callable[[Any], Any]) -> None:
    async def scenario() -> None:
        async with serving(FakeServer()) as settings:
            queue = DurableQueue(settings)
            await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
            queue._connection.can_read = partial(closed_meanwhile, queue._connection)
            try:
                await queue.write([NewJob(CDRS, LOAD_CDRS, ([],), "load 0")])
            finally:
                await queue.close()

    with pytest.raises(QueueUnavailable):
        run(scenario())


async def closed_meanwhile(connection: Any) -> bool:
    connection._writer.transport.abort()
    await asyncio.sleep(0.01)
    return False
