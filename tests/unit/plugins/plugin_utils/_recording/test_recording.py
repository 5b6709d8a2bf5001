# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._observe import host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import (
    SCHEMA,
    parse_facts,
    parse_recording,
    read_folder,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.smi import parse_banner, parse_smi_xml

Decide = Callable[..., dict[str, Any]]
H200 = Path(__file__).parents[4] / "fixtures" / "h200-driver-580"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in H200.glob("*.*") if path.suffix != ".md"}


CASES = Path(__file__).parents[4] / "fixtures" / "texts"
WINDOWS = """\
| NVIDIA-SMI 566.36                 Driver Version: 566.36         CUDA Version: 12.7     |
|   0  NVIDIA GeForce RTX 4090      WDDM  |   00000000:01:00.0  On |                  Off |
|  0%   41C    P8             21W /  450W |    1262MiB /  24564MiB |      2%      Default |
"""


def read_case(case: str, name: str) -> str:
    """A text as a host gave it."""
    return (CASES / case / name).read_text(encoding="utf-8")


def test_the_recorded_h200() -> None:
    assert parse_recording(TEXTS) == {
        "schema": 2,
        "recorded": True,
        "driver": {
            "status": "ok",
            "version": "580.159.04",
            "branch": 580,
            "cuda": "13.0",
            "flavor": "open",
            "source": "nvidia_smi",
        },
        "devices": [
            {
                "index": 0,
                "name": "NVIDIA H200",
                "uuid": "GPU-00000000-0000-0000-0000-000000000000",
                "brand": "nvidia",
                "brand_id": 14,
                "memory_mib": 143771,
                "mig": False,
                "pci_id": "0000:00:06.0",
                "ecc": True,
                "compute_mode": "default",
            }
        ],
        "platform": {
            "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
            "arch": "x86_64",
            "glibc": "2.39",
            "libc": "glibc",
            "kernel": "6.18.44-fc-v657-gpu",
            "compiler": {"version": "13.3.0"},
            "pythons": [{"path": "python3.12", "version": "3.12.3"}],
            "cpus": 16,
        },
        "installed": {
            "pytorch": [
                {
                    "version": "2.11.0",
                    "local": "2.11.0+cu130",
                    "cuda": "13.0",
                    "managed": False,
                    "python_version": "3.12",
                }
            ]
        },
    }


def test_the_facts_are_of_the_schema_of_a_live_host() -> None:
    assert host.SCHEMA == SCHEMA


def test_its_banner_tells_the_same() -> None:
    by_xml, by_banner = parse_smi_xml(TEXTS["nvidia-smi-q.xml"]), parse_banner(TEXTS["nvidia-smi.txt"])
    assert by_banner["driver"] == by_xml["driver"]
    (device,) = by_banner["devices"]
    assert device == {key: by_xml["devices"][0][key] for key in device}
    assert set(device) == {"index", "name", "pci_id", "memory_mib", "mig", "compute_mode"}


def test_the_kernels_text_alone_tells_the_driver_and_nothing_of_gpus() -> None:
    facts = parse_recording({"proc-driver-nvidia.txt": TEXTS["proc-driver-nvidia.txt"]})
    assert facts == {
        "schema": 2,
        "recorded": True,
        "driver": {"version": "580.159.04", "branch": 580, "cuda": None, "flavor": "open", "source": "proc"},
    }


@pytest.mark.parametrize("text", ["", "bash: nvidia-smi: command not found\n"])
def test_what_is_not_told_is_absent(text: str) -> None:
    assert parse_recording({"nvidia-smi.txt": text, "collect_env.txt": ""}) == {"schema": 2, "recorded": True}


def test_a_recording_that_tells_of_no_driver_is_not_a_host_without_one(decide: Decide) -> None:
    facts = parse_recording({"collect_env.txt": "OS: Ubuntu 24.04.3 LTS (x86_64)\n"})
    decision = decide(facts)
    assert (decision["verdict"], decision["summary"]) == (
        "blocked",
        "blocked: whether this host has a driver or a GPU is unknown",
    )
    assert decision["remedies"] == ["Record what nvidia-smi prints on it as well, or set cuda: none for the CPU."]
    assert decide(facts, cuda="none")["route"] == "cpu"


def test_texts_of_two_hosts_are_refused() -> None:
    texts = {"nvidia-smi.txt": TEXTS["nvidia-smi.txt"], "collect_env.txt": "Nvidia driver version: 570.26\n"}
    with pytest.raises(RecordingError) as refused:
        parse_recording(texts)
    assert str(refused.value) == (
        "its texts are of two hosts, or of two times: nvidia-smi.txt of driver 580.159.04, collect_env.txt of driver "
        "570.26; record them again together."
    )


def test_collect_env_alone_tells_driver_and_gpus(decide: Decide) -> None:
    facts = parse_recording({"collect_env.txt": read_case("collect-env-alone", "collect_env.txt")})
    assert (facts["driver"]["status"], facts["driver"]["version"]) == ("ok", "580.95.05")
    assert facts["devices"] == [{"index": 0, "name": "NVIDIA H100 80GB HBM3"}]
    assert decide(facts)["pytorch"]["cuda"].startswith("13.")


