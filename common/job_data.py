"""A job's data, which is a call: how it is written, and how it is read back.

RQ's form is kept: a list of the function's dotted name, null, the arguments and an object. Our first argument is the
payload's version.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from common.delivery import Delivery

LOAD_CDRS: Literal["worker.jobs.load_cdrs"] = "worker.jobs.load_cdrs"
_ZLIB_MARK = b"x"

# A call of LOAD_CDRS whose items all are deliveries.
_Load: TypeAlias = tuple[Literal["worker.jobs.load_cdrs"], None, tuple[int, list[Delivery]], dict[str, Any]]


class JobSerializer:
    """JSON for RQ, numbers kept to the digit; never pickle."""

    _encoder = msgspec.json.Encoder(decimal_format="number")
    _decoder = msgspec.json.Decoder(float_hook=Decimal)

    @classmethod
    def dumps(cls, value: Any) -> bytes:
        """Encode a job's data, meta or result."""
        return cls._encoder.encode(value)

    @classmethod
    def loads(cls, data: bytes) -> Any:
        """Decode what `dumps` wrote; raises for anything that is not JSON, a pickle among them."""
        return cls._decoder.decode(data)


_LOADS: msgspec.json.Decoder[_Load] = msgspec.json.Decoder(_Load, float_hook=Decimal)


def read_load(data: bytes) -> _Load | None:
    """Return the call of a job that loads deliveries, without lists in between; None for what is anything else.

    Takes the data as JSON. What `JobSerializer` makes of it says the same.
    """
    with suppress(ArithmeticError, RecursionError, ValueError):
        return _LOADS.decode(data)
    return None


def read_call(data: bytes) -> tuple[str, list[Any]]:
    """Return the function that a job's data names and its arguments, the payload version first.

    Takes what Redis holds in the field `data`; raises ValueError for what none of us wrote.
    """
    try:
        call = JobSerializer.loads(zlib.decompress(data) if data[:1] == _ZLIB_MARK else data)
        function, _instance, arguments, _options = call
        return str(function), list(arguments)
    except (zlib.error, TypeError, RecursionError) as error:
        raise ValueError(f"not the data of a job of ours: {error}") from error
