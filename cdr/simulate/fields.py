"""A leg as the provider writes it: the field names and value types of its JSON CDR."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cdr.simulate.extras import draw_extras
from cdr.simulate.organisation import EXTERNAL_IVR, Extension
from cdr.simulate.outcomes import QUEUED_TYPES
from common.delivery import WireValue

if TYPE_CHECKING:
    import random

    from cdr.simulate.legs import Leg

Fields: TypeAlias = dict[str, WireValue | float]
# A leg 1 is the connection to the agent's own telephone: the recording is leg 2's.
_NEVER_RECORDED = frozenset({"Click2Call leg1", "ProductiveCall Leg1", "Click 2 IVR", "FaxCdr"})
_BY_MACHINE = frozenset({"VOEND", "TE"})
_FILE_NAME = str.maketrans("", "", "*+")


def write_fields(rng: random.Random, leg: Leg, call_id: str, time: int, recordings_base: str) -> Fields:
    """Write a leg as a CDR; `time` is the wall clock in seconds as if it were UTC, as the provider sends it."""
    agent = _representative(leg)
    fields: Fields = {
        "caller": leg.caller.number,
        "target": leg.target.number,
        "time": time,
        "duration": leg.seconds.talk,
        "ivruniqueid": call_id,
        "type": leg.call_type,
        "status": leg.status,
        "targetextension": leg.to_extension.code,
        "callerextension": leg.from_extension.code,
        "did": leg.did,
        "queueid": leg.queue.queue_id,
        "queuename": leg.queue.name,
        "record": _recording(rng, leg, call_id, recordings_base),
        "price": _price_agorot(rng, leg),
        "dialtime": leg.seconds.ring,
        "representative_name": agent.agent_name,
        "representative_code": agent.agent_code,
        "targetextension_name": leg.to_extension.name,
        "callerextension_name": leg.from_extension.name,
        "target_country": leg.target.country,
        "caller_country": leg.caller.country,
    }
    if leg.call_type in QUEUED_TYPES:
        fields["seconds_waiting_in_queue"] = leg.seconds.wait
    fields.update(draw_extras(rng, leg))
    return fields


def _representative(leg: Leg) -> Extension:
    if leg.status in _BY_MACHINE:
        return EXTERNAL_IVR
    return leg.to_extension if leg.to_extension.code else leg.from_extension


def _recording(rng: random.Random, leg: Leg, call_id: str, recordings_base: str) -> str | None:
    """Name the recording as the provider's S3 objects are named, and how long it is; null is sent now and then instead of nothing."""
    if not leg.seconds.talk or leg.call_type in _NEVER_RECORDED or rng.random() < 0.05:
        return "" if rng.random() < 0.98 else None
    caller, target = leg.caller.number.translate(_FILE_NAME), leg.target.number.translate(_FILE_NAME)
    return f"{recordings_base}/{call_id}-aws-{caller}-{target}_{leg.seconds.talk}s.mp3"


def _price_agorot(rng: random.Random, leg: Leg) -> int | float:
    """Charge seven agorot a begun minute of what was dialled; some samples show a fraction, the others none."""
    dialled = bool(leg.from_extension.code) and not leg.to_extension.code
    price = -(-leg.seconds.talk // 60) * 7 if dialled else 0
    return price if rng.random() < 0.7 else float(price)
