# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project and its host observed, a CUDA wished: which PyTorch the project is to have, and what leads there. Pure."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import COMPANIONS, satisfies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request, resolve, to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.versions import Stack, compare_versions
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import edit as editing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._project import fence as fencing
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import RequestError

MANAGERS = ("poetry", "uv", "pip-tools", "pip")
STATES = ("present", "checked", "absent")
LOCK_OF = {"poetry": "poetry.lock", "uv": "uv.lock"}
SYNC = {"poetry": "poetry install", "uv": "uv sync", "pip-tools": "pip-sync", "pip": "pip install"}
# Whose files these are; none of them is served.
STRANGERS = {
    "Pipfile": "Pipenv",
    "Pipfile.lock": "Pipenv",
    "conda-lock.yml": "conda",
    "environment.yaml": "conda",
    "environment.yml": "conda",
    "hatch.toml": "Hatch",
    "pdm.lock": "PDM",
    "pdm.toml": "PDM",
    "pixi.lock": "pixi",
    "pixi.toml": "pixi",
}
FAMILY = ("torch", *COMPANIONS)
OK, LEFT_ALONE, UNFENCED = "ok", "left_alone", "unfenced"
VARIABLE = "project_environment"

_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_CLAUSE = re.compile(r"(\^|~(?!=))\s*(\d+(?:\.\d+)*)")
_REQUIREMENT = re.compile(r"^\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?(?P<spec>[^;)#@]*)\)?")


@dataclass(frozen=True)
class Wish:
    """What is wished for a project, checked."""

    path: str
    state: str
    environment: str | None
    manager: str | None
    cuda: str | None
    pytorch: str | None
    edit: bool
    index_url: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """The PyTorch that a project is to have: ``local`` is ``2.9.1+cu126``; ``companions`` the same of each."""

    version: str
    local: str
    cuda: str | None
    index: str
    url: str | None  # None: the host's own wheels
    companions: Mapping[str, str]

    @property
    def versions(self) -> dict[str, str]:
        """Every package with its exact version."""
        return {"torch": self.local, **self.companions}


@dataclass(frozen=True)
class Pins:
    """What keeps versions in a project's own files; ``file`` is None where PyTorch is kept out of all of them."""

    file: str | None
    packages: Mapping[str, str]
    others: tuple[str, ...] = ()  # further versions of torch, for other systems

    def right(self, wanted: Wanted, known: Catalogue) -> str | None:
        """The pinned torch that is the wanted one, None where none is."""
        pinned = [self.packages["torch"], *self.others] if self.file else []
        return next((one for one in pinned if is_right(one, pinned_cuda(one, known), wanted)), None)


class LeftAloneError(Exception):
    """A project that is left alone: the text says what was found, what was wanted and what to do."""


# --- the wish ---


def parse_wish(wished: Mapping[str, Any], request: Mapping[str, Any] | None, known: Catalogue) -> Wish:
    """Check the role's variables, before any host is touched.

    Raises RequestError in the words of ``stack_plan_request``'s own errors.
    """
    path = wished.get("path")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise RequestError(
            f"{VARIABLE}_path is {_show(path)}, the folder of a project on the host is wanted; "
            f"write it such as -e {VARIABLE}_path=/srv/app."
        )
    for key, choices in (("state", STATES), ("manager", ("auto", *MANAGERS))):
        if wished.get(key) not in (None, *choices):
            raise RequestError(
                f"{VARIABLE}_{key} is {_show(wished[key])}, one of {', '.join(choices)} is wanted; choose one of them."
            )
    if wished.get("edit") and not editing.can_edit():
        raise RequestError(f"{VARIABLE}_edit is true: {editing.NO_TOMLKIT}")
    asked = {**(request or {})}
    for key in ("cuda", "pytorch"):
        if wished.get(key):
            asked[key] = wished[key]
    asked.update(toolkit={"provider": "none"}, cutlass="none", extensions=[], wheels={"provider": "auto"})
    asked.pop("python", None)
    try:
        check_request(asked, known)
    except RequestError as error:
        text = str(error)
        for key in ("cuda", "pytorch"):
            if wished.get(key):
                text = text.replace(f"stack_plan_request.{key}", f"{VARIABLE}_{key}")
        raise RequestError(text) from error
    manager = wished.get("manager")
    return Wish(
        path=str(path).rstrip("/") or "/",
        state=str(wished.get("state") or "present"),
        environment=str(wished["environment"]) if wished.get("environment") else None,
        manager=None if manager in (None, "auto") else str(manager),
        cuda=str(wished["cuda"]) if wished.get("cuda") else None,
        pytorch=str(wished["pytorch"]) if wished.get("pytorch") else None,
        edit=bool(wished.get("edit")),
        index_url=str(wished.get("index_url") or ""),
        request=asked,
    )


