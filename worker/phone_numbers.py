"""What a caller or target field holds: an E.164 number with its country and kind, an extension, a short code."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from worker.numbering_plans import Number, is_short_code, read_international, read_national


class PhoneNumber(NamedTuple):
    """A field's value, described.

    `e164` is + and 5 to 15 digits, None for what is no public number. `country_code` is ISO 3166 alpha-2, None
    where a number belongs to no single country (+800, satellite, an invalid number of a code that many share, as
    +1). `kind` is mobile, fixed, voip, toll_free, shared_cost, premium, short_code, extension, hidden or
    unknown; None for an empty field. Where mobile and fixed numbers share a plan (United States) it is unknown.
    """

    e164: str | None
    country_code: str | None
    kind: str | None


_NOTHING = PhoneNumber(None, None, None)
_UNKNOWN = PhoneNumber(None, None, "unknown")
_HIDDEN = PhoneNumber(None, None, "hidden")
_EXTENSION = PhoneNumber(None, None, "extension")
_SHORT_CODE = PhoneNumber(None, None, "short_code")

# What networks, switches and phones write in place of a number, letters only; the Hebrew words say hidden, blocked,
# concealed, private, anonymous, not identified, not known and not available (of a number or a call), without a
# number and without identification.
_HIDDEN_TEXT = re.compile(
    r"(?:anonymous|blocked|hidden|private|restricted|unavailable|unknown|withheld)(?:caller|call|number|id)?"
    r"|(?:caller|number)(?:blocked|hidden|unavailable|unknown|withheld)|no(?:callerid|cli|id|number)|notavailable|outofarea"
    r"|(?:מספר|שיחה)?(?:חסויה?|חסום|חסומה|מוסתרת?|פרטית?|אנונימית?|לא(?:ידועה?|מזוהה|זמין|זמינה))|ללא(?:מספר|זיהוי)"
)
# ANONYMOUS on a telephone keypad, which some networks send as if it were a number.
_ANONYMOUS_IN_DIGITS = "266696687"

# Of these codes others than the main country have a few ranges, all of them known: what is not valid is none of theirs.
# Under +1 Canada is no smaller part than the United States.
_MAIN_COUNTRIES = {"39": "IT", "44": "GB", "61": "AU"}

_LONGEST_TEXT = 64
_LONGEST_SHORT_CODE = 6
_CUT = re.compile(r"[,;/]")
_AROUND_SIP_USER = re.compile(r".*<|sips?:|[@>].*", re.DOTALL)
_NOT_DIALED = re.compile(r"[^0-9+*#]")
_DIALED = re.compile(r"\+*[0-9]+")
# Some phones end what was dialed with the key #; what was keyed in after it is an extension.
_ENDED = re.compile(r"(\+*[0-9]+)#+[0-9]*")
_E164_LENGTHS = range(5, 16)


def describe_number(sent: str | None, region: str) -> PhoneNumber:
    """Describe a number as sent; `region` (ISO alpha-2) is where a number without a country belongs.

    Only the first 64 characters count. Never raises: what is no number has e164 None and a kind that says why.
    """
    # The cut comes before the cache, which would keep texts of any length otherwise.
    return _describe(sent.strip()[:_LONGEST_TEXT], region) if sent else _NOTHING


# Four times as many find 3 % more of simulated numbers again, and take 20 MB more (docs/performance.md).
@lru_cache(maxsize=16_384)
def _describe(text: str, region: str) -> PhoneNumber:
    if _DIALED.fullmatch(text):
        return _describe_digits(text, region)
    text = _CUT.split(_in_ascii_digits(text), maxsplit=1)[0].strip()
    if not text:
        return _NOTHING
    # The library would read letters as keypad digits, and an address's host as more of the number.
    if any(map(str.isalpha, text)):
        return _HIDDEN if _is_hidden(text) else _EXTENSION
    if "@" in text:
        return _EXTENSION
    # Before the bracket stands the caller's name, as in "100" <0722776772>.
    return _describe_dialed(_NOT_DIALED.sub("", text.rpartition("<")[2]), region)


def _in_ascii_digits(text: str) -> str:
    """Turn digits of any alphabet and full-width signs into ASCII, and drop invisible marks of direction."""
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else char
        for char in unicodedata.normalize("NFKC", text)
        if unicodedata.category(char) != "Cf"
    )


def _is_hidden(text: str) -> bool:
    user = _AROUND_SIP_USER.sub("", text.casefold())
    return _HIDDEN_TEXT.fullmatch("".join(filter(str.isalpha, user))) is not None


def _describe_dialed(dialed: str, region: str) -> PhoneNumber:
    if "*" in dialed or "#" in dialed:
        ended = _ENDED.fullmatch(dialed)
        if not ended:
            return _SHORT_CODE if any(map(str.isdigit, dialed)) else _UNKNOWN
        dialed = ended[1]
    return _describe_digits(dialed, region) if _DIALED.fullmatch(dialed) else _UNKNOWN


def _describe_digits(dialed: str, region: str) -> PhoneNumber:
    digits = dialed.lstrip("+").removeprefix("00")
    if digits == _ANONYMOUS_IN_DIGITS:
        return _HIDDEN
    if digits != dialed:
        return _describe_international(digits)
    if _is_short_code(digits, region):
        return _SHORT_CODE
    return _describe_bare(digits, region)


def _is_short_code(digits: str, region: str) -> bool:
    if len(digits) > _LONGEST_SHORT_CODE:
        return False
    return (len(digits) == 3 and digits.startswith("1")) or is_short_code(digits, region)


def _describe_international(digits: str) -> PhoneNumber:
    number = read_international(digits)
    return _described(number, *number.locate()) if number and number.is_possible else _UNKNOWN


def _describe_bare(digits: str, region: str) -> PhoneNumber:
    """Read digits that name no country: valid at home, valid abroad, or at least possible at home."""
    at_home = read_national(digits, region)
    valid = _described_if_valid(at_home) or _described_if_valid(read_international(digits))
    if valid:
        return valid
    if at_home and at_home.is_possible and _looks_like_home(at_home, digits, region):
        return _described(at_home, at_home.locate()[0] or region, None)
    return _UNKNOWN


def _described_if_valid(number: Number | None) -> PhoneNumber | None:
    # What can be dialed only from within its own area is valid to the library, but it is no E.164.
    if number is None or not number.is_possible:
        return None
    country, kind = number.locate()
    return _described(number, country, kind) if kind else None


def _looks_like_home(number: Number, digits: str, region: str) -> bool:
    # "Possible" is a matter of length, which many a foreign number has too: so the trunk prefix or the
    # country code must have been dialed, or the length be that of a mobile.
    return number.may_be_of(region) and (number.national != digits or number.is_as_long_as_a_mobile)


def _described(number: Number, country: str | None, kind: str | None) -> PhoneNumber:
    """Write a number down as it was located; its kind is None exactly when it is not valid."""
    digits = number.calling_code + number.national
    # An invalid number of many zeros may lose one each time it is read: such a text names no number.
    is_unstable = kind is None and read_international(digits) != number
    if is_unstable or len(digits) not in _E164_LENGTHS:
        return _UNKNOWN
    return PhoneNumber(f"+{digits}", country or _MAIN_COUNTRIES.get(number.calling_code), kind or "unknown")
