# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is built from, and what RunPod is told of it: pure, a decision and settings in and texts out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.errors import explain_error
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._offline import bundle
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.parts import BY_ROLE
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.target import Target
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import STANDBY
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import nearest, show

Decision = Mapping[str, Any]

HOME = "/opt/podsmith-image"  # of what builds and starts the image, inside it
GROUP = "container_images"  # of the hosts that stand for images during a run
BODIES = Path(__file__).resolve().parents[3] / "roles" / "container_image" / "files"
HEADER = "# Rendered by podsmith.gpu; edits are overwritten.\n"
START = {"where": "probe", "kind": "container"}  # where a container's check meets an error of CUDA
LEAST_DISK, LEAST_VOLUME, MOST = 5, 10, 10000  # GB; RunPod makes no smaller volume

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,60}[a-z0-9])?")
_REFERENCE = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_PORT = re.compile(r"([0-9]{1,5})/(tcp|http)")
_PATH = re.compile(r"/[A-Za-z0-9][A-Za-z0-9._/-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_REFERENCED = re.compile(r"\{\{ *RUNPOD_SECRET_[A-Za-z0-9_]+ *\}\}")  # RunPod puts the secret in
_LOGIN = re.compile(r"://[^/@\s]+@")


class ImageError(Exception):
    """An image cannot be described; the text says what was found, what was expected and what to do."""


@dataclass(frozen=True)
class Settings:
    """How an image is called, what it stands on and how a pod of it is rented; checked."""

    name: str
    reference: str
    base: str
    packages: tuple[str, ...]
    ports: tuple[str, ...]
    disk_gb: int
    volume_gb: int
    volume_path: str
    cloud: str
    gpu: str
    gpu_count: int
    environment: Mapping[str, str]


def find_hosts(hosts: str, groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """For each named profile, or host, the host that stands for its image: {host, groups}.

    A profile's image needs no host of it: one is made up, which nothing is ever sent to.
    """
    found = []
    names = [name for name in re.split(r"[:,\s]+", hosts) if name]
    for name in names:
        if name in groups and name not in ("all", "ungrouped"):
            found.append({"host": f"image-of-{name}", "groups": [name, GROUP]})
        elif name in groups.get("all", ()):
            found.append({"host": name, "groups": [GROUP]})
        else:
            known = sorted({*groups, *groups.get("all", ())} - {"all", "ungrouped"})
            raise ImageError(f'"{name}" is neither a group nor a host of the inventory; {nearest(name, known)}')
    if not found:
        raise ImageError("No image is named; name a group or host, such as -e image_hosts=h100.")
    return found


def check_settings(given: Mapping[str, Any], decision: Decision, target: Target, known: Catalogue) -> Settings:
    """Check the settings and fill in what they leave out. Raises ImageError."""
    if decision["route"] == "blocked":
        raise ImageError(f"{decision['summary']}: there is no image for this target.")
    if decision["route"] == "cpu" or not decision["cuda"]:
        raise ImageError(
            "The request has no CUDA, and an image is for GPUs; set stack_plan_request.cuda to a release such as 13.0."
        )
    name = _match("name", given["name"], _NAME, "h100")
    digest = str(decision["digest"])[:12]
    environment = _environment(given.get("environment") or {})
    volume = _size("volume_gb", given.get("volume_gb") or 0, LEAST_VOLUME, zero=True)
    gpu = str(given.get("gpu") or next((gpu for gpu in target.gpus if not gpu[:1].isdigit()), ""))
    if not gpu:
        raise ImageError(
            "container_image_target.gpus has compute capabilities only; expected a GPU to rent: "
            "set container_image_gpu to RunPod's name of one, such as NVIDIA H200."
        )
    return Settings(
        name=name,
        reference=_reference("reference", given.get("reference") or f"podsmith/{name}:{digest}"),
        base=_reference("base", given.get("base") or find_base(decision, target, str(given["flavor"]), known)),
        packages=tuple(_match("packages", name, _PACKAGE, "openssh-server") for name in given["packages"]),
        ports=tuple(_port(port) for port in given["ports"]),
        disk_gb=_size("disk_gb", given["disk_gb"], LEAST_DISK),
        volume_gb=volume,
        volume_path=_match("volume_path", given["volume_path"], _PATH, "/workspace"),
        cloud=str(given["cloud"]),
        gpu=gpu,
        gpu_count=_size("gpu_count", given["gpu_count"], 1, most=16),
        environment=environment,
    )


def find_base(decision: Decision, target: Target, flavor: str, known: Catalogue) -> str:
    """NVIDIA's image of the decision's CUDA release on the target's system, or of the nearest older one."""
    rows = known["images"]["bases"]
    wanted = parse_version(str(decision["cuda"]))
    fit = [
        cuda
        for cuda, row in rows.items()
        if target.system in row["systems"] and parse_version(cuda)[0] == wanted[0] and parse_version(cuda) <= wanted
    ]
    if not fit:
        systems = sorted({system for row in rows.values() for system in row["systems"]})
        raise ImageError(
            f"The catalogue has no image of CUDA {decision['cuda']} on {target.system} (it has {', '.join(systems)}); "
            "name one in container_image_base, such as debian:bookworm-slim."
        )
    row = rows[max(fit, key=parse_version)]
    return f"{row['image']}:{row['tag']}-{flavor}-{target.system}"


def served_cudas(decision: Decision, request: Mapping[str, Any], target: Target, known: Catalogue) -> list[str]:
    """The CUDA levels of the hosts' drivers on which the image runs, oldest first.

    With forward compatibility on standby all branches that its library lists, otherwise none older than the target's.
    """
    compat, branches = decision["forward_compat"], known["drivers"]["branches"]
    floor = parse_version(str(known["cuda"]["releases"][str(decision["cuda"])]["least_driver"]))[0]
    oldest = 0 if request.get("forward_compat") == STANDBY and compat["enabled"] else int(target.driver.split(".")[0])
    served = [
        branch
        for branch in sorted(map(int, branches))
        if branch >= oldest and (branch >= floor or (compat["enabled"] and branch in compat["branches"]))
    ]
    return list(dict.fromkeys(str(branches[str(branch)]["cuda"]) for branch in served))


def has_gaps(served: Sequence[str], known: Catalogue) -> bool:
    """Whether a level between the oldest and the newest is not served, so that a floor alone would let it in."""
    levels = {str(row["cuda"]) for row in known["drivers"]["branches"].values()}
    return any(level not in served for level in levels if parse_version(level) > parse_version(served[0]))


def describe_pod(settings: Settings, served: Sequence[str], known: Catalogue) -> dict[str, Any]:
    """The body of RunPod's ``POST /v2/pods``."""
    cuda = {"allowedCudaVersions": list(served)} if has_gaps(served, known) else {"minCudaVersion": served[0]}
    return {
        "name": settings.name,
        "cloud": settings.cloud,
        "gpu": {"id": settings.gpu, "count": settings.gpu_count, **cuda},
        **_container(settings),
    }


def describe_template(settings: Settings, served: Sequence[str]) -> dict[str, Any]:
    """The body of RunPod's ``POST /v2/templates``, which knows no floor."""
    return {
        "name": settings.name,
        "category": "NVIDIA",
        "public": False,
        "serverless": False,
        "allowedCudaVersions": list(served),
        **_container(settings),
    }


def _container(settings: Settings) -> dict[str, Any]:
    mounts = {"persistent": {"size": settings.volume_gb, "path": settings.volume_path}}
    return {
        "image": settings.reference,
        "disk": settings.disk_gb,
        "ports": list(settings.ports),
        "env": dict(settings.environment),
        "startSsh": True,
        "startJupyter": False,
        **({"mounts": mounts} if settings.volume_gb else {}),
    }


def build_variables(decision: Decision, request: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Variables under which the bootstrap inside reaches this decision, now and on each start.

    :param given: the variables of the roles that the inventory sets. What is a secret is refused.
    """
    for name, value in sorted(given.items()):
        if _LOGIN.search(json.dumps(value)):
            raise ImageError(
                f"{name} contains a login, which anyone who has the image could read; "
                "use an address without one, and pass PIP_INDEX_URL as a build argument if pip needs the login."
            )
    pinned = {**bundle.pin(request, decision), "prefix": decision["environment"]["prefix"]}
    return {"stack_plan_request": pinned, **{name: given[name] for name in sorted(given)}}


def describe_start(decision: Decision, known: Catalogue) -> dict[str, Any]:
    """What the check at the start of a container needs to know."""
    cuda, compat, environment = str(decision["cuda"]), decision["forward_compat"], decision["environment"]
    rows = known["drivers"]["errors"]
    told = {code: explain_error(int(code), START, rows) or {} for code in rows}
    errors = {code: {key: found[key] for key in ("name", "cause", "remedy")} for code, found in told.items()}
    return {
        "cuda": cuda,
        "least_driver": str(known["cuda"]["releases"][cuda]["least_driver"]),
        "package": compat["package"],
        "compat": environment["compat_path"] if environment["compat_enabled"] else None,
        "branches": list(compat["branches"]),
        "errors": errors,
    }


def render_scripts(settings: Settings, prefix: str) -> dict[str, str]:
    """What builds the image and what starts a container: their settings, then the part that is the same in all."""
    values = {"home": HOME, "prefix": prefix, "packages": " ".join(settings.packages)}
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    scripts = {}
    for name, used in (("build.sh", values), ("start.sh", ("home", "prefix"))):
        head = "".join(line for line in lines.splitlines(keepends=True) if line.partition("=")[0] in used)
        scripts[name] = f"#!/bin/sh\n{HEADER}set -eu\n{head}\n{_load_body(name)}"
    return {**scripts, "check.py": HEADER + _load_body("check.py")}


def _load_body(name: str) -> str:
    """The fixed part of a script, without what only this project's linter reads in its first line."""
    lines = (BODIES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines) if number or not line.startswith("# shellcheck "))


def dump(content: Any) -> str:
    """JSON as a file holds it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


# --- checks ---


def _match(where: str, value: Any, form: re.Pattern[str], example: str) -> str:
    text = str(value)
    if not form.fullmatch(text) or ".." in text:
        raise ImageError(f"container_image_{where} is {show(value)}; expected a value such as {example}.")
    return text


def _reference(where: str, value: Any) -> str:
    text = str(value)
    match = _REFERENCE.fullmatch(text)
    if not match or (match["tag"] in (None, "latest") and not match["digest"]):
        raise ImageError(
            f"container_image_{where} is {show(value)}; expected an image with a fixed tag or a digest, "
            "such as registry.example.com/team/h100:1."
        )
    return text


def _port(value: Any) -> str:
    match = _PORT.fullmatch(str(value))
    if not match or not 0 < int(match[1]) < 2**16:
        raise ImageError(f"container_image_ports holds {show(value)}; expected a port such as 22/tcp or 8888/http.")
    return str(value)


def _size(where: str, value: Any, least: int, *, most: int = MOST, zero: bool = False) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not (least <= value <= most or (zero and value == 0)):
        none = "0 or " if zero else ""
        raise ImageError(
            f"container_image_{where} is {show(value)}; expected {none}a whole number from {least} to {most}."
        )
    return int(value)


def _environment(values: Mapping[Any, Any]) -> dict[str, str]:
    for name, value in values.items():
        where = f"container_image_environment.{name}"
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ImageError(
                f"container_image_environment has the key {show(name)}; expected a variable's name such as HF_HOME."
            )
        if name == "LD_LIBRARY_PATH":
            raise ImageError(
                f"{where} would apply with every driver; remove it: the activation sets it for the loaded driver."
            )
        if not isinstance(value, str):
            raise ImageError(f"{where} is {show(value)}; expected text: put it in quotes.")
        if _SECRET.search(name) and not _REFERENCED.fullmatch(value):
            raise ImageError(
                f"{where} looks like a secret, which does not belong in a file; "
                "store it as a secret at RunPod and write {{ RUNPOD_SECRET_name }} instead."
            )
    return {str(name): str(value) for name, value in values.items()}


def list_names(declared: Mapping[str, Iterable[str]]) -> list[str]:
    """The variables of the roles that install something, of which an inventory may set any."""
    return sorted(name for role, names in declared.items() if BY_ROLE[role].image for name in names)
