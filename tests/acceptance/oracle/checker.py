"""Compares what is stored with what was sent: each obligation once with the right values, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from oracle.ledger import Attempt, Delivery, Identity
from oracle.model import allowed_values, expected_columns, plain, stored_columns
from oracle.stored import Row, Stored

Kind: TypeAlias = Literal["lost", "double", "invented", "wrong", "left over", "stuck", "not taken"]
KINDS: tuple[Kind, ...] = ("lost", "double", "invented", "wrong", "left over", "stuck", "not taken")

Deliveries: TypeAlias = Mapping[Identity, Sequence[Delivery]]
Bodies: TypeAlias = Mapping[tuple[str, bytes], Sequence[Attempt]]


class Finding(NamedTuple):
    """One way in which what is stored is not what it has to be; `identity` is the CDR's where it is about one."""

    kind: Kind
    about: str
    identity: Identity | None = None


def check(sent: Deliveries, bodies: Bodies, stored: Stored, digests: Mapping[str, str]) -> list[Finding]:
    """Return everything that is wrong; `digests` are the SHA-256 of the recordings by address, in hex."""
    return [
        *_check_cdrs(sent, stored.cdrs),
        *_check_calls(stored.cdrs, stored.calls),
        *_check_recordings(stored, digests),
        *_check_bodies(bodies, stored.bodies),
    ]


def _check_cdrs(sent: Deliveries, rows: Iterable[Row]) -> Iterator[Finding]:
    found: dict[Identity, list[Row]] = {}
    for row in rows:
        found.setdefault(_identity(row), []).append(row)
    for identity, deliveries in sent.items():
        if identity not in found and any(each.is_certain for each in deliveries):
            yield Finding("lost", "acknowledged, and no row", identity)
    for identity, same in found.items():
        if identity not in sent:
            yield Finding("invented", f"a row that nobody sent: {identity}", identity)
            continue
        if len(same) > 1:
            yield Finding("double", f"{len(same)} rows of one CDR", identity)
        for row in same:
            yield from _check_row(identity, sent[identity], row)


def _check_row(identity: Identity, deliveries: Sequence[Delivery], row: Row) -> Iterator[Finding]:
    certain = sum(each.is_certain for each in deliveries)
    count = row["delivery_count"]
    if count > len(deliveries):
        yield Finding("double", f"delivery_count {count}, sent {len(deliveries)} times", identity)
    if count < max(certain, 1):
        yield Finding("lost", f"delivery_count {count}, acknowledged {certain} times", identity)
    yield from _check_payload(identity, deliveries, row["payload"])
    expected, held = expected_columns(row["payload"]), stored_columns(row)
    wrong = [f"{name} is {held[name]!r}, not {expected[name]!r}" for name in held if held[name] != expected[name]]
    if row["account"] != identity.account:
        wrong.append(f"account is {row['account']!r}")
    if wrong:
        yield Finding("wrong", "; ".join(wrong), identity)


def _check_payload(identity: Identity, deliveries: Sequence[Delivery], payload: Mapping[str, Any]) -> Iterator[Finding]:
    names = {name for each in deliveries for name in each.fields} | set(payload)
    for name in sorted(names):
        allowed = allowed_values(deliveries, name)
        value = plain(payload.get(name))
        if value in allowed:
            continue
        erased = not value and "" not in allowed
        kind: Kind = "lost" if erased else "wrong"
        yield Finding(kind, f"payload {name} is {value[:200]!r}, not one of {sorted(allowed)!r}"[:600], identity)


def _check_calls(cdrs: Iterable[Row], calls: Iterable[Row]) -> Iterator[Finding]:
    """Check that the CDRs that stand are folded into calls, each once: their number, ids, recordings and price."""
    expected = fold_calls(cdrs)
    found: dict[tuple[str, str], list[Row]] = {}
    for call in calls:
        found.setdefault((call["account"], call["call_id"]), []).append(call)
    for key in expected.keys() | found.keys():
        held = [_call_summary(call) for call in found.get(key, [])]
        if not held:
            yield Finding("lost", f"no call {key}")
        elif key not in expected:
            yield Finding("invented", f"a call without CDRs {key}")
        elif len(held) > 1:
            yield Finding("double", f"{len(held)} calls {key}")
        elif held[0] != expected[key]:
            yield Finding("wrong", f"call {key} is {held[0]}, not {expected[key]}")


