"""What workers hand on to Redis counts only once it has said that it is on disk, here and wherever else it has to be."""

from __future__ import annotations

import asyncio

import pytest
from redis_server import FakeServer, serving

from common.errors import QueueUnavailable
from common.redis_client import commit, connect

WRITE = [("RPUSH", "queue", "job")]
SMALL_WRITE = [b"SET", b"WAITAOF"]
OF_THE_LIBRARY = {b"CLIENT", b"PING"}
WHOLE_WRITE = [b"MULTI", b"RPUSH", b"EXEC", b"WAITAOF"]


def confirmation(here: int, elsewhere: int) -> dict[bytes, bytes]:
    return {b"WAITAOF": b"*2\r\n:%d\r\n:%d\r\n" % (here, elsewhere)}


def committed(
    server: FakeServer, *confirmations: tuple[int, int], replicas: int = 0, level: str = "fsync"
) -> list[bool]:
    """Commit once for each pair of counts that WAITAOF is to return, and tell which of these commits were confirmed."""

    async def scenario() -> list[bool]:
        async with serving(server) as settings:
            url = settings.redis_url.get_secret_value()
            with connect(url, 5, 0, level, replicas) as client:
                results = []
                for each in confirmations:
                    server.replies |= confirmation(*each)
                    results.append(await asyncio.to_thread(confirmed, client))
        return results

    return asyncio.run(scenario())


def confirmed(client: object) -> bool:
    try:
        commit(client, WRITE)
    except QueueUnavailable:
        return False
    return True


def commands(server: FakeServer) -> list[bytes]:
    return [command for _, command in server.received if command not in OF_THE_LIBRARY]


@pytest.mark.parametrize(
    ("counts", "replicas", "is_enough"),
    [
        ((1, 0), 0, True),
        ((0, 0), 0, False),
        ((0, 1), 1, False),
        ((1, 0), 1, False),
        ((1, 1), 2, False),
        ((1, 2), 2, True),
    ],
)
def test_what_is_on_too_few_disks_is_not_confirmed(counts: tuple[int, int], replicas: int, is_enough: bool) -> None:
    server = FakeServer()
    assert committed(server, (1, replicas), counts, replicas=replicas) == [True, is_enough]
    assert commands(server) == [*SMALL_WRITE, *WHOLE_WRITE, *WHOLE_WRITE]


@pytest.mark.parametrize(("counts", "replicas"), [((0, 0), 0), ((1, 0), 1)])
def test_a_redis_that_confirms_nothing_gets_nothing(counts: tuple[int, int], replicas: int) -> None:
    server = FakeServer()
    assert committed(server, counts, counts, replicas=replicas) == [False, False]
    assert commands(server) == SMALL_WRITE * 2


def test_after_what_was_not_confirmed_a_small_write_goes_ahead_again() -> None:
    server = FakeServer()
    assert committed(server, (1, 0), (0, 0), (0, 0), (1, 0)) == [True, False, False, True]
    assert commands(server) == [*SMALL_WRITE, *WHOLE_WRITE, *WHOLE_WRITE, *SMALL_WRITE, *SMALL_WRITE, *WHOLE_WRITE]


def test_a_write_and_the_question_whether_it_is_on_disk_go_over_one_connection() -> None:
    server = FakeServer()
    assert committed(server, (1, 0)) == [True]
    assert {number for number, command in server.received} == {1}


def test_at_level_redis_nothing_is_asked() -> None:
    server = FakeServer()
    assert committed(server, (0, 0), level="redis") == [True]
    assert commands(server) == WHOLE_WRITE[:-1]


def test_how_many_replicas_is_asked_of_redis() -> None:
    server = FakeServer()
    assert committed(server, (1, 2), replicas=2) == [True]
    assert {arguments[:2] for arguments in server.waits} == {(b"1", b"2")}
