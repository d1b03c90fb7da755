"""Countries: the CLDR name of a code, and the code behind whatever name a provider writes.

`countries.csv` holds CLDR 47's English and Hebrew names of every ISO 3166 territory (with Ascension, Tristan da
Cunha and Kosovo, which have numbers of their own); `country_spellings.csv` adds other usual names.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(__file__).parent
_LONGEST_NAME = 100
_WORD = re.compile(r"[^\W_]+")
# Words that one spelling has and another has not, and the one that is usually abbreviated.
_REPLACED_WORDS = {"the": "", "of": "", "and": "", "st": "saint"}


def country_name(code: str | None) -> str | None:
    """Return the English CLDR name of an ISO 3166 alpha-2 code in capitals, None if there is none."""
    return _NAMES.get(code) if code else None


def country_code_of(name: str) -> str | None:
    """Return the alpha-2 code of a country's name, None if it is not known or names more than one country.

    Known are the English and Hebrew names, alpha-2 and alpha-3 codes, and usual short, formal and former names,
    whatever their case, punctuation and accents.
    """
    return _CODES.get(name) or _folded_codes().get(_fold(name[:_LONGEST_NAME]))


def differs(provider_text: str | None, code: str | None) -> bool:
    """Tell whether the provider names another country than `code`, not the same one in another spelling.

    What is missing or cannot be told differs from nothing.
    """
    if not provider_text or not code:
        return False
    theirs = country_code_of(provider_text)
    return theirs is not None and theirs != code


def _fold(name: str) -> str:
    """Reduce a name to its letters: no case, accents, vowel points, punctuation, blanks or filler words."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    words = _WORD.findall(letters)
    # AND is also the alpha-3 code of Andorra: a name of filler words only is kept.
    return "".join(_REPLACED_WORDS.get(word, word) for word in words) or "".join(words)


def _rows(file_name: str) -> list[dict[str, str]]:
    with (_FOLDER / file_name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _spellings(countries: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for row in countries:
        yield from ((spelling, row["code"]) for spelling in row.values())
    for row in _rows("country_spellings.csv"):
        others = (row["alpha_3"], *row["spellings"].split("|"))
        yield from ((spelling, row["code"]) for spelling in others if spelling)


@cache
def _folded_codes() -> dict[str, str]:
    """Give the codes by folded spelling; the usual name is found as it is, so that few workers ever need these."""
    return {_fold(spelling): code for spelling, code in _CODES.items()}


_COUNTRIES = _rows("countries.csv")
_NAMES = {row["code"]: row["name_en"] for row in _COUNTRIES}
_CODES = dict(_spellings(_COUNTRIES))
