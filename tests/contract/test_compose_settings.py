from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from cdr.embedded_postgres import SETTINGS as EMBEDDED
from common import settings
from common.environment import Group, load

ROOT = Path(__file__).parents[2]

# Those of commands that run outside of compose are defined where the commands are.
GROUPS = {
    group
    for group in vars(settings).values()
    if isinstance(group, type) and issubclass(group, Group) and group is not Group
}
# Which settings a service reads. A process that reads a group gets all of it, or a setting would do nothing there.
READS: dict[str, tuple[type[Group], ...]] = {
    "receiver": (settings.ReceiverSettings, settings.RedisSettings, settings.SpoolSettings, settings.LogSettings),
    "worker": (
        settings.DatabaseSettings,
        settings.AccountDefaults,
        settings.BodySettings,
        settings.HookSettings,
        settings.LogSettings,
    ),
    "recorder": (
        settings.DatabaseSettings,
        settings.RecordingSettings,
        settings.HookSettings,
        settings.LogSettings,
    ),
    "hooks": (settings.DatabaseSettings, settings.HookSettings, settings.LogSettings),
    "scheduler": (settings.DatabaseSettings, settings.LogSettings),
    "migrate": (settings.DatabaseSettings, settings.LogSettings),
    "doctor": tuple(GROUPS),
}
# Compose's own business, so not for .env: where the services and the volumes are.
SET_BY_COMPOSE = {"CDR_REDIS_URL", "CDR_DATABASE_URL", "CDR_HOST", "CDR_SPOOL_DIR"}
# Several receivers on one port are several containers here.
UNUSED = {"CDR_REUSE_PORT"}
# Known to compose alone: what it publishes, builds, and gives to PostgreSQL and Redis.
OF_COMPOSE = {"CDR_BIND", "CDR_IMAGE", "CDR_POSTGRES_PASSWORD", "CDR_REDIS_PASSWORD", "CDR_REDIS_MAXMEMORY"}


def names(group: type[Group]) -> set[str]:
    return {f"CDR_{field.upper()}" for field in group.model_fields}


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.removeprefix("#").split("=", 1) for line in lines if line.removeprefix("#").startswith("CDR_"))


def every_name() -> set[str]:
    return set().union(*map(names, GROUPS))


def test_every_group_of_settings_is_read_by_a_service() -> None:
    assert {group for groups in READS.values() for group in groups} == GROUPS


@pytest.mark.parametrize("service", READS)
def test_a_service_is_given_every_setting_that_it_reads_and_none_that_is_none(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    given = set(compose["services"][service]["environment"])
    assert set().union(*map(names, READS[service])) - UNUSED <= given
    assert {name for name in given if name.startswith("CDR_")} <= every_name() | SET_BY_COMPOSE


@pytest.mark.parametrize("service", ["receiver", "worker", "recorder", "hooks", "scheduler", "doctor"])
def test_whoever_hands_something_on_to_redis_is_told_how_safe_that_has_to_be(service: str) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {"CDR_ACK_LEVEL", "CDR_ACK_REPLICAS"} <= set(compose["services"][service]["environment"])


def test_the_doctor_is_told_and_sees_what_the_others_are_told_and_see() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    doctor = services.pop("doctor")
    ours = [service for service in services.values() if "CDR_LOG_FORMAT" in service.get("environment", {})]
    for service in ours:
        assert service["environment"].items() <= doctor["environment"].items()
        assert set(service.get("volumes", [])) <= set(doctor["volumes"])


def test_the_recorder_is_told_every_variable_of_the_clouds_that_the_documents_name() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    told = compose["services"]["recorder"]["environment"]
    document = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:AWS|GOOGLE|AZURE)_[A-Z0-9_]+)", document)) - {"AWS_PROFILE"}
    assert len(named) > 10
    assert named == {name for name in told if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))}


def test_what_is_on_its_way_to_a_cloud_waits_on_a_disk() -> None:
    recorder = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["recorder"]
    assert recorder["environment"]["TMPDIR"] in {volume.split(":")[1] for volume in recorder["volumes"]}


def test_the_example_names_every_setting_and_nothing_else() -> None:
    assert set(example()) - OF_COMPOSE == every_name() - SET_BY_COMPOSE - UNUSED


def test_the_example_tells_the_true_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    required = {
        "CDR_REDIS_URL": "redis://redis",
        "CDR_DATABASE_URL": "postgresql://postgres",
        "CDR_RECORDINGS_URL": "file:///var/lib/cdr/recordings",
    }
    for name in every_name():
        monkeypatch.delenv(name, raising=False)
    for name, value in required.items():
        monkeypatch.setenv(name, value)
    defaults = {group: load(group) for group in GROUPS}
    for name, value in example().items():
        # People read the logs of `cdr up`, machines those of containers.
        if name != "CDR_LOG_FORMAT":
            monkeypatch.setenv(name, value)
    assert {group: load(group) for group in GROUPS} == defaults


def test_the_example_says_of_each_setting_what_it_is_for() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if line.removeprefix("#").startswith("CDR_"):
            assert before.startswith(("# ", "#CDR_")), line


def test_postgres_has_the_memory_and_the_log_that_it_has_under_cdr_up() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    [program, *options] = compose["services"]["postgres"]["command"]
    given = dict(option.split("=") for option in options if option != "-c")
    assert program == "postgres"
    assert given == {name: EMBEDDED[name] for name in ("shared_buffers", "max_wal_size")}
