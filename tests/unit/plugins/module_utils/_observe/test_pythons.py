# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.pythons import (
    find_environment,
    find_generations,
    find_torches,
    parse_distributions,
    read_arch_list,
    read_state,
    site_folders,
)

PREFIX = "/opt/podsmith"
GENERATION = f"{PREFIX}/environments/1-torch2.9.1-cu130"
SITE = f"{GENERATION}/lib/python3.12/site-packages"
IDENTITY = '{"identity": "abc"}\n'
CPU = "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n"
CUDA = "__version__ = '2.9.1+cu130'\ncuda: Optional[str] = '13.0'\n"


def write(folder: Path, files: dict[str, str | bytes]) -> Root:
    for name, content in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Root(str(folder))


def torch(site: str, version: str = CUDA) -> dict[str, str | bytes]:
    local = version.split("'")[1]
    return {
        f"{site}/torch/version.py": version,
        f"{site}/torch/lib/libtorch_python.so": b"\0_set_sm_carveout\0sm_75 sm_90 compute_90\0",
        f"{site}/torch-{local}.dist-info/RECORD": "torch/version.py,sha256=x,60\ntorch/lib/libtorch_python.so,,41\n",
    }


def generation() -> dict[str, str | bytes]:
    return {
        **torch(SITE),
        f"{GENERATION}/.podsmith-packages.json": "{}",
        f"{GENERATION}/activate.sh": "# ours\n",
        f"{GENERATION}/generation.json": IDENTITY,
        f"{GENERATION}/pyvenv.cfg": "home = /usr/bin\n",
        f"{GENERATION}/bin/python": "",
        f"{SITE}/_podsmith_cuda.py": "# hook\n",
        f"{SITE}/flash_attn-2.8.3.dist-info/RECORD": "flash_attn/__init__.py,sha256=x,1\n",
        f"{SITE}/flash_attn/__init__.py": "",
    }


