"""What `cdr up` keeps in its folder, who may read it, and who is refused."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from cdr.data_folder import DataFolder
from common.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data with a space")


def test_a_second_holder_is_refused(folder: DataFolder) -> None:
    with folder.held(), pytest.raises(ConfigurationError, match="another `cdr up` is running on "), folder.held():
        pass


def test_a_folder_can_be_held_again_after_it_was_let_go(folder: DataFolder) -> None:
    with folder.held():
        assert folder.is_held()
    assert not folder.is_held()
    with folder.held():
        pass


def test_looking_whether_it_is_held_does_not_hold_it(folder: DataFolder) -> None:
    assert not folder.is_held()
    with folder.held():
        pass
    for _ in range(20):
        assert not folder.is_held()
    with folder.held():
        pass


def test_secrets_are_made_once_and_kept(folder: DataFolder) -> None:
    with folder.held():
        first = folder.secrets()

        assert folder.secrets() == first
    assert DataFolder(folder.root).secrets() == first
    assert len({first.receiver, first.postgres, first.valkey, first.console}) == 4


def test_a_secret_that_a_later_release_needs_is_added_to_those_kept(folder: DataFolder) -> None:
    with folder.held():
        first = folder.secrets()
        path = folder.root / "secrets.json"
        older = json.loads(path.read_text())
        del older["console"]
        path.write_text(json.dumps(older))

        assert folder.secrets().receiver == first.receiver
        assert len(folder.secrets().console) == 40


def test_secrets_and_addresses_are_readable_by_their_owner_only(folder: DataFolder) -> None:
    with folder.held():
        folder.secrets()
        folder.show_addresses({"CDR_DATABASE_URL": "postgresql://cdr:password@127.0.0.1/cdr"})

        for name in ("secrets.json", "running.json"):
            assert stat.S_IMODE((folder.root / name).stat().st_mode) == 0o600


def test_nobody_else_may_look_into_the_folders(folder: DataFolder) -> None:
    with folder.held():
        for inner in (folder.postgres, folder.valkey, folder.recordings, folder.spool, folder.logs):
            assert stat.S_IMODE(inner.stat().st_mode) == 0o700


def test_the_folder_of_a_newer_release_is_refused(folder: DataFolder) -> None:
    with folder.held():
        pass
    (folder.root / "version.json").write_text('{"version": 99}')

    with pytest.raises(ConfigurationError, match="newer release"), folder.held():
        pass


def test_addresses_that_a_killed_run_left_are_forgotten(folder: DataFolder) -> None:
    with folder.held():
        folder.show_addresses({"CDR_REDIS_URL": "redis://gone"})
    with folder.held():
        assert folder.addresses() == {}


def test_ports_are_kept(folder: DataFolder) -> None:
    with folder.held():
        assert folder.ports() == {}
        folder.keep_ports({"receiver": 8080})
    assert DataFolder(folder.root).ports() == {"receiver": 8080}


@pytest.mark.parametrize("content", ["not json", "[]", '{"version": "x"}'])
def test_a_file_that_is_not_ours_is_named(folder: DataFolder, content: str) -> None:
    with folder.held():
        pass
    (folder.root / "version.json").write_text(content)

    with pytest.raises(ConfigurationError, match=r"version\.json"), folder.held():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot use the data folder"), DataFolder(tmp_path / "file").held():
        pass
