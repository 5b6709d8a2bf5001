# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which build of an extension is asked for, and by what name."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.published import (
    asked_for,
    find_variant,
    why_not_here,
)


def row(**changes: Any) -> dict[str, Any]:
    """A release whose wheel on PyPI is for CUDA 13, with builds for CUDA 12.6, 12.9 and the CPU elsewhere."""
    variants = {
        "cu126": {"cuda": "12.6", "index": "https://a.example", "architectures": ["x86_64"], "glibc": "2.28"},
        "cu129": {"cuda": "12.9", "index": "https://b.example", "architectures": ["x86_64"], "glibc": "2.34"},
        "cpu": {"cuda": None, "index": "https://c.example", "architectures": ["x86_64"], "glibc": None},
    }
    return {"cuda": "13.0", "cuda_aarch64": "13.0", "glibc": "2.28", "variants": variants, **changes}


@pytest.mark.parametrize(
    ("changes", "arch", "cuda", "glibc", "name"),
    [
        pytest.param({}, "x86_64", "13.2", "2.39", None, id="pypi-serves-its-major"),
        pytest.param({}, "x86_64", "12.9", "2.39", "cu129", id="the-same-cuda"),
        pytest.param({}, "x86_64", "12.6", "2.39", "cu126", id="the-same-cuda-though-a-newer-is-there"),
        pytest.param({}, "x86_64", "12.8", "2.39", "cu129", id="the-newest-of-its-major"),
        pytest.param({}, "x86_64", "12.8", "2.31", "cu126", id="what-the-c-library-runs"),
        pytest.param({}, "x86_64", "12.8", None, "cu129", id="unknown-c-library"),
        pytest.param({}, "x86_64", "11.8", "2.39", None, id="no-such-major"),
        pytest.param({}, "aarch64", "12.9", "2.39", None, id="another-machine"),
        pytest.param({}, "x86_64", None, "2.39", "cpu", id="cpu"),
        pytest.param({"cuda": None}, "x86_64", "12.9", "2.39", None, id="pypi-needs-no-cuda"),
        pytest.param({"cuda": None}, "x86_64", None, "2.39", None, id="pypi-serves-the-cpu"),
        pytest.param({"variants": {}}, "x86_64", "12.9", "2.39", None, id="none-published"),
    ],
)
def test_the_build_for_a_cuda(changes: Any, arch: str, cuda: str | None, glibc: str | None, name: str | None) -> None:
    variant = find_variant(row(**changes), arch, cuda, glibc)
    assert (variant.name if variant else None) == name


@pytest.mark.parametrize(
    ("arch", "glibc", "because"),
    [
        ("x86_64", "2.31", None),
        ("x86_64", "2.28", "needs glibc 2.31; found 2.28"),
        ("aarch64", "2.31", "needs glibc 2.34; found 2.31"),
        ("x86_64", None, None),
        (None, "2.31", None),
    ],
)
def test_the_c_library_of_a_wheel(arch: str | None, glibc: str | None, because: str | None) -> None:
    refusal = why_not_here({"glibc": "2.31", "glibc_aarch64": "2.34"}, arch, glibc)
    assert (refusal.because if refusal else None) == because


@pytest.mark.parametrize(
    ("cuda", "text"),
    [("13.2", "a[cu13]==1"), ("12.6", "a==1"), (None, "a==1")],
)
def test_an_extra_for_a_cuda(cuda: str | None, text: str) -> None:
    assert asked_for("a", "1", {"extras": {"13": "cu13"}}, cuda) == text
