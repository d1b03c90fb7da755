"""Who may send, by which method, how much, and how much of it is kept."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

import pytest

from api import guards
from api.guards import Accounts, OnlyMethods, QuarantineBudget, SenderGone, header, read_whole_body
from common.errors import TooLarge, TooSlow
from common.settings import ReceiverSettings

SECRET, NEXT_SECRET, OTHER_SECRET = "a" * 16, "b" * 16, "c" * 16
DAY_US = 86_400_000_000


def accounts(*pairs: str) -> Accounts:
    return Accounts(ReceiverSettings(receiver_secrets=",".join(pairs)))  # type: ignore[arg-type]


def scope(*headers: tuple[bytes, bytes], secret: str | None = None) -> dict[str, Any]:
    return {"headers": list(headers), "path_params": {} if secret is None else {"secret": secret}}


def sent(*chunks: bytes, ends: bool = True) -> Any:
    """Return an ASGI receive function that yields the chunks, then what a server yields when a sender hangs up."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if ends and messages:
        messages[-1]["more_body"] = False
    messages.append({"type": "http.disconnect"})
    remaining = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(remaining)

    return receive


def read(receive: Any, limit: int = 10, *headers: tuple[bytes, bytes]) -> bytes:
    return asyncio.run(read_whole_body(scope(*headers), receive, limit, lambda: None))


def test_the_right_secret_names_its_account() -> None:
    assert accounts(f"shop:{SECRET}", f"office:{OTHER_SECRET}").of(OTHER_SECRET) == "office"


@pytest.mark.parametrize("wrong", ["", None, "A" * 16, "a" * 15, "a" * 17, "ש", "\ud800"])
def test_a_wrong_secret_names_no_account(wrong: str | None) -> None:
    assert accounts(f"shop:{SECRET}").of(wrong) is None


@pytest.mark.parametrize("secret", [SECRET, NEXT_SECRET])
def test_while_secrets_rotate_both_are_right(secret: str) -> None:
    assert accounts(f"shop:{SECRET}", f"shop:{NEXT_SECRET}").of(secret) == "shop"


def test_with_no_secret_set_the_bare_address_is_the_default_account() -> None:
    assert accounts().of(None) == "default"


def test_with_no_secret_set_an_address_with_one_is_wrong() -> None:
    assert accounts().of(SECRET) is None


@pytest.mark.parametrize("given", [SECRET, "wrong", None])
def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    known = accounts(f"shop:{SECRET}", f"office:{OTHER_SECRET}")
    monkeypatch.setattr(guards, "hmac", type("Spied", (), {"compare_digest": staticmethod(compare)}))
    known.of(given)
    assert compared == [(32, 32), (32, 32)]


@pytest.mark.parametrize("chunks", [(b"",), (b"abc",), (b"a", b"bc"), (b"a", b"", b"bc", b""), (b"0123456789",)])
def test_a_body_within_the_limit_is_whole(chunks: tuple[bytes, ...]) -> None:
    assert read(sent(*chunks)) == b"".join(chunks)


def test_a_sender_that_asks_first_is_refused_before_reading() -> None:
    with pytest.raises(TooLarge, match="the body has 11 bytes, the limit is 10"):
        read(None, 10, (b"content-length", b"11"), (b"expect", b"100-continue"))


def test_a_body_over_the_limit_is_read_to_its_end_so_that_the_answer_is_read() -> None:
    receive = sent(b"0" * 11, b"0" * 11, b"")
    with pytest.raises(TooLarge):
        read(receive)
    assert asyncio.run(receive()) == {"type": "http.disconnect"}


def test_a_body_without_an_end_is_not_read_on_for_ever() -> None:
    receive = sent(*[b"0" * 10] * 9)
    with pytest.raises(TooLarge):
        read(receive)
    assert [asyncio.run(receive())["type"] for _ in range(5)] == ["http.request"] * 4 + ["http.disconnect"]


@pytest.mark.parametrize("declared", [b"10", b"x", b"-1", b""])
def test_another_declared_length_is_not_believed(declared: bytes) -> None:
    assert read(sent(b"0123456789"), 10, (b"content-length", declared)) == b"0123456789"


@pytest.mark.parametrize("chunks", [(b"01234567890",), (b"01234", b"56789", b"0")])
def test_a_body_that_grows_over_the_limit_is_refused(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(TooLarge, match="more than 10 bytes"):
        read(sent(*chunks))


@pytest.mark.parametrize("chunks", [(), (b"abc",)])
def test_a_sender_that_hangs_up_is_gone(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(SenderGone):
        read(sent(*chunks, ends=False))


def test_a_body_that_does_not_end_in_time_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "READ_SECONDS", 0.01)

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TooSlow):
        read(never)


def test_a_header_is_found_by_its_lower_case_name() -> None:
    assert header(scope((b"content-type", b"text/xml"), (b"host", b"x.invalid")), b"host") == b"x.invalid"


def test_a_header_that_was_not_sent_is_none() -> None:
    assert header(scope(), b"host") is None


def test_an_account_may_fill_its_day_and_no_more() -> None:
    budget = QuarantineBudget(100)
    assert [budget.take("shop", 50, DAY_US) for _ in range(3)] == [True, True, False]


def test_what_did_not_fit_leaves_its_room_to_a_smaller_body() -> None:
    budget = QuarantineBudget(100)
    assert [budget.take("shop", size, DAY_US) for size in (60, 60, 40)] == [True, False, True]


def test_each_account_has_a_day_of_its_own() -> None:
    budget = QuarantineBudget(100)
    assert budget.take("shop", 100, DAY_US)
    assert budget.take("office", 100, DAY_US)


def test_the_next_day_begins_at_zero() -> None:
    budget = QuarantineBudget(100)
    assert budget.take("shop", 100, DAY_US)
    assert budget.take("shop", 100, 2 * DAY_US)


def test_what_is_given_back_may_be_taken_again() -> None:
    budget = QuarantineBudget(100)
    assert budget.take("shop", 100, DAY_US)
    budget.give_back("shop", 60, DAY_US)
    assert [budget.take("shop", size, DAY_US) for size in (61, 60)] == [False, True]


def test_what_another_day_took_is_not_given_back_to_this_one() -> None:
    budget = QuarantineBudget(100)
    assert budget.take("shop", 100, DAY_US)
    assert budget.take("shop", 100, 2 * DAY_US)
    budget.give_back("shop", 100, DAY_US)
    assert not budget.take("shop", 1, 2 * DAY_US)


@pytest.mark.parametrize(("method", "passes"), [("POST", True), ("GET", True), ("HEAD", False), ("post", False)])
def test_only_the_named_methods_are_passed_on(method: str, passes: bool) -> None:
    passed: list[str] = []
    told: list[dict[str, Any]] = []

    async def endpoint(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["method"])

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    asyncio.run(OnlyMethods(endpoint, "GET", "POST")({"method": method}, None, send))
    assert passed == ([method] if passes else [])
    assert [message.get("status") for message in told] == ([] if passes else [405, None])
