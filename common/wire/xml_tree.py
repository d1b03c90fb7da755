"""XML text to a tree, within bounds: the parser in C is the fastest there is, and knows none of its own."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, XMLParser
from xml.parsers import expat

from common.errors import Unreadable
from common.wire.limits import MAX_DEPTH, MAX_VALUES

# One CDR has about 240. Below this many even the deepest tree is small; above, the depth is measured first.
_FEW_TAGS: Final = 20_000
_MAX_ATTRIBUTES: Final = 100_000
# A value inside a value is a few elements deeper: struct, member and value, or array, data and value.
_MAX_ELEMENT_DEPTH: Final = 8 + 3 * (MAX_DEPTH + 1)
_DOCTYPE = re.compile(r"(?:\s++|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)


def parse(text: str) -> Element:
    """Return the root of an XML document, with the namespaces of its tags dropped.

    Without a DOCTYPE nothing can define an entity, so none is ever resolved. Raise `Unreadable` for one and over a
    limit, ElementTree's ParseError for text that is no XML, UnicodeEncodeError for a lone surrogate.
    """
    if "<!DOCTYPE" in text and _DOCTYPE.match(text):
        raise Unreadable("a DOCTYPE, with or without entities, is not accepted")
    _check_size(text)
    parser = XMLParser()  # noqa: S314 - what makes it unsafe is refused above
    parser.feed(text)
    root: Element = parser.close()
    if "xmlns" in text:
        _drop_namespaces(root)
    return root


def _check_size(text: str) -> None:
    tags = text.count("<")
    if tags <= _FEW_TAGS and len(text) <= MAX_VALUES:
        return
    if tags > MAX_VALUES or text.count("=") > _MAX_ATTRIBUTES:
        raise Unreadable(f"more than {MAX_VALUES:,} tags or {_MAX_ATTRIBUTES:,} equals signs in one body")
    _check_depth(text)


def _check_depth(text: str) -> None:
    depth = 0

    def enter(_tag: str, _attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_ELEMENT_DEPTH:
            raise Unreadable(f"XML nested more than {_MAX_ELEMENT_DEPTH} deep")

    def leave(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    scanner = expat.ParserCreate("utf-8")
    scanner.StartElementHandler, scanner.EndElementHandler = enter, leave
    try:
        scanner.Parse(text, True)
    except expat.ExpatError:
        # The parser proper fails at the same place, and says so.
        return


def _drop_namespaces(root: Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
