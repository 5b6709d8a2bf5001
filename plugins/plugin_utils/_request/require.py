# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host must have to be used at all, ``stack_plan_require``, checked before any host is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import (
    InvalidSpecifier,
    SpecifierSet,
    canonicalize_name,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import RequestError, expected, nearest, show

NAME = "stack_plan_require"
ALL = "all"
HEALTHY = "ok"
ROUTES = ("native", "minor_version", "forward_compat", "fallback", "cpu")

_BRANCH = re.compile(r"[0-9]{3,4}")
_WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/()-]{0,98}")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Requirements:
    """What is required of a host; None, or an empty tuple: nothing is."""

    gpus: int | None = None  # at least
    models: tuple[str, ...] = ()  # each GPU is one of these: words of NVML's name
    memory_gib: float | None = None  # of each GPU, as its maker counts
    driver: str | None = None  # a specifier such as >=570
    shm_gib: float | None = None  # of /dev/shm
    disk_gib: float | None = None  # where the collection installs
    extensions: tuple[str, ...] = ()  # names, or ("all",): all that are requested
    routes: tuple[str, ...] = ()
    health: bool = False


def parse_requirements(value: Any) -> Requirements:
    """Check ``stack_plan_require``. Raises RequestError with what was found, what was expected and what to do."""
    if value is None:
        return Requirements()
    if not isinstance(value, Mapping):
        example = "{gpus: 8, model: H100}"
        raise RequestError(f"{NAME} is {show(value)}; expected a mapping of keys and values such as {example}.")
    found = {}
    for key, item in value.items():
        if key not in _KEYS:
            raise RequestError(f"{NAME} has the unknown key {show(key)}; {nearest(str(key), _KEYS)}")
        if item is not None:
            field, parse = _KEYS[str(key)]
            found[field] = parse(f"{NAME}.{key}", item)
    return Requirements(**found)


def _count(where: str, value: Any) -> int:
    """A whole number; it may come as text, from ``-e``."""
    if not isinstance(value, bool) and re.fullmatch(r"[1-9][0-9]{0,3}", str(value)):
        return int(value)
    raise RequestError(f"{where} is {show(value)}; expected a number of GPUs, 1 or more.")


def _amount(where: str, value: Any) -> float:
    text = str(value)
    if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text) and float(text) > 0:
        return float(text)
    raise RequestError(f"{where} is {show(value)}; expected a number of GiB such as 80.")


def _models(where: str, value: Any) -> tuple[str, ...]:
    return _texts(where, value, _WORDS, "H100")


def _extensions(where: str, value: Any) -> tuple[str, ...]:
    names = _texts(where, value, _PACKAGE, "vllm")
    if ALL in names and len(names) > 1:
        raise RequestError(f"{where} is [{', '.join(names)}]; expected {ALL} alone, or a list without it.")
    return tuple(dict.fromkeys(canonicalize_name(name) for name in names))


def _routes(where: str, value: Any) -> tuple[str, ...]:
    routes = _texts(where, value, re.compile(r"[a-z_]{1,40}"), ROUTES[0])
    for route in routes:
        if route not in ROUTES:
            raise RequestError(f"{where} names {show(route)}; {expected(route, ROUTES)}")
    return routes


def _driver(where: str, value: Any) -> str:
    """A specifier; a branch alone means that branch."""
    if isinstance(value, float):
        raise RequestError(f'{where} is the number {value}; expected text: put it in quotes, such as ">=570".')
    text = str(value).strip()
    if _BRANCH.fullmatch(text) and not isinstance(value, bool):
        return f"=={text}.*"
    try:
        if isinstance(value, str) and text:
            return str(SpecifierSet(text))
    except InvalidSpecifier:
        pass
    raise RequestError(f'{where} is {show(value)}; expected a branch such as "580", or a bound such as ">=570".')


def _health(where: str, value: Any) -> bool:
    if value == HEALTHY and isinstance(value, str):
        return True
    raise RequestError(f"{where} is {show(value)}; expected {HEALTHY}, or leave the key out.")


def _texts(where: str, value: Any, form: re.Pattern[str], example: str) -> tuple[str, ...]:
    """A text, or a list of texts, each of a form."""
    items = [value] if isinstance(value, str) else value
    if isinstance(items, Sequence) and items:
        if all(isinstance(item, str) and form.fullmatch(item) for item in items):
            return tuple(dict.fromkeys(map(str, items)))
        wrong = next(item for item in items if not (isinstance(item, str) and form.fullmatch(item)))
        raise RequestError(f"{where} holds {show(wrong)}; expected text such as {example}.")
    raise RequestError(f"{where} is {show(value)}; expected text such as {example}, or a list such as [{example}].")


# key → field, and what reads it
_KEYS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "gpus": ("gpus", _count),
    "model": ("models", _models),
    "memory_gib": ("memory_gib", _amount),
    "driver": ("driver", _driver),
    "shm_gib": ("shm_gib", _amount),
    "disk_gib": ("disk_gib", _amount),
    "extensions": ("extensions", _extensions),
    "route": ("routes", _routes),
    "health": ("health", _health),
}
