"""Every setting of the product: one frozen group a concern, read from the environment once a process."""

from __future__ import annotations

import ipaddress
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from common.environment import Group
from common.host_list import HostList
from common.store_url import read_store_url

_ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
Account = Annotated[str, Field(pattern=f"^{_ACCOUNT.pattern}$")]
DEFAULT_ACCOUNT = "default"
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _url_scheme(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        scheme, separator, _ = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        # Said here because the drivers' own messages repeat the password.
        if _LONE_PERCENT.search(value.get_secret_value()):
            raise ValueError("holds a % that two hex digits do not follow: a % in a password is written %25")
        return value

    return AfterValidator(check)


def _with_port(value: SecretStr) -> SecretStr:
    """Refuse an address that redis-py would stumble over, quoting a part of the password."""
    try:
        _ = urlsplit(value.get_secret_value()).port
    except ValueError:
        raise ValueError("is no address: write / # ? and @ in its password as %2F %23 %3F and %40") from None
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone of the IANA database, such as Asia/Jerusalem") from error
    return value


class RedisSettings(Group):
    """Where the queues are. The address may hold a password, so it is a secret."""

    redis_url: Annotated[SecretStr, _url_scheme("redis", "rediss", "unix"), AfterValidator(_with_port)]
    ack_level: Literal["fsync", "redis"] = "fsync"
    ack_replicas: int = Field(default=0, ge=0, le=16)
    ack_timeout_ms: int = Field(default=2000, ge=100, le=60000)
    redis_memory_mark: float = Field(default=0.8, gt=0, le=1)


class DatabaseSettings(Group):
    """Where the rows go. The address may hold a password, so it is a secret."""

    database_url: Annotated[SecretStr, _url_scheme("postgresql", "postgres")]


class AccountDefaults(Group):
    """What holds for an account of which `cdr.accounts` says nothing else."""

    time_zone: Annotated[str, AfterValidator(_zone)] = "Asia/Jerusalem"
    time_rule: Literal["auto", "local", "utc"] = "auto"
    time_fallback: Literal["local", "utc"] = "local"
    duration_includes_wait: bool = False
    default_region: str = Field(default="IL", pattern=r"^[A-Z]{2}$")


def _split_secrets(value: object) -> object:
    """Turn `account:secret,account:secret` into pairs; an account may have two while they rotate."""
    if not isinstance(value, str):
        return value
    pairs = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        account, separator, secret = part.partition(":")
        if not separator or not _SECRET.fullmatch(secret):
            raise ValueError("must be account:secret,... with secrets of 16 or more letters, digits, - and _")
        pairs.append((account, secret))
    return tuple(pairs)


def _one_account_a_secret(pairs: tuple[tuple[str, SecretStr], ...]) -> tuple[tuple[str, SecretStr], ...]:
    """Refuse a secret that two accounts have: CDRs of one would be stored as the other's."""
    owners: dict[str, str] = {}
    for account, secret in pairs:
        owner = owners.setdefault(secret.get_secret_value(), account)
        if owner != account:
            raise ValueError(f"the accounts {owner} and {account} have the same secret; each needs one of its own")
    return pairs


Secrets = Annotated[
    tuple[tuple[Account, SecretStr], ...],
    NoDecode,
    BeforeValidator(_split_secrets),
    AfterValidator(_one_account_a_secret),
]


class BodySettings(Group):
    """How large a body may be, as it comes and inflated: the receiver and a replay of what it kept go by the same."""

    max_body_bytes: int = Field(default=33_554_432, ge=1024)


class ReceiverSettings(BodySettings):
    """The receiver's address, its secrets and its limits."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    reuse_port: bool = False
    public_url: str | None = None
    receiver_secrets: Secrets = ()
    receiver_debug: bool = False
    quarantine_bytes_per_day: int = Field(default=268_435_456, ge=0)

    @model_validator(mode="after")
    def _secret_unless_loopback(self) -> Self:
        if not self.receiver_secrets and not is_loopback(self.host):
            raise ValueError(
                f"CDR_RECEIVER_SECRETS must be set (account:secret) because CDR_HOST is {self.host}: "
                "only a loopback address may go without"
            )
        return self


class SpoolSettings(Group):
    """Where the receiver keeps what Redis cannot take, and how much of it; no folder means no spool."""

    spool_dir: Path | None = None
    spool_max_bytes: int = Field(default=2_147_483_648, ge=1_048_576)
    spool_drain_per_second: int = Field(default=2000, ge=1)


def is_account(name: str) -> bool:
    """Tell whether a text may name an account."""
    return _ACCOUNT.fullmatch(name) is not None


def is_loopback(host: str) -> bool:
    """Tell whether `host` is reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: object) -> object:
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


