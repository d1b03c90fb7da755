"""The launcher's ways to give up root, where each system call is replaced by a note of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdr import launch


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    made: list[tuple[object, ...]] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda value, name=name: made.append((name, value)))
    monkeypatch.setattr(launch, "enter_namespace", lambda: made.append(("enter_namespace",)))
    monkeypatch.setattr(launch, "hand_over", lambda folder, uid, gid: made.append(("hand_over", folder, uid, gid)))
    return made


def test_root_enters_a_namespace_where_it_may(calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "namespace_allowed", lambda: True)

    launch.give_up_root("/data")

    assert calls == [("hand_over", "/data", os.geteuid(), os.getegid()), ("enter_namespace",)]


def test_root_becomes_nobody_where_it_may_not_and_gives_up_groups_first(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "namespace_allowed", lambda: False)

    launch.give_up_root("/data")

    nobody = launch.NOBODY
    assert calls == [("hand_over", "/data", nobody, nobody), ("setgroups", []), ("setgid", nobody), ("setuid", nobody)]


def test_the_reason_is_said_where_neither_is_allowed(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "namespace_allowed", lambda: False)

    def refuse(_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setuid", refuse)

    with pytest.raises(SystemExit, match=r"Operation not permitted.*start as an ordinary user"):
        launch.give_up_root("/data")


def test_a_namespace_is_not_looked_for_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.sys, "platform", "darwin")

    assert launch.namespace_allowed() is False


def test_a_folder_that_may_not_be_entered_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: path != "/home/someone")

    launch.require_reachable("/srv/data")
    with pytest.raises(SystemExit, match="may not enter /home/someone:"):
        launch.require_reachable("/srv/data", "/home/someone/project/var")


def test_only_what_belongs_to_another_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").touch()
    handed: list[tuple[str, int, int, bool]] = []
    monkeypatch.setattr(
        os, "chown", lambda path, uid, gid, *, follow_symlinks: handed.append((path, uid, gid, follow_symlinks))
    )

    launch.hand_over(str(tmp_path), os.getuid(), os.getgid())
    assert handed == []

    launch.hand_over(str(tmp_path), 4711, 4712)
    paths = (tmp_path, tmp_path / "inner", tmp_path / "inner" / "file")
    assert handed == [(str(path), 4711, 4712, False) for path in paths]


def test_a_failed_system_call_says_which() -> None:
    with pytest.raises(OSError, match="prctl: Invalid argument"):
        launch._call("prctl", -1, 0, 0, 0, 0)
