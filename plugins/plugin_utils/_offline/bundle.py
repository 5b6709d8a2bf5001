# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an offline host needs for a decision's pending changes, and the variables that point its roles at a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.pip import local_path
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import Requirement, canonicalize_name
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.fetches import Mirrors, pending_parts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import roles_where

Decision = Mapping[str, Any]
Observed = Mapping[str, Any]

HOST_DIR = "bundle_host_dir"
CONTROLLER_DIR = "bundle_dir"
STABLE = "stable"  # PyTorch's channel of which all releases stay
BUILT_HERE = "{{ stack_plan_decision['source']['links'] | default([]) }}"  # wheels that the host has of its own builds


class BundleError(Exception):
    """The bundle cannot be written; the text says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Target:
    """The host that wheels are for: Python as minor version, glibc as version, machine type."""

    python: str
    glibc: str
    arch: str


@dataclass(frozen=True)
class Wheels:
    """Wheels that one installation takes, resolved together."""

    purpose: str
    python: str
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    index_urls: tuple[str, ...] = ()
    no_deps: bool = False
    have: tuple[str, ...] = ()  # normalised names that the host has already
    lock: str = ""  # a requirements file, in place of requirements


@dataclass(frozen=True)
class Needs:
    """All that a bundle holds, and what it cannot hold: ``left_out`` is ``{what, why}`` each."""

    target: Target
    wheels: tuple[Wheels, ...]
    repositories: tuple[dict[str, str], ...]  # git: name, url, revision, purpose
    left_out: tuple[dict[str, str], ...]


def find_target(decision: Decision, observed: Observed, given: Mapping[str, Any]) -> Target:
    """The host that wheels are for, from what was given, decided and observed, in this order.

    :param given: any of python, glibc, arch.
    """
    platform = observed.get("platform") or {}
    torch = decision.get("pytorch") or {}
    pythons = [str(row["version"]) for row in platform.get("pythons") or () if row.get("version")]
    values = {
        "python": given.get("python")
        or (torch.get("python") or {}).get("version")
        or max(pythons, key=_numbers, default=None),
        "glibc": given.get("glibc") or platform.get("glibc"),
        "arch": given.get("arch") or platform.get("arch"),
    }
    unknown = [name for name, value in values.items() if not value]
    if unknown:
        raise BundleError(
            f"The observation does not contain the host's {' and '.join(unknown)}, which decide the wheels;"
            f" set {'it' if len(unknown) == 1 else 'them'} in bundle_target."
        )
    minor = ".".join(str(values["python"]).split(".")[:2])
    return Target(minor, str(values["glibc"]), str(values["arch"]))


def list_needs(decision: Decision, observed: Observed, target: Target, mirrors: Mirrors, known: Catalogue) -> Needs:
    """What the pending changes of a decision fetch.

    :param mirrors: variable → address as the operator set it, None where it is not set.
    """
    if decision["route"] == "blocked":
        remedies = " ".join(decision.get("remedies") or ())
        raise BundleError(f"{decision['summary']}: there is nothing to bundle for this host. {remedies}".strip())
    channel = (decision.get("pytorch") or {}).get("channel", STABLE)
    if channel != STABLE:
        raise BundleError(
            f"PyTorch comes from its {channel} index, whose releases change every day, so a bundle of today is not what"
            " is asked for tomorrow; set channel: stable to make a bundle."
        )
    pending = pending_parts(decision)
    wheels = [
        *_toolkits(decision, pending, target, mirrors),
        *_cutlass(pending, target, mirrors),
        *_environment(decision, observed, pending, target, mirrors, known),
    ]
    if wheels and not ((observed.get("platform") or {}).get("tools") or {}).get("uv"):
        wheels.append(Wheels("uv, which installs the others", target.python, (_tool("uv", known),), no_deps=True))
    return Needs(
        target,
        tuple(wheels),
        tuple(_repositories(pending, mirrors, known)),
        tuple(_left_out(decision, pending, known)),
    )


def host_variables(decision: Decision, observed: Observed, request: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Variables under which a bootstrap reaches the same decision and takes all it fetches from the bundle.

    The host's own folders of wheels stay; its indexes, which an offline host does not reach, do not.

    :param request: as the operator wrote it; parts that were decided are pinned in it.
    :param folder: the bundle on the controller; a relative path counts from the working directory.
    """
    prefix = (decision.get("environment") or {}).get("prefix")
    index = f"file://{{{{ {HOST_DIR} }}}}/simple"
    links = [link for link in (observed.get("sources") or {}).get("find_links") or () if local_path(link)]
    here = f"{CONTROLLER_DIR} | ansible.builtin.realpath"
    return {
        CONTROLLER_DIR: folder,
        HOST_DIR: f"{{{{ ({here}) if ansible_connection | default('') == 'local' else '{prefix}/bundle' }}}}",
        "bundle_environment": {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": index,
            "PIP_FIND_LINKS": " ".join([f"{{{{ {HOST_DIR} }}}}/wheels", *links]),
        },
        "stack_plan_request": pin(request, decision),
        "pytorch_index_url": index,
        "pytorch_extra_index_urls": [],
        "pytorch_find_links": BUILT_HERE,
        "cuda_toolkit_index_url": "",
        "cutlass_index_url": "",
        "cutlass_git_url": f"file://{{{{ {HOST_DIR} }}}}/git/cutlass.git",
        "ml_extensions_index_urls": [],
        "ml_extensions_find_links": BUILT_HERE,
        "project_environment_index_url": index,
        "pytorch_source_index_url": "",
        "pytorch_source_extra_index_urls": [],
        "pytorch_source_find_links": BUILT_HERE,
    }


