"""What `cdr up` takes from the environment, and what in it is its own."""

from __future__ import annotations

from pydantic import SecretStr

from cdr.up_options import GivenSettings

OURS = "postgresql://cdr:of-this-folder@127.0.0.1:5000/cdr"
THEIRS = "postgresql://cdr:of-somebody@127.0.0.1:5000/cdr"


def given(url: str) -> GivenSettings:
    return GivenSettings(database_url=SecretStr(url), redis_url=None)


def test_an_address_that_cdr_env_printed_is_no_server_of_the_users() -> None:
    assert given(OURS).without_addresses_of("of-this-folder", "another").servers() == []


def test_a_server_of_the_users_is_used_and_named() -> None:
    assert given(THEIRS).without_addresses_of("of-this-folder", "another").servers() == ["CDR_DATABASE_URL"]
