# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host full of secrets is recorded: none gets in, and what the plan needs does; then it becomes a fixture."""

from __future__ import annotations

import os
import runpy
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.lookup.recording import read_recording
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.root import observe_recording

REPOSITORY = Path(__file__).resolve().parents[3]
RECORD = REPOSITORY / "scripts" / "record.sh"
H200 = REPOSITORY / "tests" / "fixtures" / "h200-driver-580"
NOTE = '{"format":1,"CUDA version":"13.0","driver":[535,550,575],"device":[1,2,14]}'
UUID = "GPU-3f1c9a52-77be-4d10-9a44-b1d2c3e4f5a6"
# What must not be in a recording, wherever it was planted.
SECRETS = {
    "serial": "165492",  # as short as a reading
    "uuid": UUID.removeprefix("GPU-"),
    "pdi": "0x9f8e7d6c5b4a3921",
    "board part": "900-21010-0000-000",
    "chassis": "CH4551S",
    "address": "10.83.7.201",
    "hardware address": "52:54:00:ab:cd:ef",
    "ipv6": "fd00:1ea7::beef",
    "host": "gpu-rack7-prod",
    "user": "mallorybee",
    "real name": "Mallory Beekeeper",
    "token": "hf_s3cr3tTok3n",
    "password": "hunter2",
    "builder": "buildmaster@acme",
    "project": "projectx",
    "company": "acmecorp",
    "boot": "1c0ffee0-aaaa-bbbb-cccc-123456789abc",
    "mail": "mallory@acme.example",
    "process": "train_secret_model",
    "process id": "90210",
}
XML_SECRETS = {
    "<serial>0000000000000</serial>": f"<serial>{SECRETS['serial']}</serial>",
    "<uuid>GPU-00000000-0000-0000-0000-000000000000</uuid>": f"<uuid>{UUID}</uuid>",
    "<pdi>0x0000000000000000</pdi>": f"<pdi>{SECRETS['pdi']}</pdi>",
    "<board_part_number>N/A<": f"<board_part_number>{SECRETS['board part']}<",
    "<chassis_serial_number>N/A<": f"<chassis_serial_number>{SECRETS['chassis']}<",
    "<host_id>N/A<": "<host_id>42<",
    "<processes>": f"<processes>\n<process_info>\n<pid>{SECRETS['process id']}</pid>\n"
    f"<process_name>{SECRETS['process']}</process_name>\n</process_info>",
    "<clusterUuid>N/A<": f"<clusterUuid>{SECRETS['uuid']}<",
    "<addressing_mode>None<": f"<addressing_mode>{SECRETS['address']}<",
}
INFORMATION = f"Model: \t\t NVIDIA H200\nGPU UUID: \t {UUID}\nBus Location: \t 0000:00:06.0\nDevice Minor: \t 0\n"
VARIABLES = [
    "LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/home/mallorybee/projectx/lib:/usr/local/nvidia/lib",
    "CUDA_VERSION=13.0.2",
    f"NVIDIA_VISIBLE_DEVICES={UUID}",
    "HF_TOKEN=hf_s3cr3tTok3n",
    "RUNPOD_POD_ID=projectx",
    "HOSTNAME=gpu-rack7-prod",
    "CUDA_HOME=/usr/local/cuda",
]
BASHRC = """\
# mallorybee's own
export HF_TOKEN=hf_s3cr3tTok3n
export LD_LIBRARY_PATH=/usr/local/cuda/compat:/srv/projectx/lib:$LD_LIBRARY_PATH; export PASSWORD=hunter2
CUDA_VISIBLE_DEVICES=-1
"""
TEXTS = {
    "etc/os-release": 'ID=ubuntu\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nIMAGE_ID=acmecorp-image\n',
    "etc/hostname": "gpu-rack7-prod\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "mallorybee:x:1000:1000:Mallory Beekeeper,,:/home/mallorybee:/bin/bash\n"
    "ubuntu:x:1001:1001:Ubuntu:/home/ubuntu:/bin/bash\n",
    "etc/environment": "API_KEY=hunter2\nRUNPOD_POD_ID=projectx\n",
    "etc/profile.d/acmecorp.sh": "export CUDA_HOME=/usr/local/cuda-99.0\n",
    "etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n/srv/projectx/lib\n",
    "etc/ld.so.conf.d/000_cuda.conf": "/usr/local/cuda/targets/x86_64-linux/lib\n",
    "etc/ld.so.conf.d/acmecorp.conf": "/usr/lib/acmecorp\n",
    "etc/pip.conf": "[global]\nindex-url = https://mallorybee:hunter2@10.83.7.201/simple\n",
    "root/.bashrc": BASHRC,
    "proc/version": "Linux version 6.18.44-acmecorp (buildmaster@acme) (gcc 15) #1 SMP\n",
    "proc/sys/kernel/osrelease": "6.18.44-acmecorp\n",
    "proc/sys/kernel/random/boot_id": SECRETS["boot"],
    "proc/meminfo": "MemTotal:       132000000 kB\nMemFree: 1 kB\n",
    "proc/cpuinfo": "processor\t: 0\nserial\t: 165492\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n",
    "proc/1/cgroup": "0::/kubepods/pod1c0ffee0-aaaa-bbbb-cccc-123456789abc/docker-projectx\n",
    "proc/self/mountinfo": "36 35 98:0 / / rw - overlay overlay rw,upperdir=/srv/projectx\n"
    "37 35 98:1 /acmecorp /workspace rw,noatime - nfs4 10.83.7.201:/export/projectx rw\n"
    "38 35 98:1 / /home/mallorybee rw - ext4 /dev/sda rw\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build"
    "  (buildmaster@acme)\nGCC version:  gcc version 15.3.0 (acmecorp)\n",
    "proc/driver/nvidia/gpus/0000:00:06.0/information": INFORMATION,
    "sys/module/nvidia/version": "580.159.04\n",
    "sys/class/dmi/id/product_name": "acmecorp KVM gpu-rack7-prod\n",
    "sys/class/dmi/id/product_serial": SECRETS["serial"],
    "dev/nvidia0": "",
    "usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04": "library",
    "usr/local/cuda-13.0/version.json": '{"cuda": {"name": "CUDA SDK", "version": "13.0.2"},\n'
    ' "cuda_nvcc": {"name": "nvcc", "version": "13.0.88"}, "note": "acmecorp"}\n',
    "usr/local/cuda-13.0/include/cuda_runtime_api.h": "/* mallorybee */",
    "usr/local/cuda-13.0/lib64/libcudart.so.13": "library",
    "usr/local/cuda-13.0/compat/libcuda.so.580.95.05": f"\x7fELF…{NOTE}… built by buildmaster@acme",
    "var/lib/dpkg/status": "Package: cuda-nvcc-13-0\nStatus: hold ok installed\nMaintainer: mallory@acme.example\n"
    "Version: 13.0.88-1\n\nPackage: acmecorp-agent\nStatus: install ok installed\nVersion: 1\n\n",
    "var/lib/dpkg/info/cuda-nvcc-13-0.list": "/usr/local/cuda-13.0/bin/nvcc\n",
    "opt/projectx/.venv/lib/python3.12/site-packages/torch/version.py": "__version__ = '2.11.0+cu130'\ndebug = False\n"
    "cuda: Optional[str] = '13.0'\ngit_version = 'acmecorp'\n",
    "opt/projectx/.venv/lib/python3.12/site-packages/torch-2.11.0+cu130.dist-info/RECORD": "torch/version.py,,\n",
    "opt/projectx/.venv/lib/python3.12/site-packages/projectx-1.0.dist-info/RECORD": "projectx.py,,\n",
    "opt/projectx/.venv/lib/python3.12/site-packages/nvidia_nccl_cu13-2.28.9.dist-info/RECORD": "",
    "opt/projectx/.venv/lib/python3.12/site-packages/torch/lib/libtorch_python.so": "x\0sm_75 sm_90 sm_120\0mallorybee",
    "opt/projectx/.venv/bin/python": "",
}
PROGRAMS = {
    "usr/local/cuda-13.0/bin/nvcc": "acmecorp",
    "usr/bin/python3.12": "\x7fELF mallorybee",
    "usr/bin/g++": "",
    "usr/bin/apt-get": "",
}
LINKS = {
    "usr/local/cuda": "/etc/alternatives/cuda",
    "etc/alternatives/cuda": "/usr/local/cuda-13.0",
    "usr/local/cuda-13.0/compat/libcuda.so.1": "libcuda.so.580.95.05",
    "usr/lib/x86_64-linux-gnu/libcuda.so.1": "libcuda.so.580.159.04",
    "usr/lib/x86_64-linux-gnu/libcuda.so": "/srv/projectx/libcuda.so",
}
SMI = """#!/bin/sh
case "$*" in
*--query-gpu=*) echo "0, NVIDIA H200, UUID, 580.159.04, 143771 MiB, 00000000:00:06.0, Enabled, Disabled, 9.0" ;;
*-x*) cat "$0.xml" ;;
*) cat "$0.txt" ;;
esac
"""


