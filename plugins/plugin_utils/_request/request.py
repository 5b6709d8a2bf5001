# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wished: the request, checked before any host is touched."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version

NAME = "stack_plan_request"
POLICIES = ("forward_compat", "fallback", "fail")
AUTO, STANDBY = "auto", "standby"
COMPAT_USES = (AUTO, STANDBY)
TOOLKIT_PROVIDERS = ("auto", "adopt", "apt", "pypi", "none")
WHEEL_PROVIDERS = ("auto", "adopt", "pytorch_index", "pypi", "host_wheels", "source")
SCOPES = ("auto", "system", "user")
LOADINGS = ("lazy", "eager")
KEEP = "keep"

_RELEASE = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
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


class RequestError(Exception):
    """A wish that cannot be understood; the message is one sentence: what was found, what was wanted, what to do."""


@dataclass(frozen=True)
class Toolkit:
    """The wish for the CUDA toolkit."""

    provider: str = "auto"
    components: tuple[str, ...] = ("compiler",)
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wheels:
    """The wish for the source of PyTorch's wheels."""

    provider: str = "auto"


@dataclass(frozen=True)
class Settings:
    """The wish for run-time settings of every process; None: left as it is."""

    tf32: bool | None = None
    module_loading: str | None = None
    expandable_segments: bool | None = None
    cudnn_benchmark: bool | None = None


@dataclass(frozen=True)
class Source:
    """The wish for what is compiled here: extensions as ``name`` or ``name==version``; jobs None: as memory allows."""

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


