# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that several parts must read alike, and the marks of our lines in files of others."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import (
    BEGIN,
    DRIVER,
    END,
    PAM_FILES,
    dialect_of,
    find_block,
    foreign_lines,
    is_driver,
    list_pam_lines,
    normalise,
    parse_wheel_name,
    with_block,
    without_block,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue

DRIVERS = (
    *("cuda", "cuda-13-0", "cuda-drivers", "cuda-drivers-580", "cuda-runtime-13-0", "cuda-demo-suite-12-6"),
    *("nvidia-open", "nvidia-open-580", "nvidia-driver", "nvidia-driver-580-server-open", "nvidia-driver-cuda"),
    *("nvidia-headless-580-open", "nvidia-dkms-580", "nvidia-kernel-dkms", "nvidia-kernel-source-580-open"),
    *("nvidia-utils-580", "nvidia-compute-utils-580", "nvidia-firmware-580-580.95.05", "nvidia-modprobe"),
    *("libcuda1", "libnvidia-compute", "libnvidia-compute-580", "libnvidia-gl-580", "libnvidia-ml1"),
    *("linux-modules-nvidia-580-open-generic", "linux-objects-nvidia-580-6.8.0-45-generic", "firmware-nvidia-gsp"),
    "xserver-xorg-video-nvidia-580",
)
OTHERS = (
    *("cuda-nvcc-13-0", "cuda-toolkit-13-0", "cuda-driver-dev-13-0", "cuda-compat-13-0", "cuda-keyring"),
    *("cuda-nvml-dev-13-0", "libnvidia-ml-dev", "libnvidia-container1", "nvidia-container-toolkit", "libnvvm-13-0"),
    *("nvidia-cuda-toolkit", "cuda-libraries-dev-13-0", "linux-modules-6.8.0", "g++", "libcudnn9-cuda-13"),
)


@pytest.mark.parametrize(("name", "driver"), [*((name, True) for name in DRIVERS), *((name, False) for name in OTHERS)])
def test_what_is_of_a_driver(name: str, *, driver: bool) -> None:
    assert is_driver(name) is driver


def test_no_package_of_the_toolkits_components_is() -> None:
    rows = load_catalogue()["cuda"]["components"].values()
    names = [name.replace("{release}", "13-0") for row in rows for name in row["apt"]]
    assert names
    assert [name for name in names if is_driver(name)] == []


@pytest.mark.parametrize(
    ("name", "normal"),
    [("torch", "torch"), ("Typing_Extensions", "typing-extensions"), ("ruamel.yaml", "ruamel-yaml"), ("a-_.b", "a-b")],
)
def test_normalise(name: str, normal: str) -> None:
    """There were five definitions of this, alike to the letter; now hosts have one."""
    assert normalise(name) == normal


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
            {"name": "torch", "version": "2.13.0+cpu", "python_tag": "cp311", "arch": "x86_64"},
        ),
        (
            "torch-2.9.1%2Bcu130-cp312-cp312-manylinux_2_28_aarch64.whl",
            {"name": "torch", "version": "2.9.1+cu130", "python_tag": "cp312", "arch": "aarch64"},
        ),
        (
            "torch-2.9.1-1-cp312-cp312-linux_x86_64.whl",
            {"name": "torch", "version": "2.9.1", "python_tag": "cp312", "arch": "x86_64"},
        ),
        (
            "flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl",
            {"name": "flash-attn", "version": "2.8.3", "python_tag": "cp312", "arch": "x86_64"},
        ),
        (
            "nvidia_ml_py-13.590-py3-none-any.whl",
            {"name": "nvidia-ml-py", "version": "13.590", "python_tag": "py3", "arch": ""},
        ),
        ("torch-2.9.1.tar.gz", None),
        ("torch-2.9.1-cp312.whl", None),
    ],
)
def test_wheel_name(name: str, expected: dict[str, str] | None) -> None:
    """Wheels' names were taken apart in three places, one of which left ``flash_attn`` as it is written."""
    assert parse_wheel_name(name) == expected


