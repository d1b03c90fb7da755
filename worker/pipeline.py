"""The stages that turn a delivered CDR into a row, in order: the file to open first.

A stage takes the record and what holds for its account, and fills in columns. It never raises for what was sent: a value
that it cannot use leaves its column null and a line in `problems`. One that raises all the same costs its CDR only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.call_codes import direction_of, outcome_of
from common.cdr import Cdr, read_cdr
from common.delivery import Delivery
from common.errors import CdrError, Permanent
from worker.accounts import Account, Accounts
from worker.clock import read_clock
from worker.countries import country_name, differs
from worker.durations import set_durations
from worker.extension_directory import ExtensionDirectory
from worker.merge_deliveries import in_order, merge
from worker.phone_numbers import describe_number

_MACHINE = "External IVR"


@dataclass(frozen=True)
class Knowledge:
    """What the stages know beside the CDR itself, and for which hooks a load notes what it changed."""

    accounts: Accounts
    directory: ExtensionDirectory
    hooks: tuple[str, ...] = ()


class NotLoadable(Permanent):
    """The CDR makes one of the stages fail: an error of ours, not of the database."""

    reason = "not_loadable"


def enrich(deliveries: list[Delivery], knowledge: Knowledge) -> Cdr:
    """Make one record of all deliveries of a CDR.

    Raises NotACdr when they name no call, and NotLoadable when a stage fails on them.
    """
    try:
        return _run_stages(deliveries, knowledge)
    except CdrError:
        raise
    except Exception as error:
        raise NotLoadable(f"{type(error).__name__}: {error}") from error


def _run_stages(deliveries: list[Delivery], knowledge: Knowledge) -> Cdr:
    ordered = in_order(deliveries)
    merged = merge(ordered)
    cdr = read_cdr(ordered[0].account, ordered[0].received_at, merged.fields, merged.payload)
    account = knowledge.accounts.of(cdr.account)
    for stage in STAGES:
        stage(cdr, account)
    knowledge.directory.fill_in(cdr)
    for note in merged.notes:
        cdr.problems[note] = note
    return cdr


def _set_start(cdr: Cdr, account: Account) -> None:
    cdr.started_at, cdr.time_rule = read_clock(
        cdr.time_raw, cdr.call_id, cdr.received_at, account.time_zone, account.time_rule, account.time_fallback
    )


def _set_outcome(cdr: Cdr, _account: Account) -> None:
    cdr.outcome = outcome_of(cdr.disposition, cdr.call_type, cdr.is_answered)
    cdr.direction = direction_of(cdr.direction, cdr.call_type)


def _set_durations(cdr: Cdr, account: Account) -> None:
    set_durations(cdr, account.duration_includes_wait)


def _set_agent(cdr: Cdr, _account: Account) -> None:
    if cdr.agent_code is None and cdr.agent_name == _MACHINE:
        cdr.agent_name = None


def _describe_caller(cdr: Cdr, account: Account) -> None:
    number = describe_number(cdr.caller_number, account.default_region)
    cdr.caller_e164, cdr.caller_country_code, cdr.caller_kind = number
    cdr.caller_country = _country(cdr, "caller_country_sent", number.country_code)


def _describe_called(cdr: Cdr, account: Account) -> None:
    number = describe_number(cdr.called_party, account.default_region)
    cdr.called_e164, cdr.called_country_code, cdr.called_kind = number
    cdr.called_country = _country(cdr, "called_country_sent", number.country_code)


def _describe_did(cdr: Cdr, account: Account) -> None:
    cdr.did_e164 = describe_number(cdr.did_number, account.default_region).e164


def _country(cdr: Cdr, field: str, code: str | None) -> str | None:
    """Name the number's country; where the number tells none, the provider's word in `field` stands."""
    sent = getattr(cdr, field)
    if code is None:
        return str(sent) if sent is not None else None
    name = country_name(code)
    if sent != name and differs(sent, code):
        cdr.problems[field] = f"{cdr.sent_names[field]}: the provider says {sent!r}, the number is of {code}"
    return name


STAGES: tuple[Callable[[Cdr, Account], None], ...] = (
    _set_start,
    _set_outcome,
    _set_durations,
    _set_agent,
    _describe_caller,
    _describe_called,
    _describe_did,
)
