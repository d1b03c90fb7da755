from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "deploy" / "make_env.py"
SECRETS = ("CDR_POSTGRES_PASSWORD", "CDR_REDIS_PASSWORD", "CDR_RECEIVER_SECRETS")


def make_env(path: Path) -> subprocess.CompletedProcess[str]:
    # Isolated and without site-packages, as on a server where nothing is installed.
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def values(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_secrets_are_long_random_and_safe_in_an_address(tmp_path: Path) -> None:
    assert make_env(tmp_path / "one").returncode == 0
    assert make_env(tmp_path / "two").returncode == 0
    one, two = values(tmp_path / "one"), values(tmp_path / "two")
    assert sorted(one) == sorted(SECRETS)
    for name in SECRETS:
        assert re.fullmatch(r"(default:)?[A-Za-z0-9_-]{32,}", one[name])
        assert one[name] != two[name]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_env(tmp_path / ".env")
    finally:
        os.umask(before)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_it_prints_the_path_to_give_the_provider(tmp_path: Path) -> None:
    output = make_env(tmp_path / ".env").stdout
    account, secret = values(tmp_path / ".env")["CDR_RECEIVER_SECRETS"].split(":")
    assert account == "default"
    assert output.split()[-1] == f"/cdr/{secret}"


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("in use")
    done = make_env(tmp_path / ".env")
    assert done.returncode == 1
    assert "exists" in done.stderr
    assert (tmp_path / ".env").read_text() == "in use"
