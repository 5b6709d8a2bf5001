# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways into a host as they were observed, typed: which libcuda each gets, and what CUDA answers there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version

LOGIN, INTERACTIVE, SERVICE, ENVIRONMENT = "login", "interactive", "service", "environment"
LABELS = {  # way → how a person calls it
    LOGIN: "login shell",
    INTERACTIVE: "interactive shell",
    "pam": "bash -c",
    "command": "ssh command",
    SERVICE: "service",
    ENVIRONMENT: "the environment's Python",
}
SHELLS = (LOGIN, INTERACTIVE, "pam")
MAIN = tuple(name for name in LABELS if name != SERVICE)  # a host where one of these fails is broken
LIBRARY_PATH, PRELOAD, VISIBLE = "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES"
TIMEOUT = "TIMEOUT"  # in place of an error's name
OLDEST = 100  # a driver's branch has three digits; libcuda.so.1.1 of Tegra and WSL2 says no version

_NUMBERED = re.compile(r"libcuda\.so\.(\d+(?:\.\d+)+)$")


@dataclass(frozen=True)
class Trace:
    """The assignment that a way's own trace found to have set a variable."""

    variable: str
    value: str
    file: str
    line: int | None
    text: str


@dataclass(frozen=True)
class Answer:
    """What cuInit answered: ``code`` is None where it did not return, ``name`` then says TIMEOUT or SIGNAL_11."""

    code: int | None
    name: str
    devices: int

    @property
    def works(self) -> bool:
        """Whether CUDA started and has a GPU."""
        return self.code == 0 and self.devices > 0


@dataclass(frozen=True)
class Way:
    """One way into the host. ``answer`` is None where no libcuda was found, or where nobody asked."""

    name: str
    started: bool  # whether its shell came as far as the probe
    asked: bool  # whether CUDA was asked here
    libcuda: str | None
    version: str | None
    compat: bool
    stub: bool
    answer: Answer | None
    environ: Mapping[str, str] | None  # None: not recorded
    causes: tuple[Trace, ...]
    error: str | None = None  # of the loader, where it loaded no library

    @property
    def label(self) -> str:
        """How a person calls it."""
        return LABELS.get(self.name, self.name)

    @property
    def called(self) -> str:
        """The same in a sentence."""
        return f"the {self.label.removeprefix('the ')}"

    @property
    def reached(self) -> bool:
        """Whether it came as far as the probe: it did not where it said nothing, or hung without a library."""
        hung = self.libcuda is None and self.answer is not None and self.answer.name == TIMEOUT
        return self.started and not hung

    @property
    def folder(self) -> str | None:
        """Where its libcuda lies."""
        return self.libcuda.rpartition("/")[0] if self.libcuda else None

    def is_chosen(self, gpus: int) -> bool:
        """Whether it was given some of the host's GPUs, and has them."""
        return bool(self.visible) and self.answer is not None and 0 < self.answer.devices < gpus

    @property
    def visible(self) -> tuple[str, ...] | None:
        """The GPUs that CUDA_VISIBLE_DEVICES names here, None where it is not set or not recorded."""
        value = (self.environ or {}).get(VISIBLE)
        return None if value is None else tuple(name for part in value.split(",") if (name := part.strip()))


def read_ways(observed: Mapping[str, Any]) -> Mapping[str, Way] | None:
    """The observed ways in the order of LABELS. None: nobody looked; empty: the host has no libcuda to ask.

    Facts of older releases have the login shell alone, as ``loader``.
    """
    ways = observed.get("ways")
    if isinstance(ways, Mapping):
        order = [*(name for name in LABELS if name in ways), *(name for name in ways if name not in LABELS)]
        return {name: _way(str(name), ways[name]) for name in order if isinstance(ways[name], Mapping)}
    loader = observed.get("loader")
    return {LOGIN: _way(LOGIN, loader)} if isinstance(loader, Mapping) and loader else None


def read_answer(row: Any) -> Answer | None:
    """``{init: {code, name} | None, devices}`` as it was observed; None where cuInit was not called."""
    init = row.get("init") if isinstance(row, Mapping) else None
    if not isinstance(init, Mapping):
        return None
    code, devices = init.get("code"), row.get("devices")
    name = init.get("name") or (f"CUDA_ERROR_{code}" if code is not None else "no answer")
    return Answer(_number(code), str(name), _number(devices) or 0)


def library_version(text: Any) -> str | None:
    """A libcuda's version, None where it is none of a driver for Linux."""
    try:
        return str(text) if text and parse_version(str(text))[0] >= OLDEST else None
    except ValueError:
        return None


def name_ways(names: Collection[str]) -> str:
    """Ways as a person calls them; the shells by one word where all of them are meant."""
    labels = {name: LABELS.get(name, name) for name in names}
    if all(name in names for name in SHELLS):
        labels = {"shells": "every shell", **{name: label for name, label in labels.items() if name not in SHELLS}}
    return ", ".join(labels.values())


def tell_faults(faults: Mapping[str, str]) -> list[str]:
    """Way → what is wrong with it, as one half sentence a fault, with all the ways that have it."""
    ways: dict[str, list[str]] = {}
    for name, because in faults.items():
        ways.setdefault(because, []).append(name)
    return [f"{name_ways(names)}: {because}" for because, names in ways.items()]


def _way(name: str, row: Mapping[str, Any]) -> Way:
    libcuda = str(row["libcuda"]) if row.get("libcuda") else None
    named = _NUMBERED.search(libcuda or "")
    environ, causes = row.get("environ"), row.get("causes")
    stub = bool(row.get("stub")) or "stubs" in (libcuda or "").split("/")
    return Way(
        name=name,
        started=bool(row),
        asked="init" in row,
        libcuda=libcuda,
        version=library_version(row.get("version")) or library_version(named[1] if named else None),
        compat=bool(row.get("compat_active")) and not stub,
        stub=stub,
        answer=read_answer(row),
        environ={str(key): str(value) for key, value in environ.items()} if isinstance(environ, Mapping) else None,
        causes=tuple(_trace(cause) for cause in causes if isinstance(cause, Mapping))
        if isinstance(causes, Sequence) and not isinstance(causes, str)
        else (),
        error=str(row["error"]) if row.get("error") else None,
    )


def _trace(row: Mapping[str, Any]) -> Trace:
    text = {key: str(row.get(key) or "") for key in ("variable", "value", "file", "text")}
    return Trace(text["variable"], text["value"], text["file"], _number(row.get("line")), text["text"].strip())


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
