"""The verdict is printed as plain lines; silence where nothing changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

from ansible_collections.podsmith.gpu.plugins.callback import terminal
from ansible_collections.podsmith.gpu.plugins.callback.terminal import CallbackModule
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

FILTERS = Path(terminal.__file__).resolve().parents[1] / "filter"


class Display:
    """Keeps what would be printed."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, text: str, **_style: Any) -> None:
        self.lines.append(text)


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> CallbackModule:
    made = CallbackModule()
    made._display = Display()
    warnings = "_handle_warnings_and_exception"
    monkeypatch.setattr(
        DefaultCallback, warnings, lambda _self, found: made._display.lines.extend(found._result["warned"])
    )
    monkeypatch.setattr(DefaultCallback, "v2_runner_on_ok", lambda _self, _result: made._display.display("default"))
    return made


def included(filename: str, *, is_role: bool) -> SimpleNamespace:
    hosts = [SimpleNamespace(get_name=lambda: "pod-2"), SimpleNamespace(get_name=lambda: "pod-1")]
    task = SimpleNamespace(get_name=lambda: "apply | Install it")
    return SimpleNamespace(_is_role=is_role, _filename=filename, _hosts=hosts, _task=task)


@pytest.mark.parametrize(
    ("result", "changed", "printed"),
    [
        pytest.param({"stack_plan_report": ["host", "  verdict  ok"]}, False, ["\nhost\n  verdict  ok"], id="report"),
        pytest.param({"msg": "x", "warned": []}, False, [], id="nothing-changed"),
        pytest.param({"msg": "x", "warned": ["old"]}, False, ["old"], id="nothing-changed-but-warns"),
        pytest.param({"msg": "x"}, True, ["default"], id="changed"),
    ],
)
def test_a_finished_task(callback: CallbackModule, result: dict[str, Any], changed: bool, printed: list[str]) -> None:
    callback.v2_runner_on_ok(SimpleNamespace(_result=result, is_changed=lambda: changed))
    assert callback._display.lines == printed


@pytest.mark.parametrize(
    ("filename", "is_role", "printed"),
    [
        pytest.param("podsmith.gpu.pytorch", True, ["pod-1, pod-2: Install it …"], id="role"),
        pytest.param("podsmith.gpu.stack_plan", True, [], id="planning"),
        pytest.param("/roles/pytorch/tasks/install/pypi.yml", False, [], id="file-inside-a-role"),
    ],
)
def test_an_include(callback: CallbackModule, filename: str, is_role: bool, printed: list[str]) -> None:
    callback.v2_playbook_on_include(included(filename, is_role=is_role))
    assert callback._display.lines == printed


def test_what_every_host_needs_is_loaded_before_the_tasks_fork(
    callback: CallbackModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(DefaultCallback, "v2_playbook_on_start", lambda _self, _playbook: loaded.append("default"))
    monkeypatch.setattr(terminal.filter_loader, "get", loaded.append)
    load_catalogue.cache_clear()
    callback.v2_playbook_on_start(SimpleNamespace())
    assert load_catalogue.cache_info().currsize == 1
    assert loaded == [*(f"podsmith.gpu.{name}" for name in terminal.ON_EVERY_HOST), "default"]


def test_the_filters_loaded_at_the_start_exist() -> None:
    assert [name for name in terminal.ON_EVERY_HOST if not (FILTERS / f"{name}.py").is_file()] == []
