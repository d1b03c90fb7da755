"""What a body may hold, so that no sender can spend our memory or seconds of our processor."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

from common.errors import Unreadable

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 10_000
MAX_FIELDS: Final = 2_000
# Bounds what a body unfolds to: a value costs up to 0.5 us and 200 bytes, where it has to be mended three times that.
# An array of 10,000 CDRs has some 300,000 values; so has a transcript of 10 MB.
MAX_VALUES: Final = 1_000_000
MAX_MENDED_VALUES: Final = 500_000
MAX_TAGS: Final = 500_000

_OUTSIDE_QUOTES = re.compile(rb'"[^"]*+"?')
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_OPENING = bytes(set(range(256)) - set(b"[{"))
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[{]}'))


def check_json_shape(body: bytes, max_values: int = MAX_VALUES) -> None:
    """Refuse JSON that nests too deep or holds too many values, before anything parses it.

    `body` is in an encoding that contains ASCII. Raise `Unreadable`. The cost is linear and tiny: only a body
    with more brackets than `MAX_DEPTH` is looked at closely.
    """
    brackets = len(body.translate(None, _NOT_OPENING))
    if len(body) > max_values and brackets + body.count(b",") > max_values:
        raise Unreadable(f"more than {max_values:,} values in one body")
    if brackets > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise Unreadable(f"JSON nested more than {MAX_DEPTH} deep")


def _depth(body: bytes) -> int:
    # Whole-body replacements run at memory speed, where a scanner in Python would take seconds. With escapes gone
    # every quote opens or closes a string; two quotes that meet change nothing for the brackets around them.
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    skeleton = plain.translate(_STEPS, _NOT_STRUCTURE).replace(b'""', b"")
    steps = memoryview(_OUTSIDE_QUOTES.sub(b"", skeleton)).cast("b")
    return max(accumulate(steps), default=0)
