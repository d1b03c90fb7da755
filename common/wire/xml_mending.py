"""XML that is almost XML: characters it does not allow, and prefixes that nobody declared."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element

from common.errors import Unreadable

_MAX_REPAIRS: Final = 100_000
# XML has no way to write control characters; Unicode has exactly as many code points that are never text.
_FIRST_STAND_IN: Final = 0xFDD0
_BROKEN_STAND_IN: Final = "\U0001fffe"
_STAND_INS = re.compile(f"[\ufdd0-\ufdef{_BROKEN_STAND_IN}]")
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# CDATA comes first, so that what only looks like markup inside of it is passed over.
_REPAIRABLE = re.compile(
    # Each alternative begins with a plain character: only then are others skipped at the speed of a search.
    r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<(?P<slash>/?)(?P<prefix>[\w.-]++:)|&#(?:x(?P<hex>[0-9a-fA-F]{1,8})|(?P<dec>[0-9]{1,10}));",
    re.DOTALL,
)


def mend(text: str) -> str:
    """Return the text with stand-ins for characters that XML forbids, raw or as references, and tags without prefixes.

    Raise `Unreadable` when there are too many of them, or the stand-ins are taken.
    """
    if not text.isascii() and _STAND_INS.search(text):
        raise Unreadable("no XML, and it holds code points that are no characters")
    text, count = _FORBIDDEN.subn(lambda found: _stand_in(ord(found[0])), text, _MAX_REPAIRS)
    if count == _MAX_REPAIRS:
        raise Unreadable(f"no XML: {count:,} characters or more that XML does not allow")
    return _REPAIRABLE.sub(_repaired, text, _MAX_REPAIRS)


def restore(root: Element) -> None:
    """Put back the characters that `mend` replaced; what is no character at all comes back as a lone surrogate."""
    for element in root.iter():
        if element.text and not element.text.isascii():
            element.text = _STAND_INS.sub(_original, element.text)


def _repaired(found: re.Match[str]) -> str:
    if found["prefix"]:
        return f"<{found['slash']}"
    code = int(found["hex"], 16) if found["hex"] else int(found["dec"] or ord("\t"))
    allowed = code > 0x10FFFF or not _FORBIDDEN.match(chr(code))
    return found[0] if allowed else _stand_in(code)


def _stand_in(code: int) -> str:
    return chr(_FIRST_STAND_IN + code) if code < 0x20 else _BROKEN_STAND_IN


def _original(found: re.Match[str]) -> str:
    return "\ud800" if found[0] == _BROKEN_STAND_IN else chr(ord(found[0]) - _FIRST_STAND_IN)
