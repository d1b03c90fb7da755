"""Numbers as they were written: exact, and never larger than PostgreSQL and Python can carry."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

# Python converts at most 4,300 digits from or to text, and slowly; no number in a CDR comes near this.
MAX_DIGITS: Final = 400
MAX_EXPONENT: Final = 300


def whole_number(text: str) -> int | str:
    """Turn the digits of a whole number into an int, or keep the text when there are more than `MAX_DIGITS`."""
    return text if len(text.lstrip("+-")) > MAX_DIGITS else int(text)


def fraction(text: str) -> Decimal | str:
    """Turn a number with a point or an exponent into a Decimal that keeps its digits.

    Keep the text when it has more than `MAX_DIGITS` digits, or is beyond 10 to the plus or minus `MAX_EXPONENT`.
    """
    if len(text) > MAX_DIGITS and len(text) - sum(map(text.count, "+-.eE")) > MAX_DIGITS:
        return text
    try:
        number = Decimal(text)
    except ArithmeticError:
        # An exponent of twenty digits is too much even for Decimal.
        return text
    return number if abs(number.adjusted()) <= MAX_EXPONENT else text