def live(folder: Path, files: dict[str, str | bytes]) -> Root:
    root = write(folder, files)
    (folder / "opt/podsmith/current").symlink_to("environments/1-torch2.9.1-cu130")
    return root


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_distributions() -> None:
    names = [
        "torch-2.9.1+cu130.dist-info",
        "flash_attn-2.8.3.dist-info",
        "torch",
        "a.egg-info",
        "Zope.Event-5.dist-info",
    ]
    assert parse_distributions(names) == {"torch": "2.9.1+cu130", "flash-attn": "2.8.3", "zope-event": "5"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"\0_get_sm_carveout\0sm_75 sm_80 sm_120\0x", ["sm_75", "sm_80", "sm_120"], id="list"),
        pytest.param(b"\0sm_90a compute_90\0", ["sm_90a", "compute_90"], id="with-ptx"),
        pytest.param(b"\0compute_90\0", ["compute_90"], id="ptx-alone"),
        pytest.param(b"\0sm_count\0sm_\0", None, id="other-words"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_arch_list(tmp_path: Path, data: bytes, expected: list[str] | None) -> None:
    (tmp_path / "library").write_bytes(data)
    assert read_arch_list(str(tmp_path / "library")) == expected


def test_the_live_environment(tmp_path: Path) -> None:
    assert find_environment(live(tmp_path, generation()), PREFIX) == {
        "prefix": PREFIX,
        "path": GENERATION,
        "name": "1-torch2.9.1-cu130",
        "identity": "abc",
        "complete": True,
        "python": "3.12",
        "packages": {"torch": "2.9.1+cu130", "flash-attn": "2.8.3"},
        "broken": [],
        "files": {
            ".podsmith-packages.json": digest("{}"),
            "activate.sh": digest("# ours\n"),
            "generation.json": digest(IDENTITY),
            "pyvenv.cfg": digest("home = /usr/bin\n"),
            "site-packages/_podsmith_cuda.py": digest("# hook\n"),
        },
    }


@pytest.mark.parametrize(
    ("gone", "broken"),
    [
        ("torch/version.py", ["torch"]),
        ("flash_attn-2.8.3.dist-info/RECORD", ["flash-attn"]),
        ("flash_attn/__init__.py", ["flash-attn"]),
    ],
)
def test_a_distribution_that_lost_a_file_is_broken(tmp_path: Path, gone: str, broken: list[str]) -> None:
    root = live(tmp_path, generation())
    (tmp_path / SITE.lstrip("/") / gone).unlink()
    environment = find_environment(root, PREFIX)
    assert environment
    assert environment["broken"] == broken


@pytest.mark.parametrize(
    ("name", "content", "broken"),
    [
        pytest.param("torch/__init__.py", "import sys\n", [], id="as-it-came"),
        pytest.param("torch/__init__.py", "improt sys\n", ["torch"], id="altered-at-the-same-size"),
        pytest.param("torch/__init__.py", "", ["torch"], id="emptied"),
        pytest.param("torch/nn/deep.py", "improt sys\n", [], id="not-at-the-top"),
    ],
)
def test_an_altered_file_of_the_live_environment_is_seen(
    tmp_path: Path, name: str, content: str, broken: list[str]
) -> None:
    files = generation()
    sha256 = urlsafe_b64encode(hashlib.sha256(b"import sys\n").digest()).rstrip(b"=").decode()
    record = f"{SITE}/torch-2.9.1+cu130.dist-info/RECORD"
    files[record] = f"{files[record]}{name},sha256={sha256},11\n"
    files[f"{SITE}/{name}"] = content
    root = live(tmp_path, files)
    environment = find_environment(root, PREFIX)
    assert environment
    assert environment["broken"] == broken
    assert [row["broken"] for row in find_generations(root, PREFIX)] == [broken]
    (tmp_path / "opt/podsmith/current").unlink()
    assert [row["broken"] for row in find_generations(root, PREFIX)] == [[]]  # one that is not live is not compared


def test_a_file_of_ours_that_is_gone_has_no_digest(tmp_path: Path) -> None:
    root = live(tmp_path, generation())
    (tmp_path / GENERATION.lstrip("/") / "activate.sh").unlink()
    environment = find_environment(root, PREFIX)
    assert environment
    assert "activate.sh" not in environment["files"]


def test_every_generation_that_says_what_it_was_built_for(tmp_path: Path) -> None:
    """Beside the live one: one that lost a file, one of an interrupted change, one that does not say."""
    other, interrupted = (f"{PREFIX}/environments/{name}" for name in ("2-torch2.9.1-cu126", "3-torch2.9.1-cu128"))
    folders = {folder: f"{folder}/lib/python3.12/site-packages" for folder in (other, interrupted)}
    files = {path: text for site in folders.values() for path, text in torch(site).items()}
    files |= {f"{folder}/generation.json": f'{{"identity": "{folder[-5:]}"}}' for folder in folders}
    files |= {f"{other}/.podsmith-packages.json": "{}", f"{PREFIX}/environments/4-torch/pyvenv.cfg": ""}
    root = live(tmp_path, {**generation(), **files, f"{PREFIX}/environments/5-cuda13.0/generation.json": IDENTITY})
    (tmp_path / folders[other].lstrip("/") / "torch/version.py").unlink()
    found = find_generations(root, PREFIX)
    assert [(row["name"], row["identity"], row["complete"], row["broken"]) for row in found] == [
        ("1-torch2.9.1-cu130", "abc", True, []),
        ("2-torch2.9.1-cu126", "cu126", True, ["torch"]),
        ("3-torch2.9.1-cu128", "cu128", False, []),
        ("5-cuda13.0", "abc", True, []),
    ]
    assert found[1]["packages"] == {"torch": "2.9.1+cu130"}
    assert found[3]["python"] is None


def test_an_identity_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    root = live(tmp_path, generation() | {f"{GENERATION}/generation.json": "{cut"})
    assert [row["identity"] for row in find_generations(root, PREFIX)] == [None]


def test_no_environment(tmp_path: Path) -> None:
    assert find_environment(Root(str(tmp_path)), PREFIX) is None


def test_a_link_to_a_generation_that_is_gone_is_no_environment(tmp_path: Path) -> None:
    assert find_environment(live(tmp_path, {f"{PREFIX}/state/x": ""}), PREFIX) is None


def test_adopted_packages_count_and_our_own_win(tmp_path: Path) -> None:
    image = "/venv/main/lib/python3.12/site-packages"
    files = {**torch(image), f"{image}/numpy-2.0.dist-info/RECORD": "", f"{SITE}/numpy-2.3.dist-info/RECORD": "x"}
    root = live(tmp_path, {**files, f"{SITE}/_podsmith_adopt.pth": f"import os\n{image}\n"})
    environment = find_environment(root, PREFIX)
    assert environment
    assert environment["packages"] == {"torch": "2.9.1+cu130", "numpy": "2.3"}


def test_every_torch_is_found_once(tmp_path: Path) -> None:
    conda = "/opt/conda/lib/python3.11/site-packages"
    root = live(
        tmp_path, {**generation(), **torch(conda, CPU), **torch("/usr/local/lib/python3.10/dist-packages", CPU)}
    )
    (tmp_path / "opt/mamba").symlink_to("conda")
    pythons = [{"path": "/usr/bin/python3.10", "version": "3.10"}]
    sites = site_folders(root, [PREFIX], pythons, "/root", {"VIRTUAL_ENV": "/opt/conda"}, None)
    found = find_torches(root, sites, [PREFIX])
    assert found[0] == {
        "path": SITE,
        "python": f"{GENERATION}/bin/python",
        "python_version": "3.12",
        "version": "2.9.1",
        "local": "2.9.1+cu130",
        "cuda": "13.0",
        "arch_list": ["sm_75", "sm_90", "compute_90"],
        "managed": True,
        "packages": {"flash-attn": "2.8.3", "torch": "2.9.1+cu130"},
        "incoherent": [],
        "broken": [],
    }
    summary = [(one["path"], one["python_version"], one["cuda"], one["arch_list"], one["managed"]) for one in found[1:]]
    assert summary == [
        (conda, "3.11", None, [], False),
        ("/usr/local/lib/python3.10/dist-packages", "3.10", None, [], False),
    ]


def test_a_library_that_another_package_took_along_is_damage(tmp_path: Path) -> None:
    """nvidia-nccl-cu12 was uninstalled after -cu13 had come: both list libnccl.so.2, and it is gone."""
    listed = "nvidia/nccl/lib/libnccl.so.2,sha256=x,9\nnvidia/nccl/include/nccl.h,sha256=x,9\n"
    image = "/opt/venv/lib/python3.12/site-packages"
    record = f"{image}/nvidia_nccl_cu13-2.30.7.dist-info/RECORD"
    root = write(tmp_path, {**torch(image), record: listed, f"{image}/nvidia/nccl/include/nccl.h": "x" * 9})
    (found,) = find_torches(root, {image: None}, [PREFIX])
    assert found["broken"] == ["nvidia/nccl/lib/libnccl.so.2"]
    (tmp_path / f"{image}/nvidia/nccl/lib".lstrip("/")).mkdir()
    (tmp_path / f"{image}/nvidia/nccl/lib/libnccl.so.2".lstrip("/")).write_text("x" * 9)
    assert find_torches(root, {image: None}, [PREFIX])[0]["broken"] == []


def test_parts_of_two_cudas_are_incoherent(tmp_path: Path) -> None:
    image = "/opt/venv/lib/python3.12/site-packages"
    parts = ("nvidia_cuda_runtime-13.2.86", "nvidia_cuda_nvrtc-13.5.37", "nvidia_cuda_runtime_cu12-12.8.90")
    files = {f"{image}/{part}.dist-info/RECORD": "" for part in parts}
    (found,) = find_torches(write(tmp_path, {**torch(image), **files}), {image: None}, [PREFIX])
    assert [clause.partition(" (")[0] for clause in found["incoherent"]] == [
        "CUDA 12 libraries",
        "nvidia-cuda-nvrtc 13.5.37 beside nvidia-cuda-runtime 13.2.86",
    ]


def test_a_torch_without_its_version_file_is_broken_not_absent(tmp_path: Path) -> None:
    root = live(tmp_path, generation())
    (tmp_path / SITE.lstrip("/") / "torch/version.py").unlink()
    (found,) = find_torches(root, {SITE: None}, [PREFIX])
    assert (found["local"], found["broken"]) == ("2.9.1+cu130", ["torch/version.py"])


def state(tmp_path: Path, **files: object) -> Root:
    return write(tmp_path, {f"{PREFIX}/state/{name}.json": json.dumps(content) for name, content in files.items()})


def test_state(tmp_path: Path) -> None:
    root = state(
        tmp_path,
        decision={"digest": "abc", "verdict": "ok", "environment": {"identity": "def"}},
        verdict={"digest": "abc", "ok": True, "driver": "570.133.20", "reach": {"driver": "570.133.20"}},
        compat={"refused": {"cuda-compat-13-0 580.95.05": {"code": 804, "driver": "570.133.20"}}},
    )
    assert read_state(root, PREFIX) == {
        "decision": "abc",
        "identity": "def",
        "verdict": "ok",
        "driver": "570.133.20",
        "reach": {"driver": "570.133.20"},
        "refused_compat": {"cuda-compat-13-0 580.95.05": 804},
    }


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        pytest.param({"digest": "abc", "ok": False, "driver": "1"}, "failed", id="failed"),
        pytest.param({"digest": "other", "ok": True, "driver": "1"}, None, id="of-another-decision"),
        pytest.param({}, None, id="none"),
        pytest.param([1], None, id="nonsense"),
    ],
)
def test_verdict(tmp_path: Path, verdict: object, expected: str | None) -> None:
    found = read_state(state(tmp_path, decision={"digest": "abc"}, verdict=verdict), PREFIX)
    assert found
    assert found["verdict"] == expected
    assert found["reach"] is None


