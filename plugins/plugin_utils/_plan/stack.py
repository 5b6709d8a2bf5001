# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that are wanted on a host, before it is known which of them are there already."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compat import ForwardCompat
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.compile.wheels import Source
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.cutlass import Cutlass
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import Set
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.settings import Setting
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.toolkit import Toolkit
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.torch import PyTorch


@dataclass(frozen=True)
class Stack:
    """The chosen parts; None: not requested, or not to be had here."""

    toolkit: Toolkit | None = None  # the active one, which CUDA_HOME names
    beside: tuple[Toolkit, ...] = ()  # further toolkits
    compat: ForwardCompat = field(default_factory=ForwardCompat)
    cutlass: Cutlass | None = None
    torch: PyTorch | None = None
    extensions: Set = field(default_factory=dict)
    source: Source | None = None  # what is compiled here
    settings: tuple[Setting, ...] = ()
    targets: tuple[str, ...] = ()  # compute capabilities that code is compiled for
    triton: bool = True  # whether Triton works on every GPU, as far as is known

    @property
    def toolkits(self) -> tuple[Toolkit, ...]:
        """All toolkits, the active one first."""
        return (*((self.toolkit,) if self.toolkit else ()), *self.beside)

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Package and key of what is compiled here: the same version for another GPU is another wheel."""
        return self.source.keys if self.source else ()