def build(root: Path) -> Path:
    """Write the file system of a host on which every secret is planted."""
    xml, banner = ((H200 / name).read_text() for name in ("nvidia-smi-q.xml", "nvidia-smi.txt"))
    for clean, planted in XML_SECRETS.items():
        assert clean in xml
        xml = xml.replace(clean, planted)
    texts = {
        **TEXTS,
        "usr/bin/nvidia-smi.xml": xml,
        "usr/bin/nvidia-smi.txt": f"gpu-rack7-prod  Sat Nov 21\n{banner}|  0  1234  C  {SECRETS['process']}  1MiB |\n",
        "proc/1/environ": "\0".join(VARIABLES) + "\0",
    }
    for name, text in {**texts, **PROGRAMS, "usr/bin/nvidia-smi": SMI.replace("UUID", UUID)}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name in PROGRAMS or name == "usr/bin/nvidia-smi" else 0o644)
    for name, aim in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(aim)
    (root / "workspace").mkdir()
    return root


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host of the test's own, to change."""
    return build(tmp_path / "host")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of such a host."""
    folder = tmp_path_factory.mktemp("recorded")
    done = record(build(folder / "host"), folder / "recording")
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "recording"


def record(host: Path | None, target: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on a host; on this one with None."""
    env = {**os.environ, **({"RECORD_ROOT": str(host)} if host else {})}
    return subprocess.run(["sh", str(RECORD), str(target)], env=env, capture_output=True, text=True, check=False)


