"""Whether the word of a Redis may be passed on as an acknowledgement, by what it tells about itself."""

from __future__ import annotations

from typing import Any

import pytest

from common.ack_gate import memory_share, why_it_cannot_keep

GOOD: dict[str, Any] = {
    "loading": 0,
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
}


@pytest.mark.parametrize("level", ["fsync", "redis"])
def test_a_good_redis_may_be_trusted(level: str) -> None:
    assert why_it_cannot_keep(GOOD, level) is None


@pytest.mark.parametrize("level", ["fsync", "redis"])
@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"loading": 1, "aof_enabled": 0}, "Redis is still reading its data"),
        ({"role": "slave"}, "Redis is a slave: it takes no writes"),
        ({"aof_last_write_status": "err"}, "Redis cannot write its append-only file"),
        (
            {"maxmemory": 1, "maxmemory_policy": "allkeys-lru"},
            "Redis may evict keys (maxmemory-policy allkeys-lru): queued CDRs would vanish",
        ),
    ],
)
def test_what_it_lacks_is_told_at_either_level(told: dict[str, Any], reason: str, level: str) -> None:
    assert why_it_cannot_keep({**GOOD, **told}, level) == reason


def test_the_append_only_file_is_wanted_where_its_fsync_is_waited_for() -> None:
    told = {**GOOD, "aof_enabled": 0}
    assert "append-only file off" in str(why_it_cannot_keep(told, "fsync"))
    assert why_it_cannot_keep(told, "redis") is None


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_at_level_fsync_a_policy_that_evicts_counts_even_before_there_is_a_bound(policy: str) -> None:
    assert policy in str(why_it_cannot_keep({**GOOD, "maxmemory_policy": policy}, "fsync"))


@pytest.mark.parametrize(("bound", "policy"), [(0, "allkeys-lru"), (1, "volatile-ttl")])
def test_at_level_redis_only_what_could_take_a_job_counts(bound: int, policy: str) -> None:
    assert why_it_cannot_keep({**GOOD, "maxmemory": bound, "maxmemory_policy": policy}, "redis") is None


def test_the_share_of_memory_is_of_the_bound() -> None:
    assert memory_share({"maxmemory": 200, "used_memory": 50}) == 0.25


def test_without_a_bound_there_is_no_share() -> None:
    assert memory_share({"maxmemory": 0, "used_memory": 50}) is None


@pytest.mark.parametrize("level", ["fsync", "redis"])
def test_what_does_not_describe_itself_as_redis_does_is_not_trusted(level: str) -> None:
    assert "does not describe itself" in str(why_it_cannot_keep({}, level))
