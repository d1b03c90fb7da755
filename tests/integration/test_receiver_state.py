"""What receivers tell about themselves in Redis, and who reads it."""

from __future__ import annotations

import time
from typing import Any

import redis

from common.receiver_state import ReceiverState, SpoolState, publish_commands, read_receivers, receiver_key


def publish(connection: Any, state: ReceiverState) -> None:
    with connection.pipeline(transaction=True) as pipeline:
        for command in publish_commands(state):
            pipeline.execute_command(*command)
        pipeline.execute()


def state(name: str, at: float) -> ReceiverState:
    spool = SpoolState(entries=2, cdrs=7, bytes=900, max_bytes=1000, oldest_seconds=1.5)
    return ReceiverState(name, at, "fsync", "spool", "Redis is away", spool)


def test_what_receivers_tell_is_read_by_name(redis_url: str) -> None:
    told = [state(name, time.time()) for name in ("b-2", "a-1")]
    with redis.Redis.from_url(redis_url) as connection:
        for each in told:
            publish(connection, each)
        assert read_receivers(connection) == told[::-1]


def test_a_receiver_that_was_not_heard_of_for_a_minute_is_not_listed(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, state("gone", time.time() - 61))
        assert read_receivers(connection) == []


def test_with_the_next_word_of_any_receiver_those_long_gone_are_forgotten(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, state("gone", time.time() - 61))
        publish(connection, state("here", time.time()))
        assert connection.zrange("cdr:receivers", 0, -1) == [b"here"]
        assert connection.ttl(receiver_key("here")) > 0


def test_what_a_newer_release_tells_in_another_form_is_passed_over(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        publish(connection, state("newer", time.time()))
        connection.set(receiver_key("newer"), b'{"name": 1}')
        assert read_receivers(connection) == []
