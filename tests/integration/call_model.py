"""The rules by which CDRs make a call, in plain Python: what `cdr.calls` is compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from common.call_codes import known_call_type

Row = dict[str, Any]


def calls_of(cdrs: list[Row]) -> dict[tuple[str, str], Row]:
    """Fold rows of `cdr.cdrs` into the calls that they make, by account and root id."""
    groups: dict[tuple[str, str], list[Row]] = {}
    originals = _originals(cdrs)
    for cdr in cdrs:
        groups.setdefault(_root((cdr["account"], cdr["call_id"]), originals), []).append(cdr)
    return {root: _call(root, legs) for root, legs in groups.items()}


def _originals(cdrs: list[Row]) -> dict[tuple[str, str], tuple[str, str]]:
    originals: dict[tuple[str, str], tuple[str, str]] = {}
    for cdr in sorted(cdrs, key=lambda each: (each["started_at"], each["identity"])):
        if cdr["original_call_id"] not in {None, cdr["call_id"]}:
            originals.setdefault((cdr["account"], cdr["call_id"]), (cdr["account"], cdr["original_call_id"]))
    return originals


def _root(call: tuple[str, str], originals: dict[tuple[str, str], tuple[str, str]]) -> tuple[str, str]:
    path = [call]
    while path[-1] in originals:
        following = originals[path[-1]]
        if following in path:
            return min(path[path.index(following) :])
        path.append(following)
    return path[-1]


def _call(root: tuple[str, str], legs: list[Row]) -> Row:
    legs = sorted(legs, key=lambda each: (each["started_at"], _leg(each)[0] or 3, each["identity"]))
    families = {_leg(each)[1] for each in legs if _leg(each)[0] == 2}
    counting = [each for each in legs if _leg(each)[0] != 1 or _leg(each)[1] not in families]
    caller = _first(legs, lambda each: each["caller_number"] is not None) or {}
    called = _first(counting, lambda each: each["called_party"] is not None) or {}
    agent = _first(legs[::-1], lambda each: (each["agent_code"] or each["agent_name"]) is not None) or {}
    answered = any(each["outcome"] == "answered" for each in counting)
    return {
        "account": root[0],
        "call_id": root[1],
        "call_ids": sorted({each["call_id"] for each in legs}),
        "started_at": legs[0]["started_at"],
        "ended_at": max(map(_end, legs)),
        "direction": _first_value(legs, "direction"),
        "caller_number": caller.get("caller_number"),
        "caller_e164": caller.get("caller_e164"),
        "caller_country_code": caller.get("caller_country_code"),
        "called_party": called.get("called_party"),
        "called_e164": called.get("called_e164"),
        "called_country_code": called.get("called_country_code"),
        "did_number": _first_value(legs, "did_number"),
        "acd_queue_name": _first_value(legs, "acd_queue_name"),
        "agent_code": agent.get("agent_code"),
        "agent_name": agent.get("agent_name"),
        "outcome": "answered" if answered else counting[-1]["outcome"],
        "queue_wait_seconds": _first_value(legs, "queue_wait_seconds"),
        "ring_seconds": _first_value(legs, "ring_seconds"),
        "talk_seconds": _sum(counting, "talk_seconds"),
        "price_agorot": _sum(legs, "price_agorot"),
        "leg_count": len(legs),
        "recording_count": len({each["recording_url"] for each in legs} - {None}),
        "last_received_at": max(each["last_received_at"] for each in legs),
        "first_provider_time": min(each["provider_time"] for each in legs),
        "last_provider_time": max(each["provider_time"] for each in legs),
    }


def _leg(cdr: Row) -> tuple[int | None, str | None]:
    known = known_call_type(cdr["call_type"])
    return (known.leg, known.leg_family) if known else (None, None)


def _end(cdr: Row) -> Any:
    parts = ("queue_wait_seconds", "ring_seconds", "talk_seconds")
    return cdr["started_at"] + timedelta(seconds=sum(cdr[part] or 0 for part in parts))


def _first(legs: list[Row], condition: Callable[[Row], bool]) -> Row | None:
    return next(filter(condition, legs), None)


def _first_value(legs: list[Row], column: str) -> Any:
    return next((each[column] for each in legs if each[column] is not None), None)


def _sum(legs: list[Row], column: str) -> Any:
    values = [each[column] for each in legs if each[column] is not None]
    return sum(values) if values else None
