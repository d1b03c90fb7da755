"""The kinds of faults: how each begins and how it ends. Any of them may begin while others last."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import psycopg
import redis

from oracle.full_disk import UNLIMITED, limit_file_size
from oracle.processes import send
from oracle.product import Product
from oracle.tcp_proxy import PASS, Manner

# A question to a server that is frozen must not hold up the schedule.
ADMIN_SECONDS = 0.5
Step = Callable[[Product, int], Any]


class Fault(NamedTuple):
    """One fault of a schedule: when it begins (seconds into the round), how long it lasts, and a number that chooses
    its target or strength."""

    kind: str
    at: float
    seconds: float
    number: int

    def __str__(self) -> str:
        """Write it as `read_schedule` reads it."""
        return f"{self.kind}@{self.at:.2f}+{self.seconds:.2f}#{self.number}"


class Kind(NamedTuple):
    """How a fault begins and ends, and for how long it lasts at most."""

    begin: Step
    end: Step
    longest_seconds: float


def nothing(_product: Product, _number: int) -> None:
    """Do nothing: the product mends itself, or `Product.bring_back` does it."""


def ask_redis(product: Product, *command: Any) -> Any:
    """Run a command on Redis itself; None when it is down or frozen, for another fault may have done that."""
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis.from_url(
            product.redis_url, socket_timeout=ADMIN_SECONDS, socket_connect_timeout=ADMIN_SECONDS
        ) as client,
    ):
        return client.execute_command(*command)


def ask_postgres(product: Product, *statements: str) -> None:
    """Run statements on PostgreSQL itself, unless it is down or frozen."""
    if not product.postgres.answers():
        return
    with contextlib.suppress(psycopg.Error), product.connect(autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def signal_role(role: str, number: signal.Signals) -> Step:
    return lambda product, which: product.signal_role(role, number, which)


def freeze_role(role: str) -> Step:
    return lambda product, which: product.freeze_role(role, which)


def kill_all(role: str) -> Step:
    def begin(product: Product, _number: int) -> None:
        for pid in product.pids(role):
            send(pid, signal.SIGKILL)

    return begin


def thaw(product: Product, _number: int) -> None:
    product.thaw()


def behave(proxy: str, manner: Manner) -> Step:
    return lambda product, _: product.proxies[proxy].behave(manner)


def delay(proxy: str) -> Step:
    return lambda product, number: product.proxies[proxy].behave(Manner(delay_seconds=0.005 * 2 ** (number % 7)))


def cut(proxy: str) -> Step:
    return lambda product, _: product.proxies[proxy].cut_all()


def pass_after_cut(proxy: str) -> Step:
    def end(product: Product, _number: int) -> None:
        product.proxies[proxy].cut_all()
        product.proxies[proxy].behave(PASS)

    return end


def redis_command(*words: Any) -> Step:
    return lambda product, _: ask_redis(product, *words)


def little_memory(product: Product, number: int) -> None:
    """Leave Redis no memory, or a little more than it has."""
    used = ask_redis(product, "INFO", "memory")
    if used is not None:
        ask_redis(product, "CONFIG", "SET", "maxmemory", used["used_memory"] + 65_536 * (number % 4))


def full_redis_disk(product: Product, _number: int) -> None:
    """Let Redis's append-only file grow no further, and no other file of its."""
    if product.redis.pid is not None:
        limit_file_size(product.redis.pid, 1024)


def redis_disk_again(product: Product, _number: int) -> None:
    if product.redis.pid is not None:
        limit_file_size(product.redis.pid, UNLIMITED)
    product.redis.start()


def start_redis(product: Product, _number: int) -> None:
    product.redis.start()


def start_postgres(product: Product, _number: int) -> None:
    product.postgres.start()


def sql(*statements: str) -> Step:
    return lambda product, _: ask_postgres(product, *statements)


def lock(table: str) -> Step:
    """Hold a table's lock in a session of its own."""

    def begin(product: Product, _number: int) -> None:
        if product.postgres.answers():
            with contextlib.suppress(psycopg.Error):
                product.locks.append(product.connect())
                product.locks[-1].execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())

    return begin


def unlock(product: Product, _number: int) -> None:
    product.unlock()


OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
RELOAD = "SELECT pg_reload_conf()"


def _roles() -> dict[str, Kind]:
    names = {
        "receiver": "receiver",
        "worker": "worker cdrs",
        "recorder": "worker recordings",
        "scheduler": "scheduler",
    }
    kinds: dict[str, Kind] = {}
    for name, role in names.items():
        kinds[f"{name}-killed"] = Kind(signal_role(role, signal.SIGKILL), nothing, 0.0)
        kinds[f"{name}-terminated"] = Kind(signal_role(role, signal.SIGTERM), nothing, 0.0)
        kinds[f"{name}-frozen"] = Kind(freeze_role(role), thaw, 3.0)
    kinds["receivers-killed"] = Kind(kill_all("receiver"), nothing, 0.0)
    kinds["workers-killed"] = Kind(kill_all("worker cdrs"), nothing, 0.0)
    return kinds