BLOCK = f"{BEGIN}\n. /opt/podsmith/activate.sh\n{END}\n"
LINE = ". /opt/podsmith/activate.sh\n"
# Text, the lines of our block, the text without it. What the copies of the rule answered differently is said beside it.
BLOCKS = [
    pytest.param("", None, "", id="nothing"),
    pytest.param(f"a\n{BLOCK}b\n", LINE, "a\nb\n", id="in-the-middle"),
    pytest.param(f"a\n{BLOCK.rstrip()}", LINE, "a\n", id="at-the-end-without-newline"),
    pytest.param(f"{BEGIN}\n{END}\n", "", "", id="empty"),
    pytest.param(f"    {BEGIN}\n    x\n    {END}\ny\n", "    x\n", "y\n", id="indented"),  # a function of a shell
    pytest.param(f"{BEGIN}\ncut off\n", None, f"{BEGIN}\ncut off\n", id="no-end"),
    pytest.param(f"{BLOCK}{BLOCK}b", LINE, "b", id="doubled"),
    # gpu_facts took all from the first mark on, so that the digest never was that of the plan
    pytest.param(f"{BEGIN}\ncut off\n{BLOCK}", LINE, f"{BEGIN}\ncut off\n", id="torn-above-whole"),
    # managed_files took the mark out of the middle of a line
    pytest.param(f"#{BLOCK}", None, f"#{BLOCK}", id="mark-behind-something"),
    # gpu_facts took the words for the mark wherever they stood in a line
    pytest.param(f"{BEGIN}\necho {END}\n{END}\n", f"echo {END}\n", "", id="words-in-a-line"),
]


@pytest.mark.parametrize(("text", "lines", "rest"), BLOCKS)
def test_a_block(text: str, lines: str | None, rest: str) -> None:
    """managed_files, gpu_facts and the project's fence had a rule each; they agree now on what a block is."""
    assert find_block(text) == lines
    assert without_block(text) == rest


@pytest.mark.parametrize(("text", "lines", "rest"), BLOCKS)
def test_a_block_comes_to_the_top_once(text: str, lines: str | None, rest: str) -> None:
    assert with_block(text, "x\n") == f"{BEGIN}\nx\n{END}\n{rest}"
    assert with_block(with_block(text, "x\n"), "x\n") == with_block(text, "x\n")
    assert find_block(with_block(text, "x\n")) == "x\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb", ["a", "b"]),
        (f"a\n{BLOCK}b\n", ["a", "", "", "", "b"]),
        (f"a\n{BLOCK.rstrip()}", ["a", "", ""]),
        (f"{BEGIN}\nb\n", [BEGIN, "b"]),
    ],
)
def test_lines_of_others_keep_their_numbers(text: str, lines: list[str]) -> None:
    """A block that lost its end hid every line after it from the search for conflicts; it hides none now."""
    assert foreign_lines(text) == lines


def test_hosts_know_what_the_catalogue_forbids() -> None:
    assert tuple(load_catalogue()["cuda"]["forbidden"]) == DRIVER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "A=b\n  export C='d e' # f\n\n#G=h\nI DEFAULT=${J} OVERRIDE=\nK\n",
            [(1, "A", "b"), (2, "C", "d e"), (5, "I", "${J}")],
        ),
        ('A="/usr/bin:/bin"\nnonsense\n1=b\nä-ö=c\n', [(1, "A", "/usr/bin:/bin")]),
        ("A=b c \nA=#\nA='\n", [(1, "A", "b c"), (2, "A", ""), (3, "A", "")]),
        ("A='b\nA=b'\nA=\"b'\n", [(1, "A", "b"), (2, "A", "b'"), (3, "A", "b")]),
        ('A DEFAULT="b c"\nA OVERRIDE=d DEFAULT=e\n', [(1, "A", "b c"), (2, "A", "d")]),
    ],
)
def test_pam_reads_lines(text: str, expected: list[tuple[int, str, str]]) -> None:
    """As pam_env does: a "#" ends a line, and a quote counts where the value begins with one."""
    assert list_pam_lines(text) == expected


@pytest.mark.parametrize(
    ("file", "dialect"),
    [
        *((file, "pam") for file in (*PAM_FILES, "/root/.pam_environment")),
        *((file, "csh") for file in ("/etc/profile.d/x.csh", "/root/.cshrc", "/root/.login", "/etc/csh.login")),
        ("/root/.config/fish/config.fish", "fish"),
        *((file, "sh") for file in ("/root/.bashrc", "/etc/profile.d/x.sh", "/etc/zsh/zshenv")),
    ],
)
def test_a_start_up_file_is_known_by_its_place(file: str, dialect: str) -> None:
    assert dialect_of(file) == dialect