def parse_request(wished: Mapping[str, Any]) -> Request:
    """Check ``stack_plan_request`` and fill in what it leaves out.

    Raises RequestError for an unknown key, a wrong type, a malformed version and a value outside its choices.
    """
    values = _mapping(NAME, wished, Request.__dataclass_fields__)
    toolkit = _mapping(f"{NAME}.toolkit", values.get("toolkit", {}), Toolkit.__dataclass_fields__)
    wheels = _mapping(f"{NAME}.wheels", values.get("wheels", {}), Wheels.__dataclass_fields__)
    base = Request()
    return Request(
        cuda=_version("cuda", values.get("cuda", base.cuda), _RELEASE, "13.0"),
        pytorch=_version("pytorch", values.get("pytorch", base.pytorch), _DOTTED, "2.9 or 2.9.1"),
        on_old_driver=_policy(values.get("on_old_driver", base.on_old_driver)),
        forward_compat=_choice("forward_compat", values.get("forward_compat", base.forward_compat), COMPAT_USES),
        toolkit=Toolkit(
            provider=_choice("toolkit.provider", toolkit.get("provider", base.toolkit.provider), TOOLKIT_PROVIDERS),
            components=_strings(
                "toolkit.components", toolkit.get("components", base.toolkit.components), _COMPONENT, "compiler"
            ),
            also=_strings("toolkit.also", toolkit.get("also", ()), _RELEASE, "12.8"),
        ),
        wheels=Wheels(_choice("wheels.provider", wheels.get("provider", base.wheels.provider), WHEEL_PROVIDERS)),
        driver=_driver(values.get("driver", base.driver)),
        source=_source(values.get("source", {})),
        cutlass=_version("cutlass", values.get("cutlass", base.cutlass), _DOTTED, "4.2.0"),
        extensions=tuple(
            dict.fromkeys(
                normalise(name) for name in _strings("extensions", values.get("extensions", ()), _PACKAGE, "triton")
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


def nearest(found: str, known: Iterable[str]) -> str:
    """A half sentence that names what is nearest to ``found``, or all there is to choose from."""
    listed = [str(name) for name in known]
    close = difflib.get_close_matches(found, listed, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(listed)}."


def nearest_version(found: str, listed: Iterable[str]) -> str:
    """A half sentence that names the newest listed version that is not newer, or else the oldest."""
    ordered = sorted(listed, key=parse_version)
    older = [version for version in ordered if parse_version(version) <= parse_version(found)]
    return f"the nearest is {older[-1] if older else ordered[0]}."


def unlisted(where: str, found: str, listed: Iterable[str]) -> RequestError:
    """The error for a wish that the catalogue does not have; it names what is nearest."""
    choice = nearest_version if found[:1].isdigit() else nearest
    return RequestError(f'{NAME}.{where} names "{found}", which the catalogue does not have; {choice(found, listed)}')


def _mapping(where: str, value: Any, known: Iterable[str]) -> dict[str, Any]:
    """The keys of ``value`` that are set; a key that is null is as good as absent."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} is {_show(value)}, a mapping is wanted; write it as keys and values.")
    for key in value:
        if key not in set(known):
            raise RequestError(f"{where} has the unknown key {_show(key)}; {nearest(str(key), known)}")
    return {str(key): item for key, item in value.items() if item is not None}


def _text(where: str, value: Any, example: str) -> str:
    """``value`` as text. Numbers are refused: YAML reads 13.10 as 13.1."""
    if isinstance(value, (bool, int, float)):
        raise RequestError(
            f'{NAME}.{where} is the number {value}, text is wanted; put it in quotes, such as "{example}".'
        )
    if not isinstance(value, str):
        raise RequestError(f"{NAME}.{where} is {_show(value)}, text is wanted; write it such as {example}.")
    return str(value)


def _version(where: str, value: Any, form: re.Pattern[str], example: str) -> str:
    text = _text(where, value, example)
    if text in ("newest", "none") or form.fullmatch(text):
        return text
    raise RequestError(
        f"{NAME}.{where} is {_show(text)}, a version is wanted; write it such as {example}, or newest, or none."
    )


def _choice(where: str, value: Any, choices: Sequence[str]) -> str:
    text = _text(where, value, choices[0])
    if text not in choices:
        raise RequestError(
            f"{NAME}.{where} is {_show(text)}, one of {', '.join(choices)} is wanted; {nearest(text, choices)}"
        )
    return text


def _strings(where: str, value: Any, form: re.Pattern[str], example: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise RequestError(f"{NAME}.{where} is {_show(value)}, a list is wanted; write it such as [{example}].")
    texts = tuple(_text(where, item, example) for item in value)
    for text in texts:
        if not form.fullmatch(text):
            raise RequestError(
                f"{NAME}.{where} holds {_show(text)}, entries such as {example} are wanted; correct or remove it."
            )
    return tuple(dict.fromkeys(texts))


def _policy(value: Any) -> tuple[str, ...]:
    policies = _strings("on_old_driver", value, _COMPONENT, POLICIES[0])
    for policy in policies:
        _choice("on_old_driver", policy, POLICIES)
    if "fail" in policies and len(policies) > 1:
        raise RequestError(
            f"{NAME}.on_old_driver is [{', '.join(policies)}], fail excludes the others; keep fail alone, or drop it."
        )
    return policies


def _driver(value: Any) -> str:
    text = _text("driver", value, "580")
    if text == KEEP or _DRIVER.fullmatch(text):
        return text
    raise RequestError(
        f"{NAME}.driver is {_show(text)}, a branch or a version of the driver is wanted; write it such as 580 or "
        "580.95.05, or keep."
    )


def _python(value: Any) -> str:
    text = _text("python", value, "3.12")
    if text == "auto" or _PYTHON.fullmatch(text) or _PATH.fullmatch(text):
        return text
    raise RequestError(
        f"{NAME}.python is {_show(text)}, a Python is wanted; write 3.12, the path of an interpreter, or auto."
    )


def _prefix(value: Any) -> str:
    text = _text("prefix", value, "/opt/podsmith")
    if text == "auto":
        return text
    if not _PATH.fullmatch(text) or ".." in text.split("/") or any(mark in text for mark in ":'\"$`\\ "):
        raise RequestError(
            f"{NAME}.prefix is {_show(text)}, an absolute folder without blanks, quotes, colons or .. is wanted; "
            "write it such as /opt/podsmith, or auto."
        )
    if not text.strip("/"):
        raise RequestError(
            f"{NAME}.prefix is /, a folder of its own is wanted; write it such as /opt/podsmith, or auto."
        )
    return text.rstrip("/")


def _architectures(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        if value == "auto":
            return None
        raise RequestError(
            f"{NAME}.architectures is {_show(value)}, auto or a list is wanted; write it such as [9.0a, 12.0]."
        )
    return _strings("architectures", value, _ARCHITECTURE, "9.0a") or None


def _settings(value: Any) -> Settings:
    where = f"{NAME}.settings"
    values = _mapping(where, value, Settings.__dataclass_fields__)
    for key, found in values.items():
        if key != "module_loading" and not isinstance(found, bool):
            raise RequestError(
                f"{where}.{key} is {_show(found)}, true or false is wanted; "
                "write null, or nothing, to leave it as it is."
            )
    if "module_loading" in values:
        values["module_loading"] = _choice("settings.module_loading", values["module_loading"], LOADINGS)
    return Settings(**values)


def _source(value: Any) -> Source:
    where = "source"
    values = _mapping(f"{NAME}.{where}", value, Source.__dataclass_fields__)
    listed = _strings(f"{where}.extensions", values.get("extensions", ()), _BUILT, "flash-attn or flash-attn==2.8.3")
    names = [name.partition("==") for name in listed]
    return Source(
        extensions=tuple(dict.fromkeys(f"{normalise(name)}{sign}{version}" for name, sign, version in names)),
        features=_features(values.get("features", {})),
        jobs=_jobs(values.get("jobs", "auto")),
        urls=_urls(values.get("urls", {})),
    )


def _features(value: Any) -> dict[str, bool]:
    """Switches of PyTorch's build; whether there is such a switch is the catalogue's to say."""
    features = _named("source.features", value, _SWITCH, "USE_NCCL: true")
    for name, wanted in features.items():
        if not isinstance(wanted, bool):
            raise RequestError(
                f"{NAME}.source.features.{name} is {_show(wanted)}, true or false is wanted; write {name}: true."
            )
    return features


def _jobs(value: Any) -> int | None:
    """Compilers at once; a number may come as text, from ``-e``."""
    if value == "auto":
        return None
    if not isinstance(value, bool) and re.fullmatch(r"[1-9][0-9]{0,3}", str(value)):
        return int(value)
    raise RequestError(
        f"{NAME}.source.jobs is {_show(value)}, auto or a number of compilers at once is wanted; write it such as 8."
    )


def _urls(value: Any) -> dict[str, str]:
    """Package → where its source comes from instead."""
    urls = {normalise(name): url for name, url in _named("source.urls", value, _PACKAGE, "torch: https://…").items()}
    for name, url in urls.items():
        if not isinstance(url, str) or not _ADDRESS.fullmatch(url):
            raise RequestError(
                f"{NAME}.source.urls.{name} is {_show(url)}, the address of a repository or an archive is wanted; "
                "write it such as https://mirror.example/pytorch.git or https://mirror.example/pytorch-v{version}.tar.gz."
            )
    return urls


def _named(where: str, value: Any, form: re.Pattern[str], example: str) -> dict[str, Any]:
    """A mapping whose keys are names of a form."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(f"{NAME}.{where} is {_show(value)}, a mapping is wanted; write it such as {{{example}}}.")
    for key in value:
        if not isinstance(key, str) or not form.fullmatch(key):
            raise RequestError(
                f"{NAME}.{where} has the key {_show(key)}, a name is wanted; write it such as {{{example}}}."
            )
    return {str(key): item for key, item in value.items()}


def _overrides(value: Any) -> Overrides:
    values = _mapping(f"{NAME}.overrides", value, Overrides.__dataclass_fields__)
    switches = ("arch_list", "disk", "python", "glibc")
    for key in switches:
        if not isinstance(values.get(key, False), bool):
            raise RequestError(
                f"{NAME}.overrides.{key} is {_show(values[key])}, false or true is wanted; write false to skip it."
            )
    for key, form, example in (("driver", _DOTTED, "580.95.05"), ("compute_capability", _CAPABILITY, "9.0")):
        text = _text(f"overrides.{key}", values.get(key, example), example)
        if not form.fullmatch(text):
            raise RequestError(
                f"{NAME}.overrides.{key} is {_show(text)}, a version is wanted; write it such as {example}."
            )
    brand = values.get("brand_id")
    if brand is not None and (isinstance(brand, bool) or not isinstance(brand, int)):
        raise RequestError(
            f"{NAME}.overrides.brand_id is {_show(brand)}, NVML's number of a brand is wanted; write it such as 14."
        )
    return Overrides(
        driver=str(values["driver"]) if "driver" in values else None,
        compute_capability=str(values["compute_capability"]) if "compute_capability" in values else None,
        brand_id=None if brand is None else int(brand),
        **{key: bool(values.get(key, True)) for key in switches},
    )


def _show(value: Any) -> str:
    """A value as an error quotes it: on one line, and not all of a long one."""
    text = str(value) if isinstance(value, str) else repr(value)
    line = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text[:60])
    return f'"{line}"' if isinstance(value, str) else line
