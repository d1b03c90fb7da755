"""Settings come from the environment or from files, and a wrong one is told by the name of its variable."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from common.environment import Group, is_given, load, missing, settings_here, use_settings
from common.errors import ConfigurationError
from common.settings import (
    AccountDefaults,
    DatabaseSettings,
    LogSettings,
    ReceiverSettings,
    RecordingSettings,
    RedisSettings,
    SpoolSettings,
    is_loopback,
)

SECRET = "only-for-tests-0123"
REQUIRED = {
    RedisSettings: {"CDR_REDIS_URL": "redis://:pass-word@127.0.0.1:6379/0"},
    DatabaseSettings: {"CDR_DATABASE_URL": "postgresql://cdr:pass-word@127.0.0.1/cdr"},
    RecordingSettings: {"CDR_RECORDINGS_URL": "file:///var/recordings"},
}


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CDR_"):
            monkeypatch.delenv(name)


def load_with(monkeypatch: pytest.MonkeyPatch, group: type[Group], **variables: str) -> Group:
    for name, value in {**REQUIRED.get(group, {}), **variables}.items():
        monkeypatch.setenv(name, value)
    return load(group)


@pytest.mark.parametrize(
    ("group", "defaults"),
    [
        (RedisSettings, {"ack_level": "fsync", "ack_replicas": 0, "ack_timeout_ms": 2000, "redis_memory_mark": 0.8}),
        (
            AccountDefaults,
            {
                "time_zone": "Asia/Jerusalem",
                "time_rule": "auto",
                "time_fallback": "local",
                "duration_includes_wait": False,
                "default_region": "IL",
            },
        ),
        (
            ReceiverSettings,
            {
                "host": "127.0.0.1",
                "port": 8080,
                "reuse_port": False,
                "public_url": None,
                "receiver_secrets": (),
                "receiver_debug": False,
                "max_body_bytes": 33554432,
                "quarantine_bytes_per_day": 268435456,
            },
        ),
        (
            SpoolSettings,
            {"spool_dir": None, "spool_max_bytes": 2147483648, "spool_drain_per_second": 2000},
        ),
        (
            RecordingSettings,
            {"recording_allow_networks": (), "recording_max_bytes": 536870912},
        ),
        (LogSettings, {"log_format": "console", "log_level": "info"}),
    ],
)
def test_defaults(monkeypatch: pytest.MonkeyPatch, group: type[Group], defaults: dict[str, object]) -> None:
    settings = load_with(monkeypatch, group).model_dump()
    assert {name: settings[name] for name in defaults} == defaults


@pytest.mark.parametrize(
    ("group", "variable"),
    [
        (RedisSettings, "CDR_REDIS_URL"),
        (DatabaseSettings, "CDR_DATABASE_URL"),
        (RecordingSettings, "CDR_RECORDINGS_URL"),
    ],
)
def test_what_has_no_default_is_required_by_name(group: type[Group], variable: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: is required$"):
        load(group)


@pytest.mark.parametrize(
    ("group", "variable", "value"),
    [
        (RedisSettings, "CDR_REDIS_URL", "http://127.0.0.1"),
        (RedisSettings, "CDR_REDIS_URL", "redis"),
        (RedisSettings, "CDR_REDIS_URL", "redis://127.0.0.1:port"),
        (RedisSettings, "CDR_ACK_LEVEL", "always"),
        (RedisSettings, "CDR_ACK_REPLICAS", "-1"),
        (RedisSettings, "CDR_ACK_REPLICAS", "many"),
        (RedisSettings, "CDR_ACK_TIMEOUT_MS", "99"),
        (DatabaseSettings, "CDR_DATABASE_URL", "mysql://127.0.0.1"),
        (AccountDefaults, "CDR_TIME_ZONE", "Asia/Atlantis"),
        (AccountDefaults, "CDR_TIME_ZONE", "../etc/passwd"),
        (AccountDefaults, "CDR_TIME_RULE", "guess"),
        (AccountDefaults, "CDR_TIME_FALLBACK", "auto"),
        (AccountDefaults, "CDR_DURATION_INCLUDES_WAIT", "perhaps"),
        (AccountDefaults, "CDR_DEFAULT_REGION", "Israel"),
        (ReceiverSettings, "CDR_PORT", "70000"),
        (ReceiverSettings, "CDR_MAX_BODY_BYTES", "10"),
        (ReceiverSettings, "CDR_QUARANTINE_BYTES_PER_DAY", "-1"),
        (ReceiverSettings, "CDR_RECEIVER_DEBUG", "loud"),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", SECRET),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", "shop:short"),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", f"shop:{SECRET},office:{SECRET}"),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", f"shop:{SECRET}/"),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", f"my shop:{SECRET}"),
        (ReceiverSettings, "CDR_RECEIVER_SECRETS", f":{SECRET}"),
        (RecordingSettings, "CDR_RECORDINGS_URL", "/var/recordings"),
        (RecordingSettings, "CDR_RECORDING_ALLOW_NETWORKS", "10.0.0.0/99"),
        (RecordingSettings, "CDR_RECORDING_MAX_BYTES", "0"),
        (RecordingSettings, "CDR_RECORDING_HOSTS", "*"),
        (RecordingSettings, "CDR_RECORDING_HOSTS", "provider,open"),
        (RecordingSettings, "CDR_RECORDING_PER_HOST", "0"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", "30,10"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", "0,10"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", "10,soon"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", "nan"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", "10,inf"),
        (RecordingSettings, "CDR_RECORDING_RETRY_SECONDS", ","),
        (LogSettings, "CDR_LOG_FORMAT", "xml"),
        (LogSettings, "CDR_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_told_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, group: type[Group], variable: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        load_with(monkeypatch, group, **{variable: value})


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_with(monkeypatch, AccountDefaults, CDR_TIME_RULE="guess", CDR_DEFAULT_REGION="Israel")
    assert [line.partition(":")[0] for line in str(caught.value).split("; ")] == ["CDR_TIME_RULE", "CDR_DEFAULT_REGION"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cdr.invalid"])
def test_without_a_secret_only_a_loopback_address_is_allowed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^CDR_RECEIVER_SECRETS must be set .* CDR_HOST is "):
        load_with(monkeypatch, ReceiverSettings, CDR_HOST=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_a_loopback_address_may_go_without_a_secret(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert load_with(monkeypatch, ReceiverSettings, CDR_HOST=host).model_dump()["host"] == host


def test_with_a_secret_any_address_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    load_with(monkeypatch, ReceiverSettings, CDR_HOST="0.0.0.0", CDR_RECEIVER_SECRETS=f"shop:{SECRET}")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("example.invalid", False), ("", False)],
)
def test_what_is_a_loopback_address(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_secrets_are_pairs_and_an_account_may_have_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECEIVER_SECRETS", f" shop:{SECRET}1 , shop:{SECRET}2,office:{SECRET}3,")
    pairs = [(account, secret.get_secret_value()) for account, secret in load(ReceiverSettings).receiver_secrets]
    assert pairs == [("shop", f"{SECRET}1"), ("shop", f"{SECRET}2"), ("office", f"{SECRET}3")]


def test_a_secret_of_two_accounts_is_refused_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECEIVER_SECRETS", f"shop:{SECRET}1,office:{SECRET}2,branch:{SECRET}1")
    told = "CDR_RECEIVER_SECRETS: the accounts shop and branch have the same secret; each needs one of its own"
    with pytest.raises(ConfigurationError, match=f"^{told}$"):
        load(ReceiverSettings)


def test_an_account_may_name_its_secret_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_RECEIVER_SECRETS", f"shop:{SECRET},shop:{SECRET}")
    assert len(load(ReceiverSettings).receiver_secrets) == 2


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(
        monkeypatch,
        RecordingSettings,
        CDR_RECORDING_ALLOW_NETWORKS="127.0.0.0/8,::1/128",
    )
    assert isinstance(settings, RecordingSettings)
    assert [str(network) for network in settings.recording_allow_networks] == ["127.0.0.0/8", "::1/128"]


def test_a_file_may_hold_a_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"shop:{SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("CDR_RECEIVER_SECRETS_FILE", str(file))
    assert load(ReceiverSettings).receiver_secrets[0][1].get_secret_value() == SECRET


def test_a_file_that_cannot_be_read_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CDR_REDIS_URL_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=r"^CDR_REDIS_URL_FILE: cannot read "):
        load(RedisSettings)


def test_a_wrong_value_in_a_file_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "zone"
    file.write_text("Asia/Atlantis", encoding="utf-8")
    monkeypatch.setenv("CDR_TIME_ZONE_FILE", str(file))
    with pytest.raises(ConfigurationError, match=r"^CDR_TIME_ZONE: "):
        load(AccountDefaults)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_TIME_ZONE", "")
    monkeypatch.setenv("CDR_REDIS_URL_FILE", "")
    assert load(AccountDefaults).time_zone == "Asia/Jerusalem"


@pytest.mark.parametrize(
    ("group", "variables", "secret"),
    [
        (RedisSettings, {}, "pass-word"),
        (DatabaseSettings, {}, "pass-word"),
        (ReceiverSettings, {"CDR_RECEIVER_SECRETS": f"shop:{SECRET}"}, SECRET),
    ],
)
def test_no_secret_shows_in_a_group(
    monkeypatch: pytest.MonkeyPatch, group: type[Group], variables: dict[str, str], secret: str
) -> None:
    settings = load_with(monkeypatch, group, **variables)
    assert secret not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("group", "variables", "secret"),
    [
        (ReceiverSettings, {"CDR_RECEIVER_SECRETS": f"my shop:{SECRET}"}, SECRET),
        (ReceiverSettings, {"CDR_RECEIVER_SECRETS": f"shop:{SECRET}", "CDR_PORT": "x"}, SECRET),
        (ReceiverSettings, {"CDR_RECEIVER_SECRETS": f"shop:{SECRET}!"}, SECRET),
        (RedisSettings, {"CDR_REDIS_URL": "http://:pass-word@127.0.0.1"}, "pass-word"),
        (RedisSettings, {"CDR_REDIS_URL": "redis://:pass-word#@127.0.0.1:6379"}, "pass-word"),
        (DatabaseSettings, {"CDR_DATABASE_URL": "http://:pass-word@127.0.0.1"}, "pass-word"),
    ],
)
def test_no_secret_shows_in_the_traceback_of_a_wrong_value(
    monkeypatch: pytest.MonkeyPatch, group: type[Group], variables: dict[str, str], secret: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_with(monkeypatch, group, **variables)
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_a_group_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(monkeypatch, AccountDefaults)
    with pytest.raises(ValueError, match="frozen"):
        settings.time_zone = "UTC"  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["postgres://a.invalid/cdr", "postgresql://a.invalid:5432,b.invalid:5432/cdr"])
def test_postgres_may_have_several_hosts(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CDR_DATABASE_URL", url)
    assert load(DatabaseSettings).database_url.get_secret_value() == url


@pytest.mark.parametrize("url", ["redis://a.invalid", "rediss://user:p%23@a.invalid:6380/1", "unix:///run/redis.sock"])
def test_redis_may_be_reached_in_each_way(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CDR_REDIS_URL", url)
    assert load(RedisSettings).redis_url.get_secret_value() == url


@pytest.mark.parametrize("named", ["CDR_REDIS_URL", "CDR_REDIS_URL_FILE"])
def test_what_a_group_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    assert missing(RedisSettings) == ["CDR_REDIS_URL"]
    assert missing(SpoolSettings) == []
    (tmp_path / "url").write_text("redis://redis.invalid")
    monkeypatch.setenv(named, str(tmp_path / "url") if named.endswith("_FILE") else "redis://redis.invalid")
    assert missing(RedisSettings) == []


def test_a_group_is_given_by_any_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_given(ReceiverSettings, SpoolSettings)
    monkeypatch.setenv("CDR_SPOOL_DIR", "/spool")
    assert is_given(ReceiverSettings, SpoolSettings)
    assert not is_given(ReceiverSettings)


def test_other_settings_take_the_place_of_all_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_ACK_LEVEL", "redis")
    monkeypatch.setenv("CDR_REDIS_URL", "redis://one.invalid")
    monkeypatch.setenv("OTHER", "stays")
    assert settings_here() == {"CDR_ACK_LEVEL": "redis", "CDR_REDIS_URL": "redis://one.invalid"}
    use_settings({"CDR_REDIS_URL": "redis://two.invalid"})
    assert settings_here() == {"CDR_REDIS_URL": "redis://two.invalid"}
    assert os.environ["OTHER"] == "stays"
