"""What a body may hold, so that no sender can spend our memory or seconds of our processor."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

from common.errors import Unreadable

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 10_000
MAX_FIELDS: Final = 2_000
# Bounds what a body of 32 MB unfolds to in memory: some 64 to 200 bytes a value.
MAX_VALUES: Final = 2_000_000

_OUTSIDE_QUOTES = re.compile(rb'"[^"]*+"?')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[{]}'))


def check_json_shape(body: bytes) -> None:
    """Refuse JSON that nests too deep or holds too many values, before anything parses it.

    `body` is in an encoding that contains ASCII. Raise `Unreadable`. The cost is linear and tiny: only a body
    with more brackets than `MAX_DEPTH` is looked at closely.
    """
    brackets = body.count(b"[") + body.count(b"{")
    if len(body) > MAX_VALUES and brackets + body.count(b",") > MAX_VALUES:
        raise Unreadable(f"more than {MAX_VALUES:,} values in one body")
    if brackets > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise Unreadable(f"JSON nested more than {MAX_DEPTH} deep")


def _depth(body: bytes) -> int:
    # Whole-body replacements run at memory speed, where a scanner in Python would take seconds. With escapes gone
    # every quote opens or closes a string; two quotes that meet change nothing for the brackets around them.
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    skeleton = plain.translate(_STEPS, _NOT_STRUCTURE).replace(b'""', b"")
    steps = memoryview(_OUTSIDE_QUOTES.sub(b"", skeleton)).cast("b")
    return max(accumulate(steps), default=0)
