"""The stream of posts: CDRs in the order in which their calls end, and second deliveries of some of them."""

from __future__ import annotations

import random
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from cdr.simulate.bodies import BodyFormat, array_body, encode_body, odd_body
from cdr.simulate.draws import Weighted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdr.simulate.fields import Fields

TrafficFormat: TypeAlias = Literal["mixed", "json", "xmlrpc", "form"]
TRAFFIC_FORMATS: tuple[TrafficFormat, ...] = ("mixed", "json", "xmlrpc", "form")
_MIX: Weighted[BodyFormat] = Weighted({"json": 50, "xmlrpc": 40, "form": 10})
_ODD_SHARE = 0.06
_ARRAY_SHARE = 0.05
_REPEAT_SHARE = 0.03
# A second delivery comes this many posts behind the first, or when the stream ends.
_REPEAT_AFTER = (5, 400)


class SentCdr(NamedTuple):
    """What tells one CDR of an account from another: it stays the same over all deliveries.

    `time` is the provider's own number of seconds; the extensions are SIP codes, empty for none.
    """

    call_id: str
    call_type: str
    time: int
    caller_extension: str
    target_extension: str


class Post(NamedTuple):
    """One request: its body, and the CDRs in it."""

    body: bytes
    content_type: str
    cdrs: tuple[SentCdr, ...]


def identify(fields: Mapping[str, Any]) -> SentCdr:
    """Read a simulated CDR's identity from its fields."""
    return SentCdr(
        fields["ivruniqueid"], fields["type"], fields["time"], fields["callerextension"], fields["targetextension"]
    )


def make_posts(
    calls: Iterable[list[Fields]], seed: int, traffic_format: TrafficFormat = "mixed", count: int | None = None
) -> Iterator[Post]:
    """Make the posts of `count` distinct CDRs (None: for as long as there are calls), second deliveries on top.

    `seed` and the calls decide every byte. The formats are told apart only in `mixed`, which also has the oddities
    of the field; the others are as the specification shows them.
    """
    rng = random.Random(seed)  # noqa: S311 - a play that must repeat, no secrets
    waiting: deque[tuple[int, Fields]] = deque()
    for number, group in enumerate(_groups(rng, calls, traffic_format, count)):
        firsts = [_first_delivery(rng, fields, waiting, number) for fields in group]
        yield _post(rng, firsts, traffic_format)
        while waiting and waiting[0][0] <= number:
            yield _post(rng, [waiting.popleft()[1]], traffic_format)
    for _, fields in waiting:
        yield _post(rng, [fields], traffic_format)


def _groups(
    rng: random.Random, calls: Iterable[list[Fields]], traffic_format: TrafficFormat, count: int | None
) -> Iterator[list[Fields]]:
    """Split calls into what one post carries: a CDR, or rarely, in an array, all legs of a call."""
    left = count
    for call in calls:
        cdrs = call if left is None else list(islice(call, left))
        if left is not None:
            left -= len(cdrs)
        together = traffic_format == "mixed" and len(cdrs) > 1 and rng.random() < _ARRAY_SHARE
        yield from [cdrs] if together else ([fields] for fields in cdrs)
        if left == 0:
            return


def _first_delivery(rng: random.Random, fields: Fields, waiting: deque[tuple[int, Fields]], number: int) -> Fields:
    """Choose what the first delivery of a CDR says, and put its second, if there is one, in the waiting line."""
    if rng.random() >= _REPEAT_SHARE:
        return fields
    # The line is in order of falling due, so a second delivery is never due before those that wait already.
    due = number + rng.randint(*_REPEAT_AFTER)
    waiting.append((max(due, waiting[-1][0]) if waiting else due, fields))
    if rng.random() < 0.4:
        return fields
    return {name: "" if name == "record" else value for name, value in fields.items() if name != "aiData"}


def _post(rng: random.Random, cdrs: Sequence[Fields], traffic_format: TrafficFormat) -> Post:
    identities = tuple(map(identify, cdrs))
    if len(cdrs) > 1:
        return Post(*array_body(cdrs), identities)
    if traffic_format != "mixed":
        return Post(*encode_body(cdrs[0], traffic_format), identities)
    body_format = _MIX.draw(rng)
    encode = odd_body(rng, cdrs[0], body_format) if rng.random() < _ODD_SHARE else encode_body(cdrs[0], body_format)
    return Post(*encode, identities)
