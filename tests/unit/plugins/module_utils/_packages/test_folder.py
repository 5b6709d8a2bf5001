# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder of packages holds and lacks, and whether its packages fit together."""

from __future__ import annotations

import hashlib
import pathlib
from base64 import urlsafe_b64encode

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._packages.folder import (
    Distribution,
    Work,
    broken_pins,
    cuda_majors,
    incoherence,
    outstanding,
    read_distributions,
    read_packages,
    record_path,
    wishes,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._packages.requirement import Requirement, parse_requirement


def write_distribution(
    folder: pathlib.Path, name: str, version: str, files: dict[str, str], metadata: str = ""
) -> None:
    """An installed distribution, as an installer leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = []
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        lines.append(f"{path},sha256=x,{len(content)}")
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n{metadata}\nText\nRequires-Dist: text==1\n")
    lines += [f"{info.name}/RECORD,,", "pkg/__pycache__/gone.cpython-311.pyc,,"]
    (info / "RECORD").write_text("\n".join(lines) + "\n")


def distribution(
    name: str, version: str, *, missing: tuple[str, ...] = (), damaged: tuple[str, ...] = ()
) -> Distribution:
    return Distribution(name, version, (), missing, damaged)


def wish(text: str) -> Requirement:
    return parse_requirement(text)


def test_distributions_are_compared_with_their_record(tmp_path: pathlib.Path) -> None:
    write_distribution(tmp_path, "Whole_One", "1.0", {"whole/a.py": "a"})
    write_distribution(tmp_path, "holed", "2.0", {"holed/a.py": "a", "holed/b.py": "b"})
    write_distribution(tmp_path, "bent", "3.0", {"bent/a.py": "a"})
    write_distribution(tmp_path, "bare", "4.0", {})
    (tmp_path / "holed/b.py").unlink()
    (tmp_path / "bent/a.py").write_text("longer")
    (tmp_path / "bare-4.0.dist-info/RECORD").unlink()
    found = read_distributions(str(tmp_path))
    assert {name: (item.version, item.missing, item.damaged) for name, item in found.items()} == {
        "whole-one": ("1.0", (), ()),
        "holed": ("2.0", ("holed/b.py",), ()),
        "bent": ("3.0", (), ("bent/a.py",)),
        "bare": ("4.0", ("bare-4.0.dist-info/RECORD",), ()),
    }
    assert read_distributions(str(tmp_path / "absent")) == {}


def test_a_watched_file_that_was_altered_at_the_same_size_is_damaged(tmp_path: pathlib.Path) -> None:
    """And is fetched again, as uv's cache may share it."""
    content = "import sys\n"
    digest = urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
    for name in ("torch", "other"):
        write_distribution(tmp_path, name, "1.0", {f"{name}/__init__.py": content})
        record = tmp_path / f"{name}-1.0.dist-info/RECORD"
        record.write_text(record.read_text().replace("sha256=x", f"sha256={digest}"))
    assert [item.damaged for item in read_distributions(str(tmp_path)).values()] == [(), ()]
    for name in ("torch", "other"):
        (tmp_path / name / "__init__.py").write_text("improt sys\n")
    found = read_distributions(str(tmp_path))
    assert (found["torch"].damaged, found["other"].damaged) == (("torch/__init__.py",), ())
    work = outstanding([], [], found, adopted={}, recorded={}, reinstall=[])
    assert (work.repair, work.refetch) == (("torch",), True)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"torch": "2.9.1"}', {"torch": "2.9.1"}),
        ("[1]", {}),
        ("{broken", {}),
        (None, {}),
    ],
)
def test_record_of_the_last_installation(tmp_path: pathlib.Path, content: str | None, found: dict[str, str]) -> None:
    if content is not None:
        record_path(tmp_path).write_text(content)
    assert read_packages(tmp_path) == found


