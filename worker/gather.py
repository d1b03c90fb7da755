"""Makes records of deliveries: each is enriched by itself, then those of one CDR are put together.

A delivery that breaks the stages stops nobody else.
"""

from __future__ import annotations

from typing import NamedTuple

from common.cdr import Cdr
from common.delivery import Delivery
from common.errors import CdrError
from worker.bisection import Failed
from worker.merge_deliveries import in_order
from worker.pipeline import Knowledge, enrich
from worker.rows import Key, identify


class Record(NamedTuple):
    """One CDR of a batch: what its deliveries, in order, say together, and every recording address that one of them gives."""

    key: Key
    cdr: Cdr
    deliveries: list[Delivery]
    addresses: frozenset[str]


class Gathered(NamedTuple):
    """The records of a batch, and the deliveries that break the stages."""

    records: list[Record]
    refused: list[Failed]


def gather(deliveries: list[Delivery], knowledge: Knowledge) -> Gathered:
    """Enrich all deliveries and put those of one CDR together."""
    by_key: dict[Key, list[tuple[Cdr, Delivery]]] = {}
    records, refused = [], []
    for delivery in deliveries:
        try:
            cdr = enrich([delivery], knowledge)
        except CdrError as error:
            refused.append(Failed([delivery], error))
            continue
        by_key.setdefault(identify(cdr), []).append((cdr, delivery))
    for key, pairs in by_key.items():
        try:
            records.append(_put_together(key, pairs, knowledge))
        except CdrError as error:
            refused.append(Failed([delivery for _, delivery in pairs], error))
    return Gathered(records, refused)


def _put_together(key: Key, pairs: list[tuple[Cdr, Delivery]], knowledge: Knowledge) -> Record:
    addresses = frozenset(cdr.recording_url for cdr, _ in pairs if cdr.recording_url)
    if len(pairs) == 1:
        ((cdr, delivery),) = pairs
        return Record(key, cdr, [delivery], addresses)
    # A job that was put in the queue twice brings the same deliveries twice.
    ordered = in_order(list({(delivery.delivery_id, delivery.place): delivery for _, delivery in pairs}.values()))
    return Record(key, enrich(ordered, knowledge), ordered, addresses)
