# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a toolkit is one compiler: what its programs say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._verify.toolkit_parts import judge_parts, read_versions

MIXED = "two compilers are mixed. Install all packages of the compiler (nvcc, crt, nvvm) in one version."


def test_the_versions_stand_in_the_programs(tmp_path: Path) -> None:
    for path, version in {"nvvm/bin/cicc": "13.2.86", "bin/ptxas": "13.2.51"}.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True)
        place.write_bytes(b"\x7fELF\0Cuda compilation tools, release 13.2, V" + version.encode() + b"\n\0")
    assert read_versions(str(tmp_path)) == {"cicc": "13.2.86", "ptxas": "13.2.51"}


@pytest.mark.parametrize("data", [b"", b"nothing", None])
def test_what_says_no_version_is_left_out(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/ptxas").write_bytes(data)
    assert read_versions(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("nvcc", "parts", "problems"),
    [
        ("13.2.86", {"cicc": "13.2.86", "ptxas": "13.2.86"}, []),
        (
            "13.2.51",
            {"cicc": "13.2.86", "ptxas": "13.2.51"},
            [f"nvcc is 13.2.51, but the cicc that it calls is 13.2.86: {MIXED}"],
        ),
        ("", {"cicc": "13.2.86"}, []),
    ],
)
def test_parts_of_another_version_fail_the_proof(nvcc: str, parts: dict[str, str], problems: list[str]) -> None:
    assert judge_parts(nvcc, parts) == problems
