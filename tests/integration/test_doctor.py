"""`cdr doctor` as a whole: nothing wrong where nothing is, each cause told once, nothing waited for for ever."""

from __future__ import annotations

import pytest
from doctoring import OF_THE_TESTS, SECRET, Here, black_hole, here, product

from cdr.doctor.command import SECTIONS

__all__ = ["here", "product"]

DEAD_REDIS = "redis://:a-pass-word@127.0.0.1:1/0"
DEAD_POSTGRESQL = "postgresql://somebody:a-pass-word@127.0.0.1:1/none"
NAMES = [name for section in SECTIONS for name in section.checks]


def statuses(here: Here, *prefixes: str) -> set[str]:
    found = here.findings()
    return {each["status"] for name, each in found.items() if name.startswith(prefixes)}


def test_where_all_is_well_nothing_is_wrong(here: Here) -> None:
    assert here.faults() == OF_THE_TESTS


def test_each_check_is_a_line_that_ends_in_what_to_do(here: Here) -> None:
    here.set(CDR_ACK_LEVEL="redis")

    done = here.doctor()

    lines = done.out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == NAMES
    assert next(line for line in lines if "redis.ack_level" in line) == (
        "warning  redis.ack_level          acknowledged means: in the memory of Redis, which may lose it in a crash"
        " - CDR_ACK_LEVEL=fsync, where Redis knows WAITAOF"
    )
    assert (done.exit_code, lines[-1]) == (0, f"{len(NAMES)} checks: 0 problems, 2 warnings")


def test_json_is_a_list_of_all_checks(here: Here) -> None:
    done = here.doctor("--json")
    assert [each["check"] for each in done.json] == NAMES
    assert {tuple(each) for each in done.json} == {("check", "status", "detail", "advice")}


def test_a_wrong_option_is_wrong_usage(here: Here) -> None:
    assert here.doctor("--everything").exit_code == 2


@pytest.mark.parametrize("dead", [True, False])
def test_without_redis_its_checks_say_so_and_the_others_run(here: Here, dead: bool) -> None:
    with black_hole() as address:
        here.set(CDR_REDIS_URL=DEAD_REDIS if dead else f"redis://:a-pass-word@{address}/0")
        found = here.findings()
    assert found["redis.reachable"]["status"] == "problem"
    assert found["redis.reachable"]["detail"].startswith("Redis: ")
    others = {name: each for name, each in found.items() if name.startswith(("redis.", "queues.", "receivers."))}
    del others["redis.reachable"]
    assert {(each["status"], each["detail"]) for each in others.values()} == {
        ("info", "not checked: see redis.reachable")
    }
    assert found["schema.insert"]["status"] == "ok"


