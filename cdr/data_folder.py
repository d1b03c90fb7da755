"""The folder in which `cdr up` keeps everything: its layout, version, lock, secrets and the running addresses."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from common.errors import ConfigurationError

VERSION = 1
LOCK_SECONDS = 1.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Secrets:
    """What only this installation knows: made once, each of 40 hex digits."""

    receiver: str
    postgres: str
    valkey: str
    console: str


class DataFolder:
    """The files and folders under one `--data` folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.postgres = self.root / "postgres"
        self.valkey = self.root / "valkey"
        self.recordings = self.root / "recordings"
        self.spool = self.root / "spool"
        self.logs = self.root / "logs"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder unless it is there, and hold it for the length of a with-block.

        Raises ConfigurationError when another `cdr up` holds it, when a newer release wrote it, or when it
        cannot be written.
        """
        try:
            self._make()
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot use the data folder {self.root}: {error}") from error
        try:
            self._take(lock)
            self._check_version()
            # A run that was killed could not take its addresses back.
            self.forget_addresses()
            yield
        finally:
            os.close(lock)

    def is_held(self) -> bool:
        """Tell whether a `cdr up` runs on this folder now."""
        try:
            lock = os.open(self._lock_path, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    def secrets(self) -> Secrets:
        """Return the secrets; those that are missing are made and kept."""
        path = self.root / "secrets.json"
        known = _read_json(path)
        found = Secrets(**{name.name: known.get(name.name) or secrets.token_hex(20) for name in fields(Secrets)})
        if asdict(found) != known:
            _write_json(path, asdict(found))
        return found

    def ports(self) -> dict[str, int]:
        """Return the ports of the last start by server name, empty before the first."""
        return _read_numbers(self.root / "ports.json")

    def keep_ports(self, ports: Mapping[str, int]) -> None:
        """Remember ports by server name, so that addresses survive a restart."""
        _write_json(self.root / "ports.json", {name: str(port) for name, port in ports.items()})

    def addresses(self) -> dict[str, str]:
        """Return the running instance's addresses by setting name, empty until it is ready."""
        return _read_json(self._addresses_path)

    def show_addresses(self, addresses: Mapping[str, str]) -> None:
        """Publish the running instance's addresses, passwords included, to this user only."""
        _write_json(self._addresses_path, addresses)

    def settings(self) -> dict[str, str]:
        """Return what the running instance's children were given, empty while nothing runs."""
        return _read_json(self._settings_path)

    def show_settings(self, settings: Mapping[str, str]) -> None:
        """Publish what the children are given, secrets included, to this user only."""
        _write_json(self._settings_path, settings)

    def forget_addresses(self) -> None:
        """Take the published addresses and settings back."""
        self._addresses_path.unlink(missing_ok=True)
        self._settings_path.unlink(missing_ok=True)

    @property
    def _lock_path(self) -> Path:
        return self.root / "lock"

    @property
    def _addresses_path(self) -> Path:
        return self.root / "running.json"

    @property
    def _settings_path(self) -> Path:
        return self.root / "settings.json"

    def _make(self) -> None:
        # Others may pass through, not look: PostgreSQL may have to run as another user than this one.
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (self.postgres, self.valkey, self.recordings, self.spool, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _take(self, lock: int) -> None:
        # `cdr env` holds the lock for an instant while it looks, which must not refuse a start.
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ConfigurationError(f"another `cdr up` is running on {self.root}") from error
                time.sleep(POLL_SECONDS)

    def _check_version(self) -> None:
        path = self.root / "version.json"
        version = _read_numbers(path).get("version", 0)
        if version > VERSION:
            raise ConfigurationError(
                f"{self.root} was written by a newer release (its version is {version}, "
                f"this release knows {VERSION}): run that release, or choose another --data folder"
            )
        if version < VERSION:
            _write_json(path, {"version": str(VERSION)})


def _read_json(path: Path) -> dict[str, str]:
    try:
        return {str(name): str(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _read_numbers(path: Path) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in _read_json(path).items()}
    except ValueError as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _write_json(path: Path, values: Mapping[str, str]) -> None:
    """Replace a file by one that only this user may read, whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(values), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
