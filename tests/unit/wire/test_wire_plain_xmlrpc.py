"""The fast reader of XML-RPC reads what the careful one reads, or leaves it to that."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdr.simulate.run import SimulateOptions, posts_of
from common.errors import Unreadable
from common.wire.message import Message
from common.wire.plain_xmlrpc import read_plain_xmlrpc
from common.wire.text import decode
from common.wire.xml_values import SCALARS
from common.wire.xmlrpc import read_xmlrpc

START = '<?xml version="1.0"?><methodCall><methodName>CDR</methodName><params><param><value><struct>'
END = "</struct></value></param></params></methodCall>"
ID = "<member><name>ivruniqueid</name><value><string>x</string></value></member>"

# What may stand in a text, and what may not, with what is near to both.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "שלום",
            "1",
            "-5",
            "007",
            "1.50",
            "1e400",
            "true",
            " ",
            "\n",
            "\t",
            "\r",
            "\x00",
            "\x1f",
            "\x7f",
            "\x85",
        ),
        *("\ufffd", "\ufffe", "\uffff", "😀", "]]", "]]>", ">", "&amp;", "&quot;", "&lt;i4>", "&apos;", "&", "&#65;"),
        *("&x;", "&amp", "<", "<![CDATA[x]]>", "<!-- x -->", "<?x?>", "<b>x</b>", "9" * 20, "9" * 500, "\u0665"),
    ]
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)
KINDS = st.sampled_from(["string", "String", "dateTime.iso8601", "base64", "struct", *SCALARS])
SPACES = st.sampled_from(["", " ", "\n  ", "\r\n", "\N{NO-BREAK SPACE}", "x"])


@st.composite
def values(draw: st.DrawFn) -> str:
    kind, text, space = draw(KINDS), draw(TEXTS), draw(SPACES)
    forms = [f"<{kind}>{text}</{kind}>", f"<{kind}/>", f"<{kind} />", "<nil/>", text, f"<{kind}>{text}</string>"]
    return f"<value>{space}{draw(st.sampled_from(forms))}{space}</value>"


@st.composite
def members(draw: st.DrawFn) -> str:
    name = draw(st.one_of(st.sampled_from(["caller", "record", "var_x"]), TEXTS))
    space = draw(SPACES)
    return f"<member>{space}<name>{name}</name>{draw(values())}</member>{space}"


@st.composite
def calls(draw: st.DrawFn) -> str:
    text = START + ID + "".join(draw(st.lists(members(), max_size=4))) + END
    return text + draw(st.sampled_from(["", "", "\n", "x", "<x/>", "<!-- x -->"]))


def judged(text: str) -> Message | str:
    try:
        return read_xmlrpc(text)
    except Unreadable as error:
        return str(error)


@given(calls())
@example(
    f'{START}<member><name>a&quot;</name><value>1</value></member><member><name>a"</name><value>2</value></member>{END}'
)
@example(f"{START}{ID}<member><name>a</name><value><i4>&#53;</i4></value></member>{END}")
@example(START.replace("1.0", "1.1") + ID + END)
@example(START.replace("?>", ' encoding="windows-1255"?>') + ID + END)
@example(START.replace("?>", ' encoding="utf-8"?>') + ID + END)
@example(START.replace("<struct>", "<struct>x") + ID + END)
@example(START + ID + "x" + END)
@example(START + ID + END.replace("</param>", "</param><param><value><struct></struct></value></param>"))
@example(START + END)
def test_what_it_reads_is_what_the_careful_reader_reads(text: str) -> None:
    body = text.encode()
    message = read_plain_xmlrpc(body)
    assert message is None or message == judged(decode(body, None))


@given(st.dictionaries(st.text("abcדה_ ", min_size=1), st.text("aש<>&\"' \n1.]", max_size=20), max_size=6))
def test_it_reads_any_text_that_is_escaped(fields: dict[str, str]) -> None:
    texts = {name: text.replace("]]>", "]]") for name, text in fields.items()}
    body = "".join(
        f"<member><name>{escape(name)}</name><value><string>{escape(text)}</string></value></member>"
        for name, text in texts.items()
    )
    message = read_plain_xmlrpc(f"{START}{ID}{body}{END}".encode())
    assert message is not None
    assert message.elements[0].fields == {"ivruniqueid": "x", **texts}  # type: ignore[union-attr]


def test_it_reads_what_the_provider_usually_sends() -> None:
    posts = list(posts_of(SimulateOptions(count=300, format="xmlrpc", seed=5)))
    read = [read_plain_xmlrpc(post.body) for post in posts]
    # The rest comes in another encoding.
    assert sum(message is not None for message in read) >= 0.9 * len(posts)


@pytest.mark.parametrize("body", [b"", b"<", b"</struct>", START.encode(), END.encode(), b"\xff" + END.encode()])
def test_what_is_no_call_is_left_to_the_careful_reader(body: bytes) -> None:
    assert read_plain_xmlrpc(body) is None
