# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the decisions on a project and its report call things."""

from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.extensions import COMPANIONS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal

VARIABLE = "project_environment"
FAMILY = ("torch", *COMPANIONS)
LOCK_OF = {"poetry": "poetry.lock", "uv": "uv.lock"}
SYNC = {"poetry": "poetry install", "uv": "uv sync", "pip-tools": "pip-sync", "pip": "pip install"}


def tell(refusal: Refusal) -> str:
    """A refusal as a person reads it."""
    return f"{refusal.because}. {refusal.remedy}".strip()


def build_name(version: str, cuda: str | None) -> str:
    """A build of PyTorch as a report names it."""
    return f"{version} ({f'CUDA {cuda}' if cuda else 'for the CPU'})"
