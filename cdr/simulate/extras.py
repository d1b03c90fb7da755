"""Fields beyond the specification's 23, which some accounts' CDRs carry: later ones, IVR, custom data, AI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cdr.simulate.organisation import IVR_LAYERS

if TYPE_CHECKING:
    import random
    from typing import Any

    from cdr.simulate.legs import Leg

_INCOMING = frozenset({"Incoming Call", "Queue", "VoiceMail"})
_DIALER = frozenset({"ProductiveCall Leg1", "ProductiveCall Leg2", "Click 2 IVR", "Click 2 IVR Incoming"})
_UTTERANCES = ("שלום, במה אפשר לעזור?", "I'd like to change my order.", "רגע, אני בודקת.", "תודה רבה, להתראות!")


def draw_extras(rng: random.Random, leg: Leg) -> dict[str, Any]:
    """Draw the further fields of one CDR; most CDRs have none."""
    extras: dict[str, Any] = {}
    if rng.random() < 0.25:
        extras.update(_later_fields(leg))
    if leg.call_type in _INCOMING and rng.random() < 0.3:
        extras["IVR"] = _ivr_path(rng)
    if leg.call_type in _DIALER:
        extras.update(_campaign(rng))
    if rng.random() < 0.08:
        extras.update(_custom_data(rng))
    if leg.seconds.talk and rng.random() < 0.04:
        extras["aiData"] = _ai_data(rng, leg)
    return extras


def _later_fields(leg: Leg) -> dict[str, Any]:
    """What the provider's later documents add."""
    internal = bool(leg.from_extension.code and leg.to_extension.code)
    direction = "internal" if internal else "incoming" if leg.call_type in _INCOMING else "outgoing"
    return {
        "direction": direction,
        "isAnswer": int(leg.status == "ANSWER"),
        "actualCallDuration": leg.seconds.talk,
        "actualCallDialtime": leg.seconds.ring,
        "DepartmentID": 501,
        "DepartmentName": "מוקד שירות",
    }


def _ivr_path(rng: random.Random) -> str:
    """Write the menus that the caller passed, a JSON text in the JSON, with repeats where the caller went in circles."""
    layers = rng.choices(IVR_LAYERS, k=1 + int(rng.random() * 4))
    return _compact(
        [
            {
                "layer_id": layer.layer_id,
                "layer_name": layer.name,
                "layer_number": layer.number,
                "Dtmf": int(rng.random() * 10),
                "dtmf_order": order,
            }
            for order, layer in enumerate(layers, 1)
        ]
    )


def _campaign(rng: random.Random) -> dict[str, Any]:
    """Name the dialer's campaign; the CallID in dialerData is the dialer's own, never the call's."""
    return {
        "campaignName": "חידוש מנויים",
        "campaignID": 77,
        "dialerData": {"CallID": f"D{rng.getrandbits(32):08x}", "attempt": 1 + int(rng.random() * 3)},
    }


def _custom_data(rng: random.Random) -> dict[str, Any]:
    """Send the customer's own data back in one of the three ways that consumers have met."""
    data = {"crm_id": int(rng.random() * 1_000_000), "segment": rng.choice(("gold", "כסף"))}
    return rng.choice(
        (
            {"CustomData": data},
            {"CustomData": _compact(data)},
            {f"var_{name}": str(value) for name, value in data.items()},
        )
    )


def _ai_data(rng: random.Random, leg: Leg) -> dict[str, Any] | str:
    """Write what the provider's AI heard, as an object or as JSON text."""
    data = {
        "insights": {"summary": rng.choice(_UTTERANCES), "topics": ["הזמנה", "billing"]},
        "emotions": {"positive": round(rng.random(), 2), "negative": round(rng.random() / 3, 2)},
        "transcript": [
            {"speaker": i % 2, "start": i * 4, "text": rng.choice(_UTTERANCES)}
            for i in range(2 + min(30, leg.seconds.talk // 20))
        ],
    }
    return data if rng.random() < 0.5 else _compact(data)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
