"""Projects for the tests: what project_facts reads of one, with what a test changes, and the plan for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.case import ProjectCase
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.document import parse_pyproject
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.pins import Pins
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.plan import plan_project
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project.request import parse_request

KNOWN = load_catalogue()
FIXTURES = Path(__file__).parents[4] / "fixtures"
HOST = json.loads((FIXTURES / "h200-driver-580-facts.json").read_text(encoding="utf-8"))["gpu"]
UV = '[project]\nname = "app"\ndependencies = ["torch>=2.9,<2.11", "torchvision"]\n'
POETRY = '[tool.poetry]\nname = "app"\n[tool.poetry.dependencies]\npython = ">=3.11"\ntorch = "^2.9"\n'


def lock(**versions: str) -> dict[str, Any]:
    rows = {
        name: {"version": version, "source": "https://x", "versions": [version]} for name, version in versions.items()
    }
    return {"sha256": "0", "packages": rows}


def requirements(compiler: str | None = None, text: str = "", hashes: bool = False, **pins: str) -> dict[str, Any]:
    command = {"pip-compile": "pip-compile -q requirements.in", "uv": "uv pip compile -q requirements.in", None: None}[
        compiler
    ]
    return {"text": text, "compiler": compiler, "command": command, "pins": pins, "hashes": hashes}


def environment(torch: str | None = "2.10.0", cuda: str | None = "12.8", **changes: Any) -> dict[str, Any]:
    name = torch.replace("+cu128", "") if torch else ""  # PyPI's build leaves it out of its distribution's name
    packages = {"torch": name, **changes.pop("packages", {})}
    return {
        "path": "/srv/app/.venv",
        "python": "/srv/app/.venv/bin/python",
        "python_version": "3.11",
        "works": True,
        "site_packages": "/srv/app/.venv/lib/python3.11/site-packages",
        "creator": "uv",
        "creator_version": "0.13.8",
        "conda": False,
        "packages": {name: version for name, version in packages.items() if version},
        "torch": {"version": torch, "cuda": cuda} if torch else None,
        "broken": [],
        "majors": {cuda.partition(".")[0]: ["nvidia-cublas"]} if torch and cuda else {},
        "lacks": [],
        "needed_by": {},
        "fence": {"podsmith-constraints.txt": None, "pip.conf": None, "bin/activate": None},
        **changes,
    }


def project(**changes: Any) -> dict[str, Any]:
    there = changes.pop("environment", environment())
    return {
        "path": "/srv/app",
        "exists": True,
        "owner": {"name": "root", "reader": "root"},
        "texts": {"pyproject.toml": UV},
        "locks": {},
        "others": [],
        "requirements": {},
        "environments": [there["path"]] if there else [],
        "environment": there,
        "tools": {"uv": "/usr/bin/uv", "poetry": "/usr/bin/poetry", "pip-compile": "/srv/app/.venv/bin/pip-compile"},
        "pip": {"extra_index_urls": [], "constraints": [], "secret": False},
        "state": {"folder": "/opt/podsmith/projects/app-0", "files": {}},
        "proof": None,
        **changes,
    }


def plan(
    project_: dict[str, Any], host: dict[str, Any] | None = None, request: dict[str, Any] | None = None, **given: Any
) -> dict[str, Any]:
    checked = parse_request({"path": "/srv/app", **given}, request or {"cuda": "12.6"}, KNOWN)
    return plan_project(project_, HOST if host is None else host, checked, KNOWN)


def case(project_: dict[str, Any], **host: Any) -> ProjectCase:
    """The case of a project that uv manages and whose lock file does not name torch."""
    document, there = parse_pyproject(project_), project_["environment"]
    assert isinstance(document, dict)
    checked = parse_request({"path": "/srv/app"}, {}, KNOWN)
    return ProjectCase(project_, document, there, "uv", Pins(None, {}), {**HOST, **host}, checked, KNOWN)