@pytest.mark.parametrize("dead", [True, False])
def test_without_postgresql_its_checks_say_so_and_the_others_run(here: Here, dead: bool) -> None:
    with black_hole() as address:
        here.set(CDR_DATABASE_URL=DEAD_POSTGRESQL if dead else f"postgresql://somebody:a-pass-word@{address}/none")
        found = here.findings()
    assert found["postgresql.reachable"]["status"] == "problem"
    assert "connection" in found["postgresql.reachable"]["detail"]
    others = {name: each for name, each in found.items() if name.startswith(("postgresql.", "schema.", "scheduler."))}
    del others["postgresql.reachable"]
    assert {(each["status"], each["detail"]) for each in others.values()} == {
        ("info", "not checked: see postgresql.reachable")
    }
    assert found["redis.confirms"]["status"] == "ok"


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_secret_is_shown(here: Here, arguments: tuple[str, ...]) -> None:
    password = here.product.database_url.split(":")[2].split("@")[0]
    for redis, database in (
        (None, None),
        (DEAD_REDIS, DEAD_POSTGRESQL),
        (
            f"redis://:a-pass-word@{here.product.database_url.rpartition('@')[2]}",
            here.product.database_url.replace(password, "a-pass-word"),
        ),
    ):
        if redis and database:
            here.set(CDR_REDIS_URL=redis, CDR_DATABASE_URL=database)
        done = here.doctor(*arguments)
        assert not [word for word in (password, "a-pass-word", SECRET) if word in done.out + done.err]


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("CDR_ACK_LEVEL", "always", "settings.redis"),
        ("CDR_DATABASE_URL", "mysql://127.0.0.1", "settings.database"),
        ("CDR_TIME_ZONE", "Asia/Atlantis", "settings.accounts"),
        ("CDR_RECEIVER_SECRETS", "shop:short", "settings.receiver"),
        ("CDR_SPOOL_MAX_BYTES", "1", "settings.spool"),
        ("CDR_RECORDINGS_URL", "/recordings", "settings.recordings"),
        ("CDR_HOOKS", "crm", "settings.hooks"),
        ("CDR_LOG_LEVEL", "loud", "settings.log"),
    ],
)
def test_a_wrong_setting_is_one_problem_that_names_its_variable(
    here: Here, variable: str, value: str, check: str
) -> None:
    here.set(**{variable: value})
    assert {name: status for name, status in here.faults().items() if name not in OF_THE_TESTS} == {check: "problem"}
    assert here.findings()[check]["detail"].startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("variable", "prefixes"),
    [
        ("CDR_REDIS_URL", ("redis.", "queues.", "receivers.")),
        ("CDR_DATABASE_URL", ("postgresql.", "schema.", "scheduler.")),
        ("CDR_RECORDINGS_URL", ("recordings.",)),
    ],
)
def test_what_another_process_needs_is_not_missed_here(here: Here, variable: str, prefixes: tuple[str, ...]) -> None:
    here.unset(variable)
    assert here.faults().keys() <= OF_THE_TESTS.keys()
    found = here.findings()
    told = {each["detail"] for name, each in found.items() if name.startswith(prefixes)}
    assert told == {f"not set here: {variable}"}


def test_an_environment_of_nothing_is_a_problem(here: Here) -> None:
    here.unset("CDR_REDIS_URL", "CDR_DATABASE_URL")
    assert here.faults() == {"settings.redis": "problem", "settings.database": "problem"}
    assert "cdr doctor --data" in here.findings()["settings.redis"]["advice"]


def test_in_the_environment_of_a_worker_the_receiver_is_not_missed(here: Here) -> None:
    here.unset("CDR_RECEIVER_SECRETS", "CDR_PUBLIC_URL", "CDR_SPOOL_DIR", "CDR_SPOOL_MAX_BYTES")
    assert here.faults() == OF_THE_TESTS
    assert statuses(here, "spool.", "settings.secrets", "settings.public_url") == {"info"}


def test_a_receiver_without_a_secret_is_a_warning(here: Here) -> None:
    here.unset("CDR_RECEIVER_SECRETS")
    assert here.faults() == {**OF_THE_TESTS, "settings.secrets": "warning"}


def test_a_public_address_without_tls_is_a_warning(here: Here) -> None:
    here.set(CDR_PUBLIC_URL="http://cdr.example.invalid")
    assert here.faults() == {**OF_THE_TESTS, "settings.public_url": "warning"}


@pytest.mark.parametrize("variable", ["RQ_JOB_CLASS", "RQ_QUEUE_CLASS", "RQ_WORKER_CLASS"])
def test_stock_rq_without_our_classes_is_a_warning(here: Here, variable: str) -> None:
    here.set(**{variable: "rq.job.Job"})
    assert here.faults() == {**OF_THE_TESTS, "settings.stock_rq": "warning"}
    assert f"{variable}=" in here.findings()["settings.stock_rq"]["advice"]


def test_stock_rq_that_nobody_has_set_up_is_only_told_of(here: Here) -> None:
    here.unset("RQ_JOB_CLASS", "RQ_QUEUE_CLASS", "RQ_WORKER_CLASS")
    assert here.faults() == OF_THE_TESTS
    found = here.findings()["settings.stock_rq"]
    assert found["status"] == "info"
    assert "RQ_WORKER_CLASS=worker.queue_worker.CdrWorker" in found["detail"]
