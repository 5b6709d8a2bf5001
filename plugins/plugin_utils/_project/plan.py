# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a project: what was read and requested in, all that is to be told and to be done there out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.helps import what_helps
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal, WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Versions, compare_versions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import fence as fencing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.decide import decide, explain_cuda
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import parse_pyproject
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.expected import Expected, exact
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.held import find_held
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.judge import OK, find_packages, judge
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.manager import check_environment, find_manager
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.pins import find_pins
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.relock import edit_pyproject, plan_edit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import ProjectRequest
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.words import LOCK_OF, VARIABLE, build_name, tell

LEFT_ALONE, UNFENCED = "left_alone", "unfenced"


def plan_project(
    project: Mapping[str, Any], host: Mapping[str, Any], request: ProjectRequest, known: Catalogue
) -> dict[str, Any]:
    """All that is to be told of a project and to be done in it.

    ``project`` is what ``project_facts`` read, ``host`` is ``ansible_facts['gpu']``.
    """
    plan: dict[str, Any] = {
        "path": request.path,
        "manager": None,
        "environment": None,
        "python": None,
        "verdict": OK,
        "found": None,
        "expected": None,
        "why": [],
        "help": [],
        "notes": [],
        "held": [],
        "changes": [],
        "packages": None,
        "edit": None,
        "fence": [],
        "versions": find_versions(
            host, (project.get("environment") or {}).get("torch"), what_helps(host, request.stack, known), known
        ),
        "proof": project.get("proof"),
        "state": project.get("state") or {"folder": None, "files": {}},
    }
    manager = find_manager(project, request.manager)
    if isinstance(manager, Refusal):
        return _left_alone(plan, manager)
    plan["manager"] = manager
    environment = check_environment(project, manager)
    if isinstance(environment, Refusal):
        return _left_alone(plan, environment)
    plan["environment"], plan["python"] = environment["path"], environment["python_version"]
    if request.state == "absent":
        return _plan_absent(plan, project, environment)
    document = parse_pyproject(project)
    if isinstance(document, Refusal):
        return _left_alone(plan, document)
    pins = find_pins(project, manager)
    return _plan_present(plan, ProjectCase(project, document, environment, manager, pins, host, request, known))


def _left_alone(plan: dict[str, Any], refusal: Refusal) -> dict[str, Any]:
    return {**plan, "verdict": LEFT_ALONE, "help": [tell(refusal)]}


def _plan_present(plan: dict[str, Any], case: ProjectCase) -> dict[str, Any]:
    """Install the expected PyTorch, and what keeps it."""
    decided = decide(case)
    if isinstance(decided, Refusal):
        return _left_alone(plan, decided)
    expected, decision = decided
    environment, torch = case.environment, case.environment.get("torch")
    plan["found"] = {**torch, "build": build_name(torch["version"], torch["cuda"])} if torch else None
    plan["expected"] = {
        "version": expected.version,
        "local": expected.local,
        "cuda": expected.cuda,
        "index": expected.index,
        "url": expected.url,
        "packages": expected.versions,
    }
    if told := explain_cuda(case, expected, decision):
        plan["notes"].append(told)
    if decision["now"]["works"] is False:
        causes = decision["now"]["causes"]
        possible = [f"{cause['because']}." for cause in causes if cause["kind"] == "possible"]
        remedies = dict.fromkeys(cause["remedy"] for cause in causes)
        plan["notes"].append(" ".join([f"{decision['now']['summary']}.", *possible, *remedies]))
    plan["verdict"], plan["why"] = judge(environment, expected)
    plan["why"] += [reason["text"] for reason in decision["reasons"] if not reason["rule"].startswith("toolkit")]
    if plan["verdict"] != OK:
        plan["packages"], notes = find_packages(environment, expected)
        plan["notes"] += notes
        plan["changes"] += _package_changes(environment, plan["packages"])
    _add_edit(plan, case, expected)
    pip = case.project.get("pip") or {}
    plan["fence"], notes = fencing.fence(environment, pip, exact(environment, expected), expected.url)
    plan["notes"] += notes
    plan["changes"] += [_change("fence", row["what"], row["action"]) for row in plan["fence"]]
    plan["held"] = find_held(case, expected)
    return plan


