# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an entry, and the key, the steps and the variables of a build."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build import plan

BUILD: dict[str, Any] = {
    "name": "flash-attn",
    "version": "2.8.3",
    "origin": {"kind": "git", "url": "https://git.example.org/flash", "ref": "v2.8.3", "submodules": True},
    "environment": {"TORCH_CUDA_ARCH_LIST": "9.0a;12.0+PTX"},
    "build_requires": ["ninja"],
    "torch": "2.9.1+cu130",
    "python": {"path": "/usr/bin/python3"},
    "cuda_home": "/usr/local/cuda-13.0",
    "jobs": 8,
}
HOST = {"python": "cpython-312", "cuda": "release 13.0", "platform": ("x86_64", "glibc 2.39")}
SHA256 = "a" * 64


def test_a_whole_entry_has_no_problem() -> None:
    assert plan.check_build(BUILD) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refs": "v1"}, ["has unknown keys (refs)", "expected only name, version"]),
        ({"name": "-x"}, ['name is "-x"; expected the name']),
        ({"version": "newest"}, ['version is "newest"; expected an exact version']),
        ({"origin": {"kind": "svn"}}, ['origin.kind is "svn"; expected one of pypi, archive, git']),
        ({"origin": {"kind": "git", "ref": "v1"}}, ['origin.url is missing; expected one, as origin.kind is "git"']),
        ({"origin": {"kind": "git", "url": "https://x.org/y"}}, ["origin.ref is missing; expected a tag, a branch"]),
        (
            {"origin": {"kind": "git", "url": "https://x.org/y", "ref": "--upload-pack=x"}},
            ['origin.ref is "--upload-pack=x"'],
        ),
        ({"origin": {"kind": "git", "url": "ext::sh -c x", "ref": "v1"}}, ['origin.url is "ext::sh -c x"; expected https://']),
        ({"origin": {"kind": "archive", "url": "https://x.org/y", "sha256": "abc"}}, ['origin.sha256 is "abc"; expected 64 hexadecimal']),
        ({"python": {"path": "python3"}}, ['python is {"path": "python3"}; expected', "/usr/bin/python3"]),
        ({"environment": {"A-B": "1"}}, ['the variable "A-B"; expected letters']),
        ({"environment": {"A": "1\n2"}}, ['A in environment is "1\\n2"; expected a single line']),
        ({"environment": {"TORCH_CUDA_ARCH_LIST": "sm_120"}}, ['TORCH_CUDA_ARCH_LIST is "sm_120"; expected compute capabilities']),
        ({"jobs": 0}, ["jobs is 0; expected a whole number, at least 1"]),
        ({"links": {"a": "b"}}, ["has links, but its python has no version"]),
        ({"key": "../../etc"}, ['key is "../../etc"; expected 16 hexadecimal']),
    ],
)
def test_what_is_wrong_with_an_entry(changes: dict[str, Any], words: list[str]) -> None:
    [problem] = plan.check_build({**BUILD, **changes})
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("changes", "host", "is_other"),
    [
        ({"jobs": 2}, {}, False),
        ({"minutes": 5, "wheel": "/x", "steps": 7, "system_packages": ["git"]}, {}, False),
        ({"environment": {**BUILD["environment"], "MAX_JOBS": "2"}}, {}, False),
        ({"environment": {**BUILD["environment"], "NVCC_THREADS": "2"}}, {}, False),
        ({"environment": {**BUILD["environment"], "CMAKE_BUILD_PARALLEL_LEVEL": "2"}}, {}, False),
        ({"build_requires": ["ninja", "numpy"]}, {}, True),
        ({"name": "Flash_Attn"}, {}, False),
        ({"cuda_home": "/opt/elsewhere"}, {}, False),
        ({"environment": {"TORCH_CUDA_ARCH_LIST": "12.0"}}, {}, True),
        ({"environment": {**BUILD["environment"], "USE_NCCL": "0"}}, {}, True),
        ({"torch": "2.9.0+cu130"}, {}, True),
        ({"origin": {**BUILD["origin"], "ref": "main"}}, {}, True),
        ({}, {"platform": ("x86_64", "glibc 2.36")}, True),
        ({}, {"platform": ("aarch64", "glibc 2.39")}, True),
        ({}, {"python": "cpython-313"}, True),
        ({}, {"cuda": "release 12.8"}, True),
    ],
)
def test_the_key_is_of_what_changes_the_wheel(changes: dict[str, Any], host: dict[str, Any], is_other: bool) -> None:
    before, after = plan.wheel_key(BUILD, HOST), plan.wheel_key({**BUILD, **changes}, {**HOST, **host})
    assert len(after) == 16
    assert (before != after) is is_other