@pytest.mark.parametrize(
    ("digest", "recorded", "reach"),
    [
        ("abc", {"gpus": ["GPU-a"]}, {"gpus": ["GPU-a"]}),
        ("other", {"gpus": ["GPU-a"]}, None),
        ("abc", "nonsense", None),
    ],
)
def test_reach(tmp_path: Path, digest: str, recorded: object, reach: object) -> None:
    verdict = {"digest": digest, "ok": True, "reach": recorded}
    found = read_state(state(tmp_path, decision={"digest": "abc"}, verdict=verdict), PREFIX)
    assert found
    assert found["reach"] == reach


@pytest.mark.parametrize(
    ("refuser", "driver", "refused"),
    [
        pytest.param("570.133.20", "570.133.20", {"cuda-compat-13-0 580.95.05": 804}, id="this-driver"),
        pytest.param("570.133.20", "570.26", {}, id="another-driver"),
        pytest.param("", "570.26", {"cuda-compat-13-0 580.95.05": 804}, id="refuser-unknown"),
        pytest.param("570.133.20", None, {"cuda-compat-13-0 580.95.05": 804}, id="driver-unknown"),
    ],
)
def test_a_refusal_holds_for_its_driver(
    tmp_path: Path, refuser: str, driver: str | None, refused: dict[str, int]
) -> None:
    root = state(tmp_path, compat={"refused": {"cuda-compat-13-0 580.95.05": {"code": 804, "driver": refuser}}})
    found = read_state(root, PREFIX, driver)
    assert found
    assert found["refused_compat"] == refused


def test_no_state(tmp_path: Path) -> None:
    assert read_state(Root(str(tmp_path)), PREFIX) is None
    assert read_state(write(tmp_path, {f"{PREFIX}/state/decision.json": "{cut"}), PREFIX) is None