# --- who manages it ---


def parse_pyproject(text: str) -> Mapping[str, Any]:
    """A pyproject.toml as a mapping. Raises LeftAloneError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LeftAloneError(f"pyproject.toml cannot be read as TOML ({error}); correct it and run again.") from error


def find_manager(project: Mapping[str, Any], wished: str | None) -> str:
    """The manager of a project, by its files. Raises LeftAloneError where there is none, another, or more than one."""
    if not project["exists"]:
        raise LeftAloneError(
            f"{project['path']} is not there, the folder of a project is wanted; check {VARIABLE}_path, a path "
            "on the host."
        )
    if wished:
        return wished
    environment = project.get("environment") or {}
    pyproject = parse_pyproject(project["texts"].get("pyproject.toml", ""))
    tools = pyproject.get("tool") or {}
    others = {STRANGERS[name]: name for name in project["others"]}
    others.update({"PDM": "tool.pdm in pyproject.toml"} if "pdm" in tools else {})
    others.update({"Hatch": "tool.hatch.envs in pyproject.toml"} if "envs" in tools.get("hatch", {}) else {})
    others.update({"conda": f"{environment['path']}/conda-meta"} if environment.get("conda") else {})
    locked = [manager for manager, lock in LOCK_OF.items() if lock in project["locks"]]
    stated = [manager for manager in LOCK_OF if manager in tools]
    own = locked or stated
    if others:
        listed = ", ".join(f"{name} ({evidence})" for name, evidence in sorted(others.items()))
        raise LeftAloneError(
            f"{project['path']} belongs to {listed}; Poetry, uv, pip-tools and pip are served. Give PyTorch's index to "
            f"that manager by hand, or say which of the four owns the environment with {VARIABLE}_manager."
        )
    if len(own) > 1:
        evidence = " and ".join(LOCK_OF[name] if locked else f"tool.{name} in pyproject.toml" for name in own)
        raise LeftAloneError(
            f"{project['path']} has {evidence}, one manager is wanted; remove the one that is not used, or say which "
            f"owns the environment with {VARIABLE}_manager."
        )
    if own:
        return own[0]
    files = project["requirements"]
    if any(row["compiler"] for row in files.values()):
        return "pip-tools"
    if files or "project" in pyproject or environment.get("creator"):
        return "pip"
    raise LeftAloneError(
        f"{project['path']} has no pyproject.toml, no lock file and no requirements file, one of them is wanted; check "
        f"{VARIABLE}_path."
    )


def check_environment(project: Mapping[str, Any], manager: str) -> Mapping[str, Any]:
    """The environment of a project. Raises LeftAloneError where there is none that may be touched."""
    make = {
        "poetry": "poetry install",
        "uv": "uv sync",
        "pip-tools": "python3 -m venv .venv, then pip-sync",
        "pip": "python3 -m venv .venv, then pip install",
    }[manager]
    found = project["environments"]
    environment: Mapping[str, Any] | None = project.get("environment")
    if len(found) > 1:
        raise LeftAloneError(
            f"{project['path']} has {len(found)} environments ({', '.join(found)}), one is wanted; name it with "
            f"{VARIABLE}_environment, or choose one with poetry env use."
        )
    if not environment:
        raise LeftAloneError(
            f"{project['path']} has no environment, neither .venv, venv or env in it nor one of Poetry's, and this "
            f"role makes none; make it with {make}, or name it with {VARIABLE}_environment."
        )
    if not environment["works"] or not environment["site_packages"]:
        raise LeftAloneError(
            f"{environment['path']} has no Python that could be run; make the environment anew with {make}."
        )
    owner = project.get("owner") or {}
    if owner.get("name") != owner.get("reader"):
        raise LeftAloneError(
            f"{environment['path']} belongs to {owner.get('name')}, and {owner.get('reader')} would leave files there "
            f"that {owner.get('name')} cannot change; run as that user: "
            f"-e ansible_become=true -e ansible_become_user={owner.get('name')}."
        )
    return environment


# --- what the project says ---


def find_pins(project: Mapping[str, Any], manager: str) -> Pins:
    """What the files that the manager installs from pin of PyTorch."""
    if manager in LOCK_OF:
        lock = project["locks"].get(LOCK_OF[manager])
        packages = lock["packages"] if lock else {}
        if "torch" not in packages:
            return Pins(None, {})
        pins = {name: row["version"] for name, row in packages.items()}
        return Pins(LOCK_OF[manager], pins, tuple(packages["torch"]["versions"][1:]))
    for name, row in project["requirements"].items():
        if name.endswith(".txt") and "torch" in row["pins"]:
            return Pins(name, row["pins"])
    return Pins(None, {})


def find_specifier(project: Mapping[str, Any]) -> str:
    """Which releases of torch the project allows, as a specifier; empty: any, or it is not named."""
    for text in _requirements(project):
        match = _REQUIREMENT.match(text)
        if match and normalise(match["name"]) == "torch":
            return _plain(match["spec"].strip())
    document = parse_pyproject(project["texts"].get("pyproject.toml", ""))
    for table in editing.poetry_tables(dict(document)):
        for name, value in table.items():
            if normalise(name) == "torch":
                version = value.get("version", "") if isinstance(value, Mapping) else value
                return _plain(version) if isinstance(version, str) else ""
    return ""


def named_packages(project: Mapping[str, Any]) -> set[str]:
    """Every distribution that the project itself names."""
    document = dict(parse_pyproject(project["texts"].get("pyproject.toml", "")))
    found = editing.names(_requirements(project))
    return found | {normalise(name) for table in editing.poetry_tables(document) for name in table}


def _requirements(project: Mapping[str, Any]) -> list[str]:
    document = dict(parse_pyproject(project["texts"].get("pyproject.toml", "")))
    found = [entry for _group, entries in editing.requirement_lists(document) for entry in entries]
    for row in project["requirements"].values():
        found += [line for line in row["text"].splitlines() if not row["compiler"] and line[:1] not in ("#", "-", "")]
    return [entry for entry in found if isinstance(entry, str)]


def _plain(spec: str) -> str:
    """A specifier of Poetry's in PEP 440's words: ``^2.5`` is ``>=2.5,<3``; what is no specifier allows all."""
    if spec in ("", "*"):
        return ""
    clauses = []
    for clause in spec.split(","):
        match = _CLAUSE.fullmatch(clause.strip())
        if match:
            parts = [int(part) for part in match[2].split(".")]
            keep = 1 if match[1] == "^" or len(parts) == 1 else 2
            upper = [*parts[: keep - 1], parts[keep - 1] + 1]
            clauses += [f">={match[2]}", f"<{'.'.join(map(str, upper))}"]
        else:
            text = clause.strip()
            clauses.append(f"=={text}" if text[:1].isdigit() else text)
    return ",".join(clauses)


# --- which PyTorch it is to have ---


def decide(
    project: Mapping[str, Any],
    environment: Mapping[str, Any],
    pins: Pins,
    host: Mapping[str, Any],
    wish: Wish,
    known: Catalogue,
) -> tuple[Wanted, Mapping[str, Any]]:
    """The PyTorch that fits project and host, and the decision it comes from.

    The project's own release stays: what its files pin, else what is installed. Another one comes only where that has
    no build for the CUDA that is asked for and the project allows another. Raises LeftAloneError.
    """
    named = named_packages(project)
    installed = (environment.get("torch") or {}).get("version")
    own = wish.pytorch or _public(pins.packages.get("torch")) or _public(installed)
    if own is None and not named & set(FAMILY):
        raise LeftAloneError(
            f"{project['path']} has no PyTorch: neither is it installed nor do its files name it; install it with the "
            f"project's manager, or name a release with {VARIABLE}_pytorch."
        )
    expected = set() if installed else {*pins.packages, *named}  # one that is left out beside a torch is so on purpose
    companions = [name for name in COMPANIONS if name in environment["packages"] or name in expected]
    decision = _resolve(environment, host, wish, own or wish.request.get("pytorch", "newest"), companions, known)
    if wish.pytorch is None and wish.cuda and (decision["pytorch"] or {}).get("cuda") != wish.cuda:
        decision = _another(project, environment, host, wish, companions, known) or decision
    torch = decision["pytorch"]
    if torch is None:
        raise LeftAloneError(f"{decision['summary']}. {' '.join(decision['remedies'])}".strip())
    wanted = {requirement.partition("==")[0]: requirement.partition("==")[2] for requirement in torch["requirements"]}
    for name in companions:
        kept = _public(pins.packages.get(name)) or _public(environment["packages"].get(name))
        if name in wanted and kept and _fits(name, kept, torch, known):
            wanted[name] = f"{kept}+{torch['index']}"
    from_host = torch["provider"] == "host_wheels"
    return (
        Wanted(
            version=torch["version"],
            local=wanted.pop("torch"),
            cuda=torch["cuda"],
            index=torch["index"],
            url=None if from_host else _url(torch["index"], wish, known),
            companions=wanted,
        ),
        decision,
    )


def _resolve(
    environment: Mapping[str, Any],
    host: Mapping[str, Any],
    wish: Wish,
    pytorch: str,
    companions: Sequence[str],
    known: Catalogue,
) -> dict[str, Any]:
    """The stack's own decision, for the project's Python and without what the host has of PyTorch."""
    python = {"path": environment["python"], "version": environment["python_version"], "headers": True, "pip": True}
    installed = {**(host.get("installed") or {}), "pytorch": [], "environment": None, "environments": []}
    observed = {**host, "platform": {**(host.get("platform") or {}), "pythons": [python]}, "installed": installed}
    listed = pytorch in ("newest", "none") or any(
        release == pytorch or release.startswith(f"{pytorch}.") for release in known["pytorch"]["releases"]
    )
    request = {
        **wish.request,
        "pytorch": pytorch if listed else "newest",
        "python": environment["python"],
        "extensions": list(companions),
    }
    return to_decision(resolve(observed, request, known))


def _another(
    project: Mapping[str, Any],
    environment: Mapping[str, Any],
    host: Mapping[str, Any],
    wish: Wish,
    companions: Sequence[str],
    known: Catalogue,
) -> dict[str, Any] | None:
    """The newest release that the project allows and that has a build for the wished CUDA, None where there is none."""
    specifier = find_specifier(project)
    for release in sorted(known["pytorch"]["releases"], key=parse_version, reverse=True):
        if not specifier or satisfies(release, specifier):
            decision = _resolve(environment, host, wish, release, companions, known)
            if (decision["pytorch"] or {}).get("cuda") == wish.cuda:
                return decision
    return None


def _fits(name: str, version: str, torch: Mapping[str, Any], known: Catalogue) -> bool:
    """Whether a release of a companion is one for this PyTorch."""
    row = known["pypi"]["packages"].get(name, {}).get(version)
    spec = (row or {}).get("requires", {}).get("torch")
    return bool(spec) and satisfies(torch["version"], spec)


def _url(index: str, wish: Wish, known: Catalogue) -> str:
    """PyTorch's index, or the mirror of it that the user names, with ``{index}`` for its last part."""
    if wish.index_url:
        return wish.index_url.replace("{index}", index)
    return str(known["pytorch"]["indexes"][index]["url"])


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def is_right(version: str | None, cuda: str | None, wanted: Wanted) -> bool:
    """Whether a torch is the wanted one. A build without a local label is judged by its CUDA."""
    if version is None:
        return False
    public, _plus, local = version.partition("+")
    same = parse_version(public) == parse_version(wanted.version)
    return same and (version == wanted.local if local else cuda == wanted.cuda)


