# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is for: the driver and the GPUs that it will meet, as facts, so that it is planned like any host."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import find_model, level
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, expected, nearest, show

NAME = "stack_plan_target"
SCHEMA = 2  # of the facts that gpu_facts gathers
ARCHITECTURES = ("x86_64", "aarch64")

_CAPABILITY = re.compile(r"[0-9]{1,2}\.[0-9]")
_DRIVER = re.compile(r"[0-9]{3,4}(?:\.[0-9]{1,9}){0,2}")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/()-]{0,98}")


@dataclass(frozen=True)
class Target:
    """What an image is for, and what it is built on."""

    gpus: tuple[str, ...]  # names as NVML gives them, or compute capabilities
    driver: str  # the oldest that it will meet: a branch or a version
    system: str  # of catalogue/images.yml, whose first one is the default
    arch: str = "x86_64"
    python: str | None = None  # None: the system's own


def parse_target(value: Any, known: Catalogue) -> Target:
    """Check ``stack_plan_target``. Raises RequestError with what was found, what was expected and what to do."""
    if not isinstance(value, Mapping):
        raise RequestError(
            f"{NAME} is {show(value)}; expected a mapping of keys and values, "
            'such as {gpus: [NVIDIA H200], driver: "570"}.'
        )
    for key in value:
        if key not in Target.__dataclass_fields__:
            raise RequestError(
                f"{NAME} has the unknown key {show(key)}; {nearest(str(key), list(Target.__dataclass_fields__))}"
            )
    given = {str(key): item for key, item in value.items() if item is not None}
    for key, example in (("gpus", "[NVIDIA H200]"), ("driver", '"570"')):
        if key not in given:
            raise RequestError(f"{NAME} has no {key}, which an image cannot be planned without; add {key}: {example}.")
    systems = known["images"]["systems"]
    system = _choice("system", given.get("system", next(iter(systems))), list(systems))
    own = str(systems[system]["python"])
    return Target(
        gpus=_gpus(given["gpus"], known),
        driver=_driver(given["driver"], known),
        system=system,
        arch=_choice("arch", given.get("arch", "x86_64"), ARCHITECTURES),
        python=_text("python", given["python"], _PYTHON, own) if "python" in given else None,
    )


def observe_target(target: Target, observed: Mapping[str, Any], known: Catalogue) -> dict[str, Any]:
    """The facts of an image: what was observed inside it, else what its system is known to have, and the target's GPUs.

    A driver and GPUs that are there while it is built are not its own, nor is a volume that is mounted then.
    """
    platform = {**_platform(target, known), **(observed.get("platform") or {})}
    platform.update(kind="container", provider=None, persistent_dir=None, boot_id=None)
    return {
        **{key: value for key, value in observed.items() if key not in ("loader", "ways", "conflicts")},
        "schema": SCHEMA,
        "platform": platform,
        "driver": {
            "status": "ok",
            "version": target.driver,
            "branch": int(target.driver.split(".")[0]),
            "cuda": level(target.driver, known),
            "flavor": None,
            "source": None,
        },
        "devices": [_device(index, name, known) for index, name in enumerate(target.gpus)],
        "target": {"gpus": list(target.gpus), "driver": target.driver, "system": target.system},
    }


def _platform(target: Target, known: Catalogue) -> dict[str, Any]:
    row = known["images"]["systems"][target.system]
    python = target.python or str(row["python"])
    return {
        "os": {key: row[key] for key in ("id", "version", "codename", "family")},
        "arch": target.arch,
        "glibc": row["glibc"],
        "root": True,
        "user": "root",
        "home": "/root",
        "systemd": False,
        "pythons": [{"path": f"/usr/bin/python{python}", "version": python, "headers": True}],
    }


def _device(index: int, name: str, known: Catalogue) -> dict[str, Any]:
    if _CAPABILITY.fullmatch(name):
        return {"index": index, "name": f"GPU of compute capability {name}", "compute_capability": name}
    model: Row = find_model(name, known) or {}
    return {
        "index": index,
        "name": name,
        "compute_capability": model.get("compute_capability"),
        "brand_id": model.get("brand_id"),
    }


def _gpus(value: Any, known: Catalogue) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise RequestError(
            f"{NAME}.gpus is {show(value)}; expected a list of GPUs such as [NVIDIA H200], or of compute capabilities "
            "such as [9.0]."
        )
    names = tuple(dict.fromkeys(_text("gpus", item, _GPU, "NVIDIA H200") for item in value))
    for name in names:
        capability = _CAPABILITY.fullmatch(name)
        listed = known["gpus"]["capabilities"] if capability else known["gpus"]["models"]
        if name not in listed and (capability or find_model(name, known) is None):
            choice = nearest(name, list(listed))
            raise RequestError(
                f"{NAME}.gpus names {show(name)}, which the catalogue does not have; {choice}"
                f"{'' if capability else ' Or give its compute capability instead.'}"
            )
    return names


def _driver(value: Any, known: Catalogue) -> str:
    text = _text("driver", value, _DRIVER, "570")
    if level(text, known) is None:
        oldest = min(known["drivers"]["branches"], key=int)
        raise RequestError(f'{NAME}.driver is {show(text)}; expected a branch of {oldest} or newer, such as "570".')
    return text


def _text(where: str, value: Any, form: re.Pattern[str], example: str) -> str:
    if isinstance(value, (bool, int, float)):
        raise RequestError(f'{NAME}.{where} is {value!r}; expected text: put it in quotes, such as "{example}".')
    if not isinstance(value, str) or not form.fullmatch(value):
        raise RequestError(f'{NAME}.{where} is {show(value)}; expected a value such as "{example}".')
    return str(value)


def _choice(where: str, value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise RequestError(f"{NAME}.{where} is {show(value)}; {expected(str(value), choices)}")
    return str(value)
