"""Checks of the settings: each group can be read, and what is wrong or missing is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pydantic_settings import SettingsConfigDict

from cdr.doctor.examine import Section
from cdr.doctor.finding import Finding, info, not_set, ok, problem, settings_of, warning
from common.environment import Group, is_given, load, missing
from common.errors import ConfigurationError
from common.settings import (
    AccountDefaults,
    DatabaseSettings,
    HookSettings,
    LogSettings,
    ReceiverSettings,
    RecordingSettings,
    RedisSettings,
    SpoolSettings,
)

RQ_CLASSES = {
    "job_class": "common.job_queue.CdrJob",
    "queue_class": "common.job_queue.CdrQueue",
    "worker_class": "worker.queue_worker.CdrWorker",
}


class StockRqSettings(Group):
    """What stock `rq` commands are told by this environment."""

    model_config = SettingsConfigDict(env_prefix="RQ_")

    job_class: str = ""
    queue_class: str = ""
    worker_class: str = ""


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _readable(group: type[Group]) -> Callable[[None], Finding]:
    def check(_: None) -> Finding:
        try:
            if absent := missing(group):
                return _absent(absent)
            load(group)
        except ConfigurationError as error:
            return problem(str(error), "mend the variable")
        return ok("can be read")

    return check


def _absent(names: list[str]) -> Finding:
    if missing(RedisSettings) and missing(DatabaseSettings) and names != missing(RecordingSettings):
        return problem(f"{', '.join(names)}: is not set", "beside a running `cdr up`: cdr doctor --data DIR")
    return not_set(names)


def _time_zone(_: None) -> Finding:
    settings = settings_of(AccountDefaults, "settings.accounts")
    return settings if isinstance(settings, Finding) else ok(f"this machine knows {settings.time_zone}")


def _secrets(_: None) -> Finding:
    settings = settings_of(ReceiverSettings, "settings.receiver")
    if isinstance(settings, Finding):
        return settings
    if settings.receiver_secrets:
        accounts = {account for account, _ in settings.receiver_secrets}
        return ok(f"{len(settings.receiver_secrets)} set, of {len(accounts)} accounts")
    if is_given(ReceiverSettings):
        return warning(
            f"none: every program on this machine may post, because CDR_HOST is {settings.host}",
            "set CDR_RECEIVER_SECRETS=account:secret",
        )
    return not_set(["CDR_RECEIVER_SECRETS"])


def _public_url(_: None) -> Finding:
    settings = settings_of(ReceiverSettings, "settings.receiver")
    if isinstance(settings, Finding):
        return settings
    if settings.public_url is None:
        return not_set(["CDR_PUBLIC_URL"])
    if urlsplit(settings.public_url).scheme == "https":
        return ok("CDR_PUBLIC_URL is https")
    return warning(
        "CDR_PUBLIC_URL is not https: the secret in the address and the CDRs can be read on the way",
        "put a TLS proxy in front of the receiver and name its https:// address",
    )


def _stock_rq(_: None) -> Finding:
    found = load(StockRqSettings).model_dump()
    wrong = {f"RQ_{name.upper()}={wanted}": found[name] for name, wanted in RQ_CLASSES.items() if found[name] != wanted}
    if not wrong:
        return ok("stock rq commands use our classes")
    if not any(found.values()):
        # Whoever runs none of those commands from here has nothing to mend.
        return info(f"not set up here; before running stock rq commands from here set {' '.join(wrong)}")
    return warning(
        "stock rq commands run from here would trust whatever a job says, and lose or fail jobs that ours keep",
        f"set {' '.join(wrong)}",
    )


SETTINGS: Section[None] = Section(
    _nothing,
    {
        "settings.redis": _readable(RedisSettings),
        "settings.database": _readable(DatabaseSettings),
        "settings.accounts": _readable(AccountDefaults),
        "settings.receiver": _readable(ReceiverSettings),
        "settings.spool": _readable(SpoolSettings),
        "settings.recordings": _readable(RecordingSettings),
        "settings.hooks": _readable(HookSettings),
        "settings.log": _readable(LogSettings),
        "settings.time_zone": _time_zone,
        "settings.secrets": _secrets,
        "settings.public_url": _public_url,
        "settings.stock_rq": _stock_rq,
    },
)
