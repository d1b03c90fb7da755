from __future__ import annotations

import json
import random
import xmlrpc.client
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import pytest

from cdr.simulate.bodies import FORMATS, BodyFormat, array_body, encode_body, odd_body, xmlrpc_body
from cdr.simulate.calls import CallFactory

if TYPE_CHECKING:
    from collections.abc import Mapping

CDRS = [cdr for call in islice(CallFactory(3), 1500) for cdr in call]
JSON_ONLY = {"seconds_waiting_in_queue", "OriginalivrUniqueID"}


def carried(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What XML-RPC and a form can say of a CDR: no JSON-only fields, no null, objects as JSON text."""
    return {name: flat(value) for name, value in fields.items() if name not in JSON_ONLY and value is not None}


def flat(value: object) -> object:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict | list) else value


def test_json_holds_the_fields_as_they_are() -> None:
    for cdr in CDRS:
        body = encode_body(cdr, "json")
        assert json.loads(body.data) == cdr
        assert body.content_type == "application/json"


def test_a_decimal_is_a_number_in_json() -> None:
    assert encode_body({"price": Decimal("7.10")}, "json").data == b'{"price":7.10}'


@pytest.mark.parametrize("integer", ["i4", "int", "i8"])
def test_xmlrpc_holds_the_same_fields_for_every_tag_of_integers(integer: str) -> None:
    for cdr in CDRS:
        (params,), method = xmlrpc.client.loads(xmlrpc_body(cdr, integer).data)
        assert method == "CDR"
        assert params == carried(cdr)


def test_xmlrpc_writes_time_and_empty_texts_as_the_specification_does() -> None:
    data = xmlrpc_body({"time": 1345373417, "duration": 12, "did": ""}).data.decode()
    assert "<i8>1345373417</i8>" in data
    assert "<i4>12</i4>" in data
    assert "<string />" in data


def test_an_integer_over_32_bits_is_an_i8() -> None:
    assert b"<i8>2147483648</i8>" in xmlrpc_body({"n": 2**31}).data


def test_xmlrpc_knows_booleans_and_exact_fractions() -> None:
    (params,), _ = xmlrpc.client.loads(xmlrpc_body({"a": True, "b": Decimal("7.25"), "c": None}).data)
    assert params == {"a": True, "b": 7.25}


def test_untyped_values_are_text() -> None:
    member = ET.fromstring(xmlrpc_body({"duration": 12}, integer="").data).find(".//member/value")
    assert member.text == "12"
    assert len(member) == 0


def test_windows_1255_is_declared_and_holds_hebrew_and_what_it_lacks() -> None:
    data = xmlrpc_body({"name": "נועה", "sign": "☎ <&>"}, encoding="windows-1255").data
    assert data.startswith(b'<?xml version="1.0" encoding="windows-1255"?>')
    assert "נועה".encode("windows-1255") in data
    texts = [element.text for element in ET.fromstring(data).iter("string")]
    assert texts == ["נועה", "☎ <&>"]


def test_a_form_holds_the_fields_as_text() -> None:
    for cdr in CDRS:
        values = parse_qs(encode_body(cdr, "form").data.decode(), keep_blank_values=True)
        assert values == {name: [str(value)] for name, value in carried(cdr).items()}


def test_json_only_fields_are_in_json_only() -> None:
    fields = {"ivruniqueid": "x", "seconds_waiting_in_queue": 5, "OriginalivrUniqueID": "y"}
    assert b"seconds_waiting_in_queue" in encode_body(fields, "json").data
    for body_format in ("xmlrpc", "form"):
        data = encode_body(fields, body_format).data
        assert b"seconds_waiting_in_queue" not in data
        assert b"OriginalivrUniqueID" not in data


def test_an_array_holds_its_cdrs() -> None:
    assert json.loads(array_body(CDRS[:3]).data) == CDRS[:3]


@pytest.mark.parametrize("body_format", FORMATS)
def test_oddities_keep_the_call_id_and_differ_from_the_plain_body(body_format: BodyFormat) -> None:
    rng = random.Random(1)
    cdr = next(cdr for cdr in CDRS if cdr["representative_name"] == "נועה לוי")
    plain = encode_body(cdr, body_format)
    odd = {odd_body(rng, cdr, body_format) for _ in range(200)}
    assert len(odd) == {"json": 5, "xmlrpc": 6, "form": 2}[body_format]
    assert all(body != plain and cdr["ivruniqueid"].encode() in body.data for body in odd)


def test_odd_json_still_says_the_same() -> None:
    rng = random.Random(2)
    fields = {"ivruniqueid": "x", "n": 7, "f": Decimal("1.5"), "t": "שלום", "o": {"a": 1}, "e": None}
    as_texts = {"ivruniqueid": "x", "n": "7", "f": "1.5", "t": "שלום", "o": '{"a":1}', "e": ""}
    for _ in range(100):
        data = json.loads(odd_body(rng, fields, "json").data)
        found = data[0] if isinstance(data, list) else data
        assert found in (as_texts, fields | {"f": 1.5}, fields | {"f": "1.5"})
