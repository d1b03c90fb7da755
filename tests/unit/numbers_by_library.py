"""Digits as `phonenumbers` itself reads them: what worker/numbering_plans.py has to agree with."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

KINDS = {
    PhoneNumberType.UNKNOWN: None,
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PREMIUM_RATE: "premium",
}


class Read(NamedTuple):
    """What the library says of digits; `kind` is None for a number that is not valid."""

    e164: str
    national: str
    region: str | None
    kind: str | None
    is_possible: bool
    is_as_long_as_a_mobile: bool


def read_by_library(dialed: str, region: str | None) -> Read | None:
    """Read digits, behind a plus where `region` is None; None where the library refuses them."""
    number = _parse(dialed, region)
    if number is None:
        return None
    located = phonenumbers.region_code_for_number(number)
    reason = phonenumbers.is_possible_number_with_reason(number)
    return Read(
        e164=phonenumbers.format_number(number, PhoneNumberFormat.E164),
        national=phonenumbers.national_significant_number(number),
        region=None if located == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else located,
        kind=KINDS.get(phonenumbers.number_type(number), "unknown"),
        is_possible=reason == phonenumbers.ValidationResult.IS_POSSIBLE,
        is_as_long_as_a_mobile=phonenumbers.is_possible_number_for_type(number, PhoneNumberType.MOBILE),
    )


def is_short_by_library(dialed: str, region: str) -> bool:
    """Tell whether digits are one of a region's codes of a few digits."""
    number = _parse(dialed, region)
    return number is not None and phonenumbers.is_valid_short_number_for_region(number, region)


def _parse(dialed: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(dialed, region)
    except phonenumbers.NumberParseException:
        return None
