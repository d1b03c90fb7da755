"""What `cdr up` is told: by its options, and by settings that are already in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from common.settings import Group


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

    def first_secret(self) -> str | None:
        """Return the first of CDR_RECEIVER_SECRETS (account:secret,...), None when there is none."""
        if self.receiver_secrets is None:
            return None
        return self.receiver_secrets.get_secret_value().split(",")[0].partition(":")[2].strip()
