"""What `cdr up` runs: the stages of children, and the addresses and settings that they are given."""

from __future__ import annotations

import http.client
import ipaddress
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cdr.child_process import Child
from cdr.data_folder import DataFolder, Secrets
from cdr.embedded_postgres import EmbeddedPostgres
from cdr.embedded_server import EmbeddedServer
from cdr.embedded_valkey import EmbeddedValkey
from cdr.launch import launched
from cdr.up_options import GivenSettings, UpOptions
from common.settings import DEFAULT_ACCOUNT

# `-P` keeps the folder that the user happens to be in from shadowing our packages.
CDR_COMMAND = (sys.executable, "-P", "-m", "cdr")
DEMO_RATE = "2"
MIGRATE_SECONDS = 30.0
RECEIVER_SECONDS = 30.0
# After a crash a server reads its log first, which may be long.
SERVER_SECONDS = 600.0
SERVER_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class ProcessTree:
    """One run of `cdr up` on a data folder. `ports` are by name: receiver, postgres, valkey."""

    options: UpOptions
    given: GivenSettings
    folder: DataFolder
    secrets: Secrets
    ports: dict[str, int]
    command: Sequence[str] = CDR_COMMAND

    def stages(self) -> list[list[Child]]:
        """Return the children in the order of their start: servers, receivers, other roles, and the demo's caller.

        A receiver takes CDRs without PostgreSQL, so it does not wait for the migrations.
        """
        receivers = [self._receiver(number) for number in _numbers(self.options.receivers)]
        stages = [[_server(server) for server in self._servers()], [*receivers, self._migrate()], self._roles()]
        if self.options.demo:
            stages.append([self._role("simulate", "simulate", "--rate", DEMO_RATE, "--serve-recordings")])
        return stages

    @property
    def receiver_url(self) -> str:
        """The full address to post to from this machine, secret included."""
        host = _reachable(self.options.host)
        return f"http://{_bracketed(host)}:{self.ports['receiver']}{self._path}"

    @property
    def public_url(self) -> str:
        """The full address to give to the provider, secret included."""
        base = self.given.public_url
        return f"{base.rstrip('/')}{self._path}" if base else self.receiver_url

    def addresses(self) -> dict[str, str]:
        """Return what `cdr env` shows, by setting name."""
        given = (("CDR_DATABASE_URL", self.given.database_url), ("CDR_REDIS_URL", self.given.redis_url))
        known = {name: url.get_secret_value() for name, url in given if url}
        return {**known, **self._server_urls(), "CDR_RECEIVER_URL": self.receiver_url}

    def environment(self) -> dict[str, str]:
        """Return the settings of the roles that the environment does not hold already."""
        given = self.given
        ours = {**self._server_urls(), "CDR_HOST": self.options.host, "CDR_PORT": str(self.ports["receiver"])}
        if given.receiver_secrets is None:
            ours["CDR_RECEIVER_SECRETS"] = f"{DEFAULT_ACCOUNT}:{self.secrets.receiver}"
        if given.recordings_url is None:
            ours["CDR_RECORDINGS_URL"] = self.folder.recordings.as_uri()
        if given.spool_dir is None:
            ours["CDR_SPOOL_DIR"] = str(self.folder.spool)
        if self.options.receivers > 1:
            ours["CDR_REUSE_PORT"] = "1"
        if self.options.demo:
            networks = filter(None, (given.recording_allow_networks, "127.0.0.0/8"))
            ours["CDR_RECORDING_ALLOW_NETWORKS"] = ",".join(networks)
            # In the environment rather than as --url, because every user may read command lines.
            ours["CDR_RECEIVER_URL"] = self.receiver_url
        return ours

    @property
    def _path(self) -> str:
        return f"/cdr/{self.given.first_secret() or self.secrets.receiver}"

    def _servers(self) -> list[EmbeddedServer]:
        servers: list[EmbeddedServer] = []
        if self.given.database_url is None:
            servers.append(EmbeddedPostgres(self.folder.postgres, self.ports["postgres"], self.secrets.postgres))
        if self.given.redis_url is None:
            servers.append(EmbeddedValkey(self.folder.valkey, self.ports["valkey"], self.secrets.valkey))
        return servers

    def _server_urls(self) -> dict[str, str]:
        return {server.setting: server.url() for server in self._servers()}

    def _migrate(self) -> Child:
        argv = launched([*self.command, "migrate"], on_parent_death=signal.SIGTERM)
        return Child("migrate", argv, self.environment(), once=True, ready_seconds=MIGRATE_SECONDS)

    def _roles(self) -> list[Child]:
        options = self.options
        return [
            *(self._role(f"worker-{number}", "worker", "cdrs") for number in _numbers(options.workers)),
            *(self._role(f"recorder-{number}", "worker", "recordings") for number in _numbers(options.recorders)),
            self._role("hooks", "worker", "hooks"),
            self._role("scheduler", "scheduler"),
        ]

    def _role(self, name: str, *arguments: str) -> Child:
        argv = launched([*self.command, *arguments], on_parent_death=signal.SIGTERM)
        return Child(name, argv, self.environment())

    def _receiver(self, number: int) -> Child:
        argv = launched([*self.command, "receiver"], on_parent_death=signal.SIGTERM)
        return Child(
            f"receiver-{number}",
            argv,
            self.environment(),
            is_ready=lambda: _answers(_reachable(self.options.host), self.ports["receiver"]),
            ready_seconds=RECEIVER_SECONDS,
        )


def _server(server: EmbeddedServer) -> Child:
    return Child(
        server.name.lower(),
        server.command(),
        prepare=server.prepare,
        is_ready=server.is_ready,
        ready_seconds=SERVER_SECONDS,
        stop_signal=server.stop_signal,
        stop_seconds=SERVER_STOP_SECONDS,
    )


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _reachable(host: str) -> str:
    """Return the address at which a program on this machine reaches a server that listens on `host`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _answers(host: str, port: int) -> bool:
    """Tell whether the receiver takes posts: one that cannot trust Redis for now does, into its spool."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
