# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what bootstrap would do on a host, and why, by the very rules of the filter ``stack_plan`` and without Ansible.

Exit status: 0 where there is a plan, also one that meets a part of the request only; 2 for what cannot be understood;
3 where the host cannot be used: blocked, broken, or not what ``--require`` asks for.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "ansible_collections.podsmith.gpu"
MAKERS = ("", "NVIDIA ", "NVIDIA GeForce ", "Tesla ", "Quadro ")  # what NVML puts before what people say
# ID_LIKE of the os-release of systems that people name; a rare one's is named with it
ID_LIKE = {
    "ubuntu": "debian",
    "linuxmint": "ubuntu debian",
    "pop": "ubuntu debian",
    "rhel": "fedora",
    "centos": "rhel fedora",
    "rocky": "rhel centos fedora",
    "almalinux": "rhel centos fedora",
    "ol": "fedora",
    "amzn": "fedora",
    "sles": "suse",
    "sles_sap": "suse",
    "opensuse-leap": "suse opensuse",
    "opensuse-tumbleweed": "opensuse suse",
}
UNUSABLE = ("blocked", "broken", "unmet")
EPILOG = """\
  scripts/plan recording cuda=13.0 pytorch=2.9 extensions=triton,vllm
  scripts/plan --gpu "8x H100" --driver 550.163.01 cuda=13.0
  scripts/plan --gpu "RTX 5090" --driver 581.42 --kind wsl2 --profile rtx5090
  scripts/plan cuda=13.0                                                        this machine
"""

Facts = dict[str, Any]


class UsageError(Exception):
    """What was asked cannot be understood; the message says what was expected."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan; the exit status."""
    options = parse_arguments(arguments)
    reach_collection()
    words = load("plugins.plugin_utils._request.words")
    errors = load("plugins.plugin_utils._recording.errors")
    try:
        return show(options)
    except (UsageError, words.RequestError, errors.RecordingError, OSError) as error:
        sys.stderr.write(f"plan: {error}\n")
        return 2


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "scripts/plan", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        nargs="*",
        help="a recording, a folder or a JSON file of facts, and keys of the request, such as cuda=13.0",
    )
    host = parser.add_argument_group("a host in words, in place of a recording")
    host.add_argument("--gpu", help='names as NVML gives them, or parts of them, such as H100 or "8x H100", or 9.0')
    host.add_argument("--driver", help="its version or branch, such as 570.133.20")
    host.add_argument("--kind", choices=["bare_metal", "vm", "container", "wsl2"], default="container")
    host.add_argument("--arch", choices=["x86_64", "aarch64"], default="x86_64")
    host.add_argument(
        "--os", default="ubuntu 24.04", help="ID, VERSION_ID and, of a rare system, ID_LIKE of os-release"
    )
    host.add_argument("--python", default="3.12")
    parser.add_argument("--profile", metavar="NAME", help="the request of inventories/example/group_vars/NAME.yml")
    parser.add_argument("--request", type=pathlib.Path, metavar="FILE", help="a YAML file with stack_plan_request")
    parser.add_argument("--require", metavar="YAML", help="stack_plan_require, such as '{gpus: 8, model: H100}'")
    parser.add_argument("--json", action="store_true", help="the decision as JSON, as playbooks write it")
    return parser.parse_intermixed_args(arguments)


def reach_collection() -> None:
    """Make this checkout importable as the collection, wherever it lies and without a link."""
    for name, folder in (("ansible_collections", None), (PACKAGE.rpartition(".")[0], None), (PACKAGE, ROOT)):
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__path__ = [str(folder)] if folder else []
            sys.modules[name] = module


