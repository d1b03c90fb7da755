"""The kinds of call that an organisation makes and takes: each draws the legs of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdr.simulate.draws import Weighted
from cdr.simulate.legs import Leg, draw_leg
from cdr.simulate.organisation import DIDS, EXTENSIONS, NOBODY, QUEUES, Extension
from cdr.simulate.outcomes import Seconds
from cdr.simulate.parties import Party, draw_caller, draw_target, own_number

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# In these the caller never got as far as a telephone of the organisation.
_NEVER_RANG = frozenset({"ABANDONE", "TIMEOUT", "EXIT", "FULL", "JOINEMPTY", "VOEND", "TE", "NOTDIALED"})


def draw_call(rng: random.Random) -> list[Leg]:
    """Draw one call, as its legs in the order in which they began."""
    return _SCENARIOS.draw(rng)(rng)


def _incoming(rng: random.Random, status: str | None = None) -> Leg:
    did = rng.choice(DIDS)
    leg = draw_leg(rng, "Incoming Call", draw_caller(rng), own_number(rng, did), status)
    return _rung(rng, leg)._replace(did=did)


def _queued(rng: random.Random, status: str | None = None) -> Leg:
    did = rng.choice(DIDS)
    leg = draw_leg(rng, "Queue", draw_caller(rng), own_number(rng, did), status)
    return _rung(rng, leg)._replace(did=did, queue=rng.choice(QUEUES))


def _rung(rng: random.Random, leg: Leg) -> Leg:
    """Let an extension ring if the call came that far; half the time the provider then names it as the target."""
    if leg.status in _NEVER_RANG:
        return leg
    extension = rng.choice(EXTENSIONS)
    target = Party(extension.code, "") if rng.random() < 0.5 else leg.target
    return leg._replace(to_extension=extension, target=target)


def _dialled(rng: random.Random, call_type: str, extension: Extension) -> Leg:
    caller = own_number(rng, rng.choice(DIDS))
    return draw_leg(rng, call_type, caller, draw_target(rng))._replace(from_extension=extension)


def _to_colleague(rng: random.Random, call_type: str, caller: Party, status: str | None = None) -> Leg:
    extension = rng.choice(EXTENSIONS)
    leg = draw_leg(rng, call_type, caller, Party(extension.code, "Israel"), status)
    return leg._replace(to_extension=extension)


def incoming(rng: random.Random) -> list[Leg]:
    """Somebody calls one of the organisation's numbers."""
    return [_incoming(rng)]


def queued(rng: random.Random) -> list[Leg]:
    """Somebody calls and waits in an ACD queue."""
    return [_queued(rng)]


def outgoing(rng: random.Random) -> list[Leg]:
    """An agent dials from the telephone: now and then a colleague."""
    extension = rng.choice(EXTENSIONS)
    if rng.random() < 0.06:
        internal = _to_colleague(rng, "Extension Outgoing", Party(extension.code, "Israel"))
        return [internal._replace(from_extension=extension)]
    return [_dialled(rng, "Extension Outgoing", extension)]


def service(rng: random.Random) -> list[Leg]:
    """A call through one of the smaller services: calling card, conference, scrubber, fax."""
    call_type = rng.choice(("CC", "Callference", "Scrubber", "FaxCdr"))
    return [_dialled(rng, call_type, rng.choice(EXTENSIONS) if call_type != "CC" else NOBODY)]


def voicemail(rng: random.Random) -> list[Leg]:
    """An extension does not answer, and the caller speaks to its voice mail."""
    missed = _incoming(rng, "NOANSWER")
    left = draw_leg(rng, "VoiceMail", missed.caller, missed.target)
    left = left._replace(to_extension=missed.to_extension, did=missed.did, after_seconds=missed.ends_after_seconds)
    return [left] if rng.random() < 0.5 else [missed, left]


def click2call(rng: random.Random) -> list[Leg]:
    """A click in the customer's own program: leg 1 rings the agent, leg 2 the customer, under one id."""
    return _dialled_for(rng, "Click2Call leg1", "Click2Call leg2", "NOTCALLED")


