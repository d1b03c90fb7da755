"""XML text to a tree, within bounds: the parser in C is the fastest there is, and knows none of its own."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, XMLParser

from common.errors import Unreadable
from common.wire.limits import MAX_TAGS

_MAX_ATTRIBUTES: Final = 100_000
# The parser keeps each line of a text as a piece of its own.
_MAX_LINES: Final = 2_000_000
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
    if len(text) > MAX_TAGS and (text.count("<") > MAX_TAGS or text.count("=") > _MAX_ATTRIBUTES):
        raise Unreadable(f"more than {MAX_TAGS:,} tags or {_MAX_ATTRIBUTES:,} equals signs in one body")
    if len(text) > _MAX_LINES and text.count("\n") + text.count("\r") > _MAX_LINES:
        raise Unreadable(f"more than {_MAX_LINES:,} lines in one body")


def _drop_namespaces(root: Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
