"""Numbering plans: which digits are a number of which country, and of which kind.

The only owner of `phonenumbers`. Of it the metadata alone is used, region by region, when first needed: its parser takes
apart any text, which costs many times as much as digits need. What is read here is what it reads, number by number, and
tests/unit/test_numbering_plans.py compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, cached_property
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, REGION_CODE_FOR_NON_GEO_ENTITY, SUPPORTED_REGIONS
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

# The regions of each calling code, the main one first; that of a code without any (+800) is called 001.
_REGIONS = {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}
_LONGEST_CALLING_CODE = 3
_SHORTEST_NATIONAL, _LONGEST_NATIONAL = 2, 17

_Fits = Callable[[str], re.Match[str] | None]


class Number(NamedTuple):
    """A number in full, valid or not: calling code (1 to 3 digits) and national number (2 to 17 digits)."""

    calling_code: str
    national: str

    @property
    def is_possible(self) -> bool:
        """Whether the calling code has numbers of this length that can be dialed from everywhere."""
        return len(self.national) in _main_plan(self.calling_code).lengths

    @property
    def is_as_long_as_a_mobile(self) -> bool:
        """Whether the calling code has mobile numbers of this length."""
        return len(self.national) in _main_plan(self.calling_code).mobile_lengths

    def may_be_of(self, region: str) -> bool:
        """Tell whether the calling code is the region's."""
        return region in _REGIONS[self.calling_code]

    def locate(self) -> tuple[str | None, str | None]:
        """Return the region (ISO 3166 alpha-2) and the kind.

        The region is None for a number that belongs to none, or an invalid one of a code that many share. The kind is
        one that describe_number has for public numbers, None for what is not valid.
        """
        regions = _REGIONS[self.calling_code]
        if len(regions) == 1:
            plan = _main_plan(self.calling_code)
            return plan.region, plan.kind_of(self.national)
        for plan in map(_plan_of, regions):
            if plan.leading_digits is None:
                if kind := plan.kind_of(self.national):
                    return plan.region, kind
            elif plan.leading_digits.match(self.national):
                return plan.region, plan.kind_of(self.national)
        return None, None


def is_known_region(region: str) -> bool:
    """Tell whether an ISO 3166 code names a region with a numbering plan."""
    return region in SUPPORTED_REGIONS


def read_international(digits: str) -> Number | None:
    """Read ASCII digits that begin with a calling code; None where they do not, or are too few or too many."""
    for length in range(1, _LONGEST_CALLING_CODE + 1):
        if digits[:length] in _REGIONS:
            return _number(_main_plan(digits[:length]), digits[length:])
    return None


def read_national(digits: str, region: str) -> Number | None:
    """Read ASCII digits as they are dialed in a region: a number at home, or one behind the prefix for going abroad.

    The region's own calling code may stand before a number at home. None where the region is not known, or the digits
    are too few or too many.
    """
    if not is_known_region(region):
        return None
    home = _plan_of(region)
    abroad = home.international_prefix.match(digits) if home.international_prefix else None
    # No calling code begins with 0.
    if abroad and not digits.startswith("0", abroad.end()):
        return read_international(digits[abroad.end() :])
    if digits.startswith(home.calling_code):
        national = home.without_trunk_prefix(digits[len(home.calling_code) :])
        if (home.fits(national) and not home.fits(digits)) or home.is_too_long(digits):
            return _number(_main_plan(home.calling_code), national)
    return _number(home, digits)


def is_short_code(digits: str, region: str) -> bool:
    """Tell whether ASCII digits are a region's code of a few digits: for emergencies, information and the like."""
    number = read_national(digits, region)
    metadata = PhoneMetadata.short_metadata_for_region(region)
    if number is None or metadata is None or not number.may_be_of(region):
        return False
    return all(
        len(number.national) in desc.possible_length and _fits(desc)(number.national)
        for desc in (metadata.general_desc, metadata.short_code)
        if desc is not None
    )