def productive(rng: random.Random) -> list[Leg]:
    """The agents' auto dialer: as click2call, but leg 2 is left out when the agent does not answer."""
    return _dialled_for(rng, "ProductiveCall Leg1", "ProductiveCall Leg2", None)


def _dialled_for(rng: random.Random, first_type: str, second_type: str, not_called: str | None) -> list[Leg]:
    extension = rng.choice(EXTENSIONS)
    second = _dialled(rng, second_type, extension)
    first = draw_leg(rng, first_type, second.caller, Party(extension.code, "Israel"))
    first = first._replace(to_extension=extension)
    if first.status == "ANSWER":
        talk_seconds = sum(second.seconds)
        first = first._replace(seconds=first.seconds._replace(talk=talk_seconds))
        return [first, second._replace(after_seconds=first.seconds.ring)]
    if not_called is None:
        return [first]
    nothing = Seconds(0, 0, 0)
    return [first, second._replace(status=not_called, seconds=nothing, after_seconds=first.ends_after_seconds)]


def predictive(rng: random.Random) -> list[Leg]:
    """The predictive dialer: it calls a customer and connects one who answers to an IVR or an ACD queue."""
    first = _dialled(rng, "Click 2 IVR", NOBODY)
    if first.status != "ANSWER":
        return [first]
    call_type = rng.choice(("Click 2 IVR Incoming", "Click 2 Queue Incoming"))
    second = _rung(rng, draw_leg(rng, call_type, first.target, first.caller))
    if call_type == "Click 2 Queue Incoming":
        second = second._replace(queue=rng.choice(QUEUES))
    return [
        first._replace(seconds=first.seconds._replace(talk=sum(second.seconds))),
        second._replace(after_seconds=first.seconds.ring),
    ]


def attended_transfer(rng: random.Random) -> list[Leg]:
    """An agent takes a call, consults a colleague (leg 1), and hands the caller over (leg 2)."""
    taken = _queued(rng, "ANSWER") if rng.random() < 0.5 else _incoming(rng, "ANSWER")
    consult = _to_colleague(rng, "Attended CDR leg1", Party(taken.to_extension.code, "Israel"))
    consult = consult._replace(
        from_extension=taken.to_extension, follows=0, after_seconds=taken.ends_after_seconds - taken.seconds.talk // 2
    )
    handed = draw_leg(rng, "Attended CDR leg2", taken.caller, consult.target)
    handed = handed._replace(
        to_extension=consult.to_extension,
        did=taken.did,
        after_seconds=consult.ends_after_seconds,
        # The documents do not say which of the two the id names, so both occur.
        follows=rng.choice((0, 1)),
    )
    return [taken, consult, handed]


def blind_transfer(rng: random.Random) -> list[Leg]:
    """An agent takes a call and sends it on to a colleague or to a number outside."""
    taken = _queued(rng, "ANSWER") if rng.random() < 0.5 else _incoming(rng, "ANSWER")
    sent_on = _to_colleague(rng, "XferCDR", taken.caller)
    if rng.random() < 0.4:
        sent_on = sent_on._replace(to_extension=NOBODY, target=draw_target(rng))
    return [
        taken,
        sent_on._replace(
            from_extension=taken.to_extension, did=taken.did, after_seconds=taken.ends_after_seconds, follows=0
        ),
    ]


def auto_forward(rng: random.Random) -> list[Leg]:
    """An extension that does not answer forwards the call to its owner's mobile."""
    missed = _incoming(rng, "NOANSWER")
    forwarded = draw_leg(rng, "Auto forward", missed.caller, draw_target(rng))
    return [
        missed,
        forwarded._replace(
            from_extension=missed.to_extension, did=missed.did, after_seconds=missed.ends_after_seconds, follows=0
        ),
    ]


_SCENARIOS: Weighted[Callable[[random.Random], list[Leg]]] = Weighted(
    {
        incoming: 26,
        queued: 31,
        outgoing: 25,
        click2call: 6,
        productive: 3,
        predictive: 2.5,
        attended_transfer: 1.5,
        blind_transfer: 1.5,
        auto_forward: 1,
        voicemail: 1.5,
        service: 1,
    }
)