def contents(recording: Path) -> dict[str, str]:
    """Path → what is in it, of everything in a recording: texts, and where links lead."""
    return {
        str(path.relative_to(recording)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes().decode("latin-1")
        for path in recording.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_no_secret_gets_in(recording: Path) -> None:
    found = contents(recording)
    leaks = {
        (kind, name)
        for kind, secret in SECRETS.items()
        for name, text in found.items()
        if secret.lower() in f"{name}\n{text}".lower()
    }
    assert leaks == set()
    assert len(found) > 25


def test_the_secrets_are_planted(host: Path) -> None:
    planted = "\n".join(f"{name}\n{text}" for name, text in contents(host).items())
    assert {kind for kind, secret in SECRETS.items() if secret not in planted} == {"hardware address", "ipv6"}


def test_what_the_plan_needs_gets_in(recording: Path) -> None:
    facts = observe_recording(recording)
    assert facts["driver"] == {
        "status": "ok",
        "version": "580.159.04",
        "branch": 580,
        "cuda": "13.0",
        "flavor": "open",
        "source": "nvidia_smi",
    }
    (device,) = facts["devices"]
    assert (device["name"], device["compute_capability"], device["brand_id"]) == ("NVIDIA H200", "9.0", 14)
    assert (device["memory_mib"], device["ecc"], device["mig"]) == (143771, True, False)
    platform = facts["platform"]
    assert platform["os"] == {"id": "ubuntu", "version": "24.04", "codename": "noble", "family": "debian", "like": []}
    assert (platform["kind"], platform["provider"], platform["kernel"]) == ("container", "runpod", "6.18.44")
    assert (platform["persistent_dir"], platform["memory_gib"], platform["cpus"]) == ("/workspace", 125.9, 2)
    assert platform["pythons"] == [{"path": "/usr/bin/python3.12", "version": "3.12", "headers": False, "pip": False}]
    installed = facts["installed"]
    assert [(toolkit["version"], toolkit["provider"]) for toolkit in installed["toolkits"]] == [("13.0.88", "apt")]
    (compat,) = installed["compat"]
    assert (compat["version"], compat["cuda"]) == ("580.95.05", "13.0")
    assert (compat["branches"], compat["brands"]) == ([535, 550, 575], [1, 2, 14])
    (torch,) = installed["pytorch"]
    assert (torch["local"], torch["arch_list"], torch["broken"]) == ("2.11.0+cu130", ["sm_75", "sm_90", "sm_120"], [])
    assert torch["packages"] == {"torch": "2.11.0+cu130", "nvidia-nccl-cu13": "2.28.9"}
    assert [(conflict["kind"], conflict["file"], conflict["line"]) for conflict in facts["conflicts"]] == [
        ("cuda_home", "/etc/profile.d/other-1.sh", 1),
        ("ld_library_path", "/root/.bashrc", 3),
        ("hidden_devices", "/root/.bashrc", 4),
    ]
    assert facts["conflicts"][1]["text"] == "export LD_LIBRARY_PATH=/usr/local/cuda/compat:/elsewhere:$LD_LIBRARY_PATH"


def test_the_lookup_reads_it_as_it_is(recording: Path) -> None:
    assert read_recording(str(recording), recording) == observe_recording(recording)


def test_a_jetson_in_a_container_is_recorded_as_one(tmp_path: Path) -> None:
    """The kernel's suffix, the release of Jetson Linux, the board, its library and its mount: the plan needs all."""
    tegra = "usr/lib/aarch64-linux-gnu/nvidia"
    mount = f"2 1 0:1 /{SECRETS['user']} /{tegra}/libcuda.so.1.1 ro - ext4 x rw\n"
    files = {
        "etc/nv_tegra_release": f"# R36 (release), REVISION: 4.3, GCID: 1, DATE: {SECRETS['builder']}\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/sys/kernel/osrelease": f"5.15.148-tegra-{SECRETS['project']}\n",
        "proc/self/mountinfo": f"1 0 0:1 / / rw - ext4 x rw\n{mount}",
        f"{tegra}/libcuda.so.1.1": "",
        "dev/nvhost-gpu": "",
        "run/systemd/container": "docker\n",
    }
    for name, text in files.items():
        path = tmp_path / "board" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "board" / tegra / "libcuda.so.1").symlink_to("libcuda.so.1.1")
    done = record(tmp_path / "board", tmp_path / "recording")
    assert done.returncode == 0
    assert not [
        name for name in ("builder", "project", "user") if SECRETS[name] in str(contents(tmp_path / "recording"))
    ]
    observed = observe_recording(tmp_path / "recording")
    platform = observed["platform"]
    assert (platform["l4t"], platform["board"]) == ("36.4.3", "NVIDIA Jetson Orin Nano Developer Kit")
    assert platform["kernel"] == "5.15.148-tegra"
    assert platform["container"] == {"engine": "docker", "injected": True, "driver_dir": f"/{tegra}"}
    assert (observed["driver"]["status"], len(observed["devices"])) == ("ok", 1)


def test_the_library_is_an_elf_file_with_its_note(recording: Path) -> None:
    data = (recording / "root/usr/local/cuda-13.0/compat/libcuda.so.580.95.05").read_bytes()
    table, size, count = struct.unpack_from("<40xQ10xHH", data)
    assert len(data) == table + size * count


def test_links_stay_inside(recording: Path) -> None:
    root = recording / "root"
    links = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_symlink()}
    assert set(links) == set(LINKS) - {"usr/lib/x86_64-linux-gnu/libcuda.so"}
    assert all(path.resolve().is_relative_to(root) and path.exists() for path in links.values())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("etc/os-release", "ID=ubuntu\nPRETTY_NAME=mallorybee\n", id="name"),
        pytest.param("usr/bin/nvidia-smi.txt", f"| {SECRETS['hardware address']} |\n", id="hardware-address"),
        pytest.param("usr/bin/nvidia-smi.txt", f"| {SECRETS['uuid']} |\n", id="uuid"),
        pytest.param("usr/bin/nvidia-smi.txt", f"| {SECRETS['address']} |\n", id="address"),
        pytest.param("usr/bin/nvidia-smi.txt", f"| {SECRETS['ipv6']} |\n", id="ipv6"),
    ],
)
def test_what_slips_through_the_shapes_deletes_the_recording(host: Path, tmp_path: Path, file: str, text: str) -> None:
    (host / file).write_text(text)
    done = record(host, tmp_path / "recording")
    assert done.returncode == 1
    assert "it still contained private data" in done.stderr
    assert not (tmp_path / "recording").exists()


