"""Redis: opens clients and connections, and turns redis-py's errors into ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
# How long Redis may take to have a write on disk before it counts as not confirmed.
_CONFIRM_SECONDS = 5
_SMALL_WRITE = ("SET", "cdr:confirmed", "1")
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


def connect(
    url: str,
    timeout_seconds: float | None = 15,
    retries: int = _RETRIES,
    ack_level: str = "fsync",
    ack_replicas: int = 0,
) -> RedisClient:
    """Return a client with a connection pool, for workers and commands; replies are bytes.

    `ack_level` and `ack_replicas` are for `commit`. Commands are tried again after a broken connection, so use it only for
    what may happen twice. A server that says nothing is given up after the timeout.
    """
    # A Unix socket has no peer that could vanish without a word, and redis-py takes no word on keepalives for it.
    network = {} if url.startswith("unix:") else {"socket_connect_timeout": CONNECT_SECONDS, "socket_keepalive": True}
    client: RedisClient = redis.Redis.from_url(
        url,
        **network,
        socket_timeout=timeout_seconds,
        health_check_interval=30,
        # Trying again for as long as each time would keep a worker that is told to stop for minutes.
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries, supported_errors=(redis.ConnectionError,)),
    )
    client.ack_level, client.ack_replicas = ack_level, ack_replicas
    return client


def commit(client: RedisClient, writes: Sequence[tuple[Any, ...]]) -> None:
    """Carry out all commands or none, once, and return when they are durable at the client's level.

    For what another system forgets once Redis has it. Raises QueueUnavailable when that is not certain. Then, and before the
    first time, Redis has to confirm a small write before it gets anything: whoever was not told that it has the commands
    gives them again, for as long as it cannot tell.
    """
    to_disk = getattr(client, "ack_level", "fsync") == "fsync"
    confirms, client.confirms = getattr(client, "confirms", False), False
    replicas = getattr(client, "ack_replicas", 0)
    with translated(), _one_connection(client) as connection:
        if to_disk and not confirms:
            _exchange(connection, [_SMALL_WRITE], replicas)
        commands: list[tuple[Any, ...]] = [("MULTI",), *writes, ("EXEC",)]
        results = _exchange(connection, commands, replicas if to_disk else None)[-1]
    refused = [result for result in results if isinstance(result, redis.RedisError)]
    if refused:
        raise QueueUnavailable(f"Redis refused a write: {refused[0]}")
    client.confirms = True


@contextmanager
def _one_connection(client: RedisClient) -> Iterator[Any]:
    """Lend one connection of the client: WAITAOF tells of the writes of its own only, and a pipeline takes any."""
    connection = client.connection_pool.get_connection()
    try:
        yield connection
    except BaseException:
        # Replies may still be on their way to whoever takes the connection next.
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)


def _exchange(connection: Any, commands: list[tuple[Any, ...]], replicas: int | None) -> list[Any]:
    """Send commands and return the replies; unless `replicas` is None, once they are on disk here and on so many of these."""
    waits = [] if replicas is None else [("WAITAOF", 1, replicas, int(_CONFIRM_SECONDS * 1000))]
    connection.send_packed_command(connection.pack_commands([*commands, *waits]))
    replies = [connection.read_response() for _ in [*commands, *waits]]
    if replicas is not None:
        here, elsewhere = replies.pop()
        if here < 1 or elsewhere < replicas:
            raise QueueUnavailable(
                f"Redis did not confirm in {_CONFIRM_SECONDS} s that the write is on disk "
                f"(local {here} of 1, replicas {elsewhere} of {replicas})"
            )
    return replies


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
