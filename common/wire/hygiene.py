"""Text that PostgreSQL can store: no NUL, no half of a surrogate pair."""

from __future__ import annotations

import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def storable(value: Any, faults: set[str]) -> Any:
    """Return the value with each text in it, keys included, made storable; add to `faults` what was wrong.

    NUL goes. Halves of surrogate pairs that meet become their character, lone ones U+FFFD.
    """
    if isinstance(value, str):
        return _storable_text(value, faults) if _UNSTORABLE.search(value) else value
    if isinstance(value, dict):
        return {storable(name, faults): storable(inner, faults) for name, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner, faults) for inner in value]
    return value


def _storable_text(text: str, faults: set[str]) -> str:
    if "\0" in text:
        faults.add("NUL removed")
        text = text.replace("\0", "")
    if _SURROGATE.search(text):
        faults.add("broken characters joined or replaced by U+FFFD")
        text = _SURROGATE.sub("\ufffd", _pairs_joined(text))
    return text


def _pairs_joined(text: str) -> str:
    # UTF-16 is where a pair means its character; the way through it is slow, and pairs are rare.
    if not _PAIR.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