GIT = {"kind": "git", "url": "https://a.example.org/x", "ref": "main"}
ARCHIVE = {"kind": "archive", "url": "https://a.example.org/x.tar.gz", "sha256": SHA256}


@pytest.mark.parametrize(
    ("origin", "changes", "is_other"),
    [
        pytest.param(GIT, {"url": "https://b.example.org/x"}, True, id="a-fork-s-branch-of-the-same-name"),
        pytest.param({**GIT, "ref": "b" * 40}, {"url": "https://b.example.org/x"}, False, id="the-same-commit"),
        pytest.param(GIT, {"ref": "next"}, True, id="another-branch"),
        pytest.param(ARCHIVE, {"url": "https://b.example.org/x.tar.gz"}, False, id="the-same-bytes"),
        pytest.param(ARCHIVE, {"sha256": "b" * 64}, True, id="other-bytes"),
        pytest.param({"kind": "pypi"}, {"sha256": SHA256}, True, id="a-checksum"),
    ],
)
def test_the_key_is_of_the_source_s_content(origin: dict[str, Any], changes: dict[str, Any], is_other: bool) -> None:
    keys = {plan.wheel_key({**BUILD, "origin": found}, HOST) for found in (origin, {**origin, **changes})}
    assert (len(keys) == 2) is is_other


