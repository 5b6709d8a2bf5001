# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which switches PyTorch's own build is given, and which of NVIDIA's libraries it is built against."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue, Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch


def torch_features(case: Case, torch: PyTorch) -> tuple[dict[str, bool], list[Refusal]]:
    """The switches of the PyTorch that is compiled here, and those that were requested and that it cannot have."""
    return choose_features(torch.version, torch.cuda, case.host.arch, case.request.source.features, case.known)


def choose_features(
    torch: str, cuda: str | None, arch: str, wished: Mapping[str, bool], known: Catalogue
) -> tuple[dict[str, bool], list[Refusal]]:
    """The switches that are set, and those that were requested and that this build cannot have."""
    chosen, refused = {}, []
    for name, row in known["source"]["features"].items():
        value = wished.get(name, row["default"])
        refusal = _featureless(row, torch, cuda, arch)
        if refusal is None and value is not None:
            chosen[name] = value
        elif refusal and wished.get(name):
            rest = {key: value for key, value in wished.items() if key != name}
            without = {"source": {"features": rest}}
            refused.append(Refusal(f"{name} {refusal.because}", f"Remove {name} from source.features.", wish=without))
    chosen["USE_CUDA"] = cuda is not None
    return dict(sorted(chosen.items())), refused


def _featureless(row: Row, torch: str, cuda: str | None, arch: str) -> Refusal | None:
    """Why a build cannot have a switch."""
    needs = row["needs"]
    if needs == "cuda" and cuda is None:
        return Refusal("needs CUDA, and this build is for the CPU")
    if needs not in (None, "cuda", arch):
        return Refusal(f"is for {needs}; found {arch}")
    if row["first"] and parse_version(torch) < parse_version(row["first"]):
        return Refusal(f"was added in PyTorch {row['first']}; building {torch}")
    if row["last"] and parse_version(torch) > parse_version(row["last"]):
        return Refusal(f"was removed after PyTorch {row['last']}; building {torch}")
    return None


def choose_libraries(torch: str, cuda: str, known: Catalogue) -> dict[str, str]:
    """NVIDIA's libraries at the versions that PyTorch's own wheels of the release and the CUDA major require."""
    rows = known["source"]["libraries"]
    same = sorted((name for name in rows if rows[name]["cuda"] == cuda.split(".", maxsplit=1)[0]), key=parse_version)
    newer = [name for name in same if parse_version(name) >= parse_version(torch)]
    return dict(rows[(newer or same[::-1])[0]]["packages"]) if same else {}


def chosen_libraries(torch: PyTorch, features: Mapping[str, bool], known: Catalogue) -> dict[str, str]:
    """The libraries of the switches that are on."""
    if torch.cuda is None:
        return {}
    found = choose_libraries(torch.version, torch.cuda, known)
    layouts = known["source"]["layouts"]
    return {
        name: version
        for name, version in found.items()
        if features.get(layouts[re.sub(r"-cu\d+$", "", name)]["switch"])
    }


def tell_features(features: Mapping[str, bool], known: Catalogue) -> tuple[str, str]:
    """Which switches PyTorch's build is asked for, and where they are read."""
    on, off = ([name for name, value in features.items() if value is wanted] for wanted in (True, False))
    without = f", without {', '.join(off)}" if off else ""
    source = str(known["source"]["features"]["USE_CUDA"]["source"])
    return f"PyTorch is built with {', '.join(on)}{without}; its own defaults for the rest", source