def exact(environment: Mapping[str, Any], wanted: Wanted) -> dict[str, str]:
    """Every package with the version to ask for: without a label where the right torch that is there has none.

    PyPI's torch calls itself 2.9.1+cu128, and its distribution is 2.9.1: that is the name that installers compare.
    """
    torch, name = environment.get("torch"), environment["packages"].get("torch", "")
    if torch and "+" not in name and is_right(torch["version"], torch["cuda"], wanted):
        return {name: version.partition("+")[0] for name, version in wanted.versions.items()}
    return wanted.versions


def pinned_cuda(version: str, known: Catalogue) -> str | None:
    """The CUDA of a torch that a file pins: by its local label, else that of PyPI's build."""
    _public_version, _plus, local = version.partition("+")
    if local:
        row = known["pytorch"]["indexes"].get(local)
        return row["cuda"] if row else None
    row = known["pypi"]["packages"]["torch"].get(version)
    return row["cuda"] if row else None


# --- the plan ---


def plan_project(project: Mapping[str, Any], host: Mapping[str, Any], wish: Wish, known: Catalogue) -> dict[str, Any]:
    """All that is to be told of a project and to be done in it.

    ``project`` is what ``project_facts`` read, ``host`` is ``ansible_facts['gpu']``.
    """
    plan: dict[str, Any] = {
        "path": wish.path,
        "manager": None,
        "environment": None,
        "python": None,
        "verdict": OK,
        "found": None,
        "wanted": None,
        "why": [],
        "help": [],
        "notes": [],
        "held": [],
        "changes": [],
        "packages": None,
        "edit": None,
        "fence": [],
        "versions": _versions(host, (project.get("environment") or {}).get("torch"), known),
        "proof": project.get("proof"),
        "state": project.get("state") or {"folder": None, "files": {}},
    }
    try:
        plan["manager"] = manager = find_manager(project, wish.manager)
        environment = check_environment(project, manager)
        plan["environment"], plan["python"] = environment["path"], environment["python_version"]
        if wish.state == "absent":
            _plan_absent(plan, project, environment)
        else:
            _plan_present(plan, project, environment, host, wish, known)
    except LeftAloneError as refused:
        plan["verdict"], plan["help"] = LEFT_ALONE, [str(refused)]
    return plan


