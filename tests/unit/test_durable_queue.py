"""A reply that comes late is never taken for the answer to another write."""

from __future__ import annotations

import asyncio

import pytest
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
