"""The posts of a seed: simulated calls in every format, arrays, second deliveries that say more, less or other things."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cdr.simulate.bodies import FORMATS, Body, BodyFormat, array_body, encode_body, odd_body
from cdr.simulate.calls import CallFactory
from cdr.simulate.recordings import is_late
from oracle.ledger import Identity, Post, Sent

ACCOUNTS = ("default", "north")
# The specification sends these in the JSON CDR alone.
JSON_ONLY = frozenset({"seconds_waiting_in_queue", "OriginalivrUniqueID"})
# What a second delivery may have more than the first, or less.
CHANGING = ("record", "aiData", "price", "representative_name", "queuename", "caller_country", "DepartmentName")
ARRAY_SHARE, REPEAT_SHARE, OTHER_ACCOUNT_SHARE, TWICE_SHARE, NO_CDR_SHARE = 0.06, 0.08, 0.02, 0.01, 0.01
RECORDED_SHARE = 0.2
LONGEST_ARRAY = 12
# A second delivery comes so many posts behind the first.
REPEAT_AFTER = (1, 300)


class Traffic:
    """An endless stream of posts, the same for the same seed.

    `mark` ends every call id, so that a round's CDRs are told from those of others. `recordings_base` is the address
    before each recording's name; `recorded_share` of the CDRs that could have one do.
    """

    def __init__(self, seed: int, mark: str, recordings_base: str, recorded_share: float = RECORDED_SHARE) -> None:
        self._rng = random.Random(f"traffic {seed}")
        self._mark = mark
        self._base = recordings_base
        self._recorded_share = recorded_share
        self._calls = CallFactory(seed, recordings_base=recordings_base)
        self._waiting: list[tuple[int, Post]] = []
        self._number = 0

    def __iter__(self) -> Iterator[Post]:
        """Go on with the stream where it is."""
        return self

    def __next__(self) -> Post:
        """Make the next post."""
        self._number += 1
        due = next((item for item in self._waiting if item[0] <= self._number), None)
        if due is not None:
            self._waiting.remove(due)
            return due[1]
        if self._rng.random() < NO_CDR_SHARE:
            return self._no_cdr()
        return self._first_delivery(self._next_cdrs())

    def fresh(self) -> Post:
        """Make a plain post of one CDR that was not sent before."""
        return self._post(ACCOUNTS[0], self._next_cdrs()[:1], "json")

    def array(self, cdrs: int) -> Post:
        """Make one array of so many CDRs that were not sent before."""
        batch: list[dict[str, Any]] = []
        while len(batch) < cdrs:
            batch += self._next_cdrs()
        return self._post(ACCOUNTS[0], batch[:cdrs], "json")

    def _next_cdrs(self) -> list[dict[str, Any]]:
        """Make the CDRs of a call, and sometimes of several."""
        cdrs = self._next_call()
        if self._rng.random() < ARRAY_SHARE:
            for _ in range(self._rng.randrange(LONGEST_ARRAY)):
                cdrs += self._next_call()
        return cdrs

    def _next_call(self) -> list[dict[str, Any]]:
        return [self._marked(fields) for fields in next(self._calls)]

    def _marked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        marked = {**fields, "ivruniqueid": f"{fields['ivruniqueid']}{self._mark}"}
        if "OriginalivrUniqueID" in marked:
            marked["OriginalivrUniqueID"] += self._mark
        if marked["record"]:
            marked["record"] = self._on_time(marked["record"]) if self._rng.random() < self._recorded_share else ""
        return marked

    def _on_time(self, url: str) -> str:
        """Choose a name for a recording that is there when it is first asked for: a round should settle in seconds."""
        # The mark is in the name because the part before it comes again in another round of the same seed.
        name = url.removeprefix(self._base).removesuffix(".mp3") + self._mark
        while is_late(f"{name}.mp3"):
            name += "0"
        return f"{self._base}{name}.mp3"

    def _first_delivery(self, cdrs: list[dict[str, Any]]) -> Post:
        """Post CDRs, and put what is to follow in the waiting line; several become an array or wait for their turn."""
        account = ACCOUNTS[self._rng.random() < 0.2]
        if len(cdrs) > 1 and self._rng.random() < 0.5:
            return self._post(account, self._twice(cdrs), "json")
        for behind, fields in enumerate(cdrs[1:], 1):
            self._later(behind, account, fields)
        fields = cdrs[0]
        if self._rng.random() < OTHER_ACCOUNT_SHARE:
            self._later(self._rng.randint(*REPEAT_AFTER), ACCOUNTS[account == ACCOUNTS[0]], fields)
        if self._rng.random() < REPEAT_SHARE:
            fields, second = self._two_versions(fields)
            self._later(self._rng.randint(*REPEAT_AFTER), account, second)
        return self._post(account, self._twice([fields]), None)

    def _later(self, behind: int, account: str, fields: dict[str, Any]) -> None:
        self._waiting.append((self._number + behind, self._post(account, [fields], None)))

    def _twice(self, cdrs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Now and then put a CDR twice into one array."""
        return [*cdrs, cdrs[0]] if self._rng.random() < TWICE_SHARE else cdrs

    def _two_versions(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return two deliveries of a CDR: the second says the same, more, less or something else."""
        kind = self._rng.choice(("same", "more", "less", "other"))
        if kind == "same":
            return fields, fields
        if kind == "other":
            return fields, {**fields, "representative_name": "אחר / another", "price": 91}
        some = set(self._rng.sample(CHANGING, 4))
        less = {
            name: "" if name == "record" else value
            for name, value in fields.items()
            if name not in some or name == "record"
        }
        return (less, fields) if kind == "more" else (fields, less)

    def _post(self, account: str, cdrs: Sequence[dict[str, Any]], body_format: BodyFormat | None) -> Post:
        chosen: BodyFormat = body_format if body_format is not None else self._rng.choice(FORMATS)
        if len(cdrs) > 1:
            chosen = "json"
        body = self._encode(cdrs, chosen)
        sent = tuple(Sent(identify(account, fields), carried(fields, chosen)) for fields in cdrs)
        return Post(account, body.data, body.content_type, sent)

    def _encode(self, cdrs: Sequence[dict[str, Any]], body_format: BodyFormat) -> Body:
        if len(cdrs) > 1:
            return array_body(cdrs)
        if self._rng.random() < 0.1:
            return odd_body(self._rng, cdrs[0], body_format)
        return encode_body(cdrs[0], body_format)

    def _no_cdr(self) -> Post:
        """Make a body that cannot be read, and that no other post has."""
        text = f'{{"ivruniqueid": "torn-{self._number}{self._mark}", "caller": '
        return Post(ACCOUNTS[0], text.encode(), "application/json", ())


def identify(account: str, fields: Mapping[str, Any]) -> Identity:
    """Read the identity of a CDR from the fields that were sent."""
    return Identity(
        account,
        fields["ivruniqueid"].strip(),
        "".join(fields["type"].split()).casefold(),
        fields["time"],
        fields["callerextension"].strip(),
        fields["targetextension"].strip(),
    )


def carried(fields: Mapping[str, Any], body_format: BodyFormat) -> dict[str, Any]:
    """Return what of a CDR a format carries: the text formats lack two fields, and cannot say null."""
    if body_format == "json":
        return dict(fields)
    return {name: value for name, value in fields.items() if name not in JSON_ONLY and value is not None}