def _servers() -> dict[str, Kind]:
    return {
        "redis-killed": Kind(lambda product, _: product.redis.end(signal.SIGKILL), start_redis, 3.0),
        "redis-terminated": Kind(lambda product, _: product.redis.end(signal.SIGTERM), start_redis, 2.0),
        "redis-frozen": Kind(lambda product, _: product.redis.freeze(), lambda product, _: product.redis.thaw(), 3.0),
        "postgres-killed": Kind(lambda product, _: product.postgres.end(signal.SIGKILL), start_postgres, 3.0),
        "postgres-fast": Kind(lambda product, _: product.postgres.end(signal.SIGINT), start_postgres, 2.0),
        "postgres-immediate": Kind(lambda product, _: product.postgres.end(signal.SIGQUIT), start_postgres, 2.0),
        "postgres-frozen": Kind(
            lambda product, _: product.postgres.freeze(), lambda product, _: product.postgres.thaw(), 3.0
        ),
        "up-killed": Kind(lambda product, _: product.kill_up(), lambda product, _: product.start_up(), 1.5),
        "up-terminated": Kind(lambda product, _: product.terminate_up(), lambda product, _: product.start_up(), 2.0),
        "tree-killed": Kind(lambda product, _: product.kill_tree(), lambda product, _: product.start_up(), 1.5),
    }


def _networks() -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for proxy in ("receiver", "redis", "postgres"):
        passing = behave(proxy, PASS)
        kinds[f"{proxy}-slow"] = Kind(delay(proxy), passing, 3.0)
        kinds[f"{proxy}-cut"] = Kind(cut(proxy), nothing, 0.0)
        kinds[f"{proxy}-stalled"] = Kind(behave(proxy, Manner(hold=True)), passing, 3.0)
        kinds[f"{proxy}-swallowed"] = Kind(behave(proxy, Manner(hold=True)), pass_after_cut(proxy), 3.0)
        kinds[f"{proxy}-answers-cut"] = Kind(behave(proxy, Manner(cut="answer")), passing, 2.0)
        kinds[f"{proxy}-requests-cut"] = Kind(behave(proxy, Manner(cut="request")), passing, 2.0)
        kinds[f"{proxy}-trickles"] = Kind(behave(proxy, Manner(trickle=True)), passing, 3.0)
    return kinds


def _settings() -> dict[str, Kind]:
    config = partial(redis_command, "CONFIG", "SET")
    return {
        "redis-out-of-memory": Kind(little_memory, config("maxmemory", 0), 3.0),
        "redis-without-aof": Kind(config("appendonly", "no"), config("appendonly", "yes"), 3.0),
        "redis-evicts": Kind(config("maxmemory-policy", "allkeys-lru"), config("maxmemory-policy", "noeviction"), 3.0),
        "redis-replica": Kind(
            redis_command("REPLICAOF", "127.0.0.1", "1"), redis_command("REPLICAOF", "NO", "ONE"), 3.0
        ),
        "redis-scripts-flushed": Kind(redis_command("SCRIPT", "FLUSH"), nothing, 0.0),
        "redis-clients-killed": Kind(redis_command("CLIENT", "KILL", "TYPE", "normal"), nothing, 0.0),
        "redis-disk-full": Kind(full_redis_disk, redis_disk_again, 3.0),
        "spool-disk-full": Kind(
            lambda product, _: product.spool.fill(product.pids("receiver")),
            lambda product, _: product.spool.empty(),
            3.0,
        ),
        "postgres-sessions-ended": Kind(sql(f"SELECT pg_terminate_backend(pid) {OTHERS}"), nothing, 0.0),
        "postgres-statements-cancelled": Kind(sql(f"SELECT pg_cancel_backend(pid) {OTHERS}"), nothing, 0.0),
        "postgres-read-only": Kind(
            sql("ALTER SYSTEM SET default_transaction_read_only = on", RELOAD),
            sql("ALTER SYSTEM RESET default_transaction_read_only", RELOAD),
            3.0,
        ),
        "cdrs-locked": Kind(lock("cdr.cdrs"), unlock, 3.0),
        "calls-locked": Kind(lock("cdr.calls"), unlock, 3.0),
    }


KINDS: dict[str, Kind] = {**_roles(), **_servers(), **_networks(), **_settings()}
