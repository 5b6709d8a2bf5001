# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role brings compilers that compile, side by side, from a repository whose key is pinned."""

from __future__ import annotations

from typing import Any

import pytest

BUILD = """
cd "$(mktemp -d)"
cat >twice.cu <<'END'
__global__ void twice(float *x) { x[threadIdx.x] *= 2; }
int main() { twice<<<1, 1>>>(nullptr); }
END
/usr/local/cuda-13.0/bin/nvcc -arch=sm_90 twice.cu -o twice && ls
"""


@pytest.mark.parametrize("release", ["13.0", "12.8"])
def test_each_release_has_its_compiler(host: Any, release: str) -> None:
    said = host.run(f"/usr/local/cuda-{release}/bin/nvcc --version")
    assert f"release {release}, V{release}." in said.stdout, said.stderr


def test_the_compiler_compiles_and_links(host: Any) -> None:
    built = host.run(BUILD)
    assert built.rc == 0, built.stderr
    assert built.stdout.split() == ["twice", "twice.cu"]


def test_the_repository_is_trusted_by_its_own_key_alone(host: Any) -> None:
    source = host.file("/etc/apt/sources.list.d/podsmith-cuda.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/podsmith-cuda.gpg\n" in source
    assert "cuda" not in host.run("ls -A /etc/apt/trusted.gpg.d").stdout


def test_no_driver_came_along(host: Any) -> None:
    installed = host.run(
        "dpkg-query --show --showformat '${Package}\\n' '*nvidia*' '*cuda-drivers*' '*cuda-compat*'"
    ).stdout
    assert installed.split() == []
