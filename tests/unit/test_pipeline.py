"""The stages fill in what a CDR does not say itself, and never fail on what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from common.cdr import Cdr
from common.delivery import Delivery
from common.errors import NotACdr
from common.settings import AccountDefaults
from worker.accounts import Accounts
from worker.extension_directory import ExtensionDirectory
from worker.pipeline import Knowledge, NotLoadable, enrich

TIME = 1_580_846_139
KNOWLEDGE = Knowledge(Accounts(AccountDefaults()), ExtensionDirectory())


def enriched(*notes: str, **fields: Any) -> Cdr:
    usual = {"ivruniqueid": "2020020419500000", "time": TIME}
    return enrich([Delivery("0" * 32, 0, 0, "acme", "json", usual | fields, notes)], KNOWLEDGE)


def test_the_start_is_found_by_the_clock_rule() -> None:
    cdr = enriched(ivruniqueid="20200204195400")
    assert (cdr.started_at, cdr.time_rule) == (datetime(2020, 2, 4, 17, 55, 39, tzinfo=UTC), "local")


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"status": "ANSWER"}, "answered"),
        ({"status": "BUSY", "isAnswer": 1}, "answered"),
        ({"status": "ANSWER", "type": "VoiceMail"}, "machine"),
        ({"status": "UNHEARD"}, "other"),
        ({}, "other"),
    ],
)
def test_the_outcome_follows_the_disposition(fields: dict[str, Any], outcome: str) -> None:
    assert enriched(**fields).outcome == outcome


@pytest.mark.parametrize(
    ("fields", "direction"),
    [
        ({"type": "Queue"}, "incoming"),
        ({"type": "Queue", "direction": "Outbound"}, "outgoing"),
        ({"type": "Queue", "direction": "sideways"}, "incoming"),
        ({"type": "XferCDR"}, None),
    ],
)
def test_the_direction_is_the_field_or_the_types(fields: dict[str, Any], direction: str | None) -> None:
    assert enriched(**fields).direction == direction


def test_durations_are_set() -> None:
    cdr = enriched(duration=20, dialtime=3)
    assert (cdr.talk_seconds, cdr.ring_seconds) == (20, 3)


def test_a_machine_without_a_code_is_no_agent() -> None:
    cdr = enriched(representative_name="External IVR", representative_code="")
    assert (cdr.agent_name, cdr.agent_code) == (None, None)


def test_a_machine_with_a_code_is_an_agent() -> None:
    cdr = enriched(representative_name="External IVR", representative_code="12 ")
    assert (cdr.agent_name, cdr.agent_code) == ("External IVR", "12")


def test_the_caller_is_described() -> None:
    cdr = enriched(caller="0546666666")
    assert (cdr.caller_e164, cdr.caller_country_code, cdr.caller_country, cdr.caller_kind) == (
        "+972546666666", "IL", "Israel", "mobile",
    )  # fmt: skip


def test_the_called_party_is_described() -> None:
    cdr = enriched(target="+12125550123")
    assert (cdr.called_e164, cdr.called_country_code, cdr.called_country) == ("+12125550123", "US", "United States")


def test_an_extension_code_is_no_number() -> None:
    cdr = enriched(target="AAPINFzL")
    assert (cdr.called_e164, cdr.called_country, cdr.called_kind) == (None, None, "extension")


def test_the_did_has_its_e164() -> None:
    assert enriched(did="0722776772").did_e164 == "+972722776772"


def test_a_country_that_the_provider_spells_otherwise_is_no_problem() -> None:
    cdr = enriched(caller="+12125550123", caller_country="USA")
    assert (cdr.caller_country, cdr.problems) == ("United States", {})


def test_another_country_than_the_providers_leaves_a_line() -> None:
    cdr = enriched(caller="+12125550123", Caller_Country="France")
    assert cdr.caller_country == "United States"
    assert list(cdr.problems.values()) == ["Caller_Country: the provider says 'France', the number is of US"]


def test_the_providers_country_stands_where_the_number_tells_none() -> None:
    cdr = enriched(caller="AAPINFzL", caller_country="Narnia")
    assert (cdr.caller_country, cdr.caller_country_code) == ("Narnia", None)


def test_what_the_decoder_mended_is_a_problem() -> None:
    assert enriched("did: NUL removed").problems == {"did: NUL removed": "did: NUL removed"}


def test_what_names_no_call_is_no_cdr() -> None:
    with pytest.raises(NotACdr):
        enriched(ivruniqueid="")


def test_a_stage_that_fails_costs_its_cdr_and_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("worker.pipeline.STAGES", (fail,))
    with pytest.raises(NotLoadable, match="ZeroDivisionError: a bug of ours"):
        enriched()


def test_a_time_of_receipt_beyond_the_calendar_costs_its_cdr() -> None:
    absurd = Delivery("0" * 32, 0, 10**30, "acme", "json", {"ivruniqueid": "c"})
    with pytest.raises(NotLoadable):
        enrich([absurd], KNOWLEDGE)
