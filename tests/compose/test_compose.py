"""The product as it runs in production: the image, all services, and what an acknowledgement is worth there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from compose_stack import ROOT, ComposeStack, environment, wait_until

pytestmark = pytest.mark.timeout(1200)

COUNT = 4000
# Enough for the queue to hold a backlog, few enough for most of the load to be still to come.
MIDDLE = 800
SERVICES = ("receiver", "worker", "recorder", "hooks", "scheduler", "redis", "postgres")


@pytest.fixture(scope="module")
def docker() -> None:
    """Leave these tests out where Docker is missing, aloud; in CI that is a failure."""
    if shutil.which("docker"):
        commands = (["docker", "info"], ["docker", "compose", "version"])
        if all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands):
            return
    if os.environ.get("CI"):
        pytest.fail("CI has to run the tests of docker compose, and here is no Docker engine with compose")
    pytest.skip("no Docker engine with compose here: docker-compose.yml and the image are left untested")


@pytest.fixture(scope="module")
def started(docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    stack = ComposeStack(tmp_path_factory.mktemp("compose"))
    try:
        try:
            stack.start()
        except BaseException:
            sys.stdout.write(stack.logs())
            raise
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def stack(started: ComposeStack, request: pytest.FixtureRequest) -> Iterator[ComposeStack]:
    """Give the running services to a test, all of them up; print their logs when it fails."""
    started.start()
    failed_before = request.session.testsfailed
    yield started
    if request.session.testsfailed > failed_before:
        sys.stdout.write(started.logs())


def acked(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def finish(simulation: subprocess.Popen[str]) -> str:
    return simulation.communicate(timeout=300)[0]


def assert_loaded_once(stack: ComposeStack, file: Path) -> None:
    """Collect every acknowledged CDR from the table."""
    promised = acked(file)
    wait_until(lambda: not set(promised) - set(stack.rows()), f"{len(promised)} CDRs are loaded")
    assert set(stack.rows().values()) == {1}


def test_every_acked_cdr_is_loaded_once_although_a_worker_is_killed(stack: ComposeStack, tmp_path: Path) -> None:
    stack.start("--scale", "worker=3")
    simulation = stack.simulate(tmp_path / "acked", COUNT)
    wait_until(lambda: len(acked(tmp_path / "acked")) >= MIDDLE, "a part is acked")

    stack.kill(stack.containers("worker")[0])

    output = finish(simulation)
    assert simulation.returncode == 0, output
    assert len(stack.containers("worker")) == 2
    assert len(acked(tmp_path / "acked")) == COUNT
    assert_loaded_once(stack, tmp_path / "acked")


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_every_cdr_is_acked_and_loaded_although_redis_ends(stack: ComposeStack, tmp_path: Path, end: str) -> None:
    simulation = stack.simulate(tmp_path / "acked", COUNT)
    wait_until(lambda: len(acked(tmp_path / "acked")) >= MIDDLE, "a part is acked")

    stack.compose(end, "redis")
    output = finish(simulation)
    stack.start()

    assert simulation.returncode == 0, output
    assert len(acked(tmp_path / "acked")) == COUNT
    assert_loaded_once(stack, tmp_path / "acked")


def test_a_spool_outlives_the_receiver_that_filled_it(stack: ComposeStack, tmp_path: Path) -> None:
    stack.compose("kill", "redis")
    finish(stack.simulate(tmp_path / "acked", 300))
    # It ends with exit code 1, because Redis does not answer.
    options = ("run", "--rm", "--no-TTY", "--entrypoint", "sh", "doctor", "-c", "cdr status --json || true")
    told = json.loads(stack.compose(*options))
    assert sum(each["cdrs"] for each in told["spools_here"]) >= 300
    stack.kill(stack.containers("receiver")[0])

    stack.start()

    assert len(acked(tmp_path / "acked")) == 300
    assert_loaded_once(stack, tmp_path / "acked")


def test_what_is_queued_and_what_is_loaded_outlives_the_containers(stack: ComposeStack, tmp_path: Path) -> None:
    finish(stack.simulate(tmp_path / "loaded", 300))
    assert_loaded_once(stack, tmp_path / "loaded")
    stack.compose("stop", "worker")
    finish(stack.simulate(tmp_path / "queued", 300))
    assert not set(acked(tmp_path / "queued")) & set(stack.rows())

    stack.compose("down")
    stack.start()

    assert set(acked(tmp_path / "loaded")) <= set(stack.rows())
    assert len(acked(tmp_path / "queued")) == 300
    assert_loaded_once(stack, tmp_path / "queued")


def test_the_doctor_finds_no_problem_and_sees_every_part(stack: ComposeStack) -> None:
    wait_until(lambda: not [each for each in examined(stack) if each["status"] == "problem"], "nothing is wrong")
    unseen = {each["check"] for each in examined(stack) if each["detail"].startswith("not set here")}
    assert unseen <= {"settings.public_url", "hooks.importable", "hooks.webhook"}


def examined(stack: ComposeStack) -> list[dict[str, str]]:
    # Exit code 1 would fail here before the problem could be told.
    options = ("run", "--rm", "--no-TTY", "--entrypoint", "sh", "doctor", "-c", "cdr doctor --json || true")
    found: list[dict[str, str]] = json.loads(stack.compose(*options))
    return found


def test_stock_rq_commands_work_in_the_image(stack: ComposeStack, tmp_path: Path) -> None:
    stack.compose("stop", "worker")
    finish(stack.simulate(tmp_path / "acked", 300))
    assert "cdrs" in stack.exec("hooks", "rq", "info", "--only-queues")

    stack.exec("hooks", "rq", "worker", "--burst", "cdrs")

    assert_loaded_once(stack, tmp_path / "acked")


# Queues, in the image, a job that names a function of the system, and one that is a pickle: each would make a folder.
HOSTILE = """
import json, os, pickle
from redis import Redis
from rq.utils import utcformat, now

