"""`cdr accounts`: what is special to an account is checked, kept, and used for its CDRs."""

from __future__ import annotations

import pytest
from command_line import Product, delivery, product

__all__ = ["product"]

NOTHING = dict.fromkeys(("time_zone", "time_rule", "time_fallback", "default_region", "duration_includes_wait"))


def accounts(product: Product) -> list[dict[str, object]]:
    settings: list[dict[str, object]] = product.cdr("accounts", "list", "--json").json
    return settings


def test_settings_are_kept_and_those_not_named_stay(product: Product) -> None:
    assert (
        product.cdr("accounts", "set", "a", "--time-zone", "Europe/London", "--duration-includes-wait").exit_code == 0
    )
    done = product.cdr("accounts", "set", "a", "--time-rule", "utc", "--time-fallback", "utc", "--default-region", "GB")
    assert (done.exit_code, done.err) == (0, "")
    assert "Europe/London" in done.out
    assert accounts(product) == [
        {
            "account": "a",
            "time_zone": "Europe/London",
            "time_rule": "utc",
            "time_fallback": "utc",
            "default_region": "GB",
            "duration_includes_wait": True,
        }
    ]


def test_a_setting_goes_back_to_its_default(product: Product) -> None:
    product.cdr("accounts", "set", "a", "--time-zone", "Europe/London", "--no-duration-includes-wait")
    product.cdr(
        "accounts", "set", "a", "--clear", "time-zone", "--clear", "duration_includes_wait", "--time-rule", "local"
    )
    assert accounts(product) == [{"account": "a", **NOTHING, "time_rule": "local"}]
    assert "default" in product.cdr("accounts", "list").out


def test_no_account_is_an_empty_list(product: Product) -> None:
    assert accounts(product) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("a",),
        ("a b", "--time-rule", "utc"),
        ("a", "--time-zone", "Mars/Olympus"),
        ("a", "--time-rule", "never"),
        ("a", "--time-fallback", "auto"),
        ("a", "--default-region", "il"),
        ("a", "--default-region", "ZZ"),
        ("a", "--clear", "colour"),
        ("a", "--clear", "time-rule", "--time-rule", "utc"),
    ],
)
def test_wrong_settings_are_wrong_usage_and_change_nothing(product: Product, arguments: tuple[str, ...]) -> None:
    done = product.cdr("accounts", "set", *arguments)
    assert (done.exit_code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert accounts(product) == []


def test_a_wrong_default_of_the_environment_does_not_stop_an_account_from_being_set(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDR_TIME_RULE", "nonsense")
    assert product.cdr("accounts", "set", "a", "--time-zone", "Europe/London").exit_code == 0


def test_a_cdr_is_read_by_the_settings_of_its_account(product: Product) -> None:
    product.cdr("accounts", "set", "default", "--time-rule", "utc", "--default-region", "GB")
    product.enqueue([delivery(1, caller="02079460000")])
    product.work()
    assert product.query("SELECT time_rule, caller_e164 FROM cdr.cdrs") == [("forced_utc", "+442079460000")]
