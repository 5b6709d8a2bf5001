"""What compiles against PyTorch's headers: by the standard of C++ that a package fixes, and by the host's compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Decide = Callable[..., dict[str, Any]]
FLASH = {"source": {"extensions": ["flash-attn"]}}


@pytest.mark.parametrize("name", ["flash-attn", "mamba-ssm", "causal-conv1d", "gsplat"])
def test_what_fixes_cxx17_is_not_built_against_headers_of_cxx20(name: str, host: Any, decide: Decide) -> None:
    decision = decide(host(), source={"extensions": [name]})
    assert (decision["verdict"], decision["pytorch"]["version"]) == ("ok", "2.13.0")
    named = decide(host(), pytorch="2.14", source={"extensions": [name]})
    assert named["verdict"] == "degraded"
    assert named["extensions"][name]["skipped"].endswith("<2.14.0")


@pytest.mark.parametrize("name", ["torch-scatter", "deepspeed"])
def test_what_fixes_no_standard_goes_with_any_release(name: str, host: Any, decide: Decide) -> None:
    decision = decide(host(), pytorch="2.14", source={"extensions": [name]})
    assert (decision["verdict"], decision["pytorch"]["version"]) == ("ok", "2.14.1")


@pytest.mark.parametrize(
    ("system", "found", "pytorch", "needed"),
    [
        pytest.param("sles 15.6", "7.5.0", "2.9", "9", id="suse-15"),
        pytest.param("rhel 8.10", "8.5.0", "2.9", "9", id="rhel-8"),
        pytest.param("rhel 8.10", "8.5.0", "2.13", "10", id="rhel-8-from-2.13-on"),
        pytest.param("ubuntu 20.04", "9.4.0", "2.13", "10", id="ubuntu-20.04"),
        pytest.param("ubuntu 20.04", "9.4.0", "2.9", None, id="ubuntu-20.04-new-enough"),
        pytest.param("ubuntu 22.04", "11.4.0", "2.13", None, id="ubuntu-22.04"),
    ],
)
def test_a_compiler_that_nvcc_supports_is_too_old_for_pytorch(
    system: str, found: str, pytorch: str, needed: str | None, host: Any, decide: Decide
) -> None:
    observed = host("A100", "570.133.20", os=system, toolkits=[{**TOOLKIT}])
    observed["platform"].update(glibc="2.31", compiler={"path": "/usr/bin/g++", "version": found})
    decision = decide(observed, cuda="12.6", pytorch=pytorch, **FLASH)
    (why,) = [row["text"] for row in decision["reasons"] if row["rule"] == "toolkit"]
    if needed is None:
        assert decision["verdict"] == "ok"
        assert why.endswith("build with it")
        return
    told = f"the headers of PyTorch {decision['pytorch']['version']} need g++ {needed} or newer; found g++ {found}"
    assert decision["verdict"] == "degraded"
    assert decision["extensions"]["flash-attn"]["skipped"] == f"it cannot be built here: {told}"
    assert why.endswith(f"extensions of PyTorch {decision['pytorch']['local']} do not: {told}")


def test_of_two_compilers_the_one_that_knows_the_headers_is_taken(host: Any, decide: Decide) -> None:
    newer = {"kind": "gcc", "path": "/opt/rh/gcc-toolset-12/root/usr/bin/g++", "version": "12.2.1"}
    observed = host("A100", "570.133.20", os="rhel 8.10", toolkits=[{**TOOLKIT}], compilers=[newer])
    observed["platform"].update(compiler={"path": "/usr/bin/g++", "version": "8.5.0"})
    decision = decide(observed, cuda="12.6", pytorch="2.9", **FLASH)
    assert decision["verdict"] == "ok"
    (build,) = decision["source"]["builds"]
    assert build["environment"]["CXX"] == newer["path"]
    because = "the headers of PyTorch do not compile with g++ 8.5.0"
    told = f"nvcc of CUDA 12.6 compiles with {newer['path']} (g++ 12.2.1): {because}"
    assert told in [reason["text"] for reason in decision["reasons"]]


TOOLKIT = {
    "version": "12.6.85",
    "release": "12.6",
    "path": "/usr/local/cuda-12.6",
    "provider": "image",
    "cudart": True,
    "nvcc": True,
    "components": ["compiler", "runtime_dev", "libraries", "full"],
    "broken": [],
}