class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/harm",)

redis = Redis.from_url(os.environ["RQ_REDIS_URL"])
common = {"created_at": utcformat(now()), "origin": "cdrs", "status": "queued", "timeout": -1, "failure_ttl": -1}
jobs = {"hostile-name": json.dumps(["os.mkdir", None, ["/tmp/harm"], {}]), "hostile-pickle": pickle.dumps(Evil())}
for name, data in jobs.items():
    redis.hset("rq:job:" + name, mapping={**common, "data": data, "success_callback_name": "os.mkdir"})
    redis.rpush("rq:queue:cdrs", name)
"""


def test_in_the_image_stock_rq_commands_run_no_hostile_job(stack: ComposeStack) -> None:
    stack.compose("stop", "worker")
    stack.exec("hooks", "python", "-c", HOSTILE)

    stack.exec("hooks", "rq", "info")
    stack.exec("hooks", "rq", "worker", "--burst", "cdrs")
    stack.exec("hooks", "rq", "requeue", "--queue", "cdrs", "--all")
    stack.exec("hooks", "rq", "worker", "--burst", "cdrs")

    failed = json.loads(stack.exec("hooks", "cdr", "failed", "list", "--json"))
    assert {job["job_id"] for job in failed} == {"hostile-name", "hostile-pickle"}
    assert stack.exec("hooks", "ls", "/tmp") == ""
    stack.exec("hooks", "cdr", "failed", "discard", "--all")


@pytest.mark.parametrize("service", ["worker", "recorder", "hooks", "scheduler", "receiver"])
def test_a_process_that_ends_is_started_again(stack: ComposeStack, service: str) -> None:
    (container,) = stack.containers(service)[:1]
    before = int(stack.inspect(container, "{{.RestartCount}}"))
    # Nobody waits for its exit code: with the first process, Docker kills the one that sent the signal.
    stack.compose("exec", "--detach", service, "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
    wait_until(
        lambda: (
            int(stack.inspect(container, "{{.RestartCount}}")) > before
            and stack.inspect(container, "{{.State.Running}}") == "true"
        ),
        f"{service} is running again",
    )


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_runs_as_root(stack: ComposeStack, service: str) -> None:
    status = dict(line.split(":", 1) for line in stack.exec(service, "cat", "/proc/1/status").splitlines())
    assert "0" not in status["Uid"].split()
    assert int(status["NoNewPrivs"]) == 1


@pytest.mark.parametrize("service", ["receiver", "recorder"])
def test_a_service_can_write_to_its_volume_and_nowhere_else(stack: ComposeStack, service: str) -> None:
    folder = {"receiver": "spool", "recorder": "recordings"}[service]
    script = (
        f"touch /var/lib/cdr/{folder}/x && rm /var/lib/cdr/{folder}/x && ! touch /var/lib/cdr/x /opt/cdr/x 2>/dev/null"
    )
    stack.exec(service, "sh", "-c", script)


def test_the_receiver_is_published_on_the_loopback_only(stack: ComposeStack) -> None:
    assert stack.compose("port", "receiver", "8080").startswith("127.0.0.1:")
    with urlopen(stack.url.split("/cdr/")[0] + "/readyz", timeout=5) as answer:
        assert answer.status == 200
    ports = {
        service: stack.inspect(stack.containers(service)[0], "{{json .HostConfig.PortBindings}}")
        for service in SERVICES
    }
    assert [service for service, bound in ports.items() if bound not in {"{}", "null"}] == ["receiver"]


def test_without_an_env_file_compose_says_how_to_make_one(docker: None, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    command = ["docker", "compose", "--env-file", str(tmp_path / "empty"), "config"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "run make env first" in done.stderr
