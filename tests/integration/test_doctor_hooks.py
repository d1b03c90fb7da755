"""`cdr doctor` says which hook cannot be called, and when what the webhook posts can be read on its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctoring import OF_THE_TESTS, SECRET, Here, here, product

__all__ = ["here", "product"]

WEBHOOK = {"CDR_HOOKS": "worker.hooks:webhook", "CDR_WEBHOOK_SECRET": SECRET}


def test_without_hooks_there_is_nothing_to_check(here: Here) -> None:
    found = here.findings()
    assert (found["hooks.importable"]["status"], found["hooks.webhook"]["status"]) == ("info", "info")
    assert found["hooks.importable"]["detail"] == "not set here: CDR_HOOKS"


def test_hooks_that_can_be_called_are_named(here: Here) -> None:
    here.set(CDR_HOOKS="hooking:note,hooking:other")
    assert here.faults() == OF_THE_TESTS
    assert here.findings()["hooks.importable"]["detail"] == "imported: hooking:note, hooking:other"


@pytest.mark.parametrize("name", ["no_such_module:hook", "hooking:no_such_function", "hooking:never_awaited"])
def test_a_hook_that_cannot_be_called_here_is_told(here: Here, name: str) -> None:
    here.set(CDR_HOOKS=f"hooking:note,{name}")
    assert here.faults() == {**OF_THE_TESTS, "hooks.importable": "warning"}
    assert here.findings()["hooks.importable"]["detail"].startswith(f"CDR_HOOKS: {name} ")


def test_what_a_module_prints_is_no_part_of_the_list(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text("print('hello')\ndef hook(cdr): pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    here.set(CDR_HOOKS="talkative:hook")
    assert here.findings()["hooks.importable"]["status"] == "ok"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://crm.invalid/", "ok"),
        ("http://127.0.0.1:8000/", "ok"),
        ("http://10.1.2.3/", "ok"),
        ("http://[fd00::1]/", "ok"),
        ("http://crm:8000/", "ok"),
        ("http://crm.invalid/", "warning"),
        ("http://192.0.2.300/", "warning"),
        ("http://8.8.8.8/", "warning"),
    ],
)
def test_a_webhook_on_a_public_way_without_tls_is_a_warning(here: Here, url: str, status: str) -> None:
    here.set(CDR_WEBHOOK_URL=url, **WEBHOOK)
    found = here.findings()
    assert (found["hooks.webhook"]["status"], found["hooks.importable"]["status"]) == (status, "ok")
    assert SECRET not in here.doctor().out


def test_a_webhook_without_a_secret_is_a_problem(here: Here) -> None:
    here.set(CDR_HOOKS="worker.hooks:webhook", CDR_WEBHOOK_URL="https://crm.invalid/")
    assert here.faults() == {**OF_THE_TESTS, "settings.hooks": "problem"}
    assert here.findings()["settings.hooks"]["detail"].startswith("CDR_WEBHOOK_SECRET must be set")
