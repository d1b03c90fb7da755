"""The command `cdr doctor`: whether the promises can hold here, one line a check."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from cdr.doctor.examine import Checked, examine
from cdr.doctor.hook_checks import HOOKS
from cdr.doctor.postgres_checks import POSTGRES
from cdr.doctor.queue_checks import QUEUES_AND_RECEIVERS
from cdr.doctor.recording_checks import RECORDINGS
from cdr.doctor.redis_checks import REDIS
from cdr.doctor.schema_checks import SCHEMA
from cdr.doctor.settings_checks import SETTINGS
from cdr.doctor.spool_checks import SPOOL
from cdr.printing import counted, print_json_list, print_line
from cdr.show_env import naming, use_settings_of

SECTIONS = (SETTINGS, REDIS, QUEUES_AND_RECEIVERS, POSTGRES, SCHEMA, SPOOL, RECORDINGS, HOOKS)
_NAME_WIDTH = max(len(name) for section in SECTIONS for name in section.checks)


def run_doctor(data: Path | None, *, as_json: bool) -> int:
    """Print what each check found; returns the exit code, 1 when one found a problem.

    With `data` the settings are those of the `cdr up` that runs on that folder; raises ConfigurationError when none
    does.
    """
    use_settings_of(data)
    checked = [replace(each, advice=naming(data, each.advice)) for each in examine(SECTIONS)]
    if as_json:
        print_json_list(checked)
    else:
        _print(checked)
    return 1 if any(each.status == "problem" for each in checked) else 0


def _print(checked: list[Checked]) -> None:
    for each in checked:
        text = f"{each.detail} - {each.advice}" if each.advice else each.detail
        print_line(f"{each.status:<8} {each.check:<{_NAME_WIDTH}} {text}")
    counts = Counter(each.status for each in checked)
    found = ", ".join(counted(counts[status], status) for status in ("problem", "warning"))
    print_line(f"{counted(len(checked), 'check')}: {found}")