def _plan_present(
    plan: dict[str, Any],
    project: Mapping[str, Any],
    environment: Mapping[str, Any],
    host: Mapping[str, Any],
    wish: Wish,
    known: Catalogue,
) -> None:
    pins = find_pins(project, plan["manager"])
    wanted, decision = decide(project, environment, pins, host, wish, known)
    torch = environment.get("torch")
    plan["found"] = {**torch, "build": _build(torch["version"], torch["cuda"])} if torch else None
    plan["wanted"] = {
        "version": wanted.version,
        "local": wanted.local,
        "cuda": wanted.cuda,
        "index": wanted.index,
        "url": wanted.url,
        "packages": wanted.versions,
    }
    plan["versions"] = _versions(host, torch, known)
    plan["why"] += [reason["text"] for reason in decision["reasons"] if not reason["rule"].startswith("toolkit")]
    if wish.cuda and wanted.cuda != wish.cuda:
        plan["notes"].append(_not_to_be_had(project, wish, wanted, decision))
    plan["verdict"], reasons = judge(environment, wanted)
    plan["why"] = reasons + plan["why"]
    plan["packages"] = _packages(environment, wanted, plan["verdict"], plan["notes"])
    plan["changes"] += _package_changes(environment, plan)
    _plan_edit(plan, project, pins, wanted, wish, known)
    plan["fence"], notes = fencing.fence(environment, project.get("pip") or {}, exact(environment, wanted), wanted.url)
    plan["notes"] += notes
    plan["changes"] += [_change("fence", row["what"], row["action"]) for row in plan["fence"]]
    plan["held"] = _held(plan, project, environment, pins, wanted, known)


