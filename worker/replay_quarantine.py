"""Sends bodies of the quarantine through today's decoder and queues those that are CDRs now."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import msgspec

from common.cdr import find_call_id
from common.delivery import Delivery, QuarantinedBody
from common.errors import NotACdr, Rejected, Unreadable
from common.job_queue import CDRS, LOAD_CDRS, NewJob
from common.kept_encoding import is_encoded, told_undone, undone
from common.postgres import Database
from common.redis_client import RedisClient
from common.wire import BadElement, Element, Message, read_body
from worker.kept_bodies import WholeBody, mark
from worker.outbox import enqueue
from worker.quarantine import keep

CDRS_A_JOB = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Taken(NamedTuple):
    """What a body holds for today's decoder: its CDRs, and the elements of its array that are none."""

    deliveries: list[Delivery]
    refused: list[QuarantinedBody]


def decode(body: WholeBody, limit: int) -> Taken:
    """Read a kept body anew, inflated to at most `limit` bytes where it is kept in its Content-Encoding.

    One that is not in the encoding that its header tells is read as it is, if it holds a CDR so. Raises Unreadable,
    TooLarge, or NotACdr when it holds no CDR at all.
    """
    try:
        text = undone(body.body, body.headers, limit)
    except Unreadable:
        with suppress(Rejected):
            return _taken(body, body.body)
        raise
    return _taken(body, text)


def _taken(body: WholeBody, text: bytes) -> Taken:
    message = read_body(text, _content_type(body, text))
    deliveries, refused = [], []
    for place, element in enumerate(message.elements):
        try:
            deliveries.append(_delivery(body, message, place, element))
        except NotACdr as error:
            refused.append(_refused(body, message, element, error))
    if not deliveries:
        raise NotACdr(refused[0].error if refused else "an empty array")
    return Taken(deliveries, refused)


def replay_body(database: Database, connection: RedisClient, body: WholeBody, limit: int) -> int:
    """Queue the CDRs of a body, mark it as replayed, and return how many there were.

    Its elements that are no CDR become kept bodies of their own; when one of them cannot be kept, the body stays. Run
    twice, or killed in between and run again, it counts once: the deliveries' ids come from the body. Raises Rejected when
    it holds no CDR or has to stay, QueueUnavailable, DatabaseUnavailable.
    """
    taken = decode(body, limit)
    not_kept = keep(database, taken.refused)
    enqueue(connection, _jobs(taken.deliveries))
    for failed in not_kept.held:
        raise failed.error
    for failed in not_kept.refused:
        raise NotACdr(f"an element that is no CDR cannot be kept by itself: {failed.error}")
    mark(database, [body.quarantine_id], "replayed")
    return len(taken.deliveries)


def count_cdrs(body: WholeBody, limit: int) -> int:
    """Return how many CDRs a replay would queue; raises Rejected when there is none."""
    return len(decode(body, limit).deliveries)


def _content_type(body: WholeBody, text: bytes) -> str | None:
    """Return the header whose charset counts: none for UTF-8, as which an element of an array is always kept.

    What is kept in its Content-Encoding is no element, so there the header counts as at its receipt.
    """
    try:
        text.decode()
    except UnicodeDecodeError:
        return body.headers.get("content-type")
    return body.headers.get("content-type") if is_encoded(body.headers) else None


def _delivery(body: WholeBody, message: Message, place: int, element: Element) -> Delivery:
    if isinstance(element, BadElement):
        raise NotACdr(element.error)
    find_call_id(element.fields)
    return Delivery(
        _delivery_id(body),
        place,
        _received_at_us(body),
        body.account,
        _format(body, message),
        element.fields,
        element.notes,
    )


def _refused(body: WholeBody, message: Message, element: Element, error: NotACdr) -> QuarantinedBody:
    text = element.text if isinstance(element, BadElement) else _encode(element.fields)
    headers = told_undone(body.headers)
    return QuarantinedBody(
        _received_at_us(body), body.account, _format(body, message), error.reason, str(error), headers, text
    )


def _delivery_id(body: WholeBody) -> str:
    """Derive an id from what makes the row unique, so that it is the same at every replay."""
    return sha256(f"quarantine\0{body.account}\0".encode() + body.body).hexdigest()[:32]


def _format(body: WholeBody, message: Message) -> str:
    """Name the format as it came: elements of an array are kept as JSON, whatever the whole was.

    Of a body that nobody could inflate nobody knew it.
    """
    return body.format if message.format == "json" and not is_encoded(body.headers) else message.format


def _received_at_us(body: WholeBody) -> int:
    return (body.received_at - _EPOCH) // timedelta(microseconds=1)


def _jobs(deliveries: list[Delivery]) -> list[NewJob]:
    batches = [deliveries[start : start + CDRS_A_JOB] for start in range(0, len(deliveries), CDRS_A_JOB)]
    return [NewJob(CDRS, LOAD_CDRS, (batch,), f"load {len(batch)}, from quarantine") for batch in batches]
