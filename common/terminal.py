"""Text that anybody may have sent, on its way to a terminal or a log: what would steer or deceive one is escaped."""

from __future__ import annotations

import re

# Unicode's categories Cc (control characters), Cf (format characters: directions, no width, tags), Cs (surrogates),
# Zl and Zp (separators of lines), apart from the line feed and the tab; a test compares them with Python's tables.
_STEERING = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """Return the text with everything escaped that steers a terminal; line feeds and tabs stay."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return the text as `printable` does, with line feeds escaped too, so that it cannot pass for a line of ours."""
    return printable(text).replace("\n", "\\n")


def printable_json(document: str) -> str:
    """Return a JSON document that says the same with everything escaped that steers a terminal."""
    return _STEERING.sub(lambda found: _json_escape(found[0]), document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