def test_a_mismatch_is_told_with_both_versions(decide: Decide) -> None:
    names = ("nvidia-smi.txt", "proc-driver-nvidia.txt")
    facts = parse_recording({name: read_case("driver-library-mismatch", name) for name in names})
    decision = decide(facts)
    assert (decision["verdict"], decision["now"]["summary"]) == (
        "broken",
        "the kernel runs driver 535.183.01 and its libraries on the disk are of 580.95 (driver/library mismatch)",
    )


def test_a_lost_gpu_is_no_sound_host(decide: Decide) -> None:
    facts = parse_recording({"nvidia-smi.txt": read_case("lost-gpu", "nvidia-smi.txt")})
    assert [device["name"] for device in facts["devices"]] == ["NVIDIA A100-SXM4-80GB"]
    decision = decide(facts)
    assert decision["verdict"] == "broken"
    assert "a GPU that does not answer" in decision["now"]["summary"]


def test_a_driver_that_does_not_answer_is_no_host_for_the_cpu(decide: Decide) -> None:
    decision = decide(parse_recording({"nvidia-smi.txt": read_case("smi-failed", "nvidia-smi.txt")}))
    assert (decision["verdict"], decision["now"]["summary"]) == (
        "broken",
        "nvidia-smi could not reach the driver in the kernel",
    )
    assert any("NVIDIA-SMI has failed because it couldn't communicate" in text for text in decision["warnings"])


def test_wsl2_is_known_by_its_kernel_and_judged_by_the_floor_of_windows(decide: Decide) -> None:
    names = ("nvidia-smi.txt", "collect_env.txt")
    facts = parse_recording({name: read_case("wsl2-floor", name) for name in names})
    assert (facts["platform"]["kind"], facts["driver"]["flavor"]) == ("wsl2", "windows")
    decision = decide(facts, cuda="12.6", on_old_driver=["fail"])
    assert decision["verdict"] == "blocked"
    assert any("Windows driver 526.98 is older than 528.33" in entry["because"] for entry in decision["rejected"])


def test_a_driver_of_windows_is_taken_for_wsl2_and_told() -> None:
    facts = parse_recording({"nvidia-smi.txt": WINDOWS})
    assert (facts["platform"], facts["driver"]["flavor"]) == ({"kind": "wsl2"}, "windows")
    assert facts["problems"] == ["nvidia-smi ran on a driver of Windows: the plan is for WSL2 on that driver"]


def test_a_torch_that_found_no_cuda_is_not_used_as_it_is() -> None:
    text = "PyTorch version: 2.9.1+cu130\nCUDA used to build PyTorch: 13.0\nIs CUDA available: False\n"
    facts = parse_recording({"collect_env.txt": text})
    assert facts["installed"]["pytorch"][0]["broken"] == ["CUDA, by its own word"]
    assert facts["problems"] == ["collect_env.txt: PyTorch said that CUDA is not available there"]


def test_a_query_alone_tells_the_host() -> None:
    text = "name, driver_version, compute_cap\nNVIDIA H200, 580.159.04, 9.0\nNVIDIA H200, 580.159.04, 9.0\n"
    facts = parse_recording({"nvidia-smi-query.csv": text})
    assert (facts["driver"]["status"], facts["driver"]["version"]) == ("ok", "580.159.04")
    assert facts["devices"] == [
        {"index": 0, "name": "NVIDIA H200", "compute_capability": "9.0"},
        {"index": 1, "name": "NVIDIA H200", "compute_capability": "9.0"},
    ]


def test_a_query_adds_what_the_table_lacks() -> None:
    query = "index, name, compute_cap\n0, NVIDIA H200, 9.0\n"
    facts = parse_recording({"nvidia-smi.txt": TEXTS["nvidia-smi.txt"], "nvidia-smi-query.csv": query})
    assert (facts["devices"][0]["compute_capability"], facts["devices"][0]["memory_mib"]) == ("9.0", 143771)


@pytest.mark.parametrize(
    "wrap", [lambda facts: facts, lambda facts: {"gpu": facts}, lambda facts: {"ansible_facts": {"gpu": facts}}]
)
def test_facts_are_taken_as_they_are(wrap: object) -> None:
    facts = {"schema": 1, "driver": {"status": "ok"}, "devices": []}
    assert callable(wrap)
    assert parse_facts(json.dumps(wrap(facts))) == facts
    assert parse_recording({**TEXTS, "gpu.json": json.dumps(wrap(facts))}) == facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"not JSON \(.*\); record it again with podsmith\.gpu\.gpu_facts"),
        ("[]", "none of platform, driver and devices; expected what podsmith.gpu.gpu_facts returned"),
        ('{"gpu": {"a": 1}}', "none of platform, driver and devices"),
    ],
)
def test_facts_that_are_none(text: str, words: str) -> None:
    with pytest.raises(RecordingError, match=words):
        parse_facts(text)


def test_an_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pod.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(RecordingError, match=r"pod\.tar\.gz is an archive; unpack it and name the"):
        read_folder(tmp_path / "pod.tar.gz")
