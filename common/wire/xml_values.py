"""The text of an XML-RPC scalar to its value; what is not what its type says stays as its text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from common.delivery import WireValue
from common.wire.numbers import fraction, whole_number

_WHOLE_NUMBER = re.compile(r"\s*+[+-]?(?:0|[1-9][0-9]*+)\s*+")
_FRACTION = re.compile(r"\s*+[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?\s*+")
# Most numbers are a few digits, which need no closer look.
_SHORT: Final = 19
_BOOLEANS: Final[dict[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


def _int(text: str) -> WireValue:
    if text.isdecimal() and text.isascii() and len(text) < _SHORT and text[0] != "0":
        return int(text)
    # A leading zero means a telephone number, which is none without it.
    return whole_number(text.strip()) if _WHOLE_NUMBER.fullmatch(text) else text


def _double(text: str) -> WireValue:
    return fraction(text.strip()) if _FRACTION.fullmatch(text) else text


def _boolean(text: str) -> WireValue:
    return _BOOLEANS.get(text.strip().lower(), text)


SCALARS: Final[dict[str, Callable[[str], WireValue]]] = {
    "double": _double,
    "boolean": _boolean,
    **dict.fromkeys(("int", "i1", "i2", "i4", "i8", "biginteger"), _int),
}
