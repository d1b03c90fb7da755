"""Nothing that was sent steers a terminal or deceives who reads it."""

from __future__ import annotations

import json
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from common.terminal import one_line, printable, printable_json

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_that_steers_is_escaped_and_no_letter_is() -> None:
    raw = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in STEERING} - {
        "\n",
        "\t",
    }
    assert {character for character in raw if printable(character) == character} == set()
    letters = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LMNPS"}
    assert {character for character in letters if printable(character) != character} == set()


def test_an_escape_shows_the_character() -> None:
    assert printable("שלום \x1b[31m\u202e\u200b\x9b\ud800\U000e0041 😀\r\n\t") == (
        r"שלום \x1b[31m\u202e\u200b\x9b\ud800\U000e0041 😀\r" + "\n\t"
    )


def test_one_line_is_one_line() -> None:
    assert one_line("a\nb\u2028c\x85d\x0be") == r"a\nb\u2028c\x85d\x0be"


@given(st.text())
def test_a_line_is_never_more_than_one(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


@given(
    st.recursive(
        st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    )
)
def test_json_says_the_same_and_steers_nothing(document: object) -> None:
    text = printable_json(json.dumps(document, ensure_ascii=False))
    assert json.loads(text) == document
    assert printable(text) == text


def test_json_escapes_are_those_of_json() -> None:
    assert printable_json('"\x7f\u202e\U000e0041\ud800"') == r'"\u007f\u202e\udb40\udc41\ud800"'
