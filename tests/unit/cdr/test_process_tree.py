"""Which children `cdr up` starts, and what it tells them."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from cdr import process_tree
from cdr.data_folder import DataFolder, Secrets
from cdr.process_tree import ProcessTree
from cdr.up_options import GivenSettings, UpOptions

SECRETS = Secrets(receiver="r" * 40, postgres="p" * 40, valkey="v" * 40, console="c" * 40)
PORTS = {"receiver": 8080, "postgres": 5433, "valkey": 6380}
NOTHING = dict.fromkeys(GivenSettings.model_fields)


def tree(options: UpOptions | None = None, **given: object) -> ProcessTree:
    settings = GivenSettings.model_construct(**{**NOTHING, "recording_allow_networks": "", **given})
    return ProcessTree(options or UpOptions(), settings, DataFolder(Path("/my data")), SECRETS, PORTS, ("cdr",))


def names(stages: list[list[process_tree.Child]]) -> list[list[str]]:
    return [[child.name for child in stage] for stage in stages]


def command_line(child: process_tree.Child) -> str:
    return " ".join(child.argv[list(child.argv).index("--") + 1 :])


def test_servers_come_first_then_receivers_with_the_migrations_then_the_other_roles() -> None:
    assert names(tree().stages()) == [
        ["postgresql", "valkey"],
        ["receiver-1", "migrate"],
        ["worker-1", "recorder-1", "hooks", "scheduler"],
    ]


def test_each_role_runs_as_its_own_command_line() -> None:
    _, receivers, roles = tree().stages()

    assert [command_line(child) for child in (*receivers, *roles)] == [
        "cdr receiver",
        "cdr migrate",
        "cdr worker cdrs",
        "cdr worker recordings",
        "cdr worker hooks",
        "cdr scheduler",
    ]


def test_there_are_as_many_receivers_workers_and_recorders_as_asked_for() -> None:
    options = UpOptions(receivers=2, workers=3, recorders=0)

    _, receivers, roles = names(tree(options).stages())

    assert receivers == ["receiver-1", "receiver-2", "migrate"]
    assert roles == ["worker-1", "worker-2", "worker-3", "hooks", "scheduler"]


@pytest.mark.parametrize(("receivers", "shared"), [(1, None), (2, "1")])
def test_only_several_receivers_share_their_port(receivers: int, shared: str | None) -> None:
    assert tree(UpOptions(receivers=receivers)).environment().get("CDR_REUSE_PORT") == shared


def test_the_roles_are_told_where_everything_is() -> None:
    assert tree().environment() == {
        "CDR_DATABASE_URL": f"postgresql://cdr:{SECRETS.postgres}@127.0.0.1:5433/cdr",
        "CDR_REDIS_URL": f"redis://:{SECRETS.valkey}@127.0.0.1:6380/0",
        "CDR_HOST": "127.0.0.1",
        "CDR_PORT": "8080",
        "CDR_RECEIVER_SECRETS": f"default:{SECRETS.receiver}",
        "CDR_RECORDINGS_URL": "file:///my%20data/recordings",
        "CDR_SPOOL_DIR": "/my data/spool",
    }


def test_what_the_user_has_set_is_left_alone() -> None:
    given = tree(
        database_url=SecretStr("postgresql://theirs/cdr"),
        redis_url=SecretStr("redis://theirs/0"),
        receiver_secrets=SecretStr("acme:0123456789abcdef,other:fedcba9876543210"),
        recordings_url="s3://bucket",
        spool_dir="/spool",
    )

    assert given.environment() == {"CDR_HOST": "127.0.0.1", "CDR_PORT": "8080"}
    assert names(given.stages())[:2] == [[], ["receiver-1", "migrate"]]
    assert given.addresses() == {
        "CDR_DATABASE_URL": "postgresql://theirs/cdr",
        "CDR_REDIS_URL": "redis://theirs/0",
        "CDR_RECEIVER_URL": "http://127.0.0.1:8080/cdr/0123456789abcdef",
    }


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("192.168.1.7", "192.168.1.7"),
        ("localhost", "localhost"),
    ],
)
def test_the_address_is_one_that_this_machine_can_reach(host: str, address: str) -> None:
    assert tree(UpOptions(host=host)).receiver_url == f"http://{address}:8080/cdr/{SECRETS.receiver}"


def test_the_provider_is_given_the_public_address() -> None:
    assert tree(public_url="https://cdr.example.com/").public_url == f"https://cdr.example.com/cdr/{SECRETS.receiver}"
    assert tree().public_url == tree().receiver_url


@pytest.mark.parametrize(("given", "networks"), [("", "127.0.0.0/8"), ("10.0.0.0/8", "10.0.0.0/8,127.0.0.0/8")])
def test_the_demo_feeds_calls_whose_recordings_may_be_local(given: str, networks: str) -> None:
    demo = tree(UpOptions(demo=True), recording_allow_networks=given)

    assert demo.environment()["CDR_RECORDING_ALLOW_NETWORKS"] == networks
    simulate = demo.stages()[-1][0]
    assert command_line(simulate) == "cdr simulate --rate 2 --serve-recordings"
    assert simulate.environment["CDR_RECEIVER_URL"] == demo.receiver_url


class Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_receiver_is_ready_once_it_says_so(status: int, ready: bool) -> None:
    handler = type("Handler", (Answer,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answered = process_tree._answers("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join()

    assert answered is ready


def test_a_receiver_that_does_not_listen_is_not_ready() -> None:
    assert process_tree._answers("127.0.0.1", 1) is False