class _Plan:
    """The numbering plan of a region, or of a calling code that belongs to none: then `region` is None."""

    def __init__(self, metadata: PhoneMetadata | None) -> None:
        # The library has both for each region that it names.
        assert metadata is not None
        assert metadata.general_desc is not None
        self.region = None if metadata.id == REGION_CODE_FOR_NON_GEO_ENTITY else metadata.id
        self.calling_code = str(metadata.country_code)
        self.lengths = metadata.general_desc.possible_length
        self.fits = _fits(metadata.general_desc)
        self.international_prefix = _pattern(metadata.international_prefix)
        self.leading_digits = _pattern(metadata.leading_digits)
        self._trunk_prefix = _pattern(metadata.national_prefix_for_parsing)
        self._trunk_replacement = metadata.national_prefix_transform_rule
        self._metadata = metadata

    @cached_property
    def mobile_lengths(self) -> tuple[int, ...]:
        """How many digits mobile numbers have."""
        mobile = self._metadata.mobile
        return (*mobile.possible_length, *mobile.possible_length_local_only) if mobile else ()

    def is_too_long(self, national: str) -> bool:
        """Tell whether all numbers of the plan are shorter."""
        return len(national) > self.lengths[-1]

    def without_trunk_prefix(self, national: str) -> str:
        """Take off what is dialed before a number at home, such as 0; some plans put something else in its place."""
        prefix = self._trunk_prefix.match(national) if self._trunk_prefix else None
        if prefix is None:
            return national
        stripped = national[prefix.end() :]
        # Where the last group has nothing there is nothing to put in place.
        if self._trunk_replacement and prefix[prefix.re.groups] is not None:
            stripped = prefix.expand(self._trunk_replacement) + stripped
        # A number may begin like the prefix by chance.
        return national if not self.fits(stripped) and self.fits(national) else stripped

    def kind_of(self, national: str) -> str | None:
        """Return the kind of a valid number, unknown where the plan does not tell it; None for what is not valid."""
        kinds = self._kinds.get(len(national))
        if not kinds or not self.fits(national):
            return None
        for fits, kind in kinds:
            if fits(national):
                # Mobile numbers come last.
                is_both = kind == "fixed" and kinds[-1][1] == "mobile" and kinds[-1][0](national)
                return "unknown" if is_both else kind
        return None

    @cached_property
    def _kinds(self) -> dict[int, list[tuple[_Fits, str]]]:
        """The kinds of numbers by how many digits they have, the first that fits before others."""
        plan = self._metadata
        descs = [
            (plan.premium_rate, "premium"),
            (plan.toll_free, "toll_free"),
            (plan.shared_cost, "shared_cost"),
            (plan.voip, "voip"),
            (plan.personal_number, "unknown"),
            (plan.pager, "unknown"),
            (plan.uan, "unknown"),
            (plan.voicemail, "unknown"),
            (plan.fixed_line, "fixed"),
            (plan.mobile, "mobile"),
        ]
        kinds = [(desc.possible_length, _fits(desc), kind) for desc, kind in descs if desc]
        return {length: [(fits, kind) for lengths, fits, kind in kinds if length in lengths] for length in self.lengths}


def _number(plan: _Plan, national: str) -> Number | None:
    if len(national) < _SHORTEST_NATIONAL:
        return None
    stripped = plan.without_trunk_prefix(national)
    # Where too little would be left, the digits of the prefix are the number's own.
    if len(stripped) in plan.lengths or plan.is_too_long(stripped):
        national = stripped
    return Number(plan.calling_code, national) if len(national) <= _LONGEST_NATIONAL else None


@cache
def _main_plan(calling_code: str) -> _Plan:
    region = _REGIONS[calling_code][0]
    return _Plan(PhoneMetadata.metadata_for_region_or_calling_code(int(calling_code), region))


@cache
def _plan_of(region: str) -> _Plan:
    return _Plan(PhoneMetadata.metadata_for_region(region))


def _pattern(expression: str | None) -> re.Pattern[str] | None:
    return re.compile(expression) if expression else None


def _fits(desc: PhoneNumberDesc) -> _Fits:
    return re.compile(desc.national_number_pattern or "").fullmatch
