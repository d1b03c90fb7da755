"""How many requests and bytes may be in flight, and what those are told that come beyond."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api import admission
from api.admission import Admission
from common.errors import TooBusy


def messages(*bodies: bytes) -> Any:
    left = list(bodies)

    async def receive() -> dict[str, Any]:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    return receive


async def read(bounds: Admission, *bodies: bytes) -> None:
    with bounds.request(messages(*bodies)) as admitted:
        for _ in bodies:
            await admitted()


def test_a_request_beyond_the_bound_is_refused() -> None:
    bounds = Admission(max_requests=1)
    with bounds.request(messages()), pytest.raises(TooBusy, match="1 requests"), bounds.request(messages()):
        pass


def test_a_request_that_was_refused_is_not_counted() -> None:
    bounds = Admission(max_requests=1)
    with bounds.request(messages()), pytest.raises(TooBusy), bounds.request(messages()):
        pass
    assert (bounds.requests, bounds.bytes) == (0, 0)


def test_bytes_beyond_the_bound_are_refused() -> None:
    bounds = Admission(max_bytes=10)

    async def scenario() -> None:
        with bounds.request(messages(b"12345678")) as first:
            await first()
            await read(bounds, b"12", b"3")

    with pytest.raises(TooBusy, match="10 bytes"):
        asyncio.run(scenario())


def test_what_a_request_read_is_given_back_at_its_end() -> None:
    bounds = Admission(max_bytes=10)
    asyncio.run(read(bounds, b"12345678"))
    assert bounds.bytes == 0


def test_what_a_refused_request_read_is_given_back() -> None:
    bounds = Admission(max_bytes=10)

    async def scenario() -> int:
        with bounds.request(messages(b"12345678")) as first:
            await first()
            with pytest.raises(TooBusy):
                await read(bounds, b"12", b"3")
            return bounds.bytes

    assert asyncio.run(scenario()) == 8


def test_a_request_that_is_alone_is_taken_whatever_its_size() -> None:
    bounds = Admission(max_bytes=10)
    asyncio.run(read(bounds, b"x" * 100, b"y" * 100))
    assert bounds.bytes == 0


def test_what_a_body_becomes_is_counted_too() -> None:
    bounds = Admission(max_bytes=10)

    async def scenario() -> None:
        with bounds.request(messages(b"1")) as first, bounds.request(messages(b"12")) as second:
            await first()
            await second()
            second.take(8)

    with pytest.raises(TooBusy, match="3 bytes"):
        asyncio.run(scenario())
    assert bounds.bytes == 0


def test_a_body_that_is_not_kept_any_more_leaves_its_room_to_others() -> None:
    bounds = Admission(max_bytes=10)

    async def scenario() -> tuple[int, int]:
        with bounds.request(messages(b"12345678", b"12345678")) as first:
            await first()
            first.let_go()
            await first()
            await read(bounds, b"1234567890")
            return bounds.requests, bounds.bytes

    assert asyncio.run(scenario()) == (1, 0)
    assert (bounds.requests, bounds.bytes) == (0, 0)


def test_the_rest_of_a_refused_body_is_read_and_dropped() -> None:
    receive = messages(b"a", b"b", b"c")
    asyncio.run(Admission().request(receive).drop_rest(100))
    with pytest.raises(IndexError):
        asyncio.run(receive())


def test_after_a_whole_body_nothing_more_is_waited_for() -> None:
    async def scenario() -> None:
        with Admission().request(messages(b"a")) as request:
            await request()
            await request.drop_rest(100)

    asyncio.run(scenario())


def test_a_refused_body_without_end_is_dropped_no_longer_than_bounded() -> None:
    receive = messages(b"12345678", b"12345678", b"left")
    asyncio.run(Admission().request(receive).drop_rest(10))
    assert asyncio.run(receive())["body"] == b"left"


def test_a_refused_body_that_does_not_come_is_waited_for_no_longer_than_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "DROP_SECONDS", 0.01)

    async def never() -> Any:
        await asyncio.Event().wait()

    asyncio.run(Admission().request(never).drop_rest(10))
