"""What nvidia-smi prints: tables of many releases and systems, and what it says in place of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.smi import (
    find_status,
    parse_banner,
    parse_query,
    parse_smi_xml,
)

CASES = Path(__file__).parents[4] / "fixtures" / "texts"
BANNER_610 = """\
| NVIDIA-SMI 610.57.04     KMD Version: 610.57.04     CUDA UMD Version: 13.3     |
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:3B:00.0 Off |                    0 |
| N/A   39C    P0            122W /  700W |       0MiB /  81559MiB |      0%      Default |
|   1  NVIDIA H100 80GB HBM3          On  |   00000000:5E:00.0 Off |                    0 |
| N/A   39C    P0            122W /  700W |       0MiB /  81559MiB |      0%      Default |
"""
OLD = """\
| NVIDIA-SMI 450.80.02    Driver Version: 450.80.02    CUDA Version: 11.0     |
|   0  GeForce RTX 208...  Off  | 00000000:65:00.0 Off |                  N/A |
| 30%   45C    P8    20W / 250W |      1MiB / 11019MiB |      0%   E. Process |
|                               |                      |                  N/A |
"""
MIG = """\
| NVIDIA-SMI 550.54.15              Driver Version: 550.54.15     CUDA Version: 12.4     |
|   0  NVIDIA A100-SXM4-40GB          On  |   00000000:4F:00.0 Off |                   On |
| N/A   36C    P0             62W /  400W |      87MiB /  40960MiB |     N/A      Default |
|                                         |                        |              Enabled |
+-----------------------------------------+------------------------+----------------------+
| MIG devices:                                                                            |
|  0    7   0   0  |              12MiB /  4864MiB    | 14      0 |  1   0    0    0    0 |
"""


def case(name: str) -> str:
    return (CASES / name / "nvidia-smi.txt").read_text(encoding="utf-8")


def quoted(text: str) -> str:
    return "".join(f"> {line}\r\n" for line in text.splitlines())


DEVICES: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    ("since-610", BANNER_610, [(0, "NVIDIA H100 80GB HBM3", 81559), (1, "NVIDIA H100 80GB HBM3", 81559)]),
    (
        "quoted-in-an-issue",
        quoted(BANNER_610),
        [(0, "NVIDIA H100 80GB HBM3", 81559)] * 1 + [(1, "NVIDIA H100 80GB HBM3", 81559)],
    ),
    (
        "padded",
        "   " + BANNER_610.replace("\n", "   \n   "),
        [(0, "NVIDIA H100 80GB HBM3", 81559), (1, "NVIDIA H100 80GB HBM3", 81559)],
    ),
    ("cut-off-names", OLD, [(0, "GeForce RTX 208...", 11019)]),
    ("cut-off-below-a-name", "\n".join(BANNER_610.splitlines()[:2]), [(0, "NVIDIA H100 80GB HBM3", None)]),
    ("slices-are-no-gpus", MIG, [(0, "NVIDIA A100-SXM4-40GB", 40960)]),
    ("memory-not-supported", case("memory-not-supported"), [(0, "NVIDIA GB10", None)]),
    ("one-of-two-lost", case("lost-gpu"), [(0, "NVIDIA A100-SXM4-80GB", 81559)]),
    (
        "listed",
        (
            "GPU 0: NVIDIA H200 (UUID: GPU-0a1b)\n  MIG 1g.18gb     Device  0: (UUID: MIG-5c)\n"
            "GPU 1: NVIDIA H200 (UUID: GPU-0a1c)\n"
        ),
        [(0, "NVIDIA H200", None), (1, "NVIDIA H200", None)],
    ),
    (
        "all-values",
        (
            "Driver Version                            : 580.95.05\nCUDA Version                              : 13.0\n"
            "GPU 00000000:3B:00.0\n    Product Name                          : NVIDIA L40S\n"
        ),
        [(0, "NVIDIA L40S", None)],
    ),
]


@pytest.mark.parametrize(("text", "devices"), [pytest.param(*row, id=name) for name, *row in DEVICES])
def test_the_gpus_of_a_text(text: str, devices: list[tuple[Any, ...]]) -> None:
    found = parse_banner(text)["devices"]
    assert [(device["index"], device["name"], device.get("memory_mib")) for device in found] == devices


def test_the_driver_of_a_table() -> None:
    assert parse_banner(BANNER_610)["driver"] == {"version": "610.57.04", "cuda": "13.3"}
    assert parse_banner(OLD)["driver"] == {"version": "450.80.02", "cuda": "11.0"}


def test_the_modes_of_a_gpu() -> None:
    assert parse_banner(OLD)["devices"][0]["compute_mode"] == "exclusive_process"
    assert "mig" not in parse_banner(OLD)["devices"][0]
    assert parse_banner(MIG)["devices"][0]["mig"] is True
    listed = parse_banner("GPU 0: NVIDIA H200 (UUID: GPU-0a1b)\n  MIG 1g.18gb     Device  0: (UUID: MIG-5c)\n")
    assert listed["devices"] == [{"index": 0, "name": "NVIDIA H200", "uuid": "GPU-0a1b", "mig": True}]


STATUSES = [
    ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n", "mismatch"),
    (
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n"
        ),
        "silent",
    ),
    ("Failed to initialize NVML: Unknown Error\n", "silent"),
    ("Failed to initialize NVML: Insufficient Permissions\n", "silent"),
    ("Failed to initialize NVML: GPU access blocked by the operating system\n", "silent"),
    (
        "Unable to determine the device handle for GPU 0000:50:00.0: GPU is lost.  Reboot the system\n",
        "lost",
    ),
    ("Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n", "lost"),
    ("No devices were found\n", "no_device"),
    (BANNER_610, None),
]


@pytest.mark.parametrize(("text", "status"), STATUSES)
def test_what_is_said_in_place_of_a_table(text: str, status: str | None) -> None:
    assert find_status(text) == status
    assert parse_banner(text)["driver"].get("status") == status


ORIN = """\
| NVIDIA-SMI 540.4.0                Driver Version: 540.4.0      CUDA Version: 12.6     |
|   0  Orin (nvgpu)                  N/A  | N/A              N/A |                  N/A |
| N/A   N/A  N/A               N/A /  N/A | Not Supported        |     N/A          N/A |
|                                         |                      |                  N/A |
+-----------------------------------------+----------------------+----------------------+
"""


def test_a_jetson_has_a_gpu_without_a_bus_address() -> None:
    # https://github.com/dusty-nv/jetson-containers/issues/1403
    device = {"index": 0, "name": "Orin (nvgpu)", "pci_id": None, "memory_mib": None}
    assert parse_banner(ORIN)["devices"] == [device]


def test_a_tool_without_its_library_says_nothing_of_the_driver() -> None:
    said = "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system."
    more = "Please make sure that the NVIDIA Display Driver is properly installed and present in your system."
    assert parse_banner(f"{said} {more}\n") == {"driver": {"said": f"{said} {more}"}}


def test_no_devices_are_none_and_no_table_is_unknown() -> None:
    assert parse_banner("No devices were found\n")["devices"] == []
    assert "devices" not in parse_banner("Failed to initialize NVML: Unknown Error\n")
    assert "devices" not in parse_banner("| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0 |")


def test_a_failed_gpu_is_told() -> None:
    driver = parse_banner(case("lost-gpu"))["driver"]
    assert (driver["status"], driver["said"]) == ("lost", "a GPU whose row says ERR!")


@pytest.mark.parametrize(
    ("tool", "driver", "windows"),
    [("525.85.05", "526.98", True), ("580.95.05", "580.95.05", False), ("570.26", "570.26", False)],
)
def test_a_driver_of_windows_under_linux(tool: str, driver: str, windows: bool) -> None:
    text = f"| NVIDIA-SMI {tool}      Driver Version: {driver}      CUDA Version: 12.0 |"
    assert parse_banner(text)["driver"].get("windows", False) is windows


def test_another_text_is_refused_by_name() -> None:
    with pytest.raises(RecordingError) as refused:
        parse_banner("\nWed Nov 11 2026\nrocm-smi output\n")
    assert str(refused.value) == (
        'nvidia-smi.txt is not what nvidia-smi prints: it begins with "Wed Nov 11 2026"; expected its table, or its '
        "error. Record it again with: nvidia-smi > nvidia-smi.txt."
    )


def test_a_gpu_without_ecc_and_with_mig() -> None:
    text = """<nvidia_smi_log><driver_version>570.26</driver_version><cuda_version>12.8</cuda_version>
    <gpu id="00000000:01:00.0"><product_name>NVIDIA A100</product_name><product_brand>NVIDIA RTX</product_brand>
    <mig_mode><current_mig>Enabled</current_mig></mig_mode><ecc_mode><current_ecc>N/A</current_ecc></ecc_mode></gpu>
    </nvidia_smi_log>"""
    (device,) = parse_smi_xml(text)["devices"]
    keys = ("brand", "brand_id", "mig", "ecc", "memory_mib")
    assert [device[key] for key in keys] == ["nvidia_rtx", 13, True, None, None]


def test_a_brand_that_nvml_does_not_name_is_unknown() -> None:
    text = "<nvidia_smi_log><gpu id='00000000:01:00.0'><product_brand>Novel</product_brand></gpu></nvidia_smi_log>"
    (device,) = parse_smi_xml(text)["devices"]
    assert (device["brand"], device["brand_id"]) == (None, None)


@pytest.mark.parametrize("word", ["N/A", "[N/A]", "[Not Supported]", "[Unknown Error]", "[Insufficient Permissions]"])
def test_no_value_is_unknown(word: str) -> None:
    text = f"<nvidia_smi_log><gpu id='00000000:01:00.0'><product_name>{word}</product_name></gpu></nvidia_smi_log>"
    assert parse_smi_xml(text)["devices"][0]["name"] is None


def test_a_lost_gpu_in_xml_is_none_of_that_name() -> None:
    text = """<nvidia_smi_log><driver_version>550.54.15</driver_version>
    <gpu id="00000000:4F:00.0"><product_name>NVIDIA A100</product_name></gpu>
    <gpu id="00000000:50:00.0"><product_name>[GPU is lost]</product_name></gpu></nvidia_smi_log>"""
    found = parse_smi_xml(text)
    assert ([device["name"] for device in found["devices"]], found["driver"]["status"]) == (["NVIDIA A100"], "lost")


def test_xml_without_a_gpu_says_so() -> None:
    text = "<nvidia_smi_log><driver_version>550.54.15</driver_version><attached_gpus>0</attached_gpus></nvidia_smi_log>"
    assert parse_smi_xml(text)["driver"]["status"] == "no_device"


def test_what_is_said_in_place_of_xml() -> None:
    assert parse_smi_xml("No devices were found") == {"driver": {"status": "no_device"}, "devices": []}
    assert parse_smi_xml("Failed to initialize NVML: Unknown Error")["driver"]["status"] == "silent"


@pytest.mark.parametrize("text", ["nvidia-smi -q -x", "<nvidia_smi_log><gpu id='0'>"])
def test_xml_that_is_none(text: str) -> None:
    with pytest.raises(
        RecordingError, match=r"nvidia-smi-q\.xml is not XML \(.*\); record it again with nvidia-smi -q -x"
    ):
        parse_smi_xml(text)


def test_a_query_without_a_header_has_the_fields_of_gpu_facts() -> None:
    line = "0, NVIDIA H200, GPU-0, 580.159.04, 143771 MiB, 00000000:00:06.0, Enabled, Disabled, 9.0\n"
    found = parse_query(line)
    assert (found["driver"], found["devices"][0]["memory_mib"]) == ({"version": "580.159.04"}, 143771)
    assert parse_query("") == {"driver": {}}
