"""When Redis is trusted, when no more, and when again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis_server import FakeServer, serving

from api.redis_watch import RedisWatch
from common.redis_client import connect_async

FIT = {
    "loading": 0,
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": 100,
}


def describing(**told: Any) -> dict[bytes, bytes]:
    """Return the answer to INFO of a server that is fit but for what is given."""
    text = "".join(f"{name}:{value}\r\n" for name, value in (FIT | told).items())
    return {b"INFO": b"$%d\r\n%s\r\n" % (len(text), text.encode())}


def looked(*servers: dict[bytes, bytes], distrusted: bool = False) -> list[str | None]:
    """Return what a watch says after each look, at a server that changes in between."""

    async def scenario() -> list[str | None]:
        server = FakeServer()
        reasons = []
        async with serving(server) as settings:
            questions = connect_async(settings.redis_url.get_secret_value())
            watch = RedisWatch(settings, questions, lambda: None)
            for replies in servers:
                server.replies = FakeServer(replies).replies
                reasons.append(await watch.look())
                if distrusted:
                    watch.distrust("a write failed")
            await watch.close()
            await questions.aclose()
        return reasons

    return asyncio.run(scenario())


def test_a_redis_that_is_fit_and_confirms_a_write_is_trusted() -> None:
    assert looked(describing()) == [None]


def test_a_redis_that_does_not_know_the_command_to_confirm_is_not_trusted() -> None:
    (reason,) = looked({**describing(), b"WAITAOF": b"-ERR unknown command 'WAITAOF'\r\n"})
    assert reason == "Redis: unknown command 'WAITAOF'"


def test_a_redis_that_does_not_confirm_is_not_trusted() -> None:
    (reason,) = looked({**describing(), b"WAITAOF": b"*2\r\n:0\r\n:0\r\n"})
    assert "did not confirm" in str(reason)


def test_the_reason_that_redis_itself_tells_comes_first() -> None:
    (reason,) = looked({**describing(aof_enabled=0), b"WAITAOF": b"-ERR appendonly is disabled\r\n"})
    assert "append-only file off" in str(reason)


def test_it_is_trusted_again_once_it_is_fit() -> None:
    assert [reason is None for reason in looked(describing(), describing(role="slave"), describing())] == [
        True,
        False,
        True,
    ]


def test_after_a_failed_write_it_is_trusted_only_when_it_confirms_another() -> None:
    silent = {**describing(), b"WAITAOF": b"*2\r\n:0\r\n:0\r\n"}
    reasons = looked(describing(), silent, describing(), distrusted=True)
    assert [reason is None for reason in reasons] == [True, False, True]


@pytest.mark.parametrize(("used", "trusted"), [(79, True), (80, False), (120, False)])
def test_from_the_memory_mark_on_it_is_not_trusted(used: int, trusted: bool) -> None:
    (reason,) = looked(describing(maxmemory=100, used_memory=used))
    assert (reason is None) is trusted


def test_many_who_ask_at_once_wait_for_two_answers_at_most() -> None:
    class Questions:
        asked = 0

        async def info(self) -> dict[str, Any]:
            self.asked += 1
            await asyncio.sleep(0)
            return {**FIT, "role": "slave"}

    async def scenario() -> int:
        async with serving(FakeServer()) as settings:
            questions = Questions()
            watch = RedisWatch(settings, questions, lambda: None)
            await asyncio.gather(*(watch.look() for _ in range(20)))
            await watch.close()
            return questions.asked

    assert asyncio.run(scenario()) <= 2


def test_before_the_first_look_nothing_is_trusted() -> None:
    async def scenario() -> str | None:
        async with serving(FakeServer()) as settings:
            return RedisWatch(settings, None, lambda: None).reason

    assert asyncio.run(scenario()) == "Redis was not asked yet"


def test_many_who_ask_at_once_share_a_look() -> None:
    async def scenario() -> tuple[list[str | None], int]:
        server = FakeServer(describing())
        async with serving(server) as settings:
            questions = connect_async(settings.redis_url.get_secret_value())
            watch = RedisWatch(settings, questions, lambda: None)
            asked = 0
            info = questions.info

            async def counted() -> Any:
                nonlocal asked
                asked += 1
                return await info()

            questions.info = counted
            reasons = await asyncio.gather(*(watch.look() for _ in range(20)))
            await watch.close()
            await questions.aclose()
        return reasons, asked

    reasons, asked = asyncio.run(scenario())
    assert reasons == [None] * 20
    # The first asks for itself; those who came meanwhile share one that began after they came.
    assert asked == 2


@pytest.mark.parametrize("answer", [b":1\r\n", b"*0\r\n", b":abc\r\n", b"$abc\r\n", b"+OK\r\n"])
def test_what_is_no_answer_of_redis_is_a_reason_not_to_trust_it(answer: bytes) -> None:
    (reason,) = looked({b"INFO": answer})
    assert reason is not None


@pytest.mark.parametrize("word", [b"EXEC", b"WAITAOF"])
@pytest.mark.parametrize("answer", [b":1\r\n", b"+OK\r\n", b"$-1\r\n", b"*-1\r\n"])
def test_a_confirmation_that_is_none_is_a_reason_not_to_trust_it(word: bytes, answer: bytes) -> None:
    (reason,) = looked({**describing(), word: answer})
    assert reason is not None
