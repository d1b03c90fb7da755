"""XML-RPC bodies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.errors import Unreadable
from common.wire import BadElement, Fields, Message, read_body

STRUCT = "<struct><member><name>a</name><value>{}</value></member></struct>"


def call(*params: str, root: str = "methodCall") -> bytes:
    wrapped = "".join(f"<param><value>{param}</value></param>" for param in params)
    return f'<?xml version="1.0"?><{root}><methodName>CDR</methodName><params>{wrapped}</params></{root}>'.encode()


def fields_of(message: Message) -> Fields:
    assert message.format == "xmlrpc"
    assert not message.is_array
    (element,) = message.elements
    assert isinstance(element, Fields)
    return element


def read_value(value: str) -> Any:
    element = fields_of(read_body(call(STRUCT.format(value))))
    assert element.notes == ()
    return element.fields["a"]


def error_of(body: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read_body(body)
    return str(caught.value)


@pytest.mark.parametrize("tag", ["int", "i1", "i2", "i4", "i8", "biginteger"])
def test_every_integer_type_gives_a_whole_number(tag: str) -> None:
    assert read_value(f"<{tag}>-12</{tag}>") == -12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("+5", 5),
        ("\n 12 ", 12),
        ("12345678901234567890123", 12345678901234567890123),
        ("0722776772", "0722776772"),
        ("-072", "-072"),
        ("abc", "abc"),
        ("12.0", "12.0"),
        ("1_000", "1_000"),
        ("٣", "٣"),
        ("", ""),
        ("  ", "  "),
        ("9" * 401, "9" * 401),
    ],
)
def test_what_is_no_whole_number_or_begins_with_a_zero_stays_text(text: str, value: object) -> None:
    assert read_value(f"<int>{text}</int>") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.50", Decimal("1.50")),
        (" -.5E+2 ", Decimal("-.5E+2")),
        ("7", Decimal(7)),
        ("7.", Decimal(7)),
        ("NaN", "NaN"),
        ("inf", "inf"),
        ("1e301", "1e301"),
        ("1,5", "1,5"),
        ("", ""),
    ],
)
def test_a_double_is_exact_or_stays_text(text: str, value: object) -> None:
    assert read_value(f"<double>{text}</double>") == value


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("0", False), (" TRUE ", True), ("false", False), ("2", "2"), ("", "")]
)
def test_a_boolean_is_true_or_false_or_stays_text(text: str, value: object) -> None:
    assert read_value(f"<boolean>{text}</boolean>") is value or read_value(f"<boolean>{text}</boolean>") == value


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<string>x</string>", "x"),
        ("\n  <string> x </string>\n", " x "),
        ("<string/>", ""),
        ("<string />", ""),
        ("", ""),
        (" x ", " x "),
        ("<![CDATA[<a&b>]]>", "<a&b>"),
        ("<string>a<!-- said -->b</string>", "ab"),
        ("<string>&lt;&#1488;&quot;</string>", '<א"'),
        ("<dateTime.iso8601>20180913T16:15:54</dateTime.iso8601>", "20180913T16:15:54"),
        ("<base64>eA==</base64>", "eA=="),
        ("<money>7</money>", "7"),
        ("<money>7<currency>ILS</currency></money>", "7ILS"),
    ],
)
def test_text_and_types_without_a_meaning_here_give_their_text(xml: str, text: str) -> None:
    assert read_value(xml) == text


@pytest.mark.parametrize("nil", ["<nil/>", "<ex:nil/>", '<ex:nil xmlns:ex="http://types.invalid"/>'])
def test_nil_is_nothing_with_and_without_a_prefix(nil: str) -> None:
    assert read_value(nil) is None


def test_structs_and_arrays_nest() -> None:
    inner = STRUCT.format("<array><data><value><i4>1</i4></value><value>x</value></data></array>")

    assert read_value(inner) == {"a": [1, "x"]}


def test_namespaces_are_ignored() -> None:
    body = call(STRUCT.format("<i4>1</i4>")).replace(b"<methodCall>", b'<methodCall xmlns="http://rpc.invalid">')

    assert fields_of(read_body(body)).fields == {"a": 1}


def members(*pairs: tuple[str, str]) -> str:
    return "".join(f"<member><name>{name}</name><value>{value}</value></member>" for name, value in pairs)


def test_the_last_of_a_repeated_member_stands_and_a_note_tells_of_the_other() -> None:
    body = call(f"<struct>{members(('a', '1'), ('b', 'x'), ('a', '2'))}</struct>")

    told = ("a: sent more than once: the last stands, not '1'",)
    assert fields_of(read_body(body)) == Fields({"a": "2", "b": "x"}, told)


def test_a_repeated_member_inside_of_a_field_is_told_with_the_field() -> None:
    inner = f"<array><data><value><struct>{members(('b', '1'), ('b', '2'))}</struct></value></data></array>"

    element = fields_of(read_body(call(f"<struct>{members(('x', '0'), ('a', inner))}</struct>")))
    assert element.fields == {"x": "0", "a": [{"b": "2"}]}
    assert element.notes == ("a: 'b' in it was sent more than once: the last stands, not '1'",)


def test_notes_on_a_mended_call_can_be_stored() -> None:
    body = call(f"<struct>{members(('a&#0;', '1'), ('a&#0;', '2'))}</struct>")

    told = ("a: NUL removed", "a: sent more than once: the last stands, not '1'")
    assert fields_of(read_body(body)) == Fields({"a": "2"}, told)


def test_a_member_without_a_name_or_a_value_is_kept_as_far_as_it_goes() -> None:
    members = "<member><value>1</value></member><member><name>a</name></member><member><name/><odd/></member>"

    assert fields_of(read_body(call(f"<struct>{members}</struct>"))).fields == {"": None, "a": None}


@pytest.mark.parametrize("root", ["methodCall", "methodcall", "MethodCall"])
def test_the_call_may_be_spelled_in_any_case(root: str) -> None:
    assert fields_of(read_body(call(STRUCT.format("x"), root=root))).fields == {"a": "x"}


def test_the_method_may_have_no_name() -> None:
    body = call(STRUCT.format("x")).replace(b"<methodName>CDR</methodName>", b"")

    assert fields_of(read_body(body)).fields == {"a": "x"}


def array(*values: str) -> str:
    return f"<array><data>{''.join(f'<value>{value}</value>' for value in values)}</data></array>"


def test_what_stands_beside_a_cdr_is_left_out_with_a_note_that_quotes_nothing() -> None:
    body = call("secret", "<i4>7</i4>", array("x"), STRUCT.format("1"), "", "<string/>")

    told = ("params: 3 beside the CDR left out: a text, a number, an array",)
    assert fields_of(read_body(body)) == Fields({"a": "1"}, told)


@pytest.mark.parametrize("empty", ["", " ", "<string/>", "<nil/>", "<string> </string>"])
def test_an_empty_parameter_beside_a_cdr_is_nothing(empty: str) -> None:
    assert fields_of(read_body(call(empty, STRUCT.format("1")))) == Fields({"a": "1"})


def test_several_structs_are_an_array_of_cdrs() -> None:
    message = read_body(call(STRUCT.format("1"), "x", STRUCT.format("2")))

    assert message.is_array
    told = ("params: 1 beside the CDR left out: a text",)
    assert message.elements == [Fields({"a": "1"}, told), Fields({"a": "2"})]


def test_several_structs_in_one_value_are_an_array_of_cdrs() -> None:
    message = read_body(call(STRUCT.format("1") + STRUCT.format("2")))

    assert (message.is_array, message.elements) == (True, [Fields({"a": "1"}), Fields({"a": "2"})])


def test_an_array_of_structs_is_an_array_of_cdrs() -> None:
    message = read_body(call(array(STRUCT.format("1"))))

    assert (message.is_array, message.elements) == (True, [Fields({"a": "1"})])


def test_arrays_of_structs_and_structs_beside_them_are_one_array() -> None:
    message = read_body(call(array(STRUCT.format("1"), "x"), STRUCT.format("2"), array(STRUCT.format("3"))))

    assert message.is_array
    bad = BadElement("a text, not an object", b'"x"')
    assert message.elements == [Fields({"a": "1"}), bad, Fields({"a": "2"}), Fields({"a": "3"})]


def test_an_array_without_structs_has_bad_elements_only() -> None:
    message = read_body(call(array("x", array("y"))))

    assert message.is_array
    texts = [BadElement("a text, not an object", b'"x"'), BadElement("an array, not an object", b'["y"]')]
    assert message.elements == texts


@pytest.mark.parametrize("params", [(array("x"), "y"), (array("x"), array("y"))])
def test_several_parameters_without_a_struct_are_unreadable(params: tuple[str, ...]) -> None:
    assert error_of(call(*params)) == "no parameter of the call is a struct"


def test_a_parameter_beside_arrays_in_which_no_element_is_a_struct_is_unreadable() -> None:
    body = call("x", array(array(STRUCT.format("1"))))

    assert error_of(body) == "a parameter beside an array in which nothing is a struct"


def test_a_repeated_member_is_told_with_its_own_element() -> None:
    twice = f"<struct>{members(('a', '1'), ('a', '2'))}</struct>"

    good, told = read_body(call(STRUCT.format("0"), twice)).elements
    assert good == Fields({"a": "0"})
    assert told == Fields({"a": "2"}, ("a: sent more than once: the last stands, not '1'",))


def test_a_multicall_is_an_array_of_elements_that_name_no_call() -> None:
    inner = f"<struct>{members(('methodName', 'CDR'), ('params', array(STRUCT.format('1'))))}</struct>"

    message = read_body(call(array(inner)).replace(b">CDR<", b">system.multicall<", 1))
    assert message.is_array
    assert message.elements == [Fields({"methodName": "CDR", "params": [{"a": "1"}]})]


def test_an_empty_array_is_an_array_without_elements() -> None:
    message = read_body(call("<array><data/></array>"))

    assert message.is_array
    assert message.elements == []


@pytest.mark.parametrize("params", [(), ("x",), ("<i4>1</i4>",), ("",)])
def test_a_call_without_a_struct_is_unreadable(params: tuple[str, ...]) -> None:
    assert error_of(call(*params)) == "no parameter of the call is a struct"


@pytest.mark.parametrize("root", ["methodResponse", "html", "methodresponse"])
def test_another_root_is_unreadable(root: str) -> None:
    assert error_of(call(STRUCT.format("x"), root=root)) == f"the root element is <{root}>, not <methodCall>"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("<string>x</value>", "no XML: mismatched tag: line 1, column"),
        ("&nbsp;", "no XML: undefined entity: line 1, column"),
        ("a & b", "no XML: not well-formed (invalid token): line 1, column"),
    ],
)
def test_what_is_no_xml_is_unreadable_and_says_where(value: str, error: str) -> None:
    assert error_of(call(STRUCT.format(value))).startswith(error)


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE methodCall>",
        '<!DOCTYPE a [<!ENTITY b "c">]>',
        '<!DOCTYPE a SYSTEM "http://dtd.invalid/a.dtd">',
        '<!-- x --> <?y z?>\n<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
        '<a:!DOCTYPE a [<!ENTITY b "c">]>',
    ],
)
def test_a_doctype_is_refused_by_name(prolog: str) -> None:
    body = call(STRUCT.format("&b;")).replace(b'<?xml version="1.0"?>', prolog.encode())

    assert "DOCTYPE" in error_of(body)


def test_a_doctype_inside_of_a_text_is_text() -> None:
    assert read_value("<![CDATA[<!DOCTYPE html>]]>") == "<!DOCTYPE html>"


def test_white_space_may_stand_before_the_declaration() -> None:
    assert fields_of(read_body(b"\r\n " + call(STRUCT.format("x")))).fields == {"a": "x"}


def nested(depth: int) -> bytes:
    opening, closing = "<array><data><value>" * (depth - 1), "</value></data></array>" * (depth - 1)
    return call(STRUCT.format(f"{opening}<i4>1</i4>{closing}"))


def test_values_may_nest_64_deep_and_no_deeper() -> None:
    assert fields_of(read_body(nested(64))).fields
    assert error_of(nested(65)) == "values nested more than 64 deep"


def many_members(count: int, last: str = "") -> bytes:
    members = "".join(f"<member><name>{number}</name><value>x</value></member>" for number in range(count))
    return call(STRUCT.format(f"<struct>{members}{last}</struct>"))


def test_a_body_of_many_tags_is_read_when_it_is_not_deep() -> None:
    assert len(fields_of(read_body(many_members(5_000))).fields["a"]) == 5_000  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["", "</a>" * 100_000])
def test_tags_that_nest_deeper_than_any_stack_do_no_harm(end: str) -> None:
    assert error_of(b"<a>" * 100_000 + end.encode())


def test_a_value_that_nests_deeper_than_any_stack_is_its_text() -> None:
    assert read_value("<odd>" * 100_000 + "x" + "</odd>" * 100_000) == "x"


def test_a_body_of_many_tags_that_is_no_xml_is_unreadable() -> None:
    assert error_of(many_members(5_000, "<a>")).startswith("no XML: mismatched tag")


def test_a_cdr_of_too_many_fields_is_unreadable() -> None:
    members = "".join(f"<member><name>{number}</name><value/></member>" for number in range(2_001))

    assert error_of(call(f"<struct>{members}</struct>")) == "an object of 2,001 fields, more than 2,000"


@pytest.mark.parametrize("flood", [b"<a/>" * 500_001, b"<a " + b"a='' " * 400_001])
def test_a_flood_of_tags_or_attributes_is_refused_before_it_is_parsed(flood: bytes) -> None:
    assert error_of(b"<r>" + flood) == "more than 500,000 tags or 100,000 equals signs in one body"


def test_a_flood_of_lines_is_refused_before_it_is_parsed() -> None:
    assert error_of(b"<r>" + b"\r\n" * 1_000_001) == "more than 2,000,000 lines in one body"
