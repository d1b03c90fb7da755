"""What `cdr up` is told: by its options, and by settings that are already in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr

from common.environment import Group


@dataclass(frozen=True)
class UpOptions:
    """The options of `cdr up`; port 0 is any free port, kept from then on."""

    data: Path = Path("var")
    host: str = "127.0.0.1"
    port: int = 8080
    receivers: int = 1
    console_port: int = 8081
    workers: int = 1
    recorders: int = 1
    demo: bool = False


class GivenSettings(Group):
    """What the user has set already, which `cdr up` then leaves alone; its children read it themselves."""

    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    receiver_secrets: SecretStr | None = None
    public_url: str | None = None
    recordings_url: str | None = None
    recording_allow_networks: str = ""
    spool_dir: str | None = None
    ack_level: Literal["fsync", "redis"] = "fsync"

    def servers(self) -> list[str]:
        """Name the settings by which the user brings a server."""
        given = {"CDR_DATABASE_URL": self.database_url, "CDR_REDIS_URL": self.redis_url}
        return [name for name, url in given.items() if url is not None]

    def without_addresses_of(self, *passwords: str) -> Self:
        """Leave out addresses that hold one of our own passwords.

        They come from `cdr env` of an earlier start, in the same shell: those servers are ours to start, not the user's.
        """
        ours = {
            name: None
            for name in ("database_url", "redis_url")
            if (url := getattr(self, name)) is not None
            and any(password in url.get_secret_value() for password in passwords)
        }
        return self.model_copy(update=ours)

    def first_secret(self) -> str | None:
        """Return the first of CDR_RECEIVER_SECRETS (account:secret,...), None when there is none."""
        if self.receiver_secrets is None:
            return None
        return self.receiver_secrets.get_secret_value().split(",")[0].partition(":")[2].strip()
