# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request, checked before any host is touched."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.pep import canonicalize_name
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import (
    NAME,
    RequestError,
    expected,
    nearest,
    show,
)

POLICIES = ("forward_compat", "fallback", "fail")
AUTO, STANDBY = "auto", "standby"
COMPAT_USES = (AUTO, STANDBY)
TOOLKIT_PROVIDERS = ("auto", "adopt", "apt", "rpm", "pypi", "none")
WHEEL_PROVIDERS = ("auto", "adopt", "pytorch_index", "pypi", "host_wheels", "source")
STABLE = "stable"
CHANNELS = (STABLE, "test", "nightly")
SCOPES = ("auto", "system", "user")
LOADINGS = ("lazy", "eager")
NCCL_LEVELS = ("version", "warn", "info")
SETTING_WORDS = {"module_loading": LOADINGS, "nccl_debug": NCCL_LEVELS}  # settings that are no switches
KEEP = "keep"

_RELEASE = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_PATCH = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?")
_DOTTED = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,9}){1,3}")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_FILE = re.compile(r"(?:/|~/)[^\x00-\x1f\x7f]+")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_DRIVER = re.compile(r"[0-9]{3,4}(?:(?:\.[0-9]{1,4}){1,2})?")
_CAPABILITY = re.compile(r"[0-9]{1,2}\.[0-9]")
_ARCHITECTURE = re.compile(r"[0-9]{1,2}\.[0-9][af]?")
_COMPONENT = re.compile(r"[a-z][a-z0-9_]*")
_BUILT = re.compile(rf"(?:{_PACKAGE.pattern})(?:==[0-9][0-9A-Za-z.]{{0,40}})?")
_SWITCH = re.compile(r"[A-Z][A-Z0-9_]{1,60}")
_ADDRESS = re.compile(r"(?:https?|file|ssh)://[^\s'\"`$\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Toolkit:
    """The CUDA toolkit that is requested."""

    provider: str = "auto"
    components: tuple[str, ...] = ("compiler",)
    also: tuple[str, ...] = ()
    patch: str | None = None  # of the request's CUDA release; None: any


@dataclass(frozen=True)
class Wheels:
    """Where PyTorch's wheels are requested from."""

    provider: str = "auto"


@dataclass(frozen=True)
class Settings:
    """Run-time settings that are requested for every process; None: left as it is."""

    tf32: bool | None = None
    module_loading: str | None = None
    expandable_segments: bool | None = None
    cudnn_benchmark: bool | None = None
    nccl_p2p: bool | None = None
    nccl_shm: bool | None = None
    nccl_ib: bool | None = None
    nccl_debug: str | None = None


@dataclass(frozen=True)
class Source:
    """What is requested to be compiled: extensions as ``name`` or ``name==version``; jobs None: as memory allows."""

    extensions: tuple[str, ...] = ()
    features: dict[str, bool] = field(default_factory=dict)
    jobs: int | None = None
    urls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Overrides:
    """What the operator knows better than the observation or the rules; None or True: nothing is overridden."""

    driver: str | None = None
    compute_capability: str | None = None
    brand_id: int | None = None
    arch_list: bool = True
    disk: bool = True
    python: bool = True
    glibc: bool = True


@dataclass(frozen=True)
class Request:
    """A checked request. ``cuda``, ``pytorch`` and ``cutlass`` are a version, ``newest`` or ``none``."""

    cuda: str = "newest"
    pytorch: str = "newest"
    channel: str = STABLE  # of PyTorch's indexes
    on_old_driver: tuple[str, ...] = ("forward_compat", "fallback")
    forward_compat: str = AUTO  # standby: installed and off, for a start on an older driver
    toolkit: Toolkit = field(default_factory=Toolkit)
    wheels: Wheels = field(default_factory=Wheels)
    driver: str = KEEP
    source: Source = field(default_factory=Source)
    cutlass: str = "none"
    extensions: tuple[str, ...] = ()
    python: str = "auto"
    scope: str = "auto"
    prefix: str = "auto"
    architectures: tuple[str, ...] | None = None
    repair_files: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    overrides: Overrides = field(default_factory=Overrides)


def parse_request(given: Mapping[str, Any]) -> Request:
    """Check ``stack_plan_request`` and fill in what it leaves out.

    Raises RequestError for an unknown key, a wrong type, a malformed version and a value outside its choices.
    """
    values = _mapping(NAME, given, Request.__dataclass_fields__)
    toolkit = _mapping(f"{NAME}.toolkit", values.get("toolkit", {}), Toolkit.__dataclass_fields__)
    wheels = _mapping(f"{NAME}.wheels", values.get("wheels", {}), Wheels.__dataclass_fields__)
    base = Request()
    cuda, patch = _cuda(values.get("cuda", base.cuda), toolkit.get("patch"))
    return Request(
        cuda=cuda,
        pytorch=_version("pytorch", values.get("pytorch", base.pytorch), _DOTTED, "2.9 or 2.9.1"),
        channel=_choice("channel", values.get("channel", base.channel), CHANNELS),
        on_old_driver=_policy(values.get("on_old_driver", base.on_old_driver)),
        forward_compat=_choice("forward_compat", values.get("forward_compat", base.forward_compat), COMPAT_USES),
        toolkit=Toolkit(
            provider=_choice("toolkit.provider", toolkit.get("provider", base.toolkit.provider), TOOLKIT_PROVIDERS),
            components=_strings(
                "toolkit.components", toolkit.get("components", base.toolkit.components), _COMPONENT, "compiler"
            ),
            also=_strings("toolkit.also", toolkit.get("also", ()), _PATCH, "12.8"),
            patch=patch,
        ),
        wheels=Wheels(_choice("wheels.provider", wheels.get("provider", base.wheels.provider), WHEEL_PROVIDERS)),
        driver=_driver(values.get("driver", base.driver)),
        source=_source(values.get("source", {})),
        cutlass=_version("cutlass", values.get("cutlass", base.cutlass), _DOTTED, "4.2.0"),
        extensions=tuple(
            dict.fromkeys(
                canonicalize_name(name)
                for name in _strings("extensions", values.get("extensions", ()), _PACKAGE, "triton")
            )
        ),
        python=_python(values.get("python", base.python)),
        scope=_choice("scope", values.get("scope", base.scope), SCOPES),
        prefix=_prefix(values.get("prefix", base.prefix)),
        architectures=_architectures(values.get("architectures", "auto")),
        repair_files=_strings("repair_files", values.get("repair_files", ()), _FILE, "/root/.bashrc"),
        settings=_settings(values.get("settings", {})),
        overrides=_overrides(values.get("overrides", {})),
    )


def as_mapping(request: Request) -> dict[str, Any]:
    """The request as ``stack_plan_request`` writes it, with all keys; ``parse_request`` reads it back."""
    content = dataclasses.asdict(request)
    content["architectures"] = list(request.architectures) if request.architectures else "auto"
    content["overrides"] = {
        key: value for key, value in content["overrides"].items() if value is not None and value is not True
    }
    content["source"].update(extensions=list(request.source.extensions), jobs=request.source.jobs or "auto")
    content["toolkit"].update(components=list(request.toolkit.components), also=list(request.toolkit.also))
    for key in ("on_old_driver", "extensions", "repair_files"):
        content[key] = list(content[key])
    return content


def restore_request(complete: Mapping[str, Any]) -> Request:
    """The request of what ``as_mapping`` wrote: it has all keys and was checked, so nothing is checked again."""
    jobs = complete["source"]["jobs"]
    source = {**complete["source"], "jobs": None if jobs == "auto" else jobs}
    architectures = complete["architectures"]
    return Request(
        **{
            **complete,
            **{key: tuple(complete[key]) for key in ("on_old_driver", "extensions", "repair_files")},
            "architectures": None if architectures == "auto" else tuple(architectures),
            "toolkit": Toolkit(
                complete["toolkit"]["provider"],
                tuple(complete["toolkit"]["components"]),
                tuple(complete["toolkit"]["also"]),
                complete["toolkit"]["patch"],
            ),
            "wheels": Wheels(**complete["wheels"]),
            "source": Source(**{**source, "extensions": tuple(source["extensions"])}),
            "settings": Settings(**complete["settings"]),
            "overrides": Overrides(**complete["overrides"]),
        }
    )


def _mapping(where: str, value: Any, known: Iterable[str]) -> dict[str, Any]:
    """The keys of ``value`` that are set; a key that is null is as good as absent."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} is {show(value)}; expected a mapping of keys and values.")
    for key in value:
        if key not in set(known):
            raise RequestError(f"{where} has the unknown key {show(key)}; {nearest(str(key), known)}")
    return {str(key): item for key, item in value.items() if item is not None}


def _text(where: str, value: Any, example: str) -> str:
    """``value`` as text. Numbers are refused: YAML reads 13.10 as 13.1."""
    if isinstance(value, (bool, int, float)):
        raise RequestError(
            f'{NAME}.{where} is the number {value}; expected text: put it in quotes, such as "{example}".'
        )
    if not isinstance(value, str):
        raise RequestError(f"{NAME}.{where} is {show(value)}; expected text such as {example}.")
    return str(value)


def _version(where: str, value: Any, form: re.Pattern[str], example: str) -> str:
    text = _text(where, value, example)
    if text in ("newest", "none") or form.fullmatch(text):
        return text
    raise RequestError(f"{NAME}.{where} is {show(text)}; expected a version such as {example}, newest or none.")


def _cuda(value: Any, patch: Any) -> tuple[str, str | None]:
    """The CUDA release and, where one is named, the patch release of the toolkit: "13.0.2" is ("13.0", "13.0.2")."""
    text = _version("cuda", value, _PATCH, "13.0")
    release = ".".join(text.split(".")[:2])
    named = text if release != text else None
    if patch is None:
        return release, named
    wanted = _text("toolkit.patch", patch, "13.0.2")
    if not _PATCH.fullmatch(wanted) or not wanted.startswith(f"{release}.") or named not in (None, wanted):
        raise RequestError(
            f"{NAME}.toolkit.patch is {show(wanted)}; expected a patch release of {NAME}.cuda, which is {show(text)}."
        )
    return release, wanted


def _choice(where: str, value: Any, choices: Sequence[str]) -> str:
    text = _text(where, value, choices[0])
    if text not in choices:
        raise RequestError(f"{NAME}.{where} is {show(text)}; {expected(text, choices)}")
    return text


def _strings(where: str, value: Any, form: re.Pattern[str], example: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise RequestError(f"{NAME}.{where} is {show(value)}; expected a list such as [{example}].")
    texts = tuple(_text(where, item, example) for item in value)
    for text in texts:
        if not form.fullmatch(text):
            raise RequestError(
                f"{NAME}.{where} holds {show(text)}; expected entries such as {example}; correct it or remove it."
            )
    return tuple(dict.fromkeys(texts))


def _policy(value: Any) -> tuple[str, ...]:
    policies = _strings("on_old_driver", value, _COMPONENT, POLICIES[0])
    for policy in policies:
        _choice("on_old_driver", policy, POLICIES)
    if "fail" in policies and len(policies) > 1:
        raise RequestError(
            f"{NAME}.on_old_driver is [{', '.join(policies)}]; expected fail alone, or a list without it."
        )
    return policies


def _driver(value: Any) -> str:
    text = _text("driver", value, "580")
    if text == KEEP or _DRIVER.fullmatch(text):
        return text
    raise RequestError(
        f"{NAME}.driver is {show(text)}; expected a branch or version of the driver such as 580 or 580.95.05, or keep."
    )


def _python(value: Any) -> str:
    text = _text("python", value, "3.12")
    if text == "auto" or _PYTHON.fullmatch(text) or _PATH.fullmatch(text):
        return text
    raise RequestError(
        f"{NAME}.python is {show(text)}; expected a Python version such as 3.12, the path of an interpreter, or auto."
    )


def _prefix(value: Any) -> str:
    text = _text("prefix", value, "/opt/podsmith")
    if text == "auto":
        return text
    if not _PATH.fullmatch(text) or ".." in text.split("/") or any(mark in text for mark in ":'\"$`\\ "):
        raise RequestError(
            f"{NAME}.prefix is {show(text)}; expected an absolute path without spaces, quotes, colons or .., "
            "such as /opt/podsmith, or auto."
        )
    if not text.strip("/"):
        raise RequestError(f"{NAME}.prefix is /; expected a folder of its own such as /opt/podsmith, or auto.")
    return text.rstrip("/")


def _architectures(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        if value == "auto":
            return None
        raise RequestError(f"{NAME}.architectures is {show(value)}; expected auto or a list such as [9.0a, 12.0].")
    return _strings("architectures", value, _ARCHITECTURE, "9.0a") or None


def _settings(value: Any) -> Settings:
    where = f"{NAME}.settings"
    values = _mapping(where, value, Settings.__dataclass_fields__)
    for key, found in values.items():
        if key in SETTING_WORDS:
            values[key] = _choice(f"settings.{key}", found, SETTING_WORDS[key])
        elif not isinstance(found, bool):
            raise RequestError(f"{where}.{key} is {show(found)}; expected true or false, or null to leave it as it is.")
    return Settings(**values)


def _source(value: Any) -> Source:
    where = "source"
    values = _mapping(f"{NAME}.{where}", value, Source.__dataclass_fields__)
    listed = _strings(f"{where}.extensions", values.get("extensions", ()), _BUILT, "flash-attn or flash-attn==2.8.3")
    names = [name.partition("==") for name in listed]
    return Source(
        extensions=tuple(dict.fromkeys(f"{canonicalize_name(name)}{sign}{version}" for name, sign, version in names)),
        features=_features(values.get("features", {})),
        jobs=_jobs(values.get("jobs", "auto")),
        urls=_urls(values.get("urls", {})),
    )


def _features(value: Any) -> dict[str, bool]:
    """Switches of PyTorch's build; whether there is such a switch is the catalogue's to say."""
    features = _named("source.features", value, _SWITCH, "USE_NCCL: true")
    for name, enabled in features.items():
        if not isinstance(enabled, bool):
            raise RequestError(
                f"{NAME}.source.features.{name} is {show(enabled)}; expected true or false, as in {name}: true."
            )
    return features


def _jobs(value: Any) -> int | None:
    """Compilers at once; a number may come as text, from ``-e``."""
    if value == "auto":
        return None
    if not isinstance(value, bool) and re.fullmatch(r"[1-9][0-9]{0,3}", str(value)):
        return int(value)
    raise RequestError(
        f"{NAME}.source.jobs is {show(value)}; expected auto or a number of compilers at once, such as 8."
    )


def _urls(value: Any) -> dict[str, str]:
    """Package → where its source comes from instead."""
    urls: dict[str, str] = {
        canonicalize_name(name): url for name, url in _named("source.urls", value, _PACKAGE, "torch: https://…").items()
    }
    for name, url in urls.items():
        if not isinstance(url, str) or not _ADDRESS.fullmatch(url):
            raise RequestError(
                f"{NAME}.source.urls.{name} is {show(url)}; expected the address of a repository or an archive, "
                "such as https://mirror.example/pytorch.git or https://mirror.example/pytorch-v{version}.tar.gz."
            )
    return urls


def _named(where: str, value: Any, form: re.Pattern[str], example: str) -> dict[str, Any]:
    """A mapping whose keys are names of a form."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(f"{NAME}.{where} is {show(value)}; expected a mapping such as {{{example}}}.")
    for key in value:
        if not isinstance(key, str) or not form.fullmatch(key):
            raise RequestError(f"{NAME}.{where} has the key {show(key)}; expected a name, as in {{{example}}}.")
    return {str(key): item for key, item in value.items()}


def _overrides(value: Any) -> Overrides:
    values = _mapping(f"{NAME}.overrides", value, Overrides.__dataclass_fields__)
    switches = ("arch_list", "disk", "python", "glibc")
    for key in switches:
        if not isinstance(values.get(key, False), bool):
            raise RequestError(
                f"{NAME}.overrides.{key} is {show(values[key])}; expected true, or false to skip this check."
            )
    for key, form, example in (("driver", _DOTTED, "580.95.05"), ("compute_capability", _CAPABILITY, "9.0")):
        text = _text(f"overrides.{key}", values.get(key, example), example)
        if not form.fullmatch(text):
            raise RequestError(f"{NAME}.overrides.{key} is {show(text)}; expected a version such as {example}.")
    brand = values.get("brand_id")
    if brand is not None and (isinstance(brand, bool) or not isinstance(brand, int)):
        raise RequestError(
            f"{NAME}.overrides.brand_id is {show(brand)}; expected NVML's number of a brand, such as 14."
        )
    return Overrides(
        driver=str(values["driver"]) if "driver" in values else None,
        compute_capability=str(values["compute_capability"]) if "compute_capability" in values else None,
        brand_id=None if brand is None else int(brand),
        **{key: bool(values.get(key, True)) for key in switches},
    )
