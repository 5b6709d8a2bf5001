# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts/record.sh kept of a host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import ROOT, parse_facts
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.root import observe_recording

H200 = Path(__file__).parents[4] / "fixtures" / "h200-driver-580"


@pytest.mark.parametrize(
    "folder", [folder for folder in H200.parent.iterdir() if (folder / ROOT).is_dir()], ids=lambda folder: folder.name
)
def test_the_facts_beside_a_recording_are_those_it_tells(folder: Path) -> None:
    described = (folder.parent / f"{folder.name}-facts.json").read_text(encoding="utf-8")
    assert observe_recording(folder) == parse_facts(described)


def test_a_recording_without_the_headers_of_a_toolkits_components_does_not_deny_them(tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(H200.parent / "h200-580.159.04", folder, symlinks=True)
    for header in folder.glob("root/usr/local/cuda-13.0/**/*.h"):
        if header.name not in {"cuda.h", "cuda_runtime_api.h"}:
            header.unlink()
    (toolkit,) = observe_recording(folder)["installed"]["toolkits"]
    assert "components" not in toolkit
