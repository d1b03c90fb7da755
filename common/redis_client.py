"""Redis: opens clients and connections, and turns redis-py's errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from common.errors import QueueUnavailable

# redis-py annotates its commands for clients of both kinds at once, so that no reply has a usable type: the replies
# are what the protocol says, and the tests run against a real server.
RedisClient: TypeAlias = Any

CONNECT_SECONDS = 5
_RETRIES = 3


@contextmanager
def translated() -> Iterator[None]:
    """Raise QueueUnavailable in place of redis-py's errors and of a timeout."""
    try:
        yield
    except (redis.RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailable(f"Redis: {str(error) or type(error).__name__}") from error


def read_hash(connection: RedisClient, key: str) -> dict[bytes, bytes] | None:
    """Return a hash, empty when there is no such key, None when the key is of another type.

    Raises redis-py's own errors: for the classes that RQ calls, which knows them.
    """
    try:
        found: dict[bytes, bytes] = connection.hgetall(key)
    except redis.ResponseError:
        if connection.type(key) in {b"hash", b"none"}:
            raise
        return None
    return found


@contextmanager
def translated_async() -> Iterator[None]:
    """Raise QueueUnavailable in place of the errors of redis-py's asyncio client, and of the event loop below it."""
    with translated():
        try:
            yield
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            # So uvloop calls a write to a connection that was closed a moment ago, and redis-py what is no answer of Redis.
            raise ConnectionError(f"{type(error).__name__}: {error}") from error


def connect(url: str, timeout_seconds: float | None = 15, retries: int = _RETRIES) -> RedisClient:
    """Return a client with a connection pool, for workers and commands; replies are bytes.

    Commands are tried again after a broken connection, so use it only for what may happen twice. With no `retries` a
    server that says nothing is given up after the timeout, once.
    """
    # A Unix socket has no peer that could vanish without a word, and redis-py takes no word on keepalives for it.
    network = {} if url.startswith("unix:") else {"socket_connect_timeout": CONNECT_SECONDS, "socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        **network,
        socket_timeout=timeout_seconds,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries),
    )


def connect_async(url: str, timeout_seconds: float = 2) -> RedisClient:
    """Return an asyncio client for questions that may fail quickly, such as those of a health check."""
    # Many who ask at once wait for each other: with an ordinary pool they would be told that Redis is away.
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=AsyncRetry(NoBackoff(), 0),
        max_connections=4,
        timeout=timeout_seconds,
    )
    return redis.asyncio.Redis.from_pool(pool)


def commit_connection(url: str) -> Any:
    """Return one asyncio connection, not yet open, that never sends anything twice by itself.

    A write that was cut off may or may not have happened: whoever commits has to know, so retries are off.
    """
    pool: Any = ConnectionPool.from_url(
        url, socket_timeout=None, socket_connect_timeout=CONNECT_SECONDS, retry=AsyncRetry(NoBackoff(), 0)
    )
    return pool.make_connection()
