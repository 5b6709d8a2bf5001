# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import (
    ROOT,
    RecordingError,
    observe_recording,
    parse_banner,
    parse_collect_env,
    parse_facts,
    parse_recording,
    parse_smi_xml,
)

H200 = Path(__file__).parents[4] / "fixtures" / "h200-driver-580"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in H200.glob("*.*") if path.suffix != ".md"}
BANNER_610 = """\
| NVIDIA-SMI 610.57.04     KMD Version: 610.57.04     CUDA UMD Version: 13.3     |
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:3B:00.0 Off |                    0 |
| N/A   39C    P0            122W /  700W |       0MiB /  81559MiB |      0%      Default |
|   1  NVIDIA H100 80GB HBM3          On  |   00000000:5E:00.0 Off |                    0 |
| N/A   39C    P0            122W /  700W |       0MiB /  81559MiB |      0%      Default |
"""


def test_the_recorded_h200() -> None:
    assert parse_recording(TEXTS) == {
        "schema": 2,
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
            }
        ],
        "platform": {
            "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
            "arch": "x86_64",
            "glibc": "2.39",
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


def test_its_banner_tells_the_same() -> None:
    by_xml, by_banner = parse_smi_xml(TEXTS["nvidia-smi-q.xml"]), parse_banner(TEXTS["nvidia-smi.txt"])
    assert by_banner["driver"] == by_xml["driver"]
    (device,) = by_banner["devices"]
    assert device == {key: by_xml["devices"][0][key] for key in ("index", "name", "pci_id", "memory_mib")}


def test_a_banner_of_the_drivers_since_610() -> None:
    found = parse_banner(BANNER_610)
    assert found["driver"] == {"version": "610.57.04", "cuda": "13.3"}
    assert [(device["index"], device["pci_id"]) for device in found["devices"]] == [
        (0, "0000:3b:00.0"),
        (1, "0000:5e:00.0"),
    ]


def test_the_kernels_text_alone_tells_the_driver() -> None:
    facts = parse_recording({"proc-driver-nvidia.txt": TEXTS["proc-driver-nvidia.txt"]})
    assert facts["driver"] == {
        "status": "no_device",
        "version": "580.159.04",
        "branch": 580,
        "cuda": None,
        "flavor": "open",
        "source": "proc",
    }


@pytest.mark.parametrize("text", ["", "nvidia-smi: command not found\n"])
def test_what_is_not_told_is_absent(text: str) -> None:
    assert parse_recording({"nvidia-smi.txt": text, "collect_env.txt": text}) == {"schema": 2}


def test_a_gpu_without_ecc_and_with_mig() -> None:
    text = """<nvidia_smi_log><driver_version>570.26</driver_version><cuda_version>12.8</cuda_version>
    <gpu id="00000000:01:00.0"><product_name>NVIDIA A100</product_name><product_brand>NVIDIA RTX</product_brand>
    <mig_mode><current_mig>Enabled</current_mig></mig_mode><ecc_mode><current_ecc>N/A</current_ecc></ecc_mode></gpu>
    </nvidia_smi_log>"""
    (device,) = parse_smi_xml(text)["devices"]
    assert [device[key] for key in ("brand", "brand_id", "mig", "ecc", "memory_mib")] == [
        "nvidia_rtx",
        13,
        True,
        None,
        None,
    ]


def test_a_brand_that_nvml_does_not_name_is_unknown() -> None:
    text = "<nvidia_smi_log><gpu id='00000000:01:00.0'><product_brand>Novel</product_brand></gpu></nvidia_smi_log>"
    (device,) = parse_smi_xml(text)["devices"]
    assert (device["brand"], device["brand_id"]) == (None, None)


@pytest.mark.parametrize(
    ("line", "system"),
    [
        ("OS: Debian GNU/Linux 12 (bookworm) (x86_64)", {"id": "debian", "version": "12", "family": "debian"}),
        ("OS: Ubuntu 22.04.5 LTS (aarch64)", {"id": "ubuntu", "version": "22.04", "family": "debian"}),
    ],
)
def test_the_system_of_collect_env(line: str, system: dict[str, str]) -> None:
    platform = parse_collect_env(line + "\n")["platform"]
    assert platform["os"] == system
    assert platform["arch"] in line


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


def test_xml_that_is_none() -> None:
    with pytest.raises(
        RecordingError, match=r"nvidia-smi-q\.xml is not XML \(.*\); record it again with nvidia-smi -q -x"
    ):
        parse_smi_xml("No devices were found")
