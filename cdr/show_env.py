"""Shows the addresses of a running `cdr up` as lines for a shell."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from cdr.data_folder import DataFolder
from common.environment import use_settings
from common.errors import ConfigurationError

# Those that hints name and that have the option.
_TOLD_OF_A_FOLDER = re.compile(r"\bcdr (?:accounts (?:list|set)|clock (?:report|recompute)|doctor|status)\b(?! --data)")


def show_env(data: Path) -> int:
    """Write NAME=value lines of the `cdr up` that runs on `data`; return 1 with the reason when none is ready."""
    try:
        addresses = _running_addresses(data)
    except ConfigurationError as error:
        sys.stderr.write(f"cdr env: {error}\n")
        return 1
    sys.stdout.writelines(f"{name}={shlex.quote(value)}\n" for name, value in addresses.items())
    return 0


def running_settings(data: Path) -> dict[str, str]:
    """Return the settings that the children of the `cdr up` on `data` were given; raises ConfigurationError."""
    folder = _held(data)
    return _shown(folder, folder.settings())


def use_settings_of(data: Path | None) -> None:
    """Go on with the settings of the `cdr up` on `data`, if one is given; raises ConfigurationError when none runs there."""
    if data is not None:
        use_settings(running_settings(data))


def way_to_settings(problem: str) -> str:
    """Say how to get what a message says is required from a `cdr up`: `cdr env` prints no more than its addresses."""
    if "CDR_RECORDINGS_URL" in problem:
        return (
            "--data DIR where a command has it, --data var unless cdr up was given another; cdr env does not print it"
        )
    return 'set -a; eval "$(cdr env)"; set +a, or --data DIR where a command has it'


def naming(data: Path | None, text: str) -> str:
    """Have the commands that a hint names be those on `data`, where that is given and the command can be told."""
    if data is None:
        return text
    return _TOLD_OF_A_FOLDER.sub(lambda found: f"{found[0]} --data {shlex.quote(str(data))}", text)


def _running_addresses(data: Path) -> dict[str, str]:
    folder = _held(data)
    return _shown(folder, folder.addresses())


def _shown(folder: DataFolder, names: dict[str, str]) -> dict[str, str]:
    if not names:
        raise ConfigurationError(f"the `cdr up` on {folder.root} is still starting or already stopping")
    return names


def _held(data: Path) -> DataFolder:
    folder = DataFolder(data)
    if not folder.is_held():
        raise ConfigurationError(f"no `cdr up` is running on {folder.root}: --data names another folder")
    return folder
