"""What the pages show of a plan is what the planner says today, word for word."""

from __future__ import annotations

import importlib.util
import itertools
import json
import pathlib
import re
import shlex
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/platforms.md")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("plan", ROOT / "scripts" / "plan.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plan = load()


def samples() -> list[tuple[list[str], list[str]]]:
    """Each command that plans for a recording or for a host in words, and the lines that a page shows for it."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            for number, line in enumerate(lines):
                command = line.removeprefix("$ ")
                for rest in range(number + 1, len(lines)):
                    if command.count("'") % 2 == 0:
                        break
                    command += f"\n{lines[rest]}"
                if line.startswith("$ scripts/plan ") or ("playbooks/plan.yml" in line and "recording=" in command):
                    shown = lines[number + 1 + command.count("\n") :]
                    found.append((shlex.split(command), shown))
    return found


def as_plan(command: list[str]) -> list[str]:
    """The arguments of scripts/plan that ask what a command asks."""
    if command[0] == "scripts/plan":
        return command[1:]
    variables: dict[str, Any] = {}
    for flag, value in itertools.pairwise(command):
        if flag == "-e":
            key, _unused, text = value.partition("=")
            variables |= json.loads(value) if value.startswith("{") else {key: text}
    request = variables["stack_plan_request"]
    words = [f"{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in request.items()]
    return [str(ROOT / variables["stack_plan_recording"]), *words]


def test_the_samples_are_found() -> None:
    assert [command[0] for command, _shown in samples()] == ["ansible-playbook", *["scripts/plan"] * 3]


@pytest.mark.parametrize(("command", "shown"), samples(), ids=["a-recording", "ways-out", "unmet", "mixed"])
def test_a_page_shows_what_the_planner_says(
    command: list[str],
    shown: list[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Between lines that are left out (…) the rest stands as it is printed; the name of the host apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan.main(as_plan(command))
    told = capsys.readouterr().out.splitlines()
    named = 0
    if " · " in shown[0]:
        named = 1
        assert shown[0].partition("   ")[2] == told[0].partition("   ")[2]
    rows = "\n".join(shown[named:])
    form = "(.*\\n)*".join(re.escape(part) for part in re.split(r"(?m)^ *…$\n?", rows))
    assert re.fullmatch(form, "\n".join(told[named:])), "generate the sample anew"
