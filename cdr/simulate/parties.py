"""The people outside who call and are called: invented numbers in every shape that the provider sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdr.simulate.draws import Weighted

if TYPE_CHECKING:
    import random


class Party(NamedTuple):
    """One end of a call: its number as the provider writes it, and the country that the provider names."""

    number: str
    country: str


# Numbers kept for examples and plays by the numbering authorities; Israel keeps none, so its numbers
# here are those with 555 behind the prefix.
_FOREIGN = Weighted(
    {
        ("1202555014", "United States"): 4,
        ("44207946095", "United Kingdom"): 4,
        ("3319900123", "France"): 3,
        ("49302312500", "Germany"): 2,
        ("6149157015", "Australia"): 1,
        ("4021555012", "Romania"): 1,
        ("3906555012", "Italy"): 1,
    }
)
_PREFIXES = Weighted(
    {"050": 16, "052": 18, "053": 7, "054": 18, "055": 3, "058": 8, "02": 5, "03": 9, "04": 5, "08": 4, "09": 4}
    | {"077": 3, "072": 2, "074": 1}
)
_SHORT = ("*1234", "*2780", "100", "106", "144", "1700555012", "1800555019")
# The first two are the specification's own examples, which no number library calls valid.
_EXAMPLES = ("0540000000", "0500000000", "0544444444", "0546666666")
_HIDDEN = ("", "anonymous", "Anonymous", "Restricted")
_CALLER_KINDS = Weighted({"israeli": 88, "foreign": 5, "hidden": 4, "example": 2, "short": 1})
_TARGET_KINDS = Weighted({"israeli": 90, "foreign": 6, "short": 3, "example": 1})
_SHAPES = Weighted({"national": 90, "international": 7, "plus": 3})
_TARGET_SHAPES = Weighted({"international": 85, "national": 10, "plus": 5})


def draw_caller(rng: random.Random) -> Party:
    """Draw who calls in: mostly an Israeli number in its national form."""
    return _draw(rng, _CALLER_KINDS.draw(rng), _SHAPES.draw(rng))


def draw_target(rng: random.Random) -> Party:
    """Draw who is called: mostly an Israeli number behind its country's prefix, as the specification says."""
    return _draw(rng, _TARGET_KINDS.draw(rng), _TARGET_SHAPES.draw(rng))


def own_number(rng: random.Random, did: str) -> Party:
    """Write one of the organisation's own numbers as the target or caller of a call."""
    return Party(shape_number(did, _TARGET_SHAPES.draw(rng)), "Israel")


def shape_number(number: str, shape: str) -> str:
    """Write an Israeli number as `national`, `international` (no plus) or `plus`; one without a zero stays."""
    if shape == "national" or not number.startswith("0"):
        return number
    return f"{'+' if shape == 'plus' else ''}972{number[1:]}"


def _draw(rng: random.Random, kind: str, shape: str) -> Party:
    if kind == "israeli":
        return Party(shape_number(f"{_PREFIXES.draw(rng)}555{int(rng.random() * 10000):04d}", shape), "Israel")
    if kind == "foreign":
        start, country = _FOREIGN.draw(rng)
        return Party(f"{'+' if shape == 'plus' else ''}{start}{int(rng.random() * 10)}", country)
    if kind == "hidden":
        return Party(rng.choice(_HIDDEN), "")
    return Party(rng.choice(_EXAMPLES if kind == "example" else _SHORT), "Israel")
