"""Each of the provider's own examples, decoded."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.errors import Unreadable
from common.wire import Fields, Message, guess_format, read_body

EXAMPLES = Path(__file__).parent / "provider"


def example(name: str) -> bytes:
    return (EXAMPLES / name).read_bytes()


def fields_of(message: Message) -> dict[str, Any]:
    (element,) = message.elements
    assert isinstance(element, Fields)
    assert element.notes == ()
    return element.fields


def test_the_xmlrpc_example_decodes_with_its_types() -> None:
    message = read_body(example("xmlrpc.xml"), "text/xml")

    assert (message.format, message.is_array) == ("xmlrpc", False)
    assert fields_of(message) == {
        "caller": "0540000000",
        "target": "0500000000",
        "time": 1345373417,
        "duration": 12,
        "ivruniqueid": "sdfsdfsdfsfsf",
        "targetextension": "",
        "callerextension": "IuYtReWq",
        "did": "",
        "queueid": 0,
        "queuename": "",
        "type": "Extension Outgoing",
        "status": "ANSWER",
    }


def test_the_xmlrpc_example_as_printed_is_no_xml_and_is_answered_as_xmlrpc() -> None:
    body = example("xmlrpc_as_printed.xml")

    with pytest.raises(Unreadable, match=r"no XML: mismatched tag: line \d+, column \d+"):
        read_body(body)
    assert guess_format(body) == "xmlrpc"


def test_the_json_example_decodes_with_its_broken_line_and_its_repeated_key() -> None:
    fields = fields_of(read_body(example("broken_record.json"), "application/json"))

    assert fields["record"] == "http://recordings.invalid/xxxxxxxx-\n  aws-0544444444-0722776772.mp3"
    assert fields["queueid"] == 0
    assert len(fields) == 13


def test_the_form_of_the_same_call_decodes_to_the_same_texts() -> None:
    message = read_body(example("form.txt"), "application/x-www-form-urlencoded")

    fields = fields_of(message)
    xmlrpc = fields_of(read_body(example("xmlrpc.xml")))
    assert message.format == "form"
    assert {name: fields[name] for name in xmlrpc} == {name: str(value) for name, value in xmlrpc.items()}
    assert fields["representative_name"] == "וולטר מלון"
    assert fields["record"].endswith(".mp3?a=1&b=2")


def test_the_array_of_one_keeps_the_richer_fields_nested_and_exact() -> None:
    message = read_body(example("array.json"), "application/json; charset=utf-8")

    fields = fields_of(message)
    assert message.is_array
    assert str(fields["price"]) == "1.50"
    assert [layer["layer_id"] for layer in fields["IVR"]] == [8650, 8869, 8869, 8851]
    assert fields["aiData"]["transcript"][0]["start"] == Decimal("0.25")
    assert fields["dialerData"] == {"CallID": "d-1"}
    assert fields["OriginalIvrUniqueID"] is None
    assert fields["representative_code"] == "9996 "


def test_the_sample_of_the_sdk_keeps_its_ivr_as_the_json_text_that_was_sent() -> None:
    fields = fields_of(read_body(example("sdk_sample.json")))

    assert isinstance(fields["IVR"], str)
    assert json.loads(fields["IVR"])[-1]["layer_name"] == "1 אבן גבירול"
    assert fields["price"] == Decimal("0.0")