def _not_to_be_had(project: Mapping[str, Any], wish: Wish, wanted: Wanted, decision: Mapping[str, Any]) -> str:
    got = f"CUDA {wanted.cuda}" if wanted.cuda else "the CPU"
    because = "; ".join(f"{row['option']}: {row['because']}" for row in decision["rejected"][:3])
    specifier = find_specifier(project)
    allowed = f", and the project allows torch {specifier} only" if specifier else ""
    return f"CUDA {wish.cuda} was asked for, PyTorch for {got} is what can be had{allowed}. {because}".strip()


def judge(environment: Mapping[str, Any], wanted: Wanted) -> tuple[str, list[str]]:
    """What is wrong with the environment's PyTorch, in a word and in sentences."""
    torch, found = environment.get("torch"), []
    verdict = OK
    if torch is None:
        return "missing", [f"torch is not installed; {wanted.local} is wanted"]
    if not is_right(torch["version"], torch["cuda"], wanted):
        verdict = "swapped"
        found.append(
            f"torch {_build(torch['version'], torch['cuda'])} is there; {_build(wanted.local, wanted.cuda)} is wanted"
        )
    for name, version in wanted.companions.items():
        there = environment["packages"].get(name)
        if there is None or not _same_build(there, version, wanted, environment):
            verdict = "swapped"
            found.append(f"{name} {f'{there} is' if there else 'is not'} there; {version} is wanted")
    majors = {major: names for major, names in environment["majors"].items() if names}
    foreign = _foreign(environment, wanted)
    if foreign:
        verdict = "mixed" if verdict == OK and len(majors) > 1 else verdict
        found.append(
            f"libraries of CUDA {' and '.join(sorted(majors))} lie side by side: {', '.join(foreign[:4])}"
            + (f" and {len(foreign) - 4} more" if len(foreign) > 4 else "")
            if len(majors) > 1
            else f"the libraries there are CUDA {next(iter(majors))}'s: {', '.join(foreign[:4])}"
        )
    damaged = [*environment["broken"], *(environment["lacks"] if verdict == OK else [])]
    if damaged:
        verdict = "damaged" if verdict == OK else verdict
        found.append(f"files are missing or of another version: {', '.join(damaged[:4])}")
    return verdict, found