@pytest.mark.parametrize(
    ("case", "install", "restore", "repair", "refetch"),
    [
        pytest.param({}, ["torch==2.9.1", "numpy"], [], [], False, id="empty"),
        pytest.param({"present": {"torch": "2.9.1", "numpy": "2.0"}}, [], [], [], False, id="converged"),
        pytest.param({"present": {"torch": "2.9.1+cu130", "numpy": "2.0"}}, [], [], [], False, id="local-label-serves"),
        pytest.param(
            {"present": {"torch": "2.8.0", "numpy": "2.0"}}, ["torch==2.9.1"], [], [], False, id="other-version"
        ),
        pytest.param(
            {"present": {"numpy": "2.0"}, "adopted": {"torch": "2.9.1"}}, [], [], [], False, id="adopted-counts"
        ),
        pytest.param(
            {"present": {"torch": "2.8.0", "numpy": "2.0"}, "adopted": {"torch": "2.9.1"}},
            ["torch==2.9.1"],
            [],
            [],
            False,
            id="own-hides-adopted",
        ),
        pytest.param({"present": {"torch": "2.9.1!", "numpy": "2.0"}}, [], [], ["torch"], False, id="file-missing"),
        pytest.param(
            {"present": {"torch": "2.9.1?", "numpy": "2.0"}}, [], [], ["torch"], True, id="file-changed-in-place"
        ),
        pytest.param(
            {"present": {"torch": "2.8.0!", "numpy": "2.0"}}, ["torch==2.9.1"], [], [], False, id="broken-and-replaced"
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.0"}, "recorded": {"numpy": "2.0", "sympy": "1.14"}},
            [],
            ["sympy==1.14"],
            [],
            False,
            id="brought-once-and-gone",
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.1"}, "recorded": {"numpy": "2.0"}},
            [],
            [],
            [],
            False,
            id="changed-by-user",
        ),
        pytest.param(
            {"present": {"torch": "2.9.1", "numpy": "2.0"}, "reinstall": ["Torch", "absent"]},
            [],
            [],
            ["torch"],
            False,
            id="told",
        ),
        pytest.param(
            {
                "present": {"torch": "2.9.1", "numpy": "2.0", "triton": "3.0"},
                "constraints": ["triton==3.5.1", "absent==1"],
            },
            ["triton==3.5.1"],
            [],
            [],
            False,
            id="constraint-broken",
        ),
    ],
)
def test_outstanding(
    case: dict[str, dict[str, str]], install: list[str], restore: list[str], repair: list[str], refetch: bool
) -> None:
    present = {
        name: distribution(
            name, text.rstrip("!?"), missing=("x",) * text.endswith("!"), damaged=("x",) * text.endswith("?")
        )
        for name, text in case.get("present", {}).items()
    }
    work = outstanding(
        [wish("torch==2.9.1"), wish("numpy")],
        [wish(text) for text in case.get("constraints", [])],
        present,
        adopted=case.get("adopted", {}),
        recorded=case.get("recorded", {}),
        reinstall=case.get("reinstall", []),
    )
    assert [item.text for item in work.install] == install
    assert [item.text for item in work.restore] == restore
    assert list(work.repair) == repair
    assert work.refetch is refetch
    assert work.is_empty is not any((install, restore, repair))


@pytest.mark.parametrize(
    ("work", "asked"),
    [
        pytest.param(
            Work((), (), ("sympy",), False),
            ["torch==2.9.1", "sympy==1.14"],
            id="a-repair-changes-no-version",
        ),
        pytest.param(
            Work((), (wish("mpmath==1.3"),), (), False),
            ["torch==2.9.1", "mpmath==1.3"],
            id="what-is-gone-comes-as-it-was",
        ),
        pytest.param(
            Work((wish("numpy==2.0"),), (wish("mpmath==1.3"),), ("sympy",), False),
            ["numpy==2.0", "torch==2.9.1", "mpmath", "sympy"],
            id="beside-changes-the-resolver-decides",
        ),
    ],
)
def test_wishes(work: Work, asked: list[str]) -> None:
    present = {"torch": distribution("torch", "2.9.1"), "sympy": distribution("sympy", "1.14")}
    requirements = [wish("torch==2.9.1"), wish("adopted==1")]
    assert [item.text for item in wishes(requirements, work, present)] == asked


def test_pins_on_what_is_adopted(tmp_path: pathlib.Path) -> None:
    pins = (
        "Requires-Dist: torch==2.9.0\nRequires-Dist: numpy\nRequires-Dist: sympy (==1.13)\n"
        'Requires-Dist: triton==1; platform_system == "Windows"\n'
    )
    write_distribution(tmp_path, "xformers", "0.0.33", {}, pins)
    adopted = {
        name: distribution(name, version)
        for name, version in {"torch": "2.9.1", "triton": "3", "sympy": "1.13"}.items()
    }
    assert broken_pins(str(tmp_path), adopted) == ["xformers requires torch==2.9.0, but 2.9.1 is adopted"]


@pytest.mark.parametrize(
    ("name", "version", "files", "majors"),
    [
        ("nvidia-cublas-cu12", "12.8.4.1", (), [12]),
        ("nvidia-cudnn-cu13", "9.24.0.43", (), [13]),
        ("nvidia-cuda-runtime", "13.0.96", ("nvidia/cu13/lib/libcudart.so.13",), [13]),
        ("nvidia-ml-py", "13.590", ("pynvml.py",), []),
        ("torch", "2.9.1+cu130", ("torch/lib/libtorch.so",), []),
    ],
)
def test_cuda_majors(name: str, version: str, files: tuple[str, ...], majors: list[int]) -> None:
    assert list(cuda_majors([Distribution(name, version, files, (), ())])) == majors


def test_incoherence_names_what_does_not_fit() -> None:
    present = {
        item.name: item
        for item in (
            distribution("torch", "2.8.0"),
            distribution("nvidia-nccl-cu12", "2.27"),
            distribution("nvidia-cudnn-cu13", "9.2"),
        )
    }
    assert incoherence(present, {}, [wish("torch==2.9.1"), wish("absent==1")]) == [
        "torch is 2.8.0, expected 2.9.1",
        "CUDA 12 libraries (nvidia-nccl-cu12 2.27) beside CUDA 13 libraries (nvidia-cudnn-cu13 9.2)",
    ]
    assert incoherence({"torch": distribution("torch", "2.9.1")}, {}, [wish("torch==2.9.1")]) == []
    nightly = distribution("torch", "2.16.0.dev20261130+cu132")
    assert incoherence({"torch": nightly}, {}, [wish("torch>=2.16.0.dev0")]) == []
    assert incoherence(present, {}, [wish("torch>=2.16.0.dev0")])[0] == "torch is 2.8.0, expected torch>=2.16.0.dev0"
