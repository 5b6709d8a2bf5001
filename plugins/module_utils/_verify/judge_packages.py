# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check packages saw of each extension: its own words in, problems, advice and warnings in sentences out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import normalise

Record = dict[str, Any]

_BUILT_FOR = re.compile(r"was built for:?\s+PyTorch (?P<built>\S+)[^\n]*?\(you have (?P<here>[^)\s]+)", re.DOTALL)
_SYMBOL = re.compile(r"undefined symbol: (?P<symbol>\S+)")
_OF_TORCH = re.compile(r"^(c10|aoti_torch|_ZNK?(3c10|2at|5torch)|_ZN?5torch)")
_LIBRARY = re.compile(r"(?P<library>lib[\w+-]+\.so[\w.]*): cannot open shared object file")
_LEFT_OUT = re.compile(r"Skipping import of cpp extensions|^Failed to load \S+\.so", re.MULTILINE)
_NO_OPERATOR = re.compile(r"operator (?P<operator>\w+::\w+) does not exist")
_NO_KERNEL = re.compile(r"no kernel image is available|NotImplementedError: No operator found for", re.IGNORECASE)


class Cause(NamedTuple):
    """Why a package does not work, and what to do about it."""

    because: str
    advice: str


def planned(extensions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Package → version, as its metadata has it, of what is to be there; what was skipped is left out.

    ``extensions`` as a decision has them: a row with ``requirement`` was asked for by it, else it came with PyTorch.
    """
    found = {}
    for name, row in extensions.items():
        if row.get("version") and not row.get("skipped"):
            asked, _sign, version = str(row.get("requirement") or f"{name}=={row['version']}").partition("==")
            found[normalise(asked.partition("[")[0])] = version
    return found


def judge_packages(record: Record, wanted: Mapping[str, str], torch: str | None = None) -> list[str]:
    """A sentence for each package that is another version than planned, cannot be imported, or fails its operation."""
    problems = []
    for name, version in wanted.items():
        seen = record["packages"].get(name) or {"error": "it was not tried", "output": ""}
        title = f"{name} {seen.get('version') or version}"
        if cause := find_cause(seen, record, torch):
            problems.append(f"{title}: {cause.because}.")
        elif not _is_version(str(seen["version"]), version):
            problems.append(f"{name} is {seen['version']}; expected {version}.")
    return problems


def advise_packages(record: Record, wanted: Mapping[str, str], torch: str | None = None) -> str | None:
    """What helps against these problems, each said once; None where no package has one of its own."""
    found = [find_cause(record["packages"].get(name) or {}, record, torch) for name in wanted]
    return " ".join(dict.fromkeys(cause.advice for cause in found if cause and cause.advice)) or None


def warn_packages(record: Record, wanted: Mapping[str, str]) -> list[str]:
    """What was not tried, and what a package says of itself although it works."""
    told = []
    for name in wanted:
        seen = record["packages"].get(name) or {}
        if seen.get("skipped"):
            told.append(f"{name} was not tried: {seen['skipped']}.")
        if seen.get("untried"):
            told.append(f"{name} was imported alone: {seen['untried']}.")
        if _LEFT_OUT.search(str(seen.get("said"))):
            told.append(f"{name} works, but left out kernels of its own, which are for another PyTorch or CUDA.")
        if name == "torchcodec" and "version" in seen and not record.get("ffmpeg"):
            told.append("torchcodec decodes images alone: there is no FFmpeg library here for video and audio.")
    return told


def find_cause(seen: Record, record: Record, torch: str | None) -> Cause | None:
    """Why one package does not work; None where it does.

    What a message says for certain is told as the cause; all else is told as the package's own last words.
    """
    text = f"{seen.get('output') or ''}\n{seen.get('said') or ''}"
    if "error" not in seen:
        return _without_kernels(text, seen)
    error = str(seen["error"]).rstrip(".")
    if built := _BUILT_FOR.search(text):
        return _for_another(built["built"], built["here"])
    if symbol := _SYMBOL.search(text):
        return _of_symbol(symbol["symbol"], torch)
    if library := _cuda_library(text):
        return _of_library(library)
    if operator := _NO_OPERATOR.search(error):
        because = f"its library was not loaded by {_here(torch)}: the operator {operator['operator']} is missing"
        return Cause(because, "Install its build of the index that PyTorch is from, such as +cu130 or +cpu.")
    if "libtorchcodec" in text and not record.get("ffmpeg"):
        advice = "Install FFmpeg's libraries on the host (the package ffmpeg), or leave torchcodec out."
        return Cause("it finds no FFmpeg library, by which it decodes", advice)
    if _NO_KERNEL.search(text):
        advice = "Leave it out on this GPU, or ask for a PyTorch with a newer release of it."
        return Cause(f"it has no kernel for this GPU and these inputs: {error}", advice)
    code = seen.get("code")
    ended = f" (killed by signal {-code})" if isinstance(code, int) and code < 0 else ""
    return Cause(f"{error}{ended}", "")


def _without_kernels(text: str, seen: Record) -> Cause | None:
    """xFormers imports and computes by other means where its own library cannot be loaded, and says so in a warning."""
    built = _BUILT_FOR.search(text)
    if built and "can't load C++/CUDA extensions" in text and seen.get("module") == "xformers":
        return _for_another(built["built"], built["here"])
    return None


def _for_another(built: str, here: str) -> Cause:
    return Cause(
        f"its kernels are built for PyTorch {built} and are not loaded by PyTorch {here}",
        f"This wheel is for PyTorch {built} alone: have it compiled here (source.extensions), or leave it out.",
    )


def _of_symbol(symbol: str, torch: str | None) -> Cause:
    """Source: https://github.com/pytorch/pytorch/issues/152783; https://github.com/Dao-AILab/flash-attention/issues/2219."""
    if _OF_TORCH.match(symbol):
        return Cause(
            f"its library was built for another PyTorch than {_here(torch)} (undefined symbol {symbol})",
            "Install its wheel for this PyTorch, or leave it out; another toolkit or driver changes nothing.",
        )
    return Cause(
        f"a library that it loads lacks the symbol {symbol}",
        "Look at ldd of the library in the message: an older one of the same name is found first, most often that of a"
        " toolkit on LD_LIBRARY_PATH.",
    )


def _of_library(library: str) -> Cause:
    if library.startswith(("libtorch_cuda", "libc10_cuda")):
        because = f"it is a build for CUDA, which needs {library}, and this PyTorch is for the CPU"
        return Cause(because, "Install its build for the CPU (+cpu) where PyTorch's index has one, or leave it out.")
    because = f"it needs {library}, which is not in this environment"
    return Cause(because, "Install its build for the CUDA in torch.version.cuda, or leave it out.")


def _here(torch: str | None) -> str:
    return f"PyTorch {torch}" if torch else "the PyTorch that is installed"


def _cuda_library(text: str) -> str | None:
    """The first CUDA library, or the first of PyTorch's for CUDA, that the loader did not find."""
    names: Sequence[str] = [match["library"] for match in _LIBRARY.finditer(text)]
    known = ("libcu", "libnv", "libtorch_cuda", "libc10_cuda", "libnpp")
    return next((name for name in names if name.startswith(known) and not name.startswith("libcuda.so")), None)


def _is_version(found: str, wanted: str) -> bool:
    """Whether a version is the planned one; a local part (+cu130) counts only where both have one."""
    (public, _plus, local), (wanted_public, _plus, wanted_local) = found.partition("+"), wanted.partition("+")
    return public == wanted_public and (not local or not wanted_local or local == wanted_local)
