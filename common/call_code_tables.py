"""The tables behind `common/call_codes.py`: every call type, disposition and outcome, with its meaning.

Source: the provider's "CDR Notification System", tables "Call types" and "Call statuses"; the numeric ids
are those of its call log API. `migrations/0002_reference_data.sql` holds the same rows for SQL users.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallType:
    """One kind of CDR, by the name that the provider gives it.

    `direction` is incoming or outgoing, None where the type alone does not tell. `leg` is 1 or 2 for a CDR
    that is half of a pair, and the two halves share a `leg_family`. `is_queue` marks the types of an ACD queue.
    """

    name: str
    numeric_ids: tuple[int, ...]
    direction: str | None
    leg: int | None
    leg_family: str | None
    is_queue: bool
    is_voice_mail: bool
    description: str


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of one dial attempt, in the provider's word, and the `outcome` that we file it under."""

    name: str
    outcome: str
    description: str


def _type(
    name: str,
    numeric_id: int,
    direction: str | None,
    description: str,
    *,
    leg: tuple[str, int] | None = None,
    is_queue: bool = False,
    is_voice_mail: bool = False,
) -> CallType:
    leg_family, leg_number = leg or (None, None)
    return CallType(name, (numeric_id,), direction, leg_number, leg_family, is_queue, is_voice_mail, description)


# The specification gives Incoming Call the description of Extension Outgoing, a slip of the pen; and both
# "Incoming" types of the predictive dialer are legs of a call that the dialer placed, hence outgoing.
CALL_TYPES: tuple[CallType, ...] = (
    _type("Incoming Call", 1, "incoming", "A call from outside that rang an extension directly."),
    _type("CC", 2, "outgoing", "A call placed through a calling card, that is, an access number."),
    _type("Extension Outgoing", 4, "outgoing", "A call that a person dialed on the phone of an extension."),
    _type("Queue", 8, "incoming", "An incoming call that went into an ACD queue.", is_queue=True),
    _type(
        "Click2Call leg1",
        9,
        "outgoing",
        "First half of a click-to-call: the provider rings the extension that asked for the call.",
        leg=("click2call", 1),
    ),
    _type(
        "Click2Call leg2",
        10,
        "outgoing",
        "Second half of a click-to-call: the destination itself is dialed.",
        leg=("click2call", 2),
    ),
    _type("VoiceMail", 11, "incoming", "A call that the provider's voice mail took.", is_voice_mail=True),
    _type("Callference", 12, None, "A call of the provider's Callference conference service."),
    _type("XferCDR", 13, None, "A call that a person transferred by hand to a DID or to another extension."),
    _type(
        "ProductiveCall Leg1",
        14,
        "outgoing",
        "First half of an automatic dialer call: the agent's extension is connected.",
        leg=("productive_call", 1),
    ),
    _type(
        "ProductiveCall Leg2",
        15,
        "outgoing",
        "Second half of an automatic dialer call: the destination is dialed.",
        leg=("productive_call", 2),
    ),
    _type("Scrubber", 16, "outgoing", "A call of the provider's Scrubber service, announced but not yet released."),
    _type(
        "Click 2 IVR",
        17,
        "outgoing",
        "First half of a predictive dialer call: the connection to the extension.",
        leg=("predictive", 1),
    ),
    _type(
        "Click 2 IVR Incoming",
        18,
        "outgoing",
        "Second half of a predictive dialer call: the destination is dialed.",
        leg=("predictive", 2),
    ),
    _type(
        "Click 2 Queue Incoming",
        19,
        "outgoing",
        "Second half of a predictive dialer call whose answered destination waits in an ACD queue for an agent.",
        leg=("predictive", 2),
        is_queue=True,
    ),
    _type("FaxCdr", 20, "outgoing", "A fax sent through the provider's own service, announced but not yet released."),
    _type(
        "Attended CDR leg1",
        21,
        None,
        "A transfer with consultation: the part before the call is handed over.",
        leg=("attended", 1),
    ),
    _type(
        "Attended CDR leg2",
        22,
        None,
        "A transfer with consultation: the first caller talks with the person who was consulted.",
        leg=("attended", 2),
    ),
    _type("Auto forward", 23, None, "A call that an extension forwarded by itself to a DID, as set on the phone."),
)

DISPOSITIONS: tuple[Disposition, ...] = (
    Disposition(
        "NOTDIALED",
        "not_attempted",
        "Two meanings: the caller hung up before anything was dialed, or a direct call never reached its extension.",
    ),
    Disposition("ANSWER", "answered", "The other side answered, be it a person or a voice mail of its own."),
    Disposition("BUSY", "busy", "The number was reached and was busy."),
    Disposition("NOANSWER", "no_answer", "The number rang until the dial timed out."),
    Disposition("CANCEL", "cancelled", "The number rang and the caller hung up before it was picked up."),
    Disposition(
        "ABANDONE",
        "abandoned",
        "Left an ACD queue unanswered: hung up, chose to leave, or waited too long; the provider does not say which.",
    ),
    Disposition("VOEND", "ivr_drop", "The caller hung up inside the IVR before any extension rang."),
    Disposition("TE", "ivr_played", "The IVR played its recording and ended the call, as it is set to do."),
    Disposition(
        "NOTCALLED", "not_attempted", "The second half of a click-to-call was never dialed: leg 1 ended first."
    ),
    Disposition("VOICEMAIL", "machine", "The call was taken by the provider's voice mail."),
    Disposition("CONGESTION", "failed", "The network refused the call, most often because the number does not exist."),
    Disposition("CHANUNAVAIL", "failed", "No channel to the destination, for example a phone that is not registered."),
    Disposition("INVALIDARGS", "failed", "The provider's dial command had arguments that it could not read."),
    Disposition("SSWPREAUTH", "failed", "The provider's softswitch cancelled an outgoing call before dialing."),
    Disposition("TIMEOUT", "timed_out", "The caller waited in the ACD queue for as long as the queue allows."),
    Disposition("FULL", "saturated", "The ACD queue held as many callers as it may."),
    Disposition("EXIT", "exited", "The caller chose to leave the ACD queue."),
    Disposition("JOINEMPTY", "blocked", "The ACD queue had no agent logged in, so it took nobody."),
)

OUTCOMES: tuple[str, ...] = (
    "answered",
    "machine",
    "abandoned",
    "exited",
    "timed_out",
    "saturated",
    "blocked",
    "ivr_drop",
    "ivr_played",
    "not_attempted",
    "busy",
    "no_answer",
    "cancelled",
    "failed",
    "other",
)