def _same_build(there: str, version: str, wanted: Wanted, environment: Mapping[str, Any]) -> bool:
    """Whether a companion is the wanted one; without a local label it goes with a torch that has none."""
    if "+" in there:
        return there == version
    return "+" not in exact(environment, wanted)["torch"] and parse_version(there) == parse_version(
        version.partition("+")[0]
    )


def _foreign(environment: Mapping[str, Any], wanted: Wanted) -> list[str]:
    """The libraries of another CUDA major than the wanted one."""
    if wanted.cuda is None:
        return []
    own = wanted.cuda.partition(".")[0]
    return sorted(name for major, names in environment["majors"].items() if major != own for name in names)


def _packages(environment: Mapping[str, Any], wanted: Wanted, verdict: str, notes: list[str]) -> dict[str, Any] | None:
    """What the installer is asked for, None where all is right."""
    if verdict == OK:
        return None
    foreign, remove = _foreign(environment, wanted), []
    for name in foreign:
        others = [other for other in environment["needed_by"].get(name, []) if other not in FAMILY]
        if others:
            notes.append(f"{name} stays, for {', '.join(others)} needs it; remove both where they are of no use.")
        else:
            remove.append(name)
    torch = environment.get("torch")
    right = torch is not None and is_right(torch["version"], torch["cuda"], wanted)
    lacks = environment["lacks"] if right else []
    return {
        "requirements": [*(f"{name}=={version}" for name, version in exact(environment, wanted).items()), *lacks],
        "remove": remove,
        "reinstall": sorted({*environment["broken"]} - {*remove}),
        "index_url": wanted.url,
    }