def pin(request: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """The request with the releases that were decided: what is newest may be another when the bundle is used."""
    patch = (decision.get("toolkit") or {}).get("patch")
    decided = {"cuda": patch if str(patch).startswith(f"{decision.get('cuda')}.") else decision.get("cuda")}
    named = ("cutlass",) if request.get("channel", STABLE) != STABLE else ("pytorch", "cutlass")
    decided |= {name: (decision.get(name) or {}).get("version") for name in named}
    wished = {name: value for name, value in decided.items() if value and request.get(name) != "none"}
    return {**request, **wished}


# --- wheels ---


def _toolkits(decision: Decision, pending: Mapping[str, Any], target: Target, mirrors: Mirrors) -> Iterator[Wheels]:
    if "cuda_toolkit" not in pending:
        return
    for toolkit in [decision.get("toolkit") or {}, *(decision.get("toolkits") or ())]:
        if toolkit.get("provider") == "pypi":
            purpose = f"CUDA toolkit {toolkit['version']}"
            yield Wheels(
                purpose, target.python, tuple(toolkit["packages"]), index_urls=_mirror("cuda_toolkit", mirrors)
            )


def _cutlass(pending: Mapping[str, Any], target: Target, mirrors: Mirrors) -> Iterator[Wheels]:
    part = pending.get("cutlass", {})
    if part.get("provider") == "pypi":
        wish = (str(part["requirement"]),)
        purpose = f"CUTLASS {part['version']}"
        yield Wheels(purpose, target.python, wish, index_urls=_mirror("cutlass", mirrors), no_deps=True)


def _environment(
    decision: Decision,
    observed: Observed,
    pending: Mapping[str, Any],
    target: Target,
    mirrors: Mirrors,
    known: Catalogue,
) -> Iterator[Wheels]:
    """PyTorch, what is installed beside it, and the extensions: one set, as they share an environment."""
    torch = decision.get("pytorch")
    if torch is None or not set(roles_where("environment")) & pending.keys():
        return
    adopted = _adopted(torch, observed)
    extensions = [entry for entry in (decision.get("extensions") or {}).values() if entry.get("requirement")]
    compiled = {build["requirement"] for build in (decision.get("source") or {}).get("builds", ())}
    wishes = [*torch["requirements"], *_tools(known), *(str(entry["requirement"]) for entry in extensions)]
    wishes = [wish for wish in wishes if wish not in compiled]
    requirements = [Requirement(wish) for wish in wishes]
    outstanding = [wish for wish in requirements if not _is_there(wish, adopted)]
    have = set(adopted) - {canonicalize_name(wish.name) for wish in outstanding}
    if torch["provider"] in ("host_wheels", "source"):
        have.add("torch")
    keys = {torch["index"]} if torch["provider"] in ("pytorch_index", "source") else set()
    keys |= {str(entry.get("index")) for entry in extensions}
    indexes = known["pytorch"]["indexes"]  # of which a PyTorch that is compiled here need not be
    urls = [mirrors.get("pytorch_index_url") or str(indexes[key]["url"]) for key in sorted(keys & set(indexes))]
    urls += sorted(key for key in keys if key.startswith("https://"))  # an extension's own
    if outstanding:
        yield Wheels(
            f"PyTorch {torch['local']}{' (adopted)' if torch.get('adopt') else ''} and what is installed with it",
            target.python,
            tuple(str(wish) for wish in outstanding),
            tuple(pin for pin in decision["environment"]["constraints"] if not adopted and pin not in compiled),
            tuple(dict.fromkeys(urls)),
            have=tuple(sorted(have)),
        )


def _adopted(torch: Mapping[str, Any], observed: Observed) -> dict[str, str]:
    """The packages of the adopted environment: normalised name → version. Empty where they were not recorded."""
    rows = (observed.get("installed") or {}).get("pytorch") or ()
    row: Observed = next((row for row in rows if torch.get("adopt") and row.get("path") == torch["adopt"]), {})
    return {canonicalize_name(name): str(version) for name, version in (row.get("packages") or {}).items()}


def _is_there(requirement: Requirement, adopted: Mapping[str, str]) -> bool:
    """Whether the adopted environment has what is required, pre-releases included."""
    found = adopted.get(canonicalize_name(requirement.name))
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _tools(known: Catalogue) -> list[str]:
    """What the pytorch role installs with PyTorch."""
    return [_tool(name, known) for name in known["tools"]["tools"] if name != "uv"]


def _tool(name: str, known: Catalogue) -> str:
    version = known["tools"]["tools"][name]["version"]
    return f"{name}=={version}" if version else name


def _mirror(role: str, mirrors: Mirrors) -> tuple[str, ...]:
    url = mirrors.get(f"{role}_index_url")
    return (url,) if url else ()


# --- what is no wheel ---


def _repositories(pending: Mapping[str, Any], mirrors: Mirrors, known: Catalogue) -> Iterator[dict[str, str]]:
    part = pending.get("cutlass", {})
    if part.get("provider") == "git":
        url = mirrors.get("cutlass_git_url") or str(known["cutlass"]["sources"]["git"]["url"])
        purpose = f"CUTLASS {part['version']}"
        yield {"name": "cutlass", "url": url, "revision": str(part["tag"]), "purpose": purpose}


def _left_out(decision: Decision, pending: Mapping[str, Any], known: Catalogue) -> Iterator[dict[str, str]]:
    """Packages of the system and what is compiled on the host, which a bundle does not hold."""
    for build in (decision.get("source") or {}).get("builds", ()):
        if build["pending"]:
            why = "a bundle holds no source builds; build it on a host like this one and copy its folder"
            yield {"what": f"{build['name']} {build['version']}", "why": f"{why} {build['key']} of wheels/ there"}
    ask = "let the host reach an archive, or install them in its image"
    for role, part in pending.items():
        for one in [part, *(decision.get("toolkits") or () if role == "cuda_toolkit" else ())]:
            if one.get("provider") in ("apt", "rpm") or role == "nvidia_driver":
                why = "packages of NVIDIA's repository depend on others of the system"
                on_pypi = role == "cuda_toolkit" and known["cuda"]["releases"][one["version"]]["pypi"]
                remedy = "set toolkit.provider: pypi" if on_pypi else ask
                yield {"what": ", ".join(one.get("packages") or [one["package"]]), "why": f"{why}; {remedy}"}
            if one.get("system_packages"):
                why = f"packages of the system are not bundled; {ask}"
                yield {"what": ", ".join(one["system_packages"]), "why": why}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