def _package_changes(environment: Mapping[str, Any], packages: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = []
    for requirement in packages["requirements"]:
        name, _sign, version = requirement.partition("==")
        there = environment["packages"].get(name)
        if name == "torch" and environment.get("torch"):
            there = environment["torch"]["version"]
        if there != version:
            changes.append(_change("replace" if there else "install", name, old=there, new=version))
    changes += [_change("remove", name, old=environment["packages"].get(name)) for name in packages["remove"]]
    return changes + [_change("repair", name) for name in packages["reinstall"]]


def _add_edit(plan: dict[str, Any], case: ProjectCase, expected: Expected) -> None:
    """Make the edit of the project's own files where it was requested, else show it."""
    edit = plan_edit(case, expected)
    if isinstance(edit, Refusal):
        plan["notes"].append(tell(edit))
    if edit is None or isinstance(edit, Refusal):
        return
    plan["edit"] = asdict(edit)
    if not case.request.edit:
        plan["help"].append(f"-e {VARIABLE}_edit=true makes this edit after a copy, and locks {edit.lock} again.")
        return
    by = f"by {edit.command[0].rpartition('/')[2]}"
    plan["changes"] = [
        *(_change("edit", row["name"], "after a copy") for row in edit.files),
        _change("lock", edit.lock, by, old=case.pins.packages["torch"], new=expected.local),
        *plan["changes"],
    ]


def _plan_absent(plan: dict[str, Any], project: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """Take out the fence and the edits, and leave PyTorch."""
    plan["fence"], plan["verdict"] = fencing.unfence(environment), UNFENCED
    plan["changes"] += [_change("remove", row["what"]) for row in plan["fence"]]
    files, manager = plan["state"]["files"], plan["manager"]
    if all(row["untouched"] for row in files.values()):
        plan["changes"] += [_change("restore", name, f"from {row['original']}") for name, row in files.items()]
        return plan
    lock, text = LOCK_OF.get(manager), project["texts"].get("pyproject.toml", "")
    tool = project["tools"].get(manager)
    new = editing.unedit(text, manager) if lock else text
    if isinstance(new, Refusal):
        plan["notes"].append(tell(new))
        new = text
    if tool is None or lock is None or new == text:
        verbs = "was changed by others since and is" if len(files) == 1 else "were changed by others since and are"
        plan["notes"].append(
            f"{', '.join(files)} {verbs} not restored; remove PyTorch's index by hand. The copies of what was there "
            f"before are in {plan['state']['folder']}."
        )
        return plan
    plan["edit"] = asdict(edit_pyproject(lock, [tool, "lock"], text, new))
    how = "after a copy: PyTorch's index is removed, since others have changed the file"
    plan["changes"] += [_change("edit", "pyproject.toml", how), _change("lock", lock, f"by {manager}")]
    return plan


def find_versions(
    host: Mapping[str, Any], torch: Mapping[str, Any] | None, helps: Callable[[WayOut], bool], known: Catalogue
) -> dict[str, Any]:
    """Driver, toolkit and torch side by side, each with its CUDA, and whether their differences are a problem.

    ``helps`` tries what would mend one on this host.
    """
    driver, installed, loader = (host.get(key) or {} for key in ("driver", "installed", "loader"))
    toolkits = [str(row["release"]) for row in installed.get("toolkits") or () if row.get("release")]
    compat = (
        [row["cuda"] for row in installed.get("compat") or () if row.get("cuda")] if loader.get("compat_active") else []
    )
    stack = Versions(
        driver=driver.get("version"),
        driver_cuda=driver.get("cuda"),
        windows=driver.get("flavor") == "windows",
        container=(host.get("platform") or {}).get("kind") == "container",
        toolkit=toolkits[0] if toolkits else None,
        beside=tuple(toolkits[1:]),
        torch=torch["version"] if torch else None,
        torch_cuda=torch["cuda"] if torch else None,
        compat=compat[0] if compat else None,
    )
    differences = [found for found in compare_versions(stack, known, helps) if found.differs]
    return {
        "driver": f"{stack.driver} (CUDA {stack.driver_cuda})" if stack.driver else None,
        "toolkit": ", ".join(toolkits) or None,
        "torch": build_name(torch["version"], torch["cuda"]) if torch else None,
        "differences": [found.text for found in differences],
    }


def _change(action: str, what: str, how: str = "", *, old: str | None = None, new: str | None = None) -> dict[str, Any]:
    return {"action": action, "what": what, "how": how, "from": old, "to": new}