Networks = Annotated[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], NoDecode, BeforeValidator(_split)]


def _store_url(value: str) -> str:
    read_store_url(value)
    return value


Hosts = Annotated[
    HostList, NoDecode, BeforeValidator(lambda value: HostList.parse(value) if isinstance(value, str) else value)
]


def _ascending(seconds: tuple[float, ...]) -> tuple[float, ...]:
    if any(later < earlier for earlier, later in pairwise(seconds)):
        raise ValueError("must ascend: each wait is at least as long as the one before")
    return seconds


Waits = Annotated[
    tuple[Annotated[float, Field(gt=0, le=31_536_000)], ...],
    NoDecode,
    Field(min_length=1),
    BeforeValidator(_split),
    AfterValidator(_ascending),
]


class RecordingSettings(Group):
    """Where recordings may come from, how often they are asked for, and where they are kept."""

    recordings_url: Annotated[str, AfterValidator(_store_url)]
    # Written as the environment would give it, so that what is shown as the default can be set.
    recording_hosts: Hosts = Field(default="provider", validate_default=True)
    recording_allow_networks: Networks = ()
    recording_max_bytes: int = Field(default=536_870_912, ge=1024)
    recording_per_host: int = Field(default=32, ge=1, le=10_000)
    recording_retry_seconds: Waits = Field(default="10,30,60,300,900,3600,14400,43200,86400", validate_default=True)


WEBHOOK = "worker.hooks:webhook"
_HOOK = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_NOT_IN_AN_ADDRESS = re.compile(r"[^!-~]")


def _name_functions(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOOK.fullmatch(name):
            raise ValueError(f"{name!r} is no function: write package.module:function,...")
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)} is named more than once")
    return names


def _of_a_host(value: SecretStr) -> SecretStr:
    """Refuse what no request can be sent to, without quoting it: a part of the address may be a secret."""
    address = value.get_secret_value()
    try:
        parts = urlsplit(address)
        complete = bool(parts.hostname) and parts.port != 0 and not _NOT_IN_AN_ADDRESS.search(address)
    except ValueError:
        complete = False
    if not complete:
        raise ValueError("is no address: write https://host/path, with %XX for what is not ASCII")
    if "@" in parts.netloc:
        raise ValueError("holds a user: receivers tell us by the signature")
    return value


Seconds = Annotated[int, Field(ge=1, le=604_800)]


class NamedHooks(Group):
    """The user's own functions that get each loaded CDR: all that those who load have to know of them."""

    hooks: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_name_functions)] = ()


class HookSettings(NamedHooks):
    """What those who call the functions need: when they are tried again, and where the ready one posts to.

    The webhook's address is a secret, because those of many services hold one.
    """

    hook_retry_seconds: Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)] = (
        10,
        60,
        300,
        1800,
        7200,
        21600,
    )
    webhook_url: (
        Annotated[SecretStr, _url_scheme("http", "https"), AfterValidator(_with_port), AfterValidator(_of_a_host)]
        | None
    ) = None
    webhook_secret: Annotated[SecretStr, Field(min_length=16)] | None = None

    @model_validator(mode="after")
    def _webhook_complete(self) -> Self:
        given = {"CDR_WEBHOOK_URL": self.webhook_url, "CDR_WEBHOOK_SECRET": self.webhook_secret}
        lacking = [name for name, value in given.items() if value is None]
        if WEBHOOK in self.hooks and lacking:
            raise ValueError(f"{' and '.join(lacking)} must be set because CDR_HOOKS names {WEBHOOK}")
        return self


class LogSettings(Group):
    """How log lines look: `json` for machines, `console` for people."""

    log_format: Literal["json", "console"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
