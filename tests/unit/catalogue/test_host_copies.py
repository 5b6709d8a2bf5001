"""What hosts know by heart, as they have no catalogue, is what the catalogue says."""

from __future__ import annotations

from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import BRANDS
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import ERRORS
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.coverage import TEGRA
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

UNKNOWN = "0"  # NVML_BRAND_UNKNOWN, which an observation tells as no brand
NOT_OF_A_START = {"36"}  # met by a call after the start


def test_brands(known: Catalogue) -> None:
    rows = known["gpus"]["brands"]
    assert {int(number): row["name"] for number, row in rows.items() if number != UNKNOWN} == BRANDS


def test_integrated_gpus(known: Catalogue) -> None:
    rows = known["gpus"]["capabilities"]
    assert {int(name.replace(".", "")) for name, row in rows.items() if row["tegra"]} == TEGRA


def test_cuda_errors(known: Catalogue) -> None:
    rows = known["drivers"]["errors"]
    explained = {int(code): row["name"] for code, row in rows.items() if code not in NOT_OF_A_START}
    assert {code: ERRORS.get(code) for code in explained} == explained