def fold_calls(cdrs: Iterable[Row]) -> dict[tuple[str, str], dict[str, Any]]:
    """Put CDRs together by the call that their chain of original calls begins with, by account and that call's id."""
    cdrs = list(cdrs)
    originals: dict[tuple[str, str], str] = {}
    for cdr in sorted(cdrs, key=lambda each: (each["started_at"], each["identity"])):
        if cdr["original_call_id"]:
            originals.setdefault((cdr["account"], cdr["call_id"]), cdr["original_call_id"])
    legs: dict[tuple[str, str], list[Row]] = {}
    for cdr in cdrs:
        root = cdr["call_id"]
        while (cdr["account"], root) in originals:
            root = originals[cdr["account"], root]
        legs.setdefault((cdr["account"], root), []).append(cdr)
    return {key: _leg_summary(group) for key, group in legs.items()}


def _leg_summary(legs: list[Row]) -> dict[str, Any]:
    prices = [leg["price_agorot"] for leg in legs if leg["price_agorot"] is not None]
    return {
        "leg_count": len(legs),
        "call_ids": sorted({leg["call_id"] for leg in legs}),
        "recording_count": len({leg["recording_url"] for leg in legs} - {None}),
        "price_agorot": plain(sum(prices)) if prices else "",
    }


def _call_summary(call: Row) -> dict[str, Any]:
    return {
        "leg_count": call["leg_count"],
        "call_ids": sorted(call["call_ids"]),
        "recording_count": call["recording_count"],
        "price_agorot": plain(call["price_agorot"]),
    }


def _check_recordings(stored: Stored, digests: Mapping[str, str]) -> Iterator[Finding]:
    """Check that each CDR's recording has one row, and that row a file that holds what its address serves."""
    wanted = {(bytes(cdr["identity"]), cdr["recording_url"]) for cdr in stored.cdrs if cdr["recording_url"]}
    found: set[tuple[bytes, str]] = set()
    for row in stored.recordings:
        key, url = (bytes(row["identity"]), row["source_url"]), row["source_url"]
        if key not in wanted:
            yield Finding("invented", f"a recording that no CDR names: {url}")
        if key in found:
            yield Finding("double", f"two rows of recording {url}")
        found.add(key)
        held = (row["status"], row["digest"], row["file_digest"])
        if held != ("stored", digests.get(url), digests.get(url)):
            yield Finding("wrong", f"recording {url} is {held}, its SHA-256 {digests.get(url)}")
    for _, url in wanted - found:
        yield Finding("lost", f"no row of recording {url}")
    for path in stored.files - {row["storage_key"] for row in stored.recordings}:
        yield Finding("invented", f"a file in the store that no recording names: {path}")


def _check_bodies(bodies: Bodies, rows: Iterable[Row]) -> Iterator[Finding]:
    """Check that each body that was answered as no CDR is kept once, as it was sent."""
    found = {(row["account"], bytes(row["body"])): row for row in rows}
    for key, attempts in bodies.items():
        kept = sum(each.outcome == "kept" for each in attempts)
        if kept and key not in found:
            yield Finding("lost", f"answered err 1, and not in quarantine: {key}")
        if any(each.outcome == "acked" for each in attempts):
            yield Finding("wrong", f"acknowledged, and is no CDR: {key}")
        if key in found and not kept <= found[key]["received_count"] <= len(attempts):
            yield Finding("double", f"in quarantine {found[key]['received_count']} times, sent {len(attempts)}: {key}")
    for key in found.keys() - bodies.keys():
        yield Finding("invented", f"in quarantine, and nobody sent it: {key}")


def _identity(row: Row) -> Identity:
    return Identity(
        row["account"],
        row["call_id"],
        "".join((row["call_type"] or "").split()).casefold(),
        row["time_raw"],
        row["caller_extension_code"] or "",
        row["answering_extension_code"] or "",
    )
