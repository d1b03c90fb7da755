"""The rules of docs/architecture.md, each as a test: who imports whom, who owns which library, how long things may be."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "common", "cdr", "migrations")
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40

MAY_IMPORT = {
    "common": {"common"},
    "migrations": {"common", "migrations"},
    "api": {"common", "api"},
    "worker": {"common", "worker"},
    "cdr": {"common", "api", "worker", "migrations", "cdr"},
}

# Commands that have commands of their own declare their options beside `cdr/main.py`.
COMMAND_GROUPS = {
    "cdr/accounts.py",
    "cdr/clock/command.py",
    "cdr/extensions/command.py",
    "cdr/failed.py",
    "cdr/quarantine.py",
    "cdr/recordings/command.py",
}

# Each outside system has one place that knows its library. Where there are several files, each has its own part.
OWNERS = {
    "psycopg": {"common/postgres.py"},
    "redis": {"common/redis_client.py", "api/durable_queue.py"},
    "rq": {
        "common/job_queue.py",
        "worker/job_failure.py",
        "worker/less_of_rq.py",
        "worker/queue_worker.py",
        "worker/signs_of_life.py",
    },
    "urllib3": {"worker/recordings/safe_http.py", "worker/post_webhook.py", "cdr/post_cdr.py"},
    "isal": {"common/job_queue.py"},
    "obstore": {"worker/recordings/object_store.py"},
    "phonenumbers": {"worker/numbering_plans.py"},
    "prometheus_client": {"api/metrics.py"},
    "fastapi": {"api/app.py"},
    "sqlite3": {"api/spool_file.py"},
    "uvicorn": {"cdr/processes.py", "cdr/bounded_http.py", "cdr/careful_http.py"},
    "typer": {"cdr/main.py", "cdr/options.py", *COMMAND_GROUPS},
}

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@cache
def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_imports_only_what_stands_below_it(path: Path) -> None:
    package = name_of(path).split("/")[0]
    ours = {name.split(".")[0] for name in imports_of(path)} & set(PACKAGES)
    assert ours <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_stage_imports_no_other_part_of_the_job(path: Path) -> None:
    stages = {"worker.clock", "worker.phone_numbers", "worker.countries", "worker.durations"}
    if name_of(path) in {f"{stage.replace('.', '/')}.py" for stage in stages}:
        ours = {name for name in imports_of(path) if name.startswith("worker.")}
        assert ours <= {"worker.numbering_plans"}  # what it knows of telephone numbers is no part of the job


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owner_only(library: str) -> None:
    importers = {name_of(path) for path in MODULES if library in {name.split(".")[0] for name in imports_of(path)}}
    assert importers == OWNERS[library]


def test_the_environment_is_read_in_the_settings_only() -> None:
    readers = {
        name_of(path)
        for path in MODULES
        if any(isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} for node in ast.walk(_tree(path)))
    }
    assert readers <= {"common/environment.py"} | ENVIRONMENT_PASSED_ON


# It hands the environment on to the process that it starts, and reads nothing from it.
ENVIRONMENT_PASSED_ON = {"cdr/child_process.py"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_begins_with_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(_tree(path)), "a module begins with one sentence on its responsibility"
    assert text.count("\n") <= MAX_MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1})"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
        and name_of(path) + ":" + node.name not in LONG_FOR_A_REASON
    ]
    assert not long


LONG_FOR_A_REASON = {
    # One line a column: the order of the COPY.
    "worker/rows.py:make_row",
}


# What a CDR holds must not reach a terminal raw, so one place writes to it; these two write our own words.
WRITE_TO_TERMINAL = {"cdr/printing.py", "cdr/up.py", "cdr/show_env.py"}


def test_one_place_writes_to_the_terminal() -> None:
    writers = {name_of(path) for path in MODULES for node in ast.walk(_tree(path)) if _writes_to_terminal(node)}
    assert writers == WRITE_TO_TERMINAL


def _writes_to_terminal(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        return True
    written = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    return written.startswith(
        ("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer", "typer.echo", "typer.secho")
    )


def test_a_blind_except_stands_only_where_failures_are_decided() -> None:
    blind = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and not _reraises(node)
    }
    assert blind <= {
        "api/group_commit.py",
        "api/receive_cdr.py",
        "api/usual_post.py",
        "cdr/doctor/examine.py",
        "cdr/simulate/senders.py",
        "worker/follow_up.py",
        "worker/load_parts.py",
        "worker/recordings/fetch_recording.py",
        "worker/queue_worker.py",
        # The user's own code may raise anything, and costs itself only.
        "worker/run_hook.py",
        "worker/scheduler.py",
    }


def _reraises(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_names_the_place_where_it_was_made() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    forbidden = ("py" + "pi.org", "python" + "hosted.org", "npmjs" + ".org", "deb" + ".debian.org", "../" + "shared")
    named = [
        f"{name}: {word}"
        for name in tracked
        if name and not name.startswith(".ci/") and (ROOT / name).is_file()
        for word in forbidden
        if word in (ROOT / name).read_text(encoding="utf-8", errors="replace")
    ]
    assert not named


def test_no_module_is_named_for_nothing() -> None:
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "misc", "base", "common", "tools"}
