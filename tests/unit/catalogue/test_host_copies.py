"""What hosts know by heart, as they have no catalogue, is what the catalogue says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CUDA_ERRORS, error_name
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import BRANDS
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.coverage import JOINED, TEGRA
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

UNKNOWN = "0"  # NVML_BRAND_UNKNOWN, which an observation tells as no brand
UNEXPLAINED = {0, 1, 2}  # success, and errors of a program's own
ROOT = Path(__file__).resolve().parents[3]


def test_brands(known: Catalogue) -> None:
    rows = known["gpus"]["brands"]
    assert {int(number): row["name"] for number, row in rows.items() if number != UNKNOWN} == BRANDS


def test_integrated_gpus(known: Catalogue) -> None:
    rows = known["gpus"]["capabilities"]
    assert {int(name.replace(".", "")) for name, row in rows.items() if row["tegra"]} == TEGRA


def test_integrated_gpus_that_run_code_for_discrete_ones(known: Catalogue) -> None:
    rows = {name: row["discrete_code"] for name, row in known["gpus"]["capabilities"].items() if "discrete_code" in row}
    found = {int(name.replace(".", "")): tuple(map(int, since.split("."))) for name, since in rows.items()}
    assert found == JOINED
    assert found.keys() <= TEGRA


def test_cuda_errors(known: Catalogue) -> None:
    """What the probe calls an error is what the catalogue explains."""
    rows = known["drivers"]["errors"]
    named = {code: name for code, name in CUDA_ERRORS.items() if code not in UNEXPLAINED}
    assert named == {int(code): row["name"] for code, row in rows.items()}
    assert (error_name(803), error_name(719)) == ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "CUDA_ERROR_719")


def tables(path: Path) -> Iterator[dict[int, str]]:
    """Every literal in a Python file that maps codes to names of CUDA's errors."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found = {
                key.value: value.value
                for key, value in pairs
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
                if isinstance(key.value, int) and not isinstance(key.value, bool)
            }
            if any(str(name).startswith(("CUDA_ERROR_", "cudaError")) for name in found.values()):
                yield found


def test_no_table_names_an_error_differently() -> None:
    places = ("plugins/**/*.py", "roles/*/files/*.py", "scripts/*.py")
    found = {path: one for place in places for path in ROOT.glob(place) for one in tables(path)}
    assert ROOT / "plugins/module_utils/_host/names.py" in found
    assert {str(path): one for path, one in found.items() if not one.items() <= CUDA_ERRORS.items()} == {}