def test_an_archive_and_a_folder_that_is_there(host: Path, tmp_path: Path) -> None:
    assert record(host, tmp_path / "pod.tar.gz").returncode == 0
    with tarfile.open(tmp_path / "pod.tar.gz") as archive:
        assert "pod/root/etc/os-release" in archive.getnames()
    assert not (tmp_path / "pod").exists()
    done = record(host, tmp_path / "pod.tar.gz")
    assert (done.returncode, done.stderr) == (
        2,
        f"{tmp_path}/pod.tar.gz already exists; name another folder or file.\n",
    )


def test_this_very_machine_is_recorded(tmp_path: Path) -> None:
    done = record(None, tmp_path / "recording")
    assert done.returncode == 0, done.stderr
    facts = observe_recording(tmp_path / "recording")
    assert facts["platform"]["os"]["id"]
    assert facts["platform"]["arch"] == os.uname().machine


@pytest.fixture(scope="module")
def fixtures() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "scripts" / "fixtures.py"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_recording_becomes_a_fixture_and_a_pod(
    recording: Path, tmp_path: Path, fixtures: dict[str, Any], packed: bool
) -> None:
    given = recording
    if packed:
        given = tmp_path / "recording.tar.gz"
        with tarfile.open(given, "w:gz") as archive:
            archive.add(recording, "recording")
    (tmp_path / "fixtures").mkdir()
    written = fixtures["write_fixture"](given, "h200-test", tmp_path / "fixtures")
    assert [path.name for path in written] == ["h200-test", "h200-test-facts.json", "simulated-driver.conf"]
    assert written[2].read_text() == (
        "driver 580.159.04\ncuda 13.0\nflavor open\nwsl2 no\nfault none\ngpu 9.0 14 143771 0 NVIDIA H200\n"
    )
    assert read_recording(str(written[1]), tmp_path) == observe_recording(written[0])


