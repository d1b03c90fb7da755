"""A batch is read at once as the deliveries that it holds, and says the same as when it is read with care."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.exceptions import DeserializationError

from common.delivery import Delivery
from common.job_queue import KEEP_BODIES, LOAD_CDRS, CdrJob, JobSerializer

GOOD = ["0" * 32, 0, 7, "acme", "json", {"ivruniqueid": "c", "price": Decimal("7.10"), "time": 10**30}, ["a note"]]
# What another may have put in place of a part of a delivery.
PARTS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2)
    | st.text()
)
ITEMS = st.just(GOOD) | st.builds(
    lambda place, part: [*GOOD[:place], part, *GOOD[place + 1 :]], st.integers(0, len(GOOD)), PARTS | st.just({})
)


def args_of(call: Any) -> Any:
    job = CdrJob("a", connection=object())
    job.data = call if isinstance(call, bytes) else JobSerializer.dumps(call)
    return job.args


def converted(batch: Any) -> Any:
    try:
        return msgspec.convert(batch, list[Delivery], strict=True)
    except msgspec.ValidationError:
        return "refused"


def test_a_batch_of_deliveries_is_read_as_what_it_is() -> None:
    version, batch = args_of([LOAD_CDRS, None, [1, [GOOD]], {}])
    assert (version, batch) == (1, [Delivery(*GOOD[:6], ("a note",))])
    assert str(batch[0].fields["price"]) == "7.10"


@given(st.lists(ITEMS, max_size=3))
def test_a_batch_says_the_same_however_it_is_read(batch: list[Any]) -> None:
    plain = JobSerializer.loads(JobSerializer.dumps(batch))
    assert converted(args_of([LOAD_CDRS, None, [1, batch], {}])[1]) == converted(plain)


@pytest.mark.parametrize(
    "call",
    [
        [KEEP_BODIES, None, [1, [GOOD]], {}],
        [LOAD_CDRS, None, [1, [GOOD, "none of ours"]], {}],
        [LOAD_CDRS, None, ["1", [GOOD]], {}],
        [LOAD_CDRS, None, [1, [GOOD], "more"], {}],
    ],
)
def test_what_is_no_batch_of_deliveries_is_read_as_it_stands(call: list[Any]) -> None:
    assert args_of(call) == call[2]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b'["worker.jobs.load_cdrs",null,[1,[1e99999999999999999999]],{}]']
)
def test_what_cannot_be_decoded_is_refused_as_rq_does(data: bytes) -> None:
    with pytest.raises(DeserializationError):
        args_of(data)
