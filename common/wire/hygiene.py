"""Text that PostgreSQL can store: no NUL, no half of a surrogate pair."""

from __future__ import annotations

import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def storable(value: Any, faults: set[str]) -> Any:
    """Return the value with each text in it, keys included, made storable; add to `faults` what was wrong.

    NUL goes, a lone surrogate becomes U+FFFD.
    """
    if isinstance(value, str):
        return _storable_text(value, faults) if _UNSTORABLE.search(value) else value
    if isinstance(value, dict):
        clean = {storable(name, faults): storable(inner, faults) for name, inner in value.items()}
        if len(clean) < len(value):
            faults.add("names in it became one, of which the last stands")
        return clean
    if isinstance(value, list):
        return [storable(inner, faults) for inner in value]
    return value


def _storable_text(text: str, faults: set[str]) -> str:
    if "\0" in text:
        faults.add("NUL removed")
        text = text.replace("\0", "")
    if _SURROGATE.search(text):
        faults.add("broken characters replaced by U+FFFD")
        text = _SURROGATE.sub("\ufffd", text)
    return text
