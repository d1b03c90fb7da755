"""Tells whether a Redis, as it describes itself, can keep what is acknowledged on its word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the sender may take from an acknowledgement, by CDR_ACK_LEVEL.
MEANING = {"fsync": "on disk (fsync)", "redis": "in the memory of Redis, which may lose it in a crash"}


def why_it_cannot_keep(info: Mapping[str, Any], level: str) -> str | None:
    """Return why no CDR may be acknowledged on the word of this Redis, None when it may.

    `info` is the answer to INFO; `level` is `fsync` or `redis`. Whether it knows WAITAOF is not among what it tells:
    that has to be tried.
    """
    return next(iter(reasons_against(info, level).values()), None)


def reasons_against(info: Mapping[str, Any], level: str) -> dict[str, str]:
    """Return every such reason, by what it is about: loading, role, aof, aof_write, eviction."""
    reasons = {}
    if "role" not in info:
        reasons["role"] = "what answers does not describe itself as Redis does"
    if info.get("loading"):
        reasons["loading"] = "Redis is still reading its data"
    if info.get("role", "master") != "master":
        reasons["role"] = f"Redis is a {info['role']}: it takes no writes"
    if level == "fsync" and not info.get("aof_enabled"):
        reasons["aof"] = "Redis has its append-only file off: it cannot confirm that a CDR is on disk"
    if info.get("aof_last_write_status", "ok") != "ok":
        reasons["aof_write"] = "Redis cannot write its append-only file"
    evicts = _what_it_evicts(str(info.get("maxmemory_policy", "noeviction")), bool(info.get("maxmemory")), level)
    return {**reasons, "eviction": evicts} if evicts else reasons


def memory_share(info: Mapping[str, Any]) -> float | None:
    """Return how much of its memory bound Redis uses, from 0 to 1; None when it has no bound."""
    bound = int(info.get("maxmemory") or 0)
    return int(info.get("used_memory", 0)) / bound if bound else None


def _what_it_evicts(policy: str, bounded: bool, level: str) -> str | None:
    # At level `fsync` a policy counts before there is a bound, which may be set at any time. At level `redis`, made for
    # servers that others run, only what could take a job counts: a job has no expiry, so no volatile policy can.
    evicts = policy != "noeviction" if level == "fsync" else bounded and policy.startswith("allkeys")
    return f"Redis may evict keys (maxmemory-policy {policy}): queued CDRs would vanish" if evicts else None