@pytest.mark.parametrize(
    ("name", "prepare", "words"),
    [
        ("h200", "none", "does not exist; give the output of scripts/record.sh"),
        ("h200", "empty", "has no folder root; make it with scripts/record.sh"),
        ("h200", "text", "is neither a folder nor an archive; make one with scripts/record.sh"),
        ("H 200", "empty", "'H 200' is not a fixture name; expected one such as h200-driver-580"),
        ("taken", "empty", "already exists; remove it first, or choose another name"),
    ],
)
def test_what_cannot_become_a_fixture_says_why(
    tmp_path: Path, fixtures: dict[str, Any], name: str, prepare: str, words: str
) -> None:
    recording = tmp_path / "recording"
    (tmp_path / "taken").mkdir()
    if prepare == "empty":
        recording.mkdir()
    elif prepare == "text":
        recording.write_text("no archive")
    with pytest.raises(fixtures["FixtureError"], match=words):
        fixtures["write_fixture"](recording, name, tmp_path)


@pytest.mark.parametrize(
    ("changes", "conf"),
    [
        ({"driver": {"version": None}}, None),
        ({"devices": []}, "driver 1\ncuda 2\nflavor proprietary\nwsl2 yes\nfault absent\n"),
    ],
)
def test_a_host_without_driver_or_gpu(fixtures: dict[str, Any], changes: dict[str, Any], conf: str | None) -> None:
    facts = {"driver": {"version": "1", "cuda": "2", "flavor": "windows"}, "platform": {"kind": "wsl2"}, "devices": []}
    assert fixtures["render_driver"]({**facts, **changes}) == conf


def test_a_gpu_that_tells_too_little(fixtures: dict[str, Any]) -> None:
    device = {"index": 0, "compute_capability": None, "brand_id": 1, "memory_mib": 1, "mig": False, "name": "A"}
    facts = {"driver": {"version": "1", "cuda": "2", "flavor": "open"}, "platform": {"kind": "vm"}, "devices": [device]}
    with pytest.raises(fixtures["FixtureError"], match="does not contain the compute_capability of GPU 0"):
        fixtures["render_driver"](facts)