def load(name: str) -> Any:
    """A module of the collection."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def show(options: argparse.Namespace) -> int:
    """Decide and print. Raises UsageError, RequestError and RecordingError."""
    require = load("plugins.plugin_utils._plan.require")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "podsmith.gpu"
    known = load("plugins.plugin_utils._catalogue.load").load_cached(cache)
    recordings = [word for word in options.what if "=" not in word]
    if len(recordings) > 1:
        raise UsageError(f"found the recordings {' and '.join(recordings)}; expected one.")
    wish = [word for word in options.what if "=" in word]
    request = load("plugins.plugin_utils._plan.plan").check_request(read_request(options, wish), known)
    required = load("plugins.plugin_utils._request.require").parse_requirements(
        read_yaml(options.require, "--require") if options.require else None
    )
    name, facts = find_host(options, recordings, known)
    plan = require.decide(facts, request, known, require=required)
    decision = load("plugins.plugin_utils._plan.decision").to_decision(plan)
    if options.json:
        text = json.dumps(decision, indent=2, ensure_ascii=False)
    else:
        render = load("plugins.plugin_utils._report.stack").render_text
        text = render(decision, facts, name, color=sys.stdout.isatty())
    sys.stdout.write(f"{text}\n")
    return 3 if decision["verdict"] in UNUSABLE else 0


# --- the host ---


def find_host(options: argparse.Namespace, recordings: Sequence[str], known: Mapping[str, Any]) -> tuple[str, Facts]:
    """Name and facts of the host that is asked about."""
    if recordings and (options.gpu or options.driver):
        raise UsageError("found a recording and a host in words; expected one of them.")
    if recordings:
        path = pathlib.Path(recordings[0])
        return path.resolve().name, load("plugins.plugin_utils._recording.recording").read_folder(path)
    if options.gpu or options.driver:
        return "host", describe(options, known)
    return "this machine", load("plugins.module_utils._observe.host").observe("/", 5, [], dict(os.environ))


def describe(options: argparse.Namespace, known: Mapping[str, Any]) -> Facts:
    """The facts of a host in words. What is not said is unknown."""
    if options.driver and not re.fullmatch(r"\d{3,4}(\.\d{1,4}){0,2}", options.driver):
        raise UsageError(f'--driver is "{options.driver}"; expected a version or a branch, such as 570.133.20 or 570.')
    devices = [device for part in (options.gpu or "").split(",") if part.strip() for device in parse_gpus(part, known)]
    driver: Facts = {"status": "missing"}
    if options.driver:
        level = load("plugins.plugin_utils._plan.host").level(options.driver, known)
        driver = {"status": "ok", "version": options.driver, "branch": int(options.driver.split(".")[0]), "cuda": level}
    return {
        "recorded": True,
        "platform": {
            "kind": options.kind,
            "os": describe_os(options.os),
            "arch": options.arch,
            "root": True,
            "home": "/root",
            "pythons": [{"path": f"/usr/bin/python{options.python}", "version": options.python}],
        },
        "driver": driver,
        "devices": [{**device, "index": index} for index, device in enumerate(devices)] if options.gpu else None,
    }


def describe_os(text: str) -> Facts:
    """``rocky 9.5`` or ``miracle 9.4 rhel fedora`` as what is observed of an os-release. Raises UsageError."""
    match = re.fullmatch(r"\s*([a-z][\w.-]*)(?:\s+(\d[\w.]*))?((?:\s+[a-z][\w.-]*)*)\s*", text.lower())
    if match is None:
        told = f'--os is "{text}"; expected ID and VERSION_ID of os-release, such as rocky 9.5'
        raise UsageError(f"{told}, and its ID_LIKE where few know the system: miracle 9.4 rhel fedora.")
    like = match[3].strip() or ID_LIKE.get(match[1], "")
    lines = [f"ID={match[1]}", f"ID_LIKE={like}", *([f"VERSION_ID={match[2]}"] if match[2] else [])]
    found: Facts = load("plugins.module_utils._observe.platform").parse_os_release("\n".join(lines))
    return found


def parse_gpus(text: str, known: Mapping[str, Any]) -> list[Facts]:
    """``2x H100`` as devices: NVML's whole name of the catalogue, or a compute capability. Raises UsageError."""
    match = re.fullmatch(r"\s*(?:(\d{1,3})\s*x\s+)?(.*?)\s*", text)
    count, name = (int(match[1] or 1), match[2]) if match else (1, text)
    if name in known["gpus"]["capabilities"]:
        return [{"name": f"GPU of compute capability {name}", "compute_capability": name}] * count
    find_model = load("plugins.plugin_utils._plan.host").find_model
    found = next((maker + name for maker in MAKERS if find_model(maker + name, known)), None)
    if found is None:
        is_model = load("plugins.plugin_utils._plan.require").is_model
        found = min((model for model in known["gpus"]["models"] if is_model(model, name)), key=len, default=None)
    if found is None:
        listed = load("plugins.plugin_utils._request.words").nearest(name, list(known["gpus"]["models"]))
        raise UsageError(f'--gpu names "{name}", which the catalogue does not have; {listed} Or give its capability.')
    return [{"name": found}] * count


# --- the request ---


def read_request(options: argparse.Namespace, wish: Sequence[str]) -> Facts:
    """The request of the profile, of the file, and of the words, each before what it overrides."""
    request: Facts = {}
    if options.profile:
        request |= read_profile(options.profile)
    if options.request:
        content = read_yaml(options.request.read_text(encoding="utf-8"), str(options.request))
        request |= content.get("stack_plan_request", content)
    defaults = load("plugins.plugin_utils._request.request").Request() if wish else None
    for word in wish:
        key, _unused, text = word.partition("=")
        value = parse_value(text)
        is_list = key == "architectures" or isinstance(getattr(defaults, key, None), tuple)
        request[key] = [value] if is_list and isinstance(value, str) and value != "auto" else value
    return request


def read_profile(name: str) -> Facts:
    """The request of a group of the example inventory; its expressions are rendered with the group's own variables."""
    folder = ROOT / "inventories" / "example" / "group_vars"
    path = folder / f"{name}.yml"
    if not path.is_file():
        listed = ", ".join(sorted(other.stem for other in folder.glob("*.yml")))
        raise UsageError(f'--profile is "{name}"; expected one of {listed}.')
    variables = read_yaml(path.read_text(encoding="utf-8"), str(path))
    request = variables.get("stack_plan_request", {})
    if "{{" in json.dumps(request):
        try:
            from jinja2 import Environment  # noqa: PLC0415  only for what needs it
        except ImportError as error:
            raise UsageError(f"{path} has expressions; run scripts/prepare.sh once, which installs Jinja.") from error
        request = render(request, Environment(), variables)  # noqa: S701  a request is no page
    return dict(request)


def render(value: Any, environment: Any, variables: Facts) -> Any:
    """A value with its expressions rendered; what a bare expression gives keeps its type."""
    if isinstance(value, dict):
        return {key: render(item, environment, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, environment, variables) for item in value]
    if isinstance(value, str) and (bare := re.fullmatch(r"\s*\{\{([^{}]*)\}\}\s*", value)):
        return environment.compile_expression(bare[1])(**variables)
    return environment.from_string(value).render(variables) if isinstance(value, str) else value


def parse_value(text: str) -> Any:
    """A value of ``key=value``: YAML where it is a list or a mapping, a list by commas, else the text itself."""
    if text[:1] in "[{":
        return read_yaml(text, "the request")
    return [part for part in text.split(",") if part] if "," in text else text


def read_yaml(text: str, where: str) -> Any:
    """YAML of a person. Raises UsageError."""
    import yaml  # noqa: PLC0415  a plan without YAML of a person needs none

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not YAML: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
