"""What is asked before a change is made."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import load_catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.fetches import needs_pypi, required_sources


def decision(*roles: str, action: str = "install", **parts: Any) -> dict[str, Any]:
    return {"changes": [{"role": role, "action": action} for role in roles], **parts}


APT = {"provider": "apt"}
INDEX = {"provider": "pytorch_index", "index": "cu130"}


@pytest.mark.parametrize(
    ("decided", "mirrors", "urls", "pip"),
    [
        pytest.param(decision(), {}, [], False, id="nothing-pending"),
        pytest.param(decision("pytorch", action="prove", pytorch=INDEX), {}, [], False, id="a-proof-fetches-nothing"),
        pytest.param(
            decision("pytorch", pytorch=INDEX),
            {},
            ["https://download.pytorch.org/whl/cu130/torch/"],
            True,
            id="pytorch-index",
        ),
        pytest.param(
            decision("pytorch", pytorch=INDEX),
            {"pytorch_index_url": "http://mirror/cu130/"},
            ["http://mirror/cu130/torch/"],
            True,
            id="pytorch-mirror",
        ),
        pytest.param(decision("pytorch", pytorch={"provider": "host_wheels"}), {}, [], True, id="host-wheels"),
        pytest.param(
            decision("cuda_toolkit", "forward_compat", toolkit=APT, forward_compat=APT),
            {"nvidia_repository_url": "http://mirror/repos/"},
            ["http://mirror/repos/"],
            False,
            id="apt-asked-once",
        ),
        pytest.param(
            decision("cuda_toolkit", toolkit={"provider": "rpm"}),
            {},
            ["https://developer.download.nvidia.com/compute/cuda/repos/"],
            False,
            id="rpm",
        ),
        pytest.param(decision("cuda_toolkit", toolkit={"provider": "pypi"}), {}, [], True, id="toolkit-from-pypi"),
        pytest.param(
            decision("cutlass", cutlass={"provider": "git"}),
            {},
            ["https://github.com/NVIDIA/cutlass.git"],
            False,
            id="cutlass-git",
        ),
        pytest.param(decision("cutlass", cutlass={"provider": "adopt"}), {}, [], False, id="adopted"),
    ],
)
def test_sources(decided: dict[str, Any], mirrors: dict[str, str], urls: list[str], pip: bool) -> None:
    assert [source["url"] for source in required_sources(decided, mirrors, load_catalogue())] == urls
    assert needs_pypi(decided) is pip


def test_each_source_names_its_variable() -> None:
    decided = decision("cutlass", "pytorch", "cuda_toolkit", cutlass={"provider": "git"}, pytorch=INDEX, toolkit=APT)
    variables = {source["variable"] for source in required_sources(decided, {}, load_catalogue())}
    assert variables == {"cutlass_git_url", "pytorch_index_url", "nvidia_repository_url"}