def _package_changes(environment: Mapping[str, Any], plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    packages = plan["packages"]
    if packages is None:
        return []
    changes = []
    for requirement in packages["requirements"]:
        name, _sign, version = requirement.partition("==")
        there = environment["packages"].get(name)
        if name == "torch" and environment.get("torch"):
            there = environment["torch"]["version"]
        if there != version:
            changes.append(_change("replace" if there else "install", name, "", there, version))
    changes += [_change("remove", name, "", environment["packages"].get(name)) for name in packages["remove"]]
    changes += [_change("repair", name, "") for name in packages["reinstall"]]
    return changes


def _plan_edit(
    plan: dict[str, Any], project: Mapping[str, Any], pins: Pins, wanted: Wanted, wish: Wish, known: Catalogue
) -> None:
    """How the project's own files would hold PyTorch, where they do not."""
    manager = plan["manager"]
    if pins.file is None or manager == "pip" or pins.right(wanted, known):
        return
    if wanted.url is None:
        plan["notes"].append(
            f"PyTorch comes from this host's own wheels, which are no index that {pins.file} could name; "
            f"run this playbook after {SYNC[manager]}."
        )
        return
    pinned = pins.packages["torch"]
    if manager == "pip-tools":
        plan["edit"] = _recompile(plan, project, pins, wanted)
    else:
        if manager == "uv" and "uv.toml" in project["texts"]:
            plan["notes"].append(
                "uv.toml hides the indexes of pyproject.toml, and is not edited; name PyTorch's index in it by hand: "
                f'[[index]] name = "pytorch-{wanted.index}", url = "{wanted.url}", explicit = true.'
            )
            return
        text = project["texts"].get("pyproject.toml", "")
        packages = [name for name in FAMILY if name == "torch" or name in pins.packages]
        try:
            new = editing.edit(text, manager, wanted.index, wanted.url, packages)
        except editing.EditError as error:
            plan["notes"].append(str(error))
            return
        tool = project["tools"].get(manager)
        if tool is None:
            plan["notes"].append(
                f"{manager} is on nobody's path here, and {pins.file} is locked anew by it alone; install {manager} on "
                "the host, or add its folder to PATH."
            )
            return
        command = [tool, "lock"]
        if manager == "uv" and wish.pytorch:
            command += ["--upgrade-package", f"torch=={wanted.version}"]
        plan["edit"] = {
            "files": [{"name": "pyproject.toml", "content": new}] if new != text else [],
            "lock": pins.file,
            "command": command,
            "variables": {},
            "diff": editing.unified("pyproject.toml", text, new),
        }
    if plan["edit"] and wish.edit:
        names = [row["name"] for row in plan["edit"]["files"]]
        plan["changes"] = [
            *(_change("edit", name, "after a copy") for name in names),
            _change("lock", pins.file, f"by {plan['edit']['command'][0].rpartition('/')[2]}", pinned, wanted.local),
            *plan["changes"],
        ]
    elif plan["edit"]:
        plan["help"].append(f"-e {VARIABLE}_edit=true makes this edit after a copy, and locks {pins.file} anew.")


def _recompile(plan: dict[str, Any], project: Mapping[str, Any], pins: Pins, wanted: Wanted) -> dict[str, Any] | None:
    """The command that compiled a requirements file, run again with PyTorch's index beside the others."""
    row = project["requirements"][pins.file or ""]
    words = shlex.split(row["command"] or "")
    tool = project["tools"].get("uv" if row["compiler"] == "uv" else "pip-compile")
    if not words or tool is None:
        plan["notes"].append(
            f"{pins.file} was compiled by {row['compiler']}"
            + (", which is on nobody's path here" if words else ", and does not tell its command")
            + f"; compile it anew by hand with torch=={wanted.local} as a constraint and the index {wanted.url}."
        )
        return None
    urls = " ".join([*(project.get("pip") or {}).get("extra_index_urls", []), str(wanted.url)])
    constraints = f"{plan['environment']}/{fencing.CONSTRAINTS}"
    variables = {"PIP_EXTRA_INDEX_URL": urls, "PIP_CONSTRAINT": constraints}
    if row["compiler"] == "uv":
        variables = {"UV_INDEX": urls, "UV_CONSTRAINT": constraints, "UV_INDEX_STRATEGY": "unsafe-best-match"}
    rest = words[3:] if row["compiler"] == "uv" else words[1:]
    command = [tool, *(["pip", "compile"] if row["compiler"] == "uv" else []), *rest]
    return {"files": [], "lock": pins.file, "command": command, "variables": variables, "diff": []}


def _held(
    plan: Mapping[str, Any],
    project: Mapping[str, Any],
    environment: Mapping[str, Any],
    pins: Pins,
    wanted: Wanted,
    known: Catalogue,
) -> list[dict[str, Any]]:
    """For each command that could swap PyTorch, whether it will, and why: once the plan is carried out."""
    manager, foreign = plan["manager"], fencing.has_foreign_conf(environment)
    held = [
        {
            "command": "pip install",
            "held": not foreign,
            "because": "pip.conf of the environment is somebody else's" if foreign else "by the environment's pip.conf",
        },
        {"command": "uv pip install", "held": True, "because": "in the activated environment, by UV_CONSTRAINT"},
    ]
    if manager == "pip":
        hashed = [name for name, row in project["requirements"].items() if row["hashes"] and "torch" in row["pins"]]
        because = f"{', '.join(hashed)} pins another wheel's checksum: pip refuses it, and swaps nothing"
        return [*held, *({"command": f"pip install -r {name}", "held": True, "because": because} for name in hashed)]
    command = SYNC[manager]
    if pins.file is None:
        what = {"poetry": "leaves it", "uv": "removes it", "pip-tools": "removes it"}[manager]
        because = f"no lock file names torch: {command} {what}, and this playbook brings it back"
        return [*held, {"command": command, "held": manager == "poetry", "because": because}]
    if right := pins.right(wanted, known):
        return [*held, {"command": command, "held": True, "because": f"{pins.file} pins torch {right}"}]
    pinned = pins.packages["torch"]
    because = f"{pins.file} pins torch {_build(pinned, pinned_cuda(pinned, known))}, and brings it back"
    return [*held, {"command": command, "held": False, "because": because}]


def _plan_absent(plan: dict[str, Any], project: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Take out the fence and the edits, and leave PyTorch."""
    plan["fence"], plan["verdict"] = fencing.unfence(environment), UNFENCED
    plan["changes"] += [_change("remove", row["what"], "") for row in plan["fence"]]
    files, manager = plan["state"]["files"], plan["manager"]
    if all(row["untouched"] for row in files.values()):
        plan["changes"] += [_change("restore", name, f"as in {row['original']}") for name, row in files.items()]
        return
    lock, text = LOCK_OF.get(manager), project["texts"].get("pyproject.toml", "")
    tool = project["tools"].get(manager)
    try:
        new = editing.unedit(text, manager) if lock else text
    except editing.EditError as error:
        plan["notes"].append(str(error))
        new = text
    if tool is None or lock is None or new == text:
        copies = plan["state"]["folder"]
        plan["notes"].append(
            f"{', '.join(files)} {'was' if len(files) == 1 else 'were'} changed by others since, and stay; "
            f"take PyTorch's index out by hand. What they were before is below {copies}."
        )
        return
    plan["edit"] = {
        "files": [{"name": "pyproject.toml", "content": new}],
        "lock": lock,
        "command": [tool, "lock"],
        "variables": {},
        "diff": editing.unified("pyproject.toml", text, new),
    }
    plan["changes"] += [
        _change("edit", "pyproject.toml", "after a copy: PyTorch's index goes, others have changed the file since"),
        _change("lock", lock, f"by {manager}"),
    ]


def _versions(host: Mapping[str, Any], torch: Mapping[str, Any] | None, known: Catalogue) -> dict[str, Any]:
    """Driver, toolkit and torch side by side, each with its CUDA, and whether their differences are a problem."""
    driver, installed, loader = (host.get(key) or {} for key in ("driver", "installed", "loader"))
    toolkits = [str(row["release"]) for row in installed.get("toolkits") or () if row.get("release")]
    compat = (
        [row["cuda"] for row in installed.get("compat") or () if row.get("cuda")] if loader.get("compat_active") else []
    )
    stack = Stack(
        driver=driver.get("version"),
        driver_cuda=driver.get("cuda"),
        windows=driver.get("flavor") == "windows",
        toolkit=toolkits[0] if toolkits else None,
        beside=tuple(toolkits[1:]),
        torch=torch["version"] if torch else None,
        torch_cuda=torch["cuda"] if torch else None,
        compat=compat[0] if compat else None,
    )
    differences = [found for found in compare_versions(stack, known) if found.differs]
    return {
        "driver": f"{stack.driver} (CUDA {stack.driver_cuda})" if stack.driver else None,
        "toolkit": ", ".join(toolkits) or None,
        "torch": _build(torch["version"], torch["cuda"]) if torch else None,
        "differences": [found.text for found in differences],
    }


def _change(action: str, what: str, how: str, old: str | None = None, new: str | None = None) -> dict[str, Any]:
    return {"action": action, "what": what, "how": how, "from": old, "to": new}


def _build(version: str, cuda: str | None) -> str:
    return f"{version} ({f'CUDA {cuda}' if cuda else 'for the CPU'})"


def _show(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
