"""A host as it was observed or recorded: what is read, and what a text says of another thing than the driver."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import parse_recording
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import Overrides

TABLE = """\
| NVIDIA-SMI {driver}             Driver Version: {driver}     CUDA Version: {cuda}     |
|   0  NVIDIA GeForce RTX 4090        Off |   00000000:01:00.0 Off |                  Off |
|  0%   36C    P8             12W /  450W |      15MiB /  24564MiB |      0%      Default |
"""


def recorded(driver: str, cuda: str) -> dict[str, Any]:
    return parse_recording({"nvidia-smi.txt": TABLE.format(driver=driver, cuda=cuda)})


@pytest.mark.parametrize(
    ("driver", "cuda", "level"),
    [
        ("535.183.01", "12.2", "12.2"),
        ("535.183.01", "12.8", "12.2"),  # in a container whose compat library nvidia-smi loads
        ("560.35.03", "13.0", "12.6"),
        ("560.35.03", "N/A", "12.6"),
        ("573.24", "12.8", "12.8"),  # a branch that is not listed, and a level that only the listed one below it has
        ("999.10.01", "19.9", "19.9"),  # newer than all that are listed
    ],
)
def test_a_compat_library_does_not_make_the_driver_newer(driver: str, cuda: str, level: str, known: Catalogue) -> None:
    assert read_host(recorded(driver, cuda), Overrides(), known).driver_cuda == level


def test_what_a_compat_library_prints_is_no_native_route(known: Catalogue) -> None:
    plan = to_decision(resolve(recorded("535.183.01", "12.8"), {"toolkit": {"provider": "none"}}, known))
    assert plan["route"] == "minor_version"
    assert "driver 535.183.01 supports CUDA 12.2" in str(plan["versions"])
