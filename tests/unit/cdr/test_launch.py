"""The launcher's ways to give up root, where each system call is replaced by a note of it."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

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


def test_the_launcher_does_what_its_options_say_and_then_becomes_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[object, ...]] = []

    def note(*arguments: object) -> None:
        steps.append(arguments)

    for name in ("give_up_root", "require_reachable", "die_with", "wait_for_predecessor"):
        monkeypatch.setattr(launch, name, functools.partial(note, name))
    monkeypatch.setattr(os, "execv", functools.partial(note, "execv"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    folder = str(tmp_path)
    argv = launch.launched(["/bin/program", "--", "x=y"], on_parent_death=signal.SIGINT, folder=tmp_path)
    plain = launch.launched(["/bin/program"], on_parent_death=signal.SIGTERM)
    unprivileged = launch.launched(["/bin/it"], on_parent_death=signal.SIGINT, folder=tmp_path, unprivileged=True)

    for line in (argv, plain, unprivileged):
        monkeypatch.setattr(sys, "argv", line[3:])
        launch.main()

    parent = os.getpid()
    assert steps == [
        ("die_with", parent, signal.SIGINT),
        ("wait_for_predecessor", folder),
        ("execv", "/bin/program", ["/bin/program", "--", "x=y"]),
        ("die_with", parent, signal.SIGTERM),
        ("execv", "/bin/program", ["/bin/program"]),
        ("give_up_root", folder),
        ("require_reachable", "/bin/it", folder),
        ("die_with", parent, signal.SIGINT),
        ("wait_for_predecessor", folder),
        ("execv", "/bin/it", ["/bin/it"]),
    ]


def test_a_process_whose_parent_is_another_one_ends() -> None:
    # Signal 0 asks the kernel for nothing, so this process stays as it is.
    launch.die_with(os.getppid(), 0)
    with pytest.raises(SystemExit):
        launch.die_with(os.getpid(), 0)


def test_without_a_death_signal_the_parent_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.sys, "platform", "darwin")
    monkeypatch.setattr(launch, "_call", pytest.fail)

    launch.die_with(os.getppid(), signal.SIGTERM)


def test_the_hold_on_a_folder_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    open_file = os.open

    def noting_open(*arguments: Any) -> int:
        opened.append(open_file(*arguments))
        return opened[-1]

    monkeypatch.setattr(os, "open", noting_open)

    launch.wait_for_predecessor(str(tmp_path))

    (lock,) = opened
    assert os.get_inheritable(lock)
    os.close(lock)


def test_a_namespace_maps_this_user_to_another_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(launch, "_call", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(launch, "PROCESS", str(tmp_path))

    launch.enter_namespace()

    assert called == [("unshare", launch.CLONE_NEWUSER)]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "setgroups": "deny",
        "uid_map": f"{launch.NOBODY} {os.geteuid()} 1",
        "gid_map": f"{launch.NOBODY} {os.getegid()} 1",
    }


@pytest.mark.parametrize(("refusal", "code"), [(None, 0), (PermissionError(1, "no"), 1)])
def test_a_namespace_is_tried_in_a_child(monkeypatch: pytest.MonkeyPatch, refusal: OSError | None, code: int) -> None:
    def enter() -> None:
        if refusal:
            raise refusal

    monkeypatch.setattr(launch.sys, "platform", "linux")
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(launch, "enter_namespace", enter)

    with pytest.raises(SystemExit) as ended:
        launch.namespace_allowed()

    assert ended.value.code == code


@pytest.mark.parametrize(("status", "allowed"), [(0, True), (256, False)])
def test_the_child_tells_whether_a_namespace_is_allowed(
    monkeypatch: pytest.MonkeyPatch, status: int, allowed: bool
) -> None:
    monkeypatch.setattr(launch.sys, "platform", "linux")
    monkeypatch.setattr(os, "fork", lambda: 7)
    monkeypatch.setattr(os, "waitpid", lambda pid, _: (pid, status))

    assert launch.namespace_allowed() is allowed
