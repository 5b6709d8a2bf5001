# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One row a role: what of the decision it applies, how that is told, fetched, proved, bundled and put into an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Part:
    """What the collection knows of a role beside the role itself."""

    role: str
    key: str | None = None  # its part of the decision; None: it applies none
    label: str = ""  # how the report names the part where it is used as it was found
    proven: bool = False  # a change of it is proved before it goes live
    fetched: bool = False  # its part of the decision says where its pending changes come from
    environment: bool = False  # it installs into the environment, from wheels
    packages: tuple[str, ...] = ()  # extensions of the request that this role installs instead of ml_extensions
    image: bool = False  # it runs when an image is built, with its variables
    results: tuple[str, ...] = ()  # the variables that it, or a playbook for it, publishes by set_fact
    report: str | None = None  # the variable whose text the terminal shows as it is
    words: Mapping[str, str] = field(default_factory=lambda: NOTHING)  # action → how its changes are told; {old}, {new}


PARTS: tuple[Part, ...] = (  # those with a key in the order in which they are applied
    Part("stack_plan", results=("stack_plan_decision", "stack_plan_applied"), report="stack_plan_report"),
    Part("bundle", report="bundle_report"),
    Part(
        "nvidia_driver",
        "driver",
        "NVIDIA driver",
        fetched=True,
        words={"replace": "{old} → {new}", "repair": "{old} → {new}, so that apt does not move it"},
    ),
    Part("nvidia_repository", image=True, results=("nvidia_repository_result",)),
    Part("cuda_toolkit", "toolkit", "CUDA toolkit", proven=True, fetched=True, image=True),
    Part(
        "forward_compat",
        "forward_compat",
        proven=True,
        fetched=True,
        image=True,
        results=("forward_compat_result",),
        words={
            "install": "{new}, used only while the driver is older",
            "switch": "{old} → {new}, used only while the driver is older",
        },
    ),
    Part("cutlass", "cutlass", "CUTLASS", proven=True, fetched=True, image=True),
    Part("pytorch_source", "source", image=True, results=("pytorch_source_results",)),
    Part(
        "pytorch",
        "pytorch",
        "PyTorch",
        proven=True,
        fetched=True,
        environment=True,
        image=True,
        words={"install": "new environment"},
    ),
    Part("ml_extensions", "extensions", proven=True, environment=True, image=True),
    Part("gpu_verify", "proof", image=True, results=("gpu_verify_results",)),
    Part("gpu_environment", "environment", image=True),
    Part("gpu_benchmark", results=("gpu_benchmark_results",)),
    Part("container_image", report="container_image_report"),
    Part(
        "project_environment",
        results=("project_environment_plan", "project_environment_applied"),
        report="project_environment_report",
    ),
)

BY_ROLE: Mapping[str, Part] = {part.role: part for part in PARTS}
RESULTS = frozenset(name for part in PARTS for name in part.results)
EXTENSIONS_ROLE = "ml_extensions"


def roles_where(attribute: str) -> tuple[str, ...]:
    """The roles whose row has an attribute set, in the order of the table."""
    return tuple(part.role for part in PARTS if getattr(part, attribute))


def owner_of(package: str) -> str:
    """The role that installs an extension."""
    return next((part.role for part in PARTS if package in part.packages), EXTENSIONS_ROLE)