def test_plans_and_hosts_had_two_answers() -> None:
    """Hosts took another mirror for another source and did not know NVCC_THREADS; plans had no other name for a job."""

    def digest(content: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def by_host(build: dict[str, Any]) -> str:
        names = ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL")
        counted = {name: value for name, value in build["environment"].items() if name not in names}
        origin = {name: value for name, value in build["origin"].items() if name != "sha256"}
        return digest({"name": build["name"], "origin": origin, "environment": counted})

    def by_plan(build: dict[str, Any]) -> str:
        names = ("MAX_JOBS", "NVCC_THREADS")
        counted = {name: value for name, value in build["environment"].items() if name not in names}
        origin = (None, build["origin"].get("ref"), build["origin"]["sha256"])
        return digest({"name": build["name"], "origin": origin, "environment": counted})

    def by_rule(build: dict[str, Any]) -> str:
        return plan.wheel_key(build, HOST)

    first = {**BUILD, "origin": ARCHIVE, "environment": {"A": "1"}}
    mirror = {**first, "origin": {**ARCHIVE, "url": "https://b.example.org/x.tar.gz"}}
    threads = {**first, "environment": {"A": "1", "NVCC_THREADS": "2"}}
    level = {**first, "environment": {"A": "1", "CMAKE_BUILD_PARALLEL_LEVEL": "2"}}
    others = (mirror, threads, level)
    assert [by_host(other) == by_host(first) for other in others] == [False, False, True]
    assert [by_plan(other) == by_plan(first) for other in others] == [True, True, False]
    assert [by_rule(other) == by_rule(first) for other in others] == [True, True, True]


def test_a_mirror_replaces_the_longest_beginning() -> None:
    mirrors = {"https://github.com/": "https://m/", "https://github.com/nvidia/": "https://n/"}
    assert plan.mirrored("https://github.com/nvidia/x", mirrors) == "https://n/x"
    assert plan.mirrored("https://github.com/a/x", mirrors) == "https://m/a/x"
    assert plan.mirrored("https://gitlab.com/a", mirrors) == "https://gitlab.com/a"


def words(step: dict[str, Any]) -> list[list[str]]:
    """The first way of each command."""
    return [ways[0] for ways in step["commands"]]


def test_a_tag_is_fetched_alone_with_its_submodules_from_the_mirror() -> None:
    fetch, build = plan.plan_steps(BUILD, "/w", {"https://git.example.org/": "https://mirror/"})
    assert (fetch["name"], fetch["once"], fetch["rename"]) == ("fetch", True, ["/w/source.part", "/w/source"])
    commands = words(fetch)
    assert [
        next(word for word in command if word in ("init", "config", "fetch", "checkout", "submodule"))
        for command in commands
    ] == [
        *("init", "config", "fetch", "checkout", "submodule"),
    ]
    assert commands[2][-2:] == ["https://mirror/flash", "refs/tags/v2.8.3:refs/tags/v2.8.3"]
    assert fetch["commands"][2][1][-1] == "v2.8.3"  # or a branch of that name
    assert "url.https://mirror/.insteadOf=https://git.example.org/" in commands[4]
    assert words(build)[0][:3] == ["/w/environment/bin/python", "-m", "pip"]
    assert {"--no-deps", "--no-build-isolation"} <= set(words(build)[0])
    assert not build.get("once")


def test_a_commit_is_no_tag_and_submodules_are_asked_for() -> None:
    origin = {"kind": "git", "url": "https://x.org/y", "ref": "b" * 40, "submodules": False}
    commands = plan.git_commands(origin, "/w/source.part", {})
    assert [len(ways) for ways in commands] == [1, 1, 1, 1]
    assert commands[2][0][-1] == "b" * 40


@pytest.mark.parametrize(
    ("origin", "download", "argv"),
    [
        ({"kind": "archive", "url": "https://x.org/y.tar.gz", "sha256": SHA256}, "https://m/y.tar.gz", []),
        ({"kind": "pypi", "url": "https://x.org/y.tar.gz"}, "https://m/y.tar.gz", []),
        ({"kind": "pypi"}, None, ["--no-binary", "flash-attn", "--dest", "/w/download", "flash-attn==2.8.3"]),
    ],
)
def test_an_archive_is_unpacked(origin: dict[str, Any], download: str | None, argv: list[str]) -> None:
    fetch = plan.plan_steps({**BUILD, "origin": origin}, "/w", {"https://x.org/": "https://m/"})[0]
    assert (fetch.get("download"), fetch["unpack"], fetch["to"]) == (download, "/w/download", "/w/source")
    assert fetch["sha256"] == origin.get("sha256")
    assert (words(fetch)[0][-len(argv) :] if argv else words(fetch)) == argv


def test_the_build_sees_its_toolkit_its_switches_and_the_way_to_the_network() -> None:
    outer = {
        "HOME": "/root",
        "https_proxy": "http://p",
        "PIP_INDEX_URL": "http://i",
        "PIP_BUILD_CONSTRAINT": "/live/constraints.txt",
        "LD_LIBRARY_PATH": "/compat",
        "PATH": "/bin",
    }
    seen = plan.build_environment(
        BUILD, "/w", outer, site="/s", adopt=None, ccache=None, ccache_links=None, cache="/c"
    )
    assert seen["PATH"] == "/w/environment/bin:/usr/local/cuda-13.0/bin:/bin"
    assert (seen["CUDA_HOME"], seen["MAX_JOBS"], seen["TORCH_CUDA_ARCH_LIST"]) == (
        "/usr/local/cuda-13.0",
        "8",
        "9.0a;12.0+PTX",
    )
    assert (seen["https_proxy"], seen["PIP_INDEX_URL"], seen["HOME"]) == ("http://p", "http://i", "/root")
    assert "LD_LIBRARY_PATH" not in seen
    assert "PIP_BUILD_CONSTRAINT" not in seen  # pip refuses it together with --no-build-isolation
    assert not [name for name in seen if "CCACHE" in name or "LAUNCHER" in name]


def test_ccache_is_used_where_it_is_and_an_entry_has_the_last_word() -> None:
    build = {**BUILD, "environment": {"MAX_JOBS": "3", "CMAKE_CXX_COMPILER_LAUNCHER": ""}}
    seen = plan.build_environment(
        build, "/w", {}, site="/s", adopt=None, ccache="/usr/bin/ccache", ccache_links="/usr/lib/ccache", cache="/c"
    )
    assert seen["PATH"].split(":")[:3] == ["/w/environment/bin", "/usr/lib/ccache", "/usr/local/cuda-13.0/bin"]
    assert (seen["CCACHE_DIR"], seen["CMAKE_CUDA_COMPILER_LAUNCHER"]) == ("/c/ccache", "/usr/bin/ccache")
    assert seen["PYTORCH_NVCC"] == "/usr/bin/ccache /usr/local/cuda-13.0/bin/nvcc"
    assert (seen["MAX_JOBS"], seen["CMAKE_CXX_COMPILER_LAUNCHER"]) == ("3", "")


def test_the_programs_of_what_is_adopted_are_found() -> None:
    site = "/e/1/lib/python3.12/site-packages"
    seen = plan.build_environment(
        BUILD, "/w", {"PATH": "/bin"}, site="/s", adopt=site, ccache=None, ccache_links=None, cache="/c"
    )
    assert seen["PATH"] == "/w/environment/bin:/e/1/bin:/usr/local/cuda-13.0/bin:/bin"


def test_what_a_build_needs_in_its_own_site_packages() -> None:
    build = {**BUILD, "environment": {"CUDNN_ROOT": "{site}/nvidia/cudnn"}, "links": {"nvidia/lib/a.so": "a.so.9"}}
    seen = plan.build_environment(build, "/w", {}, site="/s", adopt=None, ccache=None, ccache_links=None, cache="/c")
    assert seen["CUDNN_ROOT"] == "/s/nvidia/cudnn"
    build["python"] = {"path": "/usr/bin/python3", "version": "3.12.3"}
    assert plan.links_of(build) == {"lib/python3.12/site-packages/nvidia/lib/a.so": "a.so.9"}
